"""Histories of rooms: as histories.py, with people who come and go and the laws of rooms.

Decides: what differs from a history of direct chats. Does not know: sizes (room_plans.py), what
people do (room_people.py) or what must hold (tests/kit/room_laws.py).
"""

from __future__ import annotations

from tests.kit.laws import check, law
from tests.kit.persons import Person
from tests.kit.room_laws import check_rooms
from tests.kit.seeds import Trace, remembered_signatures
from tests.kit.swarm import Swarm
from tests.sim.histories import HUM_FRAMES, HUM_S, History
from tests.sim.room_people import RoomWorkload
from tests.sim.room_plans import draw_rooms


class RoomHistory(History):
    """One seed of rooms, lived through."""

    work: RoomWorkload

    def workload(self, swarm: Swarm, people: list[Person]) -> RoomWorkload:
        """People who make rooms."""
        return RoomWorkload(swarm, people)

    def judge(self) -> None:
        """Every law."""
        swarm, work = self.swarm, self.work
        law(not work.open, f"{len(work.open)} commands were never answered: {sorted(work.open)[:3]}")
        law(swarm.fullest <= self.plan.weather.queue, "a queue grew beyond its bound")
        for machine in self.places:
            self._connected(machine)
            law(len(machine.timers) <= 40, f"{machine.name} waits for {len(machine.timers)} timers")
        now = {m.name: m.clock() for m in self.places}
        check(work.book, work.sites(), now)
        check_rooms(work.book, work.sites(), now)
        before = swarm.frames
        swarm.run(swarm.now + HUM_S)
        hum = swarm.frames - before
        held = sum(len(m.node.cache.known_rooms) for m in self.places)
        law(hum <= HUM_FRAMES * max(held, 1), f"{hum} frames in a quiet minute")


def play(scenario: str, seed: int, *, without: tuple[str, ...] = (), loud: bool = False) -> Trace:
    """Live through one seed; Broken if a law does not hold. Returns the trace."""
    trace = Trace(loud=loud)
    with remembered_signatures():
        kind = {"byzantine": _siege, "files": _files}.get(scenario, lambda: RoomHistory)()
        history = kind(draw_rooms(scenario, seed).without(without), trace)
        try:
            history.live()
        finally:
            history.swarm.close()
    return trace


def _files() -> type[RoomHistory]:
    from tests.sim.file_histories import FileHistory  # it builds on this module

    return FileHistory


def _siege() -> type[RoomHistory]:
    from tests.sim.rogues import Siege  # it builds on this module

    return Siege
