"""The codec over every record type, and frames with their type byte."""

from __future__ import annotations

from p2pchat.wire.codec import decode, encode
from p2pchat.wire.messages.link import FRAMES, decode_frame, encode_frame
from tests.kit.records import example_of, record_types

_KINDS = record_types()
_AS_FRAME = 0xFF


def seeds() -> list[bytes]:
    found = []
    for number, kind in enumerate(_KINDS):
        for length in (0, 1, 32, 300):
            found.append(bytes((number,)) + encode(example_of(kind, length)))
    for kind in FRAMES.values():
        found.append(bytes((_AS_FRAME,)) + encode_frame(example_of(kind, 32)))
    return found


def one_input(data: bytes) -> None:
    """First byte: which type, or 255 for a frame; then its bytes."""
    if not data:
        return
    if data[0] == _AS_FRAME:
        assert encode_frame(decode_frame(data[1:])) == data[1:]
    else:
        kind = _KINDS[data[0] % len(_KINDS)]
        assert encode(decode(kind, data[1:])) == data[1:]
