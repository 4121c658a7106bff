"""A new key for a large room: how long it takes, and how long everybody else waits for it.

    python -m tests.bench.room_rotation [--rounds N] [--devices N] [--json FILE]

One engine on an archive on disk in a room of so many people with a machine each, all linked; no
daemons and no sockets. A rotation is one batch of the runner: the input is handled, the batch
closed and committed at FULL, then its frames are sealed for every link by a real session, and
nothing else happens in a daemon meanwhile. It is measured for the weekly rotation and for a removal,
and at a member's machine that takes the new key in. Making the room is told beside them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pchat.engine import inputs as happened
from p2pchat.engine.inputs import Effect, Input, Send
from p2pchat.ids import RoomId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import encode_frame
from tests.bench import filling
from tests.bench.filling import LINK, WEEK_MS, Writer
from tests.bench.report import Report, Table, Verdict, script
from tests.bench.workers import WorkerFailed
from tests.engine.wire_pair import T0, met

ABOUT = "Rotation of a room's key, all machines linked."
WEEKLY = "weekly: a new key"
REMOVAL = "removal of a member, and a new key"
FIRST = "inviting all, one command"
REMARKS = {
    WEEKLY: "epoch and seals in one batch",
    REMOVAL: "act, epoch and seals in one batch",
    FIRST: "an act for each",
}


@dataclass
class Stand:
    """A room, its owner with everybody linked, and one of the others."""

    owner: Writer
    member: Writer
    room: RoomId
    members: list[Writer]


def batch(writer: Writer, event: Input) -> tuple[dict[str, float], list[Effect]]:
    """What the runner does with one input, in ms each, and the effects."""
    marks = [time.perf_counter()]
    writer.ledger.begin()
    effects = writer.node.handle(event, writer.now())
    marks.append(time.perf_counter())
    effects = [*effects, *writer.node.close_batch(writer.now())]
    marks.append(time.perf_counter())
    writer.ledger.commit()
    marks.append(time.perf_counter())
    handle, close, commit = ((end - start) * 1e3 for start, end in itertools.pairwise(marks))
    return {"handle": handle, "close": close, "commit": commit}, effects


def sealed(effects: Sequence[Effect]) -> float:
    """Milliseconds to seal all frames as links do; one session stands for all."""
    pair = met()
    frames = [effect.message for effect in effects if isinstance(effect, Send)]
    start = time.perf_counter()
    for message in frames:
        pair.alice.send(message, T0)
        pair.alice.data_to_send()
    return (time.perf_counter() - start) * 1e3


def to(effects: Sequence[Effect], link: int) -> list[Record]:
    """What is sent on one link."""
    return [effect.message for effect in effects if isinstance(effect, Send) and effect.link == link]


def stand(folder: Path, devices: int, table: Table) -> Stand:
    """The room, made."""
    now_ms = time.time_ns() // 10**6
    owner = Writer(folder / "owner", "owner", now_ms)
    room = owner.create()
    people = [
        Writer(folder / f"member{number:03d}", f"member{number:03d}", now_ms, on_disk=False)
        for number in range(devices - 1)
    ]
    owner.feed([[owner.up(other, LINK + 1 + at)] for at, other in enumerate(people)])
    names = tuple(other.me.account.hex() for other in people)
    took, effects = batch(owner, happened.RoomAct(1, "invite", room.hex(), names))
    note(table, FIRST, took, effects, LINK + 1)
    owner.feed([[happened.Post(0, room.hex(), "the first key")]])
    return Stand(owner, people[0], room, people)


def note(table: Table, row: str, took: dict[str, float], effects: Sequence[Effect], link: int) -> None:
    seal = sealed(effects)
    size = sum(len(encode_frame(message)) for message in to(effects, link))
    blocked = sum(took.values()) + seal
    table.add(row, REMARKS[row], **took, seal=seal, blocked=blocked, size=size / 1024)


def measure(chosen: argparse.Namespace, report: Report) -> None:
    if chosen.devices < chosen.rounds + 3:
        raise SystemExit("a round removes somebody: more devices than rounds are needed")
    table = Table(
        f"{chosen.devices} machines, one batch",
        {
            "handle": "ms",
            "close": "ms",
            "commit": "ms",
            "seal": "ms, frames for all links",
            "blocked": "ms, all of it",
            "size": "KiB to each",
        },
    )
    taking = Table("A member's machine takes the new key in", {"batch": "ms"})
    report.tables += [table, taking]
    with tempfile.TemporaryDirectory() as name:
        here = stand(Path(name), chosen.devices, table)
        owner, member, room = here.owner, here.member, here.room
        learn(owner, member)
        for number in range(chosen.rounds):
            owner.wall_ms += WEEK_MS + 1000
            member.wall_ms = owner.wall_ms
            took, effects = batch(owner, happened.TimerFired(f"rotate:{room.hex()}"))
            note(table, WEEKLY, took, effects, LINK + 1)
            taking.add(WEEKLY, batch=take(member, room, to(effects, LINK + 1)))
            gone = here.members[-1 - number].me.account.hex()
            took, effects = batch(owner, happened.RoomAct(2, "remove", room.hex(), (gone,)))
            note(table, REMOVAL, took, effects, LINK + 1)
            taking.add(REMOVAL, batch=take(member, room, to(effects, LINK + 1)))
        for writer in (owner, *here.members):
            writer.close()
    for row in (WEEKLY, REMOVAL):
        found = table.median(row, "blocked")
        report.verdicts.append(Verdict(f"{row}, s", None if found is None else found / 1e3, 1, None))


def learn(owner: Writer, member: Writer) -> None:
    """The member's machine takes in what has been said in the room; then both are linked again."""
    owner.feed([[happened.LinkDown(LINK + 1, "closed")]])
    filling.converse(member, owner)
    owner.feed([[owner.up(member, LINK + 1)]])
    member.feed([[member.up(owner, initiator=False)]])


def take(member: Writer, room: RoomId, messages: Sequence[Record]) -> float:
    """Milliseconds of the batch in which a member takes these in; it must have the newest key then."""
    batch = [happened.FromPeer(LINK, message) for message in messages]
    start = time.perf_counter()
    member.feed([batch])
    took = (time.perf_counter() - start) * 1e3
    epochs = member.node.cache.rooms[room].epochs.values()
    newest = max(epochs, key=lambda epoch: epoch.gen)
    if newest.key is None:
        raise WorkerFailed(f"the member cannot read key {newest.gen} of the room")
    return took


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=500, metavar="N")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("room_rotation", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
