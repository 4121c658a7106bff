"""Nothing other people write can do anything to a terminal but be read."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pchat_cli.text import MAX_MARKS, body, columns, field, fit, visible

from tests.cli.hostile import STRINGS

FORBIDDEN = ("Cc", "Cf", "Zl", "Zp", "Cs", "Cn", "Co")


def harmless(line: str) -> bool:
    """No control, no invisible direction or joiner, no line break of any kind."""
    return all(unicodedata.category(c) not in FORBIDDEN for c in line) and len(line.splitlines()) <= 1


def marks_capped(line: str) -> bool:
    """No tower of combining marks, and none at the start, where it would land on our text."""
    run = 0
    for place, character in enumerate(line):
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if run > MAX_MARKS or (run and place == 0):
            return False
    return True


def test_the_list_is_long_enough() -> None:
    assert len(set(STRINGS)) >= 150


@pytest.mark.parametrize("text", STRINGS, ids=range(len(STRINGS)))
def test_hostile_text_is_only_read(text: str) -> None:
    for width in (10, 40, 2000):
        shown = field(text, width)
        assert harmless(shown)
        assert marks_capped(shown)
        assert columns(shown) <= width
        assert columns(fit(text, width)) == width
    for prefix, width in (("         │ ", 40), ("         │ ", 0), ("", 80)):
        lines = body(text, prefix, width)
        assert all(harmless(line) for line in lines)
        assert marks_capped(lines[0])
        for line in lines[1:]:
            assert line.startswith(prefix)
            assert marks_capped(line[len(prefix) :])
            assert not width or columns(line) <= width


@given(st.text(st.characters(exclude_categories=()), max_size=200), st.integers(1, 60))
def test_any_text_is_harmless(text: str, width: int) -> None:
    assert harmless(field(text, width))
    assert columns(field(text, width)) <= width
    for line in body(text, "│ ", 20 + width):
        assert harmless(line)
        assert columns(line) <= 20 + width


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), max_codepoint=0x2FF)))
def test_ordinary_text_is_not_touched(text: str) -> None:
    plain = " ".join(part for part in text.replace("\xa0", " ").split(" ") if part)
    assert field(text, 10_000) == plain
    assert body(text)[0] == text


def test_every_forbidden_code_point_is_escaped() -> None:
    for code in [*range(0x3000), *range(0xD7F0, 0xE010), *range(0xFE00, 0x10000), *range(0xE0000, 0xE0100)]:
        character = chr(code)
        shown = visible(character)
        if unicodedata.category(character) in FORBIDDEN:
            assert shown.startswith("\\")
            assert shown.isascii()
        else:
            assert harmless(shown)


def test_escapes_are_readable() -> None:
    assert field("\x1b[2J") == "\\x1b[2J"
    assert field("a\nb\rc\td") == "a\\nb\\rc\\td"
    assert field("\u202egnp.exe") == "\\u202egnp.exe"
    assert field("\U000e0041") == "\\U000e0041"
    assert field("\ud800") == "\\ud800"
    assert field("x\u0301") == "x\u0301"
    assert field("e" + "\u0301" * 9) == "e" + "\u0301" * 4 + "…"
    assert body("one\r\ntwo\tthree", "| ") == ["one", "| two    three"]


def test_wide_characters_count_twice() -> None:
    assert columns("宽a") == 3
    assert field("宽宽宽", 5) == "宽宽…"
    assert fit("宽", 4) == "宽  "


def test_lines_break_at_spaces_and_lose_nothing() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 5
    lines = body(text, "| ", 30)
    assert "".join([lines[0], *(line[2:] for line in lines[1:])]) == text
    assert all(columns(line) <= 30 for line in lines)
    assert all(a.endswith(" ") or b.startswith("|  ") for a, b in itertools.pairwise(lines))
