"""What it costs to find and mend a few differences between two long histories of one room.

    python -m tests.bench.room_repair [--rounds N] [--messages N] [--lacking N] [--json FILE]

Two engines on archives on disk, no daemons: one has the whole room, the other lacks its newest
messages, or some scattered over half a year. A link comes up, and every record that passes is
counted as it is encoded, before it is sealed. The cost of the repair is the room's Reconcile, Want
and Given records, and the messages it takes to find what is lacking are the Reconcile records about
content; the missing events themselves are counted apart, and so is what both would have
said without any difference. Who asks is who dialled.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from p2pchat.ids import RoomId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.events import MESSAGE
from p2pchat.wire.messages.link import Events, Given, Reconcile, Want
from tests.bench import filling
from tests.bench.filling import Filled, Writer
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.workers import WorkerFailed

ABOUT = "Repair of a few messages in a long room: records and bytes of the question, events apart."
NOTHING = "no difference, asked by either"
ASKING = ("who lacks them", "who has them")
KINDS = ("newest", "scattered")
MUST_BYTES = {"newest": 4096, "scattered": 32 * 1024}
MUST_MESSAGES = 4
LINKS = 8
"""So many links are enough for any history: one run takes in up to 65,536 events."""

Said = list[tuple[Record, int]]


def gather(giver: Writer, taker: Writer, filled: Filled, skip: Sequence[int]) -> None:
    """`taker` syncs the room but for the events of these numbers, which are lost on the way."""
    lost = {
        event.header
        for seq in skip
        for event in giver.ledger.events.run(filled.room, filled.device, seq, seq, 1)
    }

    def on_the_way(message: Record) -> Record:
        if not isinstance(message, Events):
            return message
        return Events(tuple(event for event in message.events if event.header not in lost))

    for _ in range(LINKS):
        filling.converse(taker, giver, on_the_way)
        if held(taker, filled.room) == filled.head - len(skip):
            return
    raise WorkerFailed(f"{held(taker, filled.room)} of {filled.head - len(skip)} events have come")


def held(writer: Writer, room: RoomId) -> int:
    """How many events of a room somebody has."""
    return sum(row.count for control in (True, False) for row in writer.ledger.items.weeks(room, control))


def cost(said: Said, room: RoomId) -> dict[str, float]:
    """What of it was said about this room, in records and bytes."""
    asked = [
        (message, size)
        for message, size in said
        if isinstance(message, Reconcile | Want | Given) and message.room == room
    ]
    content = [(message, size) for message, size in asked if not message.control]
    events = [size for message, size in said if isinstance(message, Events)]
    return {
        "questions": sum(isinstance(message, Reconcile) for message, _ in content),
        "records": len(asked),
        "bytes": sum(size for _, size in asked),
        "content_records": len(content),
        "content_bytes": sum(size for _, size in content),
        "events_bytes": sum(events),
    }


def again(folder: Path, filled: Filled, newcomer: Path) -> tuple[Writer, Writer]:
    """Both people on fresh copies of their archives."""
    inside = folder / f"round-{time.monotonic_ns()}"
    inside.mkdir()
    for home in (filled.home, newcomer):
        shutil.copytree(home, inside / home.name)
    now_ms = time.time_ns() // 10**6
    return (
        Writer(inside / filled.home.name, "alice", now_ms),
        Writer(inside / newcomer.name, "bob", now_ms),
    )


def repair(folder: Path, filled: Filled, lacking: Path, kind: str, count: int, asking: str) -> Said:
    """All that is said while `count` messages are mended; WorkerFailed if they are not."""
    giver, taker = again(folder, filled, lacking)
    if kind == "newest":
        filling.say(giver, filled.room, count, 1, giver.wall_ms + count * 1000)
        taker.wall_ms = giver.wall_ms
    dialler, other = (taker, giver) if asking == ASKING[0] else (giver, taker)
    said = filling.converse(dialler, other)
    if held(taker, filled.room) != held(giver, filled.room):
        raise WorkerFailed(f"{held(taker, filled.room)} of {held(giver, filled.room)} events after a repair")
    for writer in (giver, taker):
        writer.close()
        shutil.rmtree(writer.home)
    return said


def scattered(giver: Writer, filled: Filled, count: int) -> list[int]:
    """Numbers of so many messages all over the room."""
    kinds = (
        (seq, giver.ledger.events.run(filled.room, filled.device, seq, seq, 1)[0].kind)
        for seq in random.Random(3).sample(range(2, filled.head), filled.head - 2)
    )
    return sorted(seq for seq, _ in islice((one for one in kinds if one[1] == MESSAGE), count))


def prepare(folder: Path, count: int, lacking: int) -> tuple[Filled, dict[str, Path]]:
    """The giver's home, and for each kind a taker's: complete, or with scattered messages lacking."""
    filled = filling.history(folder / "alice", count, 1, folder / "bob")
    giver = Writer(filled.home, "alice", time.time_ns() // 10**6)
    skip = scattered(giver, filled, lacking)
    homes: dict[str, Path] = {}
    for kind, lost in (("scattered", skip), ("newest", [])):
        # the second goes on where the first has come to: the whole room again would take as long
        home = folder / kind
        shutil.copytree(folder / "bob" if kind == "scattered" else homes["scattered"], home)
        taker = Writer(home, "bob", giver.wall_ms)
        gather(giver, taker, filled, lost)
        taker.close()
        homes[kind] = home
    giver.close()
    return filled, homes


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table(
        f"{chosen.lacking} of {chosen.messages} messages",
        {
            "questions": "Reconcile of content",
            "records": "",
            "bytes": "B, of all of these",
            "content_records": "of content",
            "content_bytes": "B, of content",
            "events_bytes": "B, the events",
        },
    )
    report.tables.append(table)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled, homes = prepare(folder, chosen.messages, chosen.lacking)
        for _ in range(chosen.rounds):
            said = repair(folder, filled, homes["newest"], "scattered", 0, ASKING[0])
            table.add(NOTHING, **cost(said, filled.room))
            for kind in KINDS:
                for asking in ASKING:
                    said = repair(folder, filled, homes[kind], kind, chosen.lacking, asking)
                    table.add(f"{kind}, asked by {asking}", **cost(said, filled.room))
    for kind in KINDS:
        for asking in ASKING:
            row = f"{kind}, asked by {asking}"
            found = table.median(row, "bytes")
            report.verdicts.append(Verdict(f"{row}: bytes", found, MUST_BYTES[kind], None))
            found = table.median(row, "questions")
            report.verdicts.append(Verdict(f"{row}: messages to find them", found, MUST_MESSAGES, None))
    report.remarks.append(
        "records and bytes hold the acts' set, which is compared first, and the content's, with Want and"
        " Given; messages are negentropy's, until all differences of content are known"
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=100_000, metavar="N")
    parser.add_argument("--lacking", type=int, default=20, metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("room_repair", ABOUT, measure, argv, rounds=3, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
