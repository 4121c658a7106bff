"""What happened to a room, for those who read its history.

Decides: which events of the log are notices, and what each says: what it changed, and how that was
before. Does not know: whether an event counts (its flags and its depth say so), or what people are
called.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId
from p2pchat.model import Notice, StoredEvent
from p2pchat.store.core import Names
from p2pchat.store.schema import HLC_OFFSET
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.limits import MAX_TOPIC
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.statements import Statement

TYPES: Final = {
    ev.CREATE: "created",
    ev.ADD: "added",
    ev.REMOVE: "removed",
    ev.JOIN: "joined",
    ev.LEAVE: "left",
    ev.ROLE: "role",
    ev.SETTINGS: "settings",
    ev.REVOKE: "revoked",
}
VOIDED: Final = "voided"
OVERRULED: Final = "overruled"
FORK: Final = "fork"

LOOK_BACK: Final = 1000
"""So many changes before a page are looked at for what stood when it begins."""
_SHOWN: Final = MAX_TOPIC + 64
"""Characters read of a name, topic or rules, with what stands before it."""
_FIRST_LINE: Final = 200
"""Characters of the rules that a notice shows."""

_COLUMNS: Final = "SELECT id, kind, hlc, device, body, flags FROM event WHERE room = ? AND item IN (1, 3)"
_COUNTED: Final = (
    f"{_COLUMNS} AND hlc BETWEEN ? AND ? AND kind IN (1, 2, 3, 4, 5, 6, 7, 8)"
    " ORDER BY hlc DESC, id DESC LIMIT ?"
)
_SET: Final = f"{_COLUMNS} AND hlc <= ? AND kind IN (1, 7) ORDER BY hlc DESC, id DESC LIMIT ?"
_NAMED: Final = (  # what these say is sealed: engine/naming keeps it
    "SELECT e.id, e.hlc, e.device, e.flags, substr(t.value, 1, ?) FROM event e JOIN touch t ON t.id = e.id"
    " WHERE e.room = ? AND e.kind = 37 AND e.hlc <= ? AND t.kind = 37"
    " ORDER BY e.hlc DESC, e.id DESC LIMIT ?"
)
_FORKS: Final = (  # of each machine's chain the lowest number at which there are two events
    "SELECT e.id, e.hlc, e.device FROM event e JOIN (SELECT device, min(seq) AS low FROM event"
    " WHERE room = ? AND (flags & 1) != 0 GROUP BY device) f ON e.device = f.device AND e.seq = f.low"
    " WHERE e.room = ? AND (e.flags & 1) != 0 ORDER BY e.hlc, e.id"
)


class _Placed(NamedTuple):
    """A notice and where it stands in the order of the log."""

    hlc: int
    notice: Notice


class _Text(NamedTuple):
    """A name, topic or rules that stood, and how far it ranks (log.rank)."""

    rank: tuple[int, int, bytes]
    value: str


def notices(
    conn: sqlite3.Connection, names: Names, room: int | None, low: int, high: int, limit: int
) -> list[Notice]:
    """What happened to a room at an hlc in [low, high], oldest first, the newest `limit` of it.

    What does not count is a notice too: `voided`, or `overruled` by another at the same time. That a machine
    signed two histories stands where they part.
    """
    first, last = (min(max(one - HLC_OFFSET, -HLC_OFFSET), HLC_OFFSET - 1) for one in (low, high))
    rows = conn.execute(_COUNTED, (room, first, last, limit)).fetchall()
    found = [_Placed(row[2], _notice(names, *row)) for row in rows]
    if any(one.notice.type == "settings" for one in found):
        was = _settings(conn.execute(_SET, (room, last, LOOK_BACK)).fetchall())
        found = [one._replace(notice=_since(one.notice, was)) for one in found]
        found = [one for one in found if one.notice.type != "settings" or _changed(one.notice)]
    named = conn.execute(_NAMED, (_SHOWN, room, last, LOOK_BACK)).fetchall()
    found += [one for one in _named(names, reversed(named)) if one.hlc >= first]
    found += [one for one in _forks(conn, names, room) if first <= one.hlc <= last]
    found.sort(key=lambda one: (one.hlc, one.notice.id))
    return [one.notice for one in found[-limit:]]


# -- acts --------------------------------------------------------------------------------


def _body(kind: int, body: bytes | None) -> Record | None:
    if body is None:
        return None
    try:
        return decode(ev.BODIES[kind], body)
    except RemoteProtocolError:  # of a version that did not look into it
        return None


def _whose(act: wire.Revoke) -> bytes | None:
    """Of whose account the statement is that proves it; None where something else does (a fork)."""
    try:
        statement = decode(Statement, act.proof[0]) if act.proof else None
    except RemoteProtocolError:
        return None
    return statement.account if statement is not None and len(statement.account) == ID_BYTES else None


def _notice(
    names: Names, identity: bytes, kind: int, hlc: int, device: int, body: bytes | None, flags: int
) -> Notice:
    read = _body(kind, body)
    who = _whose(read) if isinstance(read, wire.Revoke) else getattr(read, "account", None)
    detail = ""
    if isinstance(read, wire.Role):
        detail = read.role
    elif isinstance(read, wire.Settings):
        detail = " ".join(f"{change.key}={change.value}" for change in read.changes if change.value)
    elif isinstance(read, wire.Create):
        detail = f"admission={read.admission} announce={int(read.announce)} history={read.history}"
    elif isinstance(read, wire.Revoke):
        detail = read.device.hex()
    void = bool(flags & StoredEvent.VOID)
    return Notice(
        EventId(identity),
        VOIDED if void else TYPES[kind],
        _ms(hlc),
        DeviceId(names.id(device)),
        AccountId(who) if who else None,
        detail,
        act=TYPES[kind] if void else "",
    )


def _forks(conn: sqlite3.Connection, names: Names, room: int | None) -> list[_Placed]:
    """One for each machine: of the two events the earlier by (hlc, id)."""
    found: dict[int, _Placed] = {}
    for identity, hlc, device in conn.execute(_FORKS, (room, room)).fetchall():
        notice = Notice(EventId(identity), FORK, _ms(hlc), DeviceId(names.id(device)))
        found.setdefault(device, _Placed(hlc, notice))
    return list(found.values())


def _settings(rows: list[tuple[bytes, int, int, int, bytes | None, int]]) -> dict[bytes, dict[str, str]]:
    """What each act that counts found of what it sets, from rows newest first."""
    standing: dict[str, str] = {}
    found: dict[bytes, dict[str, str]] = {}
    for identity, kind, _, _, body, flags in reversed(rows):
        read = None if flags & StoredEvent.VOID else _body(kind, body)
        if isinstance(read, wire.Create):
            announce = "1" if read.announce else "0"
            standing = {"admission": read.admission, "announce": announce, "history": read.history}
            standing |= {"retention": "0", "title": read.title}
        elif isinstance(read, wire.Settings):
            changes = {one.key: one.value for one in read.changes}
            found[identity] = {key: standing[key] for key in changes if key in standing}
            standing |= changes
    return found


def _since(notice: Notice, was: dict[bytes, dict[str, str]]) -> Notice:
    before = was.get(notice.id, {})
    return replace(notice, before=" ".join(f"{key}={value}" for key, value in before.items() if value))


def _changed(notice: Notice) -> bool:
    """Whether it was otherwise before."""
    return notice.detail != notice.before or not notice.detail


# -- names, topics, rules ----------------------------------------------------------------


def _named(names: Names, rows: Iterable[tuple[bytes, int, int, int, str]]) -> list[_Placed]:
    """Those of which the room became another, or would have, from rows oldest first."""
    standing: dict[str, _Text] = {}
    found = []
    for identity, hlc, device, flags, kept in rows:
        depth, field, value = kept.split(" ", 2)
        text, known = _Text((int(depth), hlc, identity), value), standing.get(field)
        before = known.value if known else ""
        type = field
        if flags & StoredEvent.VOID:
            type = VOIDED
        elif known is not None and known.rank > text.rank:
            type = OVERRULED
        else:
            standing[field] = text
        if type != VOIDED and value == before:
            continue  # said again, for somebody who came in
        found.append(
            _Placed(
                hlc,
                Notice(
                    EventId(identity),
                    type,
                    _ms(hlc),
                    DeviceId(names.id(device)),
                    detail="" if type == VOIDED else _line(field, value),
                    before="" if type == VOIDED else _line(field, before),
                    act="" if type == field else field,
                ),
            )
        )
    return found


def _line(field: str, value: str) -> str:
    """Of rules, which may be long, how they begin."""
    return value.strip().partition("\n")[0][:_FIRST_LINE] if field == "rules" else value


def _ms(hlc: int) -> int:
    return (hlc + HLC_OFFSET) >> 16
