"""Erased is erased: no trace of a deleted text is left in the file or its log.

Each play puts a canary where text lies (body, message, index, edit, draft), takes it back
and then looks at every byte on the disk. `remains` looks for the canary without its first
letters too, since the index writes words with their common beginning left out.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from p2pchat.ids import EventId
from p2pchat.model import DELIVERED, Draft, MessageView, PrekeyRow, StoredEvent, Touch
from p2pchat.store import spare
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import Reader, open_reader
from p2pchat.store.spare import gap
from p2pchat.wire.messages.events import EDIT
from tests.store.samples import BOB, ROOM, START_MS, Samples, made

CANARY = "zqxjkvbpygf"


def remains(path: Path) -> int:
    """How often the canary lies in the archive's files."""
    files = [path, path.with_name(path.name + "-wal")]
    return sum(one.read_bytes().count(CANARY[2:].encode()) for one in files if one.exists())


def crowd(ledger: Ledger, samples: Samples, count: int = 1500) -> None:
    """Other messages, some before and some after, so that pages split and segments pile up."""
    for at in range(0, count, 100):
        ledger.begin()
        for n in range(at, at + 100):
            samples.put(ledger, text=f"ordinary words number {n} " + "and more " * (n % 9))
        ledger.views.index_some()
        ledger.commit()


def put(ledger: Ledger, samples: Samples, **fields: object) -> tuple[StoredEvent, MessageView]:
    """A message whose text and body hold the canary."""
    event, view = samples.message(text=f"say {CANARY} please", **fields)  # type: ignore[arg-type]
    event = event._replace(body=b"sealed " + CANARY.encode())
    ledger.begin()
    ledger.events.add(event)
    ledger.items.add(ROOM, False, [(event.hlc >> 16, event.id)])
    ledger.views.put_message(view)
    ledger.commit()
    return event, view


def scrub(ledger: Ledger) -> None:
    for _ in range(1000):
        if ledger.scrub():
            return
    raise AssertionError("erasing does not end")


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("gone", [{"deleted": True, "text": None}, {"hidden": True, "text": None}])
def test_a_deleted_message_leaves_nothing(
    ledger: Ledger, path: Path, samples: Samples, indexed: bool, gone: dict[str, object]
) -> None:
    crowd(ledger, samples)
    event, view = put(ledger, samples)
    if indexed:
        ledger.begin()
        ledger.views.index_some()
        ledger.commit()
    crowd(ledger, samples)
    assert remains(path)
    ledger.begin()
    ledger.events.put_body(event.id, None, StoredEvent.ERASED)
    ledger.views.put_message(view._replace(**gone))  # type: ignore[arg-type]
    ledger.commit()
    scrub(ledger)
    assert remains(path) == 0
    assert ledger.check_integrity() == []


def test_words_of_an_edit_before_the_delete_leave_nothing(
    ledger: Ledger, path: Path, samples: Samples
) -> None:
    crowd(ledger, samples)
    event, view = put(ledger, samples)
    ledger.begin()
    ledger.views.index_some()
    ledger.commit()
    ledger.begin()
    ledger.views.put_message(view._replace(text="harmless", edited=True))
    ledger.commit()
    ledger.begin()
    ledger.events.put_body(event.id, None, StoredEvent.ERASED)
    ledger.views.put_message(view._replace(text=None, deleted=True))
    ledger.commit()
    scrub(ledger)
    assert remains(path) == 0
    assert ledger.check_integrity() == []


def test_what_nobody_had_is_gone_without_touching_the_index(
    ledger: Ledger, path: Path, samples: Samples
) -> None:
    crowd(ledger, samples)
    event, view = put(ledger, samples, mine=True)
    ledger.begin()
    ledger.views.index_some()
    ledger.commit()
    ledger.begin()
    ledger.events.put_body(event.id, None, StoredEvent.ERASED)
    ledger.views.put_message(view._replace(text="better words"))
    ledger.commit()
    assert not ledger._core.words_stale()
    assert ledger.scrub()  # one step: the log
    assert remains(path) == 0


