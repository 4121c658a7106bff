"""`python -m tests.bench`: lists the figures; `rivals` installs what they run beside; `figures` runs all.

Decides: which scripts make up docs/figures.md, and its frame. Does not know: any figure.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

from tests.bench import rivals
from tests.bench.report import ROOT, Report, machine

FIGURES = {
    "message_rtt": "send → delivered over a namespace link, p50 and p99",
    "message_rate": "sustained archived messages a second, one direction and 12 daemons",
    "room_message": "a message in a room of 12 daemons, until the last has committed it",
    "room_sync": "a newcomer syncs a room of 100,000 messages: time, memory, who waits meanwhile",
    "room_repair": "repair of 20 messages among 100,000: records and bytes",
    "room_crowd": "a room of 110 live daemons: copies that leave an author, until when all have it",
    "room_rotation": "a new key for a room of 500 machines",
    "handshake": "cost of a handshake",
    "discovery": "a newcomer among 2, 20 and 50 hosts: sighted, connected",
    "cable": "cable in → first message delivered; silence → known to be gone",
    "cold_start": "50 daemons started together, until all are linked to all",
    "traffic": "bytes of an office that says nothing, by link and minute",
    "file_copy": "1 GiB to another person, and chat meanwhile, beside ssh, TLS and others",
    "file_many": "10,000 small files to another person, beside the same",
    "file_room": "one file to five people in a room, over slow links",
    "idle": "memory and CPU of an idle daemon with 50 peers",
    "cli_start": "start-up of commands the daemon answers",
    "store_rows": "rows a second in the archive",
}
PLAIN = ("store_rows",)
"""Scripts that only print; what they print is shown as it is."""
HEAD = """# Figures

Written by `python -m tests.bench figures --out docs/figures.md`, never by hand. Read ratios within one
table, not absolute numbers across days: both ends of every exchange, and any broker between them, share
the cores named here. A cell is the median of the rounds with [least-greatest].
"""


def main(argv: list[str] | None = None) -> int:
    """0, or 1 if a demand was missed or a script failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    one = verbs.add_parser("rivals", help="install the programs to measure beside")
    one.add_argument("--into", type=Path, default=None, metavar="DIR")
    two = verbs.add_parser("figures", help="run every script and write the page")
    two.add_argument("--out", type=Path, default=Path("docs/figures.md"), metavar="FILE")
    two.add_argument("--rivals", type=Path, default=None, metavar="DIR")
    two.add_argument("--rounds", type=int, default=None, metavar="N", help="for all scripts")
    two.add_argument("--only", nargs="*", default=None, choices=list(FIGURES), metavar="NAME")
    chosen = parser.parse_args(argv)
    if chosen.verb == "rivals":
        rivals.install(chosen.into)
        return 0
    if chosen.verb == "figures":
        options = [] if chosen.rivals is None else ["--rivals", str(chosen.rivals)]
        options += [] if chosen.rounds is None else ["--rounds", str(chosen.rounds)]
        return figures(chosen.out, options, chosen.only or present())
    for name in present():
        print(f"python -m tests.bench.{name:<14} {FIGURES[name]}")
    return 0


def present() -> list[str]:
    """The scripts that are here."""
    folder = Path(__file__).parent
    return [name for name in FIGURES if (folder / f"{name}.py").exists()]


def figures(out: Path, options: list[str], names: list[str]) -> int:
    """Run the scripts one after the other; a failure is written down and the rest goes on."""
    here = machine()
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in here.items())
    parts, trouble = [HEAD, f"Machine: {told}.\n"], 0
    for name in names:
        if name in PLAIN:
            parts.append(plain(name))
            continue
        try:
            report: Report = importlib.import_module(f"tests.bench.{name}").main(options)
        except (
            Exception
        ) as error:  # one figure that fails must not take the others with it; it is written down
            parts.append(f"## {name}\n\nfailed: {type(error).__name__}: {error}\n")
            print(parts[-1], file=sys.stderr)
            trouble = 1
            continue
        parts.append(report.markdown())
        trouble |= any(verdict.word == "missed" for verdict in report.verdicts)
    out.write_text("\n".join(parts), encoding="utf-8")
    return trouble


def plain(name: str) -> str:
    """A section of what a script printed."""
    argv = [sys.executable, "-m", f"tests.bench.{name}"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    said = done.stdout if not done.returncode else f"failed:\n{done.stderr[-500:]}"
    return f"## {name}\n\n{FIGURES[name]}\n\n`python -m tests.bench.{name}`\n\n```\n{said.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
