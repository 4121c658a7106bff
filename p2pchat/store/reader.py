"""Questions people ask of the archive, answered beside the writer.

Decides: how history, unread state, the feed and the queue are read in short transactions,
a page at a time. Does not know: how a page is shown, or names of people and rooms.

A reader has its own connection, which cannot write and cannot checkpoint, so no answer
ever delays a commit. It may be used from any one thread at a time. On an archive in
memory it shares the writer's connection and sees what is committed or about to be.

Hidden messages are never returned.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p2pchat.errors import ArchiveError, CommandError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId, RoomId
from p2pchat.model import SCHEDULED, FeedRow, Gap, MessageView, Notice, Page, QueueRow, TransferView
from p2pchat.store import transfers
from p2pchat.store.check import problems
from p2pchat.store.core import Names
from p2pchat.store.ledger import BUSY_MS, Ledger
from p2pchat.store.notices import notices
from p2pchat.store.outbox import DRAFT_COLUMNS, draft_of
from p2pchat.store.rows import FEED_COLUMNS, MAX_PLACE, VIEW_COLUMNS, feed_of, place_of_ms, view_of
from p2pchat.store.schema import STATES
from p2pchat.store.search import Searcher, SearchPage
from p2pchat.wire.messages.events import ACK

PREVIEW: Final = 80
"""Characters of a waiting message that `queue` shows."""

PRAGMAS: Final = {
    "query_only": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "temp_store": 2,
    "mmap_size": 0,
    "busy_timeout": BUSY_MS,
}

_LAST_ID: Final = b"\xff" * 33
"""Greater than any id."""

_VIEWS: Final = f"SELECT {VIEW_COLUMNS} FROM message m JOIN event e ON e.pk = m.pk "  # noqa: S608 - constants
_UNACKED: Final = (
    "WHERE m.ack > 0 AND m.hidden = 0 AND m.deleted = 0 AND m.mine = 0 AND NOT EXISTS"
    " (SELECT 1 FROM touch t WHERE t.target = e.id AND t.room = m.room AND t.kind = ? AND t.account = ?)"
    " ORDER BY m.place DESC LIMIT ?"
)
_RANGE: Final = (
    "WHERE m.room = :room AND m.hidden = 0 AND m.place BETWEEN :low AND :high"
    " AND (m.place > :low OR e.id > :low_id) AND (m.place < :high OR e.id < :high_id) "
)
_THREAD: Final = (
    "AND m.pk IN (SELECT pk FROM message WHERE thread = :thread"
    " UNION SELECT pk FROM event WHERE id = :thread) "
)
_PINNED: Final = "AND m.pinned = 1 "
_NEWEST_FIRST: Final = "ORDER BY m.place DESC, e.id DESC LIMIT :limit"
_OLDEST_FIRST: Final = "ORDER BY m.place, e.id LIMIT :limit"

MAX_NOTICES: Final = 200
"""Of one page: more is no history but a fight."""
_COUNTED: Final = ("event", "parked", "message", "gap", "feed", "room", "register", "statement", "draft")


class Reader:
    """Answers; open one per thread that asks with `open_reader`, or share the writer's in memory."""

    def __init__(self, conn: sqlite3.Connection, names: Names, *, own: bool) -> None:
        self._conn = conn
        self._names = names
        self._own = own
        self._searcher = Searcher(conn, names)

    def close(self) -> None:
        """Give the connection back."""
        self._searcher.close()
        if self._own:
            self._conn.close()

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One short transaction: all that is read inside is of one moment."""
        if not self._own:
            yield
            return
        try:
            self._conn.execute("BEGIN")
            try:
                yield
            finally:
                self._conn.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise ArchiveError(f"the archive cannot be read: {error}", "p2pchat doctor") from error

    # -- messages ------------------------------------------------------------------------

    def history(
        self,
        room: RoomId,
        *,
        tail: int,
        before: EventId | int | None = None,
        after: EventId | int | None = None,
        thread: EventId | None = None,
        pinned: bool = False,
        forward: bool = False,
    ) -> Page:
        """A stretch of a room, oldest first: the last `tail` messages of what is asked for.

        `before` and `after` are an event's id (that one excluded) or ms since 1970: `after`
        takes in that moment, `before` does not. With `forward` it is the first `tail`
        instead. `has_more` says that the range holds others on the side that was cut.
        Raises CommandError `no_such_target` for an id that is not in the archive.
        """
        with self._snapshot():
            low, low_id = (-1, b"") if after is None else self._place(after)
            high, high_id = (MAX_PLACE, _LAST_ID) if before is None else self._place(before)
            sql = _VIEWS + _RANGE + (_THREAD if thread is not None else "") + (_PINNED if pinned else "")
            rows = self._conn.execute(
                sql + (_OLDEST_FIRST if forward else _NEWEST_FIRST),
                {
                    "room": self._names.known(room),
                    "low": low,
                    "low_id": low_id,
                    "high": high,
                    "high_id": high_id,
                    "thread": thread,
                    "limit": tail + 1,
                },
            ).fetchall()
            more = len(rows) > tail
            found = [view_of(row, self._names) for row in rows[:tail]]
            if not forward:
                found.reverse()
            first = found[0].hlc if found and more else max(low, 0)
            told = notices(self._conn, self._names, self._names.known(room), first, high, MAX_NOTICES)
            return Page(tuple(found), more, self._last_cursor(), tuple(self._gaps(room)), tuple(told))

    def messages(self, ids: Sequence[EventId]) -> list[MessageView]:
        """These messages in the given order; unknown and hidden ones are left out."""
        with self._snapshot():
            found = []
            for one in ids:
                row = self._conn.execute(
                    _VIEWS + "WHERE e.id = ? AND m.hidden = 0", (one,)
                ).fetchone()  # by the unique id
                if row is not None:
                    found.append(view_of(row, self._names))
            return found

    def find(self, prefix: str) -> list[EventId]:
        """Ids of messages that begin with these hex digits, at most 3; hidden ones are no candidates."""
        low, high = (bytes.fromhex(prefix.ljust(2 * ID_BYTES, fill)) for fill in "0f")
        with self._snapshot():
            rows = self._conn.execute(
                "SELECT e.id FROM event e JOIN message m ON m.pk = e.pk"
                " WHERE e.id BETWEEN ? AND ? AND m.hidden = 0 ORDER BY e.id LIMIT 3",
                (low, high),
            ).fetchall()
            return [EventId(row[0]) for row in rows]

    def unread(self, room: RoomId, limit: int) -> list[MessageView]:
        """Others' messages of a room not yet read, oldest first. Marks nothing."""
        with self._snapshot():
            rows = self._conn.execute(
                _VIEWS + "WHERE m.room = ? AND m.unread = 1 AND m.hidden = 0 ORDER BY m.place, e.id LIMIT ?",
                (self._names.known(room), limit),
            ).fetchall()
            return [view_of(row, self._names) for row in rows]

    def inbox_counts(self) -> list[tuple[RoomId, int, int]]:
        """(room, unread, of these mentioning me) of rooms with unread messages, by room."""
        with self._snapshot():
            rows = self._conn.execute(
                "SELECT room, count(*), sum(mentions_me) FROM message WHERE unread = 1 GROUP BY room"
            ).fetchall()
            return sorted((RoomId(self._names.id(room)), count, calls) for room, count, calls in rows)

    def unread_total(self) -> int:
        """How many messages are unread in all."""
        with self._snapshot():
            return int(self._conn.execute("SELECT count(*) FROM message WHERE unread = 1").fetchone()[0])

    def search(
        self,
        query: str,
        *,
        room: RoomId | None = None,
        account: AccountId | None = None,
        after_ms: int | None = None,
        before_ms: int | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> SearchPage:
        """Messages with all words of `query`, newest first; see search.Searcher."""
        with self._snapshot():
            return self._searcher.search(query, room, account, after_ms, before_ms, limit, offset)

    def notices(self, room: RoomId, after: int | None, before: int | None, limit: int) -> list[Notice]:
        """What happened to a room, oldest first, the newest `limit`; bounds in ms as in `history`."""
        with self._snapshot():
            low = 0 if after is None else place_of_ms(after)
            high = MAX_PLACE if before is None else place_of_ms(before) - 1
            return notices(self._conn, self._names, self._names.known(room), low, high, limit)

    def acked(self, message: EventId) -> tuple[AccountId, ...]:
        """Who has taken note of a message, in the order in which they said so."""
        with self._snapshot():
            rows = self._conn.execute(
                "SELECT t.account FROM event e JOIN touch t ON t.target = e.id AND t.room = e.room"
                " WHERE e.id = ? AND t.kind = ? ORDER BY t.hlc, t.id",
                (message, ACK),
            ).fetchall()
            return tuple(dict.fromkeys(AccountId(self._names.id(row[0])) for row in rows))

    def ack_requests(self, me: AccountId, limit: int) -> list[MessageView]:
        """Others' messages that ask to take note and of which `me` has not, newest first."""
        with self._snapshot():
            rows = self._conn.execute(
                _VIEWS + _UNACKED,
                (ACK, self._names.known(me), limit),
            ).fetchall()
            return [view_of(row, self._names) for row in rows]

    def unread_counts(self) -> dict[RoomId, int]:
        """Unread messages of each room that has any."""
        return {room: count for room, count, _ in self.inbox_counts()}

    def gaps(self, room: RoomId) -> list[Gap]:
        """Numbers below a device's head that are not here, by device and number."""
        with self._snapshot():
            return self._gaps(room)

    # -- feed and queue ------------------------------------------------------------------

    def feed(self, since_cursor: int, limit: int) -> list[FeedRow]:
        """Rows after `since_cursor`, in order."""
        with self._snapshot():
            rows = self._conn.execute(
                f"SELECT {FEED_COLUMNS} FROM feed"  # noqa: S608
                " WHERE cursor > ? AND type != 'none' ORDER BY cursor LIMIT ?",
                (since_cursor, limit),
            ).fetchall()
            return [feed_of(row) for row in rows]

    def last_cursor(self) -> int:
        """The cursor of the newest row ever written, 0 before the first."""
        with self._snapshot():
            return self._last_cursor()

    def oldest_cursor(self) -> int:
        """The cursor of the oldest row kept; of the next one to come if none is.

        Who continues after a cursor smaller than this minus one has missed something.
        """
        with self._snapshot():
            oldest: int | None = self._conn.execute("SELECT min(cursor) FROM feed").fetchone()[0]
            return self._last_cursor() + 1 if oldest is None else oldest

    def queue(self) -> list[QueueRow]:
        """Own messages nobody has yet and drafts still open, oldest first; not what was taken back, though
        those who keep it may still have to hear of that.

        `id` of a draft is the bytes of its text id; `to` is filled in direct chats only.
        """
        with self._snapshot():
            peers = dict(self._conn.execute("SELECT id, peer FROM room").fetchall())

            def to(room: bytes) -> tuple[AccountId, ...]:
                peer = peers.get(room)
                return () if peer is None else (AccountId(peer),)

            rows: list[QueueRow] = []
            open_drafts = f"SELECT {DRAFT_COLUMNS} FROM draft WHERE sent_as IS NULL AND cancelled = 0"  # noqa: S608
            for draft in map(draft_of, self._conn.execute(open_drafts)):
                identity, room = EventId(draft.id.encode()), draft.room
                preview = _preview(draft.text)
                rows.append(
                    QueueRow(identity, room, to(room), SCHEDULED, draft.made_ms, preview, at_ms=draft.at_ms)
                )
            for identity, number, state, written, text in self._conn.execute(
                "SELECT e.id, m.room, m.state, m.written, m.text FROM message m JOIN event e ON e.pk = m.pk"
                " WHERE m.state IN (1, 2, 3) AND m.state IN (1, 2) AND m.mine = 1 AND m.hidden = 0"
                " AND m.deleted = 0"
            ).fetchall():
                room = RoomId(self._names.id(number))
                rows.append(
                    QueueRow(EventId(identity), room, to(room), STATES[state], written, _preview(text or ""))
                )
            return sorted(rows, key=lambda row: (row.since_ms, row.id))

    # -- files ---------------------------------------------------------------------------

    def transfers(self, limit: int = 10_000) -> list[TransferView]:
        """The newest `limit` offers, ours and others', the newest last; `flags` are not filled in."""
        with self._snapshot():
            return transfers.newest(self._conn, limit)

    def transfer(self, offer: bytes) -> TransferView | None:
        """How one offer stands; `flags` are not filled in."""
        with self._snapshot():
            return transfers.one(self._conn, offer)

    def find_transfers(self, prefix: str) -> list[bytes]:
        """Ids of offers that begin with these hex digits, at most 3."""
        with self._snapshot():
            return transfers.found(self._conn, prefix)

    # -- the archive itself --------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Rows of the main tables, by table. Reads an index of each: for `status` and `doctor`."""
        with self._snapshot():
            count = "SELECT count(*) FROM {}"
            return {table: int(self._conn.execute(count.format(table)).fetchone()[0]) for table in _COUNTED}

    def check_integrity(self) -> list[str]:
        """What is wrong with the archive, beside the writer; the full text only it can check."""
        with self._snapshot():
            return problems(self._conn, None)

    # -- inside a snapshot ---------------------------------------------------------------

    def _place(self, where: EventId | int) -> tuple[int, bytes]:
        """The bound a time or an event stands for: messages lie on one side of (place, id) or the other."""
        if isinstance(where, int):
            return place_of_ms(where) - 1, _LAST_ID
        row = self._conn.execute(
            "SELECT m.place FROM event e JOIN message m ON m.pk = e.pk WHERE e.id = ?", (where,)
        ).fetchone()
        if row is None:
            raise CommandError(
                "no_such_target", f"no message '{where.hex()[:16]}' here", "copy an id from `p2pchat history`"
            )
        return row[0], where

    def _gaps(self, room: RoomId) -> list[Gap]:
        rows = self._conn.execute(
            "SELECT device, low, high FROM gap WHERE room = ?", (self._names.known(room),)
        ).fetchall()
        return sorted(
            (Gap(DeviceId(self._names.id(device)), low, high) for device, low, high in rows),
            key=lambda gap: (gap.device, gap.low),
        )

    def _last_cursor(self) -> int:
        newest: int | None = self._conn.execute("SELECT max(cursor) FROM feed").fetchone()[0]
        return newest or 0


def open_reader(ledger: Ledger) -> Reader:
    """A reader of the archive that `ledger` writes.

    Raises ArchiveError where the file cannot be opened or a setting is not taken.
    """
    if ledger.in_memory:
        return Reader(ledger.connection, ledger.names, own=False)
    where = Path(ledger.path).absolute().as_uri() + "?mode=ro"
    try:
        conn = sqlite3.connect(
            where, uri=True, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma, wanted in PRAGMAS.items():
                conn.execute(f"PRAGMA {pragma} = {wanted}")
                got = conn.execute(f"PRAGMA {pragma}").fetchone()[0]
                if got != wanted:
                    raise ArchiveError(f"SQLite does not take {pragma}={wanted} for '{ledger.path}'")
            conn.execute(
                "SELECT count(*) FROM room"
            ).fetchone()  # opens the file now, not at the first question
        except BaseException:  # whatever it was: no handle may stay open on the file
            conn.close()
            raise
    except sqlite3.Error as error:
        raise ArchiveError(
            f"the archive '{ledger.path}' cannot be read: {error}", "p2pchat doctor"
        ) from error
    return Reader(conn, Names(conn), own=True)


def _preview(text: str) -> str:
    """The beginning of a text in one line of at most PREVIEW characters."""
    line = " ".join(text[: 4 * PREVIEW].split())
    return line if len(line) <= PREVIEW else line[: PREVIEW - 1] + "…"
