"""What goes wrong with files and disks, as something a person can act on.

Decides: the sentence and the kind of failure for what a system call answered. Does not know:
which transfer it was about, or who is told.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from p2pchat.amounts import amount
from p2pchat.errors import CommandError
from p2pchat.platform.folders import NotPlain, Room

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told(doing: str, what: str) -> Iterator[None]:
    """Turn OSErrors inside into CommandErrors: "cannot `doing` '`what`': why"."""
    try:
        yield
    except OSError as error:
        raise told_of(error, doing, what) from error


def told_of(error: OSError, doing: str, what: str) -> CommandError:
    """The failure `error` means while `doing` something with `what`."""
    if error.errno in _FULL:
        return CommandError("disk_full", f"no space left to {doing} {what!r}", "free some space, it goes on")
    if isinstance(error, NotPlain):
        return CommandError("unsafe_path", f"cannot {doing} {what!r}: it is {error.kind}", "move it away")
    if isinstance(error, FileExistsError):
        return CommandError("exists", f"cannot {doing} {what!r}: there is one", "name another place")
    why = (error.strerror or str(error)).lower()
    return CommandError("unsafe_path", f"cannot {doing} {what!r}: {why}", "see: p2pchat doctor")


def need_room(room: Room, wanted: int, keep_free: int, what: str) -> None:
    """CommandError `disk_full` unless `wanted` bytes fit and `keep_free` are left after them."""
    if room.free - wanted < keep_free:
        figures = [f"{amount(wanted)} are needed"] if wanted else []
        figures.append(f"{amount(room.free)} are free")
        if keep_free:
            figures.append(f"{amount(keep_free)} stay free")
        raise CommandError(
            "disk_full", f"no space for {what!r}: {', '.join(figures)}", "free some space, it goes on"
        )
