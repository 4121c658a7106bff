"""Takes out of a text what says who and where somebody is.

Decides: what is taken for an address, an id, a path or somebody's word, and what stands in its place. Does
not know: where the text comes from. What is the same stays the same within one report, under a salt of
that report alone, so that nobody can try addresses against it later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

_V4: Final = r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)"
_V6: Final = r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:%[\w.-]+)?(?![\w:])"
_ID: Final = r"(?<![\w-])(?:[0-9a-f]{6,}|[0-9a-f]{4}(?=\b))(?![\w-])"
_QUOTED: Final = r"'[^'\n]*'|\"[^\"\n]*\"|‘[^’\n]*’|“[^”\n]*”"
_PATH: Final = r"(?<![\w/])(?:/[^\s/:'\"]+){2,}"
_TIME: Final = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?"
_ANY: Final = re.compile(
    f"(?P<time>{_TIME})|(?P<said>{_QUOTED})|(?P<path>{_PATH})|(?P<addr>{_V4}|{_V6})|(?P<id>{_ID})"
)
_SAFE: Final = re.compile(
    r"/(?:[^\s/]+/)*(p2pchat(?:_cli)?/[\w/]+\.py|site-packages/[\w/.-]+|python[\d.]+/[\w/.-]+)$"
)
_LOOPBACK: Final = ("127.0.0.1", "0.0.0.0", "::1", "::", "224.0.0.251")  # noqa: S104 - words in a log


class Redactor:
    """One report. `words` are to be gone wherever they stand: names, host and login names, folders."""

    def __init__(self, salt: bytes, words: Iterable[str] = ()) -> None:
        self._salt = salt
        listed = sorted({word for word in words if len(word) > 1}, key=lambda word: (-len(word), word))
        self._words = re.compile("|".join(map(re.escape, listed)), re.IGNORECASE) if listed else None

    def mark(self, kind: str, text: str) -> str:
        """`kind-1a2b3c` in place of `text`: the same for the same text, in this report alone."""
        digest = blake2b(text.casefold().encode("utf-8", "replace"), digest_size=3, key=self._salt)
        return f"{kind}-{digest.hexdigest()}"

    def text(self, text: str) -> str:
        """`text` without what says who and where."""
        if self._words is not None:
            text = self._words.sub(lambda found: self.mark("word", found[0]), text)
        return _ANY.sub(self._replaced, text)

    def _replaced(self, found: re.Match[str]) -> str:
        kind, text = str(found.lastgroup), found[0]
        if kind == "time" or text in _LOOPBACK:
            return text
        if kind == "said":
            known = _SAFE.search(text[1:-1])  # a traceback names our own files in quotes
            return f'"{known[1]}"' if known else "'…'"
        if kind == "path":
            known = _SAFE.search(text)
            return known[1] if known else self.mark("path", text)
        return self.mark(kind, text.partition("%")[0])
