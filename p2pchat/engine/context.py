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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from p2pchat.engine.accounts import Account
from p2pchat.engine.control_graph import Graph
from p2pchat.engine.inputs import Effect, Post, SetTimer
from p2pchat.engine.items import VectorItems, WeekCache
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
from p2pchat.engine.undo import Journal, UndoDict, UndoFields
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
class Live(UndoFields):
    """Volatile state. Values are frozen."""

    port: int = 0
    label: str = ""
    machine: str = ""  # what this machine calls itself among our own, unless it was named
    stopping: bool = False
    counter: int = 0
    strangers_dialled: int = 0
    taken_in: UndoDict[RoomId, tuple[int, int]] = field(default_factory=UndoDict)  # (day, bytes) of rooms
    taken_by: UndoDict[tuple[RoomId, AccountId], tuple[int, int]] = field(
        default_factory=UndoDict
    )  # of a member
    acts_by: UndoDict[tuple[RoomId, AccountId], tuple[int, int]] = field(default_factory=UndoDict)  # so many
    flooded: UndoDict[tuple[RoomId, DeviceId], int] = field(default_factory=UndoDict)  # the day we said so
    pace: UndoDict[tuple[RoomId, DeviceId], tuple[float, float]] = field(
        default_factory=UndoDict
    )  # (events to spare, since)
    taken: UndoDict[AccountId, tuple[int, int]] = field(default_factory=UndoDict)  # (day, bytes) of strangers
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()  # those they lie in
    unlisted: bool = False  # nobody is told where this machine is
    searching: bool = False  # see search
    to_probe: tuple[str, ...] = ()
    reach: UndoDict[DeviceId, SignedRegister] = field(
        default_factory=UndoDict
    )  # of machines linked, and ours
    introducers: UndoDict[DeviceId, Introducer] = field(default_factory=UndoDict)
    fruitless: UndoDict[tuple[str, int], float] = field(
        default_factory=UndoDict
    )  # introduced in vain; until when
    asked_strange: UndoDict[DeviceId, None] = field(default_factory=UndoDict)
    strange_asked: int = 0
    asked_at: float = 0.0  # whom others know
    consulted: UndoDict[DeviceId, tuple[float, float]] = field(
        default_factory=UndoDict
    )  # (questions to spare, since)
    relayed: UndoDict[int, Relayed] = field(default_factory=UndoDict)
    links: UndoDict[int, Link] = field(default_factory=UndoDict)
    by_device: UndoDict[DeviceId, int] = field(default_factory=UndoDict)
    comings: object = field(default_factory=object)  # another whenever `by_device` is: see crossing.use
    clocks_seen: tuple[object, float] = (None, 0.0)  # whose, by `comings`, and when; see node
    contested: UndoDict[int, int] = field(
        default_factory=UndoDict
    )  # older link -> newer, until a pong decides
    sights: UndoDict[str, Sight] = field(default_factory=UndoDict)
    targets: UndoDict[tuple[str, int], Target] = field(default_factory=UndoDict)
    dials: UndoDict[int, tuple[str, int]] = field(default_factory=UndoDict)
    dial_times: tuple[float, ...] = ()
    at_the_door: UndoDict[str, tuple[int, float]] = field(
        default_factory=UndoDict
    )  # by host: connections that have not proven whose they are, and since when the newest
    waiters: UndoDict[int, Waiter] = field(default_factory=UndoDict)
    sas: UndoDict[AccountId, Sas] = field(default_factory=UndoDict)
    recons: UndoDict[int, Recon] = field(default_factory=UndoDict)
    told_coming: UndoDict[RoomId, float] = field(
        default_factory=UndoDict
    )  # when it was said how much is to come
    put_off: UndoDict[tuple[int, RoomId], float] = field(default_factory=UndoDict)  # see wants.put_off
    asked_keys: UndoDict[tuple[int, RoomId], frozenset[EpochId]] = field(default_factory=UndoDict)  # ever
    asked_now: UndoDict[tuple[int, RoomId], frozenset[EpochId]] = field(
        default_factory=UndoDict
    )  # in this round
    key_pauses: UndoDict[RoomId, tuple[float, float]] = field(default_factory=UndoDict)  # see keys.ask_next
    bodies_sought: UndoDict[RoomId, tuple[int, float] | None] = field(
        default_factory=UndoDict
    )  # (machines asked, next pause) while any lacks; None: looked, and none did
    prepared: UndoDict[RoomId, Prepared] = field(default_factory=UndoDict)
    repaired: UndoDict[RoomId, int] = field(default_factory=UndoDict)  # when a repair was last completed, ms
    repairing: UndoDict[tuple[int, RoomId], bool] = field(
        default_factory=UndoDict
    )  # since members changed; False: due
    asked_past: UndoDict[tuple[int, RoomId], None] = field(default_factory=UndoDict)  # see sync.asks_past
    passed_on: UndoDict[tuple[int, RoomId], None] = field(
        default_factory=UndoDict
    )  # see gossip.spoken_by_former
    heard_of: UndoDict[RoomId, RoomRow] = field(
        default_factory=UndoDict
    )  # rooms whose `create` is not here yet
    heard_by: UndoDict[RoomId, int] = field(default_factory=UndoDict)  # on which link of each, oldest first
    salting: UndoDict[DeviceId, tuple[int, float]] = field(
        default_factory=UndoDict
    )  # items hashed for it, since
    receipt_at: UndoDict[tuple[RoomId, DeviceId], float] = field(default_factory=UndoDict)
    receipt_due: UndoDict[tuple[RoomId, DeviceId], int | None] = field(default_factory=UndoDict)
    last_seen: UndoDict[DeviceId, int] = field(default_factory=UndoDict)
    views: UndoDict[RoomId, View] = field(default_factory=UndoDict)  # of crowded rooms, see gossip
    sought: UndoDict[tuple[RoomId, EventId], Sought] = field(default_factory=UndoDict)
    file_words: UndoDict[DeviceId, tuple[float, float]] = field(
        default_factory=UndoDict
    )  # of a machine's states of files: (how many more it may say, since)
    sought_of: UndoDict[DeviceId, int] = field(
        default_factory=UndoDict
    )  # how many of these it announced first
    own_dials: UndoDict[bytes, float] = field(
        default_factory=UndoDict
    )  # handshakes of links to ourselves, since
    introduced: UndoDict[tuple[int, AccountId], None] = field(
        default_factory=UndoDict
    )  # on links to own machines: of whom they were told, see own
    waits: UndoDict[RoomId, float] = field(
        default_factory=UndoDict
    )  # something waits there: when to see to it
    entrusted: UndoDict[tuple[int, RoomId], Entrusted] = field(default_factory=UndoDict)
    took_nothing: UndoDict[tuple[DeviceId, RoomId], tuple[float, str]] = field(
        default_factory=UndoDict
    )  # asked in vain: when, and why
    named: UndoDict[tuple[DeviceId, RoomId], frozenset[AccountId]] = field(
        default_factory=UndoDict
    )  # to a holder
    held_of: UndoDict[AccountId, tuple[int, int]] = field(
        default_factory=UndoDict
    )  # (day, bytes) taken to hold
    held_strange: tuple[float, int] = (-math.inf, 0)  # when what is held of strangers was added up; bytes
    claims: UndoDict[int, Claiming] = field(default_factory=UndoDict)  # by link
    not_had: UndoDict[tuple[int, RoomId, DeviceId], tuple[int, ...]] = field(
        default_factory=UndoDict
    )  # handed over on a link and not had yet, see handed
    presence: PresenceState = field(default_factory=PresenceState)
    timers: UndoDict[str, float] = field(default_factory=UndoDict)
    shift_ms: int = 0  # correction of our wall clock, see clock.shift

    def __post_init__(self) -> None:
        journal = Journal()
        for state in (self, self.presence):
            state.join(journal, [one.name for one in fields(state)])


class Linked(NamedTuple):
    """Links to machines of a room's members, and by whose coming and for which members that holds."""

    comings: object
    accounts: tuple[AccountId, ...]
    links: tuple[Link, ...]
    by_device: Mapping[DeviceId, int]


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
    linked: Linked | None = None  # members' machines that are here, as long as nobody comes, goes or enters


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
    nobody: set[str] = field(default_factory=set)  # see names.note_nobody
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
        self.nobody.clear()


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
