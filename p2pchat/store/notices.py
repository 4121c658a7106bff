"""What happened to a room, for those who read its history.

Decides: which acts of the log are notices, and what each says. Does not know: whether an act
counts (its flags say so), or what people are called.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId
from p2pchat.model import Notice, StoredEvent
from p2pchat.store.core import Names
from p2pchat.store.schema import HLC_OFFSET
from p2pchat.wire.codec import Record, decode
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
_COUNTED: Final = (
    "SELECT id, kind, hlc, device, body, flags FROM event WHERE room = ? AND item IN (1, 3)"
    " AND hlc BETWEEN ? AND ? AND kind IN (1, 2, 3, 4, 5, 6, 7, 8) ORDER BY hlc DESC, id DESC LIMIT ?"
)


def notices(
    conn: sqlite3.Connection, names: Names, room: int | None, low: int, high: int, limit: int
) -> list[Notice]:
    """Acts of a room whose hlc lies in [low, high], oldest first, the newest `limit` of them.

    One that does not count is a notice too: `voided`.
    """
    bounds = [min(max(one - HLC_OFFSET, -HLC_OFFSET), HLC_OFFSET - 1) for one in (low, high)]
    rows = conn.execute(_COUNTED, (room, *bounds, limit)).fetchall()
    return [_notice(names, *row) for row in reversed(rows)]


def _body(kind: int, body: bytes) -> Record | None:
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
    read = _body(kind, body) if body is not None else None
    who = _whose(read) if isinstance(read, wire.Revoke) else getattr(read, "account", None)
    detail = ""
    if isinstance(read, wire.Role):
        detail = read.role
    elif isinstance(read, wire.Settings):
        detail = " ".join(f"{change.key}={change.value}" for change in read.changes if change.value)
    elif isinstance(read, wire.Revoke):
        detail = read.device.hex()
    return Notice(
        EventId(identity),
        "voided" if flags & StoredEvent.VOID else TYPES[kind],
        (hlc + HLC_OFFSET) >> 16,
        DeviceId(names.id(device)),
        AccountId(who) if who else None,
        detail,
    )
