"""What a figure looks like: samples in, a table for people and JSON for programs out.

Decides: medians, ratios, verdicts, the options every script takes, how the machine is
described. Does not know: what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` of them do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass
class Table:
    """Samples by row and column, one per round; `columns` maps a name to its unit."""

    title: str
    columns: dict[str, str]
    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, row: str, note: str = "", **samples: float) -> None:
        """One round of a row."""
        if unknown := set(samples) - set(self.columns):
            raise ValueError(f"no such columns in {self.title!r}: {sorted(unknown)}")
        cells = self.rows.setdefault(row, {})
        for column, sample in samples.items():
            cells.setdefault(column, []).append(sample)
        if note:
            self.notes[row] = note

    def median(self, row: str, column: str) -> float | None:
        """Median over the rounds, None if that was not measured."""
        samples = self.rows.get(row, {}).get(column)
        return median(samples) if samples else None

    def ratio(self, row: str, other: str, column: str) -> float | None:
        """Median of `row` over median of `other`."""
        above, below = self.median(row, column), self.median(other, column)
        return above / below if above is not None and below else None

    def markdown(self) -> str:
        """Median [least-greatest] of each cell."""
        heads = [f"{name}, {unit}" if unit else name for name, unit in self.columns.items()]
        lines = [self.title, "", "| case | " + " | ".join(heads) + " | remark |"]
        lines.append("|---" * (len(heads) + 2) + "|")
        for row, cells in self.rows.items():
            texts = [_cell(cells.get(column, [])) for column in self.columns]
            lines.append(f"| {row} | " + " | ".join(texts) + f" | {self.notes.get(row, '')} |")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        rows = [
            {"name": name, "samples": cells, "median": {c: median(s) for c, s in cells.items()}}
            | {"remark": self.notes.get(name, "")}
            for name, cells in self.rows.items()
        ]
        return {"title": self.title, "columns": self.columns, "rows": rows}


def _cell(samples: Sequence[float]) -> str:
    if not samples:
        return "-"
    middle, low, high = (_number(x) for x in (median(samples), min(samples), max(samples)))
    return middle if low == high else f"{middle} [{low}-{high}]"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


@dataclass(frozen=True)
class Verdict:
    """One demand on a figure; `must` None where only an aim is set.

    `value` None: not measured here, which holds nothing.
    """

    what: str
    value: float | None
    must: float | None
    aim: float | None
    at_most: bool = True

    @property
    def word(self) -> str:
        """aim, must, missed, short of the aim (where that is all) or not measured."""
        if self.value is None:
            return "not measured"
        if self.aim is not None and self._meets(self.aim):
            return "aim"
        if self.must is None:
            return "short of the aim"
        return "must" if self._meets(self.must) else "missed"

    def _meets(self, bound: float) -> bool:
        assert self.value is not None
        return self.value <= bound if self.at_most else self.value >= bound

    def markdown(self) -> str:
        """One line."""
        sign = "≤" if self.at_most else "≥"
        bounds = [
            f"{name} {sign} {_number(bound)}"
            for name, bound in (("must", self.must), ("aim", self.aim))
            if bound is not None
        ]
        value = "-" if self.value is None else _number(self.value)
        return f"- {self.what}: {value} ({', '.join(bounds)}): **{self.word}**"


@dataclass
class Report:
    """All of one figure."""

    figure: str
    about: str
    tables: list[Table] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    command: str = ""
    rounds: int = 0
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    def markdown(self) -> str:
        """For people, and for docs/figures.md."""
        parts = [f"## {self.figure}", self.about, f"`{self.command}` · {self.date}"]
        parts += [table.markdown() for table in self.tables]
        if self.verdicts:
            parts.append("\n".join(verdict.markdown() for verdict in self.verdicts))
        if self.absent:
            lines = (f"- {name}: not available ({why})" for name, why in self.absent.items())
            parts.append("\n".join(lines))
        if self.remarks:
            parts.append("\n".join(f"- {remark}" for remark in self.remarks))
        return "\n\n".join(parts) + "\n"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema": 1,
            "figure": self.figure,
            "date": self.date,
            "command": self.command,
            "rounds": self.rounds,
            "machine": machine(),
            "tables": [table.as_json() for table in self.tables],
            "verdicts": [
                {"what": v.what, "value": v.value, "must": v.must, "aim": v.aim, "word": v.word}
                for v in self.verdicts
            ],
            "not_available": [{"name": name, "why": why} for name, why in self.absent.items()],
            "remarks": self.remarks,
        }


def machine() -> dict[str, Any]:
    """The class of this machine: enough to judge a figure by, nothing that names it."""
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo", encoding="utf-8") as info:
        memory_gib = round(int(info.readline().split()[1]) / 2**20)
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "memory_gib": memory_gib,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "archives_on": _file_system(tempfile.gettempdir()),
    }


def _file_system(folder: str) -> str:
    """The type of file system that holds `folder`: a commit on tmpfs costs nothing and proves nothing."""
    best, found = "", "unknown"
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, at, kind, *_ = line.split()
            inside = folder == at or folder.startswith(at.rstrip("/") + "/")
            if inside and len(at) >= len(best):
                best, found = at, kind
    return found


def missed(report: Report) -> int:
    """The exit code of a script that holds its demands: 1 if one was missed."""
    return int(any(verdict.word == "missed" for verdict in report.verdicts))


Measure = Callable[[argparse.Namespace, Report], None]


def script(
    figure: str,
    about: str,
    measure: Measure,
    argv: Sequence[str] | None,
    *,
    rounds: int = 5,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Report:
    """The body of every script's `main`: options, measuring, printing. Returns what was printed."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{figure}", description=about)
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"default {rounds}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON, too")
    parser.add_argument("--rivals", type=Path, metavar="DIR", help="where rivals were installed")
    if options is not None:
        options(parser)
    given = list(sys.argv[1:] if argv is None else argv)
    chosen = parser.parse_args(given)
    if chosen.rounds < 1:
        parser.error(f"--rounds {chosen.rounds}: at least 1")
    # so that namespaces and servers go also when somebody ends us from outside
    before = signal.signal(signal.SIGTERM, _leave)
    report = Report(figure, about)
    shown = [word for at, word in enumerate(given) if word != "--json" and given[at - 1 : at] != ["--json"]]
    report.command = shlex.join(["python", "-m", f"tests.bench.{figure}", *shown])
    report.rounds = chosen.rounds
    try:
        measure(chosen, report)
    finally:
        signal.signal(signal.SIGTERM, before)
    print(report.markdown())
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    return report


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
