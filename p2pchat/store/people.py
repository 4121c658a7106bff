"""Statements, registers, trust, addresses and small facts in tables.

Decides: how these rows are written and read. Does not know: what a statement proves or
which register is newer (the caller has compared them).
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import AddressRow, RegisterRow, TrustRow
from p2pchat.store.core import Core
from p2pchat.store.schema import STATES


class People:
    """Fits engine.ports.PeopleStore."""

    def __init__(self, core: Core) -> None:
        self._conn = core.conn
        self._names = core.names

    def add_statement(self, id: bytes, account: AccountId, raw: bytes, signature: bytes) -> None:
        """Keep a statement as long as its account; a known id changes nothing."""
        self._conn.execute(
            "INSERT OR IGNORE INTO statement (id, account, raw, signature) VALUES (?, ?, ?, ?)",
            (id, account, raw, signature),
        )

    def statements(self) -> list[tuple[AccountId, bytes, bytes]]:
        """(account, statement bytes, signature) in the order they came."""
        return self._conn.execute("SELECT account, raw, signature FROM statement ORDER BY pk").fetchall()

    def put_register(self, row: RegisterRow) -> None:
        """Insert or replace by (device, kind, room, author)."""
        self._conn.execute(
            "INSERT INTO register (device, kind, room, author, n, value, signature)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET n = excluded.n, value = excluded.value, signature = excluded.signature",
            (row.device, row.kind, row.room, row.author, row.n, row.value, row.signature),
        )

    def registers(self, kind: int) -> list[RegisterRow]:
        """All of one kind, by (device, room, author)."""
        rows = self._conn.execute(
            "SELECT device, kind, room, author, n, value, signature FROM register WHERE kind = ?"
            " ORDER BY device, room, author",
            (kind,),
        )
        return [RegisterRow(*row) for row in rows]

    def register(self, device: DeviceId, kind: int, room: bytes, author: bytes) -> RegisterRow | None:
        """The newest known register of this name."""
        row = self._conn.execute(
            "SELECT device, kind, room, author, n, value, signature FROM register"
            " WHERE kind = ? AND device = ? AND room = ? AND author = ?",
            (kind, device, room, author),
        ).fetchone()
        return None if row is None else RegisterRow(*row)

    def put_trust(self, row: TrustRow) -> None:
        """Insert or replace by account."""
        self._conn.execute(
            "INSERT OR REPLACE INTO trust"
            " (account, verified, blocked, name, successor_of, first_seen, last_seen)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                row.account,
                int(row.verified),
                int(row.blocked),
                row.name,
                row.successor_of,
                row.first_seen_ms,
                row.last_seen_ms,
            ),
        )

    def trust(self) -> list[TrustRow]:
        """All, by account."""
        rows = self._conn.execute(
            "SELECT account, verified, blocked, name, successor_of, first_seen, last_seen"
            " FROM trust ORDER BY account"
        )
        return [TrustRow(row[0], bool(row[1]), bool(row[2]), *row[3:]) for row in rows]

    def drop_trust(self, account: AccountId) -> None:
        """Forget what was decided about a person."""
        self._conn.execute("DELETE FROM trust WHERE account = ?", (account,))

    def idle(self) -> list[AccountId]:
        """People pinned and no more: not verified, not blocked, no successor, and no event of their
        chat with us is here. Longest unseen first."""
        rows = self._conn.execute(
            "SELECT account FROM trust WHERE verified = 0 AND blocked = 0 AND successor_of IS NULL"
            " AND account NOT IN (SELECT r.peer FROM room r JOIN ident i ON i.id = r.id"
            " WHERE r.peer IS NOT NULL AND EXISTS (SELECT 1 FROM event e WHERE e.room = i.n))"
            " ORDER BY last_seen, account"
        )
        return [AccountId(row[0]) for row in rows]

    def drop_people(self, accounts: Sequence[AccountId], devices: Sequence[DeviceId]) -> None:
        """Forget people and their machines as if never met: statements, registers, trust, chats."""
        people, machines = _listed(accounts), _listed(devices)
        for table, column in (("statement", "account"), ("trust", "account"), ("room", "peer")):
            self._conn.execute(f"DELETE FROM {table} WHERE {column} IN {people}")  # noqa: S608 - hex
        self._conn.execute(f"DELETE FROM register WHERE device IN {machines}")  # noqa: S608 - hex

    def named(self, devices: Sequence[DeviceId]) -> set[DeviceId]:
        """Those of `devices` of which an event is here or waits."""
        machines = _listed(devices)
        rows = self._conn.execute(
            f"SELECT id FROM ident WHERE id IN {machines}"  # noqa: S608 - hex
            f" UNION SELECT device FROM parked WHERE device IN {machines}"
        )
        return {DeviceId(row[0]) for row in rows}

    def put_address(self, row: AddressRow) -> None:
        """Insert or replace by (host, port)."""
        self._conn.execute(
            "INSERT OR REPLACE INTO address (host, port, device, static, last_ok) VALUES (?, ?, ?, ?, ?)",
            (row.host, row.port, row.device, int(row.static), row.last_ok_ms),
        )

    def addresses(self) -> list[AddressRow]:
        """All, by (host, port)."""
        rows = self._conn.execute(
            "SELECT host, port, device, static, last_ok FROM address ORDER BY host, port"
        )
        return [AddressRow(row[0], row[1], row[2], bool(row[3]), row[4]) for row in rows]

    def drop_address(self, host: str, port: int) -> None:
        """Forget an address."""
        self._conn.execute("DELETE FROM address WHERE host = ? AND port = ?", (host, port))

    def put_value(self, key: str, value: bytes) -> None:
        """Small facts of this archive: own counters, own account, flags."""
        self._conn.execute("INSERT OR REPLACE INTO value (key, value) VALUES (?, ?)", (key, value))

    def value(self, key: str) -> bytes | None:
        """The fact under `key`."""
        row = self._conn.execute("SELECT value FROM value WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def values(self, prefix: str) -> list[tuple[str, bytes]]:
        """All whose key begins so, by key."""
        rows = self._conn.execute(
            "SELECT key, value FROM value WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
        )
        return [(key, bytes(value)) for key, value in rows]

    def become(self, old: DeviceId, new: DeviceId) -> None:
        """This machine goes on as `new`: what it has and has read, that says so from now on."""
        before, after = self._names.intern(old), self._names.intern(new)
        self._conn.execute(
            "INSERT OR REPLACE INTO seen (room, device, author, kind, ranges)"
            " SELECT room, ?, author, kind, ranges FROM seen WHERE device = ?",
            (after, before),
        )
        # Secrets that open seals to the old id; the new one asks for those keys.
        self._conn.execute("DELETE FROM prekey")
        # Its chains begin anew: whom own messages are for, they are from the first on.
        self._conn.execute("UPDATE awaited SET seq = 1 WHERE seq > 0")
        # How far these have come nobody tells this id; that they go out is repair's business.
        self._conn.execute(
            "UPDATE message SET state = ? WHERE device = ? AND state IN (?, ?)",
            (STATES.index("received"), before, STATES.index("queued"), STATES.index("held")),
        )


def _listed(ids: Sequence[bytes]) -> str:
    """Ids as a list in SQL: there may be more than SQLite takes as parameters."""
    return "(" + ", ".join(f"x'{one.hex()}'" for one in ids) + ")"
