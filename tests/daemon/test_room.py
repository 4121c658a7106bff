"""Room on the disk: who is refused at which floor, and what becomes of the reserve."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pchat.daemon import room as module
from p2pchat.daemon.room import FLOOR_OWN, Room
from p2pchat.store.space import BALLAST_BYTES, FLOOR_MESSAGES


class Disk:
    """A disk with as much room as it is told."""

    def __init__(self) -> None:
        self.free = 1 << 40

    def __call__(self, path: object) -> int:
        return self.free


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(module, "free_bytes", made)
    return made


@pytest.mark.parametrize(
    ("free", "others", "own"),
    [
        (FLOOR_MESSAGES, True, True),
        (FLOOR_MESSAGES - 1, False, True),
        (FLOOR_OWN, False, True),
        (FLOOR_OWN - 1, False, False),
        (0, False, False),
    ],
)
def test_others_are_refused_before_oneself(
    disk: Disk, tmp_path: Path, free: int, others: bool, own: bool
) -> None:
    room = Room(tmp_path)
    disk.free = free
    assert (room.for_others(), room.for_own()) == (others, own)


def test_giving_up_the_reserve_does_not_look_like_room() -> None:
    assert BALLAST_BYTES < FLOOR_OWN < FLOOR_MESSAGES


def test_the_reserve_is_given_up_and_comes_back_with_the_room(disk: Disk, tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert (tmp_path / "ballast").stat().st_size == BALLAST_BYTES
    disk.free = 0
    room.give_up()
    assert not (tmp_path / "ballast").exists()
    room.restore()
    assert not (tmp_path / "ballast").exists()
    disk.free = FLOOR_MESSAGES
    room.restore()
    assert (tmp_path / "ballast").stat().st_size == BALLAST_BYTES


def test_a_start_on_a_nearly_full_disk_sets_nothing_aside(disk: Disk, tmp_path: Path) -> None:
    disk.free = FLOOR_MESSAGES - 1
    Room(tmp_path)
    assert list(tmp_path.iterdir()) == []
