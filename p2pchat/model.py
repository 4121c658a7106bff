"""Frozen records that several floors share: what people see of events, peers and rooms.

Decides: the vocabulary between engine, store, control and daemon. Does not know:
bytes on the wire, SQL, JSON or how any of it is computed.

Times are milliseconds since 1970 (`…_ms`) unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId

# States of own messages, weakest first, and of others'.
SCHEDULED = "scheduled"
QUEUED = "queued"
HELD = "held"
DELIVERED = "delivered"
READ = "read"
CANCELLED = "cancelled"
RECEIVED = "received"

# How far a person is trusted.
UNVERIFIED = "unverified"
VERIFIED = "verified"
CHANGED = "changed"
BLOCKED = "blocked"

DIRECT = "direct"
ROOM = "room"
LOBBY = "lobby"

# What I am to a room.
JOINED = "joined"
OPEN = "open"
LEFT = "left"
REMOVED = "removed"


class Now(NamedTuple):
    """One instant, handed in: wall clock in ms since 1970 and a monotonic clock in s."""

    wall_ms: int
    mono: float


class _Stored(NamedTuple):
    """The fields of a StoredEvent: a tuple, for a long history makes hundreds of thousands."""

    id: EventId
    header: bytes
    signature: bytes
    body: bytes | None
    room: RoomId
    device: DeviceId
    seq: int
    prev: EventId
    hlc: int
    kind: int
    epoch: EpochId
    received_ms: int
    flags: int = 0


class StoredEvent(_Stored):
    """An event as the archive holds it: authentic, and allowed unless `void`.

    `header` and `signature` are the exact bytes; the fields after `body` are read
    from the header once, so that nobody has to decode it again.
    """

    __slots__ = ()

    # Bits of `flags`.
    VOID: Final = 32  # does not count: a cut takes it away, or its author had no right to it
    FORKED: Final = 1  # another event of this device has the same seq
    FUTURE: Final = 2  # its hlc was more than 5 min ahead when it came
    KEYLESS: Final = 4  # its epoch key is not here (yet)
    ERASED: Final = 8  # its body is absent: never came, or erased
    SHOWN: Final = 16  # its body was here, or at another machine, before it was erased


class Head(NamedTuple):
    """The newest event of one device in one room."""

    seq: int
    id: EventId
    hlc: int


@dataclass(frozen=True, slots=True)
class WeekRow:
    """Reconciliation items of one week: how many, and their sum mod 2^256 (32 bytes LE)."""

    week: int
    count: int
    sum: bytes


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One key of a room. `key` is None while only its announcement is known."""

    room: RoomId
    epoch: EpochId
    gen: int
    member_hash: bytes
    shareable: bool
    key: bytes | None
    event: EventId
    hlc: int


@dataclass(frozen=True, slots=True)
class PrekeyRow:
    """One of our own prekeys; `secret` is b"" once it has been deleted."""

    n: int
    public: bytes
    secret: bytes
    made_ms: int
    replaced_seen_ms: int | None


@dataclass(frozen=True, slots=True)
class RegisterRow:
    """The newest known register of one name, with its exact signed bytes."""

    device: DeviceId
    kind: int
    room: bytes
    author: bytes
    n: int
    value: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class TrustRow:
    """What the user decided about a person. `name` is the pinned one, "" if none.

    `verified` and `blocked` are the user's; `successor_of` is set where he accepted
    this account in place of another.
    """

    account: AccountId
    verified: bool
    blocked: bool
    name: str
    successor_of: AccountId | None
    first_seen_ms: int
    last_seen_ms: int


@dataclass(frozen=True, slots=True)
class AddressRow:
    """An address that once worked, or was given by hand (`static`)."""

    host: str
    port: int
    device: DeviceId | None
    static: bool
    last_ok_ms: int


