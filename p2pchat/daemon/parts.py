"""What a daemon is made of.

Decides: nothing. Does not know: what becomes of the parts (core), or where they come from (main).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pchat.daemon.disk import Disk
from p2pchat.daemon.identity import Identity
from p2pchat.daemon.room import Room
from p2pchat.engine.ports import Entropy
from p2pchat.model import Now
from p2pchat.net.lan import Lan
from p2pchat.store.ledger import Ledger
from p2pchat.wire.messages.statements import SignedStatement


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon is made of; everything it needs of the world.

    `threads`: whether slow work may go to threads and processes (never in simulation, where
    a jumping clock does not see them).
    """

    identity: Identity
    open_ledger: Callable[[], Ledger]
    lan: Lan
    entropy: Entropy
    clock: Callable[[], Now]
    stopwatch: Callable[[], float]
    name: str
    threads: bool = True
    port: int | None = None
    announce: bool = True
    peers: tuple[tuple[str, int | None], ...] = ()
    label: str = ""
    machine: str = ""
    """What this machine is called among those of its person, unless it was named."""
    farewell: tuple[SignedStatement, ...] = ()
    """Of the account this profile was before, if any."""
    keep_name: bool = False
    read_receipts: bool = False
    file_auto_max: int = 0
    quiet_hours: str = ""
    search: bool = False
    interfaces: tuple[str, ...] = ()
    lobby: bool = True
    room: Room | None = None
    disk: Disk | None = None
    """Where files are received; None: neither received nor sent."""
