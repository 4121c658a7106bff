"""Receiving: what is believed, what survives, what is asked for again."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pchat.errors import CommandError, LocalProtocolError, PieceError, RemoteProtocolError
from p2pchat.files import manifest
from p2pchat.files import staging as stagings
from p2pchat.files import tree as trees
from p2pchat.files.inbox import place
from p2pchat.files.staging import SYNC_BYTES, SYNC_S, Staging
from p2pchat.files.trouble import need_room
from p2pchat.platform.folders import Room
from p2pchat.wire.messages.files import Entry
from tests.kit.transfers import (
    ID,
    Places,
    contents,
    folder_transfer,
    hashes_of,
    offer_of,
    pattern,
    pieces_of,
    put_all,
    root_for,
    tree_hash,
)

MIB = 1 << 20
DATA = pattern(3 * MIB + 77)
OFFER = offer_of(DATA)
PARTS = pieces_of(OFFER, DATA)
HASHES = hashes_of(OFFER, DATA)


def test_a_file_arrives(places: Places) -> None:
    staging = places.begin(OFFER)
    put_all(staging, OFFER, DATA, order=(3, 0, 2, 1))
    assert list(staging.durable.missing()) == [0, 1, 2, 3]
    assert staging.finish(0) == root_for(OFFER, DATA)
    assert staging.durable.complete
    path = places.staging_path / ID.hex() / "data"
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mtime_ns == OFFER.mtime
    staging.close()


@given(st.permutations(range(4)), st.integers(0, 4), st.integers(0, 4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_any_interruption(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], synced: int, written: int
) -> None:
    """`synced` pieces are made durable, `written` more only written; then the process is gone."""
    places = Places(tmp_path_factory.mktemp("play"))
    staging = places.begin(OFFER)
    staging.learn(0, HASHES)
    for number in order[:synced]:
        staging.put(number, PARTS[number])
    staging.sync(1.0)
    for number in order[synced : synced + written]:
        staging.put(number, PARTS[number])
    staging.close()
    again = places.begin(OFFER)
    assert [number for number in range(4) if number in again.durable] == sorted(order[:synced])
    assert again.all_known
    for number in list(again.done.missing()):
        again.put(number, PARTS[number])
    landed = place(again, places.inbox, 2.0)
    assert (places.inbox_path / landed.name).read_bytes() == DATA
    again.close()
    places.close()


def test_a_wrong_piece_is_not_written(places: Places) -> None:
    staging = places.begin(OFFER)
    staging.learn(0, HASHES)
    for bad in (PARTS[1], PARTS[0][:-1] + b"?"):
        with pytest.raises(PieceError, match="piece 0 does not have its hash") as met:
            staging.put(0, bad)
        assert met.value.piece == 0
    for bad in (PARTS[0][:-1], PARTS[0] + b"x", b""):
        with pytest.raises(PieceError, match="length"):
            staging.put(0, bad)
    assert os.listdir(places.staging_path / ID.hex()) == []
    assert 0 not in staging.done
    staging.put(0, PARTS[0])
    with pytest.raises(PieceError):
        staging.put(0, PARTS[0][:-1])
    staging.put(0, PARTS[0])
    staging.put(0, PARTS[1])  # it is here: what else is said of it changes nothing
    buffer = memoryview(bytearray(MIB))
    assert staging.read(0, buffer) == MIB
    assert buffer == PARTS[0]
    with pytest.raises(LocalProtocolError):
        staging.read(1, buffer)
    staging.discard()
    assert os.listdir(places.staging_path) == []


def test_hashes_come_before_pieces_and_never_change(places: Places) -> None:
    staging = places.begin(OFFER)
    with pytest.raises(LocalProtocolError, match="before its hash"):
        staging.put(0, PARTS[0])
    staging.learn(1, HASHES[32:64])
    staging.learn(0, HASHES[:64])
    with pytest.raises(PieceError, match="piece 1 has another hash"):
        staging.learn(1, bytes(32))
    for first, hashes in ((0, bytes(33)), (4, bytes(32)), (-1, bytes(32)), (0, bytes(32 * 5))):
        with pytest.raises(RemoteProtocolError):
            staging.learn(first, hashes)
    with pytest.raises(LocalProtocolError):
        staging.root_of_hashes()
    staging.close()
    again = places.begin(OFFER)
    assert again.hash_of(0) == HASHES[:32]
    assert again.hash_of(2) is None
    with pytest.raises(PieceError):
        again.learn(0, bytes(32))
    again.close()


def test_the_signed_root_must_fit(places: Places) -> None:
    staging = places.begin(OFFER)
    staging.learn(0, HASHES)
    with pytest.raises(PieceError, match="does not fit"):
        staging.learn_root(bytes(32))
    root = root_for(OFFER, DATA)
    staging.learn_root(root)
    staging.learn_root(root)
    with pytest.raises(PieceError, match="another root"):
        staging.learn_root(bytes(32))
    staging.sync(0)
    staging.close()
    again = places.begin(OFFER)
    assert again.root == root
    again.close()


def test_a_root_that_came_first_is_held_against_the_list(places: Places) -> None:
    staging = places.begin(OFFER)
    staging.learn_root(b"r" * 32)
    put_all(staging, OFFER, DATA)
    with pytest.raises(PieceError, match="does not fit"):
        staging.finish(0)
    assert not (places.inbox_path / "report.pdf").exists()
    staging.close()


def test_it_is_time_to_sync_by_bytes_or_by_time(places: Places) -> None:
    staging = places.begin(OFFER, now=100.0)
    staging.learn(0, HASHES)
    assert not staging.due(1000.0)
    staging.put(0, PARTS[0])
    assert not staging.due(100.0 + SYNC_S / 2)
    assert staging.due(100.0 + SYNC_S)
    staging.sync(103.0)
    assert 0 in staging.durable
    assert not staging.due(1000.0)
    staging._bytes = SYNC_BYTES
    assert staging.due(103.0)
    staging.close()
    with pytest.raises(LocalProtocolError):
        staging.put(1, PARTS[1])


def test_an_empty_file(places: Places) -> None:
    offer = offer_of(b"", name="empty")
    staging = places.begin(offer)
    assert staging.done.complete
    landed = place(staging, places.inbox, 0)
    assert (places.inbox_path / landed.name).read_bytes() == b""
    staging.close()


def test_holes_stay_holes(places: Places) -> None:
    data = bytes(40 * MIB) + b"end" + bytes(40 * MIB)
    offer = offer_of(data)
    staging = places.begin(offer)
    put_all(staging, offer, data)
    place(staging, places.inbox, 0)
    staging.close()
    path = places.inbox_path / "report.pdf"
    assert path.stat().st_blocks * 512 < 8 * MIB
    assert path.read_bytes() == data


def test_zeros_are_written_over_what_is_there(places: Places) -> None:
    """A hole is only right where nothing was written."""
    data = b"x" * MIB + bytes(2 * MIB)
    offer = offer_of(data)
    staging = places.begin(offer)
    staging.learn(0, hashes_of(offer, data))
    (places.staging_path / ID.hex() / "data").write_bytes(b"garbage" * MIB)
    (places.staging_path / ID.hex() / "data").chmod(0o600)
    for number, part in enumerate(pieces_of(offer, data)):
        staging.put(number, part)
    staging.finish(0)
    assert (places.staging_path / ID.hex() / "data").read_bytes() == data
    staging.close()


# -- folders -------------------------------------------------------------------------------------


def build(root: Path, small: int = 40) -> Path:
    """A folder with all that is odd about folders."""
    (root / "deep" / "er" / "est").mkdir(parents=True)
    (root / "empty folder").mkdir()
    (root / "deep" / "empty too").mkdir()
    (root / "deep" / "er" / "est" / "file").write_bytes(b"deep")
    (root / "empty file").write_bytes(b"")
    (root / "zz big").write_bytes(pattern(2 * MIB + 5, 1))
    (root / ("ü" * 100)).write_bytes(b"long")
    (root / "日本語.txt").write_bytes("日本".encode())
    for number in range(small):
        (root / "deep" / f"small {number:03}").write_bytes(pattern(4096, number))
        os.utime(root / "deep" / f"small {number:03}", ns=(0, 1_500_000_000_000_000_007 + number))
    return root


def test_a_folder_arrives_with_all_in_it(places: Places) -> None:
    source = build(places.sources / "project")
    offer, stream = folder_transfer(source)
    staging = places.begin(offer)
    assert not staging.has_layout
    put_all(staging, offer, stream)
    landed = place(staging, places.inbox, 0)
    staging.close()
    assert landed.name == "project"
    assert contents(places.inbox_path / "project") == contents(source)
    for path in source.rglob("*"):
        if path.is_file():
            there = places.inbox_path / "project" / path.relative_to(source)
            assert there.stat().st_mtime_ns == path.stat().st_mtime_ns
            assert there.stat().st_mode & 0o777 == 0o600
        else:
            assert (places.inbox_path / "project" / path.relative_to(source)).stat().st_mode & 0o777 == 0o700


def test_the_manifest_comes_first(places: Places) -> None:
    offer, stream = folder_transfer(build(places.sources / "project"))
    staging = places.begin(offer)
    staging.learn(0, hashes_of(offer, stream))
    parts = pieces_of(offer, stream)
    assert staging.head_pieces == 1
    with pytest.raises(LocalProtocolError, match="before the manifest"):
        staging.put(1, parts[1])
    assert 1 not in staging.done
    staging.put(0, parts[0])
    assert staging.has_layout
    staging.put(1, parts[1])
    staging.close()


def long_paths(root: Path, count: int = 1200) -> Path:
    """A folder whose manifest takes more than two pieces, and not by the number of its files."""
    folder = root.joinpath(*[f"{depth} {'x' * 180}" for depth in range(9)])
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:06} {'y' * 160}").write_bytes(b"%d" % number)
    return root


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_manifest_of_several_pieces_in_any_order_and_resumed(
    tmp_path_factory: pytest.TempPathFactory, order: tuple[int, ...]
) -> None:
    places = Places(tmp_path_factory.mktemp("play"))
    source = long_paths(places.sources / "many")
    offer, stream = folder_transfer(source)
    parts = pieces_of(offer, stream)
    staging = places.begin(offer)
    assert staging.head_pieces == len(order) == len(parts)
    staging.learn(0, hashes_of(offer, stream))
    for number in order:
        staging.put(number, parts[number])
        staging.sync(0)
        staging.close()
        staging = places.begin(offer)
        assert number in staging.durable
    place(staging, places.inbox, 0)
    staging.close()
    assert contents(places.inbox_path / "many") == contents(source)
    places.close()


def test_a_manifest_that_cannot_be_ends_the_transfer(places: Places) -> None:
    head = manifest.make([Entry(("a",), False, 3, 0)])
    for files, content in ((1, b"four"), (2, b"abc")):
        stream = head + content
        offer = offer_of(stream, head=len(head), files=files)
        staging = places.begin(offer)
        with pytest.raises(RemoteProtocolError, match="manifest"):
            put_all(staging, offer, stream)
        with pytest.raises(LocalProtocolError):
            staging.finish(0)
        staging.discard()
    assert os.listdir(places.staging_path) == []


def test_resuming_a_folder_fetches_only_what_is_missing(places: Places) -> None:
    source = build(places.sources / "project")
    offer, stream = folder_transfer(source)
    parts = pieces_of(offer, stream)
    staging = places.begin(offer)
    staging.learn(0, hashes_of(offer, stream))
    staging.put(0, parts[0])
    staging.put(2, parts[2])
    staging.sync(0)
    staging.put(1, parts[1])
    staging.close()
    again = places.begin(offer)
    assert list(again.durable.missing()) == [1]
    again.put(1, parts[1])
    place(again, places.inbox, 0)
    again.close()
    assert contents(places.inbox_path / "project") == contents(source)


# -- disks ---------------------------------------------------------------------------------------


def test_another_offer_of_that_id_starts_anew(places: Places) -> None:
    staging = places.begin(OFFER)
    put_all(staging, OFFER, DATA)
    staging.sync(0)
    staging.close()
    other = offer_of(DATA, file_key=b"k" * 32)
    again = places.begin(other)
    assert again.durable.here == 0
    assert again.hash_of(0) is None
    assert os.listdir(places.staging_path / ID.hex()) == []
    again.close()


def test_other_rules_for_names_start_anew(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = places.begin(OFFER)
    put_all(staging, OFFER, DATA)
    staging.sync(0)
    staging.close()
    monkeypatch.setattr(stagings, "UNICODE", "99.0.0")
    again = places.begin(OFFER)
    assert again.durable.here == 0
    again.close()


def test_what_lies_in_the_way_is_cleared_and_not_followed(places: Places) -> None:
    outside = places.base / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    before = tree_hash(outside)
    (places.staging_path / ID.hex()).symlink_to(outside)
    staging = places.begin(OFFER)
    put_all(staging, OFFER, DATA)
    staging.close()
    assert tree_hash(outside) == before
    assert not (places.staging_path / ID.hex()).is_symlink()


def test_a_link_planted_for_the_data_is_refused(places: Places) -> None:
    outside = places.base / "outside"
    outside.write_bytes(b"precious")
    staging = places.begin(OFFER)
    staging.learn(0, HASHES)
    (places.staging_path / ID.hex() / "data").symlink_to(outside)
    with pytest.raises(CommandError) as met:
        staging.put(0, PARTS[0])
    assert met.value.kind == "unsafe_path"
    assert outside.read_bytes() == b"precious"
    staging.close()


def test_too_little_room_is_said_before_anything_is_made(places: Places) -> None:
    free = places.staging.room().free
    with pytest.raises(CommandError, match="no space") as met:
        Staging.begin(places.staging, OFFER, keep_free=2 * free, now=0)
    assert met.value.kind == "disk_full"
    assert os.listdir(places.staging_path) == []
    staging = places.begin(OFFER)
    staging.check_room(0)
    with pytest.raises(CommandError):
        staging.check_room(2 * free)
    staging.close()


def test_room_is_told_in_units_that_people_use() -> None:
    """And of what is not known, or is nothing, no figure."""

    def told(free: int, wanted: int, keep_free: int) -> str:
        with pytest.raises(CommandError) as met:
            need_room(Room(free, 10 * free), wanted, keep_free, "film.mkv")
        return met.value.message

    assert told(5_400_000_000, 8_000_000_000, 12_600_000_000) == (
        "no space for 'film.mkv': 8.0 GB are needed, 5.4 GB are free, 12.6 GB stay free"
    )
    assert told(5_400_000_000, 0, 12_600_000_000) == (
        "no space for 'film.mkv': 5.4 GB are free, 12.6 GB stay free"
    )
    assert told(999_949, 999_950, 0) == "no space for 'film.mkv': 1.0 MB are needed, 999.9 kB are free"


def test_a_full_disk_costs_the_piece_and_not_the_transfer(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = places.begin(OFFER)
    staging.learn(0, HASHES)
    staging.put(0, PARTS[0])
    real = trees.write_at

    def full(descriptor: int, data: memoryview, offset: int) -> None:
        real(descriptor, data[:1000], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trees, "write_at", full)
    with pytest.raises(CommandError) as met:
        staging.put(1, PARTS[1])
    assert met.value.kind == "disk_full"
    assert met.value.hint
    monkeypatch.undo()
    assert 1 not in staging.done
    for number in (1, 2, 3):
        staging.put(number, PARTS[number])
    place(staging, places.inbox, 0)
    staging.close()
    assert (places.inbox_path / "report.pdf").read_bytes() == DATA


def test_after_a_failed_sync_nothing_new_is_believed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = places.begin(OFFER)
    staging.learn(0, HASHES)
    staging.put(0, PARTS[0])
    staging.sync(0)
    staging.put(1, PARTS[1])

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(trees, "sync_many", broken)
    with pytest.raises(CommandError, match="input/output"):
        staging.sync(1)
    monkeypatch.undo()
    for call in (lambda: staging.sync(2), lambda: staging.put(2, PARTS[2]), lambda: staging.finish(2)):
        with pytest.raises(LocalProtocolError, match="begin it again"):
            call()
    staging.close()
    again = places.begin(OFFER)
    assert list(again.durable.missing()) == [1, 2, 3]
    again.close()


def test_a_log_from_the_future_is_no_log(places: Places) -> None:
    (places.staging_path / f"{ID.hex()}.state").write_bytes(struct.pack(">IB", 3, 1) + b"abc" + bytes(16))
    staging = places.begin(OFFER)
    assert staging.durable.here == 0
    staging.close()
