"""AEGIS-256: the draft's vectors = the independent oracle = both of our ways into libsodium."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto.bulk import OVERHEAD, Aead, PublicAead, bulk_keys, handle_aead
from tests.vectors import oracle
from tests.vectors.test_own import some

DRAFT = json.loads(Path(__file__).with_name("aegis256.json").read_text("utf-8"))
KEY, NONCE = bytes.fromhex(DRAFT["key"]), bytes.fromhex(DRAFT["nonce"])
HANDLE = handle_aead()
WAYS: list[Aead] = [PublicAead(), *([HANDLE] if HANDLE else [])]


def seal(aead: Aead, key: bytes, nonce: bytes, ad: bytes, plain: bytes) -> bytes:
    out = bytearray(len(plain) + OVERHEAD)
    aead.seal(key, nonce, ad, memoryview(plain), memoryview(out))
    return bytes(out)


def opened(aead: Aead, key: bytes, nonce: bytes, ad: bytes, sealed: bytes) -> bytes | None:
    out = bytearray(b"?" * (len(sealed) - OVERHEAD))
    if aead.open(key, nonce, ad, memoryview(sealed), memoryview(out)):
        return bytes(out)
    assert out == bytes(len(out)), "text that failed its seal was left in the buffer"
    return None


def test_the_installed_library_offers_the_fast_way() -> None:
    assert HANDLE is not None


@pytest.mark.parametrize("vector", DRAFT["vectors"], ids=str)
def test_vectors_of_the_draft(vector: dict[str, str]) -> None:
    ad, msg, ct, short, long = (bytes.fromhex(vector[n]) for n in ("ad", "msg", "ct", "tag128", "tag256"))
    assert oracle.aegis256(KEY, NONCE, ad, msg) == (ct, short, long)
    for aead in WAYS:
        assert seal(aead, KEY, NONCE, ad, msg) == ct + long
        assert opened(aead, KEY, NONCE, ad, ct + long) == msg


@pytest.mark.parametrize("aead", WAYS, ids=lambda aead: type(aead).__name__)
def test_refusals_of_the_draft(aead: Aead) -> None:
    """Vectors 6 to 9: key and nonce exchanged; one changed bit of text, associated data, tag."""
    four = DRAFT["vectors"][3]
    ad, sealed = bytes.fromhex(four["ad"]), bytes.fromhex(four["ct"] + four["tag256"])
    at = len(bytes.fromhex(four["ct"]))
    assert opened(aead, KEY, NONCE, ad, sealed) is not None
    assert opened(aead, NONCE, KEY, ad, sealed) is None
    assert opened(aead, KEY, NONCE, ad[:-1] + b"\x08", sealed) is None
    for changed in range(len(sealed)):
        broken = bytearray(sealed)
        broken[changed] ^= 0x01
        assert opened(aead, KEY, NONCE, ad, bytes(broken)) is None, (changed, at)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_the_oracle_agrees_at_every_length(key: bytes, nonce: bytes, text: bytes) -> None:
    for ad in (b"", text[::-1]):
        sealed, _, tag = oracle.aegis256(key, nonce, ad, text)
        for aead in WAYS:
            assert seal(aead, key, nonce, ad, text) == sealed + tag
            assert opened(aead, key, nonce, ad, sealed + tag) == text


def test_keys_by_the_oracle() -> None:
    expected = oracle.hkdf2(some("chaining key", 64), b"p2pchat/bulk/1")
    assert bulk_keys(some("chaining key", 64)) == (expected[0][:32], expected[1][:32])
