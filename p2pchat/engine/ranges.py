"""Sets of sequence numbers as closed ranges, newest first.

Decides: the one form in which "which events of a chain" is kept and compared:
disjoint, not adjacent, greatest first. Does not know: what the numbers count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from p2pchat.errors import RemoteProtocolError

Ranges = tuple[tuple[int, int], ...]
MAX_SEQ = 2**53
"""Above any real chain; keeps arithmetic of hostile ranges in machine words."""


def add(ranges: Ranges, seq: int) -> Ranges:
    """`ranges` with `seq` in it."""
    for at, (low, high) in enumerate(ranges):
        if low <= seq <= high:
            return ranges
        if seq > high + 1:
            return (*ranges[:at], (seq, seq), *ranges[at:])
        if seq == high + 1:  # the usual case: the next one
            if at and ranges[at - 1][0] == seq + 1:  # and with it a hole is filled
                return (*ranges[: at - 1], (low, ranges[at - 1][1]), *ranges[at + 1 :])
            return (*ranges[:at], (low, seq), *ranges[at + 1 :])
        if seq == low - 1:
            return union(ranges, ((seq, seq),))
    return (*ranges, (seq, seq))


def union(left: Ranges, right: Ranges) -> Ranges:
    """All numbers of both."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted((*left, *right)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(reversed(merged))


def minus(left: Ranges, right: Ranges) -> Ranges:
    """Numbers of `left` that are not in `right`."""
    if left == right:
        return ()
    rest: list[tuple[int, int]] = []
    holes = sorted(right)
    for low, high in left:
        pieces = []
        start = low
        for hole_low, hole_high in holes:
            if hole_high < start or hole_low > high:
                continue
            if hole_low > start:
                pieces.append((start, hole_low - 1))
            start = max(start, hole_high + 1)
        if start <= high:
            pieces.append((start, high))
        rest.extend(reversed(pieces))
    return tuple(rest)


def both(left: Ranges, right: Ranges) -> Ranges:
    """Numbers that are in `left` and in `right`."""
    return minus(left, minus(left, right))


def contains(ranges: Ranges, seq: int) -> bool:
    """Whether `seq` is in `ranges`."""
    return any(low <= seq <= high for low, high in ranges)


def cut_above(ranges: Ranges, top: int) -> Ranges:
    """`ranges` without what lies above `top`."""
    return tuple((low, min(high, top)) for low, high in ranges if low <= top)


def newest(ranges: Ranges, count: int) -> Ranges:
    """The first `count` ranges: what a register has room for."""
    return ranges[:count]


def seqs(ranges: Ranges) -> Iterator[int]:
    """Every number, ascending."""
    for low, high in reversed(ranges):
        yield from range(low, high + 1)


def checked(ranges: Iterable[tuple[int, int]], limit: int) -> Ranges:
    """Ranges as a peer sent them; RemoteProtocolError unless in the one form."""
    result = tuple(ranges)
    if len(result) > limit:
        raise RemoteProtocolError("too many ranges")
    below = MAX_SEQ
    for low, high in result:
        if not 1 <= low <= high < below:
            raise RemoteProtocolError("ranges out of form")
        below = low - 1  # a gap of at least one, or the two would be one range
    return result
