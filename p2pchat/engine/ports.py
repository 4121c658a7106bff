"""What the engine needs from outside, as Protocols.

Decides: the shape of the Ledger (the archive as the engine sees it) and of Entropy.
Does not know: SQL. All calls are synchronous and happen inside one open transaction
that the runner owns; `handle` is the only caller.

The Ledger is a bundle of families of about a dozen methods. Lists come back in the
order said here; nothing returned is mutable state of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import (
    AddressRow,
    Draft,
    EpochRow,
    Head,
    HeldEvent,
    MessageView,
    PrekeyRow,
    RegisterRow,
    RoomRow,
    RoomText,
    StoredEvent,
    Touch,
    TransferPeer,
    TransferRow,
    TrustRow,
    WeekRow,
)

Ranges = tuple[tuple[int, int], ...]
"""Closed ranges of seq, newest (greatest) first, disjoint and not adjacent."""


class Entropy(Protocol):
    """Randomness, handed in: `bytes(n)` fresh ones, and a float in [0, 1)."""

    def bytes(self, count: int) -> bytes: ...
    def random(self) -> float: ...


class EventLog(Protocol):
    """Authentic events of all rooms, and the pool of those that are not yet."""

    def add(self, event: StoredEvent) -> None:
        """Insert; the caller has made sure that the id is new."""

    def get(self, event: EventId) -> StoredEvent | None: ...
    def some(self, events: Sequence[EventId]) -> list[StoredEvent]:
        """Those of `events` that are in the log, in no order."""

    def missing(self, events: Sequence[EventId]) -> list[EventId]:
        """Those of `events` that are not in the log, in the given order."""

    def at(self, room: RoomId, device: DeviceId, seq: int) -> list[StoredEvent]:
        """All events of that place in a chain (two or more: a fork), by id."""

    def run(self, room: RoomId, device: DeviceId, low: int, high: int, limit: int) -> list[StoredEvent]:
        """Events with low <= seq <= high, ascending, at most `limit`."""

    def heads(self, room: RoomId) -> dict[DeviceId, Head]:
        """Greatest seq of each device; of a fork the smaller id. Ordered by device."""

    def control(self, room: RoomId) -> list[StoredEvent]:
        """All control events of a room in (hlc, id) order."""

    def put_body(self, event: EventId, body: bytes | None, flags: int) -> None:
        """Replace body and flags: erased, or arrived after all."""

    def put_flags(self, event: EventId, flags: int) -> None:
        """Replace the flags."""

    def forks(self, room: RoomId) -> dict[DeviceId, int]:
        """The lowest number of each chain at which there are two events."""

    def of_kind(self, room: RoomId, kind: int) -> list[StoredEvent]:
        """All events of a rare kind, in (hlc, id) order: NAME."""

    def hole(self, room: RoomId, device: DeviceId, seq: int) -> tuple[int, int] | None:
        """First and last number of those around `seq` of which no event is here, as far as is known
        without a look at the log; None if one may be here."""

    def keyless(self, room: RoomId, epoch: EpochId) -> list[StoredEvent]:
        """Events that wait for this epoch's key, in (device, seq) order."""

    def bodiless(
        self, room: RoomId, device: DeviceId, account: AccountId, start: int, limit: int
    ) -> list[EventId]:
        """Events of a chain, `account`'s, that count and whose body is absent without an edit or delete
        of his that names them: by seq from `start` on, then those before."""

    def waited_for(self, room: RoomId) -> list[EpochId]:
        """Epochs for whose key an event waits that is not void, in order."""

    def park(self, event: StoredEvent, limit: int) -> bool:
        """Keep an event that cannot be judged yet; False if its device has `limit` already, or
        more than its share of bytes."""

    def parked(self, room: RoomId, device: DeviceId, low: int, high: int) -> list[StoredEvent]:
        """Parked events of one device in one room with low <= seq <= high, by seq."""

    def waits(self, room: RoomId, device: DeviceId) -> bool:
        """Whether any event of one device is parked."""

    def parked_headers(self, room: RoomId) -> list[tuple[EventId, bytes]]:
        """Ids and headers of a room's parked events, by device and seq."""

    def parked_some(self, ids: Sequence[EventId]) -> list[StoredEvent]:
        """Those of `ids` that are parked, in no order."""

    def unpark(self, event: EventId) -> None: ...


