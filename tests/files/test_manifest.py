"""Manifests: one encoding of a tree, ceilings, safe places, and which bytes belong to which file."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.files import manifest
from p2pchat.files.manifest import Layout
from p2pchat.files.names import same_key
from p2pchat.files.pieces import MAX_SIZE, MAX_TIME
from p2pchat.wire.codec import encode
from p2pchat.wire.limits import MAX_DEPTH, MAX_ENTRIES, MAX_OFFER_NAME, MAX_PATH
from p2pchat.wire.messages.files import Entry, Manifest
from tests.hostile.file_names import HOSTILE, check_safe


def file(*path: str, size: int = 3, mtime: int = 5) -> Entry:
    return Entry(path, False, size, mtime)


def empty(*path: str) -> Entry:
    return Entry(path, True, 0, 5)


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["a", "A", "b", ".."]
)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries of a possible folder."""
    chosen: list[Entry] = []
    for path in draw(st.lists(st.lists(_NAMES, min_size=1, max_size=4).map(tuple), max_size=20)):
        clash = any(path[: len(one.path)] == one.path or one.path[: len(path)] == path for one in chosen)
        if not clash:
            folder = draw(st.booleans())
            chosen.append(Entry(path, folder, 0 if folder else draw(st.integers(0, 50)), 7))
    return chosen


def total(entries: list[Entry]) -> int:
    return sum(entry.size for entry in entries)


@given(trees(), st.randoms())
def test_a_tree_has_one_manifest(entries: list[Entry], random: object) -> None:
    raw = manifest.make(entries)
    assert manifest.make(reversed(entries)) == raw
    read = manifest.read(raw, total(entries))
    assert sorted(read, key=lambda entry: entry.path) == list(read)
    assert set(read) == set(entries)
    assert manifest.make(read) == raw


@given(trees())
def test_places_are_safe_unique_and_always_the_same(entries: list[Entry]) -> None:
    read = manifest.read(manifest.make(entries), total(entries))
    places = manifest.places(read)
    assert manifest.places(read) == places
    assert len(places) == len(read)
    by_key: dict[tuple[str, ...], set[str]] = {}
    for entry, place in zip(read, places, strict=True):
        assert len(place.path) == len(entry.path)
        for depth, name in enumerate(place.path):
            check_safe(name)
            by_key.setdefault(place.path[:depth], set()).add(name)
    for names in by_key.values():
        assert len({same_key(name) for name in names}) == len(names)
    pairs = list(zip(read, places, strict=True))
    for (one, here), (other, there) in itertools.combinations(pairs, 2):
        depth = next((at for at, (x, y) in enumerate(zip(one.path, other.path, strict=False)) if x != y), 99)
        shared = next(
            (at for at, (x, y) in enumerate(zip(here.path, there.path, strict=False)) if x != y), 99
        )
        assert depth == shared, "folders that differ were made one, or one made two"


def test_twins_in_one_folder_are_numbered_in_order() -> None:
    names = ["Report.txt", "report.txt", "REPORT.TXT"]
    entries = sorted((file(name) for name in names), key=lambda entry: entry.path)
    found = [place.path[0] for place in manifest.places(entries)]
    assert found == ["REPORT.TXT", "Report (2).txt", "report (3).txt"]
    composed, apart = "\u00e9", "e\u0301"
    entries = sorted((file("x", name) for name in (composed, apart)), key=lambda entry: entry.path)
    assert [place.path for place in manifest.places(entries)] == [("x", "é"), ("x", "é (2)")]


def test_folders_that_are_twins_stay_apart() -> None:
    entries = [file("A", "x"), file("A", "y"), file("a", "x"), empty("a.")]
    assert [place.path for place in manifest.places(entries)] == [
        ("A", "x"),
        ("A", "y"),
        ("a (2)", "x"),
        ("a (3)",),
    ]


