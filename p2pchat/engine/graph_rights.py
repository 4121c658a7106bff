"""Who may write what in a room, as a table; and which bodies of control events have a form at all.

Decides: the rights of each role in each sort of room, the settings a room has, and what a
control event's body may hold (docs/rooms.md prints the table; docs/protocol.md, "Rooms").
Does not know: who has which role, what came before what, or what a cut takes away
(engine/control_graph).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import EPOCH_ID_BYTES, ID_BYTES, AccountId, DeviceId, EventId, RoomId
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_NAME, MAX_SEALS
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.rooms import MEMBER, MODERATOR, OWNER

DIRECT: Final = "direct"
ROOM: Final = "room"
LOBBY: Final = "lobby"

LEFT: Final = "left"
REMOVED: Final = "removed"

LOBBY_DAYS: Final = 30
"""How long an open office's lobby keeps what was said; nobody can change it."""
MAX_RETENTION_DAYS: Final = 36_500
MAX_SEQ: Final = 2**63 - 1
MAX_GEN: Final = 2**53
SEALED_KEY_BYTES: Final = 80

ANNOUNCE: Final = "announce"
ADMISSION: Final = "admission"
HISTORY: Final = "history"
RETENTION: Final = "retention"
TITLE: Final = "title"
DIRECT_SETTINGS: Final = (HISTORY, RETENTION)
"""What the two of a direct chat may set; who is in it and who may write is fixed."""


@dataclass(frozen=True, slots=True)
class Act:
    """One authentic control event as the graph sees it."""

    id: EventId
    device: DeviceId
    account: AccountId
    seq: int
    hlc: int
    auth: tuple[EventId, ...]
    kind: int
    body: Record