class ItemStore(Protocol):
    """Reconciliation items, per (room, control?) and week of 604,800,000 ms.

    Item time is hlc >> 16; the sum is that of the ids as 32-byte little-endian numbers.
    """

    def weeks(self, room: RoomId, control: bool) -> list[WeekRow]:
        """Ascending by week."""

    def packed(self, room: RoomId, control: bool, week: int) -> bytes:
        """u64 big-endian ms and 32-byte id of each item, sorted by (ms, id); b"" if none.

        Not kept as a blob (a busy week would be rewritten with every message): read from
        a covering index of the event log, where every event is an item.
        """

    def said(self, room: RoomId, device: DeviceId, before_ms: int) -> Iterator[tuple[int, EventId]]:
        """Content items (ms, id) of one machine dated earlier than `before_ms`, the last of its chain
        first; read as they are taken, and no body is."""

    def add(self, room: RoomId, control: bool, items: Sequence[tuple[int, EventId]]) -> None:
        """Count new items (ms, id) in; the events are in the log already. Once a batch. None leaves:
        void ones are items too (docs/decisions/0008)."""


class RoomStore(Protocol):
    """Rooms, their keys and our own prekeys."""

    def put_room(self, row: RoomRow) -> None: ...
    def rooms(self) -> list[RoomRow]: ...
    def put_epoch(self, row: EpochRow) -> None:
        """Insert or replace by (room, epoch)."""

    def epochs(self, room: RoomId) -> list[EpochRow]: ...
    def put_text(self, text: RoomText) -> None:
        """Insert or replace by (room, field)."""

    def drop_texts(self, room: RoomId) -> None:
        """Forget what a room is called: it is made again from the log."""

    def texts(self) -> list[RoomText]: ...
    def put_awaited(self, room: RoomId, account: AccountId, seq: int) -> None:
        """Own messages from `seq` on are for `account` too; replaces what was said before."""

    def awaited(self, room: RoomId) -> dict[AccountId, int]:
        """Whom own messages are for, and from which number on."""

    def put_prekey(self, row: PrekeyRow) -> None:
        """Insert or replace by n."""

    def prekeys(self) -> list[PrekeyRow]:
        """Ascending by n."""


class PeopleStore(Protocol):
    """Statements, registers, trust and addresses."""

    def add_statement(self, id: bytes, account: AccountId, raw: bytes, signature: bytes) -> None:
        """Keep a statement as long as its account; a known id changes nothing."""

    def statements(self) -> list[tuple[AccountId, bytes, bytes]]:
        """(account, statement bytes, signature) in the order they came."""

    def put_register(self, row: RegisterRow) -> None:
        """Insert or replace by (device, kind, room, author)."""

    def registers(self, kind: int) -> list[RegisterRow]: ...
    def register(self, device: DeviceId, kind: int, room: bytes, author: bytes) -> RegisterRow | None: ...
    def put_trust(self, row: TrustRow) -> None: ...
    def trust(self) -> list[TrustRow]: ...
    def drop_trust(self, account: AccountId) -> None: ...
    def idle(self) -> list[AccountId]:
        """People pinned and no more: not verified, not blocked, no successor, and no event of their
        chat with us is here. Longest unseen first."""

    def drop_people(self, accounts: Sequence[AccountId], devices: Sequence[DeviceId]) -> None:
        """Forget people and their machines as if never met: statements, registers, trust, chats."""

    def named(self, devices: Sequence[DeviceId]) -> set[DeviceId]:
        """Those of `devices` of which an event is here or waits."""

    def put_address(self, row: AddressRow) -> None:
        """Insert or replace by (host, port)."""

    def addresses(self) -> list[AddressRow]: ...
    def drop_address(self, host: str, port: int) -> None: ...
    def put_value(self, key: str, value: bytes) -> None:
        """Small facts of this archive: own counters, own account, flags."""

    def value(self, key: str) -> bytes | None: ...
    def values(self, prefix: str) -> list[tuple[str, bytes]]:
        """All whose key begins so, by key."""

    def become(self, old: DeviceId, new: DeviceId) -> None:
        """This machine goes on as `new`: what it has and has read, that says so from now on; prekeys
        are gone, and how far messages of `old` have come is followed no more."""


