"""Files: what is offered, what completes an offer, what a folder consists of, and who has it.

Decides: the fields of offer, root, manifest and states (docs/files.md), and which offers make sense.
Does not know: pieces, names that are safe, or when any of it is sent.

A transfer is one stream of bytes. Of a file it is the file; of a folder the encoded manifest
comes first (`head` bytes) and then every file of it in its order, one behind the other.
"""

from __future__ import annotations

from typing import Final

from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import (
    MAX_ENTRIES,
    MAX_MANIFEST,
    MAX_OFFER_NAME,
    MAX_PIECE,
    MAX_PIECES,
    MAX_TTL_S,
    MIN_PIECE,
)

OFFER_ID_BYTES: Final = 16
FILE_KEY_BYTES: Final = 32
ROOT_BYTES: Final = 32
MAX_TIME: Final = (1 << 63) - 1
"""Nanoseconds since 1970 up to the year 2262: what systems count in 64 bits."""
PIECE_SIZES: Final = tuple(MIN_PIECE << shift for shift in range((MAX_PIECE // MIN_PIECE).bit_length()))


class Offer(Record, frozen=True):
    """Inside a message: here is a file or a folder, not yet read. Names are suggestions."""

    id: bytes  # 16 bytes bound to author and key (docs/files.md): offer, transfer, `files` of a message
    size: int  # of the whole stream
    head: int  # bytes of the manifest at its start; 0 for a single file
    files: int  # how many files it holds, 1 for a single one
    name: str
    mime: str
    mtime: int  # of a single file, nanoseconds since 1970; 0 for a folder
    file_key: bytes  # 32 random bytes that key every hash of it
    piece_size: int
    ttl_s: int  # so long after its message it is served and kept staged; 0: as long as somebody has it


def check_offer(offer: Offer) -> Offer:
    """The offer, if it can be meant; RemoteProtocolError otherwise.

    Nothing is judged that a receiver decides himself: whether it is wanted, fits the disk, or what
    the name becomes.
    """
    if len(offer.id) != OFFER_ID_BYTES or len(offer.file_key) != FILE_KEY_BYTES:
        raise RemoteProtocolError("offer with an id or key of wrong length")
    if offer.piece_size not in PIECE_SIZES or not 0 <= offer.size <= offer.piece_size * MAX_PIECES:
        raise RemoteProtocolError("offer with impossible pieces")
    if not 0 <= offer.head <= min(offer.size, MAX_MANIFEST):
        raise RemoteProtocolError("offer with an impossible manifest")
    if not 0 <= offer.files <= MAX_ENTRIES or (not offer.head and offer.files != 1):
        raise RemoteProtocolError("offer with an impossible number of files")
    if not 0 <= offer.mtime <= MAX_TIME:
        raise RemoteProtocolError("offer from beyond the calendar")
    if not 0 <= offer.ttl_s <= MAX_TTL_S:
        raise RemoteProtocolError("offer that ends at no time")
    if max(len(offer.name.encode()), len(offer.mime.encode())) > MAX_OFFER_NAME:
        raise RemoteProtocolError("offer with too long a name")
    return offer


WANT: Final = 0
HAS: Final = 1
DECLINED: Final = 2
STOPPED: Final = 3
"""What a FileState says: being fetched, so some of it may be had here · all of it is here · not
wanted · no longer fetched, or, from its author, no longer given."""


class FileState(Record, frozen=True):
    """How an offer of `room` stands on this machine: to its author's, and to those it may be had from.

    `asking`: please tell how it stands with you; what answers does not ask.
    """

    room: bytes
    offer: bytes
    state: int
    asking: bool


class FileHeard(Record, frozen=True):
    """The author's machine keeps this state: it need not be told again."""

    offer: bytes
    state: int


class Knock(Record, frozen=True):
    """Please open a bulk link to me: mine do not reach you."""


class FileRoot(Record, frozen=True):
    """By the offer's account, once all was read: from now on anybody who has a piece serves it."""

    v: int
    offer: bytes
    root: bytes
    pieces: int


class Entry(Record, frozen=True, gc=False):
    """A file, or a folder that holds nothing. Others folders show by what is in them.

    Without the collector's eyes (gc): nothing in it can refer back to it, and there may be 100,000.
    """

    path: tuple[str, ...]
    folder: bool
    size: int  # 0 for a folder
    mtime: int  # nanoseconds since 1970


class Manifest(Record, frozen=True):
    """All entries, ascending by path, code point by code point."""

    v: int
    entries: tuple[Entry, ...]