def test_the_text_of_an_erased_edit_goes_with_its_body(ledger: Ledger, path: Path, samples: Samples) -> None:
    _, target = samples.message()
    edit = samples.event(kind=EDIT)._replace(body=CANARY.encode())
    ledger.begin()
    ledger.events.add(edit)
    ledger.views.put_touch(ROOM, Touch(target.id, edit.id, BOB, edit.hlc, EDIT, f"edit {CANARY}", False))
    ledger.commit()
    assert remains(path)
    ledger.begin()
    ledger.events.put_body(edit.id, None, StoredEvent.ERASED)
    ledger.commit()
    left = ledger.views.touch(edit.id)
    assert left is not None
    assert left.value == ""
    scrub(ledger)
    assert remains(path) == 0


def test_the_canary_would_be_found(ledger: Ledger, path: Path, samples: Samples) -> None:
    """The control: without the setting the same play leaves traces, so these tests can fail."""
    ledger.connection.execute("PRAGMA secure_delete = 0")
    crowd(ledger, samples, 200)
    event, view = put(ledger, samples)
    ledger.begin()
    ledger.views.index_some()
    ledger.commit()
    ledger.begin()
    ledger.events.put_body(event.id, None, StoredEvent.ERASED)
    ledger.views.put_message(view._replace(text=None, deleted=True))
    ledger.commit()
    scrub(ledger)
    assert remains(path)


def test_a_crash_right_after_erasing_leaves_a_log_that_is_emptied(
    path: Path, tmp_path: Path, samples: Samples
) -> None:
    opened = open_ledger(path)
    event, view = put(opened, samples, mine=True)
    opened.begin()
    opened.events.put_body(event.id, None, StoredEvent.ERASED)
    opened.views.put_message(view._replace(text="harmless"))
    opened.commit()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for one in (path, path.with_name("archive.db-wal")):
        shutil.copy(one, crashed)
    opened.close()
    copy = crashed / "archive.db"
    assert remains(copy)
    again = open_ledger(copy)
    scrub(again)
    assert remains(copy) == 0
    again.close()


def test_cancelled_drafts_and_deleted_prekeys_leave_nothing(ledger: Ledger, path: Path) -> None:
    draft = Draft("draft-abcdef", ROOM, CANARY, None, None, False, START_MS, "", START_MS)
    secret = CANARY.encode() * 3
    ledger.begin()
    ledger.outbox.put_draft(draft)
    ledger.rooms.put_prekey(PrekeyRow(1, made("public"), secret, START_MS, None))
    ledger.commit()
    assert remains(path)
    ledger.begin()
    ledger.outbox.put_draft(replace(draft, cancelled=True))
    ledger.rooms.put_prekey(PrekeyRow(1, made("public"), b"", START_MS, START_MS))
    ledger.commit()
    scrub(ledger)
    assert remains(path) == 0


def grow_and_delete(ledger: Ledger, samples: Samples, stride: int, count: int = 200) -> None:
    """Many canaries among rows that grow, so that pages split under them; then all are deleted."""
    crowd(ledger, samples, 300)
    puts = []
    for n in range(count):
        puts.append(put(ledger, samples))
        ledger.begin()
        samples.put(ledger, text="neighbour " * (n % 20))
        ledger.commit()
    ledger.begin()
    while ledger.views.index_some(50):
        ledger.commit()
        ledger.begin()
    for n, (_, view) in enumerate(puts):  # rows grow where they lie
        ledger.views.put_message(view._replace(text=(view.text or "") + "more " * (n * stride % 90)))
    ledger.commit()
    ledger.begin()
    ledger.views.index_some()
    for event, view in puts:
        ledger.events.put_body(event.id, None, StoredEvent.ERASED)
        ledger.views.put_message(view._replace(text=None, deleted=True))
    ledger.commit()


def test_rows_that_moved_between_pages_leave_no_copy(tmp_path: Path) -> None:
    """SQLite zeroes what is deleted, and not the gaps of pages it has built anew (store.spare)."""
    left = 0
    for stride in (7, 11, 13, 17, 29, 31):
        path = tmp_path / f"{stride}.db"
        opened, samples = open_ledger(path), Samples()
        grow_and_delete(opened, samples, stride)
        while opened._core.words_stale():
            opened._fulltext.merge_some(1024)
        opened.checkpoint()
        left += remains(path)
        scrub(opened)
        assert remains(path) == 0
        assert opened.check_integrity() == []
        opened.close()
    assert left, "the play leaves copies behind, or it would show nothing"


