"""Another process of the same user that exchanges a folder for a link, and back.

Decides: nothing; it swaps as fast as it can and says how often when it is done. One system call
exchanges both, so the name is never free: whoever looks sees the folder or the link.

    python -m tests.hostile.swapper FOLDER OUTSIDE COUNT
"""

from __future__ import annotations

import ctypes
import os
import sys

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def main(folder: str, outside: str, count: int) -> None:
    """Exchange `count` times (made even); the folder is in its place at the end, the link is gone."""
    link = folder + ".link"
    os.symlink(outside, link)
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(folder), os.fsencode(link)
    count += count % 2
    for _ in range(count):
        if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.unlink(link)
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