def test_the_same_hostile_names_in_one_folder() -> None:
    entries = sorted((file(name) for name in HOSTILE if name.isprintable()), key=lambda entry: entry.path)
    places = manifest.places(entries)
    assert len({same_key(place.path[0]) for place in places}) == len(entries) > 200


TOO_DEEP = file(*["d"] * (MAX_DEPTH + 1))
BAD = {
    "other version": Manifest(2, (file("a"),)),
    "out of order": Manifest(1, (file("b"), file("a"))),
    "twice": Manifest(1, (file("a"), file("a"))),
    "file and empty folder of one path": Manifest(1, (file("a"), empty("a"))),
    "below a file": Manifest(1, (file("a"), file("a", "b"))),
    "below an empty folder": Manifest(1, (empty("a"), file("a", "b"))),
    "no path": Manifest(1, (file(),)),
    "too deep": Manifest(1, (TOO_DEEP,)),
    "long name": Manifest(1, (file("n" * (MAX_OFFER_NAME + 1)),)),
    "long path": Manifest(1, (file(*["n" * (MAX_PATH // 16)] * 17),)),
    "negative size": Manifest(1, (file("a", size=-1),)),
    "beyond all size": Manifest(1, (file("a", size=MAX_SIZE + 1),)),
    "folder with a size": Manifest(1, (Entry(("a",), True, 1, 0),)),
    "negative time": Manifest(1, (file("a", mtime=-1),)),
    "time beyond the calendar": Manifest(1, (file("a", mtime=MAX_TIME + 1),)),
}


@pytest.mark.parametrize("what", BAD)
def test_what_no_sender_of_ours_makes_is_refused(what: str) -> None:
    bad = BAD[what]
    with pytest.raises(RemoteProtocolError, match="manifest"):
        manifest.read(encode(bad), sum(entry.size for entry in bad.entries))


def test_sizes_that_do_not_add_up_are_refused() -> None:
    raw = manifest.make([file("a"), file("b")])
    assert manifest.read(raw, 6)
    for content in (5, 7, 0):
        with pytest.raises(RemoteProtocolError, match="add up"):
            manifest.read(raw, content)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_refused(raw: bytes) -> None:
    try:
        entries = manifest.read(raw, 0)
    except RemoteProtocolError:
        return
    assert manifest.make(entries) == raw


def test_too_many_entries() -> None:
    many = [file(f"{number:06}", size=0) for number in range(MAX_ENTRIES + 1)]
    with pytest.raises(CommandError, match="entries") as met:
        manifest.make(many)
    assert met.value.kind == "too_long"
    with pytest.raises(RemoteProtocolError):
        manifest.read(encode(Manifest(1, tuple(many))), 0)
    assert len(manifest.read(manifest.make(many[:-1]), 0)) == MAX_ENTRIES


@pytest.mark.parametrize("entry", [TOO_DEEP, file("n" * 1025), file(*["n" * 128] * 17)])
def test_what_may_not_be_sent_is_told_to_its_sender(entry: Entry) -> None:
    with pytest.raises(CommandError) as met:
        manifest.make([entry])
    assert met.value.kind == "too_long"


@given(st.integers(0, 40), st.lists(st.integers(0, 30), max_size=12), st.data())
def test_every_byte_of_a_stream_has_its_place(head: int, sizes: list[int], data: st.DataObject) -> None:
    layout = Layout(head, sizes)
    assert layout.size == head + sum(sizes)
    wanted = [(-1, at) for at in range(head)]
    wanted += [(number, at) for number, size in enumerate(sizes) for at in range(size)]
    offset = data.draw(st.integers(0, layout.size))
    length = data.draw(st.integers(0, layout.size + 3))
    found = []
    for part in layout.parts(offset, length):
        assert part.length > 0
        assert part.start == len(found)
        found += [(part.entry, part.offset + at) for at in range(part.length)]
    assert found == wanted[offset : offset + length]
