"""Events: what rooms are made of.

Decides: the fields of an event's header, the numbers of all kinds and the records
inside bodies (docs/protocol.md, "Records" and "Rooms"). Does not know: who may send
what, how bodies are sealed, or how events are ordered.
"""

from __future__ import annotations

from typing import Final

import msgspec

from p2pchat.wire.codec import Record
from p2pchat.wire.messages import files, rooms

# Control events: not sealed, never pruned, synced first and whole.
CREATE: Final = 1
ADD: Final = 2
REMOVE: Final = 3
JOIN: Final = 4
LEAVE: Final = 5
ROLE: Final = 6
SETTINGS: Final = 7
REVOKE: Final = 8
EPOCH: Final = 9
SEAL: Final = 10
LAST_CONTROL: Final = 31

# Content events: sealed under the epoch their header names.
MESSAGE: Final = 32
EDIT: Final = 33
DELETE: Final = 34
REACTION: Final = 35
PIN: Final = 36
NAME: Final = 37
ACK: Final = 38
FILE_ROOT: Final = 39
RULES: Final = 40

TAG_EVENT: Final = "p2pchat/event/1"
"""Signature over tag ‖ header; id = BLAKE2b-256(tag ‖ header ‖ signature)."""
SIGNED: Final = TAG_EVENT.encode("ascii")
"""What stands before a header where it is signed."""
TAG_BODY: Final = "p2pchat/body/1"
"""`body_hash` = BLAKE2b-256(tag ‖ stored body, nonce included)."""


class Header(Record, frozen=True):
    """What is signed of an event."""

    v: int
    room: bytes
    device: bytes
    seq: int  # counts from 1 per (room, device)
    prev: bytes  # id of this device's event before, 32 zero bytes for the first
    deps: tuple[bytes, ...]  # newest heads of other devices, at most 8
    auth: tuple[bytes, ...]  # heads of the control graph it was written under, at most 8
    hlc: int  # milliseconds since 1970 times 65,536, plus a counter
    kind: int
    epoch: bytes  # 16 bytes, zero where the body is not sealed
    body_hash: bytes
    body_len: int


class _Claim(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a header; whatever follows is not looked at."""

    v: int
    room: bytes
    device: bytes


_claims = msgspec.msgpack.Decoder(_Claim)


def claimed_device(header: bytes) -> bytes | None:
    """Whose event these bytes say to be, at a tenth of the cost of reading them; None if they do not say.

    Of a header that `codec.decode` accepts it is the field `device`; of any other it may be anything.
    """
    try:
        return _claims.decode(header).device
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError):
        return None


class Event(Record, frozen=True):
    """A header's exact bytes, its signature (64 bytes or empty) and the stored body.

    `body` is None where it has lawfully been erased; the chain still verifies.
    """

    header: bytes
    signature: bytes
    body: bytes | None


class Message(Record, frozen=True):
    """Somebody says something. `mentions` are account ids, or the room's own id for everybody in
    it; empty bytes mean none."""

    v: int
    text: str
    reply_to: bytes
    thread: bytes
    mentions: tuple[bytes, ...]
    urgent: bool
    ack: int  # asks everybody to take note: 0 no, 1 some time, else until then in ms since 1970
    files: tuple[files.Offer, ...]  # what is offered with it, at most MAX_FILES


class Edit(Record, frozen=True):
    """The author's new text for `target`; the rest repeats what the message said, for
    those who never get its first body. `unseen`: as far as the author knew nobody had it,
    so to whoever has not either it is no change worth a mark."""

    v: int
    target: bytes
    text: str
    mentions: tuple[bytes, ...]
    reply_to: bytes
    thread: bytes
    urgent: bool
    ack: int
    files: tuple[files.Offer, ...]
    unseen: bool


class Delete(Record, frozen=True):
    """The author takes `target` back."""

    v: int
    target: bytes


class Reaction(Record, frozen=True):
    """An emoji put on, or with `remove` taken off, `target`."""

    v: int
    target: bytes
    emoji: str
    remove: bool


class Pin(Record, frozen=True):
    """`target` is kept in view, or with `remove` no longer."""

    v: int
    target: bytes
    remove: bool


class Epoch(Record, frozen=True):
    """A new room key comes into use. `epoch_id` is the start of the key's hash."""

    v: int
    epoch_id: bytes
    gen: int  # 1 + the greatest among its auth ancestors
    member_hash: bytes
    shareable: bool


class SealedKey(Record, frozen=True):
    """The epoch key for one device, sealed to its prekey number `n`."""

    device: bytes
    n: int
    sealed: bytes  # 80 bytes: crypto_box_seal of the 32-byte key


class Seal(Record, frozen=True):
    """Up to 256 sealed copies of one epoch key."""

    v: int
    epoch_id: bytes
    keys: tuple[SealedKey, ...]


class MemberSet(Record, frozen=True):
    """What `member_hash` is the hash of: both lists sorted."""

    accounts: tuple[bytes, ...]
    revoked_devices: tuple[bytes, ...]


BODIES: Final[dict[int, type[Record]]] = {
    MESSAGE: Message,
    EDIT: Edit,
    DELETE: Delete,
    REACTION: Reaction,
    PIN: Pin,
    EPOCH: Epoch,
    SEAL: Seal,
    CREATE: rooms.Create,
    ADD: rooms.Add,
    REMOVE: rooms.Remove,
    JOIN: rooms.Join,
    LEAVE: rooms.Leave,
    ROLE: rooms.Role,
    SETTINGS: rooms.Settings,
    REVOKE: rooms.Revoke,
    NAME: rooms.Name,
    ACK: rooms.Ack,
    FILE_ROOT: files.FileRoot,
    RULES: rooms.RulesAccepted,
}
"""Kind to the record in its body. A kind that is not here is kept and relayed, not shown."""


def is_control(kind: int) -> bool:
    """Whether `kind` is a control event."""
    return 0 < kind <= LAST_CONTROL
