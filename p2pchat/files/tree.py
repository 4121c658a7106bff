"""Files below one folder, written and read in any order with few descriptors.

Decides: how a path of safe names is reached from a folder, and which files and folders were touched
since they were last made durable. Does not know: what the bytes are, or which may be trusted.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from p2pchat.platform.folders import (
    Folder,
    NotPlain,
    read_at,
    same_place,
    set_size,
    sync_many,
    write_at,
)

OPEN_FILES: Final = 16
OPEN_FOLDERS: Final = 32
HOLE_FROM: Final = 64 * 1024
"""Zeros of at least this length at the end of a file become a hole: what was sparse stays sparse."""
_TIMED_WHILE_OPEN: Final = os.utime in os.supports_fd
_ZEROS: Final = bytes(HOLE_FROM)

Path = tuple[str, ...]
"""Safe names from the tree's folder on; the last is the file's."""


class Tree:
    """The files below `root`. Raises OSErrors. One thread at a time."""

    def __init__(self, root: Folder, *, writing: bool) -> None:
        self._root = root
        self._writing = writing
        self._files: OrderedDict[Path, int] = OrderedDict()
        self._folders: OrderedDict[Path, Folder] = OrderedDict()
        self._touched: dict[Path, None] = {}
        self._new_in: dict[Path, None] = {}

    def write(self, path: Path, offset: int, data: memoryview) -> None:
        """Put bytes into a file, which is made with the folders above it where missing."""
        descriptor = self._file(path)
        self._touched[path] = None
        if not _all_zero(data):
            write_at(descriptor, data, offset)
        elif offset >= os.fstat(descriptor).st_size:
            set_size(descriptor, offset + len(data))
        else:  # something may have been written here before
            write_at(descriptor, data, offset)

    def write_new(self, path: Path, data: memoryview, mtime_ns: int) -> bool:
        """A whole file at once, with the time others shall see, and it is let go again; False, and nothing
        done, where that is not what is to be done: go by `write` then."""
        if not _TIMED_WHILE_OPEN or len(data) >= HOLE_FROM:
            return False
        try:
            descriptor = self._folder(path[:-1]).create(path[-1])
        except FileExistsError:
            return False
        self._new_in[path[:-1]] = None
        self._touched[path] = None
        try:
            write_at(descriptor, data, 0)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(descriptor)
        return True

    def read(self, path: Path, offset: int, into: memoryview) -> int:
        """Fill `into` from a file; how many bytes there were."""
        return read_at(self._file(path), into, offset)

    def descriptor(self, path: Path) -> int:
        """The open file, ours to close; good until the next call."""
        return self._file(path)

    def place(self, path: Path) -> tuple[int, int]:
        """Which file it is, whatever it is called."""
        return same_place(self._file(path))

    def make_file(self, path: Path, size: int) -> None:
        """Make sure the file is there and exactly so long; what is missing becomes a hole."""
        if path not in self._files and size:  # most files are right: a look costs a third of opening
            look = self._folder(path[:-1]).look(path[-1])
            if look is not None and look.kind == "file" and look.size == size:
                return
        descriptor = self._file(path)
        if os.fstat(descriptor).st_size != size:
            set_size(descriptor, size)
            self._touched[path] = None

    def make_folder(self, path: Path) -> None:
        """Make sure the folder is there."""
        self._folder(path)

    def set_mtime(self, path: Path, mtime_ns: int) -> None:
        """When the file was last changed, as others shall see it. Its bytes are to be durable first."""
        self._folder(path[:-1]).set_mtime(path[-1], mtime_ns)

    def touched_bytes(self) -> bool:
        """Whether anything waits to be made durable."""
        return bool(self._touched or self._new_in)

    def sync(self) -> None:
        """All files touched and all names new since the last time survive a power cut from here on."""
        sync_many(self._root, [partial(self._again, path) for path in self._touched])
        for path in sorted(self._new_in, key=len, reverse=True):
            self._folder(path).sync()
        self._touched.clear()
        self._new_in.clear()

    def close(self) -> None:
        """Let go of everything held; harmless when repeated."""
        while self._files:
            os.close(self._files.popitem()[1])
        while self._folders:
            self._folders.popitem()[1].close()

    def _again(self, path: Path) -> int:
        return self._folder(path[:-1]).file(path[-1], write=True)

    def _file(self, path: Path) -> int:
        if path in self._files:
            self._files.move_to_end(path)
            return self._files[path]
        folder = self._folder(path[:-1])
        if self._writing:
            try:
                descriptor = folder.create(path[-1])
                self._new_in[path[:-1]] = None
                self._touched[path] = None
            except FileExistsError:
                descriptor = folder.file(path[-1], write=True)
        else:
            descriptor = folder.file(path[-1])
        self._files[path] = descriptor
        while len(self._files) > OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        return descriptor

    def _folder(self, path: Path) -> Folder:
        if not path:
            return self._root
        if path in self._folders:
            self._folders.move_to_end(path)
            return self._folders[path]
        above = self._folder(path[:-1])
        if self._writing:
            try:
                folder = above.make(path[-1])
                self._new_in[path[:-1]] = None
                self._new_in[path] = None
            except FileExistsError:
                folder = above.child(path[-1])
        else:
            folder = above.child(path[-1])
        self._folders[path] = folder
        while len(self._folders) > OPEN_FOLDERS:
            self._folders.popitem(last=False)[1].close()
        return folder


def every_file(folder: Folder, limit: int, found: Callable[[Path, int], None]) -> bool:
    """Tell `found` path and size of each plain file below `folder`; False if there are other things
    than files and folders, or more than `limit` of all."""
    left = limit

    def walk(here: Folder, path: Path) -> bool:
        nonlocal left
        for name, look in here.list():
            left -= 1
            if left < 0:
                return False
            if look.kind == "file":
                found((*path, name), look.size)
            elif look.kind == "folder":
                try:
                    below = here.child(name)
                except (FileNotFoundError, NotPlain):
                    return False
                with below:
                    if not walk(below, (*path, name)):
                        return False
            else:
                return False
        return True

    return walk(folder, ())


def _all_zero(data: memoryview) -> bool:
    if len(data) < HOLE_FROM or data[0]:
        return False
    starts = range(0, len(data), HOLE_FROM)
    return all(bytes(data[at : at + HOLE_FROM]) == _ZEROS[: len(data) - at] for at in starts)
