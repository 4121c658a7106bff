"""The unused bytes of the archive's pages: emptied after something was erased.

Decides: which bytes of a page nobody needs, and when all of them have been overwritten.
Does not know: what was erased, or when there is idle time.

SQLite zeroes what is deleted (secure_delete), but not the gap of a page that it has built
anew: when rows grow and a page is split, the page keeps copies of rows that live elsewhere
now, and who deletes such a row later does not reach them. SQLite has no call that empties
these gaps short of VACUUM, which copies the whole archive. So they are zeroed in the file
itself, which is right under these conditions only:

- The file is up to date and stands still: the log was emptied first, and nothing is copied
  back while a pass is under way (no automatic checkpoint). What is committed meanwhile lies
  in the log and changes nothing in the file. At the end the log is copied back, and the
  pages that were in it, known from the heads of its frames, are emptied in the same step.
- Nobody remembers an old gap: the page cache of the writing connection is dropped then, and
  readers never write.
- Only bytes between the list of cells and the first cell are overwritten ("Database File
  Format", 1.6): a power cut may lose any of these writes and the archive stays what it was.

The file is written through a descriptor that SQLite holds (platform.posix says why).
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterable
from typing import Final

from p2pchat.platform import OpenFile

SLICE_BYTES: Final = 2 * 1024 * 1024
"""Of the file in one step: 2 to 3 ms when it is in memory, so 1 GB takes 1 to 2 s of idle time in all."""
MAX_LOG_BYTES: Final = 64 * 1024 * 1024
"""A log that has grown to this ends the pass: there is no idle time for it now."""

_PAGE_KINDS: Final = {2: 12, 5: 12, 10: 8, 13: 8}
"""Length of a b-tree page's head by its first byte. No other page begins with these: the rest begin with
a page number of four bytes, whose first one is 0 or 1 up to 64 GiB."""
_FILE_HEAD: Final = 100
_LOG_HEAD: Final = 32
_FRAME_HEAD: Final = 24
_LOG_MAGIC: Final = (0x377F0682, 0x377F0683)


class Spare:
    """One pass over the file at a time, in steps."""

    def __init__(self, conn: sqlite3.Connection, path: str, autocheckpoint: int) -> None:
        self._conn = conn
        self._path = path
        self._autocheckpoint = autocheckpoint
        self._page_bytes = 0
        self.slice_bytes = SLICE_BYTES
        self.at = 0
        """So many bytes of the file have been seen."""
        self.done = False
        """Whether all of it has."""
        self.under_way = False
        """From `start` to the end of `step`: then nothing may be copied back into the file."""

    def start(self) -> None:
        """The log has just been emptied: begin with the first page."""
        self._page_bytes = self._conn.execute("PRAGMA page_size").fetchone()[0]
        self._conn.execute("PRAGMA wal_autocheckpoint = 0")
        self.at, self.done = 0, False
        self.under_way = True

    def stop(self) -> None:
        """End the pass, done or not."""
        if self.under_way:
            self._conn.execute(f"PRAGMA wal_autocheckpoint = {self._autocheckpoint}")
            self.under_way = False

    def outgrown(self) -> bool:
        """Whether the log has become too long to go on."""
        try:
            return os.stat(self._path + "-wal").st_size > MAX_LOG_BYTES
        except FileNotFoundError:
            return False

    def step(self) -> bool:
        """Empty the gaps of the next pages; True when the last page of the file has been seen."""
        wanted = max(self.slice_bytes // self._page_bytes, 1) * self._page_bytes
        with OpenFile.of(self._path) as file:
            chunk = file.read(self.at, wanted)
            wrote = False
            for start in range(0, len(chunk) - self._page_bytes + 1, self._page_bytes):
                page = memoryview(chunk)[start : start + self._page_bytes]
                wrote |= _empty(file, self.at + start, page)
            if wrote:
                file.sync()
        self.at += len(chunk)
        self.done = len(chunk) < wanted
        return self.done

    def logged(self) -> list[int]:
        """Numbers of the pages in the log."""
        found: dict[int, None] = {}
        frame = _FRAME_HEAD + self._page_bytes
        try:
            with open(self._path + "-wal", "rb", buffering=0) as log:
                head = log.read(_LOG_HEAD)
                if len(head) < _LOG_HEAD or int.from_bytes(head[:4], "big") not in _LOG_MAGIC:
                    return []
                at = _LOG_HEAD
                while True:
                    log.seek(at)
                    start = log.read(_FRAME_HEAD)
                    if len(start) < _FRAME_HEAD or start[8:16] != head[16:24]:  # of an earlier log
                        return list(found)
                    found[int.from_bytes(start[:4], "big")] = None
                    at += frame
        except FileNotFoundError:
            return []

    def finish(self, pages: Iterable[int]) -> None:
        """The log has been copied back, `pages` out of it: empty those, and forget all others."""
        self._conn.execute("PRAGMA shrink_memory")  # cached pages have their old gaps
        with OpenFile.of(self._path) as file:
            wrote = False
            for number in pages:
                at = (number - 1) * self._page_bytes
                page = file.read(at, self._page_bytes)
                if len(page) == self._page_bytes:
                    wrote |= _empty(file, at, memoryview(page))
            if wrote:
                file.sync()
        self.stop()


def gap(page: memoryview, head: int = 0) -> tuple[int, int]:
    """Where the unused bytes of a b-tree page lie, (0, 0) if it is none or not in form."""
    size = _PAGE_KINDS.get(page[head])
    if size is None:
        return 0, 0
    cells, first = struct.unpack_from(">HH", page, head + 3)
    start, end = head + size + 2 * cells, first or 65536
    return (start, end) if start < end <= len(page) else (0, 0)


def _empty(file: OpenFile, at: int, page: memoryview) -> bool:
    start, end = gap(page, 0 if at else _FILE_HEAD)
    zeros = bytes(end - start)
    if page[start:end] == zeros:
        return False
    file.write(at + start, zeros)
    return True