class SeenStore(Protocol):
    """Who has seen what: ours of every author, and others' of us."""

    def put_seen(self, room: RoomId, device: DeviceId, author: DeviceId, kind: int, ranges: Ranges) -> None:
        """What `device` has (kind HAVE) or read (kind READ) of `author` in `room`.

        `device` is this machine for our own state. Not the signed register: the truth
        it will state.
        """

    def seen(self, room: RoomId) -> list[tuple[DeviceId, DeviceId, int, Ranges]]:
        """All of a room as (device, author, kind, ranges)."""


class ViewStore(Protocol):
    """What messages look like now; rebuildable from the event log."""

    def put_message(self, view: MessageView, *, bulk: bool = False) -> None:
        """Insert or replace by id. The event is in the log already; `bulk`: it is one of many."""

    def drop_message(self, event: EventId) -> None:
        """Forget the view of one message; no view changes nothing."""

    def message(self, event: EventId) -> MessageView | None: ...
    def find(self, prefix: str) -> list[EventId]:
        """Ids of messages that begin with these hex digits, at most 3."""

    def last_mine(self, room: RoomId) -> EventId | None:
        """The newest own message of a room that is not deleted or hidden."""

    def advance(
        self, room: RoomId, device: DeviceId, low: int, high: int, before: Sequence[str], state: str
    ) -> list[EventId]:
        """Set `state` where the state is one of `before`, seq in [low, high]; ids in seq order."""

    def put_touch(self, room: RoomId, touch: Touch) -> None:
        """Insert, as what an event of `room` does; a known id changes nothing."""

    def drop_touch(self, event: EventId) -> None:
        """Forget what one event does to another, its text included."""

    def touched(self, targets: Sequence[EventId]) -> set[EventId]:
        """Those of `targets`, which are not in the log yet, that something touches, in whatever room."""

    def touches(self, room: RoomId, target: EventId) -> list[Touch]:
        """Those by events of `room`, in (hlc, id) order, edits without what they say. Of each
        person's reactions the newest MAX_STANDING, and where there are many, of his other changes
        the newest that take away and the newest that do not."""

    def touch(self, event: EventId) -> Touch | None:
        """What one event does to another, whole."""

    def edits(self, room: RoomId, target: EventId, account: AccountId) -> list[EventId]:
        """All edits of one event of `room` by one person, in (hlc, id) order."""

    def waiting(self, room: RoomId | None) -> list[tuple[EventId, RoomId]]:
        """Own messages in state queued or held, oldest first."""

    def unread(self, room: RoomId, limit: int) -> list[EventId]:
        """Others' messages of a room not yet read, oldest first."""

    def mark_read(self, ids: Sequence[EventId]) -> list[tuple[DeviceId, int]]:
        """Mark as read; (device, seq) of those that were unread."""


class OutboxStore(Protocol):
    """Keys of scripted sends, drafts, and the feed."""

    def put_key(self, key: str, event: EventId) -> None: ...
    def by_key(self, key: str) -> EventId | None: ...
    def put_draft(self, draft: Draft) -> None:
        """Insert or replace by id."""

    def drafts(self) -> list[Draft]:
        """Those neither sent nor cancelled, by at_ms."""

    def draft(self, id_or_prefix: str) -> Draft | None: ...
    def feed(self, type: str, ref: bytes, at_ms: int, detail: tuple[tuple[str, str], ...] = ()) -> int:
        """Append a row to the feed; returns its cursor."""

    def prune_feed(self, before_ms: int) -> None: ...


