"""The pump of a link under backfill: what is checked before the inbox, side by side and in order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from p2pchat.crypto.checker import Signed
from p2pchat.daemon.links import (
    AHEAD,
    CHECK_ELSEWHERE,
)
from p2pchat.engine.inputs import FromPeer, LinkDown
from p2pchat.ids import DeviceId
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.messages.events import MESSAGE, Event, Header
from p2pchat.wire.messages.link import Events, SasReveal
from tests.daemon.test_links import AUTHOR, ends, run_both

LONG = CHECK_ELSEWHERE + 1


def backfill(mark: int, count: int = LONG) -> Events:
    """A frame of `count` signed events; the first is no signature of anybody known."""
    found = []
    for number in range(count):
        device = AUTHOR if number else DeviceId(b"s" * 32)
        header = Header(
            1, b"r" * 32, device, mark, bytes(32), (), (), number, MESSAGE, bytes(16), b"h" * 32, 10
        )
        found.append(Event(encode(header), bytes([number]) * 64, None))
    return Events(tuple(found))


class Slow:
    """A check that is over when it is told so; it finds every third signature wrong."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Signed]] = []
        self.done: list[trio.Event] = []

    async def __call__(self, signed: Sequence[Signed]) -> tuple[bool, ...]:
        self.asked.append(signed)
        self.done.append(trio.Event())
        await self.done[-1].wait()
        return tuple(one.signature[0] % 3 != 0 for one in signed)


async def test_a_long_frame_is_checked_before_the_inbox(autojump_clock: MockClock) -> None:
    slow = Slow()
    alice, bob = ends(check=slow)
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        alice.pump.send(backfill(1, CHECK_ELSEWHERE))
        await trio.sleep(1)
        alice.pump.send(backfill(2))
        await trio.sleep(1)
        assert len(slow.asked) == 1
        slow.done[0].set()
        await trio.sleep(1)
        alice.pump.close("bye")
    short, long = bob.of(FromPeer)
    assert (short, long) == (
        FromPeer(2, backfill(1, CHECK_ELSEWHERE), None),
        FromPeer(2, backfill(2), tuple(n for n in range(1, LONG) if n % 3)),
    )


async def test_frames_are_checked_side_by_side_and_handed_over_in_order(autojump_clock: MockClock) -> None:
    slow = Slow()
    alice, bob = ends(check=slow)
    sent: list[Record] = [backfill(n) for n in range(1, AHEAD + 1)]
    sent += [SasReveal(b"x" * 32), backfill(9), SasReveal(b"y" * 32)]
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        for record in sent:
            alice.pump.send(record)
        alice.pump.close("bye")  # it, too, waits for what came before
        await trio.sleep(1)
        assert len(slow.asked) == AHEAD
        for done in reversed(slow.done):
            assert not bob.records()
            done.set()
            await trio.sleep(1)
        assert bob.records() == sent[: AHEAD + 1]
        slow.done[AHEAD].set()
    assert bob.records() == sent
    assert bob.inbox[-1] == LinkDown(2, "bye")


async def test_no_more_frames_are_read_ahead_than_are_said(autojump_clock: MockClock) -> None:
    slow = Slow()
    alice, bob = ends(check=slow)
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        for n in range(1, 4 * AHEAD):
            alice.pump.send(backfill(n))
        for n in range(3 * AHEAD):
            await trio.sleep(1)
            assert len(slow.asked) == AHEAD + n
            slow.done[n].set()
            if n == 2 * AHEAD:
                break
        nursery.cancel_scope.cancel()


async def test_a_frame_of_strangers_alone_asks_nobody(autojump_clock: MockClock) -> None:
    slow = Slow()
    alice, bob = ends(check=slow)
    strangers = Events(backfill(1).events[:1] * LONG)
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        alice.pump.send(strangers)
        await trio.sleep(1)
        alice.pump.close("bye")
    assert bob.of(FromPeer) == [FromPeer(2, strangers, ())]
    assert not slow.asked


async def test_a_check_that_fails_ends_its_link_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(signed: Sequence[Signed]) -> tuple[bool, ...]:
        raise RuntimeError("a bug of ours")

    alice, bob = ends(check=broken)
    async with trio.open_nursery() as nursery:
        await run_both(nursery, alice, bob)
        alice.pump.send(backfill(1))
    assert bob.inbox[-1] == LinkDown(2, "internal")
    assert not bob.records()
