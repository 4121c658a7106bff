"""How far files have come, while a command waits for them.

Decides: what is seen of it: bars on a terminal, one JSON line for each change with --json, nothing
anywhere else. All of it goes to stderr: stdout belongs to the answer. Does not know: how anything
moves, or when it is over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from p2pchat.amounts import amount
from p2pchat_cli.output import SCHEMA, Output
from p2pchat_cli.text import columns, ends, field
from p2pchat_cli.when import span

Transfer = Mapping[str, Any]

BAR: Final = 20
NAME: Final = 28
LEAST: Final = 60
"""Columns below which there is no bar, only its numbers."""

_CHANGES: Final = ("state", "bytes_done", "rate_bps", "error")


class Progress:
    """Shows transfers again and again. Call `show` as often as wanted, `close` at the end."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._seen: dict[str, tuple[Any, ...]] = {}
        self._rows = 0
        dumb = os.environ.get("TERM", "") in ("", "dumb") and os.name == "posix"
        self.bars = out.err.isatty() and not out.json and not dumb
        self.live = self.bars or out.json
        """Whether it is worth looking often."""

    def show(self, transfers: Sequence[Transfer]) -> None:
        """How things stand now."""
        if self._out.json:
            self._objects(transfers)
        elif self.bars:
            self._draw(transfers)

    def close(self) -> None:
        """What was drawn stays; what follows stands below it."""
        self._rows = 0

    def _objects(self, transfers: Sequence[Transfer]) -> None:
        for one in transfers:
            now = tuple(str(one[key]) for key in _CHANGES)
            if self._seen.get(one["id"]) != now:
                self._seen[one["id"]] = now
                line = {"schema": SCHEMA, "type": "progress", "transfer": one}
                self._out.err.write(json.dumps(line, separators=(",", ":"), ensure_ascii=True) + "\n")
        self._out.err.flush()

    def _draw(self, transfers: Sequence[Transfer]) -> None:
        wide, high = self._size()
        most = max(high - 2, 1)
        lines = [bar(one, wide) for one in transfers[:most]]
        if len(transfers) > most:
            lines.append(f"and {len(transfers) - most} more"[:wide])
        up = f"\x1b[{self._rows}A" if self._rows else ""
        self._out.flush()
        self._out.err.write(up + "".join(f"\r{line}\x1b[K\n" for line in lines))
        self._out.err.flush()
        self._rows = len(lines)

    def _size(self) -> tuple[int, int]:
        try:
            found = os.get_terminal_size(self._out.err.fileno())
        except (OSError, ValueError):
            return 79, 24
        return max(found.columns - 1, 20) if found.columns else 79, found.lines or 24


def bar(one: Transfer, wide: int) -> str:
    """One transfer in one line of at most `wide` columns, other people's text escaped."""
    room = min(NAME, wide // 3)
    name = ends(one["name"], room)
    name += " " * (room - columns(name))
    done = min(one["bytes_done"] / one["size"], 1.0) if one["size"] else float(one["state"] == "done")
    drawn = ""
    if wide >= LEAST:
        full = int(done * BAR)
        drawn = f" [{'#' * full}{' ' * (BAR - full)}]"
    head = f"{name}{drawn} {int(done * 100):3} %  "
    return head + field(_words(one), wide - columns(head))


def _words(one: Transfer) -> str:
    if one["state"] != "active":
        why = f": {field(one['error']['message'])}" if one["error"] else ""
        return f"{one['state']}{why}"
    if not one["rate_bps"]:
        return "active"
    return f"{amount(one['rate_bps'])}/s, {span((one['size'] - one['bytes_done']) / one['rate_bps'])} left"
