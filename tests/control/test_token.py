"""Both sides prove the token; it never crosses the wire."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from p2pchat.control.token import (
    TokenFile,
    answer_challenge,
    decode_token_file,
    encode_token_file,
    is_proven,
    new_nonce,
    prove,
)

TOKEN = bytes(range(32))
S, C = "aa" * 16, "bb" * 16


def test_the_proof_is_the_documented_hmac() -> None:
    text = b"p2pchat/control/1 client " + S.encode() + b" " + C.encode()
    assert prove(TOKEN, "client", S, C) == hmac.new(TOKEN, text, hashlib.sha256).hexdigest()


def test_a_proof_holds_for_its_role_nonces_and_token_only() -> None:
    proof = prove(TOKEN, "client", S, C)
    assert is_proven(TOKEN, "client", S, C, proof)
    assert not is_proven(TOKEN, "server", S, C, proof), "reflected"
    assert not is_proven(TOKEN, "client", C, S, proof)
    assert not is_proven(bytes(32), "client", S, C, proof)
    for wrong in (None, 1, "", proof[:-1], proof.upper(), "é" * 64, "\ud800", proof.encode()):
        assert not is_proven(TOKEN, "client", S, C, wrong)
    for nonce in (None, 1, "", "AA" * 16, "aa" * 15, "zz" * 16):
        assert not is_proven(TOKEN, "client", nonce, C, proof)
        assert not is_proven(TOKEN, "client", S, nonce, proof)


def test_a_challenge_is_answered_and_anything_else_is_not() -> None:
    answer = answer_challenge(TOKEN, {"p2pchat": 1, "nonce": S})
    assert answer is not None
    nonce, line = answer
    assert is_proven(TOKEN, "client", S, line["nonce"], line["proof"])
    assert line["nonce"] == nonce
    assert TOKEN.hex() not in str(line)
    for foreign in ({}, {"nonce": 1}, {"nonce": "x"}):
        assert answer_challenge(TOKEN, foreign) is None


def test_nonces_are_fresh() -> None:
    assert len({new_nonce() for _ in range(100)}) == 100


def test_the_token_file_comes_back_as_written() -> None:
    entry = TokenFile(26700, TOKEN)
    assert decode_token_file(encode_token_file(entry)) == entry


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"port": 1, "token": "00"}',
        b'{"port": 0, "token": "' + b"00" * 32 + b'"}',
        b'{"port": true, "token": "' + b"00" * 32 + b'"}',
        b'{"port": 70000, "token": "' + b"00" * 32 + b'"}',
        b'{"port": 1, "token": 5}',
        b"[" * 100_000,
    ],
)
def test_a_foreign_token_file_is_none(data: bytes) -> None:
    assert decode_token_file(data) is None
