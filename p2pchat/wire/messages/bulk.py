"""What is said on a bulk link, beside the bytes of pieces themselves.

Decides: the records by which offers are opened, pieces asked for, hashes and pieces given
(docs/files.md, "On a bulk link"). Does not know: who may have what, or in which order pieces are
best asked for.

Both sides may ask on the same link. What is asked for is given in the order of asking, so a frame
`Piece` needs no request's number; behind it, outside all frames, comes one sealed piece record.
"""

from __future__ import annotations

from p2pchat.wire.codec import Record


class Open(Record, frozen=True):
    """I should like to fetch this offer from you: answered by a Map or a Cannot."""

    offer: bytes


class Map(Record, frozen=True):
    """Which pieces can be had here. `author`: all of them, whether or not they were read yet, and
    their hashes come by themselves. `listed`: the list of all hashes can be asked for."""

    offer: bytes
    bits: bytes
    author: bool
    listed: bool


class More(Record, frozen=True):
    """These pieces can be had here too since the Map."""

    offer: bytes
    pieces: tuple[int, ...]


class Get(Record, frozen=True):
    """Please give these pieces, in this order."""

    offer: bytes
    pieces: tuple[int, ...]


class GetHashes(Record, frozen=True):
    """Please give the hashes of `count` pieces from `first` on."""

    offer: bytes
    first: int
    count: int


class Hashes(Record, frozen=True):
    """The hashes of pieces `first`, `first` + 1, …, 32 bytes each. Unasked only from the author's machine."""

    offer: bytes
    first: int
    hashes: bytes


class Piece(Record, frozen=True):
    """Piece `number` follows: `size` bytes in one record sealed under the bulk key, not in a frame."""

    offer: bytes
    number: int
    size: int


class Cannot(Record, frozen=True):
    """It, or with `number` >= 0 that piece of it, can not be had here: no_right · unknown · gone ·
    source_changed · cancelled · busy · disk."""

    offer: bytes
    number: int
    reason: str


class Done(Record, frozen=True):
    """I need no more of it: what was asked for and not begun need not be given."""

    offer: bytes
