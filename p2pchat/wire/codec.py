"""One record, one byte string.

Decides: the encoding of every record on the wire and in the archive: MessagePack
arrays written by msgspec from frozen typed records, and the rule that only bytes
which re-encode to themselves are accepted (one encoding per value, so a record has
one hash). Does not know: which records exist or what they mean.

What decoding costs is bounded by the bytes it is given, and those by a frame: no record
is declared inside itself, so nothing nests deeper than its types say, and an element of a
list takes at least a byte. A length that promises more than is there ends the decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from p2pchat.errors import RemoteProtocolError

R = TypeVar("R", bound="Record")


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of every wire record: a frozen, positional, closed set of fields.

    Fields are int, bytes, str, bool or tuples of those and of other records: no map,
    set or float, so that one value has exactly one encoding.
    """


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[Record]] = {}


def encode(record: Record) -> bytes:
    """The one byte string of `record`."""
    return _encoder.encode(record)


def portions(records: Iterable[R], limit: int) -> Iterator[tuple[R, ...]]:
    """`records` in runs, each of at most `limit` bytes encoded, or of one record; none for none."""
    run: list[R] = []
    size = 0
    for record in records:
        cost = len(_encoder.encode(record))
        if run and size + cost > limit:
            yield tuple(run)
            run, size = [], 0
        run.append(record)
        size += cost
    if run:
        yield tuple(run)


def decode(kind: type[R], raw: bytes) -> R:
    """Read `raw` as one `kind`; RemoteProtocolError unless it is its one encoding."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders.setdefault(kind, msgspec.msgpack.Decoder(kind))
    try:
        record = decoder.decode(raw)
        exact = _encoder.encode(record)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError) as error:
        raise RemoteProtocolError(f"malformed {kind.__name__}") from error
    if exact != raw:
        raise RemoteProtocolError(f"non-canonical {kind.__name__}")
    return record  # type: ignore[return-value]
