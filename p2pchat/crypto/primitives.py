"""The primitives, each behind one plain function.

Decides: which primitives p2pchat uses, the byte layout of every tagged hash and
signature, and whose fault a failure is. Bad bytes that can only come from a peer
(tag, signature, public key, sealed box) are a RemoteProtocolError or False; wrong
use on our side (key or nonce length, type) is a LocalProtocolError. No exception of
the library underneath ever leaves this floor. Does not know: what any key is for.

Lengths are bytes throughout. Randomness is always an argument.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from typing import Final

from nacl import _sodium, bindings
from nacl.exceptions import CryptoError

from p2pchat.errors import LocalProtocolError, RemoteProtocolError

KEY_BYTES: Final = 32
"""Every secret, public and symmetric key here."""
HASH_BYTES: Final = 32
"""BLAKE2b-256, the hash of every record."""
LONG_HASH_BYTES: Final = 64
"""BLAKE2b-512, the hash inside Noise and of safety numbers."""
TAG_BYTES: Final = 16
"""What each AEAD below adds to its plaintext."""
NONCE_BYTES: Final = 12
XNONCE_BYTES: Final = 24
SIGNATURE_BYTES: Final = 64
SEALED_BOX_OVERHEAD: Final = 48
"""Ephemeral public key (32) and Poly1305 tag (16)."""

_BYTES: Final = _sodium.ffi.typeof("unsigned char[]")

# One digit of version and no "/" in the name: no tag is the beginning of another, so
# tag ‖ data can be split in one way only although nothing states the tag's length.
_TAG: Final = re.compile(r"p2pchat/[a-z][a-z0-9-]*/[1-9]")


# -- hashes -----------------------------------------------------------------


@functools.cache
def tag_bytes(tag: str) -> bytes:
    """The ASCII bytes of a domain tag `p2pchat/<record>/<version>`.

    LocalProtocolError unless the name is lower-case letters, digits and "-", starting
    with a letter, and the version one digit 1–9.
    """
    if _TAG.fullmatch(tag) is None:
        raise LocalProtocolError(f"not a domain tag: {tag!r}")
    return tag.encode("ascii")


def hash_tagged(tag: str, *parts: bytes) -> bytes:
    """BLAKE2b-256(tag ‖ parts…), 32 bytes: the hash of every record.

    The input is the tag's ASCII bytes (no terminator, no length) and then the parts,
    bare. So the parts must be of fixed length or parse by themselves; at most the
    last may be free. RFC 7693, no key, salt or personalisation.
    """
    digest = hashlib.blake2b(tag_bytes(tag), digest_size=HASH_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def long_hash_tagged(tag: str, *parts: bytes) -> bytes:
    """BLAKE2b-512(tag ‖ parts…), 64 bytes; layout as in `hash_tagged`."""
    return hashlib.blake2b(tag_bytes(tag) + b"".join(parts)).digest()


def keyed_hash(key: bytes, *parts: bytes) -> bytes:
    """BLAKE2b-256 with a 32-byte key over the bare parts, 32 bytes (RFC 7693, 2.9)."""
    _need(key, KEY_BYTES, "hash key")
    return hashlib.blake2b(b"".join(parts), key=key, digest_size=HASH_BYTES).digest()


def hkdf(chaining_key: bytes, material: bytes, outputs: int) -> tuple[bytes, ...]:
    """Noise's HKDF on HMAC-BLAKE2b-512: two or three outputs of 64 bytes.

    It is RFC 5869 with `chaining_key` (64 bytes) as salt and empty info. Noise rev 34,
    section 4.3. Callers cut an output to 32 bytes where they need a key.
    """
    if outputs not in (2, 3):
        raise LocalProtocolError(f"hkdf gives 2 or 3 outputs, not {outputs}")
    _need(chaining_key, LONG_HASH_BYTES, "chaining key")
    secret = hmac.digest(chaining_key, material, hashlib.blake2b)
    derived: list[bytes] = []
    previous = b""
    for number in range(1, outputs + 1):
        previous = hmac.digest(secret, previous + bytes((number,)), hashlib.blake2b)
        derived.append(previous)
    return tuple(derived)


def same(left: bytes, right: bytes) -> bool:
    """Equal? In time that depends on the lengths only; use it for anything secret."""
    return hmac.compare_digest(left, right)


# -- X25519 -----------------------------------------------------------------


def x25519_public(secret: bytes) -> bytes:
    """The public key (32 bytes) of a 32-byte secret; clamping happens inside. RFC 7748."""
    _need(secret, KEY_BYTES, "x25519 secret")
    return bindings.crypto_scalarmult_base(secret)


def x25519(secret: bytes, public: bytes) -> bytes:
    """The shared secret, 32 bytes. RFC 7748.

    RemoteProtocolError if `public` has another length or small order: an all-zero
    result would let a peer dictate the key (RFC 7748, 6.1).
    """
    _need(secret, KEY_BYTES, "x25519 secret")
    if len(public) != KEY_BYTES:
        raise RemoteProtocolError("public key of wrong length")
    try:
        return bindings.crypto_scalarmult(secret, bytes(public))
    except CryptoError as error:
        raise RemoteProtocolError("public key without a usable shared secret") from error


# 2^254 + 8: a multiple of 8 like every clamped scalar, but not of the great prime order of
# the curve or of its twist. So its product is zero for the small-order points only.
_PROBE: Final = bytes((8,)) + bytes(30) + bytes((0x40,))


def x25519_usable(public: bytes) -> bool:
    """May others seal to this key? False for a wrong length or a small-order point.

    To be asked when a peer's key is taken in, so that one bad prekey cannot fail the
    sealing to a whole room later.
    """
    try:
        x25519(_PROBE, public)
    except RemoteProtocolError:
        return False
    return True


# -- authenticated encryption -----------------------------------------------


def seal_chacha(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439), 12-byte nonce; returns ciphertext ‖ 16-byte tag.

    Safe only where the nonce is a counter that never repeats under the key.
    """
    if not (type(key) is type(nonce) is bytes and len(key) == KEY_BYTES and len(nonce) == NONCE_BYTES):
        _need(key, KEY_BYTES, "key")
        _need(nonce, NONCE_BYTES, "nonce")
    # Straight into libsodium: see `open_xchacha`. A message to a room is sealed once for each link.
    ffi, size = _sodium.ffi, len(plaintext)
    sealed = ffi.new(_BYTES, size + TAG_BYTES)
    try:
        refused = _sodium.lib.crypto_aead_chacha20poly1305_ietf_encrypt(
            sealed, ffi.NULL, plaintext, size, ad, len(ad), ffi.NULL, nonce, key
        )
    except TypeError as error:
        raise LocalProtocolError("chacha20-poly1305 takes bytes only") from error
    if refused:
        raise LocalProtocolError("chacha20-poly1305 refused our input")
    return bytes(ffi.buffer(sealed, size + TAG_BYTES))


