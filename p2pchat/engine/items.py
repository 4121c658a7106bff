"""Sets that can be reconciled: items in order, their sums, and where a bound falls.

Decides: what an item is (a time in ms and a 32-byte id, in that order), how sums of
ids are kept per week, and how much of a long room is in memory while two peers
compare it: per-week counts and sums always, the items of a week only where a bound
splits it. Does not know: the messages exchanged (reconcile) or where rows lie (store).

A packed week is its items one after the other, u64 big-endian ms and id each, sorted:
the order of the bytes is the order of the items. Sums are those of the ids as
little-endian numbers mod 2^256, as negentropy's fingerprint wants them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Protocol

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.ids import ID_BYTES
from p2pchat.model import WeekRow
from p2pchat.wire.limits import MAX_WEEK_CACHE
from p2pchat.wire.limits import WEEK_MS as WEEK_MS
from p2pchat.wire.negentropy import INFINITY, Bound

Item = tuple[int, bytes]
"""Time in ms since 1970 (hlc >> 16) and event id."""

ITEM_BYTES: Final = 8 + ID_BYTES
_MS_BYTES: Final = 8
_SUM_MASK: Final = 2**256 - 1
_BLOCK: Final = 64  # items between two kept sums of a week: 1 byte an item, ≤ 63 additions at an edge


class Items(Protocol):
    """A set of items, sorted by (ms, id), as reconciliation asks for it.

    Indexes count from 0; ranges are half open. `work` grows with every item read and
    every sum, so that whoever answers strangers can stop in time.
    """

    @property
    def work(self) -> int: ...
    def __len__(self) -> int: ...
    def sum(self, start: int, end: int) -> int:
        """Sum of the ids in the range, mod 2^256."""

    def item(self, index: int) -> Item: ...
    def ids(self, start: int, end: int) -> Iterator[bytes]:
        """Ids of the range in order, read as they are taken."""

    def lower_bound(self, bound: Bound) -> int:
        """How many items lie before `bound`."""


def week_of(ms: int) -> int:
    """The week an item of that time belongs to; weeks count from 1970-01-01."""
    return ms // WEEK_MS


def key(ms: int, id: bytes) -> bytes:
    """An item as its 40 bytes; with a shorter id a bound that compares with them."""
    return ms.to_bytes(_MS_BYTES, "big") + id


def _checked(ms: int, id: bytes) -> bytes:
    if not 0 <= ms < INFINITY.ms or len(id) != ID_BYTES:
        raise LocalProtocolError(f"no reconciliation item: {ms}, {id.hex()!r}")
    return key(ms, id)


def pack(items: Iterable[Item]) -> bytes:
    """Items in any order as packed bytes; a repeated one stands once."""
    return b"".join(sorted({_checked(ms, id) for ms, id in items}))


def unpack(packed: bytes) -> list[Item]:
    """The items of packed bytes."""
    return [_item(piece) for piece in _pieces(packed)]


def _item(piece: bytes) -> Item:
    return int.from_bytes(piece[:_MS_BYTES], "big"), piece[_MS_BYTES:]


def _pieces(packed: bytes) -> list[bytes]:
    if len(packed) % ITEM_BYTES:
        raise LocalProtocolError(f"packed items of {len(packed)} bytes")
    return [packed[i : i + ITEM_BYTES] for i in range(0, len(packed), ITEM_BYTES)]


def _number(id: bytes) -> int:
    return int.from_bytes(id, "little")


def count_in(row: WeekRow, ids: Sequence[bytes]) -> WeekRow:
    """`row` with these ids, known to be new, added."""
    return _moved(row, len(ids), sum(map(_number, ids)))


def count_out(row: WeekRow, ids: Sequence[bytes]) -> WeekRow:
    """`row` without these ids, known to be in it."""
    return _moved(row, -len(ids), -sum(map(_number, ids)))


def _moved(row: WeekRow, count: int, total: int) -> WeekRow:
    if row.count + count < 0:
        raise LocalProtocolError(f"week {row.week} would hold {row.count + count} items")
    total = (_number(row.sum) + total) & _SUM_MASK
    return WeekRow(row.week, row.count + count, total.to_bytes(ID_BYTES, "little"))


def empty_week(week: int) -> WeekRow:
    """The row of a week without items."""
    return WeekRow(week, 0, bytes(ID_BYTES))


def add_to_week(row: WeekRow, packed: bytes, items: Iterable[Item]) -> tuple[WeekRow, bytes]:
    """Row and packed bytes of a week with a batch added; what is there already changes nothing."""
    present = set(_pieces(packed))
    added = sorted({_in_week(row, ms, id) for ms, id in items} - present)
    return count_in(row, [piece[_MS_BYTES:] for piece in added]), b"".join(sorted(present.union(added)))


def remove_from_week(row: WeekRow, packed: bytes, items: Iterable[Item]) -> tuple[WeekRow, bytes]:
    """Row and packed bytes of a week with a batch removed; what is not there changes nothing."""
    present = set(_pieces(packed))
    removed = {_in_week(row, ms, id) for ms, id in items} & present
    return count_out(row, [piece[_MS_BYTES:] for piece in removed]), b"".join(sorted(present - removed))


def _in_week(row: WeekRow, ms: int, id: bytes) -> bytes:
    if week_of(ms) != row.week:
        raise LocalProtocolError(f"time {ms} is not in week {row.week}")
    return _checked(ms, id)


class VectorItems:
    """Items held whole, with a running sum: control sets, salted weeks, tests."""

    def __init__(self, items: Iterable[Item]) -> None:
        """`items` in any order; a repeated one counts once."""
        self._keys = sorted({_checked(ms, id) for ms, id in items})
        self._sums = list(accumulate((_number(k[_MS_BYTES:]) for k in self._keys), initial=0))
        self.work = 0

    def __len__(self) -> int:
        return len(self._keys)

    def sum(self, start: int, end: int) -> int:
        self.work += 1
        return (self._sums[end] - self._sums[start]) & _SUM_MASK

    def item(self, index: int) -> Item:
        return _item(self._keys[index])

    def ids(self, start: int, end: int) -> Iterator[bytes]:
        for index in range(start, end):
            self.work += 1
            yield self._keys[index][_MS_BYTES:]

    def lower_bound(self, bound: Bound) -> int:
        if bound.ms == INFINITY.ms:
            return len(self._keys)
        return bisect_left(self._keys, key(*bound))


_MS_BITS: Final = 8 * _MS_BYTES
_IDS_OF_BLOCK: Final = int.from_bytes((bytes(_MS_BYTES) + b"\xff" * ID_BYTES) * _BLOCK, "little")
_HALVES: Final = tuple(
    (8 * ITEM_BYTES * places, (1 << 8 * ITEM_BYTES * places) - 1) for places in (32, 16, 8, 4, 2, 1)
)


class _Week:
    """One unpacked week: its packed bytes and the sum at every 64th item."""

    __slots__ = ("packed", "size", "sums")

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        starts = range(0, len(packed), _BLOCK * ITEM_BYTES)
        blocks = (self._total(start, start + _BLOCK * ITEM_BYTES) for start in starts)
        self.sums = list(accumulate(blocks, initial=0))
        self.size = len(packed) + 80 * len(self.sums)  # a sum is an int of ~70 bytes and its slot

    def _total(self, start: int, end: int) -> int:
        """Sum of the ids in these packed bytes (at most a block), mod 2^256.

        The block is one long number of 64 places; half is added to half until one place is left.
        Times are masked away, so what an id carries over goes into empty bits of the next place.
        """
        number = int.from_bytes(self.packed[start:end], "little") & _IDS_OF_BLOCK
        for bits, mask in _HALVES:
            number = (number & mask) + (number >> bits)
        return number >> _MS_BITS & _SUM_MASK

    def sum_before(self, index: int) -> int:
        block = index // _BLOCK
        return self.sums[block] + self._total(block * _BLOCK * ITEM_BYTES, index * ITEM_BYTES)

    def piece(self, index: int) -> bytes:
        return self.packed[index * ITEM_BYTES : (index + 1) * ITEM_BYTES]

    def lower_bound(self, wanted: bytes) -> int:
        return bisect_left(range(len(self.packed) // ITEM_BYTES), wanted, key=self.piece)


class WeekCache:
    """Unpacked weeks of all rooms, the least recently used given up first.

    A week is known by its place, count and sum, so one that changed is another week
    and an old one is never used for it.
    """

    def __init__(self, limit: int = MAX_WEEK_CACHE) -> None:
        """`limit`: bytes kept at most; one week alone may exceed it while it is used."""
        self._limit = limit
        self._weeks: OrderedDict[Hashable, _Week] = OrderedDict()
        self.size = 0

    def get(self, place: Hashable) -> _Week | None:
        week = self._weeks.get(place)
        if week is not None:
            self._weeks.move_to_end(place)
        return week

    def put(self, place: Hashable, week: _Week) -> None:
        self._weeks[place] = week
        self.size += week.size
        while self.size > self._limit:
            _, gone = self._weeks.popitem(last=False)
            self.size -= gone.size


_UNPACKED_FOR_ONE: Final = 8
"""To unpack so many items takes no longer than to read one."""


class WeekItems:
    """Items of a long room: rows in memory, weeks unpacked where a bound splits them.

    Rows and loader must show one state, so make a new one for every message (it costs
    a few hundred rows); the cache is what lives on.
    """

    def __init__(
        self, rows: Iterable[WeekRow], load: Callable[[int], bytes], cache: WeekCache, scope: Hashable
    ) -> None:
        """`load(week)` gives a week's packed items; `scope` tells sets apart in the cache."""
        self._rows = sorted((row for row in rows if row.count), key=lambda row: row.week)
        self._weeks = [row.week for row in self._rows]
        self._starts = list(accumulate((row.count for row in self._rows), initial=0))
        self._sums = list(accumulate((_number(row.sum) for row in self._rows), initial=0))
        self._load = load
        self._cache = cache
        self._scope = scope
        self.work = 0

    def __len__(self) -> int:
        return self._starts[-1]

    def sum(self, start: int, end: int) -> int:
        return (self._sum_before(end) - self._sum_before(start)) & _SUM_MASK

    def item(self, index: int) -> Item:
        at = self._row_of(index)
        return _item(self._week(at).piece(index - self._starts[at]))

    def ids(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            at = self._row_of(start)
            week = self._week(at)
            stop = min(end, self._starts[at + 1])
            for index in range(start - self._starts[at], stop - self._starts[at]):
                self.work += 1
                yield week.piece(index)[_MS_BYTES:]
            start = stop

    def lower_bound(self, bound: Bound) -> int:
        if bound.ms == INFINITY.ms:
            return len(self)
        at = bisect_left(self._weeks, week_of(bound.ms))
        if at == len(self._rows) or self._weeks[at] != week_of(bound.ms):
            return self._starts[at]  # between two weeks
        if bound.ms % WEEK_MS == 0 and not bound.prefix:
            return self._starts[at]
        return self._starts[at] + self._week(at).lower_bound(key(*bound))

    def _row_of(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1

    def _sum_before(self, index: int) -> int:
        at = self._row_of(index)
        self.work += 1
        if self._starts[at] == index:
            return self._sums[at]
        self.work += _BLOCK // 2
        return self._sums[at] + self._week(at).sum_before(index - self._starts[at])

    def _week(self, at: int) -> _Week:
        row = self._rows[at]
        place = (self._scope, row.week, row.count, row.sum)
        week = self._cache.get(place)
        if week is None:
            packed = self._load(row.week)
            week = _Week(packed)
            if len(packed) != row.count * ITEM_BYTES or week.sums[-1] & _SUM_MASK != _number(row.sum):
                raise LocalProtocolError(f"week {row.week} does not hold the {row.count} items of its row")
            self.work += row.count // _UNPACKED_FOR_ONE
            self._cache.put(place, week)
        return week


class ItemsFrom:
    """Another set without what lies before a time: all that a newcomer may have."""

    def __init__(self, items: Items, since_ms: int) -> None:
        self._items = items
        self._first = items.lower_bound(Bound(since_ms, b""))

    @property
    def work(self) -> int:
        return self._items.work

    def __len__(self) -> int:
        return len(self._items) - self._first

    def sum(self, start: int, end: int) -> int:
        return self._items.sum(self._first + start, self._first + end)

    def item(self, index: int) -> Item:
        return self._items.item(self._first + index)

    def ids(self, start: int, end: int) -> Iterator[bytes]:
        return self._items.ids(self._first + start, self._first + end)

    def lower_bound(self, bound: Bound) -> int:
        return max(0, self._items.lower_bound(bound) - self._first)


class Both:
    """Two sets of which all of the first lies before all of the second, as one."""

    def __init__(self, first: Items, second: Items) -> None:
        self._first, self._second, self._size = first, second, len(first)

    @property
    def work(self) -> int:
        return self._first.work + self._second.work

    def __len__(self) -> int:
        return self._size + len(self._second)

    def sum(self, start: int, end: int) -> int:
        size, total = self._size, 0
        if start < size:
            total += self._first.sum(start, min(end, size))
        if end > size:
            total += self._second.sum(max(start, size) - size, end - size)
        return total & _SUM_MASK

    def item(self, index: int) -> Item:
        size = self._size
        return self._first.item(index) if index < size else self._second.item(index - size)

    def ids(self, start: int, end: int) -> Iterator[bytes]:
        size = self._size
        if start < size:
            yield from self._first.ids(start, min(end, size))
        if end > size:
            yield from self._second.ids(max(start, size) - size, end - size)

    def lower_bound(self, bound: Bound) -> int:
        found = self._first.lower_bound(bound)
        return found if found < self._size else self._size + self._second.lower_bound(bound)


def salted(items: Iterable[Item], salt: bytes) -> tuple[VectorItems, dict[bytes, bytes]]:
    """Items under ids hashed with `salt`, and the way back to the real ids.

    The salt comes from whoever asked first; RemoteProtocolError unless it has 1 to 64 bytes.

    Ids are hashes their author can choose among, so somebody could search for sets
    whose plain sums agree though they differ; not so under a salt drawn afterwards.
    """
    if not 0 < len(salt) <= hashlib.blake2b.MAX_KEY_SIZE:
        raise RemoteProtocolError(f"salt of {len(salt)} bytes")
    real: dict[bytes, bytes] = {}
    hashed: list[Item] = []
    for ms, id in items:
        other = hashlib.blake2b(id, key=salt, digest_size=ID_BYTES).digest()
        real[other] = id
        hashed.append((ms, other))
    return VectorItems(hashed), real
