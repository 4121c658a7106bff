"""What runs in the loop and what in a thread; where things are kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio

from p2pchat.daemon.disk import QUICK_S, REMEMBERED, SLOW_OF_LAST, TRY_AGAIN, Disk, Pace
from p2pchat.errors import CommandError
from p2pchat.store.space import FLOOR_FILES


class Watch:
    """A stopwatch that shows what a test wants."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def disk(base: Path, watch: Watch, *, threads: bool = True, floor: int | None = None) -> Disk:
    """A disk below a folder."""
    return Disk(
        base / "staging", lambda: base / "down" / "inbox", threads=threads, stopwatch=watch, floor=floor
    )


async def test_a_quick_step_stays_in_the_loop_and_a_slow_disk_does_not(tmp_path: Path) -> None:
    watch = Watch()
    here, pace = disk(tmp_path, watch), Pace()
    loop = threading.get_ident()

    def step() -> int:
        watch.at += 2 * QUICK_S
        return threading.get_ident()

    assert [await here.quick(pace, step) == loop for _ in range(SLOW_OF_LAST)] == [True] * SLOW_OF_LAST
    where = [await here.quick(pace, step) == loop for _ in range(TRY_AGAIN + SLOW_OF_LAST)]
    assert where[: TRY_AGAIN - 1] == [False] * (TRY_AGAIN - 1)
    assert any(where[TRY_AGAIN - 1 :]), "after a while it is seen whether the disk is quick again"


async def test_single_slow_steps_come_with_every_disk(tmp_path: Path) -> None:
    watch = Watch()
    here, pace = disk(tmp_path, watch), Pace()
    loop = threading.get_ident()
    for number in range(4 * REMEMBERED):

        def step(slow: bool = number % REMEMBERED == 0) -> int:
            watch.at += 2 * QUICK_S if slow else 0.0
            return threading.get_ident()

        assert await here.quick(pace, step) == loop


async def test_slow_work_is_done_in_a_thread_and_not_cut_off(tmp_path: Path) -> None:
    here = disk(tmp_path, Watch())
    began, may_end, done = trio.Event(), threading.Event(), []

    def work() -> None:
        trio.from_thread.run_sync(began.set)
        may_end.wait(10)
        done.append(threading.get_ident())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.slow, work)
        await began.wait()
        nursery.cancel_scope.cancel()
        may_end.set()
    assert len(done) == 1
    assert done[0] != threading.get_ident()


async def test_without_threads_all_is_done_here(tmp_path: Path) -> None:
    here = disk(tmp_path, Watch(), threads=False)
    assert await here.slow(threading.get_ident) == threading.get_ident()
    assert await here.quick(Pace(), threading.get_ident) == threading.get_ident()


def test_folders_are_made_and_the_staging_folder_is_ours_alone(tmp_path: Path) -> None:
    here = disk(tmp_path, Watch())
    staging = here.staging()
    assert here.staging() is staging
    assert (tmp_path / "staging").stat().st_mode & 0o777 == 0o700
    with here.target("") as inbox:
        assert inbox.path == str(tmp_path / "down" / "inbox")
    here.close()
    here.close()


def test_a_folder_that_was_named_is_not_made(tmp_path: Path) -> None:
    """A typing mistake must not become a folder; a link to one was meant."""
    here = disk(tmp_path, Watch())
    with pytest.raises(CommandError):
        here.target(str(tmp_path / "typo"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with here.target(str(tmp_path / "link")) as found:
        assert found.path == str(tmp_path / "real")


def test_room_is_left_for_others(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    assert disk(tmp_path, Watch(), floor=7).keep_free() == 7
    assert disk(tmp_path, Watch()).keep_free() >= FLOOR_FILES
