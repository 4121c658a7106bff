"""Room on the disk, and the reserve."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pchat.errors import ArchiveError
from p2pchat.store.space import BALLAST_BYTES, Ballast, free_bytes, has_room_for_files


def test_free_bytes_of_a_file_and_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert 0 < free_bytes(file) <= shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize(
    ("total_gib", "free_mib", "room"),
    [(1, 255, False), (1, 256, True), (100, 5119, False), (100, 5120, True)],
)
def test_files_need_a_floor_of_256_mib_or_5_percent(
    monkeypatch: pytest.MonkeyPatch, total_gib: int, free_mib: int, room: bool
) -> None:
    usage = SimpleNamespace(total=total_gib << 30, free=free_mib << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert has_room_for_files(".") is room


def test_the_reserve_takes_real_blocks_and_gives_them_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path)
    assert not ballast.held
    ballast.create()
    ballast.create()
    assert ballast.held
    if sys.platform != "win32":
        told = ballast.path.stat()
        assert told.st_blocks * 512 >= BALLAST_BYTES
        assert told.st_mode & 0o777 == 0o600
    ballast.release()
    ballast.release()
    assert not ballast.held


def test_half_a_reserve_is_made_whole(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path)
    ballast.path.write_bytes(b"x")
    assert not ballast.held
    ballast.create()
    assert ballast.held


def test_a_disk_that_refuses_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot set 4 MiB aside"):
        Ballast(tmp_path / "nowhere").create()
