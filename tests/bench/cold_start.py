"""An office that is switched on all at once: until everybody is linked to everybody.

    python -m tests.bench.cold_start [--rounds N] [--daemons N] [--json FILE]

Root (network namespaces). The real program on every machine, all started together on the cores of this
one; from the first start until the last daemon has its last link, the loading of programs included, from
bytecode as on any machine where the program was installed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import ours
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.workers import compiled, workers
from tests.kit.netns import Network

ABOUT = "So many daemons start together. Seconds until all are linked to all."
PATIENCE_S = 240.0


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table("Seconds", {"all": "until all are linked to all"})
    report.tables.append(table)
    row = f"{chosen.daemons} daemons"
    for _ in range(chosen.rounds):
        with (
            compiled("p2pchat") as bytecode,
            Network(chosen.daemons) as net,
            tempfile.TemporaryDirectory() as name,
            workers() as stack,
        ):
            start = time.monotonic()
            members = [
                ours.program(stack, host, Path(name) / f"home{number:02d}", f"member{number:02d}", bytecode)
                for number, host in enumerate(net.hosts)
            ]
            for member in members:
                ours.until(
                    lambda one=member: ours.answers(one), f"{member.home.name} does not answer", PATIENCE_S
                )
                with member.client() as client:
                    ours.until(
                        lambda client=client: ours.connected(client) == chosen.daemons - 1,
                        f"{member.home.name} is not linked to all",
                        PATIENCE_S,
                    )
            table.add(row, all=time.monotonic() - start)
    report.verdicts.append(Verdict(f"{row}, s", table.median(row, "all"), 60, 30))
    report.remarks.append(f"{os.cpu_count()} cores for all of them")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--daemons", type=int, default=50, metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("cold_start", ABOUT, measure, argv, rounds=3, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
