"""Room on the disk, as the runner asks for it before it writes.

Decides: when words of others are refused, when own ones are, and when the reserve is given
up and set aside again. Does not know: how anybody is told (runner), or what is written.

The order is DU8 of the design: first others' words stay with those who said them, then own
new ones are refused, so that what remains are small rows (receipts, addresses); for these,
and for emptying the log, the reserve is there. Memory has no such limits: None is given then.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from p2pchat.errors import ArchiveError
from p2pchat.store.space import BALLAST_BYTES, FLOOR_MESSAGES, Ballast, free_bytes

log = logging.getLogger(__name__)

FLOOR_OWN: Final = 2 * BALLAST_BYTES
"""Below this own words are refused too. More than the reserve: giving it up must not look like room."""


class Room:
    """The disk that holds `folder`, and the reserve on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = Ballast(folder)
        self.restore()

    def for_others(self) -> bool:
        """May words of others be taken in?"""
        return free_bytes(self._folder) >= FLOOR_MESSAGES

    def for_own(self) -> bool:
        """May own words be taken in?"""
        return free_bytes(self._folder) >= FLOOR_OWN

    def give_up(self) -> None:
        """The disk was full in the middle of a write: make the room that winding up needs."""
        self._ballast.release()
        log.warning("the disk is full: the reserve of %d MiB is given up", BALLAST_BYTES >> 20)

    def restore(self) -> None:
        """Set the reserve aside, if there is room and it is not there."""
        if self._ballast.held or not self.for_others():
            return
        try:
            self._ballast.create()
        except ArchiveError as error:
            log.warning("no reserve for a full disk: %s", error)
