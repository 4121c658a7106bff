"""How people say whether they are there: what is chosen, what a peer is told, who is typing.

Decides: the value of the register PRESENCE and two frames with their fields (docs/protocol.md,
"Presence"). Does not know: who may see what, or when any of it is said.
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record

AVAILABLE: Final = "available"
AWAY: Final = "away"
BUSY: Final = "busy"
INVISIBLE: Final = "invisible"
OFFLINE: Final = "offline"

CHOICES: Final = (AVAILABLE, AWAY, BUSY, INVISIBLE)
"""What a person may choose."""
TOLD: Final = (AVAILABLE, AWAY, BUSY, OFFLINE)
"""What a peer may be told; OFFLINE also to him from whom one is hidden."""


class Chosen(Record, frozen=True):
    """Value of the register PRESENCE: what a person has set. Only his own machines ever get it.

    `state` and `message` count until `until_ms` (0: for good); who is hidden from stays so.
    """

    state: str
    message: str
    until_ms: int
    hide_from: tuple[bytes, ...]  # accounts, ascending
    hide_direct: bool
    hide_rooms: bool


class Presence(Record, frozen=True):
    """How the sender is shown to this peer from now on. Each peer is told his own; nothing is signed."""

    state: str
    message: str


class Typing(Record, frozen=True):
    """The sender is writing in `room`, or has stopped. Never kept."""

    room: bytes
    on: bool
