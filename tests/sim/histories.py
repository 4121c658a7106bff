"""Histories of the swarm: a plan, its faults, its people, and the laws at the end.

Decides: when each fault happens and how everything heals. Does not know: sizes (plans.py),
what people do (people.py) or what must hold (tests/kit/laws.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.kit.laws import check, law
from tests.kit.persons import Person, make_person
from tests.kit.seeds import Trace, dice, remembered_signatures
from tests.kit.swarm import Machine, Swarm
from tests.sim.people import Workload
from tests.sim.plans import Cut, Fall, Plan, draw

NAMES: Final = ("ann", "bob", "cem", "dan", "eva", "fay", "gil", "hal", "ida", "jon", "kim", "lea")
QUIET_S: Final = 120.0
"""So long after the last fault everything must agree (S oracle g)."""
HUM_S: Final = 60.0
HUM_FRAMES: Final = 16
"""What one machine may say in a minute about one room when nothing happens: a repair or two."""


class History:
    """One seed, lived through."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.plan, self.trace = plan, trace
        self.swarm = swarm = Swarm(plan.seed, plan.weather, trace)
        people = [
            make_person(plan.seed, name, count) for name, count in zip(NAMES, plan.machines, strict=False)
        ]
        self.work = self.workload(swarm, people)
        swarm.witness = self.work
        self.work.burst_of = plan.burst
        for person in people:
            for index in range(len(person.machines)):
                swarm.add(person, index, self.kind(person))
        self.places = list(swarm.machines.values())
        self.away = False
        for place, machine in enumerate(self.places):
            machine.skew_ms = plan.skews_ms[place]
            if machine.skew_ms:
                self.work.book.crooked[machine.account] = None
            machine.lag_s = dice(plan.seed, "lag", place).choice((0.0005, 0.003, 0.05, 0.4))

    def workload(self, swarm: Swarm, people: list[Person]) -> Workload:
        """Whose fingers are at work."""
        return Workload(swarm, people)

    def kind(self, person: Person) -> type[Machine]:
        """What this person's machines are."""
        return Machine

    def live(self) -> None:
        """From the first boot to the last law."""
        plan, swarm = self.plan, self.swarm
        for machine in self.places:
            swarm.later(0.5 * machine.chance.random(), machine.start)
        chance = dice(plan.seed, "times")
        for _ in range(plan.messages):
            self._at(0.5 + chance.random() * plan.span_s, self.work.act)
        for cut in plan.cuts:
            self._cut(cut)
        for fall in plan.falls:
            self._fall(fall)
        for at, place, ms in plan.jumps:
            self._jump(at, self.places[place], ms)
        for at, days in plan.holidays:
            self._holiday(at, days)
        swarm.run(plan.real(plan.span_s) + 1.0)
        self.heal()
        swarm.run(swarm.now + QUIET_S)
        self.judge()

    def _at(self, at: float, act: Callable[[], None]) -> None:
        self.swarm.later(self.plan.real(at), act)

    # -- faults --------------------------------------------------------------------------------

    def _cut(self, cut: Cut) -> None:
        swarm = self.swarm
        names = [machine.name for machine in self.places]
        here = [name for name, side in zip(names, cut.side, strict=True) if side]
        there = [name for name, side in zip(names, cut.side, strict=True) if not side]
        pairs = [(a, b) for a in here for b in there]
        if not cut.one_way:
            pairs += [(b, a) for a, b in pairs]
        chance = dice(self.plan.seed, "swizzle", cut.at)
        for pair in pairs:
            early = chance.random() * (cut.until - cut.at) / 2 if cut.swizzle else 0.0
            late = chance.random() * (cut.until - cut.at) / 2 if cut.swizzle else 0.0
            self._at(cut.at + early, lambda pair=pair: swarm.block(*pair))  # type: ignore[misc]
            self._at(cut.until - late, lambda pair=pair: swarm.unblock(*pair))  # type: ignore[misc]

    def _fall(self, fall: Fall) -> None:
        machine = self.places[fall.machine]

        def down() -> None:
            if not machine.up:
                return
            if fall.gently:
                machine.stop()
            else:
                machine.crash(quietly=fall.quietly)
            self.swarm.later(fall.after, lambda: self._wake(machine))

        self._at(fall.at, down)

    def _wake(self, machine: Machine) -> None:
        if not machine.up and not self.away:
            machine.start()

    def _jump(self, at: float, machine: Machine, ms: int) -> None:
        def jump() -> None:
            self.swarm.note(machine.name, f"clock jumps {ms}")
            machine.skew_ms += ms

        self.work.book.crooked[machine.account] = None
        self._at(at, jump)

    def _holiday(self, at: float, days: float) -> None:
        """Everybody leaves just before, and is back just after."""

        def leave() -> None:
            self.away = True
            for machine in self.places:
                if machine.up:
                    machine.stop()

        def back() -> None:
            self.away = False
            for machine in self.places:
                self._wake(machine)

        self.swarm.later(self.plan.real(at) - days * 86_400.0, leave)
        self.swarm.later(self.plan.real(at) - 1.0, back)

    # -- the end ---------------------------------------------------------------------------------

    def heal(self) -> None:
        """No more faults: all cables in, all machines on, everybody announced again."""
        swarm = self.swarm
        swarm.note("all", "heals")
        self.away = False
        for pair in list(swarm.cut):
            swarm.unblock(*pair)
        for machine in self.places:
            self._wake(machine)
        for machine in self.places:
            swarm.announce(machine)
        swarm.weather = calm = type(swarm.weather)(0.01, 0.0, 0.0, 0.0, swarm.weather.queue)
        for cable in swarm.cables:
            cable.weather = calm

    def judge(self) -> None:
        """Every law."""
        swarm, work = self.swarm, self.work
        law(not work.open, f"{len(work.open)} commands were never answered: {sorted(work.open)[:3]}")
        law(swarm.fullest <= self.plan.weather.queue, "a queue grew beyond its bound")
        for machine in self.places:
            self._connected(machine)
            law(len(machine.timers) <= 32, f"{machine.name} waits for {len(machine.timers)} timers")
        check(work.book, work.sites(), {m.name: m.clock() for m in self.places})
        before = swarm.frames
        swarm.run(swarm.now + HUM_S)
        hum = swarm.frames - before
        rooms_held = sum(len(m.node.cache.known_rooms) for m in self.places)
        law(hum <= HUM_FRAMES * max(rooms_held, 1), f"{hum} frames in a quiet minute")

    def _connected(self, machine: Machine) -> None:
        known = machine.look().live.by_device
        for other in self.swarm.others(machine):
            number = known.get(other.device)
            law(number is not None, f"{machine.name} has no link to {other.name}")
            if number is None:
                continue
            cable, end = machine.links[number]
            far = cable.ends[1] if end is cable.ends[0] else cable.ends[0]
            same = other.look().live.by_device.get(machine.device) == far.number
            law(same and end.alive and far.alive, f"{machine.name} and {other.name} use different links")


def play(scenario: str, seed: int, *, without: tuple[str, ...] = (), loud: bool = False) -> Trace:
    """Live through one seed; Broken if a law does not hold. Returns the trace."""
    trace = Trace(loud=loud)
    with remembered_signatures():
        history = History(draw(scenario, seed).without(without), trace)
        try:
            history.live()
        finally:
            history.swarm.close()
    return trace
