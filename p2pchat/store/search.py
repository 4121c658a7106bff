"""Full text: what a query means, and how its hits are found newest first.

Decides: the reading of words and phrases, the filters, the snippet, and that a message not
yet in the index is found like any other. Does not know: people's names, or how hits are shown.

A query is words and "phrases", all of which a message must hold, whatever their case and
accents, folded alike (folding). Every piece goes to FTS5
as a quoted string, so no character is syntax. A piece in which the tokenizer finds no word
(an emoji, `*`, `->`) is looked for as it stands. A query of nothing but quotes or blanks is
taken as one such piece.

Messages that are in no index yet are put into a scratch index in memory with the same
tokenizer, newest first and only as many as are needed, so both halves agree on what a word
is to the last diacritic; snippets come from there too. Newest first is by row of the index,
which follows the place in history: ranking would have to score every hit (400 ms for a
common word in a million messages, against 0.1 ms).
"""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from p2pchat.ids import AccountId, RoomId
from p2pchat.model import MessageView
from p2pchat.store.core import Names
from p2pchat.store.folding import fold, unfolded, unlike
from p2pchat.store.rows import MAX_PLACE, VIEW_COLUMNS, place_of_ms, view_of
from p2pchat.store.schema import TOKENIZER

MAX_PIECES: Final = 64
"""Words and phrases of one query that count: an expression SQLite takes at any length of query."""
MAX_QUERY: Final = 4096
"""Characters of a query that are read."""
SNIPPET_WORDS: Final = 24
"""About a line of a terminal."""
SNIPPET_CHARS: Final = 160
"""The same for a piece without words, and the most of any snippet."""
TAIL_SLICE: Final = 500
"""Messages put into the scratch index at a time."""
MAX_DRIFT: Final = 16**9
"""How far a row of the index may lie after its message's place, with equal clocks by the million."""

_PIECE: Final = re.compile(r'"([^"]*)(?:"|$)|(\S+)')

_FILTERS: Final = (
    "m.hidden = 0 AND m.text IS NOT NULL AND (:room IS NULL OR m.room = :room)"
    " AND (:account IS NULL OR m.account = :account) AND m.place >= :after AND m.place < :before"
    " AND (:literals = '[]' OR NOT EXISTS"
    " (SELECT 1 FROM json_each(:literals) AS piece WHERE instr(m.text, piece.value) = 0))"
)
# Text in ASCII without the longest word cannot match: folding only lowers such text.
# Any other text may, and goes to the scratch index (30 µs a message, against 1 for this).
_MAY_MATCH: Final = "(length(CAST(m.text AS BLOB)) != length(m.text) OR instr(lower(m.text), :word) > 0)"
_INDEXED: Final = (
    "SELECT m.doc, m.pk FROM fulltext f CROSS JOIN message m ON m.doc = f.rowid"  # noqa: S608 - constants
    " WHERE f.fulltext MATCH :match AND f.rowid BETWEEN :after AND :before_doc"
    f" AND {_FILTERS} ORDER BY f.rowid DESC LIMIT :need"
)
_TAIL: Final = (
    "SELECT m.place, m.pk FROM message m INDEXED BY message_todo"  # noqa: S608 - constants
    f" WHERE m.doc IS NULL AND {_FILTERS} AND {_MAY_MATCH} ORDER BY m.place DESC, m.pk DESC"
)
_EVERYTHING: Final = (
    f"SELECT m.place, m.pk FROM message m WHERE {_FILTERS}"  # noqa: S608 - constants
    " ORDER BY m.place DESC, m.pk DESC LIMIT :need"
)
_VIEW: Final = f"SELECT {VIEW_COLUMNS} FROM message m JOIN event e ON e.pk = m.pk WHERE m.pk = ?"  # noqa: S608

Hit = tuple[int, int]
"""(where in time, pk): sorts as results do, newest greatest."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message and the part of its text that matches, in one line."""

    message: MessageView
    snippet: str


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Hits newest first; `has_more` if older ones follow."""

    hits: tuple[SearchHit, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for: an FTS5 expression, "" for none, and pieces to find as they stand.

    `word` is the longest word of the expression, as the index writes it.
    """

    match: str
    literals: tuple[str, ...]
    word: str = ""


