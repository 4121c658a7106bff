"""How many messages a second arrive and are archived: p2pchat, a bare prototype, rivals.

    python -m tests.bench.message_rate [--rounds N] [--messages N] [--daemons N] [--json FILE]

Root (network namespaces). Messages are posted inside the sending daemon, 1,024 under way at
a time, each an event of its own, signed, sealed and stored at FULL on both machines; what
counts is the time until the last is delivered. With N daemons each posts to the next.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import contests, ours
from tests.bench.contests import Place
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.rivals import Rivals
from tests.kit.netns import Network

ABOUT = "Sustained archived 190-byte messages a second."
BATCH = "bare prototype, one transaction a read batch, each signed"
RUN = "bare prototype, the same, one signature over 64"
OURS = "p2pchat, one daemon to another"
MANY = "p2pchat, {} daemons, all together"
SSB = "Scuttlebutt: replicate"
SSB_APPEND = "Scuttlebutt: append alone"
XMPP = "XMPP: prosody, slixmpp, TLS"
MQTT = "MQTT QoS 1: mosquitto, paho, nodelay"
LIBP2P = "py-libp2p: noise, yamux"
REMARKS = {
    BATCH: "sealed, signed, FULL on both machines, receipts kept",
    RUN: "sealed, signed, FULL on both machines, receipts kept",
    OURS: "posted inside the daemon until delivered",
    SSB: "signed, stored, not sealed",
    SSB_APPEND: "signed, stored, not sent",
    XMPP: "archived by the server, not synced",
    MQTT: "nothing encrypted or stored",
    LIBP2P: "encrypted, unsigned, nothing stored",
}


def measure(chosen: argparse.Namespace, report: Report) -> None:
    count = chosen.messages
    fewer = max(20, count // 5)  # rivals need seconds for what we need one for
    rivals = Rivals(chosen.rivals)
    table = Table("One direction", {"rate": "messages/s"})
    report.tables.append(table)
    many = MANY.format(chosen.daemons)

    def note(row: str, rate: float) -> None:
        table.add(row, REMARKS.get(row, "each to the next; two ends a message"), rate=rate)

    def ssb(place: Place) -> None:
        said = contests.ssb(place, fewer)
        note(SSB, said["rate"])
        note(SSB_APPEND, said["append_rate"])

    cases: list[Callable[[Place], None]] = [
        lambda place: note(BATCH, contests.prototype(place, "batch", count)["rate"]),
        lambda place: note(RUN, contests.prototype(place, "run", count)["rate"]),
        lambda place: note(OURS, ours.stream(place, count)),
        lambda place: note(many, ours.ring(net.hosts[: chosen.daemons], place.folder, fewer)),
    ]
    for name, row, run in (
        ("xmpp", XMPP, contests.xmpp),
        ("mqtt", MQTT, contests.mqtt),
        ("libp2p", LIBP2P, contests.libp2p),
    ):
        if why := rivals.lacks(*contests.NEEDS[name]):
            report.absent[row] = why
        else:
            cases.append(lambda place, row=row, run=run: note(row, run(place, 1, fewer)["rate"]))
    if why := rivals.lacks(*contests.NEEDS["ssb"]):
        report.absent[SSB] = why
    else:
        cases.append(ssb)

    with Network(max(3, chosen.daemons)) as net, tempfile.TemporaryDirectory() as folder:
        place = Place.of(net, Path(folder), rivals)
        for _ in range(chosen.rounds):
            for case in cases:
                case(place)

    rate = table.median(OURS, "rate")
    report.verdicts.append(Verdict("p2pchat, messages a second", rate, 5000, 12000, at_most=False))
    bare = table.ratio(OURS, BATCH, "rate")
    report.verdicts.append(Verdict("p2pchat / bare batch prototype", bare, None, 0.85, False))
    for row in (SSB, LIBP2P, XMPP):
        report.verdicts.append(Verdict(f"p2pchat / {row}", table.ratio(OURS, row, "rate"), 1, None, False))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=20_000, metavar="N")
    parser.add_argument("--daemons", type=int, default=12, metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("message_rate", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
