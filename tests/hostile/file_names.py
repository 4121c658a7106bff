"""Names nobody sends who means well, and what must hold of any name that is written.

Decides: the table (research, H7: at least 300) and the rules a written name must keep, written
anew here and not taken from the code under test. Does not know: how names are made safe.
"""

from __future__ import annotations

import re
import unicodedata

_DEVICES = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"]
_DEVICES += [f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789"]
_SUPER = [f"{port}{digit}" for port in ("COM", "LPT") for digit in "¹²³"]
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE = "\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\ufff9\ufffa\ufffb"
_LOOKALIKES = "\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c"

WAYS = [
    "..", ".", "/", "//", "\\", "...", "....", ". .", " .. ", "../", "..\\", "/..", "./.", "../..",
    "../etc/passwd", "../../etc/passwd", "../../../../../../../../etc/shadow", "..\\..\\Windows\\win.ini",
    "/etc/passwd", "//server/share", "\\\\server\\share\\x", "\\\\?\\C:\\x", "\\\\.\\PhysicalDrive0",
    "C:\\Windows\\System32\\x.dll", "C:x", "C:", "c:/x", "Z:\\", "file:///etc/passwd", "\\x", "/x",
    "a/../b", "a/b", "a\\b", "a/./b", "a//b", "a/", "a\\", "./a", ".\\a", "~", "~root", "~/x",
    "~/.ssh/id_rsa",
    "$HOME/x", "%USERPROFILE%\\x", "%2e%2e%2fx", "..%2f..%2fx", "%00", "..%c0%af", "..;/x", "....//....//x",
    ".ssh/authorized_keys", ".git/hooks/post-checkout", ".config/autostart/x.desktop", "\0", "a\0b",
    "a.txt\0.exe",
    "..\0/x", "/\0", "\ud800", "a\udcff", "\udc80..", "\ud83d", "inbox/../../x", "staging", "x.state",
]  # fmt: skip
WINDOWS = [
    "a:b", "a.txt:stream", "a.txt::$DATA", ":", "::$INDEX_ALLOCATION", "x:$I30:$INDEX_ALLOCATION", "$MFT",
    "a<b",
    "a>b", 'a"b', "a|b", "a?b", "a*b", "*", "?", "a.", "a..", "a ", "a. ", "a .", " a", "  ", " ", "a\t",
    "\ta",
    "a.txt.", "a.txt ", "a.txt. .", "desktop.ini", "Desktop.INI", "autorun.inf", "AUTORUN.INF", "thumbs.db",
    "Folder.htt", "x.{20D04FE0-3AEA-1069-A2D8-08002B30309D}", "x.{645FF040-5081-101B-9F08-00AA002F954E}",
    "PROGRA~1", "LONGNA~1.TXT", "NTUSER.DAT", "pagefile.sys", "hiberfil.sys", "a\u00a0", "\u3000", "\u2003a",
]  # fmt: skip
RUNS = [
    "x.exe", "x.pdf.exe", "x.jpg.scr", "x.txt.lnk", "x.doc.js", "x.pdf .exe", "x.png      .com", "x.scf",
    "x.url",
    "x.library-ms", "x.search-ms", "x.desktop", "x.command", "x.app", "x.hta", "x.vbs", "x.ps1", "x.bat",
    "x.cmd",
    "x.msi", "x.jar", "x.sh", "x.py", "x.reg", "x.settingcontent-ms", "x.iso", "x.docm", "x.xlsm",
    "x.one.exe",
]  # fmt: skip
SHELL = [
    "-rf", "--", "-", "--help", "-o ProxyCommand=x", "-exec", "--checkpoint-action=exec=sh x.sh", "$(reboot)",
    "`reboot`", ";reboot", "|reboot", "&&reboot", "a b;c", "a'b", 'a"b', "a\nb", "a\rb", "\n", "\r\n",
    "a\x0bb",
    "!history", "#x", "*.txt", "[abc]", "{a,b}", "\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;eA==\x07",
    "a\x08b",
    "\x7f", "a\x00b", "\x01", "\x1f", "\x80", "\x85", "\x9b31m", "\x90q\x9c", "a\u2028b", "a\u2029b", "\x0e",
]  # fmt: skip
TWINS = ["é", "e\u0301", "É", "E\u0301", "ﬁle", "file", "FILE", "File", "ſ", "K", "Å", "Å", "A\u030a"]
TWINS += ["straße", "STRASSE", "İ", "i̇", "ｆｉｌｅ", "x²", "x2", "Ω", "Ω", "한글", "한글"]
LONG = [
    "a" * 255, "a" * 256, "a" * 1000, "a" * 251 + ".txt", "a" * 252 + ".txt", "a" * 200, "a" * 201, "." * 255,
    " " * 255, "ü" * 255, "語" * 85, "語" * 255, "😀" * 64, "😀" * 255, "e" + "\u0301" * 500,
    "a." + "b" * 254,
    "con" + " " * 250, "con" + " " * 250 + ".txt", "a" * 254 + "/", "x." + "tar." * 60 + "gz",
    "\u0301" * 10_000,
    "a" * 199 + " .", "a" * 199 + "..", "-" * 300, "~" * 300, "_" * 300, "a" * 195 + ".html", "a.b" * 100,
]  # fmt: skip

HOSTILE: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            "",
            *WAYS,
            *WINDOWS,
            *RUNS,
            *SHELL,
            *TWINS,
            *LONG,
            *_DEVICES,
            *[name.lower() for name in _DEVICES],
            *_SUPER,
            *[f"{name}.txt" for name in _DEVICES + _SUPER],
            *[f"{name} .txt" for name in _DEVICES[:4]],
            *[f"{name}..txt" for name in _DEVICES[:4]],
            *[f" {name}" for name in _DEVICES[:4]],
            *[f"{name}:" for name in _DEVICES[:4]],
            *["ＣＯＮ", "ｎｕｌ.txt", "C\u200bON", "CON\u200e", "ＣＯＭ１"],
            *[f"photo{one}gpj.exe" for one in _BIDI],
            *[f"a{one}b.txt" for one in _INVISIBLE],
            *[one for one in _BIDI + _INVISIBLE],
            *[f"..{one}..{one}etc{one}passwd" for one in _LOOKALIKES],
            *[f"tag{chr(0xE0041)}", "\ufffe", "\uffff", "\ufdd0", "\U0001ffff", "\U0010ffff"],
        ]
    )
)
"""All of them, none twice."""

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9])", re.IGNORECASE)


def check_safe(name: str) -> None:
    """Assert what must hold of a name that is written, on whatever system."""
    raw = name.encode("utf-8")  # which also says that there are no lone surrogates
    assert 1 <= len(raw) <= 200
    assert unicodedata.normalize("NFC", name) == name
    assert not set(name) & set('/\\:*?"<>|' + _LOOKALIKES)
    for one in name:
        assert unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), f"{one!r} in {name!r}"
        assert unicodedata.category(one) != "Zs" or one == " "
    assert name[0] not in " .-~"
    assert name[-1] not in " ."
    stem = unicodedata.normalize("NFKC", name).split(".")[0].strip()
    assert _RESERVED.fullmatch(stem) is None, name
    assert name.lower() not in ("desktop.ini", "autorun.inf")
    assert not re.search(r"\.\{[0-9A-Fa-f-]{36}\}$", name)
