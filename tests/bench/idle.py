"""What a daemon costs that has nothing to do, linked to many others.

    python -m tests.bench.idle [--rounds N] [--peers N] [--seconds S] [--json FILE]

Root (network namespaces). Every peer is the real program with a machine and a home of its own,
all linked to all. After a rest the memory of one daemon is read, and the CPU time it and all
the others took while nobody said anything. Beside it: an interpreter with the same libraries
loaded that does nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench import ours
from tests.bench.report import Report, Table, Verdict, script
from tests.kit.netns import Network

ABOUT = "An idle daemon: memory, and share of one core."
MIB = 1024
BARE = "python with the same libraries loaded"
LIBRARIES = "import trio, nacl.bindings, zeroconf, sqlite3, msgspec"
MEET_S = 240.0
SETTLE_S = 15.0
"""Meeting is over, full text is indexed, the first repairs have run."""


def memory_mib(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                found[name] = int(rest.split()[0]) / MIB
    return found["Rss"], found["Pss"]


def cpu_s(pid: int) -> float:
    """User and system seconds of a process so far, to the nanosecond the scheduler counts in."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text("ascii").split()[0])
    return total / 1e9


def libraries() -> tuple[float, float]:
    """(RSS, PSS) of an interpreter that only imports them."""
    code = f"{LIBRARIES}; print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = memory_mib(process.pid)
        process.communicate("\n", timeout=10)
    return found


def measure(chosen: argparse.Namespace, report: Report) -> None:
    memory = Table("Memory", {"rss": "MiB", "pss": "MiB"})
    cpu = Table(f"CPU over {chosen.seconds:g} s of silence", {"share": "% of a core"})
    report.tables += [memory, cpu]
    one, all_of_them = f"p2pchat with {chosen.peers} peers", "the mean of all daemons there"
    with ExitStack() as stack:
        net = stack.enter_context(Network(chosen.peers + 1))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        members = [
            ours.program(stack, host, folder / f"home{number:02d}", f"member{number:02d}")
            for number, host in enumerate(net.hosts)
        ]
        for member in members:
            ours.ready(member)
        for member in members:
            with member.client() as client:
                ours.until(
                    lambda client=client: ours.connected(client) == chosen.peers,
                    f"{member.home.name} is not linked to all",
                    MEET_S,
                )
        time.sleep(min(SETTLE_S, chosen.seconds))
        for _ in range(chosen.rounds):
            before = [cpu_s(member.pid) for member in members]
            start = time.monotonic()
            time.sleep(chosen.seconds)
            passed = time.monotonic() - start
            shares = [(cpu_s(m.pid) - b) / passed * 100 for m, b in zip(members, before, strict=True)]
            cpu.add(one, share=shares[0])
            cpu.add(all_of_them, share=sum(shares) / len(shares))
            rss, pss = memory_mib(members[0].pid)
            memory.add(one, rss=rss, pss=pss)
            rss, pss = libraries()
            memory.add(BARE, rss=rss, pss=pss)
        with members[0].client() as client:
            still = ours.connected(client)
    report.remarks.append(
        f"links at the end: {still} of {chosen.peers}; {os.cpu_count()} cores for all of them"
    )
    report.verdicts.append(Verdict("RSS, MiB", memory.median(one, "rss"), 60, 45))
    report.verdicts.append(Verdict("CPU, % of a core", cpu.median(all_of_them, "share"), 0.5, 0.2))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=int, default=50, metavar="N")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of silence, a round")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("idle", ABOUT, measure, argv, rounds=3, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
