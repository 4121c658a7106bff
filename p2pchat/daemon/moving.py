"""What operations need of whoever moves the bytes of files.

Decides: nothing. It is the shape of daemon/bulk as seen from the control socket, small enough for
a test to fake. Does not know: links, pieces, disks, or who may have what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import trio

from p2pchat.files.source import Left
from p2pchat.wire.messages.files import Offer


class Moving(NamedTuple):
    """How a transfer stands just now.

    Of an outgoing one `bytes_done` is the most that any one receiver was given. `rate_bps` counts
    bytes in a second; `sources` who gives of it, or takes.
    """

    bytes_done: int
    rate_bps: float
    sources: int
    pieces_here: int
    pieces: int
    state: str  # active | waiting


class Bulk(Protocol):
    """Files on their way, as operations see them."""

    async def prepare(self, path: str, ttl_s: int = 0) -> Offer:
        """Look at what lies at an absolute path and keep it ready; nothing is read yet.
        CommandErrors as files.source.open_source."""

    async def prepare_spool(self, spool: str, name: str, ttl_s: int = 0) -> tuple[Offer, str]:
        """The same of what was piped in, all of which has come; its path, too."""

    async def spool(self) -> str:
        """Begin to keep what is piped in: its number."""

    async def spool_add(self, spool: str, data: bytes) -> None:
        """More of it. CommandErrors as files.source.Spool.add; `no_such_target` for an unknown one."""

    async def spool_drop(self, spool: str) -> None:
        """Forget it; harmless when repeated."""

    def moving(self, offer: bytes) -> Moving | None:
        """How it stands just now; None while nothing of it moves."""

    async def resting(self, offer: Offer) -> Moving:
        """How far one is that is not moving: what of it is kept. CommandError if the disk refuses."""

    def left(self, offer: bytes) -> Left | None:
        """What of a prepared folder does not go along, if anything; told once."""

    def drop_prepared(self, offers: Sequence[bytes]) -> None:
        """These were offered to nobody."""

    @property
    def changed(self) -> trio.Event:
        """Set, and replaced, at most 4 times a second while anything moves, at each start and end."""
