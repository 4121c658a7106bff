"""Messages for people who are away, kept by others: people who mean ill."""

from __future__ import annotations

import pytest

from p2pchat.engine import rooms
from p2pchat.ids import AccountId, EventId
from p2pchat.model import DELIVERED, HELD
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import holders as wire
from p2pchat.wire.messages.events import Event
from tests.engine.holders_play import (
    Three,
    count,
    meet,
    said_have,
    shown,
    state,
    tell,
    verify,
)
from tests.engine.play import Actor, Stage


@pytest.fixture
def three(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    return meet(stage)


def test_a_liar_loses_nothing(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    stage.wait(11)
    assert state(ann, hello) == HELD
    cem.ledger.begin()
    cem.ledger.holdings.drop_of(ann.account)
    cem.ledger.commit()
    stage.cut()
    stage.join(cem, bob)
    assert bob.ledger.events.get(EventId(bytes.fromhex(hello))) is None
    stage.cut()
    stage.join(ann, bob)
    assert shown(bob, hello).text == "hello bob"
    stage.wait(1)
    assert state(ann, hello) == DELIVERED


def test_no_more_is_believed_to_be_held_than_was_given(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    room = bytes(shown(ann, hello).room)
    lie = wire.Holding(room, (wire.Kept(bytes(ann.device), ((1, 99),)),), "")
    tell(stage, cem, ann, lie)
    assert state(ann, hello) == "queued"


def test_a_claimer_gets_what_is_his_and_nothing_else(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    ann.say(bob, "hello bob")
    stage.wait(11)
    dan = stage.actor("dan")
    for control in (True, False):
        stage.join(dan, cem)
        before = len(cem.sent)
        tell(stage, dan, cem, wire.Claim(control, 0))
        answers = [one for one in cem.sent[before:] if isinstance(one, wire.Handed)]
        assert [one.events for one in answers] == [()]
        stage.cut()
    assert count(cem)


def test_what_nobody_claimed_is_passed_over(stage: Stage, three: Three) -> None:
    """It may have been taken for lost, claimed again, and come twice: no reason to part."""
    ann, bob, cem = three
    stage.join(ann, cem)
    said = ann.say(bob, "hello bob")
    stage.wait(11)
    stage.cut()
    stage.join(cem, bob)
    answer = next(one for one in cem.sent if isinstance(one, wire.Handed) and one.events)
    stage.cut()
    dan = stage.actor("dan")
    stage.join(cem, dan)
    stage.join(cem, bob)
    for other in (bob, dan):
        tell(stage, cem, other, answer)
        tell(stage, cem, other, wire.Handed((), (), True, 5, True, False))
        assert other.closed == []
        assert not other.look().live.claims
    assert shown(bob, said).text == "hello bob"
    assert dan.ledger.events.get(EventId(bytes.fromhex(said))) is None


def test_what_does_not_hold_is_passed_over_and_the_rest_taken(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    first, second = ann.say(bob, "first"), ann.say(bob, "second")
    stage.wait(11)
    stage.cut()
    wrong = cem.ledger.connection.execute("SELECT max(seq) FROM holding").fetchone()[0]
    cem.ledger.begin()
    cem.ledger.connection.execute("UPDATE holding SET signature = zeroblob(64) WHERE seq = ?", (wrong,))
    cem.ledger.commit()
    stage.join(cem, bob)
    assert bob.closed == []
    assert shown(bob, first).text == "first"
    assert bob.ledger.events.get(EventId(bytes.fromhex(second))) is None
    stage.cut()
    stage.join(ann, bob)
    assert shown(bob, second).text == "second"


def test_a_deposit_for_a_chat_of_others_ends_the_link(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    dan = stage.actor("dan")
    stage.join(dan, cem)
    pair = tuple(sorted((bytes(ann.account), bytes(bob.account))))
    room = bytes(rooms.direct_id(ann.account, bob.account))
    tell(stage, dan, cem, wire.Deposit(room, pair, (wire.For(bytes(bob.account), ()),), (), ()))
    assert cem.closed == ["deposit for a chat of others"]


def test_a_deposit_with_a_wrong_signature_ends_the_link(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    ann.say(bob, "hello bob")
    stage.wait(11)
    good = next(one for one in ann.sent if isinstance(one, wire.Deposit) and one.events)
    event = good.events[0]
    bad = wire.Deposit(good.room, good.pair, good.to, (), (type(event)(event.header, bytes(64), event.body),))
    tell(stage, ann, cem, bad)
    assert cem.closed == ["event with wrong signature"]


def test_words_of_others_are_not_taken_from_a_depositor(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, bob)
    ann.say(bob, "hello bob")
    stage.cut()
    stage.join(bob, cem)
    room = rooms.direct_id(ann.account, bob.account)
    events = [e for e in bob.ledger.events.run(room, ann.device, 1, 99, 99) if e.kind > 31]
    said = tuple(Event(e.header, e.signature, e.body) for e in events)
    pair = tuple(sorted((bytes(ann.account), bytes(bob.account))))
    tell(stage, bob, cem, wire.Deposit(bytes(room), pair, (wire.For(bytes(ann.account), ()),), (), said))
    assert said
    assert count(cem) == 0
    assert [one.refused for one in cem.sent if isinstance(one, wire.Holding)] == ["stranger"]


def test_nothing_is_held_for_people_nobody_here_knows(stage: Stage, three: Three) -> None:
    ann, _, cem = three
    nobody = stage.actor("nobody")
    stage.join(ann, nobody)
    stage.cut()
    stage.join(ann, cem)
    ann.say(nobody, "are you there?")
    stage.wait(11)
    assert count(cem) == 0
    assert [one.refused for one in cem.sent if isinstance(one, wire.Holding)] == ["unknown"]
    verify(cem, ann)
    stage.wait(700)
    ann.say(nobody, "and now?")
    stage.wait(11)
    assert count(cem)


def test_who_cannot_name_an_event_hears_not_what_somebody_has(stage: Stage, three: Three) -> None:
    ann, bob, _cem = three
    stage.join(ann, bob)
    hello = ann.say(bob, "hello bob")
    stage.cut()
    dan = stage.actor("dan")
    stage.join(dan, bob)
    room, author = bytes(shown(bob, hello).room), bytes(ann.device)
    tell(stage, dan, bob, wire.Waiting((wire.Top(room, author, bytes(32)),)))
    assert not said_have(bob, author)
    tell(stage, dan, bob, wire.Waiting((wire.Top(room, author, bytes.fromhex(hello)),)))
    assert said_have(bob, author)


def test_what_strangers_have_here_is_not_added_up_for_each_event_of_theirs(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at all rows of theirs, which they decide how many are: a tenth of a second each."""
    ann, bob, cem = three
    stage.join(ann, cem)
    looks: list[int] = []
    before = cem.ledger.holdings.depositors

    def counted() -> list[AccountId]:
        looks.append(1)
        return before()

    monkeypatch.setattr(cem.ledger.holdings, "depositors", counted)
    for _ in range(4):
        for number in range(20):
            ann.say(bob, str(number))
        stage.wait(11)
    assert count(cem) >= 80
    assert len(looks) <= 2
    assert cem.node.live.held_strange[1] >= cem.ledger.holdings.held_bytes() > 0


def test_who_is_here_is_told_of_what_came_and_not_of_all_that_is_held(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each deposit costs a walk over everything that waits for him."""
    ann, bob, cem = three
    stage.join(ann, cem)
    one = ann.say(bob, "one")
    stage.wait(11)
    stage.join(bob, cem)
    stage.hang_up(cem.look().live.by_device[ann.device])
    assert shown(bob, one).text == "one"

    def walk(*_: object) -> list[object]:
        raise AssertionError("it looked at everything")

    two = ann.say(bob, "two")
    stage.join(ann, cem)
    monkeypatch.setattr(cem.ledger.holdings, "tops", walk)
    stage.wait(11)
    assert shown(bob, two).text == "two"


def test_who_answers_nothing_is_not_given_it_again_and_again(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    carry = stage.carry

    def swallowed(sender: Actor, link: int, message: Record) -> None:
        if not isinstance(message, wire.Holding):
            carry(sender, link, message)

    stage.carry = swallowed  # type: ignore[method-assign]
    hello = ann.say(bob, "hello bob")
    stage.wait(300)
    given = [one for one in ann.sent if isinstance(one, wire.Deposit)]
    assert 1 <= len(given) <= 2
    assert state(ann, hello) == "queued"
    stage.carry = carry  # type: ignore[method-assign]
    stage.wait(700)
    assert state(ann, hello) == HELD, "after ten minutes he is asked again"
