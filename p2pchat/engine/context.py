"""What a node holds between inputs, sorted by how it survives a rollback.

Decides: which state is volatile (`Live`: links, waiters, dials), which is a cache of
the ledger and may be dropped at any time (`Cache`), and which belongs to the open
transaction (`Batch`). Does not know: what any of it is used for.

A rollback restores `Live` from a shallow copy taken when the batch began, forgets
`Cache` and throws `Batch` away. That is only right because everything in the
dictionaries of `Live` is frozen: replace a value, never change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from p2pchat.engine.accounts import Account
from p2pchat.engine.control_graph import Graph
from p2pchat.engine.inputs import Effect, Post, SetTimer
from p2pchat.engine.items import VectorItems, WeekCache
from p2pchat.engine.ports import Entropy, Ledger
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
from p2pchat.wire.messages.events import Header
from p2pchat.wire.messages.registers import SignedRegister
from p2pchat.wire.messages.statements import SignedStatement


@dataclass(frozen=True, slots=True)
class Me:
    """This machine: its account, its keys and the statements that prove them."""

    account: AccountId
    device: DeviceId
    signing_seed: bytes = field(repr=False)  # never a secret in a traceback
    signing_key: bytes = field(repr=False)  # 64 bytes, from ed25519_keypair
    noise_public: bytes
    statements: tuple[SignedStatement, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """An authenticated connection."""

    link: int
    device: DeviceId
    account: AccountId
    initiator: bool
    host: str
    port: int
    handshake_hash: bytes
    since: float
    clock_offset_ms: int


@dataclass(frozen=True, slots=True)
class Sight:
    """Where somebody announced himself. `device` once a handshake told who it is."""

    label: str
    addresses: tuple[str, ...]
    port: int
    at: float
    device: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """An address worth dialling: why, how often it failed, and when it is due again."""

    host: str
    port: int
    label: str  # of the sighting, or ""
    device: DeviceId | None
    failures: int
    due: float
    since: float  # when it was last good or first heard of
    dialling: int | None = None
    began: float = 0.0  # when it was last dialled
    by: DeviceId | None = None  # who introduced it; `device` is then what he says


class Introducer(NamedTuple):
    """What became of one machine's introductions, and when it was last answered; see exchange."""

    asked: bool = False  # we wait for introductions
    misled: int = 0
    deaf_until: float = 0.0
    answered: float = float("-inf")


class Relayed(NamedTuple):
    """A question of diagnosis that was passed on; see consult."""

    asker: DeviceId
    number: int
    device: DeviceId
    until: float


@dataclass(frozen=True, slots=True)
class Waiter:
    """A command whose answer waits for something."""

    request: int
    kind: str  # post | dial | sas
    want: str = ""
    event: EventId | None = None
    room: RoomId | None = None
    account: AccountId | None = None
    dials: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sas:
    """A live comparison of digits with one person."""

    link: int
    nonce: bytes
    started: bool  # our user asked for it
    theirs: bytes  # their commitment, b"" until it came
    their_nonce: bytes
    revealed: bool
    digits: str
    until: float


@dataclass(frozen=True, slots=True)
class Recon:
    """One reconciliation under way that this side asked for."""

    link: int
    room: RoomId
    control: bool
    salt: bytes = b""
    week: int = 0
    need: tuple[bytes, ...] = ()  # still to be wanted
    lacking: int = 0  # how many the other side lacks
    rounds: int = 0
    more: tuple[bytes, ...] = ()  # some of what it lacks, where there is more than one run may find
    wanting: int = 0  # wants that are out, and not all of it given


@dataclass(frozen=True, slots=True)
class Prepared:
    """A key not yet announced, sealed beforehand for machines of a large room (keys.prepare)."""

    key: bytes = field(repr=False)
    sealed: Mapping[tuple[DeviceId, int], bytes] = field(repr=False)  # by machine and its prekey's number


@dataclass(frozen=True, slots=True)
class ViewSizes:
    """When a room is crowded, and how large a view of it is. Only tests hand in others."""

    above: int = 100
    """Live machines up to which everybody is pushed to; a view is given up below nine tenths of it."""
    active: int = 8
    """Neighbours one looks for: of a random graph of 8 all but 0.4 % are reached after half have died."""
    most: int = 12
    """Neighbours one takes, so that who comes last finds some."""
    passive: int = 30
    """Candidates for the place of a neighbour who is gone."""


