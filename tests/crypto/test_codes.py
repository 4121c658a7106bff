"""Live SAS: commit, reveal, six digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto import codes
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

nonces = st.binary(min_size=32, max_size=32)
roles = st.sampled_from((codes.INITIATOR, codes.RESPONDER))
HASH = bytes(range(64))
ONE, TWO = b"1" * 32, b"2" * 32


@given(roles, nonces)
def test_a_reveal_fits_its_commitment_and_role(role: int, nonce: bytes) -> None:
    committed = codes.commitment(role, nonce)
    assert len(committed) == 32
    codes.check_reveal(committed, role, nonce)
    with pytest.raises(RemoteProtocolError):
        codes.check_reveal(committed, 1 - role, nonce)
    with pytest.raises(RemoteProtocolError):
        codes.check_reveal(committed, role, nonce[1:] + bytes((nonce[0] ^ 1,)))


@pytest.mark.parametrize(("committed", "nonce"), [(b"", ONE), (bytes(31), ONE), (bytes(32), b""), (ONE, TWO)])
def test_whatever_a_peer_reveals_is_refused_as_the_peers_fault(committed: bytes, nonce: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codes.check_reveal(committed, codes.RESPONDER, nonce)


@given(st.binary(min_size=64, max_size=64), nonces, nonces)
def test_six_digits(handshake_hash: bytes, one: bytes, two: bytes) -> None:
    digits = codes.sas(handshake_hash, one, two)
    assert len(digits) == 6
    assert digits.isdecimal()


def test_digits_depend_on_the_session_and_both_nonces() -> None:
    """A man in the middle has two sessions, hence two hashes."""
    shown = {
        codes.sas(HASH, ONE, TWO),
        codes.sas(HASH[::-1], ONE, TWO),
        codes.sas(HASH, TWO, ONE),
        codes.sas(HASH, ONE, ONE),
    }
    assert len(shown) == 4


def test_leading_zeros_are_kept() -> None:
    found = [codes.sas(HASH, ONE, number.to_bytes(32, "big")) for number in range(60)]
    assert any(digits.startswith("0") for digits in found)
    assert {len(digits) for digits in found} == {6}


def test_misuse_is_our_fault() -> None:
    for call in (
        lambda: codes.commitment(2, ONE),
        lambda: codes.commitment(codes.INITIATOR, ONE[1:]),
        lambda: codes.sas(HASH[:32], ONE, TWO),
        lambda: codes.sas(HASH, ONE[1:], TWO),
        lambda: codes.sas(HASH, ONE, TWO + b"\0"),
    ):
        with pytest.raises(LocalProtocolError):
            call()
