"""The bytes of negentropy protocol version 1.

Decides: how ranges of a set are written and read (hoytech/negentropy,
docs/negentropy-protocol-v1.md): a version byte, then ranges, each an upper bound, a
mode and a payload. Does not know: what is in any set, or what to answer
(engine/reconcile).

    message := 0x61 range*
    range   := bound mode payload      mode 0 skip: nothing
                                       mode 1 fingerprint: 16 bytes
                                       mode 2 id list: count, 32 bytes each
    bound   := time length prefix      time 0: infinity, else 1 + distance to the
                                       bound before; prefix: 0 to 32 bytes of an id
    numbers := base 128, most significant digit first, bit 8 set on all but the last
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.limits import MAX_RECONCILE_RANGES

VERSION: Final = 0x61
ID_BYTES: Final = 32
FINGERPRINT_BYTES: Final = 16

_FIRST_VERSION: Final = 0x60
_LAST_VERSION: Final = 0x6F
_SKIP: Final = 0
_FINGERPRINT: Final = 1
_ID_LIST: Final = 2
_MAX_U64: Final = 2**64 - 1
_VARINT_DIGITS: Final = 10  # 64 bits, seven at a time


class Bound(NamedTuple):
    """Where a range ends (exclusive): a time in ms, and the start of an id for equal times.

    Missing bytes of the prefix count as zero. Bounds and items compare as tuples.
    """

    ms: int
    prefix: bytes


INFINITY: Final = Bound(_MAX_U64, b"")
"""Beyond every item: no item may have this time."""


class Skip(NamedTuple):
    """The sender has nothing to say about this range."""

    upper: Bound


class Fingerprint(NamedTuple):
    """The digest of all ids the sender has in this range."""

    upper: Bound
    digest: bytes


class IdList(NamedTuple):
    """All ids the sender has in this range."""

    upper: Bound
    ids: tuple[bytes, ...]


Range = Skip | Fingerprint | IdList


def varint(number: int) -> bytes:
    """`number` (0 to 2^64 - 1) in as few base-128 digits as possible."""
    if not 0 <= number <= _MAX_U64:
        raise LocalProtocolError(f"{number} is no 64-bit number")
    digits = bytearray((number & 0x7F,))
    number >>= 7
    while number:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.reverse()
    return bytes(digits)


class Writer:
    """Builds one message, range by range in ascending order."""

    def __init__(self) -> None:
        self._out = bytearray((VERSION,))
        self._last_ms = 0

    def __len__(self) -> int:
        """Bytes so far, the version byte included."""
        return len(self._out)

    def skip(self, upper: Bound) -> None:
        self._bound(upper)
        self._out.append(_SKIP)

    def fingerprint(self, upper: Bound, digest: bytes) -> None:
        self._bound(upper)
        self._out.append(_FINGERPRINT)
        self._out += digest

    def id_list(self, upper: Bound, ids: list[bytes] | tuple[bytes, ...]) -> None:
        self._bound(upper)
        self._out.append(_ID_LIST)
        self._out += varint(len(ids))
        self._out += b"".join(ids)

    def cut(self, size: int) -> None:
        """Take back all after the first `size` bytes; only a bound at infinity may follow.

        (Later distances would otherwise start from a bound that was taken back.)
        """
        del self._out[size:]
        self._last_ms = INFINITY.ms

    def message(self) -> bytes:
        return bytes(self._out)

    def _bound(self, upper: Bound) -> None:
        if upper.ms == INFINITY.ms:
            self._out += b"\0\0"
        else:
            self._out += varint(upper.ms - self._last_ms + 1)
            self._out += varint(len(upper.prefix))
            self._out += upper.prefix
        self._last_ms = upper.ms


def encode(ranges: Iterable[Range]) -> bytes:
    """One message of `ranges`, which ascend and touch."""
    out = Writer()
    for part in ranges:
        match part:
            case Skip(upper):
                out.skip(upper)
            case Fingerprint(upper, digest):
                out.fingerprint(upper, digest)
            case IdList(upper, ids):
                out.id_list(upper, ids)
    return out.message()


def version(message: bytes) -> int:
    """The protocol version byte of `message`; RemoteProtocolError if it has none."""
    if not message or not _FIRST_VERSION <= message[0] <= _LAST_VERSION:
        raise RemoteProtocolError("no negentropy message")
    return message[0]


def decode(message: bytes) -> list[Range]:
    """The ranges of a version 1 message.

    RemoteProtocolError for anything malformed: another version, numbers with leading
    zeros or beyond 64 bits, bounds that descend, prefixes over 32 bytes, unknown
    modes, an end in the middle, more than MAX_RECONCILE_RANGES ranges. Nothing is
    allocated from a claimed count.
    """
    if version(message) != VERSION:
        raise RemoteProtocolError("unsupported negentropy version")
    reader = _Reader(message, 1)
    ranges: list[Range] = []
    while reader.at < len(message):
        if len(ranges) == MAX_RECONCILE_RANGES:
            raise RemoteProtocolError(f"more than {MAX_RECONCILE_RANGES} ranges")
        ranges.append(reader.range())
    return ranges


class _Reader:
    """A position in a message, and the last bound read."""

    def __init__(self, raw: bytes, at: int) -> None:
        self.raw = raw
        self.at = at
        self._last = Bound(0, b"")

    def range(self) -> Range:
        upper = self._bound()
        mode = self._varint()
        if mode == _SKIP:
            return Skip(upper)
        if mode == _FINGERPRINT:
            return Fingerprint(upper, self._bytes(FINGERPRINT_BYTES))
        if mode == _ID_LIST:
            count = self._varint()
            start = self.at
            self._bytes_left(count * ID_BYTES)
            self.at += count * ID_BYTES
            return IdList(upper, tuple(self.raw[i : i + ID_BYTES] for i in range(start, self.at, ID_BYTES)))
        raise RemoteProtocolError("unknown negentropy mode")

    def _bound(self) -> Bound:
        distance = self._varint()
        length = self._varint()
        if length > ID_BYTES:
            raise RemoteProtocolError("negentropy bound too long")
        prefix = self._bytes(length)
        if distance == 0:
            if prefix:
                raise RemoteProtocolError("negentropy bound beyond infinity")
            self._last = INFINITY
            return INFINITY
        ms = self._last.ms + distance - 1
        if ms >= INFINITY.ms:
            raise RemoteProtocolError("negentropy bound beyond infinity")
        # equal bounds occur (a list cut at its first item); trailing zeros change no place
        if ms == self._last.ms and prefix.rstrip(b"\0") < self._last.prefix.rstrip(b"\0"):
            raise RemoteProtocolError("negentropy bounds descend")
        self._last = Bound(ms, prefix)
        return self._last

    def _varint(self) -> int:
        number = 0
        for digits in range(_VARINT_DIGITS):
            if self.at >= len(self.raw):
                break
            byte = self.raw[self.at]
            self.at += 1
            if digits == 0 and byte == 0x80:
                raise RemoteProtocolError("negentropy number with a leading zero")
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                if number > _MAX_U64:
                    break
                return number
        raise RemoteProtocolError("malformed negentropy number")

    def _bytes(self, count: int) -> bytes:
        self._bytes_left(count)
        piece = self.raw[self.at : self.at + count]
        self.at += count
        return piece

    def _bytes_left(self, count: int) -> None:
        if count > len(self.raw) - self.at:
            raise RemoteProtocolError("negentropy message ends in the middle")
