"""What may be wrong with an archive.

Decides: which promises of the tables are checked, beyond what SQLite checks itself. Does
not know: signatures (engine) or what to do about a fault.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from p2pchat.store.fulltext import FullText

# A question whose answer must be 0, and the sentence for any other.
_QUESTIONS: Final = (
    (
        "SELECT count(*) FROM message m LEFT JOIN event e ON e.pk = m.pk WHERE e.pk IS NULL",
        "messages without an event",
    ),
    (
        "SELECT count(*) FROM event e LEFT JOIN ident r ON r.n = e.room LEFT JOIN ident d ON d.n = e.device"
        " WHERE r.n IS NULL OR d.n IS NULL",
        "events of an unknown room or device",
    ),
    (
        "SELECT count(*) FROM"
        " (SELECT room, item, count(*) AS n FROM event WHERE item < 2 GROUP BY room, item) e"
        " LEFT JOIN (SELECT room, control, sum(count) AS n FROM week GROUP BY room, control) w"
        " ON w.room = e.room AND w.control = e.item WHERE coalesce(w.n, 0) != e.n",
        "reconciliation sets whose count is wrong",
    ),
    (
        "SELECT count(*) FROM gap g JOIN event e"
        " ON e.room = g.room AND e.device = g.device AND e.seq BETWEEN g.low AND g.high",
        "events in what is kept as a gap",
    ),
)


def problems(conn: sqlite3.Connection, fulltext: FullText | None) -> list[str]:
    """One sentence per fault; the full text is checked where it may be written (it asks for that)."""
    found = [str(row[0]) for row in conn.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
    for question, sentence in _QUESTIONS:
        count: int = conn.execute(question).fetchone()[0]
        if count:
            found.append(f"{count} {sentence}")
    if fulltext is not None:
        try:
            fulltext.check()
        except sqlite3.DatabaseError as error:
            found.append(f"the full text does not match the messages: {error}")
    return found
