"""A crowded room of real daemons: how often a message leaves its author, and until when all have it.

    python -m tests.bench.room_crowd [--rounds N] [--daemons N] [--messages N] [--json FILE]

Root (network namespaces). The real program on every machine, all linked to all and in one room, in which
from 100 machines on nobody pushes to everybody (docs/protocol.md, "Crowded rooms"). Once ten have spoken,
so that neighbours have found each other, one sends long messages, one after the other; its cable counts the
bytes. Then a tenth of the others is killed, somebody speaks, and they come back: until all hold the same.
All share the cores named here, so that the seconds are an upper bound.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import string
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from p2pchat.engine.context import ViewSizes
from tests.bench import ours
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.workers import compiled, workers
from tests.kit.netns import Host, Network

ABOUT = "One room of so many live daemons, messages of 10,000 bytes."
MEET_S: Final = 600.0
ALL_S: Final = 240.0
TEXT_BYTES: Final = 10_000
TALKERS: Final = 10
NEIGHBOURS: Final = ViewSizes().most
"""Who is none of these is told of a message."""
REST: Final = 1.15
"""What records, packets and pings add to the bytes of a text."""
TOLD_BYTES: Final = 250
"""An announcement in a packet of its own, and what acknowledges what comes back."""


class Office:
    """The daemons, and what they are asked."""

    def __init__(self, stack: ExitStack, hosts: Sequence[Host], folder: Path, bytecode: Any) -> None:
        self.stack, self.hosts, self.folder, self.bytecode = stack, hosts, folder, bytecode
        self.members = [self.start(number) for number in range(len(hosts))]

    def start(self, number: int) -> ours.Program:
        name = f"member{number:03d}"
        return ours.program(self.stack, self.hosts[number], self.folder / name, name, self.bytecode)

    def call(self, number: int, operation: str, **params: Any) -> Any:
        with self.members[number].client() as client:
            return client.call(operation, params, 60.0)

    def until_linked(self) -> None:
        """Until each is linked to all others."""
        for number, member in enumerate(self.members):
            ours.until(lambda one=member: ours.answers(one), f"{number} does not answer", MEET_S)  # type: ignore[misc]
            with member.client() as client:
                ours.until(
                    lambda client=client: ours.connected(client) == len(self.members) - 1,  # type: ignore[misc]
                    f"{number} is not linked to all",
                    MEET_S,
                )

    def make_room(self) -> str:
        """A room with everybody in it; its id."""
        made: str = self.call(0, "rooms.create", name="everybody")["room"]["id"]
        names = [f"member{number:03d}" for number in range(1, len(self.members))]
        self.call(0, "rooms.invite", room=made, people=names)

        def inside(number: int) -> bool:
            listed = {one["id"]: one["members"] for one in self.call(number, "rooms.list", all=True)["rooms"]}
            return listed.get(made) == len(self.members)

        for number in range(len(self.members)):
            ours.until(lambda number=number: inside(number), f"{number} is not in", ALL_S)  # type: ignore[misc]
        return made

    def held(self, number: int, room: str) -> list[str]:
        found = self.call(number, "history", target=room, tail=500)["messages"]
        return [one["id"] for one in found]

    def until_all_hold(self, room: str, count: int, numbers: Sequence[int]) -> None:
        """Until these hold so many messages, the same in the same order."""
        first: list[str] = []

        def same(number: int) -> bool:
            held = self.held(number, room)
            return len(held) == count and (not first or held == first)

        for number in numbers:
            ours.until(lambda number=number: same(number), f"{number} does not hold all", ALL_S)  # type: ignore[misc]
            first = first or self.held(number, room)


def sent(host: Host) -> int:
    """Bytes that have left this machine by its cable."""
    told = host.run("ip", "-s", "-j", "link", "show", "eth0", check=True).stdout
    return int(json.loads(told)[0]["stats64"]["tx"]["bytes"])


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table(
        f"{chosen.daemons} daemons",
        {
            "copies": "× a message's bytes leave its author",
            "all": "s, message to the last archive",
            "again": "s, a tenth back from a crash, until all hold the same",
        },
    )
    report.tables.append(table)
    row = f"{chosen.messages} messages"
    for _ in range(chosen.rounds):
        with (
            compiled("p2pchat") as bytecode,
            Network(chosen.daemons) as net,
            tempfile.TemporaryDirectory() as folder,
            workers() as stack,
        ):
            office = Office(stack, net.hosts, Path(folder), bytecode)
            office.until_linked()
            table.add(row, **_round(office, chosen.messages))
    others = chosen.daemons - 1
    pushed = NEIGHBOURS if chosen.daemons > ViewSizes().above else others
    bound = pushed * REST + (others - pushed) * TOLD_BYTES / TEXT_BYTES
    report.verdicts.append(Verdict("copies that leave the author", table.median(row, "copies"), bound, None))
    report.remarks.append(f"{os.cpu_count()} cores for all of them; pushed to all it would be")
    report.remarks[-1] += f" {others} copies"


def _round(office: Office, messages: int) -> dict[str, float]:
    everybody = range(len(office.members))
    room, chance = office.make_room(), random.Random(1)
    talkers = chance.sample(everybody, min(TALKERS, len(everybody)))
    for number in talkers:
        office.call(number, "send", target=room, text=f"{number} is here")
    count = len(talkers)
    office.until_all_hold(room, count, everybody)

    before, took = sent(office.hosts[0]), []
    for _ in range(messages):
        text = "".join(chance.choices(string.ascii_letters, k=TEXT_BYTES))
        start = time.monotonic()
        office.call(0, "send", target=room, text=text)
        count += 1
        office.until_all_hold(room, count, everybody)
        took.append(time.monotonic() - start)
    copies = (sent(office.hosts[0]) - before) / (messages * TEXT_BYTES)

    gone = chance.sample(everybody[1:], max(1, len(everybody) // 10))
    for number in gone:
        os.killpg(office.members[number].pid, signal.SIGKILL)
        office.members[number].process.process.wait()
    office.call(0, "send", target=room, text="some are gone")
    count += 1
    office.until_all_hold(room, count, [number for number in everybody if number not in gone])
    start = time.monotonic()
    for number in gone:
        office.members[number] = office.start(number)
    for number in gone:
        one = office.members[number]
        ours.until(lambda one=one: ours.answers(one), f"{number} does not come back", MEET_S)  # type: ignore[misc]
    office.until_all_hold(room, count, everybody)
    return {"copies": copies, "all": sorted(took)[len(took) // 2], "again": time.monotonic() - start}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--daemons", type=int, default=110, metavar="N")
    parser.add_argument("--messages", type=int, default=10, metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("room_crowd", ABOUT, measure, argv, rounds=1, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
