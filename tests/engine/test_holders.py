"""Messages for people who are away, kept by others, as small plays."""

from __future__ import annotations

import pytest

from p2pchat.engine import holders, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.deposits import COPIES
from p2pchat.ids import EventId
from p2pchat.model import DELIVERED, HELD
from p2pchat.wire.messages import holders as wire
from p2pchat.wire.messages.link import Registers
from tests.engine.holders_play import (
    DAY_S,
    Three,
    count,
    keepers,
    make_room,
    meet,
    retire,
    shown,
    signed_have,
    state,
    tell,
    verify,
)
from tests.engine.play import Stage
from tests.engine.test_direct import agree


@pytest.fixture
def three(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    return meet(stage)


def test_a_message_reaches_bob_who_never_meets_ann(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    assert state(ann, hello) == "queued"
    stage.wait(11)
    assert state(ann, hello) == HELD
    assert keepers(ann, hello) == [cem.device.hex()]
    assert cem.ledger.events.get(EventId(bytes.fromhex(hello))) is None, "it is in no chain of cem's"
    stage.cut()
    stage.join(cem, bob)
    assert shown(bob, hello).text == "hello bob"
    assert count(cem) == 0
    stage.cut()
    stage.join(cem, ann)
    assert state(ann, hello) == DELIVERED


def test_nobody_is_asked_who_is_not_verified(stage: Stage, three: Three) -> None:
    ann, bob, _cem = three
    dan = stage.actor("dan")
    stage.join(ann, dan)
    hello = ann.say(bob, "hello bob")
    stage.wait(60)
    assert state(ann, hello) == "queued"
    assert count(dan) == 0


def test_who_is_here_is_not_entrusted_to_others(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    stage.join(ann, bob)
    hello = ann.say(bob, "hello bob")
    stage.wait(60)
    assert state(ann, hello) == DELIVERED
    assert count(cem) == 0


def test_an_answer_that_is_lost_costs_nothing(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    carry = stage.carry
    stage.carry = lambda sender, link, message: (  # type: ignore[method-assign]
        None if isinstance(message, wire.Holding) else carry(sender, link, message)
    )
    stage.wait(11)
    assert state(ann, hello) == "queued"
    held, size = count(cem), cem.ledger.holdings.held_bytes()
    stage.cut()
    stage.carry = carry  # type: ignore[method-assign]
    stage.join(ann, cem)
    stage.wait(1)
    assert state(ann, hello) == HELD
    assert (count(cem), cem.ledger.holdings.held_bytes()) == (held, size)


def test_it_is_held_for_thirty_days_and_then_lies_with_its_author(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    early = ann.say(bob, "early")
    stage.wait(11)
    stage.cut()
    stage.mono += 29 * DAY_S
    stage.join(cem, bob)
    assert shown(bob, early).text == "early"
    stage.cut()
    stage.join(ann, cem)
    late = ann.say(bob, "late")
    stage.wait(11)
    assert state(ann, late) == HELD
    stage.cut()
    stage.mono += 31 * DAY_S
    stage.join(ann, cem)
    stage.wait(3700)
    assert (state(ann, late), keepers(ann, late)) == ("queued", [])
    words = "SELECT count(*) FROM holding WHERE control = 0"
    assert cem.ledger.connection.execute(words).fetchone() == (0,), "a new key for Bob may be there"
    stage.cut()
    stage.join(ann, bob)
    assert shown(bob, late).text == "late"


def test_two_hold_it_and_each_gives_it_up(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    others = [stage.actor(name) for name in ("dan", "eva")]
    for one in others:
        stage.join(ann, one)
        stage.join(bob, one)
        verify(ann, one)
    stage.cut()
    for one in (cem, *others):
        stage.join(ann, one)
    hello = ann.say(bob, "hello bob")
    stage.wait(12)
    holding = [one for one in (cem, *others) if count(one)]
    assert len(holding) == COPIES == len(keepers(ann, hello))
    stage.cut()
    for one in holding:
        stage.join(one, bob)
        assert count(one) == 0, "the second is told that it need not be handed over"
        stage.cut()
    assert shown(bob, hello).text == "hello bob"


def test_what_was_taken_back_meanwhile_is_not_handed_over(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    stage.cut()
    ann.do(lambda r: happened.CancelQueued(r, hello))
    assert state(ann, hello) == "cancelled"
    stage.join(ann, cem)
    stage.wait(11)
    bodies = cem.ledger.connection.execute(
        "SELECT body FROM holding WHERE control = 0 ORDER BY seq"
    ).fetchall()
    assert [row[0] is None for row in bodies] == [True, False], "the message without, its delete with"
    stage.cut()
    stage.join(cem, bob)
    assert bob.ledger.events.get(EventId(bytes.fromhex(hello))) is not None
    found = bob.ledger.views.message(EventId(bytes.fromhex(hello)))
    assert found is None or (found.hidden and found.text is None)
    stage.cut()
    stage.join(ann, bob)
    agree(ann, bob)


def test_who_takes_nothing_is_not_asked_at_once_again(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cem = three
    monkeypatch.setattr(holders, "MAX_HELD_PER_DAY", 100)
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(300)
    assert (state(ann, hello), count(cem)) == ("queued", 0)
    asked = [one for one in ann.sent if isinstance(one, wire.Deposit)]
    assert len(asked) == 1
    assert [one.refused for one in cem.sent if isinstance(one, wire.Holding)] == ["full"]
    monkeypatch.undo()
    stage.wait(400)
    ann.say(bob, "another")
    stage.wait(11)
    assert state(ann, hello) == HELD


def test_the_bounds_hold_for_one_person_for_strangers_and_for_all(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cem = three
    for name in ("MAX_HELD_PER_DAY", "MAX_HELD", "MAX_HELD_STRANGERS"):
        with monkeypatch.context() as patch:
            patch.setattr(holders, name, 5000)
            stage.join(ann, cem)
            last = [ann.say(bob, "x" * 700) for _ in range(9)][-1]
            stage.wait(11)
            assert 0 < cem.ledger.holdings.held_bytes() <= 5000, name
            assert state(ann, last) == "queued"
            stage.cut()
            stage.join(ann, bob)
            stage.cut()
            stage.join(bob, cem)
            stage.cut()
            assert count(cem) == 0
            stage.mono += DAY_S
    verify(cem, ann)
    monkeypatch.setattr(holders, "MAX_HELD_STRANGERS", 0)
    stage.join(ann, cem)
    hello = ann.say(bob, "she is known")
    stage.wait(11)
    assert state(ann, hello) == HELD


def test_nothing_is_held_for_somebody_blocked(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    cem.do(lambda r: happened.SetTrust(r, "block", bob.account.hex()))
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    assert (state(ann, hello), count(cem)) == ("queued", 0)
    assert [one.refused for one in cem.sent if isinstance(one, wire.Holding)] == ["refused"]


def test_what_is_held_of_somebody_who_is_blocked_then_is_dropped(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    ann.say(bob, "hello bob")
    stage.wait(11)
    assert count(cem)
    cem.do(lambda r: happened.SetTrust(r, "block", ann.account.hex()))
    cem.feed(happened.TimerFired("holdings"))
    assert count(cem) == count(cem, "holding_for") == cem.ledger.holdings.held_bytes() == 0


def test_a_holder_who_is_gone_for_good_counts_no_more(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    retire(ann, cem)
    ann.feed(happened.TimerFired("holdings"))
    stage.wait(1)
    assert (state(ann, hello), keepers(ann, hello)) == ("queued", [])


def test_both_machines_of_bob_have_it_before_it_is_dropped(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    second = stage.actor("bob.2", of=bob)
    stage.join(second, ann)
    stage.join(second, cem)
    stage.cut()
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    stage.cut()
    stage.join(cem, bob)
    assert shown(bob, hello).text == "hello bob"
    assert count(cem), "his other machine has not said that it has it"
    stage.cut()
    stage.join(cem, second)
    assert shown(second, hello).text == "hello bob"
    assert count(cem) == 0


def test_acts_that_only_one_machine_of_bob_has_go_along(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    second = stage.actor("bob.2", of=bob)
    stage.join(second, ann)
    stage.join(second, cem)
    stage.cut()
    stage.join(ann, bob)
    assert state(ann, ann.say(bob, "the key is made for this")) == DELIVERED
    stage.cut()
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    stage.cut()
    stage.join(cem, second)
    assert shown(second, hello).text == "hello bob"


def test_a_machine_that_ann_knows_nothing_of_gets_what_is_for_its_person(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    stage.cut()
    new = stage.actor("bob.new", of=bob)
    stage.join(new, cem)
    assert new.ledger.events.get(EventId(bytes.fromhex(hello))) is not None, "sealed to none of its keys yet"
    stage.cut()
    stage.join(cem, bob)
    stage.join(bob, new)
    stage.wait(5)
    assert shown(new, hello).text == "hello bob"


def test_ann_s_other_machine_holds_what_it_has(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    second = stage.actor("ann.2", of=ann)
    stage.join(second, bob)
    stage.cut()
    stage.join(ann, second)
    hello = ann.say(bob, "hello bob")
    stage.wait(12)
    assert (state(ann, hello), keepers(ann, hello)) == (HELD, [second.device.hex()])
    stage.cut()
    stage.join(second, bob)
    assert shown(bob, hello).text == "hello bob"


# -- before one goes --------------------------------------------------------------------------


def test_what_lies_only_here_is_given_away_before_the_end(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    assert ann.do(lambda r: happened.HandOver(r)) == {}
    assert state(ann, hello) == HELD


def test_there_is_nothing_to_wait_for_when_nobody_is_there(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    hello = ann.say(bob, "hello bob")
    assert ann.do(lambda r: happened.HandOver(r)) == {}
    assert state(ann, hello) == "queued"


def test_a_holder_who_does_not_answer_is_not_waited_for_for_ever(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    ann.say(bob, "hello bob")
    stage.carry = lambda sender, link, message: None  # type: ignore[method-assign]
    assert ann.ask(lambda r: happened.HandOver(r, 5.0)) is None
    request = stage.requests
    stage.wait(4.9)
    assert request not in ann.answers
    stage.wait(0.2)
    assert ann.answers[request] == {}


def test_a_send_that_waits_to_be_held_is_answered_at_once_then(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    assert ann.ask(lambda r: happened.Post(r, bob.account.hex(), "hold this", wait="held")) is None
    request = stage.requests
    stage.wait(1)
    answer = ann.answers[request]
    assert isinstance(answer, dict)
    assert answer["state"] == HELD


def test_who_is_verified_only_then_holds_at_once(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    dan = stage.actor("dan")
    stage.join(bob, dan)
    stage.cut()
    stage.join(ann, dan)
    stage.join(ann, stage.actor("eva"))
    hello = ann.say(bob, "hello bob")
    stage.wait(60)
    assert state(ann, hello) == "queued"
    verify(ann, dan)
    stage.wait(1)
    assert (state(ann, hello), keepers(ann, hello)) == (HELD, [dan.device.hex()])
    ann.do(lambda r: happened.SetTrust(r, "block", dan.account.hex()))
    stage.wait(1)
    assert (state(ann, hello), keepers(ann, hello)) == ("queued", [])


# -- rooms ------------------------------------------------------------------------------------


def test_a_member_holds_for_the_others_of_a_room(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    dan = stage.actor("dan")
    for one in (bob, cem):
        stage.join(ann, one)
    stage.join(ann, dan)
    stage.join(bob, cem)
    room = make_room(ann, bob, cem)
    stage.wait(5)
    stage.cut()
    stage.join(ann, cem)
    said = str(ann.do(lambda r: happened.Post(r, "#" + room.hex(), "to all"))["id"])
    assert state(ann, said) == "queued"
    stage.wait(12)
    assert (state(ann, said), keepers(ann, said)) == (HELD, [cem.device.hex()])
    stage.cut()
    stage.join(cem, bob)
    assert shown(bob, said).text == "to all"
    stage.wait(2)
    stage.cut()
    stage.join(ann, cem)
    assert state(ann, said) == DELIVERED, "cem brings what bob has said, signed"


def test_what_a_member_has_is_brought_to_who_is_here_already_and_by_members_only(
    stage: Stage, three: Three
) -> None:
    ann, bob, cem = three
    for one in (bob, cem):
        stage.join(ann, one)
    stage.join(bob, cem)
    room = make_room(ann, bob, cem)
    stage.wait(5)
    stage.cut()
    stage.join(ann, cem)
    said = str(ann.do(lambda r: happened.Post(r, "#" + room.hex(), "to all"))["id"])
    stage.wait(2)
    stage.join(cem, bob)
    stage.wait(2)
    assert state(ann, said) == DELIVERED, "while ann and bob see only cem"
    stage.cut()
    ann.do(lambda r: happened.RoomAct(r, "remove", room.hex(), (bob.account.hex(),)))
    stage.join(ann, cem)
    stage.wait(2)
    words = count(cem, "holding_told")
    stage.join(cem, bob)
    tell(stage, bob, cem, Registers((signed_have(bob, room, ann, 9),)))
    assert (count(cem, "holding_told"), state(ann, said)) == (words, DELIVERED), "he is out"


def test_somebody_outside_holds_for_a_room_whose_members_are_all_away(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    dan = stage.actor("dan")
    for one in (bob, dan):
        stage.join(ann, one)
    stage.join(bob, cem)
    stage.join(dan, cem)
    room = make_room(ann, bob, dan)
    stage.wait(5)
    stage.cut()
    stage.join(ann, cem)
    said = str(ann.do(lambda r: happened.Post(r, "#" + room.hex(), "to all"))["id"])
    stage.wait(12)
    assert (state(ann, said), keepers(ann, said)) == (HELD, [cem.device.hex()])
    assert room not in cem.look().cache.known_rooms
    stage.cut()
    for one in (bob, dan):
        stage.join(cem, one)
        assert shown(one, said).text == "to all"
        stage.cut()
    assert count(cem) == 0
    stage.join(ann, cem)
    stage.wait(2)
    assert state(ann, said) == DELIVERED


def test_who_is_added_while_away_comes_into_the_room_by_a_holder(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    room = make_room(ann, bob)
    said = str(ann.do(lambda r: happened.Post(r, "#" + room.hex(), "welcome"))["id"])
    stage.wait(12)
    assert state(ann, said) == HELD
    stage.cut()
    stage.join(cem, bob)
    assert bob.account in rooms.room(bob.look(), room).graph.members
    assert shown(bob, said).text == "welcome"


def test_acts_held_for_one_are_held_for_whoever_comes_in_later(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    dan = stage.actor("dan")
    stage.join(ann, dan)
    stage.join(cem, dan)
    stage.cut()
    stage.join(ann, cem)
    room = make_room(ann, bob)
    ann.do(lambda r: happened.Post(r, "#" + room.hex(), "to bob"))
    stage.wait(11)
    ann.do(lambda r: happened.RoomAct(r, "invite", room.hex(), (dan.account.hex(),)))
    said = str(ann.do(lambda r: happened.Post(r, "#" + room.hex(), "to both"))["id"])
    stage.wait(11)
    assert keepers(ann, said) == [cem.device.hex()]
    stage.cut()
    stage.join(cem, dan)
    assert shown(dan, said).text == "to both"
    stage.cut()
    stage.join(cem, bob)
    assert shown(bob, said).text == "to both"
