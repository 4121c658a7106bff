"""One file to five people at once, in a room: they give each other what they have.

    python -m tests.bench.file_room [--rounds N] [--mib N] [--mbit N] [--receivers N] [--json FILE]

Root (network namespaces, a tmpfs on /dev/shm, tc-tbf). Every machine has so many megabits a second each way,
as on a slow socket. From the start of `file send` in a room of all until the last of them has all of it,
beside: one plain TCP copy to one of them over the same link, one by p2pchat, and as many downloads by curl
at once as there are receivers, which is what one server can do for them. Then p2pchat without limits, where
the processors all machines share are what limits.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.file_copy import Cost, random_file, same
from tests.bench.file_ours import MEMORY, Person, copy, people, room_of
from tests.bench.file_rivals import COPY_S, NEEDS, Field
from tests.bench.report import Report, Table, Verdict, missed, script
from tests.bench.rivals import Rivals
from tests.bench.workers import WorkerFailed
from tests.kit.netns import Network

ABOUT = "One file to everybody in a room, from the sender's command until the last receiver has all of it."
NAMES = ("alice", "bob", "cyn", "dan", "eve", "flo", "gus", "hal", "ida", "jon")
PLAIN = "plain TCP to one of them"
ONE = "p2pchat to one of them"
ROOM = "p2pchat, to all in the room"
CURLS = "nginx, curl, TLS, each from the one server"
UNLIMITED = "p2pchat, to all in the room, no limit"


def at_once(field: Field, takers: Sequence[Person], what: Path) -> float:
    """Everybody fetches it from one server at the same time; until the last has it."""
    field.serve()
    url = f"https://{field.here.ip}:8443/{what.name}"
    began = time.perf_counter()
    running: list[subprocess.Popen[bytes]] = []
    try:
        for one in takers:
            running.append(one.host.popen("curl", "-skf", "-o", field.target / one.name, url))
        for process in running:
            if process.wait(COPY_S):
                raise WorkerFailed(f"curl: {process.returncode}")
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
    return time.perf_counter() - began


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table(
        f"{chosen.mib} MiB, {chosen.receivers} receivers, {chosen.mbit} Mbit/s each way", {"seconds": "s"}
    )
    free = Table("The same without a limit", {"seconds": "s", "rate": "MiB/s, all together"})
    names = NAMES[: chosen.receivers + 1]
    with ExitStack() as stack:
        net = stack.enter_context(Network(len(names)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        source = folder / "source"
        source.mkdir()
        what = source / "film.bin"
        random_file(what, chosen.mib)
        alice, *others = stack.enter_context(people(net.hosts, folder, names))
        room = room_of(alice, others)
        cost = Cost((alice, others[0]))
        report.tables += [table, cost.table, free]
        field = Field(*net.hosts[:2], source, folder / "target", folder, Rivals(chosen.rivals), stack)

        def clear(takers: Sequence[Person]) -> None:
            for one in takers:
                same(what, one.inbox / what.name)
                one.empty()

        def unlimited() -> None:
            seconds = copy(alice, room, what, others)
            free.add(UNLIMITED, seconds=seconds, rate=chosen.mib * len(others) / seconds)
            clear(others)

        for _ in range(chosen.rounds):
            unlimited()
        for host in net.hosts:
            host.limit(chosen.mbit)
        lacking = field.rivals.lacks(*NEEDS["nginx"])
        if lacking:
            report.absent[CURLS] = lacking
        for _ in range(chosen.rounds):
            field.clean()
            table.add(PLAIN, "nothing sealed or checked; from connect on", seconds=field.plain(what))
            field.clean()
            table.add(ONE, seconds=copy(alice, others[0].name, what, others[:1]))
            clear(others[:1])
            cost.begin()
            table.add(ROOM, seconds=copy(alice, room, what, others))
            cost.end(("the giver's", "a receiver's"))
            clear(others)
            if not lacking:
                table.add(CURLS, "at the same time", seconds=at_once(field, others, what))
                field.clean()

    report.verdicts += [
        Verdict(f"{ROOM} / {PLAIN}", table.ratio(ROOM, PLAIN, "seconds"), 2.5, None),
        Verdict(f"{ROOM} / {ONE}", table.ratio(ROOM, ONE, "seconds"), 2.5, None),
        *cost.verdicts(),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mib", type=int, default=64, metavar="N")
    parser.add_argument("--mbit", type=int, default=200, metavar="N")
    parser.add_argument("--receivers", type=int, default=5, choices=range(1, len(NAMES)), metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("file_room", ABOUT, measure, argv, rounds=3, options=options)


if __name__ == "__main__":
    sys.exit(missed(main()))
