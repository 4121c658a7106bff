"""A stream of bytes as whole frames.

Decides: the layout of a frame (u16 big-endian length, then that many bytes; length 0
does not exist) and when a length is refused (docs/protocol.md, "Links"). Does not
know: what is inside (Noise messages, and before them the preface), sockets, or when
the other side counts as authenticated: whoever knows calls `set_limit`.
"""

from __future__ import annotations

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.limits import MAX_FRAME

HEADER_BYTES = 2
SMALL = 2048
"""A body below this is copied twice in less time than a view of the buffer takes."""


def frame(body: bytes) -> bytes:
    """`body` (1 to 65,535 bytes) with its length before it."""
    if not 0 < len(body) <= MAX_FRAME:
        raise LocalProtocolError(f"a frame of {len(body)} bytes cannot be sent")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameReader:
    """Turns received bytes into frames.

    Holds only bytes that were received, never room for a length that was merely
    claimed. What is still unread moves to the front of the buffer once per
    `receive_data`, not once per frame, so many small frames in one read stay cheap.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: the greatest body accepted, in bytes; 8,192 before authentication."""
        self._buffer = bytearray()
        self._at = 0  # start of the first frame not handed out
        self.set_limit(limit)

    def set_limit(self, limit: int) -> None:
        """Accept bodies up to `limit` bytes from the next frame on, buffered ones included."""
        if not 0 < limit <= MAX_FRAME:
            raise LocalProtocolError(f"a frame limit of {limit} bytes is impossible")
        self._limit = limit

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they came; any split of a stream gives the same frames."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole body, or None until more bytes come.

        RemoteProtocolError for a length of 0 or over the limit, as soon as the length
        itself is here; the reader then stays at that frame and repeats the error.
        """
        start = self._at + HEADER_BYTES
        if len(self._buffer) < start:
            return None
        length = self._buffer[self._at] << 8 | self._buffer[self._at + 1]
        if length == 0:
            raise RemoteProtocolError("empty frame")
        if length > self._limit:
            raise RemoteProtocolError(f"frame of {length} bytes where {self._limit} are allowed")
        end = start + length
        if len(self._buffer) < end:
            return None
        if length < SMALL:
            body = bytes(self._buffer[start:end])
        else:
            with memoryview(self._buffer) as view:  # one copy instead of two
                body = bytes(view[start:end])
        self._at = end
        return body

    def take_rest(self) -> bytes:
        """All bytes that were not handed out; they are not kept."""
        rest = bytes(self._buffer[self._at :])
        self._buffer.clear()
        self._at = 0
        return rest

    @property
    def truncated(self) -> bool:
        """Whether bytes remain that were not handed out.

        Asked at the end of the stream, after `next_frame` said None: the stream was
        cut inside a frame.
        """
        return self._at < len(self._buffer)
