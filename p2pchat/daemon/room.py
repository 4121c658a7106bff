"""Room on the disk, as the runner asks for it before it writes.

Decides: when words of others are refused, when own ones are, and when the reserve is given
up and set aside again. Does not know: how anybody is told (runner), or what is written.

The order is DU8 of the design: first others' words stay with those who said them, then own
new ones are refused, so that what remains are small rows (receipts, addresses); for these,
and for emptying the log, the reserve is there. Memory has no such limits: None is given then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2pchat.engine.inputs import Change, FromPeer, Input, Post
from p2pchat.errors import ArchiveError
from p2pchat.store.space import BALLAST_BYTES, FLOOR_MESSAGES, Ballast, free_bytes
from p2pchat.wire.messages.holders import Deposit, Handed
from p2pchat.wire.messages.link import Events

log = logging.getLogger(__name__)

FLOOR_OWN: Final = 2 * BALLAST_BYTES
"""Below this own words are refused too. More than the reserve: giving it up must not look like room."""

_OF_OTHERS: Final = (Events, Deposit, Handed)
"""What of peers makes the archive larger by more than a row of bookkeeping."""
_GROWS: Final = (FromPeer, Post, Change)
"""Inputs that may make the archive larger by more than a row of bookkeeping."""


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


class Door:
    """What of the inputs the disk has room for; all of it where no disk is watched."""

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self.turned_away: dict[int, None] = {}
        """Links whose events were not taken for lack of room: they begin anew once there is some."""

    def has_room(self) -> bool:
        """Whether own words may be written."""
        return self._room is None or self._room.for_own()

    def admit(self, batch: list[Input]) -> tuple[list[Input], Sequence[FromPeer], Sequence[Post | Change]]:
        """What may in; of others' events those that stay with them; own words that are to be refused."""
        if self._room is None or not any(isinstance(event, _GROWS) for event in batch):
            return batch, (), ()
        if self._room.for_others():
            return batch, (), ()
        own = self._room.for_own()
        kept: list[Input] = []
        left: list[FromPeer] = []
        refused: list[Post | Change] = []
        for event in batch:
            if isinstance(event, FromPeer) and isinstance(event.message, _OF_OTHERS):
                self.turned_away[event.link] = None
                left.append(event)
            elif isinstance(event, Post | Change) and not own:
                refused.append(event)
            else:
                kept.append(event)
        return kept, left, refused

    def open_again(self) -> list[int]:
        """If there is room again: the links whose events were not taken. What is missing comes with the
        next of each."""
        if self._room is None or not self._room.for_others():
            return []
        self._room.restore()
        links = list(self.turned_away)
        self.turned_away.clear()
        return links
