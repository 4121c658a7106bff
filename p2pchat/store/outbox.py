"""Keys of scripted sends, drafts, and the feed in tables.

Decides: how these rows are written and found. Does not know: when a draft is due or what
a row of the feed means.
"""

from __future__ import annotations

import json
from typing import Any, Final

from p2pchat.ids import MIN_PREFIX, EventId
from p2pchat.model import Draft
from p2pchat.store.core import Core

DRAFT_COLUMNS: Final = "id, room, text, reply_to, thread, urgent, at, key, made, sent_as, cancelled, ack"
_DRAFTS: Final = f"SELECT {DRAFT_COLUMNS} FROM draft "  # noqa: S608 - constants


class Outbox:
    """Fits engine.ports.OutboxStore."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._conn = core.conn
        self._write = core.conn.cursor()

    def put_key(self, key: str, event: EventId) -> None:
        """The send with this key became this event."""
        self._conn.execute("INSERT OR REPLACE INTO send_key (key, event) VALUES (?, ?)", (key, event))

    def by_key(self, key: str) -> EventId | None:
        """The event that the send with this key became."""
        row = self._conn.execute("SELECT event FROM send_key WHERE key = ?", (key,)).fetchone()
        return None if row is None else EventId(row[0])

    def put_draft(self, draft: Draft) -> None:
        """Insert or replace by id. A cancelled draft keeps its row and loses its text."""
        self._conn.execute(
            "INSERT OR REPLACE INTO draft"
            " (id, room, text, reply_to, thread, urgent, at, key, made, sent_as, cancelled, ack)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                draft.id,
                draft.room,
                "" if draft.cancelled else draft.text,
                draft.reply_to,
                draft.thread,
                int(draft.urgent),
                draft.at_ms,
                draft.key,
                draft.made_ms,
                draft.sent_as,
                int(draft.cancelled),
                draft.ack,
            ),
        )
        self._core.mark_erased()  # an earlier text of it may lie in old pages of the log

    def drafts(self) -> list[Draft]:
        """Those neither sent nor cancelled, by at_ms."""
        rows = self._conn.execute(_DRAFTS + "WHERE sent_as IS NULL AND cancelled = 0 ORDER BY at, id")
        return [draft_of(row) for row in rows]

    def draft(self, id_or_prefix: str) -> Draft | None:
        """The draft with this id, or the only one whose id begins so (6 characters or more)."""
        exact = self._conn.execute(_DRAFTS + "WHERE id = ?", (id_or_prefix,)).fetchone()
        if exact is not None:
            return draft_of(exact)
        if len(id_or_prefix) < MIN_PREFIX:
            return None
        rows = self._conn.execute(
            _DRAFTS + "WHERE substr(id, 1, ?) = ? LIMIT 2", (len(id_or_prefix), id_or_prefix)
        ).fetchall()
        return draft_of(rows[0]) if len(rows) == 1 else None

    def feed(self, type: str, ref: bytes, at_ms: int, detail: tuple[tuple[str, str], ...] = ()) -> int:
        """Append a row to the feed; returns its cursor."""
        self._write.execute(
            "INSERT INTO feed (type, ref, at, detail) VALUES (?, ?, ?, ?)",
            (type, ref, at_ms, json.dumps(detail) if detail else None),
        )
        cursor = self._write.lastrowid
        assert cursor is not None
        return cursor

    def prune_feed(self, before_ms: int) -> None:
        """Drop rows older than `before_ms`, but never the newest: its cursor must not be given again."""
        self._conn.execute(
            "DELETE FROM feed WHERE at < ? AND cursor < (SELECT max(cursor) FROM feed)", (before_ms,)
        )


def draft_of(row: Any) -> Draft:
    """A row of DRAFT_COLUMNS."""
    return Draft(
        id=row[0],
        room=row[1],
        text=row[2],
        reply_to=row[3],
        thread=row[4],
        urgent=bool(row[5]),
        at_ms=row[6],
        key=row[7],
        made_ms=row[8],
        sent_as=row[9],
        cancelled=bool(row[10]),
        ack=row[11],
    )
