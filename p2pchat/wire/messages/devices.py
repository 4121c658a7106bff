"""What machines of one person say: to come into being, and to stay in step.

Decides: fields of the frames by which a machine is linked or recovered, and of what own
machines tell each other (docs/protocol.md, "A second machine"). Does not know: who may be linked, or
what an entry means.
"""

from __future__ import annotations

from typing import Final

from p2pchat.wire.codec import Record
from p2pchat.wire.messages.statements import SignedStatement

TAG_JOIN: Final = "p2pchat/join/1"
TAG_RECOVER: Final = "p2pchat/recover/1"
"""Signed: tag ‖ handshake hash."""


class PakeFirst(Record, frozen=True):
    """The frame after a preface of kind `pake`: which machine is meant, and pA."""

    slot: str
    point: bytes


class PakeSecond(Record, frozen=True):
    """The answer: pB."""

    point: bytes


class Join(Record, frozen=True):
    """The new machine's signing key, and its signature over tag ‖ handshake hash."""

    signing: bytes
    signature: bytes


class Recover(Record, frozen=True):
    """Whose recovery key the sender holds: its public half, and its signature."""

    recovery: bytes
    signature: bytes


class Admitted(Record, frozen=True):
    """All statements of the account, the new machine's among them where one was linked."""

    statements: tuple[SignedStatement, ...]


class Joined(Record, frozen=True):
    """The new machine has written down who it is."""


class OwnEntry(Record, frozen=True):
    """Something the person has decided; of each key the greatest (hlc, device) counts."""

    key: str
    value: bytes
    hlc: int
    device: bytes


class OwnDigest(Record, frozen=True):
    """Hash of all own entries the sender holds: equal, and nothing need be said."""

    digest: bytes


class OwnState(Record, frozen=True):
    """Entries, between machines of one person only."""

    entries: tuple[OwnEntry, ...]


class OwnChats(Record, frozen=True):
    """People with whom the person has a direct chat."""

    accounts: tuple[bytes, ...]


class TrustSaid(Record, frozen=True):
    """Value of `trust:<account>`: what is decided about somebody's key."""

    verified: bool
    blocked: bool
    name: str
    successor_of: bytes  # empty for none
    first_seen_ms: int
