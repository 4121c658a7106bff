"""Wycheproof through our own wrappers: AEADs, X25519, Ed25519."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pchat.crypto import primitives
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

Aead = Callable[[bytes, bytes, bytes, bytes], bytes]


def cases(vectors: Path, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    text = (vectors / "wycheproof" / f"{name}.json").read_text(encoding="utf-8")
    for group in json.loads(text)["testGroups"]:
        for case in group["tests"]:
            yield group, case


@pytest.mark.parametrize(
    ("name", "seal", "open_", "nonce_bytes", "counts"),
    [
        ("chacha20_poly1305", primitives.seal_chacha, primitives.open_chacha, 12, (325, 256, 9)),
        ("xchacha20_poly1305", primitives.seal_xchacha, primitives.open_xchacha, 24, (315, 246, 9)),
    ],
)
def test_aead(
    vectors: Path, name: str, seal: Aead, open_: Aead, nonce_bytes: int, counts: tuple[int, int, int]
) -> None:
    seen = valid = foreign = 0
    for _group, case in cases(vectors, name):
        seen += 1
        key, nonce, ad, plaintext, ciphertext, tag = (
            bytes.fromhex(case[part]) for part in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        if len(nonce) != nonce_bytes:  # our nonces are ours: another length is our own mistake
            assert case["result"] == "invalid"
            foreign += 1
            with pytest.raises(LocalProtocolError):
                seal(key, nonce, ad, plaintext)
            with pytest.raises(LocalProtocolError):
                open_(key, nonce, ad, ciphertext + tag)
        elif case["result"] == "valid":
            valid += 1
            assert seal(key, nonce, ad, plaintext) == ciphertext + tag, case["tcId"]
            assert open_(key, nonce, ad, ciphertext + tag) == plaintext, case["tcId"]
        else:
            with pytest.raises(RemoteProtocolError):
                open_(key, nonce, ad, ciphertext + tag)
    assert (seen, valid, foreign) == counts


def test_x25519(vectors: Path) -> None:
    """ "acceptable" means: compute it or refuse it. We refuse exactly the all-zero results."""
    seen = refused = 0
    for _group, case in cases(vectors, "x25519"):
        seen += 1
        secret, public, shared = (bytes.fromhex(case[part]) for part in ("private", "public", "shared"))
        if shared == bytes(32):
            refused += 1
            assert case["result"] == "acceptable"
            assert "LowOrderPublic" in case["flags"]
            assert not primitives.x25519_usable(public)
            with pytest.raises(RemoteProtocolError):
                primitives.x25519(secret, public)
        else:
            assert primitives.x25519(secret, public) == shared, case["tcId"]
            assert primitives.x25519_usable(public)
    assert (seen, refused) == (518, 31)


def test_ed25519(vectors: Path) -> None:
    seen = valid = 0
    for group, case in cases(vectors, "ed25519"):
        seen += 1
        public, message, signature = (
            bytes.fromhex(text) for text in (group["publicKey"]["pk"], case["msg"], case["sig"])
        )
        expected = case["result"] == "valid"
        valid += expected
        assert primitives.ed25519_verify(public, message, signature) is expected, case["tcId"]
    assert (seen, valid) == (151, 88)
