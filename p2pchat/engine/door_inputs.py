"""What the node hears of connections that have not said whose they are.

Decides: the records. Does not know: sockets, or what is made of them (underway).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answered:
    """The connection of a dial stands, and its handshake is under way: LinkUp or DialFailed follows."""

    dial: int


@dataclass(frozen=True, slots=True)
class AtTheDoor:
    """Somebody connects from `host`; `over`: he has proven who he is by now, or is gone."""

    host: str
    over: bool


DoorInput = Answered | AtTheDoor
