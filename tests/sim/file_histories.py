"""Histories of files: as room_histories.py, with people who offer files and machines that move them.

Decides: what differs from a history of rooms. Does not know: what people do (file_people.py) or what
must hold (tests/kit/file_laws.py).
"""

from __future__ import annotations

from tests.kit.false_mover import Mover
from tests.kit.file_laws import check_files
from tests.kit.persons import Person
from tests.kit.room_laws import check_rooms
from tests.kit.seeds import Trace
from tests.kit.swarm import Swarm
from tests.sim.file_people import FileWorkload
from tests.sim.plans import Plan
from tests.sim.room_histories import RoomHistory


class FileHistory(RoomHistory):
    """One seed of files, lived through."""

    work: FileWorkload

    def __init__(self, plan: Plan, trace: Trace) -> None:
        super().__init__(plan, trace)
        self.movers = {machine.name: Mover(machine) for machine in self.places}
        for machine in self.places:
            machine.mover = self.movers[machine.name]
        self.counts: dict[str, int] = {}

    def workload(self, swarm: Swarm, people: list[Person]) -> FileWorkload:
        """People who offer files."""
        return FileWorkload(swarm, people)

    def judge(self) -> None:
        """Every law."""
        super().judge()
        now = {m.name: m.clock() for m in self.places}
        courts = check_rooms(self.work.book, self.work.sites(), now)
        self.counts = check_files(self.work.sites(), self.movers, now, courts)
