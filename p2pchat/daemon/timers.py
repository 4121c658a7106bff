"""Sleeps until the earliest deadline the engine asked for, then says so.

Decides: nothing; one deadline per name. Does not know: what a name means.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pchat.engine.inputs import TimerFired


class Timers:
    """Deadlines by name, on the monotonic clock handed in."""

    def __init__(self, mono: Callable[[], float], post: Callable[[TimerFired], None]) -> None:
        self._mono = mono
        self._post = post
        self._due: dict[str, float] = {}
        self._wake = trio.Event()

    def set(self, name: str, at: float) -> None:
        """Fire `name` at `at`; replaces an earlier deadline of that name."""
        self._due[name] = at
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = self._mono()
            for name in [name for name, at in self._due.items() if at <= now]:
                del self._due[name]
                self._post(TimerFired(name))
            self._wake = trio.Event()
            wait = min(self._due.values(), default=now + 3600.0) - self._mono()
            if wait > 0:
                with trio.move_on_after(wait):
                    await self._wake.wait()