def test_talk_between_the_slices_brings_no_copy_back(ledger: Ledger, path: Path, samples: Samples) -> None:
    """Pages are read, changed and split while some of the file is clean and some is not yet."""
    grow_and_delete(ledger, samples, 7)
    ledger.begin()
    live = [samples.put(ledger, text="short") for _ in range(200)]
    ledger.commit()
    ledger._spare.slice_bytes = 16 * 2048
    chance, slices = random.Random(1), 0
    while not ledger.scrub():
        if not ledger._spare.under_way or slices > 100:
            continue
        slices += 1
        ledger.begin()
        for view in chance.sample(live, 5):
            ledger.views.put_message(view._replace(text="longer " * chance.randrange(90)))
        old = "SELECT pk FROM message WHERE deleted = 1 ORDER BY random() LIMIT 5"
        for (pk,) in ledger.connection.execute(old).fetchall():
            ledger.connection.execute("UPDATE message SET flags = ? WHERE pk = ?", ("x" * 400, pk))
        if slices % 3:
            ledger.commit()
        else:
            ledger.rollback()
    assert slices > 100
    assert remains(path) == 0
    assert gaps(path) == 0
    assert ledger.check_integrity() == []


def write_every_page(ledger: Ledger) -> None:
    """As the cache has them: with whatever lies in their gaps."""
    ledger.begin()
    ledger.connection.execute("UPDATE message SET unread = 1 - unread")
    ledger.connection.execute("UPDATE event SET received = received + 1")
    ledger.commit()


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
def test_a_page_that_was_read_before_does_not_bring_its_gap_back(
    ledger: Ledger, path: Path, samples: Samples, when: str
) -> None:
    grow_and_delete(ledger, samples, 7)
    write_every_page(ledger)
    while ledger._core.words_stale():
        ledger._fulltext.merge_some(1024)
    ledger.checkpoint()
    assert remains(path)
    if when == "meanwhile":
        ledger._spare.slice_bytes = 16 * 2048
        assert not ledger.scrub()
        assert ledger._spare.under_way
        assert ledger.connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        write_every_page(ledger)
        assert ledger._spare.logged(), "the pages are in the log now, not in the file"
        scrub(ledger)
        assert gaps(path) == 0
    else:
        scrub(ledger)
        write_every_page(ledger)
        assert ledger.checkpoint()
    assert ledger.connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (8000,)
    assert remains(path) == 0
    assert ledger.check_integrity() == []


def gaps(path: Path) -> int:
    """How many pages of the file have something in their unused bytes."""
    raw, found = memoryview(path.read_bytes()), 0
    for at in range(0, len(raw), 2048):
        start, end = gap(raw[at : at + 2048], 0 if at else 100)
        found += bytes(raw[at + start : at + end]) != bytes(end - start)
    return found


def test_gaps_are_what_the_file_format_says(ledger: Ledger, path: Path, samples: Samples) -> None:
    """Every page that SQLite calls a b-tree page is looked at, and no other; its gap is not used."""
    grow_and_delete(ledger, samples, 7)
    ledger.begin()
    samples.put(ledger, text="long " * 3000)  # pages without a head
    ledger.commit()
    ledger.checkpoint()
    kinds = ledger.connection.execute("SELECT pageno, pagetype, unused FROM dbstat").fetchall()
    raw = memoryview(path.read_bytes())
    assert {kind for _, kind, _ in kinds} == {"leaf", "internal", "overflow"}
    for number, kind, unused in kinds:
        start, end = gap(raw[(number - 1) * 2048 : number * 2048], 100 if number == 1 else 0)
        assert 0 <= end - start <= unused
        assert kind != "overflow" or start == end == 0
    assert gap(memoryview(bytes(2048))) == (0, 0)
    assert gap(memoryview(b"\x0d" + b"\xff" * 2047)) == (0, 0)


