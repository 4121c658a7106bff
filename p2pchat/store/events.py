"""The event log in tables: authentic events, gaps, and those that cannot be judged yet.

Decides: how events are written and found, and what is remembered about the holes of a
chain. Does not know: whether an event is authentic or allowed (engine), or what it says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import Head, StoredEvent
from p2pchat.store.core import Core
from p2pchat.store.rows import EVENT_COLUMNS, event_of, in_portions, parked_of
from p2pchat.store.schema import HLC_OFFSET
from p2pchat.wire.messages.events import LAST_CONTROL

_ADD: Final = (
    "INSERT INTO event"
    " (id, room, device, seq, hlc, item, kind, epoch, flags, received, prev, signature, header, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PARK: Final = (
    "INSERT OR IGNORE INTO parked"
    " (id, room, device, seq, hlc, kind, epoch, flags, received, prev, signature, header, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT: Final = f"SELECT {EVENT_COLUMNS} FROM event "  # noqa: S608 - constants
_GET: Final = _SELECT + "WHERE id = ?"
_AT: Final = _SELECT + "WHERE room = ? AND device = ? AND seq = ? ORDER BY id"
_RUN: Final = _SELECT + "WHERE room = ? AND device = ? AND seq BETWEEN ? AND ? ORDER BY seq, id LIMIT ?"
_CONTROL: Final = _SELECT + "WHERE room = ? AND item IN (1, 3) ORDER BY hlc, id"
_OF_KIND: Final = _SELECT + "WHERE room = ? AND kind = ? AND kind = 37 ORDER BY hlc, id"
_KEYLESS: Final = _SELECT + "WHERE room = ? AND epoch = ? AND (flags & 4) != 0"
_WAITED_FOR: Final = (
    "SELECT DISTINCT epoch FROM event INDEXED BY event_keyless"
    " WHERE room = ? AND (flags & 4) != 0 AND (flags & 32) = 0"
)
# An edit (33) or delete (34) by its author makes it lawful that a body is not here.
_BODILESS: Final = (
    "SELECT e.id FROM event e INDEXED BY event_bodiless"
    " WHERE e.room = :room AND e.device = :device AND (e.flags & 8) != 0 AND (e.flags & 32) = 0"
    " AND NOT EXISTS (SELECT 1 FROM touch t"
    " WHERE t.target = e.id AND t.kind IN (33, 34) AND t.account = :account)"
    " ORDER BY e.seq < :start, e.seq, e.id LIMIT :limit"
)
_PARKED: Final = (
    f"SELECT {EVENT_COLUMNS} FROM parked"  # noqa: S608 - constants
    " WHERE device = ? AND room = ? AND seq BETWEEN ? AND ? ORDER BY seq, id"
)
_PARKED_HEADERS: Final = "SELECT id, header FROM parked WHERE room = ? ORDER BY device, seq, id"
_WAITS: Final = "SELECT 1 FROM parked WHERE device = ? AND room = ? LIMIT 1"
MAX_PARKED_BYTES: Final = 4 * 1024 * 1024
"""Of one device: more is no chat out of order but somebody's waste."""
# One look-up per device instead of a walk over the room's whole chain index.
_DEVICES: Final = (
    "WITH RECURSIVE d (n) AS (SELECT min(device) FROM event WHERE room = :room"
    " UNION ALL SELECT (SELECT min(device) FROM event WHERE room = :room AND device > d.n)"
    " FROM d WHERE d.n IS NOT NULL)"
    " SELECT n, (SELECT max(seq) FROM event WHERE room = :room AND device = n) FROM d WHERE n IS NOT NULL"
)


_high = itemgetter(1)
_LAST_SEQ: Final = (1 << 53) - 1
"""The greatest number an event may have (docs/protocol.md, "Records")."""


