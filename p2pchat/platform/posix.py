"""Owner-only files, the one-daemon lock and peer identity on Linux, macOS and the BSDs.

Decides: which files and folders are private enough to hold secrets, and who is at
the other end of a Unix socket. Does not know: what the files hold.

Everything is checked on an open descriptor, never on a name, so that nothing can be
exchanged between check and use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from p2pchat.platform.common import (
    MAX_PRIVATE_FILE,
    LockHeld,
    PeerSocket,
    disk_error,
    lock_pid,
    lock_text,
    unsafe,
)

HAS_UNIX_SOCKETS: Final = True

_OTHERS: Final = 0o077
"""Permission bits of everybody but the owner. A POSIX ACL shows up in them as well (its mask)."""

_NETLINK_ROUTE: Final = 0
_LINKS_AND_ADDRESSES: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""

_MOST_DESCRIPTORS: Final = 4096
"""So many numbers are looked at for an open file where the system does not list them (1 us each)."""


def user_id() -> int:
    """The user this process acts as, in the form `peer_uid` gives."""
    return os.geteuid()


def secure_umask() -> int:
    """Make every file created from now on owner-only; returns the umask before."""
    return os.umask(_OTHERS)


def make_private_dir(path: str | os.PathLike[str]) -> None:
    """Make sure `path` is a folder that only we can enter, creating it (0700) and its parents.

    An *empty* folder of ours that others may enter is closed: nothing can have been
    planted in it. Any other folder that is a link, somebody else's, or open to others
    is refused: CommandError `unsafe_path`; `disk_full` where there is no room.
    """
    folder = Path(path)
    before = os.umask(_OTHERS)  # mkdir's mode is masked: a umask of 0777 would lock ourselves out
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass  # judged below like any other folder that was there before
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        os.umask(before)
    descriptor = _open_dir(folder)
    try:
        mode = os.fstat(descriptor).st_mode
        if mode & _OTHERS and os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, 0o700)  # first close, then look: nobody can add anything in between
            if os.listdir(descriptor):
                os.fchmod(descriptor, stat.S_IMODE(mode))
        _check(descriptor, folder, "folder")
    finally:
        os.close(descriptor)


def check_private_dir(path: str | os.PathLike[str]) -> None:
    """Refuse a folder others could have prepared: CommandError `unsafe_path`.

    FileNotFoundError if there is none: whoever looks for a daemon then knows there is none.
    """
    descriptor = _open_dir(Path(path))
    try:
        _check(descriptor, path, "folder")
    finally:
        os.close(descriptor)


def write_private_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by a 0600 file holding `data`, at once and durably.

    After a crash or power cut either the old or the new content is there, whole. A
    link at `path` is replaced, not followed. Raises CommandError `disk_full` or
    `unsafe_path`; then the old file is untouched.
    """
    target = Path(path)
    first = not os.path.lexists(target)
    temporary = f".{target.name}.{os.urandom(8).hex()}.tmp"
    try:
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(target, error) from error
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            try:
                os.fchmod(descriptor, 0o600)  # the umask may have taken even our own bits
                _write_all(descriptor, data)
                _sync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, target.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise
        _sync(folder)  # without it a power cut may undo the rename
        if first:
            keep_names(target.parent)
    except OSError as error:
        raise disk_error(target, error) from error
    finally:
        os.close(folder)


def read_private_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a file that only we can read or change.

    Raises FileNotFoundError if there is none; CommandError `unsafe_path` if it is a
    link or no plain file, belongs to somebody else, is open to others or exceeds 1 MiB.
    """
    # O_NONBLOCK: a pipe planted in its place must not hang us
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unopenable(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise unsafe(path, "is no plain file", "move it away")
        _check(descriptor, path, "file")
        data = file.read(MAX_PRIVATE_FILE + 1)
    if len(data) > MAX_PRIVATE_FILE:
        raise unsafe(path, f"is larger than {MAX_PRIVATE_FILE} bytes", "move it away")
    return data


class Lock:
    """One daemon per profile: an advisory lock the kernel drops when its holder dies.

    So a lock left by a killed daemon is simply taken. The file is never removed:
    removing it would let two daemons lock two files of one name. Made by `acquire`.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: str | os.PathLike[str]) -> Lock:
        """Take the lock at `path` (its folder exists) and write our pid into it.

        Raises LockHeld if a living process has it, CommandError `unsafe_path` if it
        cannot be made or the file system has no locks.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise _unopenable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, lock_text(os.getpid()), 0)
        except BlockingIOError:
            pid = lock_pid(os.pread(descriptor, 16, 0))
            os.close(descriptor)
            raise LockHeld(path, pid) from None
        except OSError as error:
            os.close(descriptor)
            why = f"cannot be locked: {(error.strerror or str(error)).lower()}"
            raise unsafe(path, why, "name a folder on a local disk: --home DIR") from error
        return cls(descriptor)

    @staticmethod
    def holder(path: str | os.PathLike[str]) -> int | None:
        """The pid written by who holds or last held the lock at `path`; None if there is none."""
        try:
            return lock_pid(read_private_file(path))
        except FileNotFoundError:
            return None

    def release(self) -> None:
        """Let the next daemon in; harmless when repeated."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.ftruncate(descriptor, 0)  # before the lock falls: our pid is not mistaken for the next one's
            os.close(descriptor)


