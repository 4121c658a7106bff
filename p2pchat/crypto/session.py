"""Protection of the records of one finished link, and their padding.

Decides: that each direction is one unbroken chain of records (any failure ends it),
when our direction wants a new key, and how a plaintext hides its length. Does not know:
frames, record types, clocks (times are handed in) or what a record says.
"""

from __future__ import annotations

import bisect
from typing import Final

from p2pchat.crypto.noise import MAX_MESSAGE, MAX_PLAINTEXT, CipherState
from p2pchat.crypto.primitives import TAG_BYTES
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.limits import REKEY_BYTES, REKEY_S

PADDED_LENGTHS: Final[tuple[int, ...]] = (
    *range(64, 1024 + 1, 64),
    *range(2048, MAX_PLAINTEXT + 1, 1024),
    MAX_PLAINTEXT,  # 65,519 is no multiple of 1,024; without it the last 1,007 bytes were lost
)
"""Every length a padded plaintext may have, ascending."""
MAX_UNPADDED: Final = MAX_PLAINTEXT - 1
"""65,518: padding always adds at least one byte."""
_MARK: Final = b"\x80"


def pad(plaintext: bytes) -> bytes:
    """`plaintext` ‖ 0x80 ‖ zero bytes, up to the next of PADDED_LENGTHS.

    Lengths: multiples of 64 up to 1,024, then multiples of 1,024 up to 64,512, then
    65,519. The mark is always there, so 64 bytes become 128. Content is 0 to 65,518
    bytes; more is a LocalProtocolError. (ISO/IEC 7816-4 padding.)
    """
    if len(plaintext) > MAX_UNPADDED:
        raise LocalProtocolError(f"record of {len(plaintext)} bytes, at most {MAX_UNPADDED}")
    return (plaintext + _MARK).ljust(_padded_length(len(plaintext)), b"\0")


def unpad(padded: bytes) -> bytes:
    """The content of `padded`; RemoteProtocolError unless `pad` makes exactly `padded` of it.

    The length must be the smallest one the content fits, so a content has one padding.
    """
    marked = padded.rstrip(b"\0")
    content = marked[:-1]
    if marked[-1:] != _MARK or _padded_length(len(content)) != len(padded):
        raise RemoteProtocolError("malformed padding")
    return content


def _padded_length(content: int) -> int:
    # Content longer than any pad() makes has no place in the list: equal to no length.
    at = bisect.bisect_right(PADDED_LENGTHS, content)
    return PADDED_LENGTHS[at] if at < len(PADDED_LENGTHS) else 0


class Session:
    """The two directions of a link after the handshake.

    `sending`, `receiving`: from `HandshakeState.split`. `now`: monotonic seconds. After
    one record failed to open, both directions answer RemoteProtocolError for good.
    """

    __slots__ = ("_failed", "_receiving", "_sealed_bytes", "_sending", "_sending_since")

    def __init__(self, sending: CipherState, receiving: CipherState, now: float) -> None:
        self._sending = sending
        self._receiving = receiving
        self._sealed_bytes = 0
        self._sending_since = now
        self._failed = False

    def seal(self, plaintext: bytes) -> bytes:
        """The next record to send, 16 bytes longer; at most 65,519 bytes of plaintext."""
        self._check()
        if len(plaintext) > MAX_PLAINTEXT:
            raise LocalProtocolError(f"record of {len(plaintext)} bytes, at most {MAX_PLAINTEXT}")
        sealed = self._sending.encrypt_with_ad(b"", plaintext)
        self._sealed_bytes += len(plaintext)
        return sealed

    def open(self, ciphertext: bytes) -> bytes:
        """The plaintext of the next record received.

        RemoteProtocolError, now and ever after, if it was altered, repeated, left out,
        reordered or sealed under another key: the stream beneath delivers in order, so
        each of these is an attack or a broken peer.
        """
        if self._failed:
            self._check()
        try:
            if not TAG_BYTES <= len(ciphertext) <= MAX_MESSAGE:
                raise RemoteProtocolError("record of impossible length")
            return self._receiving.decrypt_with_ad(b"", ciphertext)
        except RemoteProtocolError:
            self._failed = True
            raise

    def needs_rekey(self, now: float) -> bool:
        """Has our direction used its key for 1 GiB or 1 h? Then send REKEY and rekey."""
        return self._sealed_bytes >= REKEY_BYTES or now - self._sending_since >= REKEY_S

    def rekey_sending(self, now: float) -> None:
        """Our REKEY record was sealed: everything after it goes under the next key."""
        self._check()
        self._sending.rekey()
        self._sealed_bytes = 0
        self._sending_since = now

    def rekey_receiving(self) -> None:
        """The other's REKEY record was opened: what follows is under its next key."""
        self._check()
        self._receiving.rekey()

    def _check(self) -> None:
        if self._failed:
            raise RemoteProtocolError("a record of this link failed before")
