"""What may be wrong with an archive.

Decides: which promises of the tables are checked, beyond what SQLite checks itself. Does
not know: signatures (engine) or what to do about a fault.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from p2pchat.errors import ArchiveError
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


def damaged(name: str | os.PathLike[str], detail: str) -> ArchiveError:
    """The sentence for an archive that is not whole any more."""
    return ArchiveError(
        f"the archive '{name}' is damaged: {detail}",
        f"put a backup in its place, or move '{name}' aside and start again: peers send what they have",
    )


def look(path: Path) -> list[str]:
    """The same of an archive that nobody has open, without changing anything; none if there is none."""
    if not path.exists():
        return []
    log = path.with_name(path.name + "-wal")
    # Without a log nothing else is needed; SQLite would make files beside it to find that out.
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    try:
        conn = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
        try:
            return problems(conn, None)
        finally:
            conn.close()
    except sqlite3.Error as error:
        return [str(error)]
