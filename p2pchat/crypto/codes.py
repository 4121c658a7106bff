"""The short code two people read to each other: live SAS.

Decides: the commitment, the check of a revealed nonce and the six digits. Does not
know: the order of messages (engine: each reveals only once it holds the other's
commitment), the two-minute limit or how digits are shown.

Why commit first: without it a man in the middle could try nonces until both of his
sessions show the same six digits, 2^20 tries. With it he has one guess in a million.
"""

from __future__ import annotations

from typing import Final

from p2pchat.crypto.primitives import HASH_BYTES, LONG_HASH_BYTES, hash_tagged, same
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

COMMIT_TAG: Final = "p2pchat/sas-commit/1"
SAS_TAG: Final = "p2pchat/sas/1"

INITIATOR: Final = 0
RESPONDER: Final = 1
"""Roles are those of the Noise handshake of the session, whoever asks first."""
SAS_NONCE_BYTES: Final = 32
SAS_DIGITS: Final = 6


def commitment(role: int, nonce: bytes) -> bytes:
    """BLAKE2b-256("p2pchat/sas-commit/1" ‖ role, one byte ‖ nonce, 32 bytes).

    The role keeps a commitment from being reflected to its maker.
    """
    if role not in (INITIATOR, RESPONDER) or len(nonce) != SAS_NONCE_BYTES:
        raise LocalProtocolError("a sas commitment takes role 0 or 1 and 32 bytes")
    return hash_tagged(COMMIT_TAG, bytes((role,)), nonce)


def check_reveal(committed: bytes, role: int, nonce: bytes) -> None:
    """RemoteProtocolError unless `nonce` is what the other, in `role`, committed to."""
    if len(committed) != HASH_BYTES or len(nonce) != SAS_NONCE_BYTES:
        raise RemoteProtocolError("sas commitment or nonce of wrong length")
    if not same(committed, commitment(role, nonce)):
        raise RemoteProtocolError("sas nonce does not match its commitment")


def sas(handshake_hash: bytes, initiator_nonce: bytes, responder_nonce: bytes) -> str:
    """Six digits: BLAKE2b-256("p2pchat/sas/1" ‖ handshake hash (64) ‖ initiator's nonce ‖
    responder's nonce) as a big-endian integer mod 1,000,000, zero padded.
    """
    if len(handshake_hash) != LONG_HASH_BYTES or {len(initiator_nonce), len(responder_nonce)} != {
        SAS_NONCE_BYTES
    }:
        raise LocalProtocolError("a sas takes a handshake hash of 64 bytes and two nonces of 32")
    digest = hash_tagged(SAS_TAG, handshake_hash, initiator_nonce, responder_nonce)
    return f"{int.from_bytes(digest, 'big') % 10**SAS_DIGITS:0{SAS_DIGITS}d}"
