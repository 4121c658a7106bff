"""What both halves of `platform` share: their errors and the text of a lock file.

Decides: how trouble with the local disk is told. Does not know: any system call.
"""

from __future__ import annotations

import errno
import os
from typing import Final, Protocol

from p2pchat.errors import CommandError

MAX_PRIVATE_FILE: Final = 1 << 20
"""Bytes of a private file read whole: keys, token and settings are far smaller; a
swapped-in device or sparse giant must not fill memory."""


class PeerSocket(Protocol):
    """The part of a socket that tells who is at its other end (stdlib and trio sockets have it)."""

    def fileno(self) -> int: ...

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


class LockHeld(CommandError):
    """Another living process holds the lock; `pid` is its process id, if it has written it yet."""

    def __init__(self, path: str | os.PathLike[str], pid: int | None) -> None:
        who = f" (process {pid})" if pid else ""
        home = os.path.dirname(os.fspath(path))
        super().__init__("exists", f"a daemon is already running for {home!r}{who}", "p2pchat status")
        self.pid = pid


def unsafe(path: str | os.PathLike[str], why: str, hint: str) -> CommandError:
    """A path that cannot be trusted with secrets; `why` completes "'<path>' …"."""
    return CommandError("unsafe_path", f"{os.fspath(path)!r} {why}", hint)


def disk_error(path: str | os.PathLike[str], error: OSError) -> CommandError:
    """An OSError met while making or writing `path`, as something a person can act on."""
    name = os.fspath(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CommandError("disk_full", f"no space left to write {name!r}", "free some space and try again")
    reason = (error.strerror or str(error)).lower()
    return CommandError(
        "unsafe_path", f"cannot write {name!r}: {reason}", "name a folder of your own: --home DIR"
    )


def lock_text(pid: int) -> bytes:
    """What the holder writes into its lock file."""
    return b"%d\n" % pid


def lock_pid(text: bytes) -> int | None:
    """The pid in a lock file; None while the holder has not written it, or for foreign content."""
    digits = text.strip()
    return int(digits) if digits.isdigit() and len(digits) <= 10 else None
