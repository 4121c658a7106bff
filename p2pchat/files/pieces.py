"""Pieces of a transfer: how large, how hashed, which are there.

Decides: the size of a piece, its hash, the root over all hashes, and the bits that say which pieces
somebody has. Does not know: files, disks, links or who serves what.

Piece i of a transfer is bytes i · piece_size up to (i + 1) · piece_size of its stream; the last
may be shorter, an empty stream has none. Small files travel packed by this alone: the stream of
a folder is one, and a piece of it holds as many of them as fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from blake3 import blake3

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.limits import FEW_PIECES, MAX_PIECE, MAX_PIECES, MIN_PIECE
from p2pchat.wire.messages.files import FILE_KEY_BYTES
from p2pchat.wire.messages.files import MAX_TIME as MAX_TIME
from p2pchat.wire.messages.files import check_offer as check_offer

HASH_BYTES: Final = 32
ROOT_CONTEXT: Final = "p2pchat/file-root/1"
MAX_SIZE: Final = MAX_PIECE * MAX_PIECES
"""2 TiB: the largest stream."""


def piece_size_for(size: int) -> int:
    """The size of pieces a sender chooses: MIN_PIECE, doubled while there would be more than
    FEW_PIECES of them, up to MAX_PIECE. LocalProtocolError beyond MAX_SIZE."""
    if not 0 <= size <= MAX_SIZE:
        raise LocalProtocolError(f"a stream of {size} bytes, at most {MAX_SIZE}")
    chosen = MIN_PIECE
    while chosen < MAX_PIECE and size > chosen * FEW_PIECES:
        chosen *= 2
    return chosen


def count(size: int, piece_size: int) -> int:
    """How many pieces a stream of that size has."""
    return -(-size // piece_size)


def length(number: int, size: int, piece_size: int) -> int:
    """Bytes of piece `number`; LocalProtocolError if there is no such piece."""
    start = number * piece_size
    if number < 0 or start >= size:
        raise LocalProtocolError(f"no piece {number} in {size} bytes")
    return min(piece_size, size - start)


def hash_piece(file_key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """BLAKE3 of the piece's bytes, keyed by `file_key` as it is: 32 bytes.

    Keyed, so that who holds or sees hashes and not the key can not tell which file it is. The
    piece's number is not in it: its place in the list is what the root binds.
    """
    return blake3(data, key=_key(file_key)).digest()


def root_of(file_key: bytes, size: int, head: int, piece_size: int, hashes: bytes | bytearray) -> bytes:
    """The root of a whole transfer: 32 bytes.

    BLAKE3 keyed by derive_key("p2pchat/file-root/1", file_key), over size, head and piece_size
    (8 bytes each, big-endian) and then the hashes of all pieces, ascending, bare. So it is bound
    to order and length, and no piece can be made to have a root's hash: the keys differ.
    LocalProtocolError unless there is a hash for every piece.
    """
    if len(hashes) != HASH_BYTES * count(size, piece_size):
        raise LocalProtocolError("the root needs the hashes of all pieces")
    key = blake3(_key(file_key), derive_key_context=ROOT_CONTEXT).digest()
    bound = b"".join(number.to_bytes(8, "big") for number in (size, head, piece_size))
    return blake3(bound, key=key).update(hashes).digest()


class Bits:
    """Which of `total` pieces somebody has.

    On the wire: bit i is bit 7 - i mod 8 of byte i div 8, ⌈total / 8⌉ bytes, spare bits 0.
    """

    __slots__ = ("_bits", "here", "total")

    def __init__(self, total: int) -> None:
        if not 0 <= total <= MAX_PIECES:
            raise LocalProtocolError(f"{total} pieces, at most {MAX_PIECES}")
        self.total = total
        self.here = 0
        """How many are there."""
        self._bits = bytearray(-(-total // 8))

    @classmethod
    def decode(cls, raw: bytes, total: int) -> Bits:
        """What a peer says it has of `total` pieces; RemoteProtocolError for another length, or
        for pieces that do not exist."""
        bits = cls(total)
        if len(raw) != len(bits._bits):
            raise RemoteProtocolError("bitfield of wrong length")
        if total % 8 and raw[-1] & (0xFF >> total % 8):
            raise RemoteProtocolError("bitfield with pieces that do not exist")
        bits._bits[:] = raw
        bits.here = int.from_bytes(raw, "big").bit_count()
        return bits

    @classmethod
    def whole(cls, total: int) -> Bits:
        """All of `total` pieces."""
        bits = cls(total)
        bits._bits[:] = b"\xff" * len(bits._bits)
        if total % 8:
            bits._bits[-1] = 0xFF00 >> total % 8 & 0xFF
        bits.here = total
        return bits

    def encode(self) -> bytes:
        """The bytes that say it."""
        return bytes(self._bits)

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return self.here == self.total

    def __contains__(self, number: int) -> bool:
        return 0 <= number < self.total and bool(self._bits[number >> 3] & 0x80 >> (number & 7))

    def add(self, number: int) -> None:
        """It is there now; LocalProtocolError if there is no such piece."""
        if not 0 <= number < self.total:
            raise LocalProtocolError(f"no piece {number} of {self.total}")
        if number not in self:
            self._bits[number >> 3] |= 0x80 >> (number & 7)
            self.here += 1

    def beyond(self, other: Bits) -> list[int]:
        """The numbers that are here and not in `other`, ascending."""
        found = []
        for at, (ours, theirs) in enumerate(zip(self._bits, other._bits, strict=True)):
            fresh = ours & ~theirs
            if fresh:
                found += [8 * at + bit for bit in range(8) if fresh & 0x80 >> bit]
        return found

    def count_beyond(self, other: Bits, only: Bits | None = None) -> int:
        """How many are here and not in `other`, and in `only` if that is given."""
        found = int.from_bytes(self._bits, "big") & ~int.from_bytes(other._bits, "big")
        if only is not None:
            found &= int.from_bytes(only._bits, "big")
        return found.bit_count()

    def missing(self, start: int = 0) -> Iterator[int]:
        """The numbers that are not there, ascending from `start`; whole bytes are skipped."""
        number = max(0, start)
        while number < self.total:
            if not number & 7 and self._bits[number >> 3] == 0xFF:
                number += 8
                continue
            if number not in self:
                yield number
            number += 1


def _key(file_key: bytes) -> bytes:
    if len(file_key) != FILE_KEY_BYTES:
        raise LocalProtocolError(f"file key must be {FILE_KEY_BYTES} bytes")
    return file_key
