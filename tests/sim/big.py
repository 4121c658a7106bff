"""One large room with churn: `python -m tests.sim.big 50|200|500` prints a table and JSON.

Decides: the scenario (everybody in one room, a few talk, some leave, join and restart) and what is
reported: the hop over which each machine got an event first, copies, bytes, time until all agree.
Does not know: how events travel. Nothing is asserted about time; figures of the last landing lie
in big.json beside this file, and `--keep` writes them anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.engine.inputs import Tell
from p2pchat.engine.log import event_id
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, EventId, RoomId
from p2pchat.model import RoomView
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages.events import MESSAGE, Header
from p2pchat.wire.messages.link import Events, encode_frame
from tests.kit.cables import Weather
from tests.kit.persons import make_person
from tests.kit.seeds import Trace, dice, remembered_signatures
from tests.kit.swarm import Machine, Swarm

LANDED: Final = Path(__file__).with_name("big.json")
MESSAGES: Final = 40
STEP_S: Final = 0.5
MOST_S: Final = 600.0


class Meter:
    """The witness: counts what leaves every machine."""

    def __init__(self) -> None:
        self.bytes = 0
        self.copies: dict[EventId, int] = {}
        self.hop: dict[tuple[str, EventId], int] = {}
        self.room: RoomId | None = None
        self.refused: list[str] = []

    def sent(self, machine: Machine, peer: AccountId, message: Record) -> None:
        """A frame leaves: of the room from its making on."""
        self.bytes += len(encode_frame(message))
        if isinstance(message, Events):
            for event in message.events:
                if decode(Header, event.header).kind == MESSAGE:
                    one = event_id(event.header, event.signature)
                    self.copies[one] = self.copies.get(one, 0) + 1
                    hop = 1 + self.hop.get((machine.name, one), 0)
                    for other in machine.swarm.machines.values():
                        if other.account == peer:
                            self.hop.setdefault((other.name, one), hop)

    def answered(self, machine: Machine, request: int, result: object, error: CommandError | None) -> None:
        """The room's id, and refusals."""
        if error is not None:
            self.refused.append(f"{error.kind}: {error.message}")
        elif isinstance(result, dict) and isinstance(result.get("room"), RoomView):
            self.room = self.room or result["room"].id

    def told(self, machine: Machine, tell: Tell) -> None:
        """Nobody listens."""

    def broke(self, machine: Machine, what: str) -> None:
        """Honest machines only."""
        self.refused.append(f"{machine.name} ends a link: {what}")

    def started(self, machine: Machine) -> None:
        """Nothing is asked again."""


def settled(swarm: Swarm, meter: Meter) -> bool:
    """Whether every member has the same acts and the same messages."""
    room = meter.room
    seen: set[bytes] = set()
    for machine in swarm.machines.values():
        ctx = machine.look()
        if room is None or room not in ctx.cache.known_rooms:
            return False
        cached = rooms.room(ctx, room)
        if machine.account in cached.graph.members:
            sums = [machine.ledger.items.weeks(room, control) for control in (True, False)]
            seen.add(encode_sums(sums))
    return len(seen) == 1


def encode_sums(weeks: list[list[object]]) -> bytes:
    """Two machines with the same sets have the same bytes."""
    return repr(weeks).encode()


def run(count: int, seed: int) -> dict[str, float]:
    """Live through it; the figures by name."""
    chance = dice(seed, "big")
    swarm = Swarm(seed, Weather(0.01, 0.0, 0.0, 0.0, 1 << 20), Trace())
    meter = swarm.witness = Meter()
    machines = [swarm.add(make_person(seed, f"p{n:03d}", 1), 0) for n in range(count)]
    for machine in machines:
        swarm.later(2.0 * chance.random(), machine.start)
    swarm.run(count / 4 + 30.0)
    first = machines[0]
    first.ask(lambda r: happened.CreateRoom(r, "all"))
    swarm.run(swarm.now + 1.0)
    room = meter.room
    assert room is not None
    others = tuple(machine.account.hex() for machine in machines[1:])
    first.ask(lambda r: happened.RoomAct(r, "invite", room.hex(), others))
    began = swarm.now
    while not settled(swarm, meter) and swarm.now < began + MOST_S:
        swarm.run(swarm.now + STEP_S)
    entered, meter.bytes = swarm.now - began, 0
    span = 60.0
    for number in range(MESSAGES):
        who = chance.choice(machines)
        swarm.later(span * chance.random(), lambda who=who, n=number: _say(who, room, n))  # type: ignore[misc]
    for machine in chance.sample(machines[1:], k=max(2, count // 10)):
        at = span * chance.random()
        if chance.random() < 0.5:
            swarm.later(at, lambda m=machine: m.up and m.crash())  # type: ignore[misc]
            swarm.later(at + 5.0, lambda m=machine: m.up or m.start())  # type: ignore[misc]
        else:
            swarm.later(at, lambda m=machine: _leave(m, room))  # type: ignore[misc]
    swarm.run(swarm.now + span)
    began = swarm.now
    while not settled(swarm, meter) and swarm.now < began + MOST_S:
        swarm.run(swarm.now + STEP_S)
    said = len(meter.copies)
    arrived = len(meter.hop)
    figures = {
        "machines": count,
        "messages": said,
        "last hop": max(meter.hop.values(), default=0),
        "copies per delivered message": round(sum(meter.copies.values()) / max(arrived, 1), 3),
        "bytes per delivered message": round(meter.bytes / max(arrived, 1)),
        "until all were in, s": round(entered, 1),
        "until all agreed after churn, s": round(swarm.now - began, 1),
        "agreed": int(settled(swarm, meter)),
        "refused": len(meter.refused),
    }
    swarm.close()
    return figures


def _say(who: Machine, room: RoomId, number: int) -> None:
    if who.up:
        who.ask(lambda r: happened.Post(r, "#" + room.hex(), f"message {number} " + "x" * 150))


def _leave(who: Machine, room: RoomId) -> None:
    if who.up:
        who.ask(lambda r: happened.RoomAct(r, "leave", room.hex()))


def main(arguments: list[str]) -> int:
    """Print the figures beside the last landed ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.big", description=__doc__)
    parser.add_argument("count", type=int, choices=(12, 50, 200, 500))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="write the figures as the landed ones")
    given = parser.parse_args(arguments)
    with remembered_signatures():
        figures = run(given.count, given.seed)
    landed = json.loads(LANDED.read_text()) if LANDED.exists() else {}
    before = landed.get(str(given.count), {})
    print(f"{'':34}{'now':>12}{'landed':>12}")
    for name, value in figures.items():
        print(f"{name:34}{value:>12}{before.get(name, '-'):>12}")
    print(json.dumps(figures))
    if given.keep:
        landed[str(given.count)] = figures
        LANDED.write_text(json.dumps(landed, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
