"""How long until a message is delivered: p2pchat, a bare prototype of the same work, rivals.

    python -m tests.bench.message_rtt [--rounds N] [--trips N] [--json FILE]

Root (network namespaces). p2pchat is measured inside the daemon: from a Post handed to the
runner until its Reply "delivered", with real archives at FULL and real TCP between two
namespaces; the same through the control socket is a row of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import contests, ours
from tests.bench.contests import Place
from tests.bench.report import Report, Table, Verdict, percentile, script
from tests.bench.rivals import Rivals
from tests.kit.netns import Network

ABOUT = "Send → delivered, 190-byte messages one after the other over a namespace link."
WARM = 20
"""Trips at the start of every run that are not counted: first epoch, caches, TCP's window."""

ECHO = "plain trio TCP echo"
BARE = "bare prototype, both commits of the author"
BARE_HEARD = "bare prototype, until the receipt is read"
OURS = "p2pchat inside the daemon"
APART = " · 60 ms apart"
PAUSE_S = 0.06
"""People pause. A machine that slept between two messages is slower, so this is a row of its own."""
SOCKET = "p2pchat through the control socket"
XMPP = "XMPP: prosody, slixmpp, TLS"
MQTT = "MQTT QoS 1: mosquitto, paho, nodelay"
LIBP2P = "py-libp2p: noise, yamux"
REMARKS = {
    ECHO: "no codec, no crypto, no disk",
    BARE: "sealed, signed, FULL: author, recipient, author",
    BARE_HEARD: "without the author's second commit",
    OURS: "Post → Reply delivered",
    SOCKET: "one connection kept open",
    XMPP: "receipt through the server; archived, not synced",
    MQTT: "answer through the broker; nothing encrypted or stored",
    LIBP2P: "encrypted, unsigned, nothing stored",
}


def measure(chosen: argparse.Namespace, report: Report) -> None:
    trips = chosen.trips + WARM
    fewer = min(chosen.trips, 100) + WARM
    rivals = Rivals(chosen.rivals)
    table = Table("Round trip", {"p50": "µs", "p99": "µs"})
    report.tables.append(table)

    def note(row: str, took: Sequence[float], suffix: str = "") -> None:
        counted = [seconds * 1e6 for seconds in took[WARM:]]
        p50, p99 = percentile(counted, 50), percentile(counted, 99)
        table.add(row + suffix, REMARKS[row], p50=p50, p99=p99)

    def bare(place: Place) -> None:
        said = contests.prototype(place, "each", trips)
        note(BARE, said["done_s"])
        note(BARE_HEARD, said["heard_s"])

    cases: list[Callable[[Place], None]] = [
        lambda place: note(ECHO, contests.prototype(place, "echo", trips)["done_s"]),
        bare,
        lambda place: note(OURS, ours.round_trips(place, trips)),
        lambda place: note(SOCKET, ours.socket_trips(place, trips)),
        lambda place: note(BARE, contests.prototype(place, "each", fewer, PAUSE_S)["done_s"], APART),
        lambda place: note(OURS, ours.round_trips(place, fewer, PAUSE_S), APART),
    ]
    for name, row, run in (
        ("xmpp", XMPP, contests.xmpp),
        ("mqtt", MQTT, contests.mqtt),
        ("libp2p", LIBP2P, contests.libp2p),
    ):
        if why := rivals.lacks(*contests.NEEDS[name]):
            report.absent[row] = why
        else:
            cases.append(lambda place, row=row, run=run: note(row, run(place, trips, 0)["done_s"]))

    sync = Table("The disk's own fdatasync of 4 KiB", {"p50": "µs", "p99": "µs"})
    with Network(3) as net, tempfile.TemporaryDirectory() as folder:
        place = Place.of(net, Path(folder), rivals)
        for _ in range(chosen.rounds):
            for case in cases:
                case(place)
            took = [seconds * 1e6 for seconds in contests.disk_sync(place.folder)]
            sync.add("append, fdatasync", p50=percentile(took, 50), p99=percentile(took, 99))
    report.tables.append(sync)

    against = table.ratio(OURS, BARE, "p50")
    report.verdicts.append(Verdict("p2pchat p50 / bare prototype p50", against, 1.6, 1.3))
    report.verdicts.append(Verdict("p2pchat p50 / XMPP p50", table.ratio(OURS, XMPP, "p50"), 1.0, 0.2))
    paced = table.ratio(OURS + APART, BARE + APART, "p50")
    report.verdicts.append(Verdict("the same, 60 ms apart", paced, 1.6, 1.3))
    for row in (OURS, SOCKET, XMPP, MQTT, LIBP2P):
        ratio = table.ratio(row, ECHO, "p50")
        if ratio is not None:
            report.remarks.append(f"{row} / plain echo, p50: {ratio:.2f}")
    inside, outside = table.median(OURS, "p50"), table.median(SOCKET, "p50")
    if inside is not None and outside is not None:
        report.remarks.append(f"the control socket's share of a p50: {outside - inside:.0f} µs")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trips", type=int, default=400, metavar="N", help="counted trips a round")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("message_rtt", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