def test_a_long_log_ends_the_pass_and_it_is_done_again(
    ledger: Ledger, path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_and_delete(ledger, samples, 7)
    ledger._spare.slice_bytes = 16 * 2048
    while not ledger._spare.under_way:
        assert not ledger.scrub()
    monkeypatch.setattr(spare, "MAX_LOG_BYTES", 1)
    ledger.begin()
    samples.put(ledger, text="one more")
    ledger.commit()
    assert not ledger._spare.under_way
    assert ledger.connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (8000,)
    monkeypatch.undo()
    scrub(ledger)
    assert remains(path) == 0


def test_a_file_that_cannot_be_written_beside_sqlite_stops_nobody(
    path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(path: str) -> NoReturn:
        raise OSError("no such descriptor")

    opened = open_ledger(path)
    grow_and_delete(opened, samples, 7)
    with monkeypatch.context() as patch:
        patch.setattr(spare.OpenFile, "of", none)
        scrub(opened)
        opened.close()
    assert remains(path)
    again = open_ledger(path)
    scrub(again)
    again.close()
    assert remains(path) == 0


def test_what_could_not_be_finished_is_done_after_the_next_start(path: Path, samples: Samples) -> None:
    """A reader stands in the way until the archive is closed; its log is gone with it."""
    opened = open_ledger(path)
    grow_and_delete(opened, samples, 7)
    while opened._core.words_stale():
        opened._fulltext.merge_some(1024)
    reader = open_reader(opened)
    with reader._snapshot():
        reader._conn.execute("SELECT count(*) FROM message").fetchone()
        opened.begin()
        samples.put(opened, text="the reader does not see this")
        opened.commit()
        opened._finish_erasing()
    assert not opened._core.pages_clean()
    reader.close()
    opened.connection.close()
    assert remains(path)
    again = open_ledger(path)
    scrub(again)
    again.close()
    assert remains(path) == 0
    clean = open_ledger(path)
    assert clean._core.pages_clean()
    assert not clean._core.erased
    clean.close()


def test_erasing_goes_on_after_a_restart_and_ends_at_the_latest_when_closing(
    path: Path, samples: Samples
) -> None:
    opened = open_ledger(path)
    crowd(opened, samples)
    event, view = put(opened, samples)
    opened.begin()
    opened.views.index_some()
    opened.commit()
    opened.begin()
    opened.events.put_body(event.id, None, StoredEvent.ERASED)
    opened.views.put_message(view._replace(text=None, deleted=True))
    opened.commit()
    opened.connection.close()  # a crash
    again = open_ledger(path)
    assert again._core.words_stale()
    again.close()
    assert remains(path) == 0


def test_erasing_waits_for_a_reader(ledger: Ledger, reader: Reader, path: Path, samples: Samples) -> None:
    event, view = put(ledger, samples)
    with reader._snapshot():
        reader._conn.execute("SELECT count(*) FROM message").fetchone()
        ledger.begin()
        ledger.events.put_body(event.id, None, StoredEvent.ERASED)
        ledger.views.put_message(view._replace(text=None, deleted=True))
        ledger.commit()
        assert not any(ledger.scrub() for _ in range(5))
    scrub(ledger)
    assert remains(path) == 0


def test_nothing_to_erase_costs_nothing(ledger: Ledger, samples: Samples) -> None:
    crowd(ledger, samples, 100)
    before = ledger.connection.total_changes
    assert ledger.scrub()
    assert ledger.connection.total_changes == before


def test_in_memory_erasing_ends_too(samples: Samples) -> None:
    opened = open_ledger(MEMORY)
    crowd(opened, samples, 200)
    _, view = put(opened, samples, state=DELIVERED)
    opened.begin()
    opened.views.index_some()
    opened.views.put_message(view._replace(text=None, deleted=True))
    opened.commit()
    scrub(opened)
    assert opened.serialize().count(CANARY[2:].encode()) == 1  # the body, which nobody erased
    opened.close()


def test_a_slice_of_merging_is_short(ledger: Ledger, samples: Samples) -> None:
    crowd(ledger, samples, 3000)
    ledger.begin()
    ledger.events.put_body(EventId(made("none")), None, 0)
    ledger.commit()
    steps = 0
    while not ledger.scrub(8):
        steps += 1
    assert steps >= 3
