"""Names of files that other people chose, made safe on every system at once.

Decides: what a suggested name becomes, which of several equal ones becomes what, and what a
person should be warned of. Does not know: paths, disks, or who sent it.

One set of rules for all systems, not one per system: a folder is copied on from a Linux machine to a
Windows stick, and shared. Everything is decided from the name alone, the same name always
becomes the same. What cannot stay is replaced by "_" and not removed: it shows that something was
there, and nothing dangerous grows together from two harmless halves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

UNICODE: Final = unicodedata.unidata_version
"""What "the same name" depends on besides this file: resuming under another one starts anew."""
MAX_NAME_BYTES: Final = 200
"""UTF-8. Every file system takes 255 (and UTF-16 units no more); this leaves room for " (2)" and
for the longer of the two spellings of a letter."""
MAX_SUFFIX_BYTES: Final = 32
"""So much of an ending is kept whole when a long name is cut."""
FALLBACK: Final = "unnamed"

# Flags: what a person should see before he opens it.
EXECUTABLE: Final = "executable"
DOUBLE_EXTENSION: Final = "double_extension"
HIDDEN: Final = "hidden"
RENAMED: Final = "renamed"

_NO_FLAGS: Final[frozenset[str]] = frozenset()

_REPLACED: Final = "_"
_SEPARATORS: Final = "/\\\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c\u2571\u2572\u1735\u338f"
"""What separates names somewhere, or looks as if it did."""
_FORBIDDEN: Final = '<>:"|?*\ua789\uff1a\u2236\ufe55\uff02\uff1c\uff1e\uff5c\uff1f\uff0a'
"""What Windows forbids, ":" of its streams first, and wide twins that its older calls turn into these."""
_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, format (bidi, zero width, tags), lone surrogates, line and paragraph separators."""
_BAD_START: Final = "-.~"
"""An option, a hidden file or a way up, somebody's home."""
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$", "config$"}
    | {port + digit for port in ("com", "lpt") for digit in "0123456789"}
)
"""Devices on Windows, whatever stands behind a dot."""
_SHELL: Final = frozenset({"desktop.ini", "autorun.inf", "thumbs.db", "folder.htt", "icon\r"})
"""Files by which a desktop changes how it treats a whole folder."""
_CLASS_ID: Final = re.compile(r"\.(?=\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}$)", re.IGNORECASE)
"""`.{GUID}` at the end makes a folder a part of the Windows shell."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_ .,()+=@-]*")
"""What most names consist of: nothing in it is replaced, and to see that is all it costs."""

_COMMON_ENDING: Final = re.compile(r"[a-z][a-z0-9]{0,4}|[0-9][a-z0-9]{1,4}")

_RUNS: Final = frozenset(
    """
    a3x action ade adp apk app appimage application appref-ms appx appxbundle apt bash bat bgi cab
    chm cmd com command cpl crx csh deb desktop diagcab dll dmg docm dotm elf exe fon
    fxp gadget hlp hpj hta htc inf ins ipa iso isp its jar jnlp js jse ksh library-ms lnk mad
    maf mag mam mau mav maw mcf mda mdb mde mdt mdw mdz mht mhtml mobileconfig msc msh msh1 msh1xml
    msh2 msh2xml mshxml msi msix msixbundle msp mst ocx ops osd pcd perl pif pkg pl plg potm ppam
    ppkg ppsm pptm prg printerexport ps1 ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 psm1 pssc pst py
    pyc pyo pyw pyz rb reg rgs rpm run scf scpt scptd scr sct search-ms service settingcontent-ms sh
    shb shs sldm slk so terminal theme themepack udl url vb vbe vbp vbs vhd vhdx vsmacros
    vsw webarchive webloc website wim workflow ws wsb wsc wsf wsh xbap xlam xll xlm xlsb xlsm xltm
    zsh
    """.split()
)
"""Endings with which something runs, or may, when it is opened on one system or another."""


class Safe(NamedTuple):
    """A name to be written, and what to say about it."""

    name: str
    flags: frozenset[str]


def clean(suggested: str, fallback: str = FALLBACK) -> Safe:
    """The name under which something suggested as `suggested` is written.

    One path component, in NFC, 1 to MAX_NAME_BYTES bytes, that no system reads as anything but a
    name; cleaning it again changes nothing. Never raises, whatever the text.
    """
    name = suggested
    if _PLAIN.fullmatch(name) is None:
        name = "".join(map(_safe_character, unicodedata.normalize("NFC", name)))
        name = _CLASS_ID.sub(_REPLACED, name)
    name = _cut(name.strip(" ").rstrip(" ."))
    # Nothing from here on makes a name bad that was good, and each step leaves a good start alone.
    if not name:
        name = fallback
    if name[0] in _BAD_START or _is_reserved(name):
        name = _cut(_REPLACED + name)
    flags = _warnings(name)
    if suggested.lstrip().startswith("."):
        flags |= {HIDDEN}
    if name != suggested:
        flags |= {RENAMED}
    return Safe(name, frozenset(flags) if flags else _NO_FLAGS)


def same_key(name: str) -> str:
    """Two names with one key are one name on some system: case, composition and width do not count."""
    if name.isascii():
        return name.lower()  # what the rest comes to
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)


def numbered(name: str, number: int) -> str:
    """`report (2).pdf` of `report.pdf` and 2; still a clean name, its length too."""
    stem, suffix = _split(name)
    mark = f" ({number})"
    room = MAX_NAME_BYTES - len((mark + suffix).encode())
    return _shorten(stem, room).rstrip(" .") + mark + suffix


class Taken:
    """The names of one folder: none is given twice, nor one that some system takes for another."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._keys = {same_key(name) for name in names}
        self._next: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return same_key(name) in self._keys

    def take(self, name: str) -> str:
        """`name` if it is free, else the first of `name (2)`, `name (3)`, … that is. The same names
        in the same order always give the same."""
        key, chosen = same_key(name), name
        now = key
        if now in self._keys:
            number = self._next.get(key, 2)
            while now in self._keys:
                chosen = numbered(name, number)
                now = same_key(chosen)
                number += 1
            self._next[key] = number
        self._keys.add(now)
        return chosen


