"""What a command says: answers on stdout, remarks on stderr, JSON where asked.

Decides: the envelope of JSON, the shape of a failure, colour or none, tables. Does not
know: any command. Every text of other people comes in through `text`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from p2pchat.errors import CommandError
from p2pchat_cli.options import BY_WORDS
from p2pchat_cli.text import columns, field, fit

SCHEMA: Final = 1
MAX_COLUMN: Final = 40
MIN_WIDTH: Final = 40

_NAMED: Final = re.compile(r"\bp2pchat ([a-z]+)(?: ([a-z-]+))?")

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Output:
    """The two streams of one command."""

    def __init__(self, *, json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self.home = ""  # the profile folder, if it was named by --home
        self.out = out if out is not None else sys.stdout
        self.err = err if err is not None else sys.stderr
        self.tty = self.out.isatty()
        dumb = os.environ.get("TERM", "") in ("", "dumb") and os.name == "posix"
        self.colour = self.tty and not json and not os.environ.get("NO_COLOR") and not dumb

    @property
    def width(self) -> int:
        """Columns of the terminal; 0 off a terminal, where nothing is wrapped or cut."""
        if not self.tty:
            return 0
        try:
            found = os.get_terminal_size(self.out.fileno()).columns
        except OSError:
            return 80
        return max(found, MIN_WIDTH) if found else 80

    def object(self, value: Mapping[str, Any]) -> None:
        """One JSON object on a line of its own, pure ASCII, flushed: somebody may be reading along."""
        body = {"schema": SCHEMA, **value}
        self.out.write(json.dumps(body, separators=(",", ":"), ensure_ascii=True) + "\n")
        self.out.flush()

    def line(self, text: str = "") -> None:
        """A line of the answer. `text` is ours or has been escaped."""
        self.out.write(text + "\n")

    def remark(self, text: str) -> None:
        """A line beside the answer: progress, hints, warnings."""
        self.out.flush()
        self.err.write(text + "\n")
        self.err.flush()

    def hint(self, text: str) -> str:
        """`text`, our own advice, with every command it names pointed at the profile of --home, but for
        what is to be typed on another machine: that follows `there: `.

        Scripts know their profile: JSON keeps the words of the contract.
        """
        if not self.home or self.json:
            return text
        from shlex import quote  # only on the way to a hint

        told = f" --home {quote(self.home)}"

        def placed(found: re.Match[str]) -> str:
            first, second = found.groups()
            if (first, second) in BY_WORDS or (first,) not in BY_WORDS:
                return found[0] + (told if (first, second) in BY_WORDS else "")
            return f"p2pchat {first}{told}" + (f" {second}" if second else "")

        here, elsewhere, rest = text.partition("there: ")
        return _NAMED.sub(placed, here) + elsewhere + rest

    def flush(self) -> None:
        """Everything said so far is out."""
        self.out.flush()

    def style(self, text: str, *names: str) -> str:
        """`text` in colour where there is colour."""
        if not self.colour or not text:
            return text
        return "".join(f"\x1b[{_STYLES[name]}m" for name in names) + text + "\x1b[0m"

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns under dim headings; cells are escaped here. The last may be long."""
        cells = [[field(cell, MAX_COLUMN if self.tty else 2000) for cell in row] for row in rows]
        sizes = [max(columns(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
        self.line(self.style("  ".join(fit(h, s) for h, s in zip(head, sizes, strict=True)).rstrip(), "dim"))
        for row in cells:
            self.line("  ".join(fit(c, s) for c, s in zip(row, sizes, strict=True)).rstrip())

    def failure(self, error: CommandError) -> int:
        """Tell why a command failed; returns the exit code.

        With JSON the object goes to stdout, beside what was done all the same.
        """
        if self.json:
            done = error.result if isinstance(error.result, dict) else {}
            self.object({**done, "error": failure_fields(error)})
            return error.code
        # A message may quote a peer's text in full; the newline in it would be ours to forge.
        self.remark(f"{self._said('error')}: {field(error.message)}")
        if error.hint:
            self.remark(f"{self._said('hint')}: {field(self.hint(error.hint))}")
        return error.code

    def _said(self, word: str) -> str:
        coloured = self.colour and self.err.isatty()
        return f"\x1b[{'31' if word == 'error' else '2'}m{word}\x1b[0m" if coloured else word


def failure_fields(error: CommandError) -> dict[str, Any]:
    """`{"code","kind","message","hint"}`."""
    return {"code": error.code, "kind": error.kind, "message": error.message, "hint": error.hint}
