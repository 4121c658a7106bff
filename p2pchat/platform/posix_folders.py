"""Folders by descriptor on Linux, macOS and the BSDs.

Decides: that nothing below a folder once opened is reached through a link, that new things are
private, and how a thing gets its final name without taking anybody else's. Does not know: what
is in the files.

A `Folder` holds a descriptor. Whoever renames the folder, or puts a link in its place, changes
where its name leads and not what we hold; so nothing is ever checked by name and used later.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from p2pchat.platform.folders_common import Look, NotPlain, Room, look_of, need, one_name
from p2pchat.platform.posix import _sync

_ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""A folder on the way may be closed to reading; with O_PATH it need only let us through."""
# A pipe in its place must not hang us, a terminal not become ours.
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_LINKS_HERE: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_NO_SUCH_RENAME: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_SYNCED_AS_A_WHOLE: Final = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994}  # ext, xfs, btrfs, f2fs, tmpfs (statfs(2))
)
"""File systems on which syncfs(2) is known to do what fsync of every file does. FUSE is not one."""
_MANY: Final = 32
"""From so many files on, one sync of the file system is cheaper than theirs."""


class Folder:
    """An open folder. Every `name` is one name; LocalProtocolError otherwise."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self.path = path
        """Where it was when it was opened: for sentences, never to open anything by."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = False) -> Folder:
        """The folder at an absolute path in which nothing is a link, not even on the way.

        Resolve a path a person named once, when it is named (os.path.realpath), and keep that:
        then a link put into the way later is refused instead of followed. `create` makes what is
        missing, private. NotPlain for a link or a file on the way.
        """
        way = os.fspath(path)
        if not os.path.isabs(way) or os.path.normpath(way) != way:
            raise ValueError(f"not a plain absolute path: {way!r}")
        here = cls(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), "/")
        names = way.strip("/").split("/") if way.strip("/") else []
        for at, name in enumerate(names):
            try:
                below = here._enter(name, _ENTER if at == len(names) - 1 else _PASS, create)
            finally:
                here.close()
            here = below
        return here

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Harmless when repeated."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def duplicate(self) -> Folder:
        """The same folder, to be closed by itself."""
        return Folder(os.dup(self._descriptor), self.path)

    # -- folders in it ---------------------------------------------------------------------

    def child(self, name: str, *, create: bool = False) -> Folder:
        """The folder `name`; with `create` made (0700) where it is missing."""
        return self._enter(one_name(name), _ENTER, create)

    def make(self, name: str) -> Folder:
        """A new folder, 0700. FileExistsError if there is anything of that name."""
        os.mkdir(one_name(name), 0o700, dir_fd=self._descriptor)
        return self._enter(name, _ENTER, False)

    def _enter(self, name: str, flags: int, create: bool) -> Folder:
        path = os.path.join(self.path, name)
        for attempt in (False, True):
            try:
                return Folder(os.open(name, flags, dir_fd=self._descriptor), path)
            except FileNotFoundError:
                if attempt or not create:
                    raise
                try:
                    os.mkdir(name, 0o700, dir_fd=self._descriptor)
                except FileExistsError:
                    pass  # somebody else made it: it is judged like any other
            except OSError as error:
                raise self._why(name, "folder", error) from error
        raise AssertionError("not reached")

    # -- files in it -----------------------------------------------------------------------

    def create(self, name: str) -> int:
        """A descriptor of a new file, 0600, for reading and writing. FileExistsError if there is
        anything of that name, a link that leads nowhere included."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(one_name(name), flags, 0o600, dir_fd=self._descriptor)

    def file(self, name: str, *, write: bool = False) -> int:
        """A descriptor of the plain file `name`. NotPlain if it is anything else."""
        try:
            descriptor = os.open(
                one_name(name), _FILE | (os.O_RDWR if write else os.O_RDONLY), dir_fd=self._descriptor
            )
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._why(name, "file", error) from error
        try:
            need(os.fstat(descriptor), "file", name)
        except NotPlain:
            os.close(descriptor)
            raise
        return descriptor

    def look(self, name: str) -> Look | None:
        """What there is of that name; None if nothing."""
        try:
            return look_of(os.stat(one_name(name), dir_fd=self._descriptor, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def may_read(self, name: str) -> bool:
        """Whether we may read the file of that name, as far as can be told without opening it."""
        return os.access(one_name(name), os.R_OK, dir_fd=self._descriptor)

    def list(self) -> Iterator[tuple[str, Look]]:
        """All names, in no order, with what they lead to; what vanishes meanwhile is left out."""
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                try:
                    yield entry.name, look_of(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue

    def remove(self, name: str) -> None:
        """Remove the file or link `name`; nothing if there is none. Never a folder."""
        try:
            os.unlink(one_name(name), dir_fd=self._descriptor)
        except FileNotFoundError:
            pass

    def remove_tree(self, name: str) -> None:
        """Remove the folder `name` with all in it, following nothing; nothing if there is none."""
        try:
            below = self.child(name)
        except FileNotFoundError:
            return
        with below:
            for inner, look in list(below.list()):
                if look.kind == "folder":
                    below.remove_tree(inner)
                else:
                    below.remove(inner)
        os.rmdir(name, dir_fd=self._descriptor)

    def set_mtime(self, name: str, mtime_ns: int) -> None:
        """When `name` was last changed, as others shall see it; a link's own time, if it is one."""
        os.utime(one_name(name), ns=(mtime_ns, mtime_ns), dir_fd=self._descriptor, follow_symlinks=False)

    # -- final names -----------------------------------------------------------------------

    def put_new(self, name: str, into: Folder, new: str) -> None:
        """Move the file or folder `name` to `into` as `new`, which must be nobody's name yet.

        FileExistsError if it is, by then; OSError EXDEV if `into` is on another disk. In one step
        on every common file system: link and unlink (a file then has both names for a moment),
        else a rename that refuses. Where there is neither, the name is taken with an empty thing
        of its kind that the rename replaces: a folder only if it is still empty; a file put there
        by somebody else within that moment would be replaced.
        """
        one_name(new)
        look = self.look(name)
        if look is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        ends: dict[str, Any] = {"src_dir_fd": self._descriptor, "dst_dir_fd": into._descriptor}
        if look.kind == "file":
            try:
                os.link(name, new, **ends, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS_HERE:
                    raise
            else:
                os.unlink(name, dir_fd=self._descriptor)
                return
        try:
            _rename_new(self._descriptor, name, into._descriptor, new)
            return
        except OSError as error:
            if error.errno not in _NO_SUCH_RENAME:
                raise
        if look.kind == "folder":
            os.mkdir(new, 0o700, dir_fd=into._descriptor)
        else:
            os.close(into.create(new))
        try:
            os.rename(name, new, **ends)
        except OSError:
            if look.kind == "folder":
                os.rmdir(new, dir_fd=into._descriptor)
            else:
                into.remove(new)
            raise

    def put_over(self, name: str, into: Folder, new: str) -> None:
        """Move the file `name` to `into` as `new`; a file or link there is replaced in one step, and
        what a link leads to is left alone. OSError if `new` is a folder."""
        os.rename(one_name(name), one_name(new), src_dir_fd=self._descriptor, dst_dir_fd=into._descriptor)

    def sync(self) -> None:
        """The names in this folder survive a power cut from here on."""
        _sync(self._descriptor)

    def room(self) -> Room:
        """What the disk has left."""
        status = os.fstatvfs(self._descriptor)
        return Room(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)

    def syncs_as_a_whole(self) -> bool:
        """Whether one call makes the whole file system durable here (Linux, known kinds only)."""
        return sys.platform == "linux" and _kind_of_disk(self._descriptor) in _SYNCED_AS_A_WHOLE

    def _why(self, name: str, wanted: str, error: OSError) -> OSError:
        # What O_NOFOLLOW and O_DIRECTORY say of a link differs by system: ELOOP, EMLINK, ENOTDIR.
        try:
            look = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            need(look, wanted, name)
        except NotPlain as found:
            return found
        except OSError:
            pass  # gone by now, or closed to us: what was met first is the answer
        return error


def read_at(descriptor: int, into: memoryview, offset: int) -> int:
    """Fill `into` from `offset` on; how many bytes there were: fewer at the end of the file only."""
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], offset + done)
        if count == 0:
            break
        done += count
    return done


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """All of `data`, from `offset` on; what lies between the end and there becomes a hole."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def set_size(descriptor: int, size: int) -> None:
    """Cut the file, or lengthen it by a hole."""
    os.ftruncate(descriptor, size)


def sync_file(descriptor: int) -> None:
    """The bytes of this file survive a power cut from here on; its name may not."""
    _sync(descriptor)


def sync_many(on: Folder, reopen: Iterable[Callable[[], int]]) -> None:
    """The bytes of all these files, which lie on the same disk as `on`, survive a power cut from
    here on. Each is opened by its function, and closed again."""
    opens = list(reopen)
    if len(opens) >= _MANY and on.syncs_as_a_whole():
        if _libc().syncfs(on._descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), on.path)
        return
    for again in opens:
        descriptor = again()
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def same_place(descriptor: int) -> tuple[int, int]:
    """`Look.place` of an open file."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _kind_of_disk(descriptor: int) -> int:
    # struct statfs begins with f_type, a word; the rest is far below 512 bytes (statfs(2)).
    answer = ctypes.create_string_buffer(512)
    if _libc().fstatfs(descriptor, answer) != 0:
        return 0
    return ctypes.c_ulong.from_buffer(answer).value & 0xFFFFFFFF


def _rename_new(old_folder: int, old: str, new_folder: int, new: str) -> None:
    """rename(2) that fails with EEXIST; EINVAL or ENOSYS where kernel or file system cannot."""
    name, flag = ("renameatx_np", 0x4) if sys.platform == "darwin" else ("renameat2", 0x1)
    call = getattr(_libc(), name, None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), new)
    if call(old_folder, os.fsencode(old), new_folder, os.fsencode(new), flag) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)
