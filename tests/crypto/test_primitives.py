"""Whose fault: every wrapper's misuse is ours, every bad byte is the peer's."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.hashes import BLAKE2b
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from p2pchat.crypto import primitives as p
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

KEY = bytes(range(32))
NONCE24 = bytes(range(24))
OTHER = bytes(range(32, 64))

Call = Callable[[], object]


def test_a_tagged_hash_is_the_bare_concatenation() -> None:
    expected = hashlib.blake2b(b"p2pchat/event/1" + b"one" + b"two", digest_size=32).digest()
    assert p.hash_tagged("p2pchat/event/1", b"one", b"two") == expected
    assert p.hash_tagged("p2pchat/event/1", b"onetwo") == expected
    assert p.long_hash_tagged("p2pchat/event/1", b"x") == hashlib.blake2b(b"p2pchat/event/1x").digest()


@pytest.mark.parametrize(
    "tag",
    [
        "", "event", "p2pchat/event", "p2pchat/event/0", "p2pchat/event/10", "p2pchat/Event/1",
        "p2pchat//1", "p2pchat/event/1\n", "p2pchat/a/b/1", "p2pchat/é/1", "q2pchat/event/1",
    ],
)  # fmt: skip
def test_only_domain_tags_are_tags(tag: str) -> None:
    with pytest.raises(LocalProtocolError):
        p.hash_tagged(tag, b"")


names = st.from_regex(r"p2pchat/[a-z][a-z0-9-]{0,8}/[1-9]", fullmatch=True)


@given(names, names)
def test_no_tag_begins_another(one: str, other: str) -> None:
    assert one == other or not p.tag_bytes(one).startswith(p.tag_bytes(other))


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=80), st.sampled_from((2, 3)))
def test_hkdf_is_rfc_5869_without_info(chaining_key: bytes, material: bytes, outputs: int) -> None:
    rfc = HKDF(BLAKE2b(64), 64 * outputs, salt=chaining_key, info=None).derive(material)
    assert b"".join(p.hkdf(chaining_key, material, outputs)) == rfc


def test_hmac_blake2b_uses_the_long_block() -> None:
    """The block is 128 bytes: a mistake there gives other keys and no error."""
    inner = hashlib.blake2b(bytes(b ^ 0x36 for b in KEY.ljust(128, b"\0")) + b"m").digest()
    outer = hashlib.blake2b(bytes(b ^ 0x5C for b in KEY.ljust(128, b"\0")) + inner).digest()
    assert hmac.digest(KEY, b"m", hashlib.blake2b) == outer


SIGNED = p.ed25519_keypair(KEY)
BAD_KEYS = [b"", KEY[:-1], KEY + b"\0", bytearray(KEY)]


@pytest.mark.parametrize("bad", BAD_KEYS)
def test_misuse_is_our_fault(bad: bytes) -> None:
    calls: list[Call] = [
        lambda: p.keyed_hash(bad, b""),
        lambda: p.hkdf(bad, b"", 2),
        lambda: p.x25519_public(bad),
        lambda: p.x25519(bad, p.x25519_public(KEY)),
        lambda: p.ed25519_keypair(bad),
        lambda: p.ed25519_sign(bad, b""),
        lambda: p.seal_chacha(bad, bytes(12), b"", b""),
        lambda: p.open_chacha(bad, bytes(12), b"", bytes(16)),
        lambda: p.seal_xchacha(bad, bytes(24), b"", b""),
        lambda: p.open_xchacha(bad, bytes(24), b"", bytes(16)),
        lambda: p.seal_chacha(KEY, bad, b"", b""),
        lambda: p.seal_xchacha(KEY, bad, b"", b""),
        lambda: p.open_box(bad, bytes(48)),
        lambda: p.seal_box(p.x25519_public(KEY), b"", bad),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(LocalProtocolError):
            pytest.fail(f"call {number} returned {call()!r}")


def test_types_other_than_bytes_are_our_fault() -> None:
    view = memoryview(bytes(60))
    calls: list[Call] = [
        lambda: p.seal_chacha(KEY, bytes(12), b"", view),  # type: ignore[arg-type]
        lambda: p.open_chacha(KEY, bytes(12), b"", view),  # type: ignore[arg-type]
        lambda: p.seal_xchacha(KEY, bytes(24), b"", view),  # type: ignore[arg-type]
        lambda: p.open_xchacha(KEY, bytes(24), b"", view),  # type: ignore[arg-type]
        lambda: p.open_box(KEY, view),  # type: ignore[arg-type]
        lambda: p.ed25519_sign(SIGNED[1], view),  # type: ignore[arg-type]
        lambda: p.ed25519_verify(memoryview(KEY), b"", bytes(64)),  # type: ignore[arg-type]
        lambda: p.hkdf(bytes(64), b"", 4),
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError):
            call()


SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


@pytest.mark.parametrize("public", [*SMALL_ORDER, b"", bytes(31), bytes(33)])
def test_a_bad_public_key_is_the_peers_fault(public: bytes) -> None:
    assert not p.x25519_usable(public)
    with pytest.raises(RemoteProtocolError):
        p.x25519(KEY, public)
    with pytest.raises(RemoteProtocolError):
        p.seal_box(public, b"key", OTHER)


@given(st.binary(min_size=32, max_size=32))
def test_an_honest_key_is_usable(secret: bytes) -> None:
    public = p.x25519_public(secret)
    assert p.x25519_usable(public)
    assert p.x25519(KEY, public) == p.x25519(secret, p.x25519_public(KEY))


@pytest.mark.parametrize("length", range(16))
def test_a_ciphertext_without_room_for_a_tag_is_the_peers_fault(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        p.open_chacha(KEY, bytes(12), b"", bytes(length))
    with pytest.raises(RemoteProtocolError):
        p.open_xchacha(KEY, bytes(24), b"", bytes(length))


@given(st.binary(max_size=100), st.binary(max_size=40), st.data())
def test_a_flipped_bit_opens_nothing(plaintext: bytes, ad: bytes, data: st.DataObject) -> None:
    for seal, open_, nonce in (
        (p.seal_chacha, p.open_chacha, bytes(12)),
        (p.seal_xchacha, p.open_xchacha, bytes(24)),
    ):
        sealed = seal(KEY, nonce, ad, plaintext)
        assert open_(KEY, nonce, ad, sealed) == plaintext
        bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
        with pytest.raises(RemoteProtocolError):
            open_(KEY, nonce, ad, flip(sealed, bit))
        with pytest.raises(RemoteProtocolError):
            open_(KEY, nonce, ad + b"\0", sealed)


def flip(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.binary(max_size=200), st.integers(0, 511))
def test_a_signature_holds_for_its_message_only(message: bytes, bit: int) -> None:
    public, signing = SIGNED
    signature = p.ed25519_sign(signing, message)
    assert p.ed25519_verify(public, message, signature)
    assert not p.ed25519_verify(public, message, flip(signature, bit))
    assert not p.ed25519_verify(public, message + b"\0", signature)
    assert not p.ed25519_verify(p.ed25519_keypair(OTHER)[0], message, signature)


@given(st.binary(max_size=70), st.binary(max_size=40))
def test_verify_never_raises(signature: bytes, public: bytes) -> None:
    assert p.ed25519_verify(public, b"", signature) is False


def test_adding_the_group_order_to_s_makes_no_second_signature() -> None:
    public, signing = SIGNED
    signature = p.ed25519_sign(signing, b"m")
    order = 2**252 + 27742317777372353535851937790883648493
    again = int.from_bytes(signature[32:], "little") + order
    assert not p.ed25519_verify(public, b"m", signature[:32] + again.to_bytes(32, "little"))


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_libsodium_opens_our_sealed_box_and_we_open_its(plaintext: bytes, secret: bytes, once: bytes) -> None:
    public = p.x25519_public(secret)
    sealed = p.seal_box(public, plaintext, once)
    assert len(sealed) == len(plaintext) + p.SEALED_BOX_OVERHEAD
    assert sealed == p.seal_box(public, plaintext, once)
    assert bindings.crypto_box_seal_open(sealed, public, secret) == plaintext
    assert p.open_box(secret, bindings.crypto_box_seal(plaintext, public)) == plaintext


@given(st.integers(0, 8 * 80 - 1))
def test_a_sealed_box_altered_anywhere_does_not_open(bit: int) -> None:
    sealed = p.seal_box(p.x25519_public(KEY), bytes(32), OTHER)
    if bit == 255:  # X25519 ignores the top bit of a key; the nonce covers it
        assert flip(sealed, bit) != sealed
    with pytest.raises(RemoteProtocolError):
        p.open_box(KEY, flip(sealed, bit))


@pytest.mark.parametrize("length", [0, 1, 31, 32, 47])
def test_a_short_sealed_box_is_the_peers_fault(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        p.open_box(KEY, bytes(length))


def test_same() -> None:
    assert p.same(b"abc", b"abc")
    assert not p.same(b"abc", b"abd")
    assert not p.same(b"abc", b"ab")


@given(st.binary(max_size=200), st.binary(max_size=100), st.integers(0, 7))
def test_opening_without_the_library_around_it_says_the_same(plain: bytes, ad: bytes, bit: int) -> None:
    sealed = p.seal_xchacha(KEY, NONCE24, ad, plain)
    assert p.open_xchacha(KEY, NONCE24, ad, sealed) == plain
    assert bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, ad, NONCE24, KEY) == plain
    for at in (0, len(sealed) // 2, len(sealed) - 1):
        wrong = bytearray(sealed)
        wrong[at] ^= 1 << bit
        with pytest.raises(RemoteProtocolError):
            p.open_xchacha(KEY, NONCE24, ad, bytes(wrong))
    with pytest.raises(RemoteProtocolError):
        p.open_xchacha(KEY, NONCE24, ad + b"x", sealed)
