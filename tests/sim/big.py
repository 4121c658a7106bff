"""One large room with churn: `python -m tests.sim.big 50 200 500` prints a line for each size.

Decides: the scenario (everybody in one room, a few talk, some leave, join and restart) and what is
reported: the hop over which each machine got an event first, copies, bytes, time until all agree.
Does not know: how events travel. Nothing is asserted about time; figures of the last landing lie
in big.json beside this file, and `--keep` writes them anew.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import sys
import time
from pathlib import Path
from statistics import quantiles
from typing import Final

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.engine.context import ViewSizes
from p2pchat.engine.inputs import Tell
from p2pchat.engine.log import event_id
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, EventId, RoomId
from p2pchat.model import RoomView
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages.events import MESSAGE, Header
from p2pchat.wire.messages.link import Announce, Events
from tests.kit.cables import Weather
from tests.kit.persons import make_person
from tests.kit.seeds import Trace, dice, remembered_signatures
from tests.kit.swarm import Machine, Swarm

LANDED: Final = Path(__file__).with_name("big.json")
MESSAGES: Final = 40
SPAN_S: Final = 60.0
CHURN_S: Final = 45.0
OFF_S: Final = 5.0
QUIET_S: Final = 5.0
STEP_S: Final = 0.5
MOST_S: Final = 600.0
MEETING_LAG_S: Final = 0.3
MEETING_AT_ONCE: Final = 200.0
"""While all meet, which nothing here measures, they take in much at once: half the effort with 500."""
SHOWN: Final = (
    "last hop",
    "copies per delivered message",
    "bytes per delivered message",
    "on its way at most (99 %), ms",
    "until all agreed after churn, s",
)


class Meter:
    """The witness: counts what leaves every machine."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.bytes = 0
        self.told_bytes = 0  # of announcements alone
        self.copies: dict[EventId, int] = {}
        self.hop: dict[tuple[str, EventId], int] = {}
        self.said_at: dict[EventId, float] = {}
        self.took: list[float] = []  # from the first push of a message to that to each machine
        self.room: RoomId | None = None
        self.refused: list[str] = []
        self._names = {machine.account: machine.name for machine in swarm.machines.values()}
        self._message = functools.lru_cache(1 << 16)(_message)

    def sent(self, machine: Machine, peer: AccountId, message: Record) -> None:
        """A frame leaves: of the room from its making on."""
        size = len(self.swarm.encoded(message))
        self.bytes += size
        if isinstance(message, Announce):
            self.told_bytes += size
        elif isinstance(message, Events):
            for event in message.events:
                one = self._message(event.header, event.signature)
                if one is not None:
                    self._copy(machine.name, self._names[peer], one)

    def _copy(self, source: str, target: str, one: EventId) -> None:
        self.copies[one] = self.copies.get(one, 0) + 1
        began = self.said_at.setdefault(one, self.swarm.now)
        if (target, one) not in self.hop:
            self.hop[target, one] = 1 + self.hop.get((source, one), 0)
            self.took.append(self.swarm.now - began)

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


