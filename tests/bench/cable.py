"""From the cable in to the first delivered message, and from silence until a peer is known to be gone.

    python -m tests.bench.cable [--rounds N] [--json FILE]

Root (network namespaces). Two of the real program on one switch. Each round: alice's cable is pulled
until both know it, she writes, the cable goes in: until her message is delivered. The same with a
machine that is started without a cable and has met nobody. Then all packets of bob vanish, every
carrier stays up: until alice shows him as gone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from p2pchat.control.client import PlainClient
from tests.bench import ours
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.workers import workers
from tests.kit.netns import Network
from tests.kit.routed import filtered

ABOUT = "A cable that comes and goes, in seconds."
KNOWN = "cable in, known before → first message delivered"
NEW = "cable in, never met → first message delivered"
GONE = "silent → shown as gone"
LOOK_S: Final = 0.02
PATIENCE_S: Final = 60.0


def seconds(holds: Callable[[], bool], otherwise: str, start: float | None = None) -> float:
    """How long until it holds, from now or from `start`; WorkerFailed if it does not."""
    start = time.monotonic() if start is None else start
    while not holds():
        if time.monotonic() - start > PATIENCE_S:
            ours.until(holds, otherwise, 0.0)
        time.sleep(LOOK_S)
    return time.monotonic() - start


def waiting(client: PlainClient) -> int:
    """Own messages that are not delivered."""
    return len(client.call("queue.list", {}, 10.0)["queue"])


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table("Seconds", {"s": "s"})
    report.tables.append(table)
    for number in range(chosen.rounds):
        with Network(3) as net, tempfile.TemporaryDirectory() as name, workers() as stack:
            _round(net, Path(name), stack, table, number, quick=chosen.quick)
    for row in (KNOWN, NEW):
        report.verdicts.append(Verdict(row, table.median(row, "s"), 3.0, 1.0))
    report.verdicts.append(Verdict(GONE, table.median(GONE, "s"), 15.0, None))


def _round(net: Network, folder: Path, stack: ExitStack, table: Table, number: int, *, quick: bool) -> None:
    alice_at, bob_at, carol_at = net.hosts
    alice = ours.program(stack, alice_at, folder / "alice", "alice")
    bob = ours.program(stack, bob_at, folder / "bob", "bob")
    carol_at.unplug()
    carol = ours.program(stack, carol_at, folder / "carol", "carol")
    for one in (alice, bob, carol):
        ours.ready(one)
    with alice.client() as a, bob.client() as b, carol.client() as c:
        ours.until(lambda: ours.connected(a) == 1, "alice and bob did not meet")
        if not quick:
            alice_at.unplug()
            for client in (a, b):
                seconds(lambda one=client: ours.connected(one) == 0, "nobody is missed")  # type: ignore[misc]
            a.call("send", {"target": "bob", "text": f"in round {number}"}, 10.0)
            start = time.monotonic()
            alice_at.plug()
            table.add(KNOWN, s=seconds(lambda: waiting(a) == 0, "it is not delivered", start))
        start = time.monotonic()
        carol_at.plug()
        c.call("peers.wait", {"name": "bob", "timeout_s": PATIENCE_S}, PATIENCE_S + 5)
        c.call("send", {"target": "bob", "text": "good morning", "wait": "delivered"}, PATIENCE_S)
        table.add(NEW, s=time.monotonic() - start)
        if quick:
            return
        ours.until(lambda: ours.connected(a) == 2, "alice and carol did not meet")
        with filtered(bob_at, "input", "drop"), filtered(bob_at, "output", "drop"):
            table.add(GONE, s=seconds(lambda: ours.connected(a) == 1, "bob is not missed"))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="only what needs nobody to be missed")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("cable", ABOUT, measure, argv, rounds=3, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
