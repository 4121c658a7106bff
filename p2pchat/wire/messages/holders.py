"""What is said about messages that a third machine keeps for somebody who is away.

Decides: the fields of the frames between an author and a holder, and between a holder and
whom it holds for (docs/protocol.md, "Holders"). Does not know: who is asked to hold, what is
taken, or when anything is said.
"""

from __future__ import annotations

from p2pchat.wire.codec import Record
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.statements import SignedStatement


class For(Record, frozen=True):
    """One person for whom something is held, and his machines known to the depositor: when all of
    these have it, it is held no longer."""

    account: bytes
    devices: tuple[bytes, ...]


class Kept(Record, frozen=True):
    """Events of one machine's chain, by number: closed ranges, newest first."""

    author: bytes
    ranges: tuple[tuple[int, int], ...]


class Deposit(Record, frozen=True):
    """Please keep these events of `room` for these people. `pair` is both people of a direct chat,
    from whom its id follows, and empty for any other room. An event that is held already and comes
    without its body takes the body away. Each deposit is answered by one Holding."""

    room: bytes
    pair: tuple[bytes, ...]
    to: tuple[For, ...]
    statements: tuple[SignedStatement, ...]  # of authors the holder may not know
    events: tuple[Event, ...]


class Holding(Record, frozen=True):
    """Answer to a deposit: these are held from now on, durably. `refused` says why others are not:
    "", full, refused, stranger, unknown."""

    room: bytes
    kept: tuple[Kept, ...]
    refused: str


class Withdraw(Record, frozen=True):
    """From the depositor: these need not be held any more."""

    room: bytes
    kept: tuple[Kept, ...]


class Top(Record, frozen=True):
    """Something of this chain is held; `event` is the newest of it, which nobody outside can name."""

    room: bytes
    author: bytes
    event: bytes


class Waiting(Record, frozen=True):
    """I hold something for you."""

    tops: tuple[Top, ...]


class Claim(Record, frozen=True):
    """Please hand over what you hold for me: acts first, then content, each after that place."""

    control: bool
    after: int


class Handed(Record, frozen=True):
    """Part of the answer to a claim. With `part` more of this answer follows; else, with `more`,
    the next claim goes on from this place."""

    statements: tuple[SignedStatement, ...]
    events: tuple[Event, ...]
    control: bool
    after: int
    part: bool
    more: bool