class Searcher:
    """Searches on one connection, inside the transaction its caller has opened."""

    def __init__(self, conn: sqlite3.Connection, names: Names) -> None:
        self._conn = conn
        self._names = names
        self._scratch = scratch = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        scratch.execute(f"CREATE VIRTUAL TABLE t USING fts5 (text, tokenize = '{TOKENIZER}')")
        scratch.execute("CREATE VIRTUAL TABLE v USING fts5vocab (t, instance)")

    def close(self) -> None:
        """Drop the scratch index."""
        self._scratch.close()

    def search(
        self,
        text: str,
        room: RoomId | None,
        account: AccountId | None,
        after_ms: int | None,
        before_ms: int | None,
        limit: int,
        offset: int,
    ) -> SearchPage:
        """Hits from `offset` on, at most `limit`, newest first."""
        query = self.read(text)
        asked = self._asked(room, account, after_ms, before_ms)
        if asked is None or not (query.match or query.literals):
            return SearchPage((), False)
        need = offset + limit + 1
        asked |= {
            "match": query.match, "word": query.word, "literals": json.dumps(query.literals), "need": need
        }  # fmt: skip
        if query.match:
            hits: list[Hit] = self._conn.execute(_INDEXED, asked).fetchall()
            hits += self._tail(query.match, asked, need)
        else:  # every text is looked at
            hits = self._conn.execute(_EVERYTHING, asked).fetchall()
        hits.sort(reverse=True)
        return SearchPage(self._shown(query, hits[offset : offset + limit]), len(hits) > offset + limit)

    def read(self, text: str) -> Query:
        """The meaning of a query."""
        clean = text[:MAX_QUERY].replace("\0", " ").encode("utf-8", "replace").decode()
        found = [phrase or word for phrase, word in _PIECE.findall(clean)]
        pieces = list(dict.fromkeys(piece.strip() for piece in found if piece.strip()))[:MAX_PIECES]
        if not pieces:
            return Query("", (clean.strip(),) if clean.strip() else ())
        folded = [fold(piece) for piece in pieces]
        words = self._words(folded)
        worded = {doc for doc, _ in words}
        match = " ".join(
            '"' + piece.replace('"', '""') + '"' for n, piece in enumerate(folded) if n in worded
        )
        literals = tuple(piece for n, piece in enumerate(pieces) if n not in worded)
        return Query(match, literals, max((word for _, word in words), key=len, default=""))

    def _words(self, pieces: list[str]) -> list[tuple[int, str]]:
        """Every word the tokenizer finds, as (which piece, word)."""
        self._scratch.execute("BEGIN")
        try:
            self._fill(list(enumerate(pieces)))
            return self._scratch.execute("SELECT DISTINCT doc, term FROM v ORDER BY doc, term").fetchall()
        finally:
            self._scratch.execute("ROLLBACK")

    def _asked(
        self, room: RoomId | None, account: AccountId | None, after_ms: int | None, before_ms: int | None
    ) -> dict[str, Any] | None:
        """Parameters of the filters; None where nothing can match."""
        numbers: dict[str, int | None] = {"room": None, "account": None}
        for name, wanted in (("room", room), ("account", account)):
            if wanted is not None:
                numbers[name] = self._names.known(wanted)
                if numbers[name] is None:
                    return None
        after = 0 if after_ms is None else place_of_ms(after_ms)
        before = MAX_PLACE if before_ms is None else place_of_ms(before_ms)
        return {
            **numbers, "after": after, "before": before, "before_doc": min(before + MAX_DRIFT, MAX_PLACE)
        }  # fmt: skip

    def _tail(self, match: str, asked: dict[str, Any], need: int) -> list[Hit]:
        """Hits among messages that are in no index yet."""
        hits: list[Hit] = []
        cursor = self._conn.execute(_TAIL, asked)
        while len(hits) < need:
            places = {pk: place for place, pk in cursor.fetchmany(TAIL_SLICE)}
            if not places:
                break
            texts = [(pk, fold(self._text(pk))) for pk in places]
            self._scratch.execute("BEGIN")
            try:
                self._fill(texts)
                found = self._scratch.execute("SELECT rowid FROM t WHERE t MATCH ?", (match,)).fetchall()
            finally:
                self._scratch.execute("ROLLBACK")
            hits += sorted(((places[pk], pk) for (pk,) in found), reverse=True)
        return hits[:need]

    def _text(self, pk: int) -> str:
        text: str = self._conn.execute("SELECT text FROM message WHERE pk = ?", (pk,)).fetchone()[0]
        return text

    def _shown(self, query: Query, hits: list[Hit]) -> tuple[SearchHit, ...]:
        views = [view_of(self._conn.execute(_VIEW, (pk,)).fetchone(), self._names) for _, pk in hits]
        if not query.match:
            return tuple(SearchHit(view, _around(view.text or "", query.literals[0])) for view in views)
        self._scratch.execute("BEGIN")
        try:
            self._fill([(n, unlike(view.text or "") or view.text or "") for n, view in enumerate(views)])
            found = dict(
                self._scratch.execute(
                    "SELECT rowid, snippet(t, 0, '', '', '…', ?) FROM t WHERE t MATCH ?",
                    (SNIPPET_WORDS, query.match),
                ).fetchall()
            )
        finally:
            self._scratch.execute("ROLLBACK")
        texts = [(view, view.text or "") for view in views]
        parts = [found.get(n, text) for n, (_, text) in enumerate(texts)]
        return tuple(
            SearchHit(view, _one_line(part if unlike(text) is None else unfolded(text, part)))
            for (view, text), part in zip(texts, parts, strict=True)
        )

    def _fill(self, rows: list[tuple[int, str]]) -> None:
        self._scratch.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", rows)


def _around(text: str, literal: str) -> str:
    at = max(0, text.find(literal) - SNIPPET_CHARS // 3)
    return _one_line(("…" if at else "") + text[at : at + SNIPPET_CHARS])


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET_CHARS else line[: SNIPPET_CHARS - 1] + "…"
