"""How many transfers are received at the same time, and which.

Decides: that at most AT_ONCE are open, whoever offers how many, and who is next. Does not know: pieces,
disks, links, or why one has nothing to do.

Each that is open costs descriptors, memory and a look every two seconds, and somebody whose files are
taken unasked may offer any number. So the others wait without any of that. Who can be had from nobody
just now makes way for who can; everybody has his turn once, for he may only lack his name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Protocol

import trio

AT_ONCE: Final = 64
IDLE_S: Final = 10.0
"""Of which nothing is to be had for so long makes way for others that wait."""
STUCK_S: Final = 60.0
"""So does one of which nothing came for so long, though somebody has it."""


class Waits(Protocol):
    """What is known of who waits."""

    @property
    def offered_by(self) -> Hashable:
        """Whose files it is about: nobody's many are before another's few."""


class _Queue:
    """Who waits, by whom it is offered; in the order of coming."""

    def __init__(self) -> None:
        self._of: dict[Hashable, dict[Waits, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def add(self, who: Waits) -> None:
        self._of.setdefault(who.offered_by, {})[who] = None

    def discard(self, who: Waits) -> None:
        queue = self._of.get(who.offered_by, {})
        queue.pop(who, None)
        if not queue:
            self._of.pop(who.offered_by, None)

    def first(self, count: Callable[[Hashable], int]) -> Waits | None:
        """The first of those of whom there are fewest by `count`."""
        by = min(self._of, key=count, default=None)
        return next(iter(self._of[by])) if by is not None else None


class Berths:
    """AT_ONCE places."""

    def __init__(self, most: int = AT_ONCE) -> None:
        self._most = most
        self._open: dict[Waits, None] = {}
        self._events: dict[Waits, trio.Event] = {}  # of those that wait
        self._all, self._ready, self._fresh = _Queue(), _Queue(), _Queue()
        self._counts: dict[Hashable, int] = {}  # who offers → how many of his are open

    @property
    def open(self) -> int:
        """How many have a berth."""
        return len(self._open)

    def crowded(self, *, idle: bool) -> bool:
        """Whether somebody waits for whom one should make way; `idle`: that is to be had from nobody."""
        return bool(self._ready) or (idle and bool(self._fresh))

    def ready(self, who: Waits, can: bool) -> None:
        """Who waits is now to be had from somebody, or from nobody any more; nothing if it does not wait."""
        if can and who in self._events:
            self._ready.add(who)
        else:
            self._ready.discard(who)

    async def take(self, who: Waits, *, ready: bool, fresh: bool) -> None:
        """Wait for a berth. `ready`: it is to be had from somebody; `fresh`: it had no berth yet."""
        await trio.lowlevel.checkpoint()
        if len(self._open) < self._most:  # then nobody waits
            self._seat(who)
            return
        event = self._events[who] = trio.Event()
        self._all.add(who)
        if fresh:
            self._fresh.add(who)
        self.ready(who, ready)
        try:
            await event.wait()
        except BaseException:
            self._waits_no_more(who)
            self.leave(who)
            raise

    def leave(self, who: Waits) -> None:
        """It needs its berth no more. Harmless when repeated, and for who has none."""
        if who not in self._open:
            return
        del self._open[who]
        self._count(who, -1)
        queue = self._ready or self._fresh or self._all
        following = queue.first(lambda by: self._counts.get(by, 0))
        if following is not None:
            self._seat(following)
            self._waits_no_more(following)

    def _waits_no_more(self, who: Waits) -> None:
        for queue in (self._all, self._ready, self._fresh):
            queue.discard(who)
        event = self._events.pop(who, None)
        if event is not None:
            event.set()

    def _seat(self, who: Waits) -> None:
        self._open[who] = None
        self._count(who, 1)

    def _count(self, who: Waits, by: int) -> None:
        count = self._counts.get(who.offered_by, 0) + by
        if count:
            self._counts[who.offered_by] = count
        else:
            del self._counts[who.offered_by]


class MakesWay(Exception):
    """Somebody else's transfer is to be had, and this one is not."""


class Stay:
    """What one has had of its berth."""

    def __init__(self, berths: Berths, mono: Callable[[], float]) -> None:
        self._berths = berths
        self._mono = mono
        self._moved_at = self._had_at = 0.0

    def begin(self) -> None:
        """It has one, from now on."""
        self._moved_at = self._had_at = self._mono()

    def moved(self) -> None:
        """Something of it came."""
        self._moved_at = self._mono()

    def check(self, *, links: int, sources: int) -> None:
        """MakesWay if it had better wait again: it has so many links, and on so many it is to be had."""
        now = self._mono()
        if sources:
            self._had_at = now
        stuck = now - self._moved_at >= STUCK_S if sources else now - self._had_at >= IDLE_S
        if (stuck or not links) and self._berths.crowded(idle=not links):
            raise MakesWay
