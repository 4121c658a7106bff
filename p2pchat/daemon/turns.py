"""Whose turn it is to be given pieces.

Decides: that few links are given pieces at the same time, and that who does not take what is ready for
him waits for nobody else's turn to end. Does not know: pieces, disks, or who may have what.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

SLOTS: Final = 4
"""Links that are given pieces at the same time: a disk is read in few places at once."""


class Turns:
    """SLOTS places for links, by whatever key names them."""

    def __init__(self) -> None:
        self._slots = trio.Semaphore(SLOTS)
        self._has_slot: dict[Hashable, None] = {}
        self._reading: dict[Hashable, None] = {}  # of those: whose piece is being read now

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return self._slots.value

    async def take(self, link: Hashable) -> None:
        """Wait for a turn; who has one keeps it, as long as nobody waits."""
        if link in self._has_slot:
            return
        if not self._slots.value:
            idle = next((other for other in self._has_slot if other not in self._reading), None)
            if idle is not None:
                self.rests(idle)
        await self._slots.acquire()
        self._has_slot[link] = None

    @contextmanager
    def reading(self, link: Hashable) -> Iterator[None]:
        """A piece is read for it; then it is the turn of who waits."""
        self._reading[link] = None
        try:
            yield
        finally:
            del self._reading[link]
            if self._slots.statistics().tasks_waiting:
                self.rests(link)

    def rests(self, link: Hashable) -> None:
        """It needs nothing just now, or is gone. Harmless when repeated."""
        if self._has_slot.pop(link, 0) is None:
            self._slots.release()
