"""Reconciliation items: which events of a room count, week by week.

Decides: how weeks are summed and how a week is listed from the log. Every event counts, void or
not, and none leaves. Does not know: which events are allowed, or the reconciliation protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from p2pchat.ids import DeviceId, EventId, RoomId
from p2pchat.model import WeekRow
from p2pchat.store.core import Core
from p2pchat.store.schema import HLC_OFFSET
from p2pchat.wire.limits import WEEK_MS

_MODULUS: Final = 1 << 256
MAX_WEEKS_KNOWN: Final = 4096
"""Weeks whose count is remembered: those that are written to, mostly one for each room."""
_LAST_HLC: Final = (1 << 64) - 1


class Items:
    """Counts and sums in `week`, membership in `event.item`; fits engine.ports.ItemStore."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._conn = core.conn

    def weeks(self, room: RoomId, control: bool) -> list[WeekRow]:
        """Ascending by week."""
        number = self._core.names.known(room)
        rows = self._conn.execute(
            "SELECT week, count, sum FROM week WHERE room = ? AND control = ? AND count > 0 ORDER BY week",
            (number, int(control)),
        )
        return [WeekRow(week, count, total) for week, count, total in rows]

    def packed(self, room: RoomId, control: bool, week: int) -> bytes:
        """u64 big-endian ms and 32-byte id of each item, sorted by (ms, id); b"" if none."""
        number = self._core.names.known(room)
        low = min((week * WEEK_MS) << 16, _LAST_HLC)
        high = min((((week + 1) * WEEK_MS) << 16) - 1, _LAST_HLC)
        rows = self._conn.execute(
            "SELECT hlc, id FROM event WHERE room = ? AND item = ? AND hlc BETWEEN ? AND ?",
            (number, int(control), low - HLC_OFFSET, high - HLC_OFFSET),
        )
        return b"".join(
            sorted(((hlc + HLC_OFFSET) >> 16).to_bytes(8, "big") + identity for hlc, identity in rows)
        )

    def said(self, room: RoomId, device: DeviceId, before_ms: int) -> Iterator[tuple[int, EventId]]:
        """Content items (ms, id) of one machine dated earlier than `before_ms`, the last of its chain
        first; read as they are taken."""
        names = self._core.names
        rows = self._conn.execute(
            "SELECT hlc, id FROM event INDEXED BY event_chain"
            " WHERE room = ? AND device = ? AND item = 0 AND hlc < ? ORDER BY seq DESC",
            (names.known(room), names.known(device), min(before_ms << 16, _LAST_HLC) - HLC_OFFSET),
        )
        return (((hlc + HLC_OFFSET) >> 16, EventId(identity)) for hlc, identity in rows)

    def add(self, room: RoomId, control: bool, items: Sequence[tuple[int, EventId]]) -> None:
        """Count new items (ms, id) in; the events are in the log already. Once a batch."""
        number = self._core.names.intern(room)
        self._count(number, control, items)

    def _count(self, room: int, control: bool, items: Sequence[tuple[int, EventId]]) -> None:
        fresh: dict[int, list[int]] = {}
        for ms, identity in items:
            fresh.setdefault(ms // WEEK_MS, []).append(int.from_bytes(identity, "little"))
        for week, ids in fresh.items():
            place = (room, int(control), week)
            count, total = self._core.weeks.get(place) or self._counted(place)
            count, total = count + len(ids), (total + sum(ids)) % _MODULUS
            if len(self._core.weeks) >= MAX_WEEKS_KNOWN:
                self._core.weeks.clear()
            self._core.weeks[place] = (count, total)
            self._conn.execute(
                "INSERT INTO week (room, control, week, count, sum) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET count = excluded.count, sum = excluded.sum",
                (*place, count, total.to_bytes(32, "little")),
            )

    def _counted(self, place: tuple[int, int, int]) -> tuple[int, int]:
        row = self._conn.execute(
            "SELECT count, sum FROM week WHERE room = ? AND control = ? AND week = ?", place
        ).fetchone()
        return (row[0], int.from_bytes(row[1], "little")) if row else (0, 0)
