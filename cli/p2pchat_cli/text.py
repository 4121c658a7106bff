"""The one door between other people's text and a terminal.

Decides: which characters reach a screen as they are, how the others are shown, and how
wide and tall a text may become. Does not know: what the text is, or colours.

Four forms: `field` for anything inside a line (names, rooms, errors), `ends` for names of
files, `body` for message text over several lines, `fit` for a column. Nothing else in this package may
print text that somebody else wrote. Threats met: escape sequences that move the cursor,
set the clipboard or make the terminal answer; carriage returns and bidi controls that
show another text than the one sent; invisible characters; towers of combining marks;
line breaks and automatic wrapping that forge a line of somebody else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

MAX_MARKS: Final = 4
"""Combining marks kept on one character: real orthographies stack at most four."""

MAX_FIELD: Final = 2000
"""Columns of a field whose caller names no width: bounds what one error can fill."""

TAB: Final = "    "

# Category Lo, yet drawn as nothing: a name made of these looks empty or like another.
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_EMOJI_STYLE: Final = "\ufe0f"


def field(text: str, width: int = MAX_FIELD) -> str:
    """`text` as part of one line: no line break, runs of blanks as one space, at most `width` columns."""
    if text.isascii() and text.isprintable() and len(text) <= width and "  " not in text:
        return text.strip()
    return _cut(_line(text), width)


def fit(text: str, width: int) -> str:
    """`field` padded with spaces to exactly `width` columns."""
    shown = field(text, width)
    return shown + " " * (width - columns(shown))


def body(text: str, prefix: str = "", width: int = 0, spare: int = 0) -> list[str]:
    """`text` as lines, every line after the first beginning with `prefix`.

    With `width` > 0 no line becomes wider than that, prefix included, so that the
    terminal never wraps by itself and column 0 always belongs to us. The first line
    leaves room for a prefix of the same width, which the caller puts before it, and for
    `spare` columns behind it.
    """
    lines: list[str] = []
    room = max(width - columns(prefix), 8) if width else 0
    for line in text.replace("\r\n", "\n").split("\n"):
        units = list(_units(line.replace("\t", TAB)))
        lines.extend(_wrap(units, room, 0 if lines else spare) if room else ["".join(units)])
    return [lines[0], *(prefix + line for line in lines[1:])]


def ends(text: str, width: int) -> str:
    """As `field`, but what does not fit is left out of the middle: the ending of a file's name says
    what opens it."""
    units = _line(text)
    if sum(map(_width, units)) <= width:
        return "".join(units)
    kept: list[str] = []
    left = width // 2
    while units and (left := left - _width(units[-1])) >= 0:
        kept.insert(0, units.pop())
    return _cut(units, width - sum(map(_width, kept))) + "".join(kept)


def columns(text: str) -> int:
    """How many columns an already escaped text takes."""
    return len(text) if text.isascii() else sum(map(_width, _units(text)))


def visible(character: str) -> str:
    """One character as it may be shown: itself, or an escape such as `\\x1b` or `\\u202e`."""
    if "\x20" <= character <= "\x7e":
        return character
    if character not in _BLANK_LETTERS and unicodedata.category(character) not in (
        "Cc",  # C0, DEL, C1
        "Cf",  # bidi, zero-width, tags
        "Zl",
        "Zp",
        "Cs",  # lone surrogates
        "Cn",  # unassigned: no terminal agrees on their width
        "Co",  # private: fonts draw what they like
    ):
        return character
    code = ord(character)
    if code < 0x100:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _line(text: str) -> list[str]:
    """The units of `text` as part of one line: runs of blanks are one space."""
    blanks = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return list(_units(" ".join(part for part in blanks.split(" ") if part)))


def _units(text: str) -> Iterator[str]:
    """What cannot be parted: a character with its combining marks, or one escape."""
    held, marks = "", 0
    for character in text:
        if character > "\x7e" and unicodedata.category(character) in ("Mn", "Me"):
            marks += 1
            if marks <= MAX_MARKS:
                # A mark with nothing before it would land on what we printed.
                held = (held or "\u25cc") + character
            elif marks == MAX_MARKS + 1:
                held += "\u2026"
            continue
        if held:
            yield held
        held, marks = visible(character), 0
    if held:
        yield held


def _width(unit: str) -> int:
    wide = 0
    for character in unit:
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            continue
        wide += 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
    return max(wide, 2) if _EMOJI_STYLE in unit else wide


def _cut(units: list[str], width: int) -> str:
    """The units that fit into `width` columns; `…` stands for the rest."""
    if sum(map(_width, units)) <= width:
        return "".join(units)
    kept: list[str] = []
    left = width - 1
    for unit in units:
        left -= _width(unit)
        if left < 0:
            break
        kept.append(unit)
    return "".join(kept) + "\u2026" if width > 0 else ""


def _wrap(units: list[str], room: int, spare: int) -> list[str]:
    """Lines of at most `room` columns, the first `spare` less, parted at a space if one is near."""
    lines: list[str] = []
    line: list[str] = []
    used = 0
    for unit in units:
        wide = _width(unit)
        if line and used + wide > room - (0 if lines else spare):
            cut = len(line)
            if unit != " " and " " in line[len(line) // 2 :]:
                cut = len(line) - line[::-1].index(" ")
            lines.append("".join(line[:cut]))
            line = line[cut:]
            used = sum(map(_width, line))
        line.append(unit)
        used += wide
    return [*lines, "".join(line)]
