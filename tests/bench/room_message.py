"""How long until everybody in a room has kept a message: p2pchat, and a bare prototype of the same work.

    python -m tests.bench.room_message [--rounds N] [--messages N] [--daemons N] [--pause-s S] [--json FILE]

Root (network namespaces). All daemons are linked to all and in one room, archives at FULL. The
time of a message runs from the Post in its author's daemon to the commit of the last of the others,
all on one monotonic clock. The prototype commits one signed, sealed message, seals and sends it to
as many recipients over TCP, and each verifies, opens and commits it: nothing is acknowledged. Both
leave the same pause between two messages, so that all of one is over before the next begins.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import contests, ours
from tests.bench.report import Report, Table, Verdict, percentile, script
from tests.kit.netns import Network

ABOUT = "A message in a room of live daemons, 190 bytes, until the last has committed it."
WARM = 20
"""Messages at the start of every run that are not counted: keys, caches, TCP's window."""
OURS = "p2pchat"
BARE = "bare prototype, one to all"
REMARKS = {
    OURS: "Post → every other archive",
    BARE: "signed, sealed, FULL on all; no receipts",
}


def measure(chosen: argparse.Namespace, report: Report) -> None:
    count = chosen.messages + WARM
    table = Table(
        f"{chosen.daemons} daemons, a message every {chosen.pause_s * 1e3:.0f} ms and its own time",
        {
            "p50": "ms, the last",
            "p99": "ms, the last",
            "first_p50": "ms, the first",
            "median_p50": "ms, the median",
        },
    )
    report.tables.append(table)

    def note(row: str, took: list[list[float]]) -> None:
        counted = [sorted(seconds * 1e3 for seconds in one) for one in took[WARM:]]
        last = [one[-1] for one in counted]
        table.add(
            row,
            REMARKS[row],
            p50=percentile(last, 50),
            p99=percentile(last, 99),
            first_p50=percentile([one[0] for one in counted], 50),
            median_p50=percentile([one[len(one) // 2] for one in counted], 50),
        )

    sync = Table("The disk's own fdatasync of 4 KiB", {"p50": "ms", "p99": "ms"})
    with Network(chosen.daemons) as net, tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for _ in range(chosen.rounds):
            note(BARE, contests.prototype_room(net.hosts, folder, count, chosen.pause_s))
            note(OURS, ours.room_messages(net.hosts, folder, count, chosen.pause_s))
            took = [seconds * 1e3 for seconds in contests.disk_sync(folder)]
            sync.add("append, fdatasync", p50=percentile(took, 50), p99=percentile(took, 99))
        if chosen.profile is not None:
            inside = folder / "profiled"
            ours.room_messages(net.hosts, inside, count, chosen.pause_s, profiled=True)
            chosen.profile.mkdir(exist_ok=True)
            for name in ("member00", "member01"):
                shutil.copy(inside / f"{name}.prof", chosen.profile)
    report.tables.append(sync)
    p50, p99 = (table.ratio(OURS, BARE, column) for column in ("p50", "p99"))
    report.verdicts.append(Verdict("p2pchat / bare prototype, p50", p50, 1.5, None))
    if p99 is not None:
        report.remarks.append(f"p2pchat / bare prototype, p99: {p99:.2f}")
    report.remarks.append(f"{os.cpu_count()} cores for all daemons, one disk for all archives")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=200, metavar="N", help="counted ones a round")
    parser.add_argument("--daemons", type=int, default=12, metavar="N")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="one run more, with cProfile: member00.prof writes"
    )
    parser.add_argument("--pause-s", type=float, default=0.1, metavar="S", help="between two messages")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("room_message", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
