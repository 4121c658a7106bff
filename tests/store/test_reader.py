"""History, unread, queue: what people see, a page at a time and beside the writer."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import ArchiveError, CommandError
from p2pchat.ids import EventId, RoomId
from p2pchat.model import DELIVERED, HELD, Draft, Gap, MessageView, Page, QueueRow, RoomRow
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import PREVIEW, Reader, open_reader
from tests.store.samples import BOB, OTHER_ROOM, ROOM, START_MS, Samples, made


def fill(ledger: Ledger, samples: Samples, count: int) -> list[MessageView]:
    ledger.begin()
    views = [samples.put(ledger, text=f"message {n}") for n in range(count)]
    ledger.commit()
    return views


# -- history ---------------------------------------------------------------------------


def test_the_end_of_a_room_oldest_first(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    views = fill(ledger, samples, 10)
    ledger.begin()
    samples.put(ledger, room=OTHER_ROOM)
    samples.put(ledger, hidden=True)
    samples.put(ledger, seq=14)
    cursor = ledger.outbox.feed("message", b"", 1)
    ledger.commit()
    page = reader.history(ROOM, tail=4)
    assert page.messages[:3] == tuple(views[7:])
    assert page.has_more
    assert page.cursor == cursor
    assert page.gaps == (Gap(views[0].device, 12, 13),)
    assert not reader.history(ROOM, tail=11).has_more
    assert reader.history(RoomId(made("unknown")), tail=5) == Page((), False, cursor)


def test_before_and_after_an_event_or_a_time(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    v = fill(ledger, samples, 10)

    def told(page: Page) -> tuple[list[int], bool]:
        return [v.index(view) for view in page.messages], page.has_more

    assert told(reader.history(ROOM, tail=2, before=v[5].id)) == ([3, 4], True)
    assert told(reader.history(ROOM, tail=9, before=v[2].id)) == ([0, 1], False)
    assert told(reader.history(ROOM, tail=2, after=v[5].id)) == ([8, 9], True)
    assert told(reader.history(ROOM, tail=2, after=v[5].id, forward=True)) == ([6, 7], True)
    assert told(reader.history(ROOM, tail=9, after=v[5].id, before=v[8].id)) == ([6, 7], False)
    assert told(reader.history(ROOM, tail=9, after=v[5].written_ms)) == ([5, 6, 7, 8, 9], False)
    assert told(reader.history(ROOM, tail=9, before=v[5].written_ms)) == ([0, 1, 2, 3, 4], False)
    assert told(reader.history(ROOM, tail=9, after=0, before=1 << 60)) == (list(range(1, 10)), True)
    assert told(reader.history(ROOM, tail=9, after=1 << 60)) == ([], False)
    assert told(reader.history(ROOM, tail=9, before=-5)) == ([], False)
    with pytest.raises(CommandError, match="no message") as caught:
        reader.history(ROOM, tail=9, before=EventId(made("?")))
    assert caught.value.kind == "no_such_target"
    assert reader.history(ROOM, tail=1).messages  # and the reader goes on


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=25), st.integers(1, 7), st.booleans()
)
def test_pages_put_together_are_the_history(clocks: list[tuple[int, int]], size: int, forward: bool) -> None:
    """Equal clocks, clocks ahead of their arrival, any page size: nothing is doubled or lost."""
    samples = Samples()
    opened = open_ledger(MEMORY)
    reader = open_reader(opened)
    opened.begin()
    views = []
    for ms, ahead in clocks:
        hlc = (START_MS + ms + ahead * 10_000_000_000) << 16
        views.append(samples.put(opened, hlc=hlc))
    opened.commit()

    def where(view: MessageView) -> tuple[int, bytes]:
        future = view.written_ms > view.received_ms + 300_000
        return (view.received_ms << 16 if future else view.hlc), view.id

    expected = sorted(views, key=where)
    told: list[MessageView] = []
    edge: EventId | None = None
    while True:
        page = (
            reader.history(ROOM, tail=size, after=edge, forward=True)
            if forward
            else reader.history(ROOM, tail=size, before=edge)
        )
        told = told + list(page.messages) if forward else list(page.messages) + told
        if not page.has_more:
            break
        edge = page.messages[-1].id if forward else page.messages[0].id
    assert told == expected
    opened.close()


def test_a_thread_with_its_root_and_what_is_pinned(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    ledger.begin()
    root = samples.put(ledger, text="root")
    samples.put(ledger)
    replies = [samples.put(ledger, thread=root.id) for _ in range(3)]
    pinned = samples.put(ledger, pinned=True)
    also = samples.put(ledger, thread=root.id, pinned=True)
    samples.put(ledger, pinned=True, hidden=True)
    samples.put(ledger, pinned=True, room=OTHER_ROOM)
    ledger.commit()
    assert reader.history(ROOM, tail=9, thread=root.id).messages == (root, *replies, also)
    assert reader.history(ROOM, tail=2, thread=root.id).has_more
    assert reader.history(ROOM, tail=9, pinned=True).messages == (pinned, also)
    assert reader.history(ROOM, tail=9, pinned=True, thread=root.id).messages == (also,)


@pytest.mark.parametrize("extra", ["", "pinned"])
def test_a_page_costs_its_length(reader: Reader, extra: str) -> None:
    from p2pchat.store import reader as module

    sql = module._VIEWS + module._RANGE + (module._PINNED if extra else "") + module._NEWEST_FIRST
    names = {"room": 1, "low": 0, "low_id": b"", "high": 9, "high_id": b"", "limit": 5}
    plan = [row[3] for row in reader._conn.execute("EXPLAIN QUERY PLAN " + sql, names)]
    wanted = "message_pinned" if extra else "message_order"
    assert f"INDEX {wanted} (room=? AND place>? AND place<?)" in plan[0]
    assert plan[-1] in (
        "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY",
        "USE TEMP B-TREE FOR LAST TERM OF ORDER BY",
    )


# -- unread, single messages, counts -----------------------------------------------------


def test_unread_and_the_inbox(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    views = fill(ledger, samples, 3)
    ledger.begin()
    samples.put(ledger, mine=True)
    samples.put(ledger, hidden=True)
    call = samples.put(ledger, room=OTHER_ROOM, mentions_me=True)
    ledger.commit()
    assert reader.unread(ROOM, 2) == views[:2]
    assert reader.unread(ROOM, 9) == views
    assert reader.unread_total() == 4
    assert reader.inbox_counts() == sorted([(ROOM, 3, 0), (OTHER_ROOM, 1, 1)])
    ledger.begin()
    ledger.views.mark_read([view.id for view in (*views, call)])
    ledger.commit()
    assert (reader.unread_total(), reader.inbox_counts(), reader.unread(ROOM, 9)) == (0, [], [])


def test_messages_in_the_order_asked_for(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    views = fill(ledger, samples, 3)
    ledger.begin()
    hidden = samples.put(ledger, hidden=True)
    ledger.commit()
    asked = [views[2].id, EventId(made("?")), hidden.id, views[0].id, views[2].id]
    assert reader.messages(asked) == [views[2], views[0], views[2]]


def test_counts(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    fill(ledger, samples, 3)
    counts = reader.counts()
    assert (counts["event"], counts["message"], counts["feed"], counts["gap"]) == (3, 3, 0, 0)
    assert reader.check_integrity() == []


# -- the queue -------------------------------------------------------------------------


def test_the_queue_holds_what_waits_and_what_is_due_later(
    ledger: Ledger, reader: Reader, samples: Samples
) -> None:
    ledger.begin()
    ledger.rooms.put_room(RoomRow(ROOM, "direct", "", BOB))
    ledger.rooms.put_room(RoomRow(OTHER_ROOM, "room", "launch", None))
    waiting = samples.put(ledger, mine=True, text=" two\n lines " + "x" * 100)
    held = samples.put(ledger, mine=True, state=HELD, room=OTHER_ROOM)
    samples.put(ledger, mine=True, state=DELIVERED)
    samples.put(ledger, mine=True, hidden=True)
    samples.put(ledger, mine=True, deleted=True, text=None)
    samples.put(ledger)
    draft = Draft("draft-abcdef", ROOM, "later", None, None, False, 99, "", START_MS)
    ledger.outbox.put_draft(draft)
    ledger.outbox.put_draft(replace(draft, id="draft-gone", cancelled=True))
    ledger.outbox.put_draft(replace(draft, id="draft-sent", sent_as=EventId(made("x"))))
    ledger.commit()
    preview = ("two lines " + "x" * 100)[: PREVIEW - 1] + "…"
    assert reader.queue() == [
        QueueRow(EventId(b"draft-abcdef"), ROOM, (BOB,), "scheduled", START_MS, "later", at_ms=99),
        QueueRow(waiting.id, ROOM, (BOB,), "queued", waiting.written_ms, preview),
        QueueRow(held.id, OTHER_ROOM, (), "held", held.written_ms, "hello"),
    ]
    assert len(preview) == PREVIEW


# -- beside the writer -------------------------------------------------------------------


def test_a_reader_works_in_a_thread_of_its_own(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    told: list[Page | Exception] = []

    def ask() -> None:
        try:
            for _ in range(50):
                told.append(reader.history(ROOM, tail=5))
        except Exception as error:  # handed to the test below
            told.append(error)

    fill(ledger, samples, 5)
    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(20):
        fill(ledger, samples, 5)
    thread.join()
    assert len(told) == 50
    for page in told:
        assert isinstance(page, Page), page
        assert len(page.messages) == 5


def test_a_reader_without_a_file_says_so(ledger: Ledger, tmp_path: object) -> None:
    ledger.path += ".elsewhere"
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_reader(ledger)


def test_in_memory_the_reader_shares_the_connection(samples: Samples) -> None:
    opened = open_ledger(MEMORY)
    reader = open_reader(opened)
    opened.begin()
    view = samples.put(opened)
    assert reader.messages([view.id]) == [view]
    opened.rollback()
    assert reader.messages([view.id]) == []
    reader.close()
    opened.begin()
    opened.commit()
    opened.close()
