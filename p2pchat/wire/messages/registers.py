"""Registers: small signed values of which only the newest counts.

Decides: keys, fields and value records of registers (docs/protocol.md, "Records").
Does not know: who gets which register or what follows from one.
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record

PREKEY: Final = 1
PROFILE: Final = 2
PRESENCE: Final = 3
HAVE: Final = 4
READ: Final = 5
REACH: Final = 8

TAG_REGISTER: Final = "p2pchat/register/1"


class Register(Record, frozen=True):
    """`room` and `author` are set for HAVE and READ and empty for the other kinds."""

    v: int
    device: bytes
    kind: int
    room: bytes
    author: bytes
    n: int  # the greater wins; persisted before sending
    value: bytes


class SignedRegister(Record, frozen=True):
    """A register's exact bytes with the 64-byte signature over tag ‖ register."""

    register: bytes
    signature: bytes


class RegisterName(Record, frozen=True):
    """Which register, and which number of it, is meant."""

    device: bytes
    kind: int
    room: bytes
    author: bytes
    n: int


class Prekey(Record, frozen=True):
    """The X25519 key to which room keys for this device are sealed this week."""

    public: bytes


class Profile(Record, frozen=True):
    """What the person wants to be called."""

    name: str


class Seen(Record, frozen=True):
    """Value of HAVE and READ: closed ranges of seq, newest first, at most 16; id of the top."""

    ranges: tuple[tuple[int, int], ...]
    top: bytes
