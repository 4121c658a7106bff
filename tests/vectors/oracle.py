"""Independent computations of what the crypto floor makes, for our own vectors.

Nothing here touches p2pchat or libsodium: BLAKE2b is hashlib's, X25519 and
ChaCha20-Poly1305 are cryptography's, and the little that neither has (HChaCha20,
XSalsa20) is written out. Slow, and meant to be.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.poly1305 import Poly1305

_SIGMA = struct.unpack("<4I", b"expand 32-byte k")


def blake2b(size: int, *parts: bytes, key: bytes = b"") -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=size, key=key).digest()


def x25519_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def x25519(secret: bytes, public: bytes) -> bytes:
    theirs = X25519PublicKey.from_public_bytes(public)
    return X25519PrivateKey.from_private_bytes(secret).exchange(theirs)


def ed25519_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def xchacha20poly1305(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes) -> bytes:
    """draft-irtf-cfrg-xchacha-03, section 2.3."""
    return ChaCha20Poly1305(_hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plaintext, ad)


def sealed_box(public: bytes, plaintext: bytes, ephemeral_secret: bytes) -> bytes:
    """libsodium's crypto_box_seal: X25519, HSalsa20, XSalsa20, Poly1305."""
    ephemeral = x25519_public(ephemeral_secret)
    nonce = blake2b(24, ephemeral, public)
    shared = _hsalsa20(x25519(ephemeral_secret, public), bytes(16))
    subkey = _hsalsa20(shared, nonce[:16])
    stream = b"".join(
        _salsa20_block(subkey, nonce[16:], block) for block in range((32 + len(plaintext)) // 64 + 1)
    )
    sealed = bytes(a ^ b for a, b in zip(plaintext, stream[32:], strict=False))
    return ephemeral + Poly1305.generate_tag(stream[:32], sealed) + sealed


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & 0xFFFFFFFF


def _hchacha20(key: bytes, nonce: bytes) -> bytes:
    x = [*_SIGMA, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce)]

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for into, by, turned, places in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[into] = (x[into] + x[by]) & 0xFFFFFFFF
            x[turned] = _rotate(x[turned] ^ x[into], places)

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return struct.pack("<8I", *x[:4], *x[12:])


def _salsa20_rounds(x: list[int]) -> None:
    def quarter(a: int, b: int, c: int, d: int) -> None:
        for into, first, second, places in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
            x[into] ^= _rotate((x[first] + x[second]) & 0xFFFFFFFF, places)

    for _ in range(10):
        for at in range(4):
            quarter(*(5 * at % 16, (5 * at + 4) % 16, (5 * at + 8) % 16, (5 * at + 12) % 16))
        for at in range(4):
            row = 4 * at
            quarter(*(row + (at + step) % 4 for step in range(4)))


def _salsa20_input(key: bytes, middle: bytes) -> list[int]:
    k, m = struct.unpack("<8I", key), struct.unpack("<4I", middle)
    return [_SIGMA[0], *k[:4], _SIGMA[1], *m, _SIGMA[2], *k[4:], _SIGMA[3]]


def _hsalsa20(key: bytes, nonce: bytes) -> bytes:
    x = _salsa20_input(key, nonce)
    _salsa20_rounds(x)
    return struct.pack("<8I", x[0], x[5], x[10], x[15], *x[6:10])


def _salsa20_block(key: bytes, nonce: bytes, block: int) -> bytes:
    start = _salsa20_input(key, nonce + struct.pack("<Q", block))
    x = list(start)
    _salsa20_rounds(x)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, start, strict=True)))


# -- AEGIS-256, written from draft-irtf-cfrg-aegis-aead, section 4 -------------------------------


def _aes_sbox() -> list[int]:
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= (p << 1) ^ (0x11B if p & 0x80 else 0)  # p times 3
        p &= 0xFF
        for shift in (1, 2, 4):  # q divided by 3
            q ^= q << shift
        q &= 0xFF
        q ^= 0x09 if q & 0x80 else 0
        turned = q
        for shift in range(1, 5):
            turned ^= (q << shift | q >> 8 - shift) & 0xFF
        box[p] = turned ^ 0x63
        if p == 1:
            return box


_SBOX = _aes_sbox()


def _aes_round(block: bytes, key: bytes) -> bytes:
    def double(value: int) -> int:
        return (value << 1) ^ (0x11B if value & 0x80 else 0)

    moved = [_SBOX[block[(at + 4 * (at % 4)) % 16]] for at in range(16)]  # SubBytes, ShiftRows
    mixed = []
    for column in range(0, 16, 4):
        a = moved[column : column + 4]
        every = a[0] ^ a[1] ^ a[2] ^ a[3]
        mixed += [a[i] ^ every ^ double(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
    return _xor(bytes(mixed), key)


def _xor(*blocks: bytes) -> bytes:
    return bytes(functools.reduce(operator.xor, column) for column in zip(*blocks, strict=True))


def _and(left: bytes, right: bytes) -> bytes:
    return bytes(a & b for a, b in zip(left, right, strict=True))


def aegis256(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes) -> tuple[bytes, bytes, bytes]:
    """(ciphertext, 16-byte tag, 32-byte tag)."""
    c0 = bytes.fromhex("000101020305080d1522375990e97962")
    c1 = bytes.fromhex("db3d18556dc22ff12011314273b528dd")
    k0, k1, n0, n1 = key[:16], key[16:], nonce[:16], nonce[16:]
    state = [_xor(k0, n0), _xor(k1, n1), c1, c0, _xor(k0, c0), _xor(k1, c1)]

    def update(block: bytes) -> None:
        old = list(state)
        for at in range(6):
            state[at] = _aes_round(old[at - 1], old[at])
        state[0] = _xor(state[0], block)

    for _ in range(4):
        for block in (k0, k1, _xor(k0, n0), _xor(k1, n1)):
            update(block)
    for at in range(0, len(ad), 16):
        update(ad[at : at + 16].ljust(16, b"\0"))
    sealed = b""
    for at in range(0, len(plaintext), 16):
        block = plaintext[at : at + 16]
        stream = _xor(state[1], state[4], state[5], _and(state[2], state[3]))
        sealed += _xor(stream[: len(block)], block)
        update(block.ljust(16, b"\0"))
    lengths = struct.pack("<QQ", 8 * len(ad), 8 * len(plaintext))
    last = _xor(state[3], lengths)
    for _ in range(7):
        update(last)
    return sealed, _xor(*state), _xor(*state[:3]) + _xor(*state[3:])


def hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs of 64 bytes, by the HMAC of RFC 2104 spelled out."""

    def hmac(key: bytes, data: bytes) -> bytes:
        padded = key.ljust(128, b"\0")
        inner = blake2b(64, bytes(b ^ 0x36 for b in padded) + data)
        return blake2b(64, bytes(b ^ 0x5C for b in padded) + inner)

    secret = hmac(chaining_key, material)
    first = hmac(secret, b"\x01")
    return first, hmac(secret, first + b"\x02")
