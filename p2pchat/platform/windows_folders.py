"""Folders on Windows, with the safest calls Python offers there.

Decides: the same as `platform.posix_folders`, as far as Windows lets us. Does not know: what is
in the files.

UNPROVEN: held to the contract test of the posix half on a POSIX system, never run on Windows.
Python has no folder descriptors there, so names are used, and each folder on the way is looked at
for links and junctions right before. Who can change the inbox within that moment can lead us
astray: only its owner can, unless the owner opened it to others. What it relies on: os.rename
refuses an existing name, os.link works on NTFS, and fsync of a file suffices for its name.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from p2pchat.platform.folders_common import Look, NotPlain, Room, look_of, need, one_name

_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_MOVING: Final = threading.Lock()
"""A descriptor has one position for all threads, and there is no reading at a place."""


class Folder:
    """A folder by its path; each use looks first whether it is still the same folder and no link."""

    __slots__ = ("_place", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._place = look_of(_plain_folder(path)).place

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> Folder:
        """The folder at an absolute path in which nothing is a link; errors as in the posix half."""
        way = os.fspath(path)
        if not os.path.isabs(way) or os.path.normpath(way) != way:
            raise ValueError(f"not a plain absolute path: {way!r}")
        drive, rest = os.path.splitdrive(way)
        here = cls(drive + os.sep)
        for name in [part for part in rest.split(os.sep) if part]:
            here = here._enter(name, create)
        return here

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        """Nothing is held."""

    def duplicate(self) -> Folder:
        """The same folder."""
        self._still()
        return Folder(self.path)

    def child(self, name: str, *, create: bool = False) -> Folder:
        """The folder `name`; with `create` made where it is missing."""
        return self._enter(one_name(name), create)

    def make(self, name: str) -> Folder:
        """A new folder, private as this one is. FileExistsError if there is anything of that name."""
        os.mkdir(self._at(name), 0o700)
        return Folder(self._at(name))

    def _enter(self, name: str, create: bool) -> Folder:
        path = self._at(name)
        if create:
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                pass  # judged below
        return Folder(path)

    def create(self, name: str) -> int:
        """A descriptor of a new file for reading and writing. FileExistsError if the name is taken."""
        return os.open(self._at(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)

    def file(self, name: str, *, write: bool = False) -> int:
        """A descriptor of the plain file `name`. NotPlain if it is anything else."""
        path = self._at(name)
        need(_status(path), "file", name)
        descriptor = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | _BINARY)
        try:
            need(os.fstat(descriptor), "file", name)
        except NotPlain:
            os.close(descriptor)
            raise
        return descriptor

    def look(self, name: str) -> Look | None:
        """What there is of that name; None if nothing."""
        try:
            return _look(_status(self._at(name)))
        except FileNotFoundError:
            return None

    def may_read(self, name: str) -> bool:
        """Whether we may read the file of that name, as far as can be told without opening it."""
        return os.access(self._at(name), os.R_OK)

    def list(self) -> Iterator[tuple[str, Look]]:
        """All names, in no order, with what they lead to."""
        self._still()
        for name in os.listdir(self.path):
            look = self.look(name)
            if look is not None:
                yield name, look

    def remove(self, name: str) -> None:
        """Remove the file or link `name`; nothing if there is none. Never a folder."""
        try:
            os.unlink(self._at(name))
        except FileNotFoundError:
            pass

    def remove_tree(self, name: str) -> None:
        """Remove the folder `name` with all in it, following nothing; nothing if there is none."""
        try:
            below = self.child(name)
        except FileNotFoundError:
            return
        for inner, look in list(below.list()):
            if look.kind == "folder":
                below.remove_tree(inner)
            else:
                below.remove(inner)
        os.rmdir(self._at(name))

    def set_mtime(self, name: str, mtime_ns: int) -> None:
        """When `name` was last changed, as others shall see it."""
        path = self._at(name)
        if not _is_link(_status(path)):
            os.utime(path, ns=(mtime_ns, mtime_ns))

    def put_new(self, name: str, into: Folder, new: str) -> None:
        """Move the file or folder `name` to `into` as `new`, which must be nobody's name yet;
        errors as in the posix half. os.rename refuses by itself there."""
        old, target = self._at(name), into._at(new)
        status = _status(old)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        if _look(status).kind == "file":
            try:
                os.link(old, target)
            except FileExistsError:
                raise
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise
            else:
                os.unlink(old)
                return
        os.rename(old, target)

    def put_over(self, name: str, into: Folder, new: str) -> None:
        """Move the file `name` to `into` as `new`; a file or link there is replaced."""
        os.replace(self._at(name), into._at(new))

    def sync(self) -> None:
        """Nothing: Windows syncs no folders, and NTFS keeps names in its own journal."""
        self._still()

    def room(self) -> Room:
        """What the disk has left."""
        usage = shutil.disk_usage(self.path)
        return Room(usage.free, usage.total)

    def syncs_as_a_whole(self) -> bool:
        """No."""
        return False

    def _still(self) -> None:
        if look_of(_plain_folder(self.path)).place != self._place:
            raise NotPlain("another folder than before", self.path)

    def _at(self, name: str) -> str:
        self._still()
        return os.path.join(self.path, one_name(name))


def read_at(descriptor: int, into: memoryview, offset: int) -> int:
    """Fill `into` from `offset` on; how many bytes there were: fewer at the end of the file only."""
    with _MOVING:
        os.lseek(descriptor, offset, os.SEEK_SET)
        done = 0
        while done < len(into):
            part = os.read(descriptor, len(into) - done)
            if not part:
                break
            into[done : done + len(part)] = part
            done += len(part)
    return done


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """All of `data`, from `offset` on."""
    with _MOVING:
        os.lseek(descriptor, offset, os.SEEK_SET)
        done = 0
        while done < len(data):
            done += os.write(descriptor, data[done:])


def set_size(descriptor: int, size: int) -> None:
    """Cut the file, or lengthen it with zeros."""
    os.ftruncate(descriptor, size)


def sync_file(descriptor: int) -> None:
    """The bytes of this file survive a power cut from here on."""
    os.fsync(descriptor)


def sync_many(on: Folder, reopen: Iterable[Callable[[], int]]) -> None:
    """The bytes of all these files survive a power cut from here on. They are opened for writing:
    Windows flushes nothing through a descriptor that only reads."""
    for again in reopen:
        descriptor = again()
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def same_place(descriptor: int) -> tuple[int, int]:
    """`Look.place` of an open file."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _status(path: str) -> os.stat_result:
    return os.lstat(path)


def _look(status: os.stat_result) -> Look:
    look = look_of(status)
    return look._replace(kind="link") if _is_link(status) else look


def _plain_folder(path: str) -> os.stat_result:
    status = _status(path)
    if _is_link(status):
        raise NotPlain("a link", path)
    need(status, "folder", path)
    return status


def _is_link(status: os.stat_result) -> bool:
    """A symbolic link or a junction, which only its reparse tag shows."""
    return look_of(status).kind == "link" or getattr(status, "st_reparse_tag", 0) == 0xA0000003
