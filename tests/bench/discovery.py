"""How fast a newcomer is seen by everybody, and linked to everybody.

    python -m tests.bench.discovery [--rounds N] [--hosts N …] [--json FILE]

Root (network namespaces on one switch, real multicast). Each round a newcomer goes online
among N - 1 hosts that have been there for a while: p2pchat's mDNS half alone, whole daemons,
python-zeroconf as its examples use it, avahi. Times are from "go", with the program loaded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.bench import ours
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.rivals import Rivals
from tests.bench.workers import Worker, python_module, workers
from tests.kit.netns import Network

ABOUT = "A newcomer among N - 1 machines on one switch. Milliseconds from going online."
KINDS = {
    "ours": "p2pchat mDNS alone",
    "zeroconf": "python-zeroconf, default",
    "avahi": "avahi",
}
DAEMONS = "p2pchat daemons"
SETTLE_S = 3.0
SEEN_S = 10.0
"""Whoever has not seen the newcomer by then has missed it: the figure fails."""


def hear_all(hosts: Sequence[Worker], name: str, word: str) -> list[float]:
    """When each of `hosts` said that it `word` (saw, lost) `name`; WorkerFailed if one did not."""
    times = []
    for host in hosts:
        said = host.hear_all(word, SEEN_S)
        while said[word] != name:
            said = host.hear_all(word, SEEN_S)
        times.append(said["t"])
    return times


def sightings(kind: str, net: Network, count: int, rounds: int, folder: Path, table: Table) -> None:
    """Rounds of one implementation among `count` machines."""
    row = f"{KINDS[kind]}, {count} hosts"
    with workers() as stack:

        def start(number: int, name: str) -> Worker:
            argv = python_module("tests.bench.sighter", kind, name, net.hosts[number].ip)
            return stack.enter_context(Worker(net.hosts[number], argv, folder))

        names = [f"host{number:03d}" for number in range(count - 1)]
        old = [start(number, name) for number, name in enumerate(names)]
        for host in old:
            host.hear("up")
        for host in old:
            host.tell(do="go")
        for host in old:
            host.hear("going")
        time.sleep(SETTLE_S)  # real machines: until the old ones have met
        for number in range(rounds):
            name = f"new{number:03d}"
            newcomer = start(count - 1, name)
            newcomer.hear("up")
            newcomer.tell(do="go")
            went = newcomer.hear("going")
            seen = hear_all(old, name, "saw")
            missing = set(names)
            while missing:
                said = newcomer.hear_all("saw", SEEN_S)
                missing.discard(said["saw"])
            sees = said["t"]
            newcomer.tell(do="leave")
            left = newcomer.hear("leaving")
            gone = hear_all(old, name, "lost")
            newcomer.end()
            table.add(
                row,
                median_ms=(median(seen) - went) * 1e3,
                last_ms=(max(seen) - went) * 1e3,
                sees_all_ms=(sees - went) * 1e3,
                gone_ms=(max(gone) - left) * 1e3,
            )


def daemons(net: Network, count: int, rounds: int, folder: Path, table: Table) -> None:
    """Rounds of whole daemons: until the last has sighted the newcomer, and is linked to it."""
    row = f"{DAEMONS}, {count} hosts"
    with ExitStack() as stack:
        crowd = ours.crowd(stack, net.hosts[: count - 1], folder)
        ours.until_all_linked(crowd)
        time.sleep(SETTLE_S)
        for number in range(rounds):
            came = ours.newcomer(crowd, net.hosts[count - 1], folder, f"new{number:03d}")
            table.add(
                row,
                median_ms=median(came.sighted_ms),
                last_ms=max(came.sighted_ms),
                linked_ms=max(came.linked_ms),
            )


def measure(chosen: argparse.Namespace, report: Report) -> None:
    rivals = Rivals(chosen.rivals)
    columns = {
        "median_ms": "seen by the median host",
        "last_ms": "seen by the last host",
        "sees_all_ms": "sees all",
        "linked_ms": "linked to all",
        "gone_ms": "goodbye at the last host",
    }
    table = Table("Milliseconds", columns)
    report.tables.append(table)
    most = max(chosen.hosts)
    with Network(most) as net, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in chosen.hosts:
            for kind, title in KINDS.items():
                why = rivals.lacks("tool:avahi-daemon", "tool:dbus-daemon") if kind == "avahi" else ""
                if why:
                    report.absent[title] = why
                else:
                    sightings(kind, net, count, chosen.rounds, folder, table)
            daemons(net, count, chosen.rounds, folder, table)
    alone, whole = f"{KINDS['ours']}, {most} hosts", f"{DAEMONS}, {most} hosts"
    for row in (alone, whole):
        last = table.median(row, "last_ms")
        report.verdicts.append(Verdict(f"{row}: seen by the last, ms", last, 400, 50))
    linked = table.median(whole, "linked_ms")
    report.verdicts.append(Verdict(f"{whole}: linked to all, ms", linked, 5000, None))
    report.remarks.append(
        "rounds of one implementation follow each other, since each needs all machines to itself; every host"
        " saw every newcomer, or the script would have failed"
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 20, 50], metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("discovery", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