def open_chacha(key: bytes, nonce: bytes, ad: bytes, ciphertext: bytes) -> bytes:
    """The plaintext, or RemoteProtocolError if the tag does not fit."""
    if not (type(key) is type(nonce) is bytes and len(key) == KEY_BYTES and len(nonce) == NONCE_BYTES):
        _need(key, KEY_BYTES, "key")
        _need(nonce, NONCE_BYTES, "nonce")
    size = len(ciphertext) - TAG_BYTES
    if size < 0:
        raise RemoteProtocolError("ciphertext shorter than its tag")
    ffi, plain = _sodium.ffi, _sodium.ffi.new(_BYTES, size)
    try:
        wrong = _sodium.lib.crypto_aead_chacha20poly1305_ietf_decrypt(
            plain, ffi.NULL, ffi.NULL, ciphertext, len(ciphertext), ad, len(ad), nonce, key
        )
    except TypeError as error:
        raise LocalProtocolError("chacha20-poly1305 takes bytes only") from error
    if wrong:
        raise RemoteProtocolError("authentication failed")
    return bytes(ffi.buffer(plain, size))


def seal_xchacha(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes) -> bytes:
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), 24-byte nonce, ciphertext ‖ tag.

    The nonce is long enough to be random, so a restored backup cannot repeat one.
    """
    if not (type(key) is type(nonce) is bytes and len(key) == KEY_BYTES and len(nonce) == XNONCE_BYTES):
        _need(key, KEY_BYTES, "key")
        _need(nonce, XNONCE_BYTES, "nonce")
    ffi, size = _sodium.ffi, len(plaintext)
    sealed = ffi.new(_BYTES, size + TAG_BYTES)
    try:
        refused = _sodium.lib.crypto_aead_xchacha20poly1305_ietf_encrypt(
            sealed, ffi.NULL, plaintext, size, ad, len(ad), ffi.NULL, nonce, key
        )
    except TypeError as error:
        raise LocalProtocolError("xchacha20-poly1305 takes bytes only") from error
    if refused:
        raise LocalProtocolError("xchacha20-poly1305 refused our input")
    return bytes(ffi.buffer(sealed, size + TAG_BYTES))


def open_xchacha(key: bytes, nonce: bytes, ad: bytes, ciphertext: bytes) -> bytes:
    """The plaintext, or RemoteProtocolError if the tag does not fit."""
    if not (type(key) is type(nonce) is bytes and len(key) == KEY_BYTES and len(nonce) == XNONCE_BYTES):
        _need(key, KEY_BYTES, "key")
        _need(nonce, XNONCE_BYTES, "nonce")
    size = len(ciphertext) - TAG_BYTES
    if size < 0:
        raise RemoteProtocolError("ciphertext shorter than its tag")
    # Straight into libsodium: a long history opens hundreds of thousands, and PyNaCl's own function
    # takes two and a half times as long for what it checks again (tests/crypto compares both).
    ffi, plain = _sodium.ffi, _sodium.ffi.new(_BYTES, size)
    try:
        wrong = _sodium.lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
            plain, ffi.NULL, ffi.NULL, ciphertext, len(ciphertext), ad, len(ad), nonce, key
        )
    except TypeError as error:
        raise LocalProtocolError("xchacha20-poly1305 takes bytes only") from error
    if wrong:
        raise RemoteProtocolError("authentication failed")
    return bytes(ffi.buffer(plain, size))


# -- Ed25519 ----------------------------------------------------------------


def ed25519_keypair(seed: bytes) -> tuple[bytes, bytes]:
    """(public 32 bytes, signing key 64 bytes = seed ‖ public) of a 32-byte seed. RFC 8032."""
    _need(seed, KEY_BYTES, "signing seed")
    public, expanded = bindings.crypto_sign_seed_keypair(seed)
    return public, expanded


def ed25519_sign(signing_key: bytes, message: bytes) -> bytes:
    """Detached signature, 64 bytes, by a 64-byte signing key from `ed25519_keypair`."""
    _need(signing_key, 2 * KEY_BYTES, "signing key")
    try:
        return bindings.crypto_sign(message, signing_key)[:SIGNATURE_BYTES]
    except (TypeError, CryptoError) as error:
        raise LocalProtocolError("ed25519 takes bytes only") from error


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Does `signature` hold? Never raises for bytes, of whatever length.

    Peers must agree on every edge case or their archives part, so the accepted set is
    frozen: cofactorless, canonical S, and A and R neither non-canonical nor of small
    order. `tests/vectors/cctv_accepted.json` holds it against the CCTV list.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    null = _sodium.ffi.NULL  # whoever has the message needs no copy of it
    try:
        signed = signature + message
        wrong: int = _sodium.lib.crypto_sign_open(null, null, signed, len(signed), public)
    except TypeError as error:
        raise LocalProtocolError("ed25519 takes bytes only") from error
    return wrong == 0


# -- sealed box -------------------------------------------------------------


def seal_box(public: bytes, plaintext: bytes, ephemeral_secret: bytes) -> bytes:
    """A sealed box that libsodium's `crypto_box_seal_open` opens; 48 bytes longer.

    ephemeral public ‖ crypto_box(plaintext, nonce = BLAKE2b-192(ephemeral public ‖
    public)), as in libsodium's documentation. libsodium draws the ephemeral key itself;
    here it is an argument, so that a simulation repeats. Safe only with 32 fresh random
    bytes for each box. It says nothing about who sealed: the event around it does.
    RemoteProtocolError if `public` is of wrong length or small order.
    """
    if len(public) != KEY_BYTES:
        raise RemoteProtocolError("public key of wrong length")
    ephemeral = x25519_public(ephemeral_secret)
    nonce = hashlib.blake2b(ephemeral + public, digest_size=XNONCE_BYTES).digest()
    try:
        return ephemeral + bindings.crypto_box(plaintext, nonce, public, ephemeral_secret)
    except CryptoError as error:
        raise RemoteProtocolError("public key without a usable shared secret") from error


def open_box(secret: bytes, sealed: bytes) -> bytes:
    """What was sealed to the public key of `secret`, or RemoteProtocolError."""
    public = x25519_public(secret)
    if len(sealed) < SEALED_BOX_OVERHEAD:
        raise RemoteProtocolError("sealed box too short")
    try:
        return bindings.crypto_box_seal_open(sealed, public, secret)
    except TypeError as error:
        raise LocalProtocolError("a sealed box is bytes") from error
    except CryptoError as error:
        raise RemoteProtocolError("sealed box does not open") from error


def _need(value: bytes, length: int, what: str) -> None:
    # Some bindings hand the pointer on unchecked: a short key would be read past its end.
    if not isinstance(value, bytes) or len(value) != length:
        raise LocalProtocolError(f"{what} must be {length} bytes")
