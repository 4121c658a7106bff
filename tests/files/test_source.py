"""Sending: what may be sent, and when it is no longer what was offered."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from p2pchat.errors import CommandError
from p2pchat.files.inbox import place
from p2pchat.files.outgoing import Outgoing, offer_for
from p2pchat.files.source import FileSource, FolderSource, Left, Source, Spool, open_source, wire_name
from p2pchat.wire.limits import MAX_DEPTH
from p2pchat.wire.messages.files import Offer
from tests.kit.transfers import (
    FILE_KEY,
    ID,
    Places,
    carry,
    contents,
    hashes_of,
    pattern,
    root_for,
    stream_of,
)

MIB = 1 << 20
DATA = pattern(3 * MIB + 5)


def outgoing(places: Places, source: Source, offer: Offer | None = None) -> Outgoing:
    """The author's side, its log beside the staging of the receiver; `offer` after a restart."""
    logs = places.staging.child("out", create=True)
    return Outgoing(logs, offer or offer_for(source, ID, FILE_KEY), source, 0.0)


def saved(places: Places, data: bytes = DATA, name: str = "report.pdf") -> Path:
    path = places.sources / name
    path.write_bytes(data)
    return path


def test_a_file_goes_from_here_to_there(places: Places) -> None:
    path = saved(places)
    out = outgoing(places, open_source(path))
    staging = places.begin(out.offer)
    carry(out, staging)
    assert out.root() == root_for(out.offer, DATA)
    assert out.hashes() == hashes_of(out.offer, DATA)
    landed = place(staging, places.inbox, 0)
    assert Path(landed.path).read_bytes() == DATA
    assert Path(landed.path).stat().st_mtime_ns == path.stat().st_mtime_ns
    out.close()
    staging.close()


def test_a_folder_goes_from_here_to_there(places: Places) -> None:
    root = places.sources / "project"
    (root / "empty").mkdir(parents=True)
    (root / "sub" / "deeper").mkdir(parents=True)
    for number in range(300):
        (root / "sub" / f"{number}").write_bytes(pattern(5000, number))
    (root / "sub" / "deeper" / "zero").write_bytes(b"")
    (root / "big").write_bytes(DATA)
    out = outgoing(places, open_source(root))
    assert out.offer.files == 302
    staging = places.begin(out.offer)
    carry(out, staging)
    landed = place(staging, places.inbox, 0)
    assert contents(Path(landed.path)) == contents(root)
    out.close()
    staging.close()


def test_only_a_link_that_was_named_is_followed(places: Places) -> None:
    outside = places.base / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = places.sources / "project"
    root.mkdir()
    (root / "mine").write_bytes(b"mine")
    (root / "to file").symlink_to(outside / "secret")
    (root / "to folder").symlink_to(outside)
    os.mkfifo(root / "pipe")
    source = open_source(root)
    assert isinstance(source, FolderSource)
    assert [entry.path for entry in source.entries] == [("mine",)]
    assert (source.left.links, source.left.special, source.left.any) == (2, 1, True)
    assert b"secret" not in stream_of(source)
    source.close()
    (places.sources / "named").symlink_to(outside / "secret")
    named = open_source(places.sources / "named")
    assert stream_of(named) == b"secret"
    named.close()
    (places.sources / "named folder").symlink_to(root)
    followed = open_source(places.sources / "named folder")
    assert followed.files == 1
    followed.close()


def test_what_cannot_be_sent(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places.sources)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        for name, kind in (
            ("nothing", "no_such_target"),
            ("pipe", "unsafe_path"),
            ("socket", "unsafe_path"),
            ("loop", "unsafe_path"),
        ):
            with pytest.raises(CommandError) as met:
                open_source(places.sources / name)
            assert met.value.kind == kind, name
            assert name in met.value.message
    deep = places.sources.joinpath(*["d"] * (MAX_DEPTH + 2))
    deep.mkdir(parents=True)
    with pytest.raises(CommandError) as met:
        open_source(places.sources / "d")
    assert met.value.kind == "too_long"


