"""The disk that forgets: it keeps what it must and may lose all else, without any mounting."""

from __future__ import annotations

import errno
import random
import stat

import pytest

from tests.kit.powercut import LUCK, SECTORS, Disk, Node


class Unlucky(random.Random):
    """Nothing that was not synced was written."""

    def choice(self, seq: object) -> float:  # type: ignore[override]
        return {SECTORS: 512, LUCK: 0.0}[seq]  # type: ignore[index]


@pytest.fixture
def disk() -> Disk:
    made = Disk()
    handle = made.create("/kept", 0o600)
    made.write("/kept", b"synced", 0, handle)
    made.fsync("/kept", 0, handle)
    made.fsyncdir("/", 0, 0)
    return made


def content(disk: Disk, path: str) -> bytes:
    return disk.read(path, 1 << 20, 0, disk.open(path, 0))


def test_synced_bytes_stay_and_others_go(disk: Disk) -> None:
    handle = disk.open("/kept", 0)
    disk.write("/kept", b"SYNCED and more", 0, handle)
    assert content(disk, "/kept") == b"SYNCED and more"
    disk.cut(Unlucky())
    assert content(disk, "/kept") == b"synced"


def test_a_truncation_that_was_not_synced_is_undone(disk: Disk) -> None:
    disk.truncate("/kept", 2)
    disk.cut(Unlucky())
    assert content(disk, "/kept") == b"synced"


def test_a_name_needs_its_folder_synced(disk: Disk) -> None:
    handle = disk.create("/new", 0o600)
    disk.write("/new", b"bytes", 0, handle)
    disk.fsync("/new", 0, handle)
    disk.cut(Unlucky())
    with pytest.raises(OSError, match="No such file") as caught:
        disk.getattr("/new")
    assert caught.value.errno == errno.ENOENT


def test_a_rename_is_undone_or_done_as_its_folder_was_synced(disk: Disk) -> None:
    disk.rename("/kept", "/renamed")
    disk.cut(Unlucky())
    assert content(disk, "/kept") == b"synced"
    disk.rename("/kept", "/renamed")
    disk.fsyncdir("/", 0, 0)
    disk.cut(Unlucky())
    assert content(disk, "/renamed") == b"synced"
    assert "/kept" not in disk.names


def test_what_lies_in_a_folder_that_was_never_synced_goes_with_it(disk: Disk) -> None:
    disk.mkdir("/folder", 0o700)
    handle = disk.create("/folder/file", 0o600)
    disk.fsync("/folder/file", 0, handle)
    disk.fsyncdir("/folder", 0, 0)
    disk.cut(Unlucky())
    assert list(disk.names) == ["/", "/kept"]


def test_unsynced_sectors_survive_whole_or_not_at_all() -> None:
    seen = set()
    for seed in range(50):
        node = Node(stat.S_IFREG)
        node.write(0, b"a" * 1024)
        node.sync()
        node.write(0, b"b" * 1024)
        node.cut(random.Random(seed), 512, 0.5)
        assert {bytes(node.live[:512]), bytes(node.live[512:])} <= {b"a" * 512, b"b" * 512}
        seen.add(bytes(node.live[::512]))
    assert seen == {b"aa", b"ab", b"ba", b"bb"}


def test_a_second_name_needs_its_own_folder_synced(disk: Disk) -> None:
    disk.mkdir("/folder", 0o700)
    disk.fsyncdir("/", 0, 0)
    disk.link("/folder/second", "/kept")
    disk.unlink("/kept")
    disk.cut(Unlucky())
    assert content(disk, "/kept") == b"synced"
    with pytest.raises(OSError, match="No such file"):
        disk.getattr("/folder/second")
    disk.link("/folder/second", "/kept")
    disk.fsyncdir("/folder", 0, 0)
    disk.unlink("/kept")
    disk.fsyncdir("/", 0, 0)
    disk.cut(Unlucky())
    assert content(disk, "/folder/second") == b"synced"


def test_a_folder_that_is_moved_brings_what_was_synced_in_it(disk: Disk) -> None:
    for folder in ("/from", "/from/tree", "/into"):
        disk.mkdir(folder, 0o700)
    for name, synced in (("one", True), ("two", False)):
        handle = disk.create(f"/from/tree/{name}", 0o600)
        disk.write("", b"bytes", 0, handle)
        disk.fsync("", 0, handle)
        if synced:
            disk.fsyncdir("/from/tree", 0, 0)
    for folder in ("/from", "/"):
        disk.fsyncdir(folder, 0, 0)
    disk.rename("/from/tree", "/into/tree")
    disk.fsyncdir("/into", 0, 0)
    disk.cut(Unlucky())
    assert content(disk, "/into/tree/one") == b"bytes"
    with pytest.raises(OSError, match="No such file"):
        disk.getattr("/into/tree/two")
