"""Proof of being the same user where no kernel tells: loopback TCP with a secret.

Decides: the token file and the three lines before the hello. Does not know: sockets.

A port number belongs to nobody: after a crash another user may listen on it, so the
token itself never crosses the wire and both sides prove it, the client first:

    daemon -> {"p2pchat": 1, "nonce": S}
    client -> {"nonce": C, "proof": HMAC-SHA256(token, "client" S C)}
    daemon -> {"p2pchat": 1, "pid": ..., "version": ..., "proof": HMAC-SHA256(token, "server" S C)}

Safe here because the token is 32 random bytes, new at every start, in an owner-only
file, and both nonces are fresh; it authenticates, it does not encrypt: other users
cannot read loopback traffic, root can.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final, NamedTuple

TOKEN_BYTES: Final = 32
NONCE_BYTES: Final = 16


class TokenFile(NamedTuple):
    """Where the daemon listens on 127.0.0.1 and what both sides must prove to know."""

    port: int
    token: bytes


def new_nonce() -> str:
    """A fresh nonce, hex."""
    return os.urandom(NONCE_BYTES).hex()


def encode_token_file(entry: TokenFile) -> bytes:
    """Content of the token file."""
    return json.dumps({"port": entry.port, "token": entry.token.hex()}).encode() + b"\n"


def decode_token_file(data: bytes) -> TokenFile | None:
    """The content read back; None if it is not one."""
    try:
        value = json.loads(data)
        port, token = value["port"], bytes.fromhex(value["token"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(port) is not int or not 0 < port < 65536 or len(token) != TOKEN_BYTES:
        return None
    return TokenFile(port, token)


def prove(token: bytes, role: str, server_nonce: str, client_nonce: str) -> str:
    """Proof that `role` ("client" or "server") knows the token, hex."""
    import hmac  # loads OpenSSL (2.5 ms); never needed on a Unix socket

    text = f"p2pchat/control/1 {role} {server_nonce} {client_nonce}"
    return hmac.new(token, text.encode("utf-8"), "sha256").hexdigest()


def is_proven(token: bytes, role: str, server_nonce: object, client_nonce: object, proof: object) -> bool:
    """Whether `proof` is right, in constant time; False for values of any wrong type or shape."""
    import hmac

    if not (_is_nonce(server_nonce) and _is_nonce(client_nonce) and isinstance(proof, str)):
        return False
    expected = prove(token, role, str(server_nonce), str(client_nonce))
    return hmac.compare_digest(expected.encode("ascii"), proof.encode("utf-8", "replace"))


def answer_challenge(token: bytes, challenge: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The client's line to the daemon's first, with its nonce; None if that was no challenge."""
    server_nonce = challenge.get("nonce")
    if not _is_nonce(server_nonce):
        return None
    nonce = new_nonce()
    return nonce, {"nonce": nonce, "proof": prove(token, "client", str(server_nonce), nonce)}


def _is_nonce(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) == 2 * NONCE_BYTES
        and all(letter in "0123456789abcdef" for letter in value)
    )
