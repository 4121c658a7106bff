"""Messages for people who are away, kept by others, as small plays."""

from __future__ import annotations

import pytest

from p2pchat.engine import holders, kept, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.accounts import make_statement
from p2pchat.engine.custody import COPIES
from p2pchat.ids import EventId, RoomId
from p2pchat.model import DELIVERED, HELD, MessageView
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages import holders as wire
from p2pchat.wire.messages import statements
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Registers, Statements
from p2pchat.wire.messages.registers import HAVE, Register
from tests.engine.play import Actor, Stage
from tests.engine.test_direct import agree

Three = tuple[Actor, Actor, Actor]
DAY_S = 86_400.0


def verify(one: Actor, other: Actor) -> None:
    one.do(lambda r: happened.SetTrust(r, "verify", other.account.hex()))


def shown(actor: Actor, message: str) -> MessageView:
    found = actor.ledger.views.message(EventId(bytes.fromhex(message)))
    assert found is not None, f"{actor.name} has no such message"
    return found


def state(actor: Actor, message: str) -> str:
    return shown(actor, message).state


def keepers(actor: Actor, message: str) -> list[str]:
    """Whom the author believes to hold it."""
    ctx = actor.look()
    view = shown(actor, message)
    room = rooms.room(ctx, view.room)
    return [device.hex() for device in kept.holders(room, actor.device, view.seq)]


def count(actor: Actor, table: str = "holding") -> int:
    return int(actor.ledger.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def tell(stage: Stage, one: Actor, other: Actor, message: Record) -> None:
    """A rogue's frame, on the link between two."""
    number = one.look().live.by_device[other.device]
    stage.carry(one, number, message)
    stage.settle()


def said_have(actor: Actor, author: bytes) -> bool:
    """Whether it has said, signed, what it has of somebody's chain."""
    told = [one for sent in actor.sent if isinstance(sent, Registers) for one in sent.registers]
    read = [decode(Register, one.register) for one in told]
    return any((one.kind, one.author) == (HAVE, author) for one in read)


def retire(actor: Actor, gone: Actor) -> None:
    """`actor` hears that somebody has given up his account."""
    account = actor.look().cache.accounts[gone.account]
    signed = make_statement(
        gone.me.signing_seed, gone.account, account.heads, statements.RETIRE, statements.Retired(b"")
    )
    number = actor.look().live.by_device[gone.device]
    actor.feed(happened.FromPeer(number, Statements((signed,))))


def make_room(actor: Actor, *people: Actor) -> RoomId:
    view = actor.do(lambda r: happened.CreateRoom(r, "launch"))["room"]
    identity = RoomId(view.id)  # type: ignore[attr-defined]
    names = tuple(one.account.hex() for one in people)
    actor.do(lambda r: happened.RoomAct(r, "invite", identity.hex(), names))
    return identity


@pytest.fixture
def three(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    ann, bob, cem = stage.actor("ann"), stage.actor("bob"), stage.actor("cem")
    stage.join(ann, bob)
    stage.join(ann, cem)
    stage.join(bob, cem)
    verify(ann, cem)
    stage.cut()
    return ann, bob, cem


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


# -- people who mean ill ----------------------------------------------------------------------


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


def test_what_nobody_claimed_ends_the_link(stage: Stage, three: Three) -> None:
    _, bob, cem = three
    stage.join(cem, bob)
    tell(stage, cem, bob, wire.Handed((), (), False, 1, False, False))
    assert bob.closed == ["handed over what nobody claimed"]


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
    stage.cut()
    stage.join(ann, bob)
    stage.wait(2)
    assert state(ann, said) == DELIVERED


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
