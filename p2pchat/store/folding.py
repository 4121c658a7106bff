"""When two words are the same word to somebody who searches.

Decides: the folding of texts and queries: NFKC and full case folding (Unicode 15,
section 5.18), so that `grüsse` finds `Grüße`, and `ﬁn` and `ＦＩＮ` are `fin`. Does not know:
what a word is, or accents (the tokenizer drops those).
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right


def fold(text: str) -> str:
    """`text` as the index has it."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def unlike(text: str) -> str | None:
    """`fold(text)` where it is more than the tokenizer would do by itself, else None."""
    if text.isascii():
        return None
    folded = fold(text)
    return None if folded == text.lower() else folded


def unfolded(text: str, part: str) -> str:
    """The piece of `text` whose folding is `part`, a piece of `fold(text)` between two `…` or without.

    All of `text` if it cannot be told: where characters fold together.
    """
    core = part.strip("…")
    at = fold(text).find(core)
    ends = [0]
    for character in text:
        ends.append(ends[-1] + len(fold(character)))
    if at < 0 or ends[-1] != len(fold(text)):
        return text
    low, high = bisect_right(ends, at) - 1, bisect_left(ends, at + len(core))
    return ("…" if part.startswith("…") else "") + text[low:high] + ("…" if part.endswith("…") else "")
