"""Days in the world of whole daemons: sizes, faults, people, laws.

Decides: what a seed means for three to eight daemons on a fake LAN, and how it all heals.
Does not know: what people do (people.py) or what must hold (tests/kit/laws.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
import trio.testing

from p2pchat.daemon.links import QUEUE_BYTES
from tests.kit.fake_lan import FakeLan
from tests.kit.laws import check, law
from tests.kit.persons import make_person
from tests.kit.seeds import Trace, dice, remembered_signatures, repeatable_trio
from tests.kit.world import EPOCH_MS, STOP_WITHIN_S, LogWatch, Resident, World
from tests.sim.histories import NAMES
from tests.sim.people import Workload

QUIET_S: Final = 120.0
MOST_QUEUED: Final = QUEUE_BYTES


class Day:
    """One seed, lived through by whole daemons."""

    def __init__(self, seed: int, world: World, work: Workload) -> None:
        self.world, self.work = world, work
        self.chance = dice(seed, "day")
        self.residents = list(world.machines.values())
        self.span_s = self.chance.uniform(20.0, 90.0)
        self.messages = self.chance.randrange(20, 120)
        self.busy: dict[str, None] = {}

    async def live(self) -> None:
        """From the first boot to the last law."""
        await self.world.start_all()
        async with trio.open_nursery() as nursery:
            for _ in range(self.messages):
                nursery.start_soon(self._at, self.chance.random() * self.span_s, self._act)
            for _ in range(self.chance.randrange(8)):
                nursery.start_soon(self._at, self.chance.random() * self.span_s, self._fault())
        await self.heal()
        await trio.sleep(QUIET_S)
        self.judge()

    async def _at(self, at: float, act: Callable[[], Awaitable[None]]) -> None:
        await trio.sleep(at)
        await act()

    async def _act(self) -> None:
        self.work.act()

    # -- faults --------------------------------------------------------------------------------

    def _fault(self) -> Callable[[], Awaitable[None]]:
        who, other = self.chance.sample(self.residents, 2)
        lasts = self.chance.choice((0.1, 3.0, 20.0, 40.0)) * (0.5 + self.chance.random())
        kind = self.chance.choice(("cut", "one way", "unplug", "kill", "kill", "power", "stop"))

        async def happen() -> None:
            if self.busy.setdefault(who.name) is not None or not who.up:
                return
            lan = self.world.lan
            who.note(f"fault: {kind} for {lasts:.1f} s")
            if kind in ("cut", "one way"):
                lan.cut(who.name, other.name, one_way=kind == "one way")
                await trio.sleep(lasts)
                lan.join(who.name, other.name)
            elif kind == "unplug":
                lan.unplug(who.name)
                await trio.sleep(lasts)
                lan.replug(who.name)
            else:
                await self._down(who, kind)
                await trio.sleep(lasts)
                if not who.up:
                    await who.start()

        return happen

    async def _down(self, who: Resident, kind: str) -> None:
        if kind == "stop":
            took = await who.stop()
            law(took <= STOP_WITHIN_S, f"{who.name} took {took:.1f} s to stop")
        else:
            await who.kill(power=kind == "power")

    async def heal(self) -> None:
        """All cables in, all machines on."""
        for place, one in enumerate(self.residents):
            for other in self.residents[place + 1 :]:
                self.world.lan.join(one.name, other.name)
        for one in self.residents:
            if not one.up:
                await one.start()
            self.world.lan.replug(one.name)

    def judge(self) -> None:
        """Every law."""
        work = self.work
        law(not work.open, f"{len(work.open)} commands were never answered: {sorted(work.open)[:3]}")
        for one in self.residents:
            law(one.connected() == len(self.residents) - 1, f"{one.name} has {one.connected()} links")
            law(one.most_queued <= MOST_QUEUED, f"a link of {one.name} held {one.most_queued} bytes")
        check(work.book, work.sites(), {one.name: one.clock() for one in self.residents})


async def _day(seed: int, trace: Trace, count: int | None) -> None:
    chance = dice(seed, "lan")
    people = [make_person(seed, name, 1) for name in NAMES[: count or chance.choice((3, 3, 4, 5, 8))]]
    lan = FakeLan(
        dice(seed, "wires"),
        latency_s=chance.choice((0.0002, 0.002, 0.05)),
        jitter_s=chance.choice((0.0, 0.001, 0.1)),
        buffer_bytes=chance.choice((4096, 65536)),
        wall_ms=lambda: EPOCH_MS + round(trio.current_time() * 1000),
    )
    async with trio.open_nursery() as nursery:
        world = World(seed, lan, people, nursery, trace)
        work = Workload(world, people)
        world.witness = work
        await Day(seed, world, work).live()
        await world.stop_all()
    law(not any(one.up for one in world.machines.values()), "somebody did not stop")


def play(seed: int, *, loud: bool = False, people: int | None = None) -> Trace:
    """Live through one seed; Broken if a law does not hold. Returns the trace."""
    trace = Trace(loud=loud)
    with remembered_signatures(), repeatable_trio(seed), LogWatch() as logged:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(_day, seed, trace, people, clock=clock)
    law(not logged.said, f"a daemon logged: {logged.said[:3]}")
    return trace
