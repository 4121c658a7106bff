"""The writing connection, and what is remembered about its rows.

Decides: the numbers that stand for long ids, and which facts of the archive are kept in
memory. Does not know: any table but `ident` and `value`. Everything remembered here is a
cache of rows: `forget` drops all of it, and every rollback calls it, because a number
given out in a transaction that never was must not be used again.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from p2pchat.errors import LocalProtocolError
from p2pchat.ids import EventId

STALE_WORDS: Final = "store.stale_words"
"""In `value` while erased words may still lie in segments of the full text."""

CLEAN_PAGES: Final = "store.clean_pages"
"""In `value` if, when the archive was last closed, nothing erased was left in unused bytes of its pages
(or nothing has been erased yet)."""


class Names:
    """Numbers for ids of rooms, devices, accounts and epochs, on one connection."""

    __slots__ = ("_conn", "_ids", "_numbers")

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._numbers: dict[bytes, int] = {}
        self._ids: dict[int, bytes] = {}

    def forget(self) -> None:
        """Drop the cache."""
        self._numbers.clear()
        self._ids.clear()

    def known(self, identity: bytes) -> int | None:
        """The number of `identity`, None if it has none yet."""
        number = self._numbers.get(identity)
        if number is not None:
            return number
        row = self._conn.execute("SELECT n FROM ident WHERE id = ?", (identity,)).fetchone()
        return None if row is None else self._remember(row[0], identity)

    def intern(self, identity: bytes) -> int:
        """The number of `identity`, given now if it had none."""
        number = self._numbers.get(identity)
        if number is not None:
            return number
        number = self.known(identity)
        if number is not None:
            return number
        cursor = self._conn.execute("INSERT INTO ident (id) VALUES (?)", (identity,))
        assert cursor.lastrowid is not None
        return self._remember(cursor.lastrowid, identity)

    def id(self, number: int) -> bytes:
        """The bytes `number` stands for."""
        identity = self._ids.get(number)
        if identity is not None:
            return identity
        row = self._conn.execute("SELECT id FROM ident WHERE n = ?", (number,)).fetchone()
        if row is None:
            raise LocalProtocolError(f"no id has the number {number}")
        self._remember(number, row[0])
        return bytes(row[0])

    def _remember(self, number: int, identity: bytes) -> int:
        self._numbers[identity] = number
        self._ids[number] = identity
        return number


class Core:
    """What the families of one ledger share."""

    __slots__ = (
        "conn",
        "early",
        "early_looked_up",
        "erased",
        "fresh",
        "holes",
        "holes_moved",
        "names",
        "pages_marked",
        "stale_words",
        "tops",
        "weeks",
    )

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn
        self.names = Names(conn)
        self.fresh: dict[EventId, int] = {}
        """Events of this transaction that have no message row yet: saves looking for one."""
        self.tops: dict[tuple[int, int], int] = {}
        """Greatest seq by (room, device)."""
        self.weeks: dict[tuple[int, int, int], tuple[int, int]] = {}
        """Count and sum of a week's items by (room, control, week), for those written to."""
        self.holes: dict[tuple[int, int], list[tuple[int, int]]] = {}
        """Missing numbers below the head of a chain, by (room, device): closed ranges, ascending."""
        self.holes_moved: dict[tuple[int, int], None] = {}
        """Those of them that the table does not say yet."""
        self.early: set[EventId] | None = None
        """What was touched before it was here, and all that was touched since this was looked up; None: too
        much to remember, or not looked up (views)."""
        self.early_looked_up = False
        self.stale_words: bool | None = None
        """Whether STALE_WORDS is set; None: not looked up."""
        self.pages_marked: bool | None = None
        """Whether CLEAN_PAGES is set; None: not looked up."""
        self.erased = False
        """Whether something was erased that the log or unused bytes of pages may still hold."""

    def forget(self) -> None:
        """Drop every cache: the transaction they came from may never have been."""
        self.names.forget()
        self.fresh.clear()
        self.tops.clear()
        self.weeks.clear()
        self.holes.clear()
        self.holes_moved.clear()
        self.early, self.early_looked_up = None, False
        self.stale_words = self.pages_marked = None

    def settle(self) -> None:
        """The transaction is over: drop what was true inside it only."""
        self.fresh.clear()

    def words_stale(self) -> bool:
        """Whether erased words may still lie in the full text."""
        if self.stale_words is None:
            row = self.conn.execute("SELECT 1 FROM value WHERE key = ?", (STALE_WORDS,)).fetchone()
            self.stale_words = row is not None
        return self.stale_words

    def mark_words(self) -> None:
        """Remember, durably, that erased words must be merged out of the full text."""
        self.mark_erased()
        if not self.words_stale():
            self.conn.execute("INSERT INTO value (key, value) VALUES (?, x'01')", (STALE_WORDS,))
            self.stale_words = True

    def unmark_words(self) -> None:
        """No erased word is left in the full text."""
        self.conn.execute("DELETE FROM value WHERE key = ?", (STALE_WORDS,))
        self.stale_words = False

    def mark_erased(self) -> None:
        """Something was erased: remember, durably, that pages may still hold it."""
        self.erased = True
        if self.pages_marked is not False:
            self.mark_pages(False)

    def pages_clean(self) -> bool:
        """Whether the archive was closed with nothing erased left in unused bytes."""
        if self.pages_marked is None:
            row = self.conn.execute("SELECT 1 FROM value WHERE key = ?", (CLEAN_PAGES,)).fetchone()
            self.pages_marked = row is not None
        return self.pages_marked

    def mark_pages(self, clean: bool) -> None:
        """Set or remove CLEAN_PAGES."""
        self.conn.execute("DELETE FROM value WHERE key = ?", (CLEAN_PAGES,))
        if clean:
            self.conn.execute("INSERT INTO value (key, value) VALUES (?, x'01')", (CLEAN_PAGES,))
        self.pages_marked = clean