def run(count: int, seed: int, sizes: ViewSizes | None = None) -> dict[str, float]:
    """Live through it; the figures by name. `sizes`: of a view, if not those of the protocol."""
    chance = dice(seed, "big")
    swarm = Swarm(seed, Weather(0.01, 0.0, 0.0, 0.0, 1 << 20), Trace())
    swarm.sizes = sizes
    machines = [swarm.add(make_person(seed, f"p{n:03d}", 1), 0) for n in range(count)]
    meter = swarm.witness = Meter(swarm)
    lag_s, at_once = machines[0].lag_s, machines[0].at_once
    for machine in machines:
        machine.lag_s, machine.at_once = MEETING_LAG_S, MEETING_AT_ONCE
        swarm.later(2.0 * chance.random(), machine.start)
    swarm.run(count / 4 + 30.0)
    for machine in machines:
        machine.lag_s, machine.at_once = lag_s, at_once
    alone = [machine.name for machine in machines if len(machine.look().live.by_device) != count - 1]
    assert not alone, f"no full mesh: {len(alone)} machines lack links, the first is {alone[0]}"
    first = machines[0]
    first.ask(lambda r: happened.CreateRoom(r, "all"))
    swarm.run(swarm.now + 1.0)
    room = meter.room
    assert room is not None
    others = tuple(machine.account.hex() for machine in machines[1:])
    first.ask(lambda r: happened.RoomAct(r, "invite", room.hex(), others))
    entered = _until_settled(swarm, meter)
    swarm.run(swarm.now + QUIET_S)
    meter.bytes = meter.told_bytes = 0
    for number in range(MESSAGES):
        who = chance.choice(machines)
        swarm.later(SPAN_S * chance.random(), lambda who=who, n=number: _say(who, room, n))  # type: ignore[misc]
    for machine in chance.sample(machines[1:], k=max(2, count // 10)):
        at = CHURN_S * chance.random()
        if chance.random() < 0.5:
            swarm.later(at, lambda m=machine: m.up and m.crash())  # type: ignore[misc]
            swarm.later(at + OFF_S, lambda m=machine: m.up or m.start())  # type: ignore[misc]
        else:
            swarm.later(at, lambda m=machine: _leave(m, room))  # type: ignore[misc]
    swarm.run(swarm.now + SPAN_S)
    agreed = _until_settled(swarm, meter)
    arrived = max(len(meter.hop), 1)
    figures = {
        "machines": count,
        "messages": len(meter.copies),
        "last hop": max(meter.hop.values(), default=0),
        "hops, mean": round(sum(meter.hop.values()) / arrived, 2),
        "copies per delivered message": round(sum(meter.copies.values()) / arrived, 3),
        "bytes per delivered message": round(meter.bytes / arrived),
        "of these announcements": round(meter.told_bytes / arrived),
        "on its way at most (99 %), ms": round(1000 * quantiles(meter.took, n=100)[98]),
        "until all were in, s": round(entered, 1),
        "until all agreed after churn, s": round(agreed, 1),
        "agreed": int(settled(swarm, meter)),
        "refused": len(meter.refused),
    }
    swarm.close()
    return figures


def _until_settled(swarm: Swarm, meter: Meter) -> float:
    began = swarm.now
    while not settled(swarm, meter) and swarm.now < began + MOST_S:
        swarm.run(swarm.now + STEP_S)
    return swarm.now - began


def _message(header: bytes, signature: bytes) -> EventId | None:
    return event_id(header, signature) if decode(Header, header).kind == MESSAGE else None


def _say(who: Machine, room: RoomId, number: int) -> None:
    if who.up:
        who.ask(lambda r: happened.Post(r, "#" + room.hex(), f"message {number} " + "x" * 150))


def _leave(who: Machine, room: RoomId) -> None:
    if who.up:
        who.ask(lambda r: happened.RoomAct(r, "leave", room.hex()))


def landed(count: int) -> dict[str, float]:
    """The figures of the last landing; none for a size that has none."""
    found: dict[str, dict[str, float]] = json.loads(LANDED.read_text()) if LANDED.exists() else {}
    return found.get(str(count), {})


def line(figures: dict[str, float], seconds: float) -> str:
    """One size in one line, in brackets where it differs what it was at the last landing."""
    before = landed(int(figures["machines"]))
    told = []
    for name in SHOWN:
        value, was = figures[name], before.get(name, "-")
        told.append(f"{name} {value}" + (f" (was {was})" if was != value else ""))
    return f"room of {figures['machines']}: " + " · ".join(told) + f" · ran {seconds:.0f} s"


def keep(figures: dict[str, float]) -> None:
    """From now on these are the landed ones."""
    every = json.loads(LANDED.read_text()) if LANDED.exists() else {}
    every[str(figures["machines"])] = figures
    by_size = {size: every[size] for size in sorted(every, key=int)}
    LANDED.write_text(json.dumps(by_size, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Print the figures beside the last landed ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.big", description=__doc__)
    parser.add_argument("counts", type=int, nargs="+", metavar="MACHINES")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="write the figures as the landed ones")
    parser.add_argument("--all", action="store_true", help="every figure, not one line for each size")
    given = parser.parse_args(arguments)
    gc.disable()  # looking through millions of objects is a tenth, and one in twenty goes round in a circle
    for count in given.counts:
        began = time.perf_counter()
        with remembered_signatures():
            figures = run(count, given.seed)
        gc.collect()  # a room that is over is one large circle
        print(line(figures, time.perf_counter() - began), flush=True)
        if given.all:
            for name, value in figures.items():
                print(f"  {name:34}{value:>12}{landed(count).get(name, '-'):>12}")
        if given.keep:
            keep(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
