"""Members agree, and what each shows follows from what he holds: plays that once did otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.engine.node import rebuild_views
from p2pchat.ids import EpochId, EventId, RoomId
from p2pchat.model import MessageView, StoredEvent
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Events, Reconcile, decode_frame
from tests.engine.forging import Hand
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, link_of, members, say, texts
from tests.engine.test_rooms_found import all_meet


def views_of(actor: Actor, ids: list[str]) -> list[MessageView | None]:
    return [actor.ledger.views.message(EventId(bytes.fromhex(one))) for one in ids]


def rebuilt(actor: Actor, ids: list[str]) -> list[MessageView | None]:
    """The same as its events alone say."""
    actor.ledger.begin()
    actor.ledger.views.clear_views()
    rebuild_views(actor.node, actor.now())
    found = views_of(actor, ids)
    actor.ledger.rollback()
    actor.node.forget()
    return found


def fed_to(actor: Actor) -> int:
    """Lines of his feed."""
    return int(actor.ledger.connection.execute("SELECT count(*) FROM feed").fetchone()[0])


def removed_apart(stage: Stage) -> tuple[Actor, Actor, Actor, RoomId, str]:
    """Ann removes Bob; Bob and Cem, who do not hear of it, are by themselves. All had a message of his."""
    ann, bob, cem = people = [stage.actor(name) for name in ("ann", "bob", "cem")]
    all_meet(stage, people)
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    said = say(bob, "launch", "said by bob")
    stage.cut()
    act(ann, "remove", "launch", bob)
    stage.join(bob, cem)
    return ann, bob, cem, room, said


def test_what_a_delete_erased_is_had_again_when_the_delete_becomes_void(stage: Stage) -> None:
    """The text is gone where the delete came in time, and the view says so, before and after a rebuild;
    who still has it gives it back."""
    ann, bob, cem, room, said = removed_apart(stage)
    bob.change("delete", said)
    stage.join(ann, cem)
    assert texts(ann, room) == ["said by bob"]
    [view] = views_of(cem, [said])
    assert view is not None
    assert (view.deleted, view.text) == (True, None)
    assert rebuilt(cem, [said]) == [view]
    fed = fed_to(cem)
    stage.wait(5)
    assert texts(cem, room) == ["said by bob"]
    assert rebuilt(cem, [said]) == views_of(cem, [said])
    assert fed_to(cem) == fed, "nobody is told twice of one message"


def test_a_message_whose_only_text_was_a_void_change_is_shown_no_more(stage: Stage) -> None:
    """Ann had Bob's message, which he did not hear, so he changed it as one that nobody had; and then
    she put him out, and let him in again."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    room = create(ann)
    act(ann, "invite", "launch", bob)
    bob.feed(happened.Post(999, "launch", "first"))
    said = str(cast(dict[str, object], bob.answers[999])["id"])
    number, raw = stage.mail.popleft()
    ann.feed(happened.FromPeer(number, decode_frame(raw)))
    assert texts(ann, room) == ["first"]
    stage.cut()
    bob.change("edit", said, "second")
    act(ann, "remove", "launch", bob)
    act(ann, "invite", "launch", bob)
    stage.join(ann, bob)
    assert texts(ann, room) == ["first"]
    assert "second" not in texts(bob, room)
    assert rebuilt(bob, [said]) == views_of(bob, [said])


def test_what_one_wrote_before_his_latest_add_is_taken_from_himself(stage: Stage) -> None:
    """History `joined`: Bob, who left and came back, was compared with from then on only; what he
    wrote before and nobody else had came to nobody."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    room = create(ann, history="joined")
    act(ann, "invite", "launch", bob)
    stage.cut()
    stage.mono += 1
    say(bob, "launch", "before leave")
    for verb in ("leave", "join"):
        stage.mono += 1
        act(bob, verb, "launch")
    stage.join(ann, bob)
    assert texts(ann, room) == texts(bob, room) == ["before leave"]


def test_what_was_before_is_taken_when_it_is_opened(stage: Stage) -> None:
    """Bob, who saw nothing of the time before him, waited for a repair with just the right one."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    create(ann, history="joined")
    stage.mono += 1
    early = EventId(bytes.fromhex(say(ann, "launch", "before bob")))
    stage.mono += 1
    act(ann, "invite", "launch", bob)
    assert bob.ledger.events.get(early) is None
    act(ann, "set", "launch", changes=(("history", "all"),))
    assert bob.ledger.events.get(early) is not None


def test_two_who_left_an_open_room_and_came_back_apart_find_each_other(stage: Stage) -> None:
    """Each was out for the other, who handed him the past and asked for no more of it."""
    ann, bob, cem = people = [stage.actor(name) for name in ("ann", "bob", "cem")]
    all_meet(stage, people)
    room = create(ann, admission="office")
    for verb in ("join", "leave", "join"):
        for one in (bob, cem):
            act(one, verb, "launch")
        stage.cut()  # for good what ann is concerned
        stage.join(bob, cem)
        assert len(members(bob, room)) == (1 if verb == "leave" else 3)
        stage.cut()
    for one in (bob, cem):
        say(one, "launch", f"{one.name} is back")
    stage.join(bob, cem)
    assert members(bob, room) == members(cem, room)
    assert sorted(map(str, texts(bob, room))) == ["bob is back", "cem is back"]
    assert texts(cem, room) == texts(bob, room)


