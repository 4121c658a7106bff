"""A key that is lacked is asked for until somebody gives it, and not more than it is worth."""

from __future__ import annotations

from dataclasses import replace

from p2pchat.engine import overview
from p2pchat.ids import EpochId, RoomId
from p2pchat.model import StoredEvent
from p2pchat.wire.messages.link import KeyRequest
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import Three, act, create, say, texts, three
from tests.engine.test_rooms_keys import cached, held, used

__all__ = ["three"]


def forgets(actor: Actor, room: RoomId, epoch: EpochId) -> None:
    """He has what was said and not its key, as if he had never been given it."""

    def unread(ctx: overview.Context) -> None:
        ctx.ledger.rooms.put_epoch(replace(cached(actor, room).epochs[epoch], key=None))
        for head in actor.ledger.events.heads(room).items():
            for event in actor.ledger.events.run(room, head[0], 1, head[1].seq, 100):
                if event.epoch == epoch:
                    ctx.ledger.events.put_body(event.id, event.body, event.flags | StoredEvent.KEYLESS)

    actor.write(unread)
    actor.node.forget()


def requests(actor: Actor) -> int:
    return sum(isinstance(one, KeyRequest) for one in actor.sent)


def test_who_had_no_key_when_he_was_asked_is_asked_again(stage: Stage, three: Three) -> None:
    """Bob asked Ann, who had none yet; later she had it, and no link came up and no repair was with her."""
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    early = used(ann, room, say(ann, "launch", "early"))
    stage.cut()
    key = cached(ann, room).epochs[early]
    forgets(ann, room, early)
    forgets(bob, room, early)
    stage.join(ann, bob)
    for actor in (ann, bob):
        actor.timers.pop("repair", None)  # which would have asked again in its time
    stage.wait(10)
    assert early not in held(bob, room)
    ann.write(lambda ctx: ctx.ledger.rooms.put_epoch(key))
    ann.node.forget()
    stage.wait(60)
    assert early in held(bob, room)
    assert texts(bob, room) == ["early"]
    stage.wait(1000)
    asked_in_all = requests(bob)
    stage.wait(10_000)
    assert requests(bob) == asked_in_all, "there is nothing left to ask for"


def test_a_key_that_nobody_gives_is_asked_for_less_and_less(stage: Stage, three: Three) -> None:
    """And one that opens nothing here is asked for once."""
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    early = used(ann, room, say(ann, "launch", "early"))
    stage.cut()
    forgets(ann, room, early)
    forgets(bob, room, early)
    stage.join(ann, bob)
    for actor in (ann, bob):
        actor.timers.pop("repair", None)
    counts = []
    for _ in range(4):
        before = requests(bob)
        stage.wait(600)
        counts.append(requests(bob) - before)
    assert counts[0] > counts[-1] >= 1, counts
    assert sum(counts) < 20, counts
