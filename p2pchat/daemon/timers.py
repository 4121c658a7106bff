"""Sleeps until the earliest deadline the engine asked for, then says so.

Decides: nothing; one deadline per name. Does not know: what a name means.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import trio

from p2pchat.engine.inputs import TimerFired


class Timers:
    """Deadlines by name, on the monotonic clock handed in."""

    def __init__(self, mono: Callable[[], float], post: Callable[[TimerFired], None]) -> None:
        self._mono = mono
        self._post = post
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # entries that `_due` no longer says are stale
        self._asleep_until = -math.inf
        self._wake = trio.Event()

    def set(self, name: str, at: float | None) -> None:
        """Fire `name` at `at`, None: never; replaces an earlier deadline of that name."""
        if at is None:
            self._due.pop(name, None)
            return
        self._due[name] = at
        heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 64 + 2 * len(self._due):
            self._heap = [(due, name) for name, due in self._due.items()]
            heapq.heapify(self._heap)
        if at < self._asleep_until:  # a later one is found when the sleep is over
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = self._mono()
            while self._heap and self._heap[0][0] <= now:
                at, name = heapq.heappop(self._heap)
                if self._due.get(name) == at:
                    del self._due[name]
                    self._post(TimerFired(name))
            while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)
            self._wake = trio.Event()
            self._asleep_until = self._heap[0][0] if self._heap else math.inf
            with trio.move_on_after(min(3600.0, self._asleep_until - now)):
                await self._wake.wait()
