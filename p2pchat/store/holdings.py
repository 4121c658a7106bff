"""What is kept for others who are away, in tables.

Decides: how these rows are written and found, and that what is dropped leaves no row behind.
Does not know: who may deposit, how much, or when something is given up (engine/holders).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import HeldEvent
from p2pchat.store.core import Core

Ranges = tuple[tuple[int, int], ...]

ROW_BYTES: Final = 200
"""What a row and its indices take beside the event; for each machine named half of it."""
MAX_LATER: Final = 8
"""Machines of one person remembered as having something, if they were not named when it was deposited."""
LOOKED_AT: Final = 4096
"""Events held for somebody that are looked at to tell him of which chains they are."""
KEPT_WORDS_MS: Final = 60 * 24 * 3600 * 1000
"""So long an author who does not come is waited for with what was said about his events."""
_TOTAL: Final = "store.held_bytes"
"""In `value`: the sum of `holding.size`, so that nobody adds up millions of rows."""
_COLUMNS: Final = (
    "h.id, h.depositor, h.machine, h.room, h.author, h.seq, h.control, h.at, h.expires,"
    " h.header, h.signature, h.body, h.pk"
)
_MAY_HAVE: Final = (
    " FROM holding_for f JOIN holding h ON h.pk = f.holding"
    " WHERE f.account = :account AND f.device = x'' AND f.holding > :after"
    " AND :device NOT IN (h.machine, h.author)"
    " AND NOT EXISTS (SELECT 1 FROM holding_for g WHERE g.holding = f.holding AND g.account = :account"
    " AND g.device = :device AND g.had = 1)"
)
"""Held for a person, who has one row without a machine, and not yet at this machine of his."""
_TOPS: Final = (
    "SELECT room, author, id, max(seq) FROM (SELECT h.room, h.author, h.id, h.seq"  # noqa: S608 - all of it is written here
    + _MAY_HAVE
    + " ORDER BY f.holding LIMIT :most) GROUP BY room, author ORDER BY room, author LIMIT :limit"
)
_MAY_SAY: Final = (
    " AND (EXISTS (SELECT 1 FROM holding_for g"
    " WHERE g.holding = h.pk AND g.account = :account AND g.device = :device)"
    " OR (SELECT count(*) FROM holding_for c WHERE c.holding = h.pk AND c.account = :account) <= :most)"
)
_OF_CHAIN: Final = (
    " FROM holding h JOIN holding_for f ON f.holding = h.pk AND f.account = :account AND f.device = x''"
    " WHERE h.room = :room AND h.author = :author AND h.seq BETWEEN :low AND :high"
)


class Holdings:
    """Fits engine.ports.HoldingStore."""

    def __init__(self, core: Core) -> None:
        self._conn = core.conn

    # -- taking in -------------------------------------------------------------------------

    def hold(self, event: HeldEvent, to: Sequence[tuple[AccountId, DeviceId]]) -> None:
        """Keep an event for these; what is held of it already is held for these as well."""
        found = self._conn.execute(
            "SELECT pk, body FROM holding WHERE depositor = ? AND id = ?", (event.depositor, event.id)
        ).fetchone()
        if found is None:
            size = ROW_BYTES + len(event.header) + len(event.signature) + len(event.body or b"")
            place = self._conn.execute(
                "INSERT INTO holding (id, depositor, machine, room, author, seq, control, at, expires, size,"
                " header, signature, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event.id, event.depositor, event.machine, event.room, event.author, event.seq,
                    int(event.control), event.at_ms, event.expires_ms, size, event.header,
                    event.signature, event.body,
                ),
            ).lastrowid  # fmt: skip
            more = size
        else:
            (place, body), more = found, 0
            if event.body is None and body is not None:
                self._conn.execute(
                    "UPDATE holding SET body = NULL, size = size - ? WHERE pk = ?", (len(body), place)
                )
                more = -len(body)
        made = self._conn.executemany(
            "INSERT OR IGNORE INTO holding_for (holding, account, device, had) VALUES (?, ?, ?, ?)",
            [(place, account, device, int(not device)) for account, device in to],
        ).rowcount
        if made > 0:
            beside = made * (ROW_BYTES // 2)
            self._conn.execute("UPDATE holding SET size = size + ? WHERE pk = ?", (beside, place))
            more += beside
        if more:
            self._count(more)

    def _count(self, size: int) -> None:
        self._conn.execute(
            "INSERT OR REPLACE INTO value (key, value) VALUES (?, ?)",
            (_TOTAL, str(self.held_bytes() + size).encode()),
        )

    def held_already(self, depositor: AccountId, events: Sequence[EventId]) -> set[EventId]:
        """Those of `events` that this person has deposited."""
        marks = ", ".join("?" * len(events))
        rows = self._conn.execute(
            f"SELECT id FROM holding WHERE depositor = ? AND id IN ({marks})",  # noqa: S608 - marks
            (depositor, *events),
        )
        return {EventId(row[0]) for row in rows}

    def taken_since(self, depositor: AccountId, since_ms: int) -> int:
        """Bytes taken of one person since then, as far as they are still held."""
        row = self._conn.execute(
            "SELECT coalesce(sum(size), 0) FROM holding WHERE depositor = ? AND at >= ?",
            (depositor, since_ms),
        ).fetchone()
        return int(row[0])

    def held_bytes(self, depositors: Sequence[AccountId] | None = None) -> int:
        """Bytes held, of these people or of all."""
        if depositors is not None:
            return sum(self.taken_since(one, -(2**62)) for one in depositors)
        row = self._conn.execute("SELECT value FROM value WHERE key = ?", (_TOTAL,)).fetchone()
        return 0 if row is None else int(row[0])

    # -- handing over ----------------------------------------------------------------------

    def tops(
        self, account: AccountId, device: DeviceId, limit: int
    ) -> list[tuple[RoomId, DeviceId, EventId]]:
        """Chains of which something is held for this machine: room, author, newest event of it; where very
        much is held, of what came first."""
        rows = self._conn.execute(
            _TOPS,
            {"account": account, "device": device, "limit": limit, "after": 0, "most": LOOKED_AT},
        )
        return [(RoomId(row[0]), DeviceId(row[1]), EventId(row[2])) for row in rows]

    def claimed(
        self, account: AccountId, device: DeviceId, control: bool, after: int, limit: int
    ) -> list[HeldEvent]:
        """The same, event by event, those behind place `after`."""
        rows = self._conn.execute(
            f"SELECT {_COLUMNS}" + _MAY_HAVE + " AND h.control = :control ORDER BY f.holding LIMIT :limit",
            {
                "account": account,
                "device": device,
                "control": int(control),
                "after": after,
                "limit": limit,
            },
        )
        return [_held(row) for row in rows]

    # -- giving up -------------------------------------------------------------------------

    def concerns(self, account: AccountId, room: bytes, author: bytes) -> bool:
        """Whether anything of that chain is held for this person."""
        row = self._conn.execute(
            "SELECT 1 FROM holding h JOIN holding_for f ON f.holding = h.pk"
            " WHERE h.room = ? AND h.author = ? AND f.account = ? LIMIT 1",
            (room, author, account),
        ).fetchone()
        return row is not None

    def had(self, account: AccountId, device: DeviceId, room: bytes, author: bytes, ranges: Ranges) -> None:
        """A machine has these numbers of a chain: remember it of what is held for its person, if it was
        named, or is one of few that came later: each is a row that nobody has room for."""
        for low, high in ranges:
            self._conn.execute(
                "INSERT OR REPLACE INTO holding_for (holding, account, device, had)"
                " SELECT h.pk, :account, :device, 1" + _OF_CHAIN + _MAY_SAY,
                _chain(account, room, author, low, high) | {"device": device, "most": MAX_LATER},
            )

    def lacking(self, account: AccountId, room: bytes, author: bytes) -> list[DeviceId]:
        """Machines that are named for something of a chain held for this person, and have not said to
        have it."""
        rows = self._conn.execute(
            "SELECT DISTINCT g.device FROM holding h JOIN holding_for f ON f.holding = h.pk"
            " AND f.account = :account AND f.device = x'' JOIN holding_for g ON g.holding = h.pk"
            " AND g.had = 0 WHERE h.room = :room AND h.author = :author ORDER BY g.device",
            {"account": account, "room": room, "author": author},
        )
        return [DeviceId(row[0]) for row in rows]

    def drop_had(
        self, account: AccountId, room: bytes, author: bytes, ranges: Ranges, gone: Sequence[DeviceId]
    ) -> None:
        """Drop of these what every machine named for it has, those that are `gone` left out."""
        marks = ", ".join(f"x'{one.hex()}'" for one in gone)
        for low, high in ranges:
            rows = self._conn.execute(
                "SELECT h.pk, h.size" + _OF_CHAIN + " AND NOT EXISTS (SELECT 1 FROM holding_for g"  # noqa: S608 - hex
                f" WHERE g.holding = h.pk AND g.had = 0 AND g.device NOT IN ({marks}))",
                _chain(account, room, author, low, high),
            ).fetchall()
            self._remove(rows)

    def withdraw(self, depositor: AccountId, room: bytes, author: bytes, ranges: Ranges) -> None:
        """Drop what this person deposited of a chain."""
        for low, high in ranges:
            where = "depositor = ? AND room = ? AND author = ? AND seq BETWEEN ? AND ?"
            self._drop(where, (depositor, room, author, low, high))

    def drop_of(self, depositor: AccountId) -> None:
        """Drop all that somebody deposited."""
        self._drop("depositor = ?", (depositor,))

    def depositors(self) -> list[AccountId]:
        """Who has something here, in order."""
        found: list[AccountId] = []  # one step in the index each: all rows together may be millions
        sql, last = "SELECT min(depositor) FROM holding WHERE depositor > ?", b""
        while (row := self._conn.execute(sql, (last,)).fetchone())[0] is not None:
            last = row[0]
            found.append(AccountId(last))
        return found

    def expire(self, now_ms: int) -> int:
        """Drop what is held long enough, and words nobody came for; how many events."""
        self._conn.execute("DELETE FROM holding_told WHERE at < ?", (now_ms - KEPT_WORDS_MS,))
        return self._drop("expires <= ?", (now_ms,))

    def _drop(self, where: str, values: tuple[Any, ...]) -> int:
        rows = self._conn.execute(f"SELECT pk, size FROM holding WHERE {where}", values).fetchall()  # noqa: S608
        self._remove(rows)
        return len(rows)

    def _remove(self, rows: Sequence[tuple[int, int]]) -> None:
        places = [(place,) for place, _ in rows]
        self._conn.executemany("DELETE FROM holding_for WHERE holding = ?", places)
        self._conn.executemany("DELETE FROM holding WHERE pk = ?", places)
        if rows:
            self._count(-sum(size for _, size in rows))

    # -- word for authors ------------------------------------------------------------------

    def owe_word(self, author: bytes, room: bytes, device: DeviceId, at_ms: int) -> None:
        """The author is to be given the register of `device` about his chain."""
        self._conn.execute(
            "INSERT OR REPLACE INTO holding_told (author, room, device, at) VALUES (?, ?, ?, ?)",
            (author, room, device, at_ms),
        )

    def owed_words(self, author: bytes) -> list[tuple[bytes, DeviceId]]:
        """(room, device) of registers an author is to be given."""
        rows = self._conn.execute(
            "SELECT room, device FROM holding_told WHERE author = ? ORDER BY room, device", (author,)
        )
        return [(bytes(row[0]), DeviceId(row[1])) for row in rows]


def _chain(account: bytes, room: bytes, author: bytes, low: int, high: int) -> dict[str, Any]:
    return {"account": account, "room": room, "author": author, "low": low, "high": high}


def _held(row: Any) -> HeldEvent:
    return HeldEvent(
        EventId(row[0]), AccountId(row[1]), DeviceId(row[2]), RoomId(row[3]), DeviceId(row[4]), row[5],
        bool(row[6]), row[7], row[8], row[9], row[10], row[11], row[12],
    )  # fmt: skip
