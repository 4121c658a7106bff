"""A member of a crowded room who means ill: he swallows what he should pass on, and announces what is not.

Mallory's machine takes part in the view as any other; all others run the real engine, with views of
two or three neighbours. What is said must be with all of them within seconds, and nobody pays for it.
"""

from __future__ import annotations

import time
from typing import Final

import pytest

from p2pchat.engine import gossip
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_ANNOUNCED, MAX_SOUGHT
from p2pchat.wire.messages.link import HAVE, HOLD, PART, PUSH, Announce, Events
from tests.engine.play import Actor, Stage
from tests.engine.test_gossip import SOON_S, Room
from tests.engine.test_rooms import say

FRAME_S: Final = 0.002
"""What one flooded announcement may cost an honest machine, generously for a loaded gate."""


@pytest.fixture
def room(stage: Stage) -> Room:
    return Room(stage)


def lawless(room: Room, *swallowed: type[Record]) -> Actor:
    """Hal says nothing of these kinds any more."""
    mallory = room.people[7]
    carry = room.stage.carry

    def but_his(sender: Actor, link: int, message: Record) -> None:
        if sender is not mallory or not isinstance(message, swallowed):
            carry(sender, link, message)

    room.stage.carry = but_his  # type: ignore[method-assign]
    return mallory


def test_a_neighbour_who_swallows_everything_keeps_nothing_from_anybody(room: Room) -> None:
    mallory = lawless(room, Events)
    for number, one in enumerate(room.people[:7]):
        for other in room.people[:7]:
            room.tell(other, mallory, PUSH)  # he wants to be the neighbour of all
        say(one, "launch", f"word {number}")
        room.stage.wait(SOON_S)
        room.everybody_reads(f"word {number}")


def test_who_announces_everything_first_and_gives_nothing_delays_and_no_more(room: Room) -> None:
    """He tells of each event before anybody else, so that he is the first to be asked."""
    mallory = lawless(room, Events)
    ann = room.ann
    real = room.stage.carry
    ahead: list[bytes] = []

    def after_him(sender: Actor, link: int, message: Record) -> None:
        if isinstance(message, Announce) and message.kind == HAVE and sender is not mallory:
            ahead.extend(message.ids)
            end = room.stage.links[link][1]
            if end is not mallory:
                room.tell(end, mallory, HAVE, *message.ids)
        real(sender, link, message)

    room.stage.carry = after_him  # type: ignore[method-assign]
    for number in range(4):
        say(ann, "launch", f"late {number}")
        room.stage.wait(SOON_S)
        room.everybody_reads(f"late {number}", but=(mallory,))
    assert ahead


def test_a_flood_of_announcements_is_cheap_and_bounded(room: Room) -> None:
    mallory = lawless(room, Events)
    count = 400
    began = time.perf_counter()
    for at in range(count):
        ids = [(at * MAX_ANNOUNCED + n).to_bytes(32) for n in range(MAX_ANNOUNCED)]
        room.tell(room.ann, mallory, HAVE, *ids)
    took = time.perf_counter() - began
    assert took < count * FRAME_S, f"{took / count * 1e3:.2f} ms each"
    assert len(room.ann.node.live.sought) <= MAX_SOUGHT
    say(room.bob, "launch", "meanwhile")
    room.stage.wait(SOON_S)
    room.everybody_reads("meanwhile")
    assert room.ann.node.live.sought == {}


def test_who_comes_and_goes_as_a_neighbour_moves_nobody_else_out(room: Room) -> None:
    mallory = lawless(room)
    before = {one: set(room.neighbours(one)) - {mallory.device} for one in room.people[:7]}
    for _ in range(100):
        for one in room.people[:7]:
            for kind in (PUSH, HOLD, PART):
                room.tell(one, mallory, kind)
    for one in room.people[:7]:
        assert before[one] <= set(room.neighbours(one)), one.name
    say(room.bob, "launch", "all the same")
    room.stage.wait(gossip.WAIT_S + SOON_S)
    room.everybody_reads("all the same")
