"""Keeping the full text in step with what messages say.

Decides: when a message's words enter the index, which row they get there, and how erased
words leave the file. Does not know: how anybody searches (search) or when there is idle
time (the runner calls in slices).

No trigger: one costs 40-85 µs a message, a slice of many 7 µs (measured). What comes by the
hundred enters the index with its own transaction, single messages when there is time. A message has
a `doc` exactly while its present text is in the index, so what is not yet there can be
found at any time and search scans it. Own messages nobody has yet stay out: whatever is
edited or taken back before anybody has it never had words to erase.

FTS5 deletes by marking: the words stay in older segments until these are merged. The
option `secure-delete` (SQLite 3.42) would rewrite them at once, and make the file
unreadable to older SQLite; so erasing marks the archive instead, and `merge_some` merges
all segments, in slices, until no trace is left.
"""

from __future__ import annotations

from typing import Final

from p2pchat.ids import EventId
from p2pchat.store.core import Core
from p2pchat.store.folding import unlike
from p2pchat.store.rows import in_portions

MAX_SLICE_CHARS: Final = 200_000
"""Text per slice: the loop's time, whatever the messages' length."""

_TODO: Final = (
    "SELECT m.pk, m.place, e.id, m.text FROM message m INDEXED BY message_todo JOIN event e ON e.pk = m.pk"
    " WHERE m.doc IS NULL AND m.text IS NOT NULL AND m.hidden = 0 AND m.state NOT IN (1, 2) LIMIT ?"
)


class FullText:
    """Writes the table `fulltext` and the column `message.doc`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._conn = core.conn
        self._fresh: dict[int, str] = {}
        """Rows that this transaction will write when it ends: ascending ones make one segment."""

    def add(self, doc: int, text: str) -> None:
        """Take a new message in with this transaction; `text` as it is folded."""
        self._fresh[doc] = text

    def flush(self) -> None:
        """Write what was added: before the transaction ends."""
        if self._fresh:
            self._conn.executemany(
                "INSERT INTO fulltext (rowid, text) VALUES (?, ?)", sorted(self._fresh.items())
            )
            self._fresh.clear()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._fresh.clear()

    def index_some(self, limit: int = 1000) -> int:
        """Take up to `limit` messages into the index; how many it was, 0 when none is left."""
        found: list[tuple[int, int, EventId, str]] = []
        chars = 0
        for pk, place, identity, text in self._conn.execute(_TODO, (limit,)):
            found.append((place, pk, identity, text))
            chars += len(text)
            if chars >= MAX_SLICE_CHARS:
                break
        found.sort()  # the index writes ascending rows as one segment
        taken = self._taken([place for place, _, _, _ in found])
        for place, pk, identity, text in found:
            doc = self.free_doc(place, identity) if place in taken else place
            taken.add(doc)
            folded = unlike(text)
            self._conn.execute("UPDATE message SET doc = ?, folded = ? WHERE pk = ?", (doc, folded, pk))
            self._conn.execute("INSERT INTO fulltext (rowid, text) VALUES (?, ?)", (doc, folded or text))
        return len(found)

    def _taken(self, places: list[int]) -> set[int]:
        """Those of `places` that are somebody's row already, looked up at once."""
        return {
            row[0]
            for sql, some in in_portions("SELECT doc FROM message ", "doc", places)
            for row in self._conn.execute(sql, some)
        }

    def drop(self, doc: int, text: str) -> None:
        """Take a message out; `text` is what it said. The caller sets `doc` to NULL."""
        self.flush()
        row = self._conn.execute("SELECT folded FROM message WHERE doc = ?", (doc,)).fetchone()
        if row is not None and row[0] is not None:  # as it was folded then, by whatever Unicode
            text = row[0]
            self._conn.execute("UPDATE message SET folded = NULL WHERE doc = ?", (doc,))
        self._conn.execute(
            "INSERT INTO fulltext (fulltext, rowid, text) VALUES ('delete', ?, ?)", (doc, text)
        )

    def clear(self) -> None:
        """Empty the index. The caller empties `message`."""
        self._fresh.clear()
        self._conn.execute("INSERT INTO fulltext (fulltext) VALUES ('delete-all')")
        self._core.mark_erased()

    def merge_some(self, pages: int) -> bool:
        """Merge about `pages` pages of segments; True once no erased word is left."""
        if not self._core.words_stale():
            return True
        before = self._conn.total_changes
        self._conn.execute("INSERT INTO fulltext (fulltext, rank) VALUES ('merge', ?)", (-pages,))
        if self._conn.total_changes - before >= 2:  # FTS5, "the merge command": fewer means all is merged
            return False
        self._core.unmark_words()
        return True

    def check(self) -> None:
        """Compare index and texts; raises sqlite3.DatabaseError if they differ."""
        self._conn.execute("INSERT INTO fulltext (fulltext, rank) VALUES ('integrity-check', 1)")

    def free_doc(self, place: int, identity: EventId) -> int:
        """`place`, or a free number shortly after it.

        Two messages of one hlc are rare by chance and cheap to make on purpose, so the
        n-th try looks in a window of 16^n, at a spot the id decides: a thousand equal
        clocks cost a few tries each and stay within milliseconds of the truth.
        """
        doc, spot = place, int.from_bytes(identity[:8], "big")
        window = 1
        while self._conn.execute("SELECT 1 FROM message WHERE doc = ?", (doc,)).fetchone() is not None:
            window *= 16
            doc = place + 1 + spot % window
        return doc
