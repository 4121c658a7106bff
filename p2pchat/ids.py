"""Identifiers everybody shares.

Decides: what an id is (raw bytes of a fixed length), how it is shown and how a
prefix typed by a person is read. Does not know: how any id is computed (crypto),
laid out on the wire (wire) or stored (store).

All ids are `bytes`; `NewType` keeps them apart for the type checker at no cost.
Shown form: lower-case hex. Fingerprint: the first 32 hex digits of an account id;
short tag `~3f2a`: its first 4 (docs/protocol.md, "People and machines").
"""

from __future__ import annotations

from typing import NewType

AccountId = NewType("AccountId", bytes)
"""32 bytes, a person: BLAKE2b-256 of the signed genesis statement."""

DeviceId = NewType("DeviceId", bytes)
"""32 bytes, a machine: BLAKE2b-256 of account id and signing key."""

RoomId = NewType("RoomId", bytes)
"""32 bytes, a conversation; of a direct chat it follows from the two accounts."""

EventId = NewType("EventId", bytes)
"""32 bytes, one signed event: BLAKE2b-256 of header and signature."""

EpochId = NewType("EpochId", bytes)
"""16 bytes, a room key: the start of its BLAKE2b hash."""

ID_BYTES = 32
EPOCH_ID_BYTES = 16

ZERO_ID = bytes(ID_BYTES)
"""The `prev` of a device's first event in a room."""

NO_EPOCH = EpochId(bytes(EPOCH_ID_BYTES))
"""The `epoch` of an event whose body is not sealed."""

MIN_PREFIX = 6
"""Fewest hex digits that may stand for an id; shorter ones collide too easily."""


def show(identifier: bytes) -> str:
    """Lower-case hex, the only form in which ids leave the program."""
    return identifier.hex()


def fingerprint(account: AccountId) -> str:
    """First 32 hex digits (128 bits) of an account id."""
    return account.hex()[:32]


def tag(account: AccountId) -> str:
    """The short mark `~3f2a` that tells equal names apart."""
    return "~" + account.hex()[:4]


def hex_prefix(text: str) -> str | None:
    """`text` as a lower-case hex prefix of an id, or None if it cannot be one."""
    lowered = text.lower()
    if not MIN_PREFIX <= len(lowered) <= 2 * ID_BYTES:
        return None
    return None if lowered.strip("0123456789abcdef") else lowered
