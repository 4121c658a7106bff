"""One transaction at a time: what commit, rollback and failure leave behind."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from p2pchat.errors import ArchiveError, LocalProtocolError
from p2pchat.store.ledger import Ledger, open_ledger
from p2pchat.store.reader import Reader
from tests.store.samples import BOBS_DEVICE, OTHER_ROOM, ROOM, Samples


def test_nothing_is_seen_before_the_commit(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    ledger.begin()
    view = samples.put(ledger)
    assert reader.messages([view.id]) == []
    ledger.commit()
    assert reader.messages([view.id]) == [view]


def test_a_rollback_drops_every_cache(either: Ledger, samples: Samples) -> None:
    either.commit()
    either.begin()
    first = samples.put(either, room=ROOM)
    either.items.add(ROOM, False, [(first.hlc >> 16, first.id)])
    either.rollback()
    core = either._core
    assert core.names.known(ROOM) is None
    assert (core.fresh, core.tops, core.weeks, core.stale_words) == ({}, {}, {}, None)
    either.begin()
    samples.put(either, room=OTHER_ROOM)  # takes the numbers that the lost rows had
    again = samples.put(either, room=ROOM, seq=1)
    either.commit()
    assert either.views.message(again.id) == again
    assert either.events.heads(ROOM)[BOBS_DEVICE].seq == 1
    assert either.check_integrity() == []


def test_forget_loses_nothing(either: Ledger, samples: Samples) -> None:
    view = samples.put(either)
    either.forget()
    assert either.views.message(view.id) == view
    either.views.put_message(view)
    samples.put(either)
    assert either.check_integrity() == []


def test_wrote_tells_whether_anything_changed(ledger: Ledger, samples: Samples) -> None:
    ledger.begin()
    assert not ledger.wrote
    assert ledger.events.heads(ROOM) == {}
    assert not ledger.wrote
    samples.put(ledger)
    assert ledger.wrote
    ledger.commit()
    ledger.begin()
    assert not ledger.wrote
    ledger.commit()


def test_a_commit_may_run_in_another_thread(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    ledger.begin()
    view = samples.put(ledger)
    thread = threading.Thread(target=ledger.commit)
    thread.start()
    thread.join()
    assert reader.messages([view.id]) == [view]


class Unable:
    """A connection whose commits fail, as on a disk that lost its sync."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    def execute(self, sql: str, *rest: object) -> object:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self.conn.execute(sql, *rest)

    def __getattr__(self, name: str) -> object:
        return getattr(self.conn, name)


def test_a_failed_commit_is_final(path: Path, samples: Samples) -> None:
    opened = open_ledger(path)
    opened.begin()
    view = samples.put(opened)
    opened._conn = Unable(opened._conn)  # type: ignore[assignment]
    with pytest.raises(ArchiveError, match="disk I/O error"):
        opened.commit()
    opened.rollback()
    with pytest.raises(ArchiveError, match="failed to commit"):
        opened.begin()
    opened.close()
    again = open_ledger(path)
    assert again.views.message(view.id) is None
    again.close()


def test_a_second_writer_is_refused(ledger: Ledger, path: Path) -> None:
    other = open_ledger(path)
    other.connection.execute("PRAGMA busy_timeout = 0")
    ledger.begin()
    with pytest.raises(ArchiveError, match="another program holds"):
        other.begin()
    ledger.commit()
    other.close()


def test_a_full_disk_says_so(ledger: Ledger, samples: Samples) -> None:
    pages = ledger.connection.execute("PRAGMA page_count").fetchone()[0]
    ledger.connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    ledger.begin()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        samples.put(ledger, text="x" * 100_000)
    ledger.rollback()
    ledger.connection.execute("PRAGMA max_page_count = 1073741823")
    ledger.begin()
    view = samples.put(ledger)
    ledger.commit()
    assert ledger.views.message(view.id) == view
    assert ledger.check_integrity() == []


def test_a_rollback_outside_a_transaction_is_harmless(ledger: Ledger) -> None:
    ledger.rollback()
    ledger.begin()
    ledger.commit()


def test_no_image_inside_a_transaction(ledger: Ledger) -> None:
    ledger.begin()
    with pytest.raises(LocalProtocolError):
        ledger.serialize()
    ledger.rollback()


def test_closing_undoes_what_was_not_committed(path: Path, samples: Samples) -> None:
    opened = open_ledger(path)
    opened.begin()
    view = samples.put(opened)
    opened.close()
    again = open_ledger(path)
    assert again.views.message(view.id) is None
    again.close()


def test_a_reader_cannot_write(reader: Reader) -> None:
    for sql in ("DELETE FROM message", "PRAGMA user_version = 9", "CREATE TABLE x (y)"):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._conn.execute(sql)


def test_a_reader_in_the_way_delays_no_checkpoint(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    ledger.begin()
    samples.put(ledger)
    ledger.commit()
    with reader._snapshot():
        reader._conn.execute("SELECT count(*) FROM message").fetchone()
        ledger.begin()
        samples.put(ledger)
        ledger.commit()
        assert not ledger.checkpoint()  # at once, without waiting for the busy timeout
    assert ledger.checkpoint()
    assert ledger.connection.execute("PRAGMA busy_timeout").fetchone()[0] == 5000