def test_what_was_heard_of_outlives_a_refused_batch(stage: Stage) -> None:
    """Ann asked about a room that Bob did not know; then a command of his was refused, and he spoke on
    of a room that his memory no longer held."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    room = RoomId(b"a room that ann tells bob of....")
    bob.feed(happened.FromPeer(link_of(bob, ann), Reconcile(room, True, 1, True, b"", 0, b"a")))
    assert list(bob.look().live.heard_of) == [room]
    bob.refused(lambda request: happened.Post(request, "#nowhere", "said to nobody"))
    assert list(bob.look().live.heard_of) == [room]


def test_a_stranger_who_spoke_of_a_room_is_not_asked_once_we_know_it(stage: Stage) -> None:
    """Cem hands Bob something of Ann's room that links to what Bob has not got, and in the same batch Ann
    tells him of the room: Cem is nobody in it, and is asked nothing."""
    ann, bob, cem = people = [stage.actor(name) for name in ("ann", "bob", "cem")]
    room = create(ann)
    all_meet(stage, people)
    stray = Hand(ann, room)
    stray.actor, stray.seq, stray.prev = cem, 0, EventId(bytes(32))
    odd = stray.write(ev.LEAVE, wire.Leave(1), auth=(EventId(b"an act that nobody holds........"),))
    ann.feed(happened.RoomAct(998, "invite", room.hex(), (bob.account.hex(),)))
    stage.mail.clear()  # what ann says of it comes in one batch with what cem says
    acts = tuple(Event(e.header, e.signature, e.body) for e in ann.ledger.events.control(room))
    said = len(bob.sent)
    spoken = [(link_of(bob, cem), Events((odd,))), (link_of(bob, ann), Events(acts))]
    bob.feed(*(happened.FromPeer(number, frame) for number, frame in spoken))
    assert members(bob, room)
    heard = [number for number, _ in stage.mail if stage.links[number][0] is cem]
    assert said < len(bob.sent), "the test can tell"
    assert heard == []


def two(stage: Stage) -> tuple[Actor, Actor, RoomId]:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    room = create(ann)
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "hello")
    return ann, bob, room


def unread_and_changed(bob: Actor, room: RoomId) -> tuple[Hand, EventId, Event, Event]:
    """A message of Bob's under a key that nobody else gets, and a change of it under one that they have."""
    hand = Hand(bob, room)
    shared = hand.key
    assert shared is not None
    hand.key = replace(shared, epoch=EpochId(b"no such epoch..."), key=bytes(32))
    message = hand.write(ev.MESSAGE, ev.Message(1, "unread", b"", b"", (), False, 0, ()))
    target, hand.key = hand.prev, shared
    change = hand.write(ev.EDIT, ev.Edit(1, bytes(target), "changed", (), b"", b"", False, 0, (), False))
    return hand, target, message, change


def test_a_message_without_its_key_shows_what_its_change_says_whichever_came_first(stage: Stage) -> None:
    ann, bob, room = two(stage)
    hand, target, message, change = unread_and_changed(bob, room)
    for event in (change, message):
        hand.give(ann, event)
    assert "changed" in texts(ann, room)
    assert rebuilt(ann, [target.hex()]) == views_of(ann, [target.hex()])


def test_a_message_without_its_key_is_shown_no_more_once_its_change_is_void(stage: Stage) -> None:
    """Cem, who has Bob's message and not the change of it, puts Bob out: the message stands, nobody can
    read it, and nothing speaks for it any more."""
    ann, bob, room = two(stage)
    cem = stage.actor("cem")
    for one in (ann, bob):
        stage.join(cem, one)
    act(ann, "invite", "launch", cem)
    act(ann, "role", "launch", cem, role="moderator")
    hand, target, message, change = unread_and_changed(bob, room)
    hand.give(cem, message)
    stage.hang_up(link_of(ann, cem))
    hand.give(ann, message, change)
    assert "changed" in texts(ann, room)
    act(cem, "remove", "launch", bob)
    stage.join(ann, cem)
    held = ann.ledger.events.get(target)
    assert held is not None
    assert not held.flags & StoredEvent.VOID
    assert "changed" not in texts(ann, room)
    assert rebuilt(ann, [target.hex()]) == views_of(ann, [target.hex()]) == [None]


