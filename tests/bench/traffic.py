"""What an office costs the network while nobody says anything.

    python -m tests.bench.traffic [--rounds N] [--offices N …] [--seconds S] [--json FILE]

Root (network namespaces, nft). The real program on every machine, all linked to all. After a rest the
packets of one machine are counted by nft, IP headers included, both directions: TCP, by link and minute
(pings, introductions and the minute's repairs together), and mDNS, by machine and minute. mDNS is silent for
minutes and then asks, so what it comes to in the long run is reckoned from the packets it sends, and judged
together with TCP: a question heard by everybody, shared among the links of a machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from zeroconf import DNSOutgoing, DNSPointer, DNSQuestion  # type: ignore[attr-defined]

from p2pchat.net.mdns import ASK_AGAIN_S, patience
from p2pchat.net.sightings import SERVICE
from tests.bench import ours
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.workers import workers
from tests.kit.netns import Host, Network

ABOUT = "An office that says nothing: bytes, IP headers included."
SETTLE_S = 20.0
PTR, IN = 12, 1
IPV4_UDP, IPV6_UDP = 28, 48
"""Headers of a packet."""
MEET_S = 240.0
RULES = """table inet counted {
 counter links { }
 counter announced { }
 chain each {
  meta l4proto tcp counter name "links"
  udp dport 5353 counter name "announced"
 }
 chain come { type filter hook input priority 0; iifname != "lo" jump each; }
 chain go { type filter hook output priority 0; oifname != "lo" jump each; }
}
"""


def counted(host: Host) -> dict[str, int]:
    """Bytes so far, by counter."""
    said = host.run("nft", "-j", "list", "counters", check=True).stdout
    found = [one["counter"] for one in json.loads(said)["nftables"] if "counter" in one]
    return {one["name"]: one["bytes"] for one in found}


def asking(count: int) -> float:
    """Bytes of mDNS a machine and minute in the long run: in an office that has settled everybody asks once
    in `patience`, by IPv4 and IPv6, naming all he knows, so that nobody answers; and hears all others ask."""
    question = DNSOutgoing(0)
    question.add_question(DNSQuestion(SERVICE, PTR, IN))
    for number in range(count):
        name = f"{number:032x}.{SERVICE}"  # a label is as long as these
        question.add_answer_at_time(DNSPointer(SERVICE, PTR, IN, 4500, name, 0.0), 0.0)
    packets = question.packets()
    size = sum(map(len, packets))
    both = 2 * size + len(packets) * (IPV4_UDP + IPV6_UDP)
    return count * both * 60 / patience(ASK_AGAIN_S[1], count)


def office(count: int, chosen: argparse.Namespace, table: Table, stack: ExitStack) -> None:
    """One office of `count` machines."""
    row = f"{count} machines"
    net = stack.enter_context(Network(count))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    running = stack.enter_context(workers())
    members = [
        ours.program(running, host, folder / f"home{number:02d}", f"member{number:02d}")
        for number, host in enumerate(net.hosts)
    ]
    for member in members:
        ours.until(lambda one=member: ours.answers(one), f"{member.home.name} does not answer", MEET_S)  # type: ignore[misc]
        with member.client() as client:
            ours.until(
                lambda client=client: ours.connected(client) == count - 1,  # type: ignore[misc]
                f"{member.home.name} is not linked to all",
                MEET_S,
            )
    time.sleep(min(SETTLE_S, chosen.seconds))
    one = net.hosts[0]
    one.run("nft", "-f", "-", input=RULES, check=True)
    for _ in range(chosen.rounds):
        before, start = counted(one), time.monotonic()
        time.sleep(chosen.seconds)
        minutes = (time.monotonic() - start) / 60
        after = counted(one)
        spent = {name: (after[name] - before[name]) / minutes for name in after}
        table.add(row, link=spent["links"] / (count - 1), machine=spent["links"], mdns=spent["announced"])
        table.add(row, asking=asking(count), all=(spent["links"] + asking(count)) / (count - 1))


def measure(chosen: argparse.Namespace, report: Report) -> None:
    columns = {
        "link": "bytes of TCP a link and minute",
        "machine": "a machine",
        "mdns": "of mDNS a machine in this time",
        "asking": "of mDNS a machine in the long run",
        "all": "both, a link and minute",
    }
    table = Table(f"Over {chosen.seconds:g} s of silence", columns)
    report.tables.append(table)
    for count in chosen.offices:
        with ExitStack() as stack:
            office(count, chosen, table, stack)
        found = table.median(f"{count} machines", "all")
        report.verdicts.append(Verdict(f"{count} machines, bytes a link and minute", found, 4096, None))
    report.remarks.append("repairs are among these bytes, though the demand leaves them apart")
    report.remarks.append(
        "mDNS comes in bursts: each machine asks 14 s after its start, then after 12 s for every machine"
        " known, at least 30 s, and later every 10 min: a round of all lies in this time or not; in the"
        " long run it is what these questions come to"
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offices", type=int, nargs="+", default=[12, 50], metavar="N")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="of silence, a round")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("traffic", ABOUT, measure, argv, rounds=1, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
