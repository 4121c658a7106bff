"""Reconciliation items: weeks are counted and listed as the protocol needs them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pchat.ids import RoomId
from p2pchat.model import StoredEvent, WeekRow
from p2pchat.store.items import WEEK_MS
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.wire.messages.events import ADD, MESSAGE
from tests.store.samples import ROOM, Samples, made


def item(event: StoredEvent) -> tuple[int, bytes]:
    return event.hlc >> 16, event.id


def row_of(events: list[StoredEvent], week: int) -> WeekRow:
    total = sum(int.from_bytes(event.id, "little") for event in events) % (1 << 256)
    return WeekRow(week, len(events), total.to_bytes(32, "little"))


def packed(events: list[StoredEvent]) -> bytes:
    return b"".join(ms.to_bytes(8, "big") + identity for ms, identity in sorted(map(item, events)))


def put(ledger: Ledger, events: list[StoredEvent], control: bool) -> None:
    for event in events:
        ledger.events.add(event)
    ledger.items.add(ROOM, control, [(ms, event.id) for event in events for ms in [event.hlc >> 16]])


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=30), st.booleans())
def test_weeks_and_lists_agree_with_the_log(clocks: list[int], control: bool) -> None:
    samples = Samples()
    opened = open_ledger(MEMORY)
    opened.begin()
    events = [samples.event(hlc=hlc, kind=ADD if control else MESSAGE) for hlc in clocks]
    put(opened, events, control)
    by_week: dict[int, list[StoredEvent]] = {}
    for event in events:
        by_week.setdefault((event.hlc >> 16) // WEEK_MS, []).append(event)
    assert opened.items.weeks(ROOM, control) == [row_of(by_week[week], week) for week in sorted(by_week)]
    for week, members in by_week.items():
        assert opened.items.packed(ROOM, control, week) == packed(members)
    assert opened.items.weeks(ROOM, not control) == []
    opened.commit()
    assert opened.check_integrity() == []
    opened.close()


def test_where_nothing_is_there_is_no_week(either: Ledger) -> None:
    assert either.items.weeks(RoomId(made("unknown")), False) == []
    assert either.items.packed(RoomId(made("unknown")), False, 7) == b""


def test_a_listing_reads_the_index_alone(ledger: Ledger) -> None:
    plan = ledger.connection.execute(
        "EXPLAIN QUERY PLAN SELECT hlc, id FROM event WHERE room = 1 AND item = 0 AND hlc BETWEEN 1 AND 2"
    ).fetchall()
    assert "COVERING INDEX event_item" in plan[0][3]
