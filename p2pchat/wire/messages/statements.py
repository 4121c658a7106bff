"""Statements: the signed graph that makes a person out of machines.

Decides: fields and kinds of account statements (docs/protocol.md, "People and
machines"). Does not know: whether a statement is allowed (engine/accounts).
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record

GENESIS: Final = 0
ADD: Final = 1
REVOKE: Final = 2
RETIRE: Final = 3

TAG_STATEMENT: Final = "p2pchat/statement/1"
"""Signed bytes: tag ‖ statement. Statement id: BLAKE2b-256(tag ‖ signed statement)."""


class Statement(Record, frozen=True):
    """One act on an account. `subject` is the encoded record its kind asks for."""

    v: int
    account: bytes  # empty in a genesis: the id is its own hash
    prev: tuple[bytes, ...]  # ids of statements it builds on, at most 8, sorted
    kind: int
    subject: bytes
    by: bytes  # Ed25519 public key of the signer: a device's or the recovery key


class SignedStatement(Record, frozen=True):
    """A statement's exact bytes with the 64-byte signature over tag ‖ statement."""

    statement: bytes
    signature: bytes


class Genesis(Record, frozen=True):
    """Subject of a genesis: keys only, no ids."""

    signing: bytes  # Ed25519 public key of the first device
    noise: bytes  # X25519 public key of the first device, used in Noise only
    recovery: bytes  # Ed25519 public key of the recovery key


class DeviceKeys(Record, frozen=True):
    """Subject of an add: the keys of one more machine."""

    signing: bytes
    noise: bytes


class Revoked(Record, frozen=True):
    """Subject of a revoke: the device whose later acts are void."""

    device: bytes


class Retired(Record, frozen=True):
    """Subject of a retire: the account that takes over, or empty for none."""

    successor: bytes
