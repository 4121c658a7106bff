"""What a node holds between inputs, sorted by how it survives a rollback.

Decides: which state is volatile (`Live`: links, waiters, dials), which is a cache of
the ledger and may be dropped at any time (`Cache`), and which belongs to the open
transaction (`Batch`). Does not know: what any of it is used for.

A rollback undoes what a batch has changed in `Live`, forgets `Cache` and throws `Batch` away. That is
only right because everything in the dictionaries of `Live` is frozen and each stays the one it is:
replace a value, never change it, and let a dictionary `become` another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, NamedTuple

from p2pchat.engine.accounts import Account
from p2pchat.engine.control_graph import Graph
from p2pchat.engine.inputs import Effect, Post, SetTimer
from p2pchat.engine.items import VectorItems, WeekCache
from p2pchat.engine.kept_dict import Journal, KeptDict
from p2pchat.engine.live_records import Claiming as Claiming
from p2pchat.engine.live_records import Entrusted as Entrusted
from p2pchat.engine.live_records import Introducer as Introducer
from p2pchat.engine.live_records import Link as Link
from p2pchat.engine.live_records import Me as Me
from p2pchat.engine.live_records import Prepared as Prepared
from p2pchat.engine.live_records import Recon as Recon
from p2pchat.engine.live_records import Relayed as Relayed
from p2pchat.engine.live_records import Sas as Sas
from p2pchat.engine.live_records import Sight as Sight
from p2pchat.engine.live_records import Sought as Sought
from p2pchat.engine.live_records import Target as Target
from p2pchat.engine.live_records import View as View
from p2pchat.engine.live_records import ViewSizes as ViewSizes
from p2pchat.engine.live_records import Waiter as Waiter
from p2pchat.engine.ports import Entropy, Ledger
from p2pchat.engine.presence_state import PresenceState
from p2pchat.engine.ranges import Ranges
from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import (
    AddressRow,
    EpochRow,
    Head,
    Now,
    PrekeyRow,
    RegisterRow,
    RoomRow,
    RoomText,
    StoredEvent,
    TransferRow,
    TrustRow,
)
from p2pchat.wire.messages.devices import OwnEntry
from p2pchat.wire.messages.events import Header
from p2pchat.wire.messages.presence import Chosen
from p2pchat.wire.messages.registers import SignedRegister


@dataclass(slots=True)
class Live:
    """Volatile state. Values are frozen."""

    port: int = 0
    label: str = ""
    machine: str = ""  # what this machine calls itself among our own, unless it was named
    stopping: bool = False
    counter: int = 0
    strangers_dialled: int = 0
    taken_in: KeptDict[RoomId, tuple[int, int]] = field(default_factory=KeptDict)  # (day, bytes) of rooms
    taken_by: KeptDict[tuple[RoomId, AccountId], tuple[int, int]] = field(
        default_factory=KeptDict
    )  # of a member
    acts_by: KeptDict[tuple[RoomId, AccountId], tuple[int, int]] = field(default_factory=KeptDict)  # so many
    flooded: KeptDict[tuple[RoomId, DeviceId], int] = field(default_factory=KeptDict)  # the day we said so
    pace: KeptDict[tuple[RoomId, DeviceId], tuple[float, float]] = field(
        default_factory=KeptDict
    )  # (events to spare, since)
    taken: KeptDict[AccountId, tuple[int, int]] = field(default_factory=KeptDict)  # (day, bytes) of strangers
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()  # those they lie in
    unlisted: bool = False  # nobody is told where this machine is
    searching: bool = False  # see search
    to_probe: tuple[str, ...] = ()
    reach: KeptDict[DeviceId, SignedRegister] = field(
        default_factory=KeptDict
    )  # of machines linked, and ours
    introducers: KeptDict[DeviceId, Introducer] = field(default_factory=KeptDict)
    fruitless: KeptDict[tuple[str, int], float] = field(
        default_factory=KeptDict
    )  # introduced in vain; until when
    asked_strange: KeptDict[DeviceId, None] = field(default_factory=KeptDict)
    strange_asked: int = 0
    asked_at: float = 0.0  # whom others know
    consulted: KeptDict[DeviceId, tuple[float, float]] = field(
        default_factory=KeptDict
    )  # (questions to spare, since)
    relayed: KeptDict[int, Relayed] = field(default_factory=KeptDict)
    links: KeptDict[int, Link] = field(default_factory=KeptDict)
    by_device: KeptDict[DeviceId, int] = field(default_factory=KeptDict)
    contested: KeptDict[int, int] = field(
        default_factory=KeptDict
    )  # older link -> newer, until a pong decides
    sights: KeptDict[str, Sight] = field(default_factory=KeptDict)
    targets: KeptDict[tuple[str, int], Target] = field(default_factory=KeptDict)
    dials: KeptDict[int, tuple[str, int]] = field(default_factory=KeptDict)
    dial_times: tuple[float, ...] = ()
    at_the_door: KeptDict[str, tuple[int, float]] = field(
        default_factory=KeptDict
    )  # by host: connections that have not proven whose they are, and since when the newest
    waiters: KeptDict[int, Waiter] = field(default_factory=KeptDict)
    sas: KeptDict[AccountId, Sas] = field(default_factory=KeptDict)
    recons: KeptDict[int, Recon] = field(default_factory=KeptDict)
    asked_keys: KeptDict[tuple[int, RoomId], frozenset[EpochId]] = field(default_factory=KeptDict)  # ever
    asked_now: KeptDict[tuple[int, RoomId], frozenset[EpochId]] = field(
        default_factory=KeptDict
    )  # in this round
    key_pauses: KeptDict[RoomId, tuple[float, float]] = field(default_factory=KeptDict)  # see keys.ask_next
    bodies_sought: KeptDict[RoomId, tuple[int, float] | None] = field(
        default_factory=KeptDict
    )  # (machines asked, next pause) while any lacks; None: looked, and none did
    prepared: KeptDict[RoomId, Prepared] = field(default_factory=KeptDict)
    repaired: KeptDict[RoomId, int] = field(default_factory=KeptDict)  # when a repair was last completed, ms
    repairing: KeptDict[tuple[int, RoomId], bool] = field(
        default_factory=KeptDict
    )  # since members changed; False: due
    asked_past: KeptDict[tuple[int, RoomId], None] = field(default_factory=KeptDict)  # see sync.asks_past
    passed_on: KeptDict[tuple[int, RoomId], None] = field(
        default_factory=KeptDict
    )  # see gossip.spoken_by_former
    heard_of: KeptDict[RoomId, RoomRow] = field(
        default_factory=KeptDict
    )  # rooms whose `create` is not here yet
    heard_by: KeptDict[RoomId, int] = field(default_factory=KeptDict)  # on which link of each, oldest first
    salting: KeptDict[DeviceId, tuple[int, float]] = field(
        default_factory=KeptDict
    )  # items hashed for it, since
    receipt_at: KeptDict[tuple[RoomId, DeviceId], float] = field(default_factory=KeptDict)
    receipt_due: KeptDict[tuple[RoomId, DeviceId], int | None] = field(default_factory=KeptDict)
    last_seen: KeptDict[DeviceId, int] = field(default_factory=KeptDict)
    views: KeptDict[RoomId, View] = field(default_factory=KeptDict)  # of crowded rooms, see gossip
    sought: KeptDict[tuple[RoomId, EventId], Sought] = field(default_factory=KeptDict)
    file_words: KeptDict[DeviceId, tuple[float, float]] = field(
        default_factory=KeptDict
    )  # of a machine's states of files: (how many more it may say, since)
    sought_of: KeptDict[DeviceId, int] = field(
        default_factory=KeptDict
    )  # how many of these it announced first
    own_dials: KeptDict[bytes, float] = field(
        default_factory=KeptDict
    )  # handshakes of links to ourselves, since
    introduced: KeptDict[tuple[int, AccountId], None] = field(
        default_factory=KeptDict
    )  # on links to own machines: of whom they were told, see own
    waits: KeptDict[RoomId, float] = field(
        default_factory=KeptDict
    )  # something waits there: when to see to it
    entrusted: KeptDict[tuple[int, RoomId], Entrusted] = field(default_factory=KeptDict)
    took_nothing: KeptDict[tuple[DeviceId, RoomId], tuple[float, str]] = field(
        default_factory=KeptDict
    )  # asked in vain: when, and why
    named: KeptDict[tuple[DeviceId, RoomId], frozenset[AccountId]] = field(
        default_factory=KeptDict
    )  # to a holder
    held_of: KeptDict[AccountId, tuple[int, int]] = field(
        default_factory=KeptDict
    )  # (day, bytes) taken to hold
    held_strange: tuple[float, int] = (-math.inf, 0)  # when what is held of strangers was added up; bytes
    claims: KeptDict[int, Claiming] = field(default_factory=KeptDict)  # by link
    not_had: KeptDict[tuple[int, RoomId, DeviceId], tuple[int, ...]] = field(
        default_factory=KeptDict
    )  # handed over on a link and not had yet, see handed
    presence: PresenceState = field(default_factory=PresenceState)
    timers: KeptDict[str, float] = field(default_factory=KeptDict)
    shift_ms: int = 0  # correction of our wall clock, see clock.shift

    journal: Journal = field(default_factory=Journal, repr=False, compare=False)

    def __post_init__(self) -> None:
        for state in (self, self.presence):
            for one in fields(state):
                value = getattr(state, one.name)
                if isinstance(value, KeptDict):
                    value.journal = self.journal

    def snapshot(self) -> Before:
        """A batch begins: what `restore` goes back to. The one before is no longer of use."""
        self.journal.begin()
        return Before(_plain_of_live(self), _plain_of_presence(self.presence))

    def restore(self, before: Before) -> None:
        """Undo whatever was changed since that snapshot, the last that was taken."""
        self.journal.undo()
        for state, names, values in (
            (self, _PLAIN_OF_LIVE, before.live),
            (self.presence, _PLAIN_OF_PRESENCE, before.presence),
        ):
            for name, value in zip(names, values, strict=True):
                setattr(state, name, value)


class Before(NamedTuple):
    """All of `Live` that is not in a dictionary, when a batch began."""

    live: tuple[Any, ...]
    presence: tuple[Any, ...]


def _plain(kind: type, *apart: str) -> tuple[str, ...]:
    return tuple(
        one.name for one in fields(kind) if one.default_factory is not KeptDict and one.name not in apart
    )


_PLAIN_OF_LIVE = _plain(Live, "presence", "journal")
_PLAIN_OF_PRESENCE = _plain(PresenceState)
_plain_of_live = attrgetter(*_PLAIN_OF_LIVE)
_plain_of_presence = attrgetter(*_PLAIN_OF_PRESENCE)


@dataclass(slots=True)
class RoomCache:
    """One room, as far as the ledger says."""

    row: RoomRow
    graph: Graph
    accounts: tuple[AccountId, ...]  # the graph's members, sorted
    heads: dict[DeviceId, Head]
    epochs: dict[EpochId, EpochRow]
    have: dict[DeviceId, Ranges]  # ours, per author
    read: dict[DeviceId, Ranges]
    their_have: dict[tuple[DeviceId, DeviceId], Ranges]  # (who, author)
    their_read: dict[tuple[DeviceId, DeviceId], Ranges]
    custody: dict[tuple[DeviceId, DeviceId], Ranges] = field(
        default_factory=dict
    )  # who keeps what of whose chain for those who lack it: (holder, author), see kept
    awaited: dict[AccountId, int] = field(
        default_factory=dict
    )  # own messages from that number on are for him
    forks: dict[DeviceId, int] = field(default_factory=dict)  # the lowest forked number of a chain
    newest: dict[DeviceId, tuple[int, EventId]] = field(default_factory=dict)  # taken last, see _twins
    late: list[StoredEvent] | None = None  # see rooms.late; None: to be looked up
    late_before: int = 0  # the hlc of the newest add that `late` was looked up for
    reached: dict[int, Ranges] = field(default_factory=dict)  # own numbers everybody has, has read
    sending: EpochRow | None = None  # the epoch `keys.current` chose, until keys or members change
    pool_seen: bool = False  # whether all that waits to be judged has been looked at
    links_back: tuple[tuple[bytes, ...], int] | None = None  # see log._links_back


class SaltKey(NamedTuple):
    """Which set of a room is meant."""

    control: bool
    week: int
    since_ms: int
    salt: bytes


class Salted(NamedTuple):
    """Items under a salt, and the way back to their real ids."""

    key: SaltKey
    items: VectorItems
    real: dict[bytes, bytes]


@dataclass(slots=True)
class Quota:
    """Bytes kept of people who are not verified: on `day` (since 1970, UTC), and ever."""

    day: int
    today: int
    total: int
    told: bool


@dataclass(slots=True)
class Open:
    """Transfers that others are to be asked for, or told of."""

    fetching: dict[bytes, TransferRow]
    untold: dict[DeviceId, dict[bytes, TransferRow]]  # by the machine that is to hear how it ended


@dataclass(slots=True)
class Cache:
    """What has been read from the ledger. Dropped on any rollback."""

    accounts: dict[AccountId, Account] = field(default_factory=dict)
    owner: dict[DeviceId, AccountId] = field(default_factory=dict)
    prekeys: dict[DeviceId, RegisterRow] = field(default_factory=dict)
    profiles: dict[AccountId, RegisterRow] = field(default_factory=dict)
    presence: RegisterRow | None = None  # of our account, the one that counts,
    chosen: Chosen | None = None  # and what it says
    trust: dict[AccountId, TrustRow] = field(default_factory=dict)
    addresses: dict[tuple[str, int], AddressRow] = field(default_factory=dict)
    own_prekeys: dict[int, PrekeyRow] = field(default_factory=dict)
    rooms: dict[RoomId, RoomCache] = field(default_factory=dict)
    known_rooms: dict[RoomId, RoomRow] = field(default_factory=dict)
    texts: dict[tuple[RoomId, str], RoomText] = field(default_factory=dict)
    by_name: dict[str, list[AccountId]] | None = None  # folded name -> people; None: to be made
    by_look: dict[str, list[AccountId]] | None = None  # skeleton -> people
    meant: dict[str, tuple[AccountId, str, str]] = field(default_factory=dict)  # see names.addressee
    read_receipts: bool = False
    file_auto_max: int = 0
    transfers: Open | None = None  # None: to be looked up
    told: dict[tuple[int, AccountId], int] = field(
        default_factory=dict
    )  # statements given on a link, so many; a large room makes many of these
    parked: dict[tuple[RoomId, DeviceId], bool] = field(default_factory=dict)  # asked: does any wait?
    author: dict[EventId, AccountId] = field(default_factory=dict)  # of acts looked up before
    quota: Quota | None = None
    hearsay: tuple[int, int] = (0, 0)  # people never met, and statements, when they were last sorted out
    own: dict[str, OwnEntry] | None = None  # see own; None: to be looked up
    salted: dict[tuple[int, RoomId, bool], Salted] = field(default_factory=dict)  # see salts
    weeks: WeekCache = field(default_factory=WeekCache)

    def names_changed(self) -> None:
        """Somebody came, went or is called otherwise: the indexes of names are stale."""
        self.by_name = self.by_look = None
        self.meant.clear()


@dataclass(slots=True)
class Tail:
    """The newest own event of a chain, not yet signed; the next one may cover it."""

    header: Header
    raw: bytes
    body: bytes
    unsigned: int  # how many unsigned events lie directly below
    unsigned_bytes: int
    finish: Callable[[Context, StoredEvent], None]


@dataclass(slots=True)
class Batch:
    """What the open transaction still has to write before it is committed."""

    tails: dict[RoomId, Tail] = field(default_factory=dict)
    fresh: dict[RoomId, list[StoredEvent]] = field(default_factory=dict)
    items: dict[tuple[RoomId, bool], list[tuple[int, EventId]]] = field(default_factory=dict)
    have: dict[tuple[RoomId, DeviceId], None] = field(default_factory=dict)
    receipts: dict[tuple[RoomId, DeviceId], int | None] = field(
        default_factory=dict
    )  # of which chains we have more now, and the link that brought it
    keyed: dict[str, tuple[Post, ...]] = field(default_factory=dict)  # sends under a key, not yet done
    entered: dict[RoomId, None] = field(default_factory=dict)  # rooms we came into
    moved: dict[RoomId, None] = field(default_factory=dict)  # rooms whose members changed
    untouched: set[EventId] = field(default_factory=set)  # messages that nothing touches, looked up before
    bulk: bool = False  # it takes in backfill
    onward: dict[RoomId, dict[EventId, frozenset[DeviceId]]] = field(
        default_factory=dict
    )  # to be passed on, and who has it
    handed: dict[tuple[int, RoomId, DeviceId], None] = field(
        default_factory=dict
    )  # chains of which a holder gave us something: (link, room, author)
    unjudged: dict[tuple[int, RoomId], None] = field(default_factory=dict)  # acts are lacking: (link, room)
    counted: bool = False  # the quota has moved
    wrote: bool = False
    fed: bool = False


@dataclass(slots=True)
class Context:
    """Everything a sibling of the engine may look at or change while one input is handled."""

    me: Me
    ledger: Ledger
    entropy: Entropy
    now: Now
    live: Live
    cache: Cache
    batch: Batch
    out: list[Effect] = field(default_factory=list)
    shift_ms: int = 0  # how far `now` is from the system clock
    sizes: ViewSizes = field(default_factory=ViewSizes)

    def number(self) -> int:
        """A number not used before in this run: for dials and sessions."""
        self.live.counter += 1
        return self.live.counter

    def timer(self, name: str, at: float) -> None:
        """Ask for TimerFired(name) at `at`; an earlier one of that name stays if sooner."""
        standing = self.live.timers.get(name)
        if standing is None or at < standing:
            self.live.timers[name] = at
            self.out.append(SetTimer(name, at))

    def drop_timer(self, name: str) -> None:
        """That deadline is of no use any more."""
        if self.live.timers.pop(name, None) is not None:
            self.out.append(SetTimer(name, None))

    def feed(self, type: str, ref: bytes, detail: tuple[tuple[str, str], ...] = ()) -> None:
        """Write one line of the durable feed."""
        self.ledger.outbox.feed(type, ref, self.now.wall_ms, detail)
        self.batch.wrote = self.batch.fed = True