@dataclass(frozen=True, slots=True)
class Root:
    """What a room starts from: `kind` is direct, room or lobby; `accounts` the two of a direct chat."""

    kind: str
    room: RoomId
    accounts: tuple[AccountId, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A person who is in. `added_by` is the act that let him in (None: the room's own root),
    `depth` how long the longest way from the root to that act is: the smaller, the more senior."""

    role: str
    added_by: EventId | None
    depth: int


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What a room's settings come to. `retention_days` 0: for ever."""

    admission: str
    announce: bool
    history: str
    retention_days: int
    title: str


class Verdict(NamedTuple):
    """Whether an event counts. `by`: the act that voids it, the event itself if its author was in
    the room but had no right to it; None where it is allowed or its author was never in."""

    standing: Literal["allowed", "void", "never"]
    by: EventId | None


ALLOWED: Final = Verdict("allowed", None)
NEVER: Final = Verdict("never", None)


class Right(NamedTuple):
    """Roles that may write a kind: in a room, in an announcement room, in a direct chat (where
    both are owners), in the open lobby (where everyone is a member)."""

    room: tuple[str, ...]
    announcement: tuple[str, ...]
    direct: tuple[str, ...]
    lobby: tuple[str, ...]


_ALL: Final = (OWNER, MODERATOR, MEMBER)
_STAFF: Final = (OWNER, MODERATOR)
_BOTH: Final = (OWNER,)
_ANY: Final = Right(_ALL, _ALL, _BOTH, (MEMBER,))

RIGHTS: Final[dict[int, Right]] = {
    ev.CREATE: Right((), (), (), ()),  # only as the root, by somebody who is nobody yet
    ev.ADD: Right(_STAFF, _STAFF, (), ()),
    ev.REMOVE: Right(_STAFF, _STAFF, (), ()),
    ev.JOIN: Right((), (), (), ()),  # by who is not in: see `may_join`
    ev.LEAVE: Right(_ALL, _ALL, (), (MEMBER,)),
    ev.ROLE: Right((OWNER,), (OWNER,), (), ()),
    ev.SETTINGS: Right((OWNER,), (OWNER,), _BOTH, ()),
    ev.REVOKE: _ANY,
    ev.EPOCH: _ANY,
    ev.SEAL: _ANY,
    ev.MESSAGE: Right(_ALL, _STAFF, _BOTH, (MEMBER,)),
    ev.EDIT: _ANY,
    ev.DELETE: _ANY,
    ev.REACTION: _ANY,
    ev.PIN: Right(_ALL, _STAFF, _BOTH, (MEMBER,)),
    ev.NAME: Right(_STAFF, _STAFF, _BOTH, ()),
    ev.ACK: _ANY,
    ev.FILE_ROOT: Right(_ALL, _STAFF, _BOTH, (MEMBER,)),
    ev.RULES: _ANY,
}
"""Kind to the roles that may write it. Content of a kind that is not here: every member."""

_NOBODY: Final = Right((), (), (), ())


def may(room: str, announce: bool, kind: int, role: str) -> bool:
    """Whether somebody of `role` may write events of `kind` in a room of that sort."""
    right = RIGHTS.get(kind, _NOBODY if ev.is_control(kind) else _ANY)
    if room == DIRECT:
        return role in right.direct
    if room == LOBBY:
        return role in right.lobby
    return role in (right.announcement if announce else right.room)


def may_join(room: str, admission: str, status: str | None) -> bool:
    """Whether somebody who is not in may come in by himself.

    `status` is None for a stranger, else LEFT or REMOVED: the removed wait for an `add`,
    wherever the door stands open for others.
    """
    if room == DIRECT or status == REMOVED or admission == wire.CLOSED:
        return False
    return admission == wire.OFFICE or status == LEFT


def start_settings(root: Root) -> RoomSettings:
    """Settings of a room before any act; those of a made room are in its `create`."""
    if root.kind == LOBBY:
        return RoomSettings(wire.OFFICE, False, wire.ALL, LOBBY_DAYS, "")
    return RoomSettings(wire.CLOSED, False, wire.ALL, 0, "")


def check_body(kind: int, body: Record) -> None:
    """RemoteProtocolError unless `body` is one that an event of `kind` can have.

    What passes here makes the graph raise nothing, whatever it says.
    """
    shape = ev.BODIES.get(kind)
    if shape is None:
        if ev.is_control(kind):
            raise RemoteProtocolError("control event of unknown kind")
        return
    if type(body) is not shape:
        raise RemoteProtocolError("body of another kind")
    if getattr(body, "v", None) != 1:
        raise RemoteProtocolError("body of unknown version")
    match body:
        case wire.Create():
            _check_create(body)
        case wire.Add():
            _length(body.account, ID_BYTES)
        case wire.Remove():
            _length(body.account, ID_BYTES)
            _check_cut(body.cut)
        case wire.Role():
            _length(body.account, ID_BYTES)
            _one_of(body.role, wire.RANK, "unknown role")
            _check_cut(body.cut)
        case wire.Settings():
            _check_settings(body)
        case wire.Revoke():
            _length(body.device, ID_BYTES)
            _check_cut(body.cut)
            if any(cut.device != body.device for cut in body.cut):
                raise RemoteProtocolError("revoke that cuts another machine")
            if len(body.proof) not in (2, 4):
                raise RemoteProtocolError("revoke without a proof's parts")
        case ev.Epoch():
            _length(body.epoch_id, EPOCH_ID_BYTES)
            _length(body.member_hash, ID_BYTES)
            if not 1 <= body.gen < MAX_GEN:
                raise RemoteProtocolError("epoch of impossible number")
        case ev.Seal():
            _check_seal(body)
        case wire.Name():
            _one_of(body.field, wire.NAME_FIELDS, "unknown field of a name")
        case wire.Ack() | wire.RulesAccepted():
            _length(body.target, ID_BYTES)
        case _:
            pass


def _check_create(body: wire.Create) -> None:
    _length(body.nonce, 16)
    _one_of(body.admission, wire.ADMISSIONS, "unknown admission")
    _one_of(body.history, wire.HISTORIES, "unknown history")
    _check_title(body.title)
    if body.title and body.admission != wire.OFFICE:
        raise RemoteProtocolError("public title of a room that is not open")


def _check_title(title: str) -> None:
    if len(title) > MAX_NAME:
        raise RemoteProtocolError("title too long")


def _check_settings(body: wire.Settings) -> None:
    keys = [change.key for change in body.changes]
    if not keys or keys != sorted(set(keys)):
        raise RemoteProtocolError("settings not in order")
    for change in body.changes:
        match change.key:
            case "admission":
                _one_of(change.value, wire.ADMISSIONS, "unknown admission")
            case "announce":
                _one_of(change.value, ("0", "1"), "unknown value of announce")
            case "history":
                _one_of(change.value, wire.HISTORIES, "unknown history")
            case "retention":
                _check_days(change.value)
            case "title":
                _check_title(change.value)
            case _:
                raise RemoteProtocolError("unknown setting")


def _check_days(value: str) -> None:
    plain = value.isascii() and value.isdigit() and len(value) <= 5 and (value == "0" or value[0] != "0")
    if not plain or int(value) > MAX_RETENTION_DAYS:
        raise RemoteProtocolError("impossible retention")


def _check_cut(cuts: tuple[wire.Cut, ...]) -> None:
    before = b""
    for cut in cuts:
        _length(cut.device, ID_BYTES)
        _length(cut.id, ID_BYTES)
        if cut.device <= before:
            raise RemoteProtocolError("cuts not in order")
        if not 1 <= cut.seq <= MAX_SEQ:
            raise RemoteProtocolError("cut at an impossible place")
        before = cut.device


def _check_seal(body: ev.Seal) -> None:
    _length(body.epoch_id, EPOCH_ID_BYTES)
    if not 1 <= len(body.keys) <= MAX_SEALS:
        raise RemoteProtocolError("seal of impossible size")
    for key in body.keys:
        _length(key.device, ID_BYTES)
        _length(key.sealed, SEALED_KEY_BYTES)
        if not 0 <= key.n <= MAX_SEQ:
            raise RemoteProtocolError("seal to an impossible prekey")


def _length(value: bytes, length: int) -> None:
    if len(value) != length:
        raise RemoteProtocolError("wrong length in a body")


def _one_of(value: str, known: object, reason: str) -> None:
    if value not in known:  # type: ignore[operator]
        raise RemoteProtocolError(reason)
