"""A body that is absent without right is asked of others; one that was taken back is not."""

from __future__ import annotations

from collections import deque

from p2pchat.engine import inputs as happened
from p2pchat.ids import EventId, RoomId
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.events import MESSAGE, Event, Header
from p2pchat.wire.messages.link import Events, Want, decode_frame, encode_frame
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import Three, act, create, say, texts, three

__all__ = ["three"]


def wants(actor: Actor) -> int:
    return sum(isinstance(one, Want) for one in actor.sent)


def bare(raw: bytes) -> bytes:
    """A frame, the bodies of its messages left out."""
    frame = decode_frame(raw)
    if not isinstance(frame, Events):
        return raw
    messages = [decode(Header, event.header).kind == MESSAGE for event in frame.events]
    events = (
        Event(event.header, event.signature, None if message else event.body)
        for event, message in zip(frame.events, messages, strict=True)
    )
    return encode_frame(Events(tuple(events)))


def withhold(stage: Stage, three: Three, *unlucky: Actor) -> tuple[RoomId, str]:
    """Ann says something, and hands it to some without its body."""
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(ann, "launch", "for all")
    for actor in three:
        actor.timers.pop("repair", None)  # which brings nothing: all have the event
    ann.feed(happened.Post(999, "launch", "for some"))
    stage.mail = deque(
        (number, bare(raw) if stage.links[number][0] in unlucky else raw) for number, raw in stage.mail
    )
    stage.settle()
    answer = ann.answers[999]
    assert isinstance(answer, dict)
    return room, str(answer["id"])


def test_a_body_withheld_from_one_is_had_from_another(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room, said = withhold(stage, three, cem)
    assert (texts(bob, room), texts(cem, room)) == (["for all", "for some"], ["for all"])
    event = EventId(bytes.fromhex(said))
    assert cem.ledger.events.missing([event]) == []
    stage.wait(10)
    assert texts(cem, room) == ["for all", "for some"]
    held = cem.ledger.events.get(event)
    assert held is not None
    assert held.seq in {n for low, high in cem.look().cache.rooms[room].have[ann.device] for n in (low, high)}
    before = wants(cem)
    stage.wait(10_000)
    assert wants(cem) == before, "nothing lacks any more"


def test_a_body_that_nobody_gives_is_asked_for_less_and_less(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room, _ = withhold(stage, three, bob, cem)
    for number in [n for n, (end, _, _) in stage.links.items() if end is ann]:
        stage.hang_up(number)
    counts = []
    for _ in range(4):
        before = wants(cem)
        stage.wait(600)
        counts.append(wants(cem) - before)
    assert counts[0] > counts[-1] >= 1, counts
    assert sum(counts) < 25, counts
    stage.join(ann, cem)
    stage.wait(1300)
    assert texts(bob, room) == texts(cem, room) == ["for all", "for some"], "as soon as somebody has it"


def test_what_was_taken_back_is_not_asked_for(stage: Stage, three: Three) -> None:
    """A delete, and a change of what nobody had yet, leave a body out by right."""
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    ann.change("delete", say(ann, "launch", "no more"))
    stage.cut()
    ann.change("edit", say(ann, "launch", "first"), "second")
    stage.join(ann, bob)
    stage.join(bob, cem)
    assert texts(cem, room) == texts(bob, room) == [None, "second"]
    for actor in three:
        actor.timers.pop("repair", None)
    before = wants(bob) + wants(cem)
    stage.wait(10_000)
    assert wants(bob) + wants(cem) == before


def test_after_a_restart_what_lacks_is_looked_for_with_the_first_repair(stage: Stage, three: Three) -> None:
    _, bob, cem = three
    room, _ = withhold(stage, three, cem)
    cem.node.forget()
    cem.node.live.bodies_sought.clear()
    cem.timers.clear()
    cem.node.live.timers.clear()
    stage.cut()
    stage.join(bob, cem)
    stage.wait(10)
    assert texts(cem, room) == ["for all", "for some"]


def test_who_is_put_out_and_let_in_again_looks_anew_for_what_he_lacked(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room, _ = withhold(stage, three, cem)
    act(ann, "remove", "launch", cem)
    stage.wait(10)
    assert texts(cem, room) == ["for all"]
    assert cem.account not in cem.look().cache.rooms[room].graph.members
    act(ann, "invite", "launch", cem)
    stage.wait(120)
    assert texts(cem, room) == texts(bob, room) == ["for all", "for some"]