def test_on_which_branch_a_message_is_shows_whenever_the_events_come(stage: Stage) -> None:
    """Bob forks his chain and Ann puts him out on the longer branch. Cem hears of the removal first,
    then of the other branch, and last of the events between: he comes to what Ann comes to."""
    ann, bob, room = two(stage)
    cem = stage.actor("cem")
    for one in (ann, bob):
        stage.join(cem, one)
    act(ann, "invite", "launch", cem)
    hand = Hand(bob, room)
    other = hand.twin()
    said = [hand.write(ev.MESSAGE, ev.Message(1, f"{n}", b"", b"", (), False, 0, ())) for n in range(4)]
    stray = [
        other.write(ev.MESSAGE, ev.Message(1, f"stray {n}", b"", b"", (), False, 0, ())) for n in range(3)
    ]
    stage.hang_up(link_of(ann, cem))
    hand.give(ann, *said)
    act(ann, "remove", "launch", bob)
    for event in (said[0], said[3], *stray):
        hand.give(cem, event)
    stage.hang_up(link_of(cem, bob))
    stage.join(ann, cem)
    assert texts(cem, room) == texts(ann, room)
    assert sorted(map(str, texts(ann, room))) == ["0", "1", "2", "3", "hello"]
    forks = [rooms.room(one.look(), room).forks for one in (ann, cem)]
    assert forks[0] == forks[1] == {bob.device: hand.seq - 3}
    for one in (ann, cem):
        again = rooms._load(one.look(), rooms.room(one.look(), room).row)
        assert again.forks == forks[0], one.name


@pytest.mark.parametrize("behind_s", [60, 3600])
def test_who_has_a_clock_behind_is_heard_by_who_came_in_after(stage: Stage, behind_s: int) -> None:
    """History `joined`: what Bob writes is dated before his own add, and before Cem's, who was not on the
    line. It was pushed to who was there, and never repaired."""
    ann, bob, cem = people = [stage.actor(name) for name in ("ann", "bob", "cem")]
    bob.skew_ms = -1000 * behind_s
    all_meet(stage, people)
    room = create(ann, history="joined")
    say(ann, "launch", "before any of them")
    stage.mono += 1
    act(ann, "invite", "launch", bob, cem)
    stage.cut()
    said = say(bob, "launch", "late by my clock")
    stored = bob.ledger.events.get(EventId(bytes.fromhex(said)))
    add = rooms.readable_from(bob.look(), rooms.room(bob.look(), room), bob.account)
    assert stored is not None
    assert stored.hlc < add or behind_s == 60
    stage.join(ann, bob)
    stage.cut()
    stage.join(ann, cem)
    assert texts(cem, room) == ["late by my clock"]
    assert "late by my clock" in texts(ann, room)
    assert texts(bob, room) == ["late by my clock"]


def test_who_had_a_clock_behind_is_heard_though_it_was_set_right_before_another_came_in(stage: Stage) -> None:
    """What Bob wrote by the right clock, not knowing of Dan, is late for nobody; what he wrote before is,
    for Cem."""
    ann, bob, cem, dan = people = [stage.actor(name) for name in ("ann", "bob", "cem", "dan")]
    bob.skew_ms = -3_600_000
    all_meet(stage, people)
    room = create(ann, history="joined")
    stage.mono += 1
    act(ann, "invite", "launch", bob, cem)
    stage.cut()
    say(bob, "launch", "late by my clock")
    bob.skew_ms = 0
    stage.mono += 10
    say(bob, "launch", "by the right clock")
    stage.mono += 10
    act(ann, "invite", "launch", dan)
    stage.join(ann, bob)
    stage.cut()
    stage.join(ann, cem)
    assert sorted(map(str, texts(cem, room))) == ["by the right clock", "late by my clock"]


def test_what_somebody_who_is_out_hands_to_one_of_us_comes_to_all_of_us(stage: Stage) -> None:
    """Bob, who is out, does not know that Cem came in after that, and gives him nothing; Cem has what Bob
    said from Ann at once, not when one of them next happens to repair with the other."""
    ann, bob, cem = people = [stage.actor(name) for name in ("ann", "bob", "cem")]
    all_meet(stage, people)
    room = create(ann)
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "hello")
    stage.cut()
    said = EventId(bytes.fromhex(say(bob, "launch", "while i was in")))
    act(ann, "remove", "launch", bob)
    stage.join(ann, cem)
    act(ann, "invite", "launch", cem)
    stage.join(bob, cem)
    stage.join(ann, bob)
    for actor in people:
        actor.timers.pop("repair", None)
    assert ann.ledger.events.get(said) is not None
    assert cem.ledger.events.get(said) is None
    stage.wait(5)
    assert cem.ledger.events.get(said) is not None
    assert "while i was in" not in texts(cem, room)
    before, hand = len(ann.sent), Hand(bob, room)
    for turn in range(5):
        hand.give(ann, hand.write(ev.MESSAGE, ev.Message(1, f"{turn}", b"", b"", (), False, 0, ())))
        stage.wait(5)
    assert ann.ledger.events.get(hand.prev) is not None
    assert not [one for one in ann.sent[before:] if isinstance(one, Reconcile)], (
        "nobody is made to work again"
    )
