"""Transfers without a network: a source on one disk, a staging folder on another, pieces handed over.

Decides: how tests make offers and carry pieces. Does not know: what a test wants to be true.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from p2pchat.files.outgoing import Outgoing, offer_for
from p2pchat.files.pieces import count, hash_piece, piece_size_for, root_of
from p2pchat.files.source import Source, open_source
from p2pchat.files.staging import Staging
from p2pchat.platform.folders import Folder
from p2pchat.wire.messages.files import Offer

FILE_KEY = bytes(range(32))
ID = bytes(range(16))


def pattern(size: int, seed: int = 0) -> bytes:
    """That many bytes that look random and are always the same."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def tree_hash(root: Path) -> str:
    """One hash of everything below a folder: names, kinds, modes, times, links and bytes."""
    digest = hashlib.blake2b()
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            digest.update(f"{path}\0{status.st_mode}\0{status.st_ino}\0".encode("utf-8", "surrogateescape"))
            if os.path.islink(path):
                digest.update(os.readlink(path).encode("utf-8", "surrogateescape"))
            elif os.path.isfile(path):
                digest.update(f"{status.st_mtime_ns}".encode())
                digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def contents(root: Path) -> dict[str, bytes | None]:
    """Relative path to bytes of every file below a folder; None for a folder."""
    found: dict[str, bytes | None] = {}
    for path in sorted(root.rglob("*")):
        found[path.relative_to(root).as_posix()] = path.read_bytes() if path.is_file() else None
    return found


def offer_of(data: bytes, name: str = "report.pdf", **fields: object) -> Offer:
    """The offer of a single file with these bytes."""
    known = {
        "id": ID,
        "size": len(data),
        "head": 0,
        "files": 1,
        "name": name,
        "mime": "",
        "mtime": 1_600_000_000_123_456_789,
        "file_key": FILE_KEY,
        "piece_size": piece_size_for(len(data)),
        "ttl_s": 0,
    }
    return Offer(**{**known, **fields})  # type: ignore[arg-type]


def pieces_of(offer: Offer, stream: bytes) -> list[bytes]:
    """The stream cut into the offer's pieces."""
    return [stream[at : at + offer.piece_size] for at in range(0, len(stream), offer.piece_size)]


def hashes_of(offer: Offer, stream: bytes) -> bytes:
    """The hashes of all pieces, joined."""
    return b"".join(hash_piece(offer.file_key, piece) for piece in pieces_of(offer, stream))


def root_for(offer: Offer, stream: bytes) -> bytes:
    """The root of a transfer with this stream."""
    return root_of(offer.file_key, offer.size, offer.head, offer.piece_size, hashes_of(offer, stream))


def put_all(staging: Staging, offer: Offer, stream: bytes, order: Iterable[int] | None = None) -> None:
    """Tell all hashes and put all pieces, in that order or ascending."""
    staging.learn(0, hashes_of(offer, stream))
    parts = pieces_of(offer, stream)
    for number in order if order is not None else range(len(parts)):
        staging.put(number, parts[number])


def stream_of(source: Source) -> bytes:
    """All bytes of a source."""
    whole = bytearray(source.size)
    source.read(0, memoryview(whole))
    return bytes(whole)


def folder_transfer(path: Path) -> tuple[Offer, bytes]:
    """Offer and stream of a folder."""
    source = open_source(path)
    try:
        return offer_for(source, ID, FILE_KEY), stream_of(source)
    finally:
        source.close()


def carry(outgoing: Outgoing, staging: Staging, numbers: Iterable[int] | None = None) -> None:
    """Hand pieces over as a link does: the hash first, then the piece."""
    offer = outgoing.offer
    buffer = memoryview(bytearray(offer.piece_size))
    total = count(offer.size, offer.piece_size)
    for number in numbers if numbers is not None else range(total):
        size = outgoing.piece(number, buffer)
        known = outgoing.hash_of(number)
        assert known is not None
        staging.learn(number, known)
        staging.put(number, buffer[:size])


class Places:
    """A staging folder, an inbox, and a place for sources below one temporary folder."""

    def __init__(self, base: Path) -> None:
        base = Path(os.path.realpath(base))
        self.base = base
        self.sources = base / "sources"
        self.sources.mkdir(parents=True, exist_ok=True)
        self.inbox_path = base / "inbox"
        self.staging_path = base / "staging"
        self.inbox = Folder.open(self.inbox_path, create=True)
        self.staging = Folder.open(self.staging_path, create=True)

    def begin(self, offer: Offer, now: float = 0.0) -> Staging:
        """Start or resume receiving."""
        return Staging.begin(self.staging, offer, keep_free=0, now=now)

    def close(self) -> None:
        """Let go of both folders."""
        self.inbox.close()
        self.staging.close()


def places(base: Path) -> Iterator[Places]:
    """For fixtures."""
    made = Places(base)
    yield made
    made.close()