def _safe_character(one: str) -> str:
    if one in _SEPARATORS or one in _FORBIDDEN:
        return _REPLACED
    category = unicodedata.category(one)
    if category in _CATEGORIES or ord(one) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(one) <= 0xFDEF:
        return _REPLACED
    return " " if category == "Zs" else one


def _is_reserved(name: str) -> bool:
    plain = name.lower()
    if not name.isascii():
        plain = unicodedata.normalize("NFKC", name).casefold()  # superscript digits and wide letters count
    return plain.split(".")[0].strip(" ") in _RESERVED or plain in _SHELL


def _split(name: str) -> tuple[str, str]:
    """(stem, ending with its dot); the ending is empty if there is none worth keeping."""
    stem, dot, ending = name.rpartition(".")
    if not stem or not ending or len(ending.encode()) > MAX_SUFFIX_BYTES or " " in ending:
        return name, ""
    if stem.lower().endswith(".tar"):
        return stem[:-4] or name, name[len(stem) - 4 :] if stem[:-4] else ""
    return stem, dot + ending


def _cut(name: str) -> str:
    """At most MAX_NAME_BYTES of it, the ending kept, and no space or dot where it was cut."""
    if len(name) <= MAX_NAME_BYTES // 4:  # four bytes a letter at most
        return name
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, suffix = _split(name)
    return _shorten(stem, MAX_NAME_BYTES - len(suffix.encode())).rstrip(" .") + suffix


def _shorten(text: str, room: int) -> str:
    """The most of `text` that fits into `room` bytes without tearing a letter from its accents."""
    if len(text.encode()) <= room:
        return text
    kept = text.encode()[:room].decode("utf-8", "ignore")
    bare = kept
    while bare and len(bare) < len(text) and unicodedata.combining(text[len(bare)]):
        bare = bare[:-1]
    return bare or kept


def _warnings(name: str) -> set[str]:
    last = name.rpartition(".")
    if not last[1] or last[2].strip(" ").casefold() not in _RUNS:
        return set()
    flags = {EXECUTABLE}
    before = last[0].rpartition(".")
    if before[1] and _COMMON_ENDING.fullmatch(before[2].strip(" ").casefold()):
        flags.add(DOUBLE_EXTENSION)
    return flags
