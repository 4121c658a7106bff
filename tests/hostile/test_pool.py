"""What waits to be judged: nobody uses it against those who bring what it waits for, nor as a brake."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import log, overview
from p2pchat.engine.pool import AWAKEN_AT_ONCE
from p2pchat.wire.limits import MAX_PENDING
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.link import Events
from tests.engine.forging import Hand
from tests.engine.play import Stage
from tests.engine.test_rooms import act, link_of, say, texts
from tests.hostile.test_rooms import Room, room

__all__ = ["room"]

FORMLESS = {
    "garbage": (ev.ADD, b"\xc1\xc1"),
    "nothing": (ev.ADD, b""),
    "another version": (ev.ADD, wire.Add(2, bytes(32))),
    "an epoch without a number": (ev.EPOCH, ev.Epoch(1, bytes(16), 0, bytes(32), True)),
    "an epoch of a number too great": (ev.EPOCH, ev.Epoch(1, bytes(16), 2**53, bytes(32), True)),
}


def part(stage: Stage, room: Room) -> None:
    """Nobody tells bob anything any more."""
    for number in [n for n, (one, other, _) in stage.links.items() if room.bob in (one, other)]:
        stage.hang_up(number)


def strange_link(room: Room) -> int:
    """A link of mallory's to bob over which only what the test says is said."""
    number, mal = 9001, room.mal
    hello = overview.hello(mal.look())
    room.bob.feed(
        happened.LinkUp(
            number, mal.device, mal.account, hello.statements, hello.registers, True, "192.0.2.7", 26700,
            b"h" * 64, mal.now().wall_ms, None,
        )
    )  # fmt: skip
    return number


@pytest.mark.parametrize("kind", sorted(FORMLESS))
def test_an_act_without_form_ends_the_link_of_who_brings_it_and_no_other(room: Room, kind: str) -> None:
    stage = room.stage
    part(stage, room)
    act(room.ann, "set", "launch", changes=(("history", "joined"),))
    say(room.ann, "launch", "word after")
    poison = Hand(room.mal, room.id).write(*FORMLESS[kind])
    number = strange_link(room)
    room.bob.feed(happened.FromPeer(number, Events((poison,))))
    assert len(room.bob.closed) == 1
    assert room.bob.ledger.events.parked_headers(room.id) == []
    room.bob.feed(happened.LinkDown(number, "remote"))
    stage.mail.clear()
    stage.join(room.ann, room.bob)
    stage.wait(70)
    assert len(room.bob.closed) == 1
    assert "word after" in texts(room.bob, room.id)


def test_what_an_earlier_version_let_wait_blames_nobody(room: Room) -> None:
    stage = room.stage
    part(stage, room)
    act(room.ann, "set", "launch", changes=(("history", "joined"),))
    say(room.ann, "launch", "word after")
    read = log.read_event(Hand(room.mal, room.id).write(*FORMLESS["garbage"]))
    room.bob.ledger.begin()
    assert room.bob.ledger.events.park(log.stored_event(read, room.bob.now().wall_ms), MAX_PENDING)
    room.bob.ledger.commit()
    room.bob.node.forget()
    stage.join(room.ann, room.bob)
    stage.wait(70)
    assert room.bob.closed == []
    assert "word after" in texts(room.bob, room.id)
    assert room.bob.ledger.events.parked_headers(room.id) == []


def test_a_chain_of_acts_from_its_end_wakes_in_steps(room: Room) -> None:
    """Counted, not timed: each step looks at the waiting once and judges a bounded number of them."""
    count = 3 * AWAKEN_AT_ONCE + 10
    hand = Hand(room.mal, room.id)
    chain = [
        hand.write(ev.EPOCH, ev.Epoch(1, (n + 1).to_bytes(16, "big"), 2, bytes(32), True))
        for n in range(count)
    ]
    number = link_of(room.ann, room.mal)
    for first in range(count - 1, 0, -100):
        part_of = chain[max(1, first - 99) : first + 1]
        room.ann.feed(happened.FromPeer(number, Events(tuple(reversed(part_of)))))
    assert len(room.ann.ledger.events.parked_headers(room.id)) == count - 1
    events = type(room.ann.ledger.events)
    taken: list[int] = []
    looks: list[int] = []
    add, headers = events.add, events.parked_headers
    with pytest.MonkeyPatch.context() as patch:
        mine = room.ann.ledger.events
        patch.setattr(events, "add", lambda *a: (a[0] is mine and taken.append(1), add(*a))[1])
        patch.setattr(events, "parked_headers", lambda *a: (a[0] is mine and looks.append(1), headers(*a))[1])
        room.ann.feed(happened.FromPeer(number, Events((chain[0],))))
        assert len(taken) <= AWAKEN_AT_ONCE + 1
        assert len(looks) == 1
        room.stage.wait(1)
        assert len(taken) == count
        assert len(looks) <= 6
    assert room.ann.ledger.events.parked_headers(room.id) == []
