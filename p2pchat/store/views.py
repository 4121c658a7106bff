"""What messages look like now, in tables.

Decides: how a view becomes a row and keeps its unread mark, and what leaves the full text
with it. Does not know: how a view is computed (engine), or how history is read (reader).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from p2pchat.errors import LocalProtocolError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId, RoomId
from p2pchat.model import MessageView, Touch
from p2pchat.store.core import Core
from p2pchat.store.folding import unlike
from p2pchat.store.fulltext import FullText
from p2pchat.store.rows import (
    STATE_NUMBER,
    VIEW_COLUMNS,
    ack_of,
    in_portions,
    join_ids,
    pack_files,
    pack_reactions,
    place_of,
    split_ids,
    view_of,
)
from p2pchat.store.schema import HLC_OFFSET
from p2pchat.wire.limits import MAX_STANDING
from p2pchat.wire.messages.events import EDIT, REACTION

# One order of columns for both, so that the values are made once; `pk` comes last.
_INSERT: Final = (
    "INSERT INTO message (room, account, device, seq, hlc, place, written, received, urgent, edited, deleted,"
    " pinned, hidden, mine, mentions_me, state, reply_to, thread, mentions, reactions, flags, text, ack,"
    " files, pk, unread, doc, folded)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE: Final = (
    "UPDATE message SET room = ?, account = ?, device = ?, seq = ?, hlc = ?, place = ?, written = ?,"
    " received = ?, urgent = ?, edited = ?, deleted = ?, pinned = ?, hidden = ?, mine = ?, mentions_me = ?,"
    " state = ?, reply_to = ?, thread = ?, mentions = ?, reactions = ?, flags = ?, text = ?, ack = ?,"
    " files = ?, unread = ?, doc = ? WHERE pk = ?"
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
_PLACE: Final = 5
_STATE: Final = 15
"""Where these two stand among the values of a row."""
_LIVE_STATES: Final = (1, 2, 3)
WAITING: Final = (1, 2)
"""Numbers of `queued` and `held`: nobody has it yet."""
_WAITING: Final = (
    "SELECT m.place, e.id, m.room FROM message m JOIN event e ON e.pk = m.pk"
    " WHERE m.state IN (1, 2, 3) AND m.state IN (1, 2) AND m.mine = 1 AND (:room IS NULL OR m.room = :room)"
)
# What an edit says lies in pages of its own, read only if asked for; so does what comes after it.
_LIGHT: Final = f"hlc, id, kind, account, remove, CASE kind WHEN {EDIT} THEN '' ELSE value END"
_TOUCHES: Final = f"SELECT {_LIGHT} FROM touch WHERE target = ? AND room = ? LIMIT ?"  # noqa: S608 - constants
_HERE: Final = "target = :target AND room = :room"
_NEWEST_TOUCHES: Final = (
    "WITH RECURSIVE one (kind, account, remove) AS ("  # noqa: S608 - constants
    f"SELECT * FROM (SELECT kind, account, remove FROM touch WHERE {_HERE}"
    " ORDER BY kind, account, remove LIMIT 1)"
    " UNION ALL SELECT t.kind, t.account, t.remove FROM one CROSS JOIN touch t WHERE t.rowid = coalesce("
    f"(SELECT rowid FROM touch WHERE {_HERE} AND kind = one.kind AND account = one.account"
    " AND remove > one.remove ORDER BY remove LIMIT 1),"
    f"(SELECT rowid FROM touch WHERE {_HERE} AND kind = one.kind AND account > one.account"
    " ORDER BY account, remove LIMIT 1),"
    f"(SELECT rowid FROM touch WHERE {_HERE} AND kind > one.kind"
    " ORDER BY kind, account, remove LIMIT 1)))"
    f" SELECT {_LIGHT} FROM touch WHERE rowid IN (SELECT t.rowid FROM one CROSS JOIN touch t WHERE t.rowid IN"
    f" (SELECT rowid FROM touch WHERE {_HERE} AND kind = one.kind AND account = one.account"
    f" AND remove = one.remove ORDER BY hlc DESC, id DESC LIMIT {MAX_STANDING}))"
)
_LightRow = tuple[int, EventId, int, int, int, str]
"""(hlc, id, kind, account, remove, value), in order of the first two."""
_MANY_TOUCHES: Final = 2 * MAX_STANDING
"""So many are read as they are; beyond, looking for those that decide is cheaper."""
_EARLY: Final = (
    "SELECT DISTINCT target FROM touch t WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.id = t.target)"
)
MAX_EARLY: Final = 2_000
"""Where more has been touched each new message is looked for among it. To look at so many takes 4 ms
after a start or a rollback, and then a message costs a statement less (docs/decisions/0016)."""


class Views:
    """Fits engine.ports.ViewStore; `index_some`, `clear_views` are for the runner."""

    def __init__(self, core: Core, fulltext: FullText) -> None:
        self._core = core
        self._conn = core.conn
        self._write = core.conn.cursor()
        self._fulltext = fulltext

    def put_message(self, view: MessageView, *, bulk: bool = False) -> None:
        """Insert or replace by id. The event is in the log already.

        Unread at first insert unless own or hidden; a replace keeps the mark, hiding and
        deleting clear it. `bulk`: one of so many that a new one enters the full text with this
        transaction.
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
            join_ids(view.mentions) if view.mentions else None,
            pack_reactions(view.reactions) if view.reactions else None,
            " ".join(view.flags) if view.flags else None,
            view.text,
            ack_of(view.ack_by_ms),
            pack_files(view.files),
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
            row = (*values, pk, 0 if view.mine or gone else 1)
            if bulk and view.text is not None and not view.hidden and values[_STATE] not in WAITING:
                self._insert_found(view.id, view.text, values[_PLACE], row)
            else:
                self._write.execute(_INSERT, (*row, None, None))
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

    def _insert_found(self, identity: EventId, text: str, place: int, row: tuple[object, ...]) -> None:
        """A new message that enters the full text with this transaction, at `place` if that is free."""
        doc, folded = place, unlike(text)
        try:
            self._write.execute(_INSERT, (*row, doc, folded))
        except sqlite3.IntegrityError:
            doc = self._fulltext.free_doc(place, identity)
            self._write.execute(_INSERT, (*row, doc, folded))
        self._fulltext.add(doc, folded or text)

    def drop_message(self, event: EventId) -> None:
        """Forget the view of one message, its words included; the event stays. No view changes nothing."""
        pk = self._pk(event)
        row = None if pk is None else self._conn.execute(_OLD, (pk,)).fetchone()
        if row is None:
            return
        _, doc, text, state = row
        if doc is not None:
            self._fulltext.drop(doc, text)
        if text is not None:
            self._core.mark_erased()
            if state not in WAITING:
                self._core.mark_words()
        self._conn.execute("DELETE FROM message WHERE pk = ?", (pk,))

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

    def put_touch(self, room: RoomId, touch: Touch) -> None:
        """Insert, as what an event of `room` does; a known id changes nothing."""
        early = self._core.early
        if early is not None:
            early.add(touch.target)
            if len(early) > MAX_EARLY:
                self._core.early = None
        self._conn.execute(
            "INSERT OR IGNORE INTO touch"
            " (id, target, account, hlc, kind, remove, urgent, reply_to, thread, mentions, value, ack, room)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                self._core.names.intern(room),
            ),
        )

    def drop_touch(self, event: EventId) -> None:
        """Forget what one event does to another, its text included."""
        self._conn.execute("DELETE FROM touch WHERE id = ?", (event,))
        self._core.mark_erased()

    def touched(self, targets: Sequence[EventId]) -> set[EventId]:
        """Those of `targets`, which are not in the log yet, that something touches, in whatever room."""
        core = self._core
        if not core.early_looked_up:
            core.early, core.early_looked_up = self._early(), True
        if core.early is not None:
            targets = [one for one in targets if one in core.early]
            if not targets:
                return set()
        if len(targets) == 1:
            found = self._conn.execute("SELECT 1 FROM touch WHERE target = ? LIMIT 1", targets).fetchone()
            return set() if found is None else set(targets)
        sql = "SELECT target FROM touch "
        return {
            EventId(row[0])
            for statement, some in in_portions(sql, "target", targets)
            for row in self._conn.execute(statement, some)
        }

    def _early(self) -> set[EventId] | None:
        """What is touched and not here, mostly nothing; None where a look at all touches takes too long."""
        newest = self._conn.execute("SELECT max(rowid) FROM touch").fetchone()[0] or 0
        if newest > MAX_EARLY:
            return None
        return {EventId(target) for (target,) in self._conn.execute(_EARLY)}

    def touches(self, room: RoomId, target: EventId) -> list[Touch]:
        """Those by events of `room`, in (hlc, id) order, edits without what they say: `touch` has it.

        Where there are many, only those that decide: of each person's reactions the newest
        MAX_STANDING, of his other changes a few. Costs what it gives, however many there are.
        """
        number = self._core.names.known(room)
        rows = self._conn.execute(_TOUCHES, (target, number, _MANY_TOUCHES + 1)).fetchall()
        if len(rows) > _MANY_TOUCHES:
            rows = self._conn.execute(_NEWEST_TOUCHES, {"target": target, "room": number}).fetchall()
        rows.sort()
        if len(rows) > MAX_STANDING:
            rows = _standing(rows)
        account = self._core.names.id
        return [
            Touch(target, identity, AccountId(account(who)), hlc + HLC_OFFSET, kind, value, bool(remove))
            for hlc, identity, kind, who, remove, value in rows
        ]

    def touch(self, event: EventId) -> Touch | None:
        """What one event does to another, whole."""
        row = self._conn.execute(
            "SELECT target, account, hlc, kind, value, remove, mentions, reply_to, thread, urgent, ack"
            " FROM touch WHERE id = ?",
            (event,),
        ).fetchone()
        if row is None:
            return None
        return Touch(
            row[0],
            event,
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

    def edits(self, room: RoomId, target: EventId, account: AccountId) -> list[EventId]:
        """All edits of one event of `room` by one person, in (hlc, id) order."""
        names = self._core.names
        rows = self._conn.execute(
            "SELECT hlc, id FROM touch WHERE target = ? AND room = ? AND kind = ? AND account = ?",
            (target, names.known(room), EDIT, names.known(account)),
        ).fetchall()
        return [EventId(identity) for _, identity in sorted(rows)]

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


def _standing(rows: list[_LightRow]) -> list[_LightRow]:
    """Of each person's reactions the newest MAX_STANDING, whether they put or take away."""
    counts: dict[int, int] = {}
    kept: list[_LightRow] = []
    for row in reversed(rows):
        if row[2] == REACTION:
            counts[row[3]] = counts.get(row[3], 0) + 1
            if counts[row[3]] > MAX_STANDING:
                continue
        kept.append(row)
    kept.reverse()
    return kept
