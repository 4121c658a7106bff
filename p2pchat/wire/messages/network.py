"""What machines say to each other of the network between them: who is where, and what is wrong.

Decides: the records of peer exchange and of diagnosis (docs/protocol.md, "Finding each other"). Does
not know: who is told, what is believed, or what follows.
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record
from p2pchat.wire.messages.registers import SignedRegister
from p2pchat.wire.messages.statements import SignedStatement

PREFIX: Final = 8
"""Bytes of a device id in Around: two of 500 machines that share them are missed once, and met later."""


class Reach(Record, frozen=True):
    """Value of a REACH register: where this machine says it can be dialled; nowhere: it wants no callers."""

    hosts: tuple[str, ...]  # literals without scope, best first
    port: int


class Around(Record, frozen=True):
    """Whom the sender is linked to, PREFIX bytes of each: introduce me to the others."""

    known: bytes


class Introduction(Record, frozen=True):
    """A machine the sender is linked to: what proves it, and its own REACH register."""

    statements: tuple[SignedStatement, ...]
    register: SignedRegister


class Introductions(Record, frozen=True):
    """In answer to an Around."""

    people: tuple[Introduction, ...]


class Examine(Record, frozen=True):
    """What is between you and me? Please look, and try to dial me.

    On a link to `device` itself, or to one that is linked to it and passes the question on, once.
    `asker` asks; where it can be dialled say `hosts` and `port`; `label` is what it announces.
    """

    number: int
    device: bytes
    asker: bytes
    hosts: tuple[str, ...]
    port: int
    label: str


class Findings(Record, frozen=True):
    """The answer of `device` to the question of that number; `absent`: it is not linked to the sender."""

    number: int
    device: bytes
    absent: bool
    dialled: tuple[tuple[str, str], ...]  # address, and why nobody answered there; "" if somebody did
    sighted: bool  # whether the asker's announcement was heard there
    hears_itself: bool  # whether multicast leaves that machine and comes back
    discovery: str  # why mDNS does not run there; empty if it does
    hosts: tuple[str, ...]
    port: int
    version: str
    wall_ms: int


class Echo(Record, frozen=True):
    """On probe links only: `padding` of many bytes; answered by an Echo of `wanted` bytes of padding."""

    number: int
    wanted: int
    padding: bytes