class TransferStore(Protocol):
    """Offers, what became of them here, and what other machines say of ours."""

    def put_transfer(self, row: TransferRow, *, untold: bool) -> None:
        """Insert or replace by id. `untold`: the machine that offers it is to hear how it ended."""

    def transfer(self, offer: bytes) -> TransferRow | None: ...
    def find(self, prefix: str) -> list[bytes]:
        """Ids that begin with these hex digits, at most 3."""

    def of_event(self, event: EventId) -> list[TransferRow]:
        """What one message offers, by id."""

    def of_room(self, room: RoomId) -> list[TransferRow]:
        """What is offered in a room and not at its end, by id."""

    def fetching(self) -> list[TransferRow]:
        """Incoming ones that are wanted and not all here, oldest first."""

    def untold(self) -> list[TransferRow]:
        """Those of whose end the machine that offers them has not said that it heard."""

    def expired(self, now_ms: int) -> list[TransferRow]:
        """Those offered, active or paused whose time is over."""

    def put_peer(self, offer: bytes, peer: TransferPeer) -> bool:
        """What a machine says now of an offer; whether it has never said so before."""

    def peers(self, offer: bytes) -> list[TransferPeer]:
        """What machines said of an offer, by machine."""

    def put_root(self, offer: bytes, account: AccountId, root: bytes, pieces: int) -> None:
        """Keep a root until its offer comes; the first by an account stays."""

    def take_root(self, offer: bytes, account: AccountId) -> tuple[bytes, int] | None:
        """The root that came before its offer, and how many pieces; it is kept no longer."""


class HoldingStore(Protocol):
    """What is kept here for others, in whose rooms we are not."""

    def hold(self, event: HeldEvent, to: Sequence[tuple[AccountId, DeviceId]]) -> None:
        """Keep an event for these people and machines (b"": the person alone). One of the same
        depositor that is held already is held for these as well, and without its body if this comes
        without."""

    def held_already(self, depositor: AccountId, events: Sequence[EventId]) -> set[EventId]:
        """Those of `events` that this person has deposited."""

    def taken_since(self, depositor: AccountId, since_ms: int) -> int:
        """Bytes taken of one person since then."""

    def held_bytes(self, depositors: Sequence[AccountId] | None = None) -> int:
        """Bytes held, of these people or of all."""

    def tops(
        self, account: AccountId, device: DeviceId, limit: int
    ) -> list[tuple[RoomId, DeviceId, EventId]]:
        """Chains of which something is held that this machine of this person may have and has not
        said to have: room, author, newest event held. None that it wrote or deposited itself."""

    def claimed(
        self, account: AccountId, device: DeviceId, control: bool, after: int, limit: int
    ) -> list[HeldEvent]:
        """The same, event by event, those behind place `after`."""

    def concerns(self, account: AccountId, room: bytes, author: bytes) -> bool:
        """Whether anything of that chain is held for this person."""

    def had(self, account: AccountId, device: DeviceId, room: bytes, author: bytes, ranges: Ranges) -> None:
        """A machine has these numbers of a chain: remember it of what is held for its person."""

    def lacking(self, account: AccountId, room: bytes, author: bytes) -> list[DeviceId]:
        """Machines named for something of a chain held for this person that have not said to have it."""

    def drop_had(
        self, account: AccountId, room: bytes, author: bytes, ranges: Ranges, gone: Sequence[DeviceId]
    ) -> None:
        """Drop of these what every machine named for it has, those that are `gone` left out."""

    def withdraw(self, depositor: AccountId, room: bytes, author: bytes, ranges: Ranges) -> None:
        """Drop what this person deposited of a chain."""

    def drop_of(self, depositor: AccountId) -> None:
        """Drop all that somebody deposited."""

    def depositors(self) -> list[AccountId]: ...
    def expire(self, now_ms: int) -> int:
        """Drop what is held long enough; how many events."""

    def owe_word(self, author: bytes, room: bytes, device: DeviceId, at_ms: int) -> None:
        """The author is to be given the register of `device` about his chain."""

    def owed_words(self, author: bytes) -> list[tuple[bytes, DeviceId]]:
        """(room, device) of registers an author is to be given."""


class Ledger(Protocol):
    """The archive as the engine sees it."""

    @property
    def events(self) -> EventLog: ...
    @property
    def items(self) -> ItemStore: ...
    @property
    def rooms(self) -> RoomStore: ...
    @property
    def people(self) -> PeopleStore: ...
    @property
    def seen(self) -> SeenStore: ...
    @property
    def views(self) -> ViewStore: ...
    @property
    def outbox(self) -> OutboxStore: ...
    @property
    def transfers(self) -> TransferStore: ...
    @property
    def holdings(self) -> HoldingStore: ...