class Events:
    """The log; fits engine.ports.EventLog."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._conn = core.conn
        self._write = core.conn.cursor()

    def add(self, event: StoredEvent) -> None:
        """Insert; the caller has made sure that the id is new."""
        core = self._core
        intern = core.names.intern
        room, device, seq = intern(event.room), intern(event.device), event.seq
        top = core.tops.get((room, device))
        if top is None:
            top = self._top(room, device)
        self._write.execute(
            _ADD,
            (
                event.id,
                room,
                device,
                seq,
                event.hlc - HLC_OFFSET,
                1 if event.kind <= LAST_CONTROL else 0,
                event.kind,
                intern(event.epoch),
                event.flags,
                event.received_ms,
                event.prev,
                event.signature,
                event.header,
                event.body,
            ),
        )
        pk = self._write.lastrowid
        assert pk is not None
        core.fresh[event.id] = pk
        if seq > top:
            core.tops[room, device] = seq
            if seq > top + 1:
                self._holes((room, device)).append((top + 1, seq - 1))
                core.holes_moved[room, device] = None
        else:
            core.tops[room, device] = top
            self._fill((room, device), seq)

    def get(self, event: EventId) -> StoredEvent | None:
        """The event with this id."""
        row = self._conn.execute(_GET, (event,)).fetchone()
        return None if row is None else event_of(row, self._core.names)

    def some(self, events: Sequence[EventId]) -> list[StoredEvent]:
        """Those of `events` that are in the log, in no order."""
        found: list[StoredEvent] = []
        for sql, some in in_portions(_SELECT, "id", events):
            found += [event_of(row, self._core.names) for row in self._conn.execute(sql, some)]
        return found

    def missing(self, events: Sequence[EventId]) -> list[EventId]:
        """Those of `events` that are not in the log, in the given order."""
        found: set[bytes] = set()
        for sql, some in in_portions("SELECT id FROM event ", "id", events):
            found.update(row[0] for row in self._conn.execute(sql, some))
        return [one for one in events if one not in found]

    def at(self, room: RoomId, device: DeviceId, seq: int) -> list[StoredEvent]:
        """All events of that place in a chain (two or more: a fork), by id."""
        return self._select(_AT, room, device, seq)

    def run(self, room: RoomId, device: DeviceId, low: int, high: int, limit: int) -> list[StoredEvent]:
        """Events with low <= seq <= high, ascending, at most `limit`."""
        return self._select(_RUN, room, device, low, high, limit)

    def heads(self, room: RoomId) -> dict[DeviceId, Head]:
        """Greatest seq of each device; of a fork the smaller id. Ordered by device."""
        names = self._core.names
        number = names.known(room)
        if number is None:
            return {}
        found: dict[DeviceId, Head] = {}
        for device, seq in self._conn.execute(_DEVICES, {"room": number}).fetchall():
            identity, hlc = self._conn.execute(
                "SELECT id, hlc FROM event WHERE room = ? AND device = ? AND seq = ? ORDER BY id LIMIT 1",
                (number, device, seq),
            ).fetchone()
            found[DeviceId(names.id(device))] = Head(seq, identity, hlc + HLC_OFFSET)
        return dict(sorted(found.items()))

    def control(self, room: RoomId) -> list[StoredEvent]:
        """All control events of a room in (hlc, id) order."""
        return self._select(_CONTROL, room)

    def put_body(self, event: EventId, body: bytes | None, flags: int) -> None:
        """Replace body and flags: erased, or arrived after all.

        Erasing a body also empties what was derived from it in `touch`; the message that
        the event itself is gets its new text from the engine.
        """
        self._conn.execute("UPDATE event SET body = ?, flags = ? WHERE id = ?", (body, flags, event))
        if body is not None:
            return
        self._conn.execute("UPDATE touch SET value = '' WHERE id = ?", (event,))
        waiting = self._conn.execute(
            "SELECT 1 FROM message WHERE pk = (SELECT pk FROM event WHERE id = ?) AND state IN (1, 2)",
            (event,),
        ).fetchone()
        self._core.mark_erased()
        if waiting is None:  # what nobody has yet is in no index: see fulltext
            self._core.mark_words()

    def put_flags(self, event: EventId, flags: int) -> None:
        """Replace the flags."""
        self._conn.execute("UPDATE event SET flags = ? WHERE id = ?", (flags, event))

    def forks(self, room: RoomId) -> dict[DeviceId, int]:
        """The lowest number of each chain at which there are two events."""
        rows = self._conn.execute(
            "SELECT device, min(seq) FROM event WHERE room = ? AND (flags & 1) != 0 GROUP BY device",
            (self._core.names.known(room),),
        ).fetchall()
        return {DeviceId(self._core.names.id(device)): seq for device, seq in rows}

    def of_kind(self, room: RoomId, kind: int) -> list[StoredEvent]:
        """All events of a rare kind, in (hlc, id) order: NAME."""
        return self._select(_OF_KIND, room, kind)

    def hole(self, room: RoomId, device: DeviceId, seq: int) -> tuple[int, int] | None:
        """First and last number of those around `seq` of which no event is here, as far as is known
        without a look at the log; None if one may be here."""
        place = (self._core.names.known(room) or 0, self._core.names.known(device) or 0)
        top = self._core.tops.get(place)
        if top is not None and seq > top:
            return top + 1, _LAST_SEQ
        holes = self._holes(place)
        at = bisect_left(holes, seq, key=_high)
        return holes[at] if at < len(holes) and holes[at][0] <= seq else None

    def keyless(self, room: RoomId, epoch: EpochId) -> list[StoredEvent]:
        """Events that wait for this epoch's key, in (device, seq) order."""
        number = self._core.names.known(epoch)
        if number is None:
            return []
        return sorted(self._select(_KEYLESS, room, number), key=lambda one: (one.device, one.seq, one.id))

    def bodiless(
        self, room: RoomId, device: DeviceId, account: AccountId, start: int, limit: int
    ) -> list[EventId]:
        """Events of a chain, `account`'s, that count and whose body is absent without an edit or delete
        of his that names them: by seq from `start` on, then those before."""
        names = self._core.names
        chain = {"room": names.known(room), "device": names.known(device), "account": names.known(account)}
        rows = self._conn.execute(_BODILESS, {**chain, "start": start, "limit": limit})
        return [EventId(identity) for (identity,) in rows]

    def waited_for(self, room: RoomId) -> list[EpochId]:
        """Epochs for whose key an event waits that is not void, in order."""
        names = self._core.names
        rows = self._conn.execute(_WAITED_FOR, (names.known(room),)).fetchall()
        return sorted(EpochId(names.id(number)) for (number,) in rows)

    def park(self, event: StoredEvent, limit: int) -> bool:
        """Keep an event that cannot be judged yet; False if its device has `limit` already, or
        more than its share of bytes."""
        if self._conn.execute("SELECT 1 FROM parked WHERE id = ?", (event.id,)).fetchone() is not None:
            return True
        count, size = self._conn.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM parked WHERE device = ?", (event.device,)
        ).fetchone()
        if count >= limit or size + len(event.body or b"") > MAX_PARKED_BYTES:
            return False
        self._conn.execute(
            _PARK,
            (
                event.id,
                event.room,
                event.device,
                event.seq,
                event.hlc - HLC_OFFSET,
                event.kind,
                event.epoch,
                event.flags,
                event.received_ms,
                event.prev,
                event.signature,
                event.header,
                event.body,
            ),
        )
        return True

    def parked(self, room: RoomId, device: DeviceId, low: int, high: int) -> list[StoredEvent]:
        """Parked events of one device in one room with low <= seq <= high, by seq."""
        return [parked_of(row) for row in self._conn.execute(_PARKED, (device, room, low, high))]

    def waits(self, room: RoomId, device: DeviceId) -> bool:
        """Whether any event of one device is parked."""
        return self._conn.execute(_WAITS, (device, room)).fetchone() is not None

    def parked_headers(self, room: RoomId) -> list[tuple[EventId, bytes]]:
        """Ids and headers of a room's parked events, by device and seq."""
        return self._conn.execute(_PARKED_HEADERS, (room,)).fetchall()

    def parked_some(self, ids: Sequence[EventId]) -> list[StoredEvent]:
        """Those of `ids` that are parked, in no order."""
        found: list[StoredEvent] = []
        for sql, some in in_portions(f"SELECT {EVENT_COLUMNS} FROM parked ", "id", ids):  # noqa: S608
            found += [parked_of(row) for row in self._conn.execute(sql, some)]
        return found

    def unpark(self, event: EventId) -> None:
        """Drop a parked event."""
        self._conn.execute("DELETE FROM parked WHERE id = ?", (event,))

    def _select(self, sql: str, room: RoomId, *rest: bytes | int) -> list[StoredEvent]:
        """Events of one room; a device among `rest` is given as its id. None of it is interned."""
        names = self._core.names
        values: list[int] = []
        for one in (room, *rest):
            number = names.known(one) if isinstance(one, bytes) else one
            if number is None:
                return []
            values.append(number)
        return [event_of(row, names) for row in self._conn.execute(sql, values).fetchall()]

    # -- the holes of a chain ------------------------------------------------------------

    def _top(self, room: int, device: int) -> int:
        sql = "SELECT max(seq) FROM event WHERE room = ? AND device = ?"
        top: int | None = self._conn.execute(sql, (room, device)).fetchone()[0]
        return top or 0

    def _holes(self, place: tuple[int, int]) -> list[tuple[int, int]]:
        """The holes of one chain, ascending; written at the end of the transaction (`flush`)."""
        known = self._core.holes.get(place)
        if known is None:
            rows = self._conn.execute(
                "SELECT low, high FROM gap WHERE room = ? AND device = ? ORDER BY high", place
            ).fetchall()
            known = self._core.holes[place] = list(rows)
        return known

    def _fill(self, place: tuple[int, int], seq: int) -> None:
        """One number below the head has come: the hole around it shrinks, splits or goes."""
        holes = self._holes(place)
        at = bisect_left(holes, seq, key=_high)
        if at == len(holes) or holes[at][0] > seq:
            return  # a fork: that number was here already
        low, high = holes[at]
        left = [(low, seq - 1)] if low < seq else []
        right = [(seq + 1, high)] if seq < high else []
        holes[at : at + 1] = left + right
        self._core.holes_moved[place] = None

    def flush(self) -> None:
        """Write the holes that this transaction has moved."""
        for room, device in self._core.holes_moved:
            self._conn.execute("DELETE FROM gap WHERE room = ? AND device = ?", (room, device))
            self._conn.executemany(
                "INSERT INTO gap (room, device, low, high) VALUES (?, ?, ?, ?)",
                [(room, device, low, high) for low, high in self._core.holes[room, device]],
            )
        self._core.holes_moved.clear()
