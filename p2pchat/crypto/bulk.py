"""Protection of piece records on a bulk link: AEGIS-256 under two keys of its own.

Decides: the two keys (HKDF of the handshake's final chaining key), the nonce (the record's
number), that each direction is one unbroken chain of records, and which way into libsodium is
taken. Does not know: what a record holds, where it came from, or files.

Why AEGIS-256: at these sizes it is five times as fast as ChaCha20-Poly1305 here, takes a nonce
that cannot run out, and is in the libsodium that PyNaCl brings. Safe only where no nonce repeats
under a key: the keys are made anew by every handshake, and the counter moves before anything is
sealed. It would not be safe for what is kept, or for two writers under one key.

Why not PyNaCl's own functions: they take `bytes` only, fill a new buffer with zeros and copy it
out, and beyond 128 KiB every call maps and faults fresh pages (measured: docs/files.md, "Speed").
The same library's handle seals from one buffer into another that is used again. Where it lacks
the symbol the public functions do the same bytes, slower.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from nacl import bindings
from nacl.exceptions import CryptoError

from p2pchat.crypto.primitives import KEY_BYTES, LONG_HASH_BYTES, hkdf, tag_bytes
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

Buffer = bytes | bytearray | memoryview

TAG_BULK: Final = "p2pchat/bulk/1"
"""The HKDF's input material: what the two keys are for."""
OVERHEAD: Final = 32
"""Bytes a sealed record is longer: AEGIS-256 with its full tag."""
NONCE_BYTES: Final = 32
MAX_RECORDS: Final = (1 << 64) - 1
"""Records one key seals at most; the counter has eight bytes."""


class Aead(Protocol):
    """One way into AEGIS-256. Both ways do the same bytes."""

    def seal(self, key: bytes, nonce: bytes, ad: bytes, plain: memoryview, out: memoryview) -> None:
        """Fill `out` (OVERHEAD longer than `plain`)."""

    def open(self, key: bytes, nonce: bytes, ad: bytes, sealed: memoryview, out: memoryview) -> bool:
        """Fill `out` (OVERHEAD shorter than `sealed`); False, and zeros in it, if the tag does not fit."""


