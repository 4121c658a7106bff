"""Room on the disk: how much is left, and a reserve to get out of a full one.

Decides: the floors below which new data is refused, and the reserve. Does not know: who
asks, or when the reserve is given up.

A full disk wedges SQLite: with the log full, deleting and checkpointing fail too
(measured). So 4 MiB lie ready, and giving them up makes room for both.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from p2pchat.errors import ArchiveError

BALLAST_BYTES: Final = 4 * 1024 * 1024
"""Enough for the log of one full batch and its checkpoint."""

FLOOR_FILES: Final = 256 * 1024 * 1024
"""Below this, or 5 % of the disk, files are refused: others on this machine need room too."""

FLOOR_MESSAGES: Final = 64 * 1024 * 1024
"""Below this messages from others are refused; they stay queued with their senders."""


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes this user may still write on the disk that holds `path`, an existing file or folder."""
    return shutil.disk_usage(path).free


def has_room_for_files(path: str | os.PathLike[str]) -> bool:
    """Whether the disk that holds `path` may take another file."""
    usage = shutil.disk_usage(path)
    return usage.free >= max(FLOOR_FILES, usage.total // 20)


class Ballast:
    """The reserve: a file of BALLAST_BYTES beside the archive."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / "ballast"

    @property
    def held(self) -> bool:
        """Whether the whole reserve is there."""
        try:
            return self.path.stat().st_size >= BALLAST_BYTES
        except FileNotFoundError:
            return False

    def create(self) -> None:
        """Set the reserve aside; nothing if it is there. ArchiveError if the disk refuses."""
        if self.held:
            return
        self.release()
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if sys.platform == "linux":  # blocks, whatever a compressing file system makes of zeros
                    os.posix_fallocate(handle, 0, BALLAST_BYTES)
                else:
                    os.write(handle, bytes(BALLAST_BYTES))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            self.release()
            raise ArchiveError(
                f"cannot set {BALLAST_BYTES >> 20} MiB aside at '{self.path}': {error.strerror}",
                "make room on this disk",
            ) from error

    def release(self) -> None:
        """Give the reserve up, so that deleting and checkpointing work again."""
        self.path.unlink(missing_ok=True)
