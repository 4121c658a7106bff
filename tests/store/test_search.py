"""Search: what is found, in which order, whatever is typed and whether it is indexed yet or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.model import HELD, MessageView
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import Reader, open_reader
from p2pchat.store.search import SNIPPET_CHARS
from tests.store.samples import BOB, ME, OTHER_ROOM, ROOM, START_MS, Samples, made

TEXTS = (
    "the quick brown fox",
    "The Quick Brown DOG, naïve and résumé",
    "it's a test of AND OR NOT NEAR(x)",
    'she said "hello world" to me',
    "hello cruel world",
    "emoji 👍 and 🎉",
    "stars * and ** and C++ or c#",
    "Straße ΑΘΗΝΑ Москва İstanbul",
    "日本語 テキスト",
    "100% a_b path/to/file.txt user@example.org",
    "",
    "col:umn -minus ^caret (parens) {braces}",
    "Grüße an alle, ﬁnd me at ＴＥＬ ④②",
)


@pytest.fixture(params=["indexed", "tail", "half"])
def found(request: pytest.FixtureRequest, samples: Samples) -> Iterator[Reader]:
    """The same messages, with all, none or some of them in the index."""
    opened = open_ledger(MEMORY)
    opened.begin()
    for text in TEXTS:
        samples.put(opened, text=text)
    opened.commit()
    limit = {"indexed": 1000, "tail": 0, "half": len(TEXTS) // 2}[request.param]
    opened.begin()
    if limit:
        assert opened.views.index_some(limit) == min(limit, len(TEXTS))
    opened.commit()
    yield open_reader(opened)
    opened.close()


def told(reader: Reader, query: str) -> list[int]:
    """Which of TEXTS are found, newest first."""
    return [TEXTS.index(hit.message.text or "") for hit in reader.search(query).hits]


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("quick", [1, 0]),
        ("QUICK fox", [0]),
        ("fox quick", [0]),
        ("quick missing", []),
        ("naive", [1]),
        ("RÉSUMÉ", [1]),
        ("hello world", [4, 3]),
        ('"hello world"', [3]),
        ('"hello world', [3]),
        ('hello "cruel world"', [4]),
        ("it's", [2]),
        ("NEAR(", [2]),
        ("NEAR(x)", [2]),
        ("a OR", [2]),
        ("AND", [6, 5, 2, 1]),
        ("NOT", [2]),
        ("👍", [5]),
        ("emoji 👍", [5]),
        ("emoji 🚀", []),
        ("*", [6]),
        ("**", [6]),
        ("qui*", []),
        ('"', [3]),
        ('""', []),
        ("c++", [6]),
        ("c#", [6]),
        ("straße", [7]),
        ("STRASSE", [7]),
        ("strasse αθηνα", [7]),
        ("grüsse", [12]),
        ("GRÜSSE AN", [12]),
        ('"grusse an alle"', [12]),
        ("find", [12]),
        ("ﬁnd", [12]),
        ("tel 42", [12]),
        ("αθηνα", [7]),
        ("москва", [7]),
        ("日本語", [8]),
        ("100%", [9]),
        ("a_b", [9]),
        ("user@example.org", [9]),
        ("%", [9]),
        ("_", [9]),
        ("col:umn", [11]),
        ("-minus", [11]),
        ("^caret", [11]),
        ("{braces}", [11]),
        ("text:quick", []),
        ("", []),
        ("   ", []),
        ("\0", []),
        ("fox\0quick", [0]),
        ("\ud800", []),
        ("quick'; DROP TABLE message; --", []),
    ],
)
def test_what_is_found(found: Reader, query: str, hits: list[int]) -> None:
    assert told(found, query) == hits


odd = st.text(
    alphabet=st.sampled_from(list("ab\"'*()-+^:{}ORNEAT \0\\%_.,é👍İ\ud800\u0301\u200d")), max_size=30
)


@given(st.lists(st.one_of(odd, st.text(max_size=12)), max_size=6), st.integers(0, 7), st.data())
def test_no_character_is_a_syntax_error_and_nothing_hides_in_the_tail(
    texts: list[str], indexed: int, data: st.DataObject
) -> None:
    """Any query over any texts: the answer does not depend on what is in the index."""
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    pieces = [text[a : a + n] for text in texts for a, n in ((0, 9), (3, 9), (0, 99))]
    query = data.draw(st.one_of(odd, st.text(max_size=20), st.sampled_from(pieces or [""])))
    answers = []
    for limit in (0, indexed, 1000):
        opened = open_ledger(MEMORY)
        samples = Samples()
        opened.begin()
        for text in texts:
            samples.put(opened, text=text)
        opened.commit()
        opened.begin()
        if limit:
            opened.views.index_some(limit)
        opened.commit()
        reader = open_reader(opened)
        page = reader.search(query)
        assert not page.has_more
        answers.append([(hit.message, hit.snippet) for hit in page.hits])
        opened.close()
    assert answers[0] == answers[1] == answers[2]
    if query.split() and not set(query) & set('\0"'):  # who types a whole text finds it
        assert {m.text for m, _ in answers[0]} >= {text for text in texts if text == query}


@pytest.mark.parametrize("query", ["word " * 5000, '"' * 5000, "a" * 100_000, '"x" ' * 3000, "(" * 3000])
def test_long_queries_are_no_errors(found: Reader, query: str) -> None:
    found.search(query)


# -- order, pages, filters -----------------------------------------------------------------


def test_newest_first_whatever_the_order_of_arrival(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    order = [5, 2, 9, 1, 7, 3, 8, 0, 6, 4]
    by_time: dict[int, MessageView] = {}
    for n, hour in enumerate(order):
        ledger.begin()
        by_time[hour] = samples.put(
            ledger, text=f"word at {hour}", hlc=(START_MS - (10 - hour) * 3_600_000) << 16
        )
        if n % 3 == 2:
            ledger.views.index_some(2)
        ledger.commit()
    wanted = [by_time[hour] for hour in range(9, -1, -1)]
    assert [hit.message for hit in reader.search("word").hits] == wanted
    pages = [reader.search("word", limit=3, offset=at) for at in (0, 3, 6, 9)]
    assert [hit.message for page in pages for hit in page.hits] == wanted
    assert [page.has_more for page in pages] == [True, True, True, False]


def test_equal_clocks_are_all_found(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    ledger.begin()
    same = START_MS << 16
    views = [samples.put(ledger, text="word", hlc=same) for _ in range(400)]
    assert ledger.views.index_some() == 400
    ledger.commit()
    hits = [hit.message.id for hit in reader.search("word", limit=500).hits]
    assert sorted(hits) == sorted(view.id for view in views)
    before = START_MS + 1
    assert len(reader.search("word", limit=500, before_ms=before).hits) == 400
    docs = ledger.connection.execute("SELECT max(doc) - min(doc) FROM message").fetchone()[0]
    assert docs < 16**4  # within a millisecond of the truth
    assert ledger.check_integrity() == []


@pytest.mark.parametrize("indexed", [True, False])
def test_filters(ledger: Ledger, reader: Reader, samples: Samples, indexed: bool) -> None:
    ledger.begin()
    bobs = samples.put(ledger, text="word one 👍")
    mine = samples.put(ledger, text="word two 👍", mine=True, state="delivered")
    other = samples.put(ledger, text="word three 👍", room=OTHER_ROOM)
    samples.put(ledger, text="word hidden 👍", hidden=True)
    samples.put(ledger, text=None, deleted=True)
    if indexed:
        assert ledger.views.index_some() == 3
    ledger.commit()
    for query in ("word", "👍"):

        def hits(**filters: object) -> list[MessageView]:
            return [hit.message for hit in reader.search(query, **filters).hits]  # type: ignore[arg-type] # noqa: B023

        assert hits() == [other, mine, bobs]
        assert hits(room=ROOM) == [mine, bobs]
        assert hits(account=ME) == [mine]
        assert hits(account=BOB, room=OTHER_ROOM) == [other]
        assert hits(after_ms=mine.written_ms) == [other, mine]
        assert hits(before_ms=mine.written_ms) == [bobs]
        assert hits(after_ms=mine.written_ms, before_ms=other.written_ms) == [mine]
        assert hits(after_ms=1 << 60) == []
        assert hits(room=made("unknown")) == []
        assert hits(account=made("unknown")) == []


# -- keeping in step ------------------------------------------------------------------------


def test_edits_and_deletes_of_indexed_text(ledger: Ledger, reader: Reader, samples: Samples) -> None:
    ledger.begin()
    one, two, three = (samples.put(ledger, text=f"before {n}") for n in ("one", "two", "three"))
    ledger.views.index_some()
    ledger.commit()
    ledger.begin()
    edited = one._replace(text="after one", edited=True)
    ledger.views.put_message(edited)
    ledger.views.put_message(two._replace(text=None, deleted=True))
    ledger.views.put_message(three._replace(pinned=True))  # same words: stays in the index
    ledger.commit()
    for _ in range(2):
        assert [hit.message.id for hit in reader.search("before").hits] == [three.id]
        assert [hit.message for hit in reader.search("after").hits] == [edited]
        assert reader.search("two").hits == ()
        assert ledger.check_integrity() == []
        ledger.begin()
        ledger.views.index_some()
        ledger.commit()
    ledger.begin()
    assert ledger.views.index_some() == 0
    ledger.commit()


def test_own_text_enters_the_index_once_somebody_has_it(
    ledger: Ledger, reader: Reader, samples: Samples
) -> None:
    ledger.begin()
    view = samples.put(ledger, text="waiting word", mine=True)
    held = samples.put(ledger, text="held word", mine=True, state=HELD)
    assert ledger.views.index_some() == 0
    ledger.commit()
    assert len(reader.search("word").hits) == 2  # found all the same
    ledger.begin()
    ledger.views.advance(ROOM, view.device, 1, 9, ("queued",), "delivered")
    assert ledger.views.index_some() == 1
    ledger.commit()
    assert [hit.message.id for hit in reader.search("word").hits] == [held.id, view.id]


def test_slices_are_bounded_by_text_too(ledger: Ledger, samples: Samples) -> None:
    ledger.begin()
    for _ in range(30):
        samples.put(ledger, text="word " * 3000)
    done = []
    while count := ledger.views.index_some():
        done.append(count)
    ledger.commit()
    assert sum(done) == 30
    assert max(done) <= 14
    assert ledger.check_integrity() == []


def test_the_index_goes_on_after_a_restart(path: Path, samples: Samples) -> None:
    first = open_ledger(path)
    first.begin()
    for n in range(10):
        samples.put(first, text=f"word {n}")
    first.views.index_some(4)
    first.commit()
    first.close()
    second = open_ledger(path)
    second.begin()
    assert second.views.index_some() == 6
    second.commit()
    assert second.check_integrity() == []
    second.close()


# -- snippets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [True, False])
def test_a_snippet_shows_the_match_in_one_line(
    ledger: Ledger, reader: Reader, samples: Samples, indexed: bool
) -> None:
    ledger.begin()
    samples.put(ledger, text="filler " * 100 + "a needle\nin hay 👍 " + "filler " * 100)
    samples.put(ledger, text="y" * 5000 + " needle 🎉")
    if indexed:
        ledger.views.index_some()
    ledger.commit()
    long, short = (hit.snippet for hit in reader.search("needle").hits)
    assert len(long) <= SNIPPET_CHARS
    assert "a needle in hay" in short
    assert short.startswith("…")
    assert "\n" not in short
    (hit,) = reader.search("👍").hits
    assert "👍" in hit.snippet
    assert len(hit.snippet) <= SNIPPET_CHARS


@pytest.mark.parametrize("indexed", [True, False])
def test_a_snippet_shows_the_text_as_it_was_written(
    ledger: Ledger, reader: Reader, samples: Samples, indexed: bool
) -> None:
    ledger.begin()
    samples.put(ledger, text="Füllwort ß " * 60 + "Viele Grüße an ＡＬＬＥ hier " + "Füllwort ß " * 60)
    if indexed:
        ledger.views.index_some()
    ledger.commit()
    (hit,) = reader.search("grüsse alle").hits
    assert "Viele Grüße an ＡＬＬＥ hier" in hit.snippet
    assert len(hit.snippet) <= SNIPPET_CHARS


def test_folded_words_leave_the_index_with_their_message(
    ledger: Ledger, reader: Reader, samples: Samples
) -> None:
    ledger.begin()
    view = samples.put(ledger, text="viele Grüße")
    ledger.views.index_some()
    ledger.commit()
    assert ledger.check_integrity() == []
    ledger.begin()
    ledger.views.put_message(view._replace(text="viele Fäße", edited=True))
    ledger.views.index_some()
    ledger.commit()
    assert reader.search("grüsse").hits == ()
    assert len(reader.search("fässe").hits) == 1
    ledger.begin()
    ledger.views.put_message(view._replace(text=None, deleted=True))
    ledger.commit()
    assert ledger.connection.execute("SELECT count(*) FROM message WHERE folded IS NOT NULL").fetchone() == (
        0,
    )
    assert ledger.check_integrity() == []
