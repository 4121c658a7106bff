"""Deadlines by name, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from p2pchat.daemon.timers import Timers


class Bell:
    """Timers, and when each rang."""

    def __init__(self) -> None:
        self.rang: list[tuple[str, float]] = []
        self.timers = Timers(
            trio.current_time, lambda fired: self.rang.append((fired.name, trio.current_time()))
        )


@asynccontextmanager
async def bell() -> AsyncIterator[Bell]:
    found = Bell()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.timers.run)
        yield found
        nursery.cancel_scope.cancel()


async def test_each_rings_once_at_its_time_the_earliest_first(autojump_clock: MockClock) -> None:
    async with bell() as b:
        now = trio.current_time()
        for name, after in (("late", 9.0), ("soon", 1.0), ("later", 20_000.0)):
            b.timers.set(name, now + after)
        await trio.sleep(30_000)
        assert b.rang == [("soon", now + 1), ("late", now + 9), ("later", now + 20_000)]


async def test_a_later_word_replaces_an_earlier_one(autojump_clock: MockClock) -> None:
    async with bell() as b:
        now = trio.current_time()
        b.timers.set("x", now + 100)
        await trio.sleep(1)
        b.timers.set("x", now + 5)
        b.timers.set("y", now + 5)
        b.timers.set("y", now + 50)
        await trio.sleep(200)
        assert b.rang == [("x", now + 5), ("y", now + 50)]


async def test_what_is_due_already_rings_at_once(autojump_clock: MockClock) -> None:
    async with bell() as b:
        now = trio.current_time()
        b.timers.set("past", now - 5)
        await trio.testing.wait_all_tasks_blocked()
        assert b.rang == [("past", now)]


async def test_whoever_sets_the_next_while_one_rings_is_heard(autojump_clock: MockClock) -> None:
    found = Bell()

    def again(fired: object) -> None:
        found.rang.append(("x", trio.current_time()))
        if len(found.rang) < 3:
            found.timers.set("x", trio.current_time() + 10)

    found.timers = Timers(trio.current_time, again)
    found.timers.set("x", trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.timers.run)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert len(found.rang) == 3
