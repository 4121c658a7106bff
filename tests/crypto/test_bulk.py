"""Records of a bulk link: two one-way chains, each broken for good by its first failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto import bulk, noise
from p2pchat.crypto.bulk import OVERHEAD, Aead, BulkOpener, BulkSealer, PublicAead
from p2pchat.crypto.primitives import hkdf, x25519_public
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

CHAINING_KEY = bytes(range(64))
WAYS = [PublicAead(), bulk.FASTEST]
both_ways = pytest.mark.parametrize("aead", WAYS, ids=lambda aead: type(aead).__name__)


def pair(aead: Aead = bulk.FASTEST) -> tuple[BulkSealer, BulkOpener]:
    """What the initiator sends with, and what the responder receives with."""
    sealer, _ = bulk.directions(CHAINING_KEY, initiator=True, aead=aead)
    _, opener = bulk.directions(CHAINING_KEY, initiator=False, aead=aead)
    return sealer, opener


def sealed(sealer: BulkSealer, text: bytes, ad: bytes = b"") -> bytes:
    out = bytearray(len(text) + OVERHEAD)
    assert sealer.seal_into(text, out, ad) == len(out)
    return bytes(out)


def opened(opener: BulkOpener, record: bytes, ad: bytes = b"") -> bytes:
    out = bytearray(max(0, len(record) - OVERHEAD))
    return bytes(out[: opener.open_into(record, out, ad)])


def test_both_ends_of_a_handshake_have_the_same_two_keys() -> None:
    ends = [
        noise.HandshakeState(noise.PROTOCOL, initiator=first, s=bytes([name]) * 32, psks=[bytes(32)])
        for first, name in ((True, 1), (False, 2))
    ]
    for turn, ephemeral in enumerate((b"\3" * 32, b"\4" * 32, None)):
        ends[1 - turn % 2].read_message(ends[turn % 2].write_message(b"", ephemeral))
    assert ends[1].remote_static == x25519_public(b"\1" * 32)
    ours = bulk.directions(ends[0].chaining_key, initiator=True)
    theirs = bulk.directions(ends[1].chaining_key, initiator=False)
    assert opened(theirs[1], sealed(ours[0], b"there")) == b"there"
    assert opened(ours[1], sealed(theirs[0], b"and back")) == b"and back"
    chat = [key[:32] for key in hkdf(ends[0].chaining_key, b"", 2)]
    keys = bulk.bulk_keys(ends[0].chaining_key)
    assert len({*chat, *keys}) == 4, "a key of the chat direction is used again"


@given(st.lists(st.binary(max_size=300), max_size=6), st.binary(max_size=20))
def test_what_is_sealed_opens_in_order(texts: list[bytes], ad: bytes) -> None:
    for aead in WAYS:
        sealer, opener = pair(aead)
        for number, text in enumerate(texts):
            assert opened(opener, sealed(sealer, text, ad), ad) == text
            assert sealer.records == opener.records == number + 1


@both_ways
def test_no_two_records_are_sealed_alike(aead: Aead) -> None:
    sealer, _ = pair(aead)
    assert len({sealed(sealer, b"the same") for _ in range(50)}) == 50


@both_ways
@pytest.mark.parametrize("harm", ["changed", "repeated", "left out", "swapped", "other ad", "other way"])
def test_the_first_failure_is_the_last_word(aead: Aead, harm: str) -> None:
    sealer, opener = pair(aead)
    first, second, third = (sealed(sealer, text, b"ad") for text in (b"one", b"two", b"three"))
    assert opened(opener, first, b"ad") == b"one"
    _, backward = bulk.directions(CHAINING_KEY, initiator=True, aead=aead)
    bad, ad, victim = {
        "changed": (second[:-1] + bytes([second[-1] ^ 1]), b"ad", opener),
        "repeated": (first, b"ad", opener),
        "left out": (third, b"ad", opener),
        "swapped": (third, b"ad", opener),
        "other ad": (second, b"AD", opener),
        "other way": (first, b"ad", backward),
    }[harm]
    with pytest.raises(RemoteProtocolError, match="does not open"):
        opened(victim, bad, ad)
    for record in (second, third, first):
        with pytest.raises(RemoteProtocolError, match="has failed"):
            opened(victim, record, b"ad")


@both_ways
def test_a_record_shorter_than_its_tag_ends_the_direction(aead: Aead) -> None:
    sealer, opener = pair(aead)
    good = sealed(sealer, b"good")
    with pytest.raises(RemoteProtocolError, match="shorter"):
        opener.open_into(good[:31], bytearray(10))
    with pytest.raises(RemoteProtocolError, match="has failed"):
        opened(opener, good)


@both_ways
def test_one_buffer_can_be_used_for_both(aead: Aead) -> None:
    sealer, opener = pair(aead)
    for size in (0, 1, 15, 16, 17, 4096, 1 << 20):
        text = bytes(number % 251 for number in range(size))
        twin, _ = pair(aead)
        twin._next = sealer.records
        expected = sealed(twin, text)
        buffer = bytearray(text + bytes(OVERHEAD))
        assert sealer.seal_into(memoryview(buffer)[:size], buffer) == size + OVERHEAD
        assert buffer == expected
        assert opener.open_into(buffer, buffer) == size
        assert buffer[:size] == text


def test_a_buffer_that_half_overlaps_is_refused() -> None:
    """With the handle; the public way copies first."""
    aead = bulk.handle_aead()
    assert aead is not None
    sealer, _ = pair(aead)
    buffer = bytearray(200)
    with pytest.raises(LocalProtocolError, match="overlap"):
        sealer.seal_into(memoryview(buffer)[:64], memoryview(buffer)[1:])


@both_ways
def test_a_refused_call_uses_no_room_it_was_not_given(aead: Aead) -> None:
    sealer, opener = pair(aead)
    for out in (bytearray(35), b"x" * 40):
        with pytest.raises(LocalProtocolError, match="buffer"):
            sealer.seal_into(b"text", out)
    record = sealed(sealer, b"text")
    with pytest.raises(LocalProtocolError, match="buffer"):
        opener.open_into(record, bytearray(3))
    larger = bytearray(b"." * 100)
    assert opener.open_into(record, larger) == 4, "our own mistake must not break the direction"
    assert larger == b"text" + b"." * 96


def test_the_counter_moves_even_if_sealing_fails() -> None:
    class Broken(PublicAead):
        def seal(self, key: bytes, nonce: bytes, ad: bytes, plain: memoryview, out: memoryview) -> None:
            raise LocalProtocolError("broken")

    sealer = BulkSealer(bytes(32), Broken())
    for number in range(3):
        assert sealer.records == number
        with pytest.raises(LocalProtocolError):
            sealer.seal_into(b"", bytearray(32))


def test_a_key_is_exhausted_before_its_counter_comes_round() -> None:
    sealer, _ = pair()
    sealer._next = bulk.MAX_RECORDS - 1
    sealed(sealer, b"last")
    with pytest.raises(LocalProtocolError, match="exhausted"):
        sealed(sealer, b"beyond")


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytearray(32)])
def test_keys_of_other_shape_are_our_mistake(key: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        BulkSealer(key)
    with pytest.raises(LocalProtocolError):
        bulk.bulk_keys(key)
