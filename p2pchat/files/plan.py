"""Which piece is asked of whom next.

Decides: the order in which the pieces of one transfer are fetched, and how they are shared out among
those who have them. Does not know: files, links, hashes, or what time a piece takes: who asks says.

One source is read from front to back, for that is how disks like it. With several, the piece that
fewest of them have comes first (rarest first, as in BitTorrent, Cohen 2003), so that what only the
author has is soon had by others too; among equals each receiver has an order of its own, so that
not all ask the author for the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from p2pchat.errors import LocalProtocolError
from p2pchat.files.pieces import Bits

LOOKED_AT: Final = 256
"""So many candidates are compared at most for one request: a list may have 262,144."""
AGAIN_S: Final = 3.0
"""Near the end a piece that has been on its way from a slow source for so long is asked of another too."""
SPARSE: Final = 64
"""Where fewer than one of so many pieces is to be had of somebody, those are picked out, not looked for."""
_TWICE: Final = 2


@dataclass
class _Source:
    bits: Bits
    author: bool
    flying: dict[int, float] = field(default_factory=dict)  # piece → since when


class Plan:
    """The pieces of one transfer and those who have them, by whatever key names a source."""

    def __init__(self, done: Bits, head: int, order: int) -> None:
        """`done` is watched, not copied. `head` pieces at the start come before all others. `order`: a
        number of this receiver's own."""
        self._done = done
        self._head = head
        self._sources: dict[Hashable, _Source] = {}
        self._flying: dict[int, int] = {}  # piece → how many bring it
        self._from = 0  # all before it are there or under way, for one source
        total = max(1, done.total)
        self._start = order % total
        step = (order // total) % total | 1
        while math.gcd(step, total) != 1:
            step += 2
        self._step = step
        self._back = pow(step, -1, total) if total > 1 else 0

    @property
    def sources(self) -> int:
        """How many there are."""
        return len(self._sources)

    def add(self, key: Hashable, bits: Bits, *, author: bool) -> None:
        """Somebody has these pieces; `author`: what he has others need not have."""
        if bits.total != self._done.total:
            raise LocalProtocolError("a map of another transfer")
        known = self._sources.get(key)
        if known is None:
            self._sources[key] = _Source(bits, author)
        else:
            known.bits, known.author = bits, author

    def more(self, key: Hashable, pieces: Iterable[int]) -> None:
        """He has these too."""
        source = self._sources.get(key)
        if source is not None:
            for number in pieces:
                source.bits.add(number)

    def drop(self, key: Hashable) -> None:
        """He is gone; what he was asked for is free again."""
        source = self._sources.pop(key, None)
        if source is not None:
            for number in source.flying:
                self._landed(number)

    def came(self, key: Hashable, number: int) -> None:
        """What he was asked for has come from him, or will not: it is no longer on its way."""
        source = self._sources.get(key)
        if source is not None and source.flying.pop(number, None) is not None:
            self._landed(number)

    def flying(self, key: Hashable) -> int:
        """How many pieces are on their way from him."""
        source = self._sources.get(key)
        return len(source.flying) if source is not None else 0

    def take(self, key: Hashable, count: int, now: float, known: Bits, *, anywhere: bool) -> list[int]:
        """At most `count` pieces to ask of him now; they count as on their way.

        `known`: pieces whose hash is known: only the author's may come before theirs.
        `anywhere`: the manifest is here, so that any piece has a place.
        """
        source = self._sources.get(key)
        if source is None:
            return []
        chosen: list[int] = []
        while len(chosen) < count:
            number = self._next(source, now, known, anywhere)
            if number is None:
                break
            source.flying[number] = now
            self._flying[number] = self._flying.get(number, 0) + 1
            chosen.append(number)
        return chosen

    # -- within ----------------------------------------------------------------------------------

    def _next(self, source: _Source, now: float, known: Bits, anywhere: bool) -> int | None:
        def may(number: int) -> bool:
            return (
                number in source.bits and number not in source.flying and (source.author or number in known)
            )

        if not anywhere:
            return next(
                (n for n in range(self._head) if n not in self._done and n not in self._flying and may(n)),
                None,
            )
        best: tuple[int, int] | None = None
        looked = 0
        for number in self._candidates(source.bits, None if source.author else known):
            if number in self._flying or not may(number):
                continue
            if len(self._sources) == 1:
                return number
            rarity = sum(not one.author and number in one.bits for one in self._sources.values())
            if best is None or rarity < best[0]:
                best = rarity, number
            looked += 1
            if rarity == 0 or looked >= LOOKED_AT:
                break
        return best[1] if best is not None else self._slow(source, now, may)

    def _candidates(self, bits: Bits, known: Bits | None) -> Iterable[int]:
        """What is missing, in the order in which it is asked for: all that can be had of whom has `bits`."""
        alone, total = len(self._sources) == 1, self._done.total
        count = bits.count_beyond(self._done, known)
        if count * SPARSE < total:
            few = bits.beyond(self._done) if count else []
            return (
                few if alone else sorted(few, key=lambda number: (number - self._start) * self._back % total)
            )
        return self._from_the_front() if alone else self._all_over()

    def _from_the_front(self) -> Iterator[int]:
        while self._from < self._done.total and self._from in self._done:
            self._from += 1
        yield from self._done.missing(self._from)

    def _all_over(self) -> Iterator[int]:
        total, at = self._done.total, self._start
        for _ in range(total):
            if at not in self._done:
                yield at
            at = (at + self._step) % total

    def _slow(self, source: _Source, now: float, may: Callable[[int], bool]) -> int | None:
        """A piece that is on its way from somebody for long, and from nobody else."""
        for other in self._sources.values():
            if other is source:
                continue
            for number, since in other.flying.items():
                if now - since >= AGAIN_S and self._flying[number] < _TWICE and may(number):
                    if number not in self._done:
                        return number
        return None

    def _landed(self, number: int) -> None:
        left = self._flying.get(number, 0) - 1
        if left > 0:
            self._flying[number] = left
        else:
            self._flying.pop(number, None)