@dataclass(frozen=True, slots=True)
class Touch:
    """One event that changes how `target` looks. `value` is text or emoji by kind.

    An edit repeats `reply_to`, `thread` and `urgent` of the message it replaces; its
    `remove` says that it took the place of what nobody had seen.
    """

    target: EventId
    id: EventId
    account: AccountId
    hlc: int
    kind: int
    value: str
    remove: bool
    mentions: tuple[AccountId, ...] = ()
    reply_to: EventId | None = None
    thread: EventId | None = None
    urgent: bool = False
    ack: int = 0  # as in wire.Message


class FileBrief(NamedTuple):
    """A file or folder that a message offers."""

    id: bytes
    name: str
    size: int


class MessageView(NamedTuple):
    """What a message looks like now: the row that history, search and listen show."""

    id: EventId
    room: RoomId
    account: AccountId
    device: DeviceId
    seq: int
    hlc: int
    written_ms: int
    received_ms: int
    text: str | None
    reply_to: EventId | None
    thread: EventId | None
    urgent: bool
    edited: bool
    deleted: bool
    pinned: bool
    hidden: bool  # never shown: deleted before anybody had it, or void
    mine: bool
    mentions: tuple[AccountId, ...]
    mentions_me: bool
    reactions: tuple[tuple[str, tuple[AccountId, ...]], ...]
    state: str
    flags: tuple[str, ...] = ()
    ack_by_ms: int | None = None  # asks everybody to take note: until then, 0: some time
    files: tuple[FileBrief, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One line of the durable event feed. `detail` holds small JSON-ready values."""

    cursor: int
    type: str
    ref: bytes
    at_ms: int
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room this profile knows. `peer` is the other account of a direct chat."""

    id: RoomId
    kind: str
    name: str
    peer: AccountId | None


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room as `room list` shows it; a direct chat too."""

    id: RoomId
    kind: str
    name: str
    topic: str
    rules: str
    peer: AccountId | None
    membership: str  # joined | open | left | removed
    members: int
    role: str  # mine: owner | moderator | member | ""
    admission: str  # invite | office | closed
    announce: bool
    history: str  # all | joined
    retention_days: int  # so long files offered from now on are served; 0: for ever
    epoch: EpochId | None  # the one that would be used now
    muted_until_ms: int | None = None  # None: not muted; -1: for good
    mentions_only: bool = False
    described: bool = True  # whether anything that it says of itself is here


@dataclass(frozen=True, slots=True)
class RoomMember:
    """A person in a room."""

    account: AccountId
    role: str
    devices: tuple[DeviceId, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an own message has come among the `of` people it is for."""

    delivered: tuple[AccountId, ...]
    read: tuple[AccountId, ...]
    of: int


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that is kept here for others, in whose room we are not."""

    id: EventId
    depositor: AccountId
    machine: DeviceId  # at which the depositor was
    room: RoomId
    author: DeviceId
    seq: int
    control: bool
    at_ms: int
    expires_ms: int
    header: bytes
    signature: bytes
    body: bytes | None
    place: int = 0  # where it stands among all that is held; given by the archive


@dataclass(frozen=True, slots=True)
class DeviceReceipt:
    """How far an own message has come on one machine of somebody it is for: queued, delivered, read."""

    device: DeviceId
    state: str


@dataclass(frozen=True, slots=True)
class Acks:
    """Who has taken note of a message that asks for it, and who has not."""

    by_ms: int | None
    acked: tuple[AccountId, ...]
    missing: tuple[AccountId, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to a room: created added joined left removed role settings name topic rules
    fork, or one of these that does not count: `voided` was not allowed, `overruled` came at the same time
    as another that stands."""

    id: EventId
    type: str
    at_ms: int
    device: DeviceId  # the machine that wrote it
    who: AccountId | None = None
    detail: str = ""  # what it was created as; the new role; what changed, as it is now; the machine
    before: str = ""  # what changed, as it was, where that is known
    act: str = ""  # what it was, of what does not count


@dataclass(frozen=True, slots=True)
class RoomText:
    """The newest name, topic or rules of a room, and the event that set it."""

    room: RoomId
    field: str
    value: str
    event: EventId
    hlc: int


@dataclass(frozen=True, slots=True)
class QueueRow:
    """An own message that not everybody it is for has yet."""

    id: EventId
    room: RoomId
    to: tuple[AccountId, ...]
    state: str
    since_ms: int
    preview: str
    attempts: int = 0
    held_by: tuple[DeviceId, ...] = ()
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A scheduled message: kept here until `at_ms`, then it becomes an event."""

    id: str
    room: RoomId
    text: str
    reply_to: EventId | None
    thread: EventId | None
    urgent: bool
    at_ms: int
    key: str
    made_ms: int
    sent_as: EventId | None = None
    cancelled: bool = False
    ack: int = 0  # as in wire.Message


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of one device that are known to exist and are not here."""

    device: DeviceId
    low: int
    high: int
    holders: tuple[DeviceId, ...] = ()
    earlier: bool = False
    """They may be from before we came in, where newcomers do not see that."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of history, oldest first."""

    messages: tuple[MessageView, ...]
    has_more: bool
    cursor: int
    gaps: tuple[Gap, ...] = field(default=())
    notices: tuple[Notice, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class PeerView:
    """One machine of one person, as `peers` shows it."""

    account: AccountId
    device: DeviceId
    name: str
    shown_name: str  # with `~3f2a` where the name is shared or confusable
    room: RoomId
    connected: bool
    address: str | None
    trust: str
    last_seen_ms: int | None
    me: bool = False
    presence: str = "offline"  # available away busy offline
    status_message: str = ""


@dataclass(frozen=True, slots=True)
class Availability:
    """How I am available, as `presence` shows it."""

    state: str  # as chosen: available away busy invisible
    shown: str  # of this machine, to those who see me: available away busy; offline if nobody does
    message: str
    until_ms: int | None
    hidden_from: tuple[AccountId, ...]
    hide_direct: bool
    hide_rooms: bool
    do_not_disturb: bool


# How a transfer stands in the archive. `active`: wanted, and not all here; whether anybody gives
# any of it just now is not kept.
OFFERED = "offered"
ACTIVE = "active"
WAITING = "waiting"  # so is shown what is active while nobody gives any of it
PAUSED = "paused"
DONE = "done"
DECLINED = "declined"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One offer, ours or somebody else's, and what became of it here."""

    id: bytes
    room: RoomId
    event: EventId  # the message it is in
    author: AccountId
    device: DeviceId  # the author's machine that offered it
    incoming: bool
    offer: bytes  # encoded
    name: str
    size: int
    files: int
    state: str  # of an outgoing one: offered, cancelled or failed; the rest follows from peers
    path: str  # of an outgoing one: what is sent; of an incoming one: where it landed, "" before
    to: str  # the folder asked for, "" for the inbox
    conflict: str
    root: bytes  # b"" while its author has not signed one
    error_kind: str
    error: str  # a sentence, "" if nothing is wrong
    expires_ms: int  # not served from then on; 0: never
    made_ms: int
    told: int  # the state that its author's machine has heard from us; -1: none
    served: bool = True  # of an incoming one that is done: others may have it from here


@dataclass(frozen=True, slots=True)
class TransferPeer:
    """What a machine said about an offer."""

    device: DeviceId
    account: AccountId
    state: int  # of wire.messages.files.FileState


@dataclass(frozen=True, slots=True)
class TransferView:
    """A transfer as people see it; what moves just now is added by who shows it."""

    row: TransferRow
    state: str  # offered|active|paused|done|declined|cancelled|failed
    have: tuple[
        AccountId, ...
    ]  # people on whose machines all of it is, the author of an outgoing one left out
    declined: tuple[AccountId, ...]
    flags: tuple[str, ...] = ()  # executable, double_extension, hidden, renamed: added by who shows it
