"""Who has seen what, in one table.

Decides: how ranges lie in a row. Does not know: what follows from them.
"""

from __future__ import annotations

import json

from p2pchat.ids import DeviceId, RoomId
from p2pchat.store.core import Core

Ranges = tuple[tuple[int, int], ...]


class Seen:
    """Fits engine.ports.SeenStore."""

    def __init__(self, core: Core) -> None:
        self._names = core.names
        self._conn = core.conn

    def put_seen(self, room: RoomId, device: DeviceId, author: DeviceId, kind: int, ranges: Ranges) -> None:
        """What `device` has or has read of `author` in `room`; replaces what was said before."""
        intern = self._names.intern
        self._conn.execute(
            "INSERT INTO seen (room, device, author, kind, ranges) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET ranges = excluded.ranges",
            (intern(room), intern(device), intern(author), kind, _text(ranges)),
        )

    def seen(self, room: RoomId) -> list[tuple[DeviceId, DeviceId, int, Ranges]]:
        """All of a room as (device, author, kind, ranges), in that order."""
        rows = self._conn.execute(
            "SELECT device, author, kind, ranges FROM seen WHERE room = ?", (self._names.known(room),)
        ).fetchall()
        name = self._names.id
        return sorted(
            (DeviceId(name(device)), DeviceId(name(author)), kind, _ranges(text))
            for device, author, kind, text in rows
        )


def _text(ranges: Ranges) -> str:
    """The same JSON as `json.dumps` without its detours: it is written with every message."""
    return "[" + ",".join([f"[{low},{high}]" for low, high in ranges]) + "]"


def _ranges(text: str) -> Ranges:
    return tuple((low, high) for low, high in json.loads(text))
