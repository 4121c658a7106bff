"""Disk work of transfers: where they are kept, and in which thread it is done.

Decides: what runs in the loop and what in a thread, how much of the disk stays free, and which
folders are used. Does not know: what is read or written.

A step that has lately been quick runs in the loop: a thread costs 0.1 ms a piece, and both cores are
busy anyway when a transfer runs at full speed. One slow disk, and the steps move to a thread.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from p2pchat.files.trouble import need_room, told
from p2pchat.platform import keep_names, make_private_dir
from p2pchat.platform.folders import Folder
from p2pchat.store.space import FLOOR_FILES
from p2pchat.wire.messages.files import Offer

T = TypeVar("T")

QUICK_S: Final = 0.012
"""A step of this length delays nobody who types. Where both cores are busy the system gives a core to
somebody else for some milliseconds in the middle of a step: with 4 ms such steps were taken for a slow
disk, and a third of the speed was lost to threads."""
REMEMBERED: Final = 16
SLOW_OF_LAST: Final = 2
TRY_AGAIN: Final = 64
"""So many steps in a thread, then it is seen whether the disk is quick again."""


class Pace:
    """How long the last steps of one transfer took."""

    def __init__(self) -> None:
        self._slow: deque[bool] = deque(maxlen=REMEMBERED)
        self._threaded = 0

    def inline(self) -> bool:
        """Whether the next step may run in the loop."""
        if sum(self._slow) < SLOW_OF_LAST:
            return True
        self._threaded += 1
        if self._threaded >= TRY_AGAIN:
            self._threaded = 0
            self._slow.clear()
        return False

    def took(self, seconds: float) -> None:
        """A step in the loop took so long."""
        self._slow.append(seconds > QUICK_S)


class Disk:
    """The staging folder, the inbox, and the work that is done in them."""

    def __init__(
        self,
        staging: Path,
        inbox: Callable[[], Path],
        *,
        threads: bool,
        stopwatch: Callable[[], float],
        floor: int | None = None,
    ) -> None:
        """`floor`: bytes that stay free; None: FLOOR_FILES, or 5 % of the disk if that is more."""
        self._staging = staging
        self.inbox = inbox
        self._threads = threads
        self._stopwatch = stopwatch
        self._floor = floor
        self._folder: Folder | None = None

    async def slow(self, work: Callable[[], T]) -> T:
        """Do what may take long: opening, syncing, placing. Not cut off in the middle."""
        if not self._threads:
            await trio.lowlevel.checkpoint()
            return work()
        return await trio.to_thread.run_sync(work)

    async def quick(self, pace: Pace, work: Callable[[], T]) -> T:
        """Do one piece's work: in the loop, as long as that is quick."""
        if not self._threads or pace.inline():
            began = self._stopwatch()
            try:
                return work()
            finally:
                pace.took(self._stopwatch() - began)
        return await trio.to_thread.run_sync(work)

    def staging(self) -> Folder:
        """The staging folder, made where missing; open as long as the daemon lives. Called in `slow`."""
        if self._folder is None:
            make_private_dir(self._staging)
            with told("open", str(self._staging)):
                keep_names(self._staging)
                self._folder = Folder.open(os.path.realpath(self._staging))
        return self._folder

    def target(self, to: str) -> Folder:
        """The folder in which a transfer shall land: `to`, or the inbox, which is made where missing.
        Links on the way are followed now, once: whoever chose the folder meant them. Its own name survives
        a power cut from here on: else all that ever landed there would go with it."""
        where = Path(to) if to else self.inbox()
        with told("open", str(where)):
            if not to:
                where.mkdir(parents=True, exist_ok=True)
            keep_names(where)
            return Folder.open(os.path.realpath(where))

    def check_target(self, target: Folder, offer: Offer) -> None:
        """CommandError `disk_full` if a file lands on another disk than it is staged on, and has no room
        there: better told before it is fetched than after. Called in `slow`."""
        with told("open", target.path):
            elsewhere = os.stat(target.path).st_dev != os.stat(self._staging).st_dev
        if elsewhere:
            need_room(target.room(), offer.size, 0, offer.name)

    def keep_free(self) -> int:
        """Bytes of the disk that transfers leave alone."""
        if self._floor is not None:
            return self._floor
        return max(FLOOR_FILES, shutil.disk_usage(self._staging).total // 20)

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None
