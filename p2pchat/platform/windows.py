"""Owner-only files and the one-daemon lock on Windows.

Decides: the same as `platform.posix`, with what Windows has instead. Does not know:
what the files hold.

UNPROVEN: written against the documentation and held to the contract test of the
posix half with fakes for msvcrt and icacls; never run on a Windows machine. What it
relies on: a file inherits the access list of its folder, so closing the profile's
folder once closes all in it; msvcrt.locking refuses a byte locked by another process
and frees it when that process ends; os.replace is atomic within a folder.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Final, Protocol, cast

from p2pchat.platform.common import (
    MAX_PRIVATE_FILE,
    LockHeld,
    PeerSocket,
    disk_error,
    lock_pid,
    lock_text,
    unsafe,
)

HAS_UNIX_SOCKETS: Final = False
"""CPython has no AF_UNIX there: loopback TCP and a token stand in (control/endpoint.py)."""

_LOCK_OFFSET: Final = 1 << 30
"""Byte that is locked. Windows locks forbid reading, so it lies far behind the pid at the start."""

_OWNER_RIGHTS: Final = "*S-1-3-4"
"""Well-known security id of whoever owns the object: needs no account name."""

_NO_CRASH_DIALOG: Final = 0x0001 | 0x0002
"""SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX (SetErrorMode): no crash report of our memory."""


class _Msvcrt(Protocol):
    LK_NBLCK: int
    LK_UNLCK: int

    def locking(self, descriptor: int, mode: int, nbytes: int, /) -> None: ...


def _msvcrt() -> _Msvcrt:
    return cast(_Msvcrt, importlib.import_module("msvcrt"))


def user_id() -> int:
    """Always 0: Windows has no user numbers; the token stands for the user."""
    return 0


def secure_umask() -> int:
    """Only clears the read-only bit's mask; access is decided by the folder. Returns the umask before."""
    return os.umask(0o077)


def make_private_dir(path: str | os.PathLike[str]) -> None:
    """Make sure `path` is a folder only its owner can enter, creating it and its parents.

    Its access list is replaced: nothing inherited, full control for the owner, passed
    on to what is created inside. Raises CommandError as the posix half does.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    check_private_dir(folder)
    command = ["icacls", str(folder), "/inheritance:r", "/grant:r", f"{_OWNER_RIGHTS}:(OI)(CI)F"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"cannot be closed to others: {error}"
        raise unsafe(folder, why, "name a folder of your own: --home DIR") from error
    if done.returncode != 0:
        why = f"cannot be closed to others (icacls gave {done.returncode})"
        raise unsafe(folder, why, "name a folder of your own: --home DIR")


def keep_names(folder: Path) -> None:
    """Nothing: NTFS keeps names in a journal of its own, and a folder cannot be synced."""


def check_private_dir(path: str | os.PathLike[str]) -> None:
    """Refuse what is a link or no folder; FileNotFoundError if there is none.

    The access list is not read back: `make_private_dir` set it when the daemon started.
    """
    status = os.lstat(path)
    if _is_link(status):
        raise unsafe(path, "is a link", "name the real place instead")
    if not stat.S_ISDIR(status.st_mode):
        raise unsafe(path, "is no folder", "name another one: --home DIR")


def write_private_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by a file holding `data`, at once; private as its folder is.

    Raises CommandError `disk_full` or `unsafe_path`; then the old file is untouched.
    """
    target = Path(path)
    temporary = target.parent / f".{target.name}.{os.urandom(8).hex()}.tmp"
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise disk_error(target, error) from error


def read_private_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a private file; errors as in the posix half.

    A link is seen by name before opening: inside a folder that only we can change
    nothing can be exchanged in between.
    """
    status = os.lstat(path)
    if _is_link(status):
        raise unsafe(path, "is a link", "name the real place instead")
    if not stat.S_ISREG(status.st_mode):
        raise unsafe(path, "is no plain file", "move it away")
    if status.st_size > MAX_PRIVATE_FILE:
        raise unsafe(path, f"is larger than {MAX_PRIVATE_FILE} bytes", "move it away")
    with open(path, "rb") as file:
        return file.read(MAX_PRIVATE_FILE)


class Lock:
    """One daemon per profile: a locked byte that Windows frees when its holder ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: str | os.PathLike[str]) -> Lock:
        """Take the lock at `path` and write our pid into it; errors as in the posix half."""
        system = _msvcrt()
        if os.path.islink(path):
            raise unsafe(path, "is a link", "name the real place instead")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise disk_error(path, error) from error
        try:
            os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
            system.locking(descriptor, system.LK_NBLCK, 1)
        except OSError:  # EACCES or EDEADLOCK: the only thing `locking` says is "somebody has it"
            os.lseek(descriptor, 0, os.SEEK_SET)
            pid = lock_pid(os.read(descriptor, 16))
            os.close(descriptor)
            raise LockHeld(path, pid) from None
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, lock_text(os.getpid()))
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
            system = _msvcrt()
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
            system.locking(descriptor, system.LK_UNLCK, 1)
            os.close(descriptor)


class OpenFile:
    """A file opened for writing beside whoever has it open: locks there belong to a handle, and SQLite
    shares its files for reading and writing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> OpenFile:
        """The file at `path`; OSError if it cannot be opened."""
        return cls(os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)))

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer at the end of the file only."""
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        parts: list[bytes] = []
        while count and (part := os.read(self._descriptor, count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """All of `data`, in place."""
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._descriptor)


def peer_uid(connection: PeerSocket) -> int:
    """The same as `user_id`: on loopback the proof of the token stands for the user."""
    return user_id()


def network_news() -> socket.socket | None:
    """None: what Windows tells of its interfaces comes by callback, and is not used yet."""
    return None


def allow_many_files() -> None:
    """Nothing to do: handles are not counted here."""


def harden_process() -> tuple[str, ...]:
    """No crash reports with our memory in them; returns a sentence for what was refused."""
    library = getattr(ctypes, "windll", None)
    if library is None:
        return ("crash reports could not be switched off: no kernel32",)
    library.kernel32.SetErrorMode(_NO_CRASH_DIALOG)
    return ()


def _is_link(status: os.stat_result) -> bool:
    """A symbolic link, or a junction, which only its reparse tag shows."""
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == 0xA0000003
