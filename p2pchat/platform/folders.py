"""Folders by descriptor: where files of other people are put, and where ours are read from.

Decides: which half serves this system, and what counts as one name. Does not know: what the
files hold, whose they are, or what a name should look like (files/names).

Both halves offer `Folder` and the same plain functions and pass one contract test; the Windows
half does so on a POSIX system and is unproven on a real Windows. Failures are OSErrors as the
system gives them, FileExistsError and FileNotFoundError among them: whoever asked knows the
sentence to make of them. Not imported by `p2pchat.platform` itself, since no command needs it.
"""

from __future__ import annotations

import sys

from p2pchat.platform.folders_common import Look, NotPlain, Room

if sys.platform == "win32":
    from p2pchat.platform.windows_folders import (
        Folder,
        read_at,
        same_place,
        set_size,
        sync_file,
        sync_many,
        write_at,
    )
else:
    from p2pchat.platform.posix_folders import (
        Folder,
        read_at,
        same_place,
        set_size,
        sync_file,
        sync_many,
        write_at,
    )

__all__ = [
    "Folder",
    "Look",
    "NotPlain",
    "Room",
    "read_at",
    "same_place",
    "set_size",
    "sync_file",
    "sync_many",
    "write_at",
]
