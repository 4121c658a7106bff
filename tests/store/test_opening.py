"""What is opened as an archive, what is refused, and with which settings."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from p2pchat.errors import ArchiveError
from p2pchat.store import check, schema
from p2pchat.store import ledger as module
from p2pchat.store.ledger import MEMORY, PRAGMAS, Ledger, open_image, open_ledger
from p2pchat.store.reader import PRAGMAS as READER_PRAGMAS
from p2pchat.store.reader import Reader, open_reader
from tests.store.make_v1 import FIXTURE, fill
from tests.store.samples import ROOM, Samples


def refusal(path: Path) -> ArchiveError:
    """The error of opening `path`; it always names the path and a way out."""
    with pytest.raises(ArchiveError) as caught:
        open_ledger(path)
    assert f"'{path}'" in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_settings_are_read_back_from_a_second_look(ledger: Ledger) -> None:
    got = {name: ledger.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
    assert got == PRAGMAS


def test_a_reader_has_its_settings(reader: Reader) -> None:
    got = {name: reader._conn.execute(f"PRAGMA {name}").fetchone()[0] for name in READER_PRAGMAS}
    assert got == READER_PRAGMAS


def test_a_setting_that_is_not_taken_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRAGMAS, "synchronous", 77)
    assert "synchronous=77" in str(refusal(path))


def test_the_file_says_whose_it_is_and_only_its_owner_reads_it(path: Path) -> None:
    umask = os.umask(0)
    try:
        open_ledger(path).close()
    finally:
        os.umask(umask)
    start = path.read_bytes()[:100]
    assert start[68:72] == b"p2pc"
    assert int.from_bytes(start[60:64], "big") == schema.VERSION
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_clean_stop_leaves_one_file(path: Path) -> None:
    opened = open_ledger(path)
    opened.begin()
    Samples().put(opened)
    opened.commit()
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "archive.db",
        "archive.db-shm",
        "archive.db-wal",
    ]
    opened.close()
    assert [one.name for one in path.parent.iterdir()] == ["archive.db"]


@pytest.mark.parametrize(
    "content", [b"hello, I am a letter\n", b"\0" * 4096, b"x", b"SQLite format 4\0" * 10]
)
def test_a_foreign_file_is_refused_and_not_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "not a p2pchat archive" in str(refusal(path))
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_not_touched(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE bookmark (url TEXT)")
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    assert "another program's database" in str(refusal(path))
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["archive.db"]


def test_an_empty_file_becomes_an_archive(path: Path) -> None:
    path.touch()
    opened = open_ledger(path)
    assert opened.check_integrity() == []
    opened.close()


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    refusal(path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "nowhere" / "archive.db")


@pytest.mark.parametrize("kept", [40, 99, 100, 4096, 20_480])
def test_a_truncated_archive_is_refused(path: Path, kept: int) -> None:
    opened = open_ledger(path)
    opened.begin()
    for _ in range(50):
        Samples().message()
    opened.commit()
    opened.close()
    with path.open("r+b") as file:
        file.truncate(kept)
    assert "damaged" in str(refusal(path))


def test_damage_is_looked_for_after_an_unclean_stop(path: Path, tmp_path: Path) -> None:
    opened = open_ledger(path)
    samples = Samples()
    opened.begin()
    for n in range(300):
        samples.put(opened, text=f"message {n}")
    opened.commit()
    opened.checkpoint()
    opened.begin()
    samples.put(opened)
    opened.commit()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for one in (path, path.with_name("archive.db-wal")):
        shutil.copy(one, crashed)
    root = opened.connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'touch_target'"
    ).fetchone()
    opened.close()
    copy = crashed / "archive.db"
    with copy.open("r+b") as file:  # an index whose first page is gone: nothing else would notice
        file.seek((root[0] - 1) * 4096)
        file.write(bytes(4096))
    assert "damaged" in str(refusal(copy))


def test_a_stop_without_goodbye_keeps_what_was_committed(path: Path, tmp_path: Path) -> None:
    opened = open_ledger(path)
    samples = Samples()
    opened.begin()
    kept = samples.put(opened)
    opened.commit()
    opened.begin()
    lost = samples.put(opened)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for one in (path, path.with_name("archive.db-wal")):  # what a power cut would leave
        shutil.copy(one, crashed)
    opened.close()
    again = open_ledger(crashed / "archive.db")
    assert again.views.message(kept.id) == kept
    assert again.views.message(lost.id) is None
    assert again.check_integrity() == []
    again.close()


def test_a_newer_archive_is_refused(path: Path) -> None:
    open_ledger(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    raw.close()
    error = refusal(path)
    assert f"its schema is {schema.VERSION + 1}, this program knows {schema.VERSION}" in str(error)
    assert "newer" in error.hint


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_refused(path: Path, tmp_path: Path) -> None:
    open_ledger(path).close()
    soft, hard = tmp_path / "soft.db", tmp_path / "hard.db"
    soft.symlink_to(path)
    assert "is a link" in str(refusal(soft))
    os.link(path, hard)
    assert "2 names" in str(refusal(hard))


def test_an_old_sqlite_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ArchiveError, match=r"needs 3\.37 or newer"):
        open_ledger(path)
    assert not path.exists()


def test_an_empty_log_is_given_its_length_at_once_and_back_at_the_end(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    for _ in range(2):  # a new archive, and one that was stopped
        opened = open_ledger(path)
        assert log.stat().st_size == 16 * 1024 * 1024
        opened.begin()
        opened.people.put_value("kept", b"x")
        opened.commit()
        assert log.stat().st_size == 16 * 1024 * 1024
        opened.close()
        assert not log.exists() or not log.stat().st_size
    crashed = open_ledger(path)
    crashed.begin()
    crashed.people.put_value("kept", b"y")
    crashed.commit()
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.db-wal").write_bytes(log.read_bytes())  # as a power cut leaves it
    crashed.close()
    again = open_ledger(copy)
    assert again.people.value("kept") == b"y"
    again.close()


# -- migrations ------------------------------------------------------------------------


def tables(opened: Ledger) -> list[tuple[str, str]]:
    return opened.connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def test_the_version_is_the_number_of_migrations(ledger: Ledger) -> None:
    applied = ledger.connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0]
    version = ledger.connection.execute("PRAGMA user_version").fetchone()[0]
    assert applied == version == schema.VERSION


def test_every_own_table_is_strict(ledger: Ledger) -> None:
    rows = ledger.connection.execute(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        " AND name NOT LIKE 'sqlite%' AND name != '_sqlite_migrations'"
    )
    assert [name for name, strict in rows if not strict] == []


def test_a_second_opening_changes_nothing(path: Path) -> None:
    first = open_ledger(path)
    before = tables(first)
    first.close()
    again = open_ledger(path)
    assert tables(again) == before
    assert not again.wrote
    again.close()


def test_memory_and_file_have_the_same_tables(ledger: Ledger) -> None:
    memory = open_ledger(MEMORY)
    assert tables(memory) == tables(ledger)
    memory.close()


LATER = (
    "room_text",
    "awaited",
    "transfer",
    "transfer_peer",
    "transfer_root",
    "holding",
    "holding_for",
    "holding_told",
)
"""Tables that no archive of schema 1 can have rows in."""


def test_a_frozen_first_archive_opens_with_all_it_held(path: Path) -> None:
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    opened = open_ledger(path)
    fresh = open_ledger(MEMORY)
    fill(fresh)
    assert tables(opened) == tables(fresh)
    kinds = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '%sqlite%'"
    for (name,) in fresh.connection.execute(kinds + " AND name NOT LIKE 'fulltext%'").fetchall():
        every = f"SELECT * FROM {name} ORDER BY 1, 2"
        held = opened.connection.execute(every).fetchall()
        assert held or name in LATER, f"the fixture has no row in {name}"
        assert held == fresh.connection.execute(every).fetchall(), name
    assert opened.check_integrity() == []
    reader = open_reader(opened)
    assert [hit.message.text for hit in reader.search("frozen").hits] == ["a frozen word"]
    assert reader.history(ROOM, tail=50).messages
    reader.close()
    opened.close()
    fresh.close()


def test_an_archive_of_the_first_version_is_searched_by_folded_words(path: Path) -> None:
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    old = sqlite3.connect(path)
    texts = {"a frozen word": "frozen Grüße", "with thanks": "Größe ＸＬ and Straße", "mine": "naïve"}
    with old:
        for before, after in texts.items():
            doc = old.execute("SELECT doc FROM message WHERE text = ?", (before,)).fetchone()[0]
            old.execute("UPDATE message SET text = ? WHERE text = ?", (after, before))
            if doc is not None:
                old.execute(
                    "INSERT INTO fulltext (fulltext, rowid, text) VALUES ('delete', ?, ?)", (doc, before)
                )
                old.execute("INSERT INTO fulltext (rowid, text) VALUES (?, ?)", (doc, after))
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()
    opened = open_ledger(path)
    reader = open_reader(opened)
    for query, text in (
        ("grüsse", "frozen Grüße"),
        ("strasse xl", "Größe ＸＬ and Straße"),
        ("naive", "naïve"),
    ):
        assert [hit.message.text for hit in reader.search(query).hits] == [text]
    assert opened.check_integrity() == []
    folded = opened.connection.execute("SELECT count(*) FROM message WHERE folded IS NOT NULL").fetchone()
    assert folded == (2,)
    reader.close()
    opened.close()


# -- images ----------------------------------------------------------------------------


def test_an_image_holds_what_was_committed(either: Ledger) -> None:
    samples = Samples()
    kept = samples.put(either)
    either.commit()
    image = either.serialize()
    either.begin()
    lost = samples.put(either)
    either.commit()
    again = open_image(image)
    again.begin()
    assert again.views.message(kept.id) == kept
    assert again.views.message(lost.id) is None
    samples.put(again)  # and it can be written
    again.commit()
    assert again.check_integrity() == []
    again.close()


def test_memory_archives_share_nothing() -> None:
    one, other = open_ledger(MEMORY), open_ledger(MEMORY)
    one.begin()
    view = Samples().put(one)
    one.commit()
    assert other.views.message(view.id) is None
    one.close()
    other.close()


def test_bytes_that_are_no_image_are_refused() -> None:
    with pytest.raises(ArchiveError):
        open_image(b"no image" * 100)


def test_a_look_from_outside_changes_nothing_and_finds_what_is_torn(path: Path, samples: Samples) -> None:
    assert check.look(path) == [], "there is none yet"
    ledger = open_ledger(path)
    fill(ledger)
    assert check.look(path) == [], "beside who writes it"
    ledger.close()
    before = sorted(one.name for one in path.parent.iterdir())
    assert check.look(path) == []
    assert sorted(one.name for one in path.parent.iterdir()) == before
    whole = path.read_bytes()
    size = int.from_bytes(whole[16:18], "big")
    torn = bytearray(whole)
    torn[5 * size : 6 * size] = b"\xa5" * size
    for damaged in (bytes(torn), whole[: len(whole) // 2], b"no archive at all"):
        path.write_bytes(damaged)
        assert check.look(path) != []
        assert path.read_bytes() == damaged