@dataclass(frozen=True, slots=True)
class View:
    """Neighbours of ours in a crowded room, and who takes the place of one that is gone."""

    active: tuple[tuple[DeviceId, bool], ...]  # and whether events are pushed to him, or announced only
    passive: tuple[DeviceId, ...]
    drawn: float  # when candidates were last drawn


@dataclass(frozen=True, slots=True)
class Sought:
    """An event that was announced and is not here."""

    share: DeviceId  # who announced it first: it takes of what is remembered for him
    told: tuple[DeviceId, ...]  # who has it; those asked come first
    due: float  # when the next of them is asked
    asked: int = 0
    near: tuple[DeviceId, float] | None = None  # the first neighbour who told of it, and when


@dataclass(slots=True)
class Live:
    """Volatile state. Values are frozen."""

    port: int = 0
    label: str = ""
    stopping: bool = False
    counter: int = 0
    strangers_dialled: int = 0
    taken_in: dict[RoomId, tuple[int, int]] = field(default_factory=dict)  # (day, bytes) of rooms
    taken_by: dict[tuple[RoomId, AccountId], tuple[int, int]] = field(default_factory=dict)  # of a member
    acts_by: dict[tuple[RoomId, AccountId], tuple[int, int]] = field(default_factory=dict)  # so many
    flooded: dict[tuple[RoomId, DeviceId], int] = field(default_factory=dict)  # the day we said so
    pace: dict[tuple[RoomId, DeviceId], tuple[float, float]] = field(
        default_factory=dict
    )  # (events to spare, since)
    taken: dict[AccountId, tuple[int, int]] = field(default_factory=dict)  # (day, bytes) of strangers
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()  # those they lie in
    unlisted: bool = False  # nobody is told where this machine is
    searching: bool = False  # see search
    to_probe: tuple[str, ...] = ()
    reach: dict[DeviceId, SignedRegister] = field(default_factory=dict)  # of machines linked, and ours
    introducers: dict[DeviceId, Introducer] = field(default_factory=dict)
    fruitless: dict[tuple[str, int], float] = field(default_factory=dict)  # introduced in vain; until when
    asked_strange: dict[DeviceId, None] = field(default_factory=dict)
    strange_asked: int = 0
    asked_at: float = 0.0  # whom others know
    consulted: dict[DeviceId, tuple[float, float]] = field(
        default_factory=dict
    )  # (questions to spare, since)
    relayed: dict[int, Relayed] = field(default_factory=dict)
    links: dict[int, Link] = field(default_factory=dict)
    by_device: dict[DeviceId, int] = field(default_factory=dict)
    contested: dict[int, int] = field(default_factory=dict)  # older link -> newer, until a pong decides
    sights: dict[str, Sight] = field(default_factory=dict)
    targets: dict[tuple[str, int], Target] = field(default_factory=dict)
    dials: dict[int, tuple[str, int]] = field(default_factory=dict)
    dial_times: tuple[float, ...] = ()
    waiters: dict[int, Waiter] = field(default_factory=dict)
    sas: dict[AccountId, Sas] = field(default_factory=dict)
    recons: dict[int, Recon] = field(default_factory=dict)
    asked_keys: dict[tuple[int, RoomId], frozenset[EpochId]] = field(default_factory=dict)  # ever
    asked_now: dict[tuple[int, RoomId], frozenset[EpochId]] = field(default_factory=dict)  # in this round
    key_pauses: dict[RoomId, tuple[float, float]] = field(default_factory=dict)  # see keys.ask_next
    bodies_sought: dict[RoomId, tuple[int, float] | None] = field(
        default_factory=dict
    )  # (machines asked, next pause) while any lacks; None: looked, and none did
    prepared: dict[RoomId, Prepared] = field(default_factory=dict)
    repaired: dict[RoomId, int] = field(default_factory=dict)  # when a repair was last completed, ms
    repairing: dict[tuple[int, RoomId], bool] = field(
        default_factory=dict
    )  # since members changed; False: due
    asked_past: dict[tuple[int, RoomId], None] = field(default_factory=dict)  # see sync.asks_past
    heard_of: dict[RoomId, RoomRow] = field(default_factory=dict)  # rooms whose `create` is not here yet
    heard_by: dict[RoomId, int] = field(default_factory=dict)  # on which link of each, oldest first
    salting: dict[DeviceId, tuple[int, float]] = field(default_factory=dict)  # items hashed for it, since
    receipt_at: dict[tuple[RoomId, DeviceId], float] = field(default_factory=dict)
    receipt_due: dict[tuple[RoomId, DeviceId], None] = field(default_factory=dict)
    last_seen: dict[DeviceId, int] = field(default_factory=dict)
    views: dict[RoomId, View] = field(default_factory=dict)  # of crowded rooms, see gossip
    sought: dict[tuple[RoomId, EventId], Sought] = field(default_factory=dict)
    file_words: dict[DeviceId, tuple[float, float]] = field(
        default_factory=dict
    )  # of a machine's states of files: (how many more it may say, since)
    sought_of: dict[DeviceId, int] = field(default_factory=dict)  # how many of these it announced first
    timers: dict[str, float] = field(default_factory=dict)
    shift_ms: int = 0  # correction of our wall clock, see clock.shift

    def snapshot(self) -> Live:
        """A copy that later changes to this one do not reach."""
        twin = Live.__new__(
            Live
        )  # once a batch, and field by field: a loop takes two and a half times as long
        twin.port = self.port
        twin.label = self.label
        twin.stopping = self.stopping
        twin.counter = self.counter
        twin.strangers_dialled = self.strangers_dialled
        twin.taken_in = self.taken_in.copy()
        twin.taken_by = self.taken_by.copy()
        twin.acts_by = self.acts_by.copy()
        twin.flooded = self.flooded.copy()
        twin.pace = self.pace.copy()
        twin.taken = self.taken.copy()
        twin.addresses = self.addresses
        twin.networks = self.networks
        twin.unlisted = self.unlisted
        twin.searching = self.searching
        twin.to_probe = self.to_probe
        twin.reach = self.reach.copy()
        twin.introducers = self.introducers.copy()
        twin.fruitless = self.fruitless.copy()
        twin.asked_strange = self.asked_strange.copy()
        twin.strange_asked = self.strange_asked
        twin.asked_at = self.asked_at
        twin.consulted = self.consulted.copy()
        twin.relayed = self.relayed.copy()
        twin.links = self.links.copy()
        twin.by_device = self.by_device.copy()
        twin.contested = self.contested.copy()
        twin.sights = self.sights.copy()
        twin.targets = self.targets.copy()
        twin.dials = self.dials.copy()
        twin.dial_times = self.dial_times
        twin.waiters = self.waiters.copy()
        twin.sas = self.sas.copy()
        twin.recons = self.recons.copy()
        twin.asked_keys = self.asked_keys.copy()
        twin.asked_now = self.asked_now.copy()
        twin.key_pauses = self.key_pauses.copy()
        twin.bodies_sought = self.bodies_sought.copy()
        twin.prepared = self.prepared.copy()
        twin.repaired = self.repaired.copy()
        twin.repairing = self.repairing.copy()
        twin.asked_past = self.asked_past.copy()
        twin.heard_of = self.heard_of.copy()
        twin.heard_by = self.heard_by.copy()
        twin.salting = self.salting.copy()
        twin.receipt_at = self.receipt_at.copy()
        twin.receipt_due = self.receipt_due.copy()
        twin.last_seen = self.last_seen.copy()
        twin.views = self.views.copy()
        twin.sought = self.sought.copy()
        twin.file_words = self.file_words.copy()
        twin.sought_of = self.sought_of.copy()
        twin.timers = self.timers.copy()
        twin.shift_ms = self.shift_ms
        return twin


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
    receipts: dict[tuple[RoomId, DeviceId], None] = field(default_factory=dict)
    keyed: dict[str, tuple[Post, ...]] = field(default_factory=dict)  # sends under a key, not yet done
    entered: dict[RoomId, None] = field(default_factory=dict)  # rooms we came into
    moved: dict[RoomId, None] = field(default_factory=dict)  # rooms whose members changed
    untouched: set[EventId] = field(default_factory=set)  # messages that nothing touches, looked up before
    bulk: bool = False  # it takes in backfill
    onward: dict[RoomId, dict[EventId, frozenset[DeviceId]]] = field(
        default_factory=dict
    )  # to be passed on, and who has it
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
