"""Items by week hold the same set as items held whole, and no more in memory than allowed."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.engine.items import (
    ITEM_BYTES,
    WEEK_MS,
    Item,
    VectorItems,
    WeekCache,
    WeekItems,
    add_to_week,
    count_in,
    count_out,
    empty_week,
    pack,
    remove_from_week,
    salted,
    unpack,
    week_of,
)
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.model import WeekRow
from p2pchat.wire.negentropy import INFINITY, Bound
from tests.engine.weeks import rows_of

# few distinct ids and times, so that items collide, share times and touch the edges of weeks
ids = st.integers(0, 2**256 - 1).map(lambda n: n.to_bytes(32, "big")) | st.sampled_from(
    [bytes(32), b"\xff" * 32, bytes(31) + b"\1", b"\1" + bytes(31)]
)
times = st.sampled_from([0, 1, WEEK_MS - 1, WEEK_MS, WEEK_MS + 1, 3 * WEEK_MS]) | st.integers(0, 6 * WEEK_MS)
item_lists = st.lists(st.tuples(times, ids), max_size=200)


def by_week(items: list[Item], cache: WeekCache | None = None) -> WeekItems:
    rows, packed = rows_of(items)
    return WeekItems(rows, packed.__getitem__, cache or WeekCache(), "room")


def many(count: int, weeks: int) -> list[Item]:
    """Repeatable items spread over that many weeks."""
    step = weeks * WEEK_MS // count
    return [(n * step, hashlib.sha256(b"%d" % n).digest()) for n in range(count)]


@given(item_lists)
def test_packing_sorts_and_unpacks_to_the_same_set(items: list[Item]) -> None:
    packed = pack(items)
    assert unpack(packed) == sorted(set(items))
    assert pack(unpack(packed)) == packed
    assert len(packed) == ITEM_BYTES * len(set(items))


@given(item_lists, st.lists(st.tuples(times, ids), max_size=20), st.data())
def test_weekly_and_whole_items_agree(items: list[Item], bounds: list[Item], data: st.DataObject) -> None:
    whole, weekly = VectorItems(items), by_week(items)
    size = len(whole)
    assert len(weekly) == size
    assert [weekly.item(i) for i in range(size)] == [whole.item(i) for i in range(size)] == sorted(set(items))
    for ms, id in [*bounds, *items[:20]]:
        for length in (0, 1, 31, 32):
            bound = Bound(ms, id[:length])
            assert weekly.lower_bound(bound) == whole.lower_bound(bound)
    assert weekly.lower_bound(INFINITY) == whole.lower_bound(INFINITY) == size
    for _ in range(5):
        start, end = sorted((data.draw(st.integers(0, size)), data.draw(st.integers(0, size))))
        assert weekly.sum(start, end) == whole.sum(start, end)
        assert list(weekly.ids(start, end)) == list(whole.ids(start, end))


def test_sums_agree_at_every_edge_of_a_long_week() -> None:
    items = many(300, 2)
    whole, weekly = VectorItems(items), by_week(items)
    edges = [0, 1, 63, 64, 65, 127, 128, 149, 150, 151, 213, 214, 215, 299, 300]
    assert all(weekly.sum(a, b) == whole.sum(a, b) for a in edges for b in edges if a <= b)


@pytest.mark.parametrize("count", [1, 2, 31, 63, 64, 65, 127, 128, 200])
def test_the_greatest_ids_and_times_carry_into_nothing(count: int) -> None:
    week = (2**48 - 1) // WEEK_MS - 1
    last = (week + 1) * WEEK_MS - 1
    items = [(last - n % 3, (2**256 - 1 - n).to_bytes(32, "little")) for n in range(count)]
    row, packed = add_to_week(empty_week(week), b"", items)
    by_week = WeekItems([row], lambda _: packed, WeekCache(), ())
    whole = VectorItems(items)
    for start in range(0, count, 7):
        for end in range(start, count + 1):
            assert by_week.sum(start, end) == whole.sum(start, end)


def test_a_bound_between_weeks_unpacks_nothing() -> None:
    rows, _ = rows_of(many(100, 10))
    loaded: list[int] = []

    def load(week: int) -> bytes:
        loaded.append(week)
        raise AssertionError(f"week {week} was unpacked")

    items = WeekItems(rows, load, WeekCache(), "room")
    cuts = [items.lower_bound(Bound(week * WEEK_MS, b"")) for week in range(12)]
    assert cuts == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100]
    assert all(items.sum(a, b) > 0 for a, b in pairwise(cuts[:11]))
    assert not loaded


def test_the_cache_stays_below_its_limit_and_gives_up_the_oldest() -> None:
    rows, packed = rows_of(many(1000, 10))
    loaded: list[int] = []

    def load(week: int) -> bytes:
        loaded.append(week)
        return packed[week]

    cache = WeekCache(limit=3 * (100 * ITEM_BYTES + 80 * 3))
    items = WeekItems(rows, load, cache, "room")
    for week in (0, 1, 2, 0, 3, 0, 1):  # 3 pushes out 1, which then comes again
        items.item(week * 100 + 50)
    assert loaded == [0, 1, 2, 3, 1]
    assert 0 < cache.size <= 3 * (100 * ITEM_BYTES + 80 * 3)


def test_a_changed_week_is_never_answered_from_the_cache() -> None:
    cache = WeekCache()
    first, second = many(10, 1), [*many(10, 1), (5, b"\7" * 32)]
    assert by_week(first, cache).item(1) == sorted(first)[1]
    assert by_week(second, cache).item(1) == sorted(second)[1] == (5, b"\7" * 32)


@pytest.mark.parametrize("packed", [b"", pack(many(9, 1)), pack([*many(9, 1), (5, b"\7" * 32)]), b"x"])
def test_a_week_that_is_not_its_row_is_our_bug(packed: bytes) -> None:
    rows, _ = rows_of(many(10, 1))
    with pytest.raises(LocalProtocolError):
        WeekItems(rows, lambda week: packed, WeekCache(), "room").item(5)


@given(st.lists(st.tuples(st.integers(0, WEEK_MS - 1), ids), max_size=60), st.data())
def test_batches_in_and_out_give_the_week_of_what_remains(items: list[Item], data: st.DataObject) -> None:
    batches = data.draw(st.lists(st.lists(st.sampled_from(items)), max_size=5)) if items else []
    row, packed = empty_week(0), b""
    held: set[Item] = set()
    for n, batch in enumerate([items, *batches]):
        if n % 2:
            row, packed = remove_from_week(row, packed, batch)
            held -= set(batch)
        else:
            row, packed = add_to_week(row, packed, batch)
            held |= set(batch)
        assert packed == pack(held)
        total = sum(int.from_bytes(id, "little") for _, id in held) % 2**256
        assert row == WeekRow(0, len(held), total.to_bytes(32, "little"))


@given(st.lists(ids, max_size=20), st.lists(ids, max_size=20))
def test_counting_in_and_out_again_changes_nothing(before: list[bytes], batch: list[bytes]) -> None:
    row = count_in(empty_week(7), before)
    assert count_out(count_in(row, batch), batch) == row
    assert row.count == len(before)


def test_impossible_items_are_our_bug() -> None:
    row = empty_week(3)
    for wrong in [(-1, bytes(32)), (2**64 - 1, bytes(32)), (5, bytes(31)), (5, bytes(33))]:
        with pytest.raises(LocalProtocolError):
            pack([wrong])
    with pytest.raises(LocalProtocolError, match="not in week 3"):
        add_to_week(row, b"", [(0, bytes(32))])
    with pytest.raises(LocalProtocolError, match="-1 items"):
        count_out(row, [bytes(32)])
    with pytest.raises(LocalProtocolError):
        unpack(bytes(41))


def test_weeks_are_seven_days_from_1970() -> None:
    assert [week_of(ms) for ms in (0, WEEK_MS - 1, WEEK_MS)] == [0, 0, 1]
    assert WEEK_MS == 604_800_000


def test_salted_ids_lead_back_and_change_with_the_salt() -> None:
    items = many(50, 2)
    hidden, real = salted(items, b"a" * 32)
    other, _ = salted(items, b"b" * 32)
    assert sorted(real.values()) == sorted(id for _, id in items)
    assert [real[id] for id in hidden.ids(0, 50)] == [id for _, id in sorted(items)]
    assert not set(hidden.ids(0, 50)) & set(other.ids(0, 50))
    expected = hashlib.blake2b(items[0][1], key=b"a" * 32, digest_size=32).digest()
    assert hidden.item(0) == (items[0][0], expected)
    for wrong in (b"", b"s" * 65):
        with pytest.raises(RemoteProtocolError, match="salt of"):
            salted(items, wrong)
