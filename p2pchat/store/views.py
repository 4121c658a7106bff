"""What messages look like now, in tables.

Decides: how a view becomes a row and keeps its unread mark, and what leaves the full text
with it. Does not know: how a view is computed (engine), or how history is read (reader).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pchat.errors import LocalProtocolError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId, RoomId
from p2pchat.model import MessageView, Touch
from p2pchat.store.core import Core
from p2pchat.store.fulltext import FullText
from p2pchat.store.rows import (
    STATE_NUMBER,
    VIEW_COLUMNS,
    ack_of,
    join_ids,
    pack_reactions,
    place_of,
    split_ids,
    view_of,
)
from p2pchat.store.schema import HLC_OFFSET

# One order of columns for both, so that the values are made once; `pk` comes last.
_INSERT: Final = (
    "INSERT INTO message (room, account, device, seq, hlc, place, written, received, urgent, edited, deleted,"
    " pinned, hidden, mine, mentions_me, state, reply_to, thread, mentions, reactions, flags, text, ack,"
    " pk, unread)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE: Final = (
    "UPDATE message SET room = ?, account = ?, device = ?, seq = ?, hlc = ?, place = ?, written = ?,"
    " received = ?, urgent = ?, edited = ?, deleted = ?, pinned = ?, hidden = ?, mine = ?, mentions_me = ?,"
    " state = ?, reply_to = ?, thread = ?, mentions = ?, reactions = ?, flags = ?, text = ?, ack = ?,"
    " unread = ?, doc = ? WHERE pk = ?"
)
_GET: Final = f"SELECT {VIEW_COLUMNS} FROM event e JOIN message m ON m.pk = e.pk WHERE e.id = ?"  # noqa: S608
_OLD: Final = "SELECT unread, doc, text, state FROM message WHERE pk = ?"
_ADVANCE_LIVE: Final = (
    "SELECT m.seq, m.pk, e.id FROM message m JOIN event e ON e.pk = m.pk WHERE m.state IN (1, 2, 3)"
    " AND m.state = ? AND m.room = ? AND m.device = ? AND m.seq BETWEEN ? AND ?"
)
_ADVANCE_ANY: Final = (
    "SELECT m.seq, m.pk, e.id FROM event e JOIN message m ON m.pk = e.pk"
    " WHERE m.state = ? AND e.room = ? AND e.device = ? AND e.seq BETWEEN ? AND ?"
)
_LIVE_STATES: Final = (1, 2, 3)
WAITING: Final = (1, 2)
"""Numbers of `queued` and `held`: nobody has it yet."""
_WAITING: Final = (
    "SELECT m.place, e.id, m.room FROM message m JOIN event e ON e.pk = m.pk"
    " WHERE m.state IN (1, 2, 3) AND m.state IN (1, 2) AND m.mine = 1 AND (:room IS NULL OR m.room = :room)"
)


class Views:
    """Fits engine.ports.ViewStore; `index_some`, `clear_views` are for the runner."""

    def __init__(self, core: Core, fulltext: FullText) -> None:
        self._core = core
        self._conn = core.conn
        self._write = core.conn.cursor()
        self._fulltext = fulltext

    def put_message(self, view: MessageView) -> None:
        """Insert or replace by id. The event is in the log already.

        Unread at first insert unless own or hidden; a replace keeps the mark, hiding and
        deleting clear it.
        """
        intern = self._core.names.intern
        values = (
            intern(view.room),
            intern(view.account),
            intern(view.device),
            view.seq,
            view.hlc - HLC_OFFSET,
            place_of(view.hlc, view.received_ms),
            view.written_ms,
            view.received_ms,
            1 if view.urgent else 0,
            1 if view.edited else 0,
            1 if view.deleted else 0,
            1 if view.pinned else 0,
            1 if view.hidden else 0,
            1 if view.mine else 0,
            1 if view.mentions_me else 0,
            STATE_NUMBER[view.state],
            view.reply_to,
            view.thread,
            join_ids(view.mentions),
            pack_reactions(view.reactions),
            " ".join(view.flags) or None,
            view.text,
            ack_of(view.ack_by_ms),
        )
        gone = view.hidden or view.deleted
        pk = self._core.fresh.pop(view.id, None)
        old = None
        if pk is None:
            pk = self._pk(view.id)
            if pk is None:
                raise LocalProtocolError(f"no event '{view.id.hex()}' for this message")
            old = self._conn.execute(_OLD, (pk,)).fetchone()
        if old is None:
            self._write.execute(_INSERT, (*values, pk, 0 if view.mine or gone else 1))
            return
        unread, doc, text, state = old
        if text is not None and text != view.text:
            self._core.mark_erased()
            if gone and state not in WAITING:  # its words were in the index, now or before an edit
                self._core.mark_words()
        if doc is not None and (view.hidden or text != view.text):
            self._fulltext.drop(doc, text)
            doc = None
        self._write.execute(_UPDATE, (*values, 0 if gone else unread, doc, pk))

    def message(self, event: EventId) -> MessageView | None:
        """The view of one message, hidden ones too."""
        row = self._conn.execute(_GET, (event,)).fetchone()
        return None if row is None else view_of(row, self._core.names)

    def find(self, prefix: str) -> list[EventId]:
        """Ids of messages that begin with these hex digits, at most 3."""
        digits = prefix.lower()
        if not digits or len(digits) > 2 * ID_BYTES or any(c not in "0123456789abcdef" for c in digits):
            return []
        low, high = (bytes.fromhex(digits.ljust(2 * ID_BYTES, fill)) for fill in "0f")
        rows = self._conn.execute(
            "SELECT e.id FROM event e JOIN message m ON m.pk = e.pk"
            " WHERE e.id BETWEEN ? AND ? ORDER BY e.id LIMIT 3",
            (low, high),
        )
        return [EventId(row[0]) for row in rows]

    def last_mine(self, room: RoomId) -> EventId | None:
        """The newest own message of a room that is not deleted or hidden."""
        row = self._conn.execute(
            "SELECT e.id FROM message m JOIN event e ON e.pk = m.pk"
            " WHERE m.room = ? AND m.mine = 1 AND m.hidden = 0 AND m.deleted = 0"
            " ORDER BY m.place DESC, e.id DESC LIMIT 1",
            (self._core.names.known(room),),
        ).fetchone()
        return None if row is None else EventId(row[0])

    def advance(
        self, room: RoomId, device: DeviceId, low: int, high: int, before: Sequence[str], state: str
    ) -> list[EventId]:
        """Set `state` where the state is one of `before`, seq in [low, high]; ids in seq order.

        Costs what it changes for states on the way (queued, held, delivered), however
        long the range.
        """
        names = self._core.names
        where = (names.known(room), names.known(device), low, high)
        found: list[tuple[int, int, bytes]] = []
        for name in before:
            number = STATE_NUMBER[name]
            sql = _ADVANCE_LIVE if number in _LIVE_STATES else _ADVANCE_ANY
            found += self._conn.execute(sql, (number, *where)).fetchall()
        found.sort()
        self._conn.executemany(
            "UPDATE message SET state = ? WHERE pk = ?", [(STATE_NUMBER[state], pk) for _, pk, _ in found]
        )
        return [EventId(identity) for _, _, identity in found]

    def put_touch(self, touch: Touch) -> None:
        """Insert; a known id changes nothing."""
        self._conn.execute(
            "INSERT OR IGNORE INTO touch"
            " (id, target, account, hlc, kind, remove, urgent, reply_to, thread, mentions, value, ack)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                touch.id,
                touch.target,
                self._core.names.intern(touch.account),
                touch.hlc - HLC_OFFSET,
                touch.kind,
                int(touch.remove),
                int(touch.urgent),
                touch.reply_to,
                touch.thread,
                join_ids(touch.mentions),
                touch.value,
                touch.ack,
            ),
        )

    def drop_touch(self, event: EventId) -> None:
        """Forget what one event does to another, its text included."""
        self._conn.execute("DELETE FROM touch WHERE id = ?", (event,))
        self._core.mark_erased()

    def touches(self, target: EventId) -> list[Touch]:
        """In (hlc, id) order."""
        rows = self._conn.execute(
            "SELECT id, account, hlc, kind, value, remove, mentions, reply_to, thread, urgent, ack FROM touch"
            " WHERE target = ? ORDER BY hlc, id",
            (target,),
        ).fetchall()
        return [
            Touch(
                target,
                row[0],
                AccountId(self._core.names.id(row[1])),
                row[2] + HLC_OFFSET,
                row[3],
                row[4],
                bool(row[5]),
                split_ids(row[6]),
                row[7],
                row[8],
                bool(row[9]),
                row[10],
            )
            for row in rows
        ]

    def waiting(self, room: RoomId | None) -> list[tuple[EventId, RoomId]]:
        """Own messages in state queued or held, oldest first."""
        names = self._core.names
        number = None
        if room is not None:
            number = names.known(room)
            if number is None:
                return []
        rows = sorted(self._conn.execute(_WAITING, {"room": number}).fetchall())
        return [(EventId(identity), RoomId(names.id(where))) for _, identity, where in rows]

    def unread(self, room: RoomId, limit: int) -> list[EventId]:
        """Others' messages of a room not yet read, oldest first."""
        rows = self._conn.execute(
            "SELECT e.id FROM message m JOIN event e ON e.pk = m.pk WHERE m.room = ? AND m.unread = 1"
            " ORDER BY m.place, e.id LIMIT ?",
            (self._core.names.known(room), limit),
        )
        return [EventId(row[0]) for row in rows]

    def mark_read(self, ids: Sequence[EventId]) -> list[tuple[DeviceId, int]]:
        """Mark as read; (device, seq) of those that were unread."""
        found: list[tuple[DeviceId, int]] = []
        for one in ids:
            row = self._conn.execute(
                "UPDATE message SET unread = 0 WHERE pk = (SELECT pk FROM event WHERE id = ?) AND unread = 1"
                " RETURNING device, seq",
                (one,),
            ).fetchone()
            if row is not None:
                found.append((DeviceId(self._core.names.id(row[0])), row[1]))
        return found

    # -- for the runner ------------------------------------------------------------------

    def index_some(self, limit: int = 1000) -> int:
        """Take up to `limit` messages into the full text; how many, 0 when none is left."""
        return self._fulltext.index_some(limit)

    def clear_views(self) -> None:
        """Drop all that can be made again from the event log: messages, touches, full text.

        Which messages were read is not in the log: whoever makes them again marks them
        read by the ranges this machine holds in `seen`.
        """
        self._fulltext.clear()
        self._conn.execute("DELETE FROM message")
        self._conn.execute("DELETE FROM touch")
        self._core.fresh.clear()

    def _pk(self, event: EventId) -> int | None:
        row = self._conn.execute("SELECT pk FROM event WHERE id = ?", (event,)).fetchone()
        return None if row is None else int(row[0])
