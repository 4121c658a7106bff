"""Files: what is offered, what completes an offer, and what a folder consists of.

Decides: the fields of offer, root and manifest (docs/files.md). Does not know: pieces, names
that are safe, or when any of it is sent.

A transfer is one stream of bytes. Of a file it is the file; of a folder the encoded manifest
comes first (`head` bytes) and then every file of it in its order, one behind the other.
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record

OFFER_ID_BYTES: Final = 16
FILE_KEY_BYTES: Final = 32


class Offer(Record, frozen=True):
    """Inside a message: here is a file or a folder, not yet read. Names are suggestions."""

    id: bytes  # 16 random bytes: offer, transfer and what `files` of a message shows
    size: int  # of the whole stream
    head: int  # bytes of the manifest at its start; 0 for a single file
    files: int  # how many files it holds, 1 for a single one
    name: str
    mime: str
    mtime: int  # of a single file, nanoseconds since 1970; 0 for a folder
    file_key: bytes  # 32 random bytes that key every hash of it
    piece_size: int


class FileRoot(Record, frozen=True):
    """By the offer's account, once all was read: from now on anybody who has a piece serves it."""

    v: int
    offer: bytes
    root: bytes
    pieces: int


class Entry(Record, frozen=True):
    """A file, or a folder that holds nothing. Others folders show by what is in them."""

    path: tuple[str, ...]
    folder: bool
    size: int  # 0 for a folder
    mtime: int  # nanoseconds since 1970


class Manifest(Record, frozen=True):
    """All entries, ascending by path, code point by code point."""

    v: int
    entries: tuple[Entry, ...]
