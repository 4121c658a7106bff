"""Records of a link: in order or not at all; padding: one for each content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto import session
from p2pchat.crypto.noise import MAX_NONCE, MAX_PLAINTEXT, CipherState
from p2pchat.crypto.session import PADDED_LENGTHS, Session, pad, unpad
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

NOW = 1000.0


def pair() -> tuple[Session, Session]:
    """Two ends of one link."""
    keys = bytes(32), bytes(range(32))
    return (
        Session(CipherState(keys[0]), CipherState(keys[1]), NOW),
        Session(CipherState(keys[1]), CipherState(keys[0]), NOW),
    )


def test_records_pass_in_order_both_ways() -> None:
    alice, bob = pair()
    for text in (b"", b"one", b"two", bytes(MAX_PLAINTEXT)):
        sealed = alice.seal(text)
        assert len(sealed) == len(text) + 16
        assert bob.open(sealed) == text
        assert alice.open(bob.seal(text)) == text


def test_equal_texts_look_different() -> None:
    alice, bob = pair()
    assert len({alice.seal(b"x"), alice.seal(b"x"), bob.seal(b"x"), bob.seal(b"x")}) == 4


@pytest.mark.parametrize(
    "attack", ["flipped", "repeated", "skipped", "reordered", "reflected", "truncated", "empty", "oversized"]
)
def test_any_tampering_ends_the_session_for_good(attack: str) -> None:
    alice, bob = pair()
    first, second = alice.seal(b"first"), alice.seal(b"second")
    before, wrong = {
        "flipped": ([], first[:-1] + bytes((first[-1] ^ 1,))),
        "repeated": ([first], first),
        "skipped": ([], second),
        "reordered": ([first, second], first),
        "reflected": ([], bob.seal(b"mine")),
        "truncated": ([], first[:-1]),
        "empty": ([], b""),
        "oversized": ([], bytes(65536)),
    }[attack]
    for record in before:
        bob.open(record)
    with pytest.raises(RemoteProtocolError):
        bob.open(wrong)
    for call in (
        lambda: bob.open(first),
        lambda: bob.open(second),
        lambda: bob.seal(b"more"),
        lambda: bob.rekey_sending(NOW),
        lambda: bob.rekey_receiving(),
    ):
        with pytest.raises(RemoteProtocolError):
            call()


def test_rekey_per_direction() -> None:
    alice, bob = pair()
    assert bob.open(alice.seal(b"REKEY")) == b"REKEY"
    alice.rekey_sending(NOW)
    bob.rekey_receiving()
    assert bob.open(alice.seal(b"new key")) == b"new key"
    assert alice.open(bob.seal(b"the other direction is untouched")) == b"the other direction is untouched"
    alice.rekey_sending(NOW)
    with pytest.raises(RemoteProtocolError):
        bob.open(alice.seal(b"bob was not told"))


def test_a_rekey_wants_an_hour_or_a_gibibyte() -> None:
    alice, _ = pair()
    assert not alice.needs_rekey(NOW + 3599.9)
    assert alice.needs_rekey(NOW + 3600)
    alice.rekey_sending(NOW + 3600)
    assert not alice.needs_rekey(NOW + 7199)
    assert alice.needs_rekey(NOW + 7200)


def test_bytes_count_towards_a_rekey(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.REKEY_BYTES == 1024**3
    monkeypatch.setattr(session, "REKEY_BYTES", 100)
    alice, bob = pair()
    bob.open(alice.seal(bytes(99)))
    assert not alice.needs_rekey(NOW)
    bob.open(alice.seal(b"x"))
    assert alice.needs_rekey(NOW)
    assert not bob.needs_rekey(NOW)  # what we receive is the other's to count
    alice.rekey_sending(NOW)
    assert not alice.needs_rekey(NOW)


def test_our_own_limits_are_our_own_fault() -> None:
    alice, _ = pair()
    with pytest.raises(LocalProtocolError):
        alice.seal(bytes(MAX_PLAINTEXT + 1))
    spent = Session(CipherState(bytes(32), MAX_NONCE), CipherState(bytes(32)), NOW)
    with pytest.raises(LocalProtocolError):
        spent.seal(b"")


def test_the_padded_lengths_are_as_documented() -> None:
    assert PADDED_LENGTHS[:16] == tuple(64 * step for step in range(1, 17))
    assert PADDED_LENGTHS[16:-1] == tuple(1024 * step for step in range(2, 64))
    assert PADDED_LENGTHS[-1] == 65519 == MAX_PLAINTEXT


@pytest.mark.parametrize(
    ("content", "padded"),
    [
        (0, 64), (63, 64), (64, 128), (127, 128), (1022, 1024), (1023, 1024), (1024, 2048), (2047, 2048),
        (2048, 3072), (64511, 64512), (64512, 65519), (65518, 65519),
    ],
)  # fmt: skip
def test_padding_at_each_edge(content: int, padded: int) -> None:
    for byte in (b"\0", b"\x80", b"x"):
        text = byte * content
        assert len(pad(text)) == padded
        assert unpad(pad(text)) == text


def test_too_long_to_pad() -> None:
    with pytest.raises(LocalProtocolError):
        pad(bytes(65519))


@given(st.binary(max_size=3000))
def test_padding_round_trip(content: bytes) -> None:
    padded = pad(content)
    assert len(padded) in PADDED_LENGTHS
    assert unpad(padded) == content


padded_like = st.builds(
    lambda head, zeros: head + bytes(zeros),
    st.binary(max_size=200),
    st.integers(0, 200),
)


@given(padded_like)
def test_only_what_pad_makes_is_unpadded(raw: bytes) -> None:
    try:
        content = unpad(raw)
    except RemoteProtocolError:
        return
    assert pad(content) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"", bytes(64), b"\x80", b"x" * 64, b"\x80" + bytes(62), b"\x80" + bytes(127), b"\x81" + bytes(63),
        bytes(63) + b"\x80" + bytes(64), b"\x80" + bytes(65518), bytes(65519) + b"\x80",
    ],
)  # fmt: skip
def test_malformed_padding_is_the_peers_fault(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        unpad(raw)
