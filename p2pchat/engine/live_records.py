"""What the volatile state of a node is made of: frozen records of links, sights, dials, waiters and the like.

Decides: nothing. Each is replaced and never changed, so that a copy of `Live` is right without them being
copied (context). Does not know: what any of it is used for. A part of `context`, split for its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from p2pchat.engine.ranges import Ranges
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
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
    answered: bool = False  # the dial under way has a connection
    by: DeviceId | None = None  # who introduced it; `device` is then what he says


class Introducer(NamedTuple):
    """What became of one machine's introductions, and when it was last answered; see exchange."""

    asked: int = 0  # so many people it may still introduce: we wait for them
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
    since_ms: int = 0  # about items from then on only
    beside: bool = False  # goes on beside other long runs of the room
    need: tuple[bytes, ...] = ()  # still to be wanted, in the order of items
    later: tuple[bytes, ...] = ()  # the same, but asked of others just now
    out: tuple[tuple[bytes, ...], ...] = ()  # wants under way, not all of it given
    at: float = 0.0  # when it was last begun with, or something was found or came
    lacking: int = 0  # how many the other side lacks
    rounds: int = 0
    listed: bool = False  # all it is to find is found
    cut: bool = False  # more was found lacking here than is remembered
    more: tuple[bytes, ...] = ()  # some of what it lacks, where there is more than one run may find


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


@dataclass(frozen=True, slots=True)
class Entrusted:
    """Events given to a holder who has not yet said what he keeps of them."""

    at: float
    asked: tuple[tuple[DeviceId, Ranges], ...]
    left: int  # answers still to come
    took: bool  # whether any of it was kept
    tries: int = 1  # how often it was given without an answer


@dataclass(frozen=True, slots=True)
class Claiming:
    """What a holder keeps for us is on its way, from some place on."""

    place: tuple[bool, int]
    at: float
    again: bool = False  # something was added meanwhile: begin anew when this is done
