"""What both halves of `folders` share: the records they answer with, and the guard on names.

Decides: that a name handed to a folder is one name and never a way. Does not know: any system
call.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, NamedTuple

from p2pchat.errors import LocalProtocolError

NO_NAME: Final = ("", ".", "..")
_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


class NotPlain(OSError):
    """There is something of that name that is no plain file, or no folder, as was asked for:
    a link, a device, a pipe, or one where the other was expected. `kind` names it."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(errno.EINVAL, f"is {kind}", name)
        self.kind = kind


class Look(NamedTuple):
    """What a name leads to, links not followed."""

    kind: str
    """"file", "folder", "link" or "special"."""
    size: int
    mtime_ns: int
    place: tuple[int, int]
    """Device and inode: what stays the same under another name."""


class Room(NamedTuple):
    """Space of the disk a folder lies on, in bytes."""

    free: int
    """What this user may still write."""
    total: int


def one_name(name: str) -> str:
    """`name` if it is one; LocalProtocolError otherwise. The last guard behind files/names, so it
    only knows what would lead elsewhere: a separator, a way up, or the end of a C string."""
    if name in NO_NAME or "/" in name or "\0" in name or os.sep in name or (os.altsep or "/") in name:
        raise LocalProtocolError(f"not one name: {name!r}")
    return name


def kind_of(mode: int) -> str:
    """`Look.kind` of a mode."""
    return _KINDS.get(stat.S_IFMT(mode), "special")


def look_of(status: os.stat_result) -> Look:
    """What a status says."""
    return Look(kind_of(status.st_mode), status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))


def need(status: os.stat_result, kind: str, name: str) -> None:
    """NotPlain unless it is of that kind."""
    found = kind_of(status.st_mode)
    if found != kind:
        raise NotPlain({"special": "no plain file", "link": "a link"}.get(found, f"a {found}"), name)
