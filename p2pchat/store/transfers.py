"""Offers, and what became of them, in tables.

Decides: how these rows are written, found and listed. Does not know: who may have what, or what
moves (engine/transfers; engine/offers says what a row and its peers come to).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from p2pchat.engine import offers
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import DIRECT, TransferPeer, TransferRow, TransferView
from p2pchat.store.core import Core
from p2pchat.wire.messages.files import OFFER_ID_BYTES

_FIELDS: Final = (
    "id, room, event, author, device, incoming, offer, name, size, files, state, path, folder, conflict,"
    " root, error_kind, error, expires, made, told, served"
)
_COLUMNS: Final = ", ".join("t." + name.strip() for name in _FIELDS.split(","))
_ROWS: Final = f"SELECT {_COLUMNS} FROM transfer t "  # noqa: S608 - constants
_PUT: Final = f"INSERT OR REPLACE INTO transfer ({_FIELDS}, untold) VALUES ({', '.join('?' * 22)})"  # noqa: S608
_AWAITED: Final = (
    "SELECT account FROM awaited WHERE room = ? AND seq > 0"
    " AND seq <= coalesce((SELECT seq FROM event WHERE id = ?), 0)"
)


class Transfers:
    """Fits engine.ports.TransferStore."""

    def __init__(self, core: Core) -> None:
        self._conn = core.conn

    def put_transfer(self, row: TransferRow, *, untold: bool) -> None:
        """Insert or replace by id. `untold`: the machine that offers it is to hear how it ended."""
        self._conn.execute(
            _PUT,
            (
                row.id,
                row.room,
                row.event,
                row.author,
                row.device,
                int(row.incoming),
                row.offer,
                row.name,
                row.size,
                row.files,
                row.state,
                row.path,
                row.to,
                row.conflict,
                row.root,
                row.error_kind,
                row.error,
                row.expires_ms,
                row.made_ms,
                row.told,
                int(row.served),
                int(untold),
            ),
        )

    def transfer(self, offer: bytes) -> TransferRow | None:
        """What became of an offer."""
        row = self._conn.execute(_ROWS + "WHERE t.id = ?", (offer,)).fetchone()
        return None if row is None else transfer_of(row)

    def find(self, prefix: str) -> list[bytes]:
        """Ids that begin with these hex digits, at most 3."""
        return found(self._conn, prefix)

    def of_event(self, event: EventId) -> list[TransferRow]:
        """What one message offers."""
        return self._rows("WHERE t.event = ? ORDER BY t.id", (event,))

    def of_room(self, room: RoomId) -> list[TransferRow]:
        """What is offered in a room and not at its end, by id."""
        where = "WHERE t.room = ? AND t.state IN ('offered', 'active', 'paused') ORDER BY t.id"
        return self._rows(where, (room,))

    def fetching(self) -> list[TransferRow]:
        """Incoming ones that are wanted and not all here, oldest first."""
        return self._rows("WHERE t.incoming = 1 AND t.state = 'active' ORDER BY t.made, t.id", ())

    def untold(self) -> list[TransferRow]:
        """Those of whose end the machine that offers them has not said that it heard."""
        return self._rows("WHERE t.untold = 1 ORDER BY t.device, t.id", ())

    def expired(self, now_ms: int) -> list[TransferRow]:
        """Those not at their end whose time is over."""
        where = (
            "WHERE t.expires > 0 AND t.expires <= ? AND t.state IN ('offered', 'active', 'paused')"
            " ORDER BY t.expires, t.id"
        )
        return self._rows(where, (now_ms,))

    def put_peer(self, offer: bytes, peer: TransferPeer) -> bool:
        """What a machine says now of an offer; whether it has never said so before."""
        bit = 1 << peer.state
        known = self._conn.execute(
            "SELECT ever FROM transfer_peer WHERE offer = ? AND device = ?", (offer, peer.device)
        ).fetchone()
        ever = known[0] if known else 0
        self._conn.execute(
            "INSERT OR REPLACE INTO transfer_peer (offer, device, account, state, ever)"
            " VALUES (?, ?, ?, ?, ?)",
            (offer, peer.device, peer.account, peer.state, ever | bit),
        )
        return not ever & bit

    def peers(self, offer: bytes) -> list[TransferPeer]:
        """What machines said of an offer, by machine."""
        return peers_of(self._conn, offer)

    def put_root(self, offer: bytes, account: AccountId, root: bytes, pieces: int) -> None:
        """Keep a root until its offer comes; the first by an account stays."""
        self._conn.execute(
            "INSERT OR IGNORE INTO transfer_root (offer, account, root, pieces) VALUES (?, ?, ?, ?)",
            (offer, account, root, pieces),
        )

    def take_root(self, offer: bytes, account: AccountId) -> tuple[bytes, int] | None:
        """The root that came before its offer, and how many pieces; it is kept no longer."""
        row = self._conn.execute(
            "DELETE FROM transfer_root WHERE offer = ? AND account = ? RETURNING root, pieces",
            (offer, account),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def _rows(self, where: str, values: Sequence[object]) -> list[TransferRow]:
        return [transfer_of(row) for row in self._conn.execute(_ROWS + where, values).fetchall()]


# -- what readers ask too --------------------------------------------------------------------


def found(conn: sqlite3.Connection, prefix: str) -> list[bytes]:
    """Ids of offers that begin with these hex digits, at most 3."""
    digits = prefix.lower()
    if not digits or len(digits) > 2 * OFFER_ID_BYTES or any(c not in "0123456789abcdef" for c in digits):
        return []
    low, high = (bytes.fromhex(digits.ljust(2 * OFFER_ID_BYTES, fill)) for fill in "0f")
    rows = conn.execute("SELECT id FROM transfer WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 3", (low, high))
    return [row[0] for row in rows]


def newest(conn: sqlite3.Connection, limit: int) -> list[TransferView]:
    """The newest transfers, oldest of them first."""
    rows = conn.execute(_ROWS + "ORDER BY t.made DESC, t.id DESC LIMIT ?", (limit,)).fetchall()
    return [view_of(conn, transfer_of(row)) for row in reversed(rows)]


def one(conn: sqlite3.Connection, offer: bytes) -> TransferView | None:
    """How one transfer stands."""
    row = conn.execute(_ROWS + "WHERE t.id = ?", (offer,)).fetchone()
    return None if row is None else view_of(conn, transfer_of(row))


def view_of(conn: sqlite3.Connection, row: TransferRow) -> TransferView:
    """A row with what peers said, as people see it."""
    if row.incoming:
        return offers.view(row, (), ())
    chat = conn.execute("SELECT kind, peer FROM room WHERE id = ?", (row.room,)).fetchone()
    direct = chat is not None and chat[0] == DIRECT
    people = [(chat[1],)] if direct else conn.execute(_AWAITED, (row.room, row.event)).fetchall()
    awaited = [AccountId(who) for (who,) in people]
    return offers.view(row, peers_of(conn, row.id), awaited, direct=direct)


def peers_of(conn: sqlite3.Connection, offer: bytes) -> list[TransferPeer]:
    """What machines said of an offer, by machine."""
    rows = conn.execute(
        "SELECT device, account, state FROM transfer_peer WHERE offer = ? ORDER BY device", (offer,)
    )
    return [TransferPeer(DeviceId(device), AccountId(who), state) for device, who, state in rows]


def transfer_of(row: Any) -> TransferRow:
    """A row of _FIELDS."""
    return TransferRow(
        id=row[0],
        room=RoomId(row[1]),
        event=EventId(row[2]),
        author=AccountId(row[3]),
        device=DeviceId(row[4]),
        incoming=bool(row[5]),
        offer=row[6],
        name=row[7],
        size=row[8],
        files=row[9],
        state=row[10],
        path=row[11],
        to=row[12],
        conflict=row[13],
        root=row[14],
        error_kind=row[15],
        error=row[16],
        expires_ms=row[17],
        made_ms=row[18],
        told=row[19],
        served=bool(row[20]),
    )
