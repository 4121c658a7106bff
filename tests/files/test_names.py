"""Names: what a suggestion becomes, by rule and by example."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2pchat.files import names
from p2pchat.files.names import (
    DOUBLE_EXTENSION,
    EXECUTABLE,
    HIDDEN,
    MAX_NAME_BYTES,
    RENAMED,
    Taken,
    clean,
    numbered,
    same_key,
)
from tests.hostile.file_names import HOSTILE, check_safe

_ODD = st.sampled_from(
    list('./\\:*?"<>|~- \u202e\u200d\u0301\u00b9\uff0e\u2024\x00\x1b\x7f\x85\ud800cCoOnNmM1')
)
_TEXT = st.text(st.characters() | _ODD, max_size=300)


@given(_TEXT)
@example("con" + " " * 300 + ".txt")
@example("a" * 199 + "..")
@example("\u0301" * 300)
@example("." * 300)
@example("x." + "y" * 300)
def test_every_text_becomes_a_name_for_every_system(suggested: str) -> None:
    safe = clean(suggested)
    check_safe(safe.name)
    again = clean(safe.name)
    assert again.name == safe.name, "cleaning is not finished in one go"
    assert RENAMED not in again.flags
    assert (RENAMED in safe.flags) == (safe.name != suggested)
    assert again.flags <= safe.flags


@given(_TEXT, st.integers(2, 99_999))
def test_a_numbered_name_is_a_clean_name(suggested: str, number: int) -> None:
    name = numbered(clean(suggested).name, number)
    check_safe(name)
    assert clean(name).name == name
    assert f" ({number})" in name


@given(
    st.lists(
        st.sampled_from(["a", "A", "å", "a\u030a", "Å", "ﬁ", "fi", "ß", "SS", "a (2)", "x.txt"]), max_size=30
    )
)
def test_no_two_names_of_a_folder_are_one_anywhere(suggested: list[str]) -> None:
    taken, again = Taken(), Taken()
    given_out = [taken.take(clean(one).name) for one in suggested]
    assert len({same_key(name) for name in given_out}) == len(given_out)
    assert len({unicodedata.normalize("NFD", name.casefold()) for name in given_out}) == len(given_out)
    assert [again.take(clean(one).name) for one in suggested] == given_out
    for name in given_out:
        check_safe(name)
        assert name in taken


def test_many_of_one_name_do_not_take_for_ever() -> None:
    taken = Taken()
    given_out = {taken.take("same") for _ in range(20_000)}
    assert len(given_out) == 20_000
    assert {"same", "same (2)", "same (20000)"} <= given_out


@pytest.mark.parametrize(
    ("suggested", "name", "flags"),
    [
        ("report.pdf", "report.pdf", set()),
        ("Größe 2.txt", "Größe 2.txt", set()),
        ("報告.docx", "報告.docx", set()),
        ("v1.2 notes (final).md", "v1.2 notes (final).md", set()),
        ("archive.tar.gz", "archive.tar.gz", set()),
        ("../../etc/passwd", "_.._.._etc_passwd", {RENAMED, HIDDEN}),
        (".bashrc", "_.bashrc", {RENAMED, HIDDEN}),
        ("-rf", "_-rf", {RENAMED}),
        ("con", "_con", {RENAMED}),
        ("COM1 .txt", "_COM1 .txt", {RENAMED}),
        ("com¹", "_com¹", {RENAMED}),
        ("conx.txt", "conx.txt", set()),
        ("file.txt:evil.exe", "file.txt_evil.exe", {RENAMED, EXECUTABLE}),
        ("trailing. . ", "trailing", {RENAMED}),
        ("setup.exe", "setup.exe", {EXECUTABLE}),
        ("SETUP.EXE", "SETUP.EXE", {EXECUTABLE}),
        ("invoice.pdf.exe", "invoice.pdf.exe", {EXECUTABLE, DOUBLE_EXTENSION}),
        ("invoice.pdf      .exe", "invoice.pdf      .exe", {EXECUTABLE, DOUBLE_EXTENSION}),
        ("v1.2.sh", "v1.2.sh", {EXECUTABLE}),
        ("photo\u202egpj.exe", "photo_gpj.exe", {RENAMED, EXECUTABLE}),
        ("desktop.ini", "_desktop.ini", {RENAMED}),
        ("a\u0308.txt", "ä.txt", {RENAMED}),
        ("", "unnamed", {RENAMED}),
    ],
)
def test_examples(suggested: str, name: str, flags: set[str]) -> None:
    assert clean(suggested) == (name, frozenset(flags))


def test_a_long_name_keeps_its_ending() -> None:
    assert clean("a" * 500 + ".pdf").name == "a" * 196 + ".pdf"
    assert clean("a" * 500 + ".tar.gz").name == "a" * 193 + ".tar.gz"
    assert clean("ü" * 500 + ".pdf").name == "ü" * 98 + ".pdf"
    assert clean("x." + "e" * 500).name == "x." + "e" * 198, "so long an ending is none"
    family = "👩‍👩‍👧" * 100
    assert len(clean(family).name.encode()) <= MAX_NAME_BYTES


def test_letters_keep_their_accents_where_a_name_is_cut() -> None:
    accented = "e\u0323\u0302"  # NFC leaves one combining mark behind no letter of its own
    composed = unicodedata.normalize("NFC", accented)
    for filler in range(8):
        kept = clean("x" * filler + "q\u0323\u0307" * 200).name
        assert not unicodedata.combining(kept[0])
        assert kept.endswith("\u0307"), "cut between a letter and its second mark"
    assert clean(composed).name == composed


def test_the_table_of_hostile_names_is_large_enough() -> None:
    assert len(HOSTILE) == len(set(HOSTILE)) >= 300


def test_the_version_of_unicode_is_said() -> None:
    assert names.UNICODE == unicodedata.unidata_version