class OpenFile:
    """A file that this process has open for writing, by a descriptor somebody else here owns.

    Nobody may open and close a second one beside SQLite: closing any descriptor of a file drops
    all locks that the process has on it (fcntl(2), "Advisory record locking"), SQLite's too.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> OpenFile:
        """The file at `path`; OSError if it is not open for writing here. Never closed by us."""
        here = os.stat(path)
        listed = [int(name) for name in os.listdir("/dev/fd")]
        for descriptor in (*listed, *range(_MOST_DESCRIPTORS)):  # some systems list the first three only
            try:
                status = os.fstat(descriptor)
            except OSError:
                continue
            if (status.st_dev, status.st_ino) != (here.st_dev, here.st_ino):
                continue
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
                return cls(descriptor)
        raise OSError(errno.EBADF, "not open for writing in this process", os.fspath(path))

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer at the end of the file only."""
        parts: list[bytes] = []
        while count and (part := os.pread(self._descriptor, count, offset)):
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """All of `data`, in place."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._descriptor, view, offset)
            view, offset = view[done:], offset + done

    def sync(self) -> None:
        """Make what was written durable."""
        _sync(self._descriptor)


def peer_uid(connection: PeerSocket) -> int:
    """User id of the process that made the other end of a connected Unix socket.

    As the kernel recorded it at connect time; OSError if the kernel will not say.
    """
    if sys.platform == "linux":
        # struct ucred {pid, uid, gid} (unix(7), SO_PEERCRED)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("iII", raw)[1])
    return _getpeereid(connection.fileno())  # pragma: no cover - proven with a fake C library


def _getpeereid(descriptor: int, library: object = None) -> int:
    """Peer user id by getpeereid(3) of macOS and the BSDs; `library` stands in for the C library in tests."""
    import ctypes

    libc = library if library is not None else ctypes.CDLL(None, use_errno=True)
    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()
    if libc.getpeereid(descriptor, ctypes.byref(uid), ctypes.byref(gid)) != 0:  # type: ignore[attr-defined]
        raise OSError(ctypes.get_errno(), "getpeereid failed")
    return uid.value


def network_news() -> socket.socket | None:
    """A socket that becomes readable whenever a link or an address changes (rtnetlink(7)).

    None where the system has no such thing, or refuses it: then only looking helps. Not blocking;
    whoever has it reads and throws away.
    """
    if sys.platform != "linux":
        return None
    try:
        news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    except OSError:
        return None
    try:
        news.setblocking(False)
        news.bind((0, _LINKS_AND_ADDRESSES))
    except OSError:
        news.close()
        return None
    return news


MANY_FILES: Final = 65_536


def allow_many_files() -> None:
    """As many open files as this process may have, up to MANY_FILES: every transfer that is wanted
    keeps three open, and most systems begin with 1,024 or 256. Where it refuses, it stays as it was."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    for limit in (wanted, wanted // 8):  # macOS takes 10,240 at most, whatever it says
        if limit > soft:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return


def harden_process() -> tuple[str, ...]:
    """No core dumps, and on Linux no reading of our memory by others of the same user.

    Returns a sentence for each measure the system refused, to be logged: keys in a
    core file outlive every other protection, but a refusal must not stop the daemon.
    """
    import ctypes
    import resource

    refused = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        refused.append(f"core dumps could not be switched off: {error}")
    if sys.platform == "linux":
        set_dumpable = 4  # PR_SET_DUMPABLE, prctl(2)
        if ctypes.CDLL(None, use_errno=True).prctl(set_dumpable, 0, 0, 0, 0) != 0:
            refused.append(f"memory stays readable to debuggers: {os.strerror(ctypes.get_errno())}")
    return tuple(refused)


def _open_dir(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unopenable(path, error) from error


def _unopenable(path: str | os.PathLike[str], error: OSError) -> Exception:
    name = os.fspath(path)
    if os.path.islink(name):  # with O_NOFOLLOW the errno differs by system: ELOOP, EMLINK, ENOTDIR
        return unsafe(path, f"is a link to {os.readlink(name)!r}", "name the real place instead")
    if error.errno == errno.ENOTDIR:
        return unsafe(path, "is no folder", "name another one: --home DIR")
    if error.errno in (errno.EACCES, errno.EPERM):
        return unsafe(path, "belongs to somebody else", "name a folder of your own: --home DIR")
    why = f"cannot be opened: {(error.strerror or str(error)).lower()}"
    return unsafe(path, why, "name another folder: --home DIR")


def _check(descriptor: int, path: str | os.PathLike[str], what: str) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        why = f"belongs to user {status.st_uid}, not to {os.geteuid()}"
        raise unsafe(path, why, "name a folder of your own: --home DIR")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        private = "700" if what == "folder" else "600"
        why = f"is a {what} open to other users (mode {mode:04o})"
        raise unsafe(path, why, f"chmod {private} {os.fspath(path)!r}")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def keep_names(folder: Path) -> None:
    """Make the name of `folder` durable, and of every folder above that may be as new as it. OSError
    if the disk fails.

    Syncing a folder keeps the names in it, not its own (fsync(2)): without this a power cut
    after the very first start may take the whole profile, identity and all. Ends at the first
    folder that is not ours or lies on another disk: we have not made that one.
    """
    below = os.lstat(folder)
    for parent in Path(os.path.realpath(folder)).parents:
        here = os.lstat(parent)
        if here.st_dev != below.st_dev:
            return
        try:
            descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:  # others' folders may be closed to us; then we have not made this one
            return
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)
        if here.st_uid != os.geteuid():
            return


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        # fsync on macOS leaves the data in the drive's cache (fcntl(2), F_FULLFSYNC)
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)