def test_a_file_that_may_not_be_read_stays_behind(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted when the folder is offered; else the first who fetches it would lose all the others."""
    folder = places.sources / "project"
    (folder / "sub").mkdir(parents=True)
    for name in ("open", "closed", "sub/closed"):
        (folder / name).write_bytes(DATA)
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda name, mode, **how: name != "closed" and access(name, mode, **how)
    )
    with closing(open_source(folder)) as source:
        assert isinstance(source, FolderSource)
        assert source.left == Left(closed=2)
        assert [entry.path for entry in source.entries] == [("open",), ("sub",)]


def test_names_that_are_no_text_are_sent_as_text(places: Places) -> None:
    assert wire_name("b\udcff") == "b\ufffd"
    root = places.sources / "odd"
    root.mkdir()
    for raw in (b"b\xff", b"b\xfe"):
        (Path(os.fsdecode(os.fsencode(root) + b"/" + raw))).write_bytes(raw)
    out = outgoing(places, open_source(root))
    staging = places.begin(out.offer)
    carry(out, staging)
    landed = place(staging, places.inbox, 0)
    found = contents(Path(landed.path))
    assert sorted(found) == ["b\ufffd", "b\ufffd~"]
    assert set(found.values()) == {b"b\xff", b"b\xfe"}
    out.close()
    staging.close()


CHANGES = {
    "longer": lambda path: path.write_bytes(DATA + b"x"),
    "shorter": lambda path: path.write_bytes(DATA[:-1]),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link": lambda path: (path.rename(f"{path}.old"), path.symlink_to(f"{path}.old")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "other bytes": lambda path: path.write_bytes(bytes(len(DATA))),
    "other bytes, same time": lambda path: rewrite(path, bytes(len(DATA))),
    "another file": lambda path: (path.unlink(), path.write_bytes(DATA[::-1])),
}

OPEN_STAYS_OPEN = ("gone", "a folder", "a link", "a pipe", "another file")
"""Its name is gone and its bytes are not, while we have it open: those are the ones offered."""


def rewrite(path: Path, data: bytes) -> None:
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("in_folder", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changes_is_told(places: Places, change: str, in_folder: bool, restarted: bool) -> None:
    """All pieces were given; one is asked for again."""
    root = places.sources / "project"
    root.mkdir()
    path = root / "report.pdf"
    path.write_bytes(DATA)
    named = root if in_folder else path
    source = open_source(named)
    stream = stream_of(source)
    out = outgoing(places, source)
    buffer = memoryview(bytearray(MIB))
    for number in range(4):
        out.piece(number, buffer)
    if restarted:
        out.sync(0)
        out.close()
    CHANGES[change](path)

    def ask_again() -> None:
        again = outgoing(places, open_source(named, again=True), out.offer) if restarted else out
        for number in (0, 3):
            size = again.piece(number, buffer)
            assert buffer[:size] == stream[number * MIB : number * MIB + size]
        again.close()

    if change in OPEN_STAYS_OPEN and not restarted:
        ask_again()
        return
    with pytest.raises(CommandError) as met:
        ask_again()
    assert met.value.kind == "source_changed"
    assert "report.pdf" in met.value.message or "project" in met.value.message
    assert met.value.hint
    out.close()


def test_a_file_deleted_half_way_is_told(places: Places) -> None:
    path = saved(places)
    out = outgoing(places, open_source(path))
    buffer = memoryview(bytearray(MIB))
    out.piece(0, buffer)
    path.unlink()
    with pytest.raises(CommandError, match="deleted") as met:
        out.piece(1, buffer)
    assert met.value.kind == "source_changed"
    out.close()


def test_a_change_before_the_first_reading_is_told(places: Places) -> None:
    """No hash was given yet, and the size is the same: half old and half new must not be sent."""
    path = saved(places)
    out = outgoing(places, open_source(path))
    buffer = memoryview(bytearray(MIB))
    out.piece(0, buffer)
    rewritten = bytearray(DATA)
    rewritten[2 * MIB] ^= 1
    path.write_bytes(rewritten)
    os.utime(path, ns=(0, 1))
    assert out.piece(0, buffer) == MIB, "what was committed and is still so may be sent"
    with pytest.raises(CommandError, match="changed or deleted while") as met:
        out.piece(2, buffer)
    assert met.value.kind == "source_changed"
    assert out.hash_of(2) is None
    out.close()


def test_the_author_goes_on_after_a_restart(places: Places) -> None:
    path = saved(places)
    out = outgoing(places, open_source(path))
    staging = places.begin(out.offer)
    carry(out, staging, (0, 2))
    out.close()
    out = outgoing(places, open_source(path, again=True), out.offer)
    assert [number for number in range(4) if number in out.known] == [0, 2]
    carry(out, staging, (1, 3))
    assert place(staging, places.inbox, 0).how == "new"
    out.close()
    staging.close()
    os.utime(path, ns=(0, 1))
    again = outgoing(places, FileSource(str(path)), out.offer)  # touched only: every hash still holds
    assert again.piece(0, memoryview(bytearray(MIB))) == MIB
    again.close()


def test_an_author_who_was_touched_half_way_begins_anew(places: Places) -> None:
    path = saved(places)
    out = outgoing(places, open_source(path))
    out.piece(0, memoryview(bytearray(MIB)))
    out.close()
    os.utime(path, ns=(0, 1))
    with pytest.raises(CommandError) as met:
        outgoing(places, open_source(path, again=True), out.offer)
    assert met.value.kind == "source_changed"


def test_what_is_piped_is_kept_first(places: Places) -> None:
    spool = Spool(places.staging, "piped", keep_free=0)
    for at in range(0, len(DATA), 70_001):
        spool.add(DATA[at : at + 70_001])
    source = spool.finish("build.log")
    path = places.staging_path / "piped"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (source.name, source.size, source.files) == ("build.log", len(DATA), 1)
    assert stream_of(source) == DATA
    source.close()
    spool.abort()
    assert not path.exists()


def test_what_is_piped_stops_before_the_disk_is_full(places: Places) -> None:
    free = places.staging.room().free
    spool = Spool(places.staging, "piped", keep_free=2 * free)
    with pytest.raises(CommandError) as met:
        spool.add(b"x")
    assert met.value.kind == "disk_full"
    spool.abort()
    spool.abort()
    assert os.listdir(places.staging_path) == []


def test_an_empty_pipe_and_an_empty_folder(places: Places) -> None:
    spool = Spool(places.staging, "piped", keep_free=0)
    source = spool.finish("nothing")
    out = outgoing(places, source)
    assert out.offer.size == 0
    assert len(out.root()) == 32
    out.close()
    (places.sources / "empty").mkdir()
    folder = open_source(places.sources / "empty")
    offer = offer_for(folder, b"i" * 16, FILE_KEY)
    assert (offer.files, offer.size) == (0, offer.head)
    logs = places.staging.child("out", create=True)
    out = Outgoing(logs, offer, folder, 0)
    staging = places.begin(offer)
    carry(out, staging)
    landed = place(staging, places.inbox, 0)
    assert contents(Path(landed.path)) == {}
    assert Path(landed.path).is_dir()
    out.close()
    staging.close()
