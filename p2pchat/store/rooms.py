"""Rooms, their keys and our own prekeys in tables.

Decides: how these few rows are written and read. Does not know: which key is to be used.
"""

from __future__ import annotations

from p2pchat.ids import AccountId, RoomId
from p2pchat.model import EpochRow, PrekeyRow, RoomRow, RoomText
from p2pchat.store.core import Core
from p2pchat.store.schema import HLC_OFFSET


class Rooms:
    """Fits engine.ports.RoomStore."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._conn = core.conn

    def put_room(self, row: RoomRow) -> None:
        """Insert or replace by id."""
        self._conn.execute(
            "INSERT OR REPLACE INTO room (id, kind, name, peer) VALUES (?, ?, ?, ?)",
            (row.id, row.kind, row.name, row.peer),
        )

    def rooms(self) -> list[RoomRow]:
        """All rooms, by id."""
        rows = self._conn.execute("SELECT id, kind, name, peer FROM room ORDER BY id")
        return [RoomRow(*row) for row in rows]

    def put_epoch(self, row: EpochRow) -> None:
        """Insert or replace by (room, epoch)."""
        self._conn.execute(
            "INSERT OR REPLACE INTO epoch (room, epoch, gen, member_hash, shareable, key, event, hlc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.room,
                row.epoch,
                row.gen,
                row.member_hash,
                int(row.shareable),
                row.key,
                row.event,
                row.hlc - HLC_OFFSET,
            ),
        )

    def epochs(self, room: RoomId) -> list[EpochRow]:
        """The known epochs of a room in (gen, epoch) order."""
        rows = self._conn.execute(
            "SELECT room, epoch, gen, member_hash, shareable, key, event, hlc FROM epoch WHERE room = ?"
            " ORDER BY gen, epoch",
            (room,),
        )
        return [
            EpochRow(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6], row[7] + HLC_OFFSET)
            for row in rows
        ]

    def put_text(self, text: RoomText) -> None:
        """Insert or replace by (room, field)."""
        self._conn.execute(
            "INSERT OR REPLACE INTO room_text (room, field, value, event, hlc) VALUES (?, ?, ?, ?, ?)",
            (text.room, text.field, text.value, text.event, text.hlc - HLC_OFFSET),
        )

    def drop_texts(self, room: RoomId) -> None:
        """Forget what a room is called: it is made again from the log."""
        self._conn.execute("DELETE FROM room_text WHERE room = ?", (room,))

    def texts(self) -> list[RoomText]:
        """Of all rooms."""
        rows = self._conn.execute("SELECT room, field, value, event, hlc FROM room_text ORDER BY room, field")
        return [RoomText(row[0], row[1], row[2], row[3], row[4] + HLC_OFFSET) for row in rows]

    def put_awaited(self, room: RoomId, account: AccountId, seq: int) -> None:
        """Own messages from `seq` on are for `account` too; replaces what was said before."""
        self._conn.execute(
            "INSERT OR REPLACE INTO awaited (room, account, seq) VALUES (?, ?, ?)", (room, account, seq)
        )

    def awaited(self, room: RoomId) -> dict[AccountId, int]:
        """Whom own messages are for, and from which number on."""
        rows = self._conn.execute("SELECT account, seq FROM awaited WHERE room = ? ORDER BY account", (room,))
        return {AccountId(account): seq for account, seq in rows}

    def put_prekey(self, row: PrekeyRow) -> None:
        """Insert or replace by n. A secret that is gone leaves no trace in old pages of the log."""
        self._conn.execute(
            "INSERT OR REPLACE INTO prekey (n, public, secret, made, replaced) VALUES (?, ?, ?, ?, ?)",
            (row.n, row.public, row.secret, row.made_ms, row.replaced_seen_ms),
        )
        if not row.secret:
            self._core.mark_erased()

    def prekeys(self) -> list[PrekeyRow]:
        """Ascending by n."""
        rows = self._conn.execute("SELECT n, public, secret, made, replaced FROM prekey ORDER BY n")
        return [PrekeyRow(*row) for row in rows]
