"""The frame reader: a stream in one piece and in many gives the same frames or errors."""

from __future__ import annotations

from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.framing import FrameReader, frame
from p2pchat.wire.limits import MAX_FRAME, MAX_PREAUTH_FRAME


def seeds() -> list[bytes]:
    stream = frame(b"a") + frame(b"b" * 300) + frame(b"c" * 9000)
    return [b"\1" + stream, b"\x41" + stream, b"\x81" + stream[:-1], b"\x20\0\0", b"\x20\x20\1"]


def one_input(data: bytes) -> None:
    """First byte: whether authenticated, and the size of the pieces; then the stream."""
    first, stream = data[:1], data[1:]
    how = first[0] if first else 0
    limit = MAX_FRAME if how & 0x80 else MAX_PREAUTH_FRAME
    size = max(1 + (how & 0x7F) ** 2, len(stream) // 64)  # at most 64 pieces: speed finds more
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert _read(limit, [stream]) == _read(limit, pieces)


def _read(limit: int, pieces: list[bytes]) -> tuple[list[bytes], str, bool]:
    reader = FrameReader(limit)
    frames: list[bytes] = []
    error = ""
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (body := reader.next_frame()) is not None:
                assert 0 < len(body) <= limit
                frames.append(body)
        except RemoteProtocolError as refused:
            error = refused.reason
    return frames, error, reader.truncated
