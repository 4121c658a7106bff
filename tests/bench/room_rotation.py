"""A new key for a large room: how long it takes, and how long everybody else waits for it.

    python -m tests.bench.room_rotation [--rounds N] [--devices N] [--json FILE]

One engine on an archive on disk in a room of so many people with a machine each, all linked; no
daemons and no sockets. What a command or a timer brings about is one step of the runner after the
other: the input is handled, the batch closed and committed at FULL, and the timers that are due at
once are the next steps, between which others get their turn. Then the frames are sealed for every
link by a real session, which the runner does in slices of 5 ms. It is measured for the weekly
rotation and for a removal, with the key made ready beforehand and without, and at a member's machine
that takes the new key in. Inviting all is told beside them, in portions as the daemon asks for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pchat.daemon.room_queries import INVITED_AT_ONCE
from p2pchat.engine import inputs as happened
from p2pchat.engine.inputs import Effect, Input, Send, SetTimer
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
UNREADY = "the same, nothing made ready"
READY = "making the next key ready"
FIRST = "inviting all, one command"
REMARKS = {
    WEEKLY: "seals in several steps, epoch and seals written in the last",
    REMOVAL: "act, epoch and seals in one step",
    UNREADY: "within a minute of the start",
    READY: "at rest, nothing written",
    FIRST: "16 to a step, repair with 16 to a step",
}
AIM_BLOCK_MS = 20


@dataclass
class Stand:
    """A room, its owner with everybody linked, and one of the others."""

    owner: Writer
    member: Writer
    room: RoomId
    members: list[Writer]


@dataclass
class Steps:
    """What one command or timer came to, in ms."""

    longest: float = 0.0
    whole: float = 0.0
    count: int = 0


def step(writer: Writer, event: Input, steps: Steps) -> list[Effect]:
    """What the runner does with one input."""
    start = time.perf_counter()
    writer.ledger.begin()
    effects = writer.node.handle(event, writer.now())
    effects = [*effects, *writer.node.close_batch(writer.now())]
    writer.ledger.commit()
    took = (time.perf_counter() - start) * 1e3
    steps.longest, steps.whole, steps.count = max(steps.longest, took), steps.whole + took, steps.count + 1
    return effects


def carried(writer: Writer, events: Sequence[Input], *, then: Sequence[str]) -> tuple[Steps, list[Effect]]:
    """The inputs, and after each what follows at once of the kinds in `then`."""
    steps, effects, todo = Steps(), [], list(events)
    while todo:
        fresh = step(writer, todo.pop(0), steps)
        names = [one.name for one in fresh if isinstance(one, SetTimer) and one.at is not None]
        effects += fresh
        todo[:0] = [happened.TimerFired(name) for name in names if name.startswith(tuple(then))]
    return steps, effects


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
    portions = [names[at : at + INVITED_AT_ONCE] for at in range(0, len(names), INVITED_AT_ONCE)]
    invitable = happened.RoomAct(1, "invitable", room.hex(), names)
    invites = [happened.RoomAct(1, "invite", room.hex(), some, more=True) for some in portions]
    took, effects = carried(owner, [invitable, *invites], then=["moved:"])
    note(table, FIRST, took, effects, LINK + 1)
    owner.feed([[happened.Post(0, room.hex(), "the first key")]])
    return Stand(owner, people[0], room, people)


def note(table: Table, row: str, took: Steps, effects: Sequence[Effect], link: int) -> None:
    seal = sealed(effects)
    size = sum(len(encode_frame(message)) for message in to(effects, link))
    table.add(
        row,
        REMARKS[row],
        longest=took.longest,
        steps=float(took.count),
        whole=took.whole,
        seal=seal,
        size=size / 1024,
    )


def measure(chosen: argparse.Namespace, report: Report) -> None:
    if chosen.devices < 2 * chosen.rounds + 3:
        raise SystemExit("a round removes two: more devices than rounds are needed")
    table = Table(
        f"{chosen.devices} machines",
        {
            "longest": "ms, longest step",
            "steps": "",
            "whole": "ms, all steps",
            "seal": "ms, frames for all links",
            "size": "KiB to each",
        },
    )
    taking = Table("A member's machine takes the new key in", {"batch": "ms"})
    report.tables += [table, taking]
    with tempfile.TemporaryDirectory() as name:
        here = stand(Path(name), chosen.devices, table)
        owner, member, room = here.owner, here.member, here.room
        learn(owner, member)
        rotate = happened.TimerFired(f"rotate:{room.hex()}")
        ready = happened.TimerFired(f"prepare:{room.hex()}")
        for number in range(chosen.rounds):
            owner.wall_ms += WEEK_MS + 1000
            member.wall_ms = owner.wall_ms
            owner.node.live.prepared.clear()
            took, effects = carried(owner, [rotate], then=["rotate:"])
            note(table, WEEKLY, took, effects, LINK + 1)
            taking.add(WEEKLY, batch=take(member, room, to(effects, LINK + 1)))
            gone = [here.members[-1 - 2 * number - n].me.account.hex() for n in (0, 1)]
            remove = [happened.RoomAct(2, "remove", room.hex(), (one,)) for one in gone]
            took, effects = carried(owner, remove[:1], then=["moved:"])
            note(table, UNREADY, took, effects, LINK + 1)
            took, between = carried(owner, [ready], then=["prepare:"])
            note(table, READY, took, between, LINK + 1)
            took, effects = carried(owner, remove[1:], then=["moved:"])
            note(table, REMOVAL, took, effects, LINK + 1)
            taking.add(REMOVAL, batch=take(member, room, to(effects, LINK + 1)))
        for writer in (owner, *here.members):
            writer.close()
    for row in (WEEKLY, REMOVAL):
        found = [table.median(row, column) for column in ("whole", "seal")]
        value = None if None in found else sum(one for one in found if one is not None) / 1e3
        report.verdicts.append(Verdict(f"{row}, s", value, 1, None))
    for row in (FIRST, WEEKLY, REMOVAL, UNREADY):
        longest = table.median(row, "longest")
        report.verdicts.append(Verdict(f"{row}: longest step, ms", longest, None, AIM_BLOCK_MS))


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