class HandleAead:
    """libsodium through the handle that PyNaCl holds: nothing is allocated or copied."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._ffi = ffi
        self._lib = lib

    def seal(self, key: bytes, nonce: bytes, ad: bytes, plain: memoryview, out: memoryview) -> None:
        source, target, null = *self._pointers(plain, out), self._ffi.NULL
        done = self._lib.crypto_aead_aegis256_encrypt(
            target, null, source, len(plain), ad, len(ad), null, nonce, key
        )
        if done != 0:
            raise LocalProtocolError("aegis-256 refused our input")

    def open(self, key: bytes, nonce: bytes, ad: bytes, sealed: memoryview, out: memoryview) -> bool:
        source, target, null = *self._pointers(sealed, out), self._ffi.NULL
        done = self._lib.crypto_aead_aegis256_decrypt(
            target, null, null, source, len(sealed), ad, len(ad), nonce, key
        )
        return bool(done == 0)

    def _pointers(self, source: memoryview, target: memoryview) -> tuple[Any, Any]:
        pair = tuple(self._ffi.from_buffer("unsigned char[]", view) for view in (source, target))
        first, second = (int(self._ffi.cast("uintptr_t", pointer)) for pointer in pair)
        if first != second and first < second + len(target) and second < first + len(source):
            raise LocalProtocolError("bulk buffers overlap without being the same")
        return pair[0], pair[1]


class PublicAead:
    """The functions PyNaCl publishes: right on every build, with copies."""

    def seal(self, key: bytes, nonce: bytes, ad: bytes, plain: memoryview, out: memoryview) -> None:
        try:
            out[:] = bindings.crypto_aead_aegis256_encrypt(bytes(plain), ad, nonce, key)
        except CryptoError as error:
            raise LocalProtocolError("aegis-256 refused our input") from error

    def open(self, key: bytes, nonce: bytes, ad: bytes, sealed: memoryview, out: memoryview) -> bool:
        try:
            out[:] = bindings.crypto_aead_aegis256_decrypt(bytes(sealed), ad, nonce, key)
        except CryptoError:
            out[:] = bytes(len(out))
            return False
        return True


def handle_aead() -> Aead | None:
    """The fast way, or None where this build of PyNaCl does not offer it."""
    try:
        from nacl import _sodium
    except ImportError:
        return None
    ffi, lib = getattr(_sodium, "ffi", None), getattr(_sodium, "lib", None)
    if ffi is None or not hasattr(lib, "crypto_aead_aegis256_encrypt"):
        return None
    return HandleAead(ffi, lib)


FASTEST: Final[Aead] = handle_aead() or PublicAead()


def bulk_keys(chaining_key: bytes) -> tuple[bytes, bytes]:
    """(what the initiator sends under, what the responder sends under), 32 bytes each.

    The first 32 bytes of the two outputs of HKDF(chaining key, "p2pchat/bulk/1"), Noise's HKDF
    as for the link's own keys, with other material: neither pair tells anything of the other.
    LocalProtocolError unless it is a final chaining key (`HandshakeState.chaining_key`), 64 bytes.
    """
    if len(chaining_key) != LONG_HASH_BYTES:
        raise LocalProtocolError(f"chaining key must be {LONG_HASH_BYTES} bytes")
    first, second = hkdf(chaining_key, tag_bytes(TAG_BULK), 2)
    return first[:KEY_BYTES], second[:KEY_BYTES]


class _Direction:
    """A key and the number of the next record under it. One thread at a time."""

    __slots__ = ("_aead", "_key", "_next")

    def __init__(self, key: bytes, aead: Aead = FASTEST) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise LocalProtocolError(f"bulk key must be {KEY_BYTES} bytes")
        self._key = key
        self._aead = aead
        self._next = 0

    @property
    def records(self) -> int:
        """How many numbers are used up, records that failed included."""
        return self._next

    def _nonce(self) -> bytes:
        # As Noise does it: zeros, then the counter little-endian.
        if self._next >= MAX_RECORDS:
            raise LocalProtocolError("bulk key exhausted: this direction may seal no more")
        nonce = bytes(NONCE_BYTES - 8) + self._next.to_bytes(8, "little")
        self._next += 1  # before anything is sealed: whatever fails below, no nonce comes twice
        return nonce


class BulkSealer(_Direction):
    """The sending direction of one bulk link."""

    __slots__ = ()

    def seal_into(self, plain: Buffer, out: Buffer, ad: bytes = b"") -> int:
        """Seal the next record into the start of `out`; how many bytes it takes there.

        `ad` is authenticated and not sent. `out` needs OVERHEAD bytes more than `plain` and may
        be the same memory from the same first byte on, or memory apart from it. LocalProtocolError
        otherwise; nothing of `out` may then be sent.
        """
        source, target = _bytes_of(plain), _bytes_of(out)
        size = len(source) + OVERHEAD
        _need_room(target, size)
        self._aead.seal(self._key, self._nonce(), ad, source, target[:size])
        return size


class BulkOpener(_Direction):
    """The receiving direction of one bulk link: the first failure is the last word."""

    __slots__ = ("_failed",)

    def __init__(self, key: bytes, aead: Aead = FASTEST) -> None:
        super().__init__(key, aead)
        self._failed = False

    def open_into(self, sealed: Buffer, out: Buffer, ad: bytes = b"") -> int:
        """Open the next record into the start of `out`; how many bytes it has.

        `out` as for `seal_into`. RemoteProtocolError, now and ever after, if the record was altered,
        repeated, left out or reordered, or is not under this key and `ad`: the link ends, and nobody
        is banned for it, since anybody on the way can do that. `out` then holds nothing of use.
        """
        if self._failed:
            raise RemoteProtocolError("bulk direction has failed")
        source, target = _bytes_of(sealed), _bytes_of(out)
        size = len(source) - OVERHEAD
        if size < 0:
            self._failed = True
            raise RemoteProtocolError("bulk record shorter than its tag")
        _need_room(target, size)
        if not self._aead.open(self._key, self._nonce(), ad, source, target[:size]):
            self._failed = True
            raise RemoteProtocolError("bulk record does not open")
        return size


def directions(
    chaining_key: bytes, *, initiator: bool, aead: Aead = FASTEST
) -> tuple[BulkSealer, BulkOpener]:
    """(sending, receiving) of this side of a link whose handshake is finished. Once per handshake:
    a second pair would begin at record 0 under the same keys."""
    forward, backward = bulk_keys(chaining_key)
    ours, theirs = (forward, backward) if initiator else (backward, forward)
    return BulkSealer(ours, aead), BulkOpener(theirs, aead)


def _bytes_of(buffer: Any) -> memoryview:
    view = memoryview(buffer)
    if not view.c_contiguous:
        raise LocalProtocolError("a bulk buffer must be contiguous")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _need_room(target: memoryview, size: int) -> None:
    if target.readonly:
        raise LocalProtocolError("a bulk record needs a buffer that can be written")
    if len(target) < size:
        raise LocalProtocolError(f"buffer of {len(target)} bytes for a record of {size}")
