"""Histories of crowded rooms: as room_histories.py, with views of two where the protocol has eight.

Decides: how small a room is crowded here, and one law more: in the end a word said in a room is with
all of its live members within seconds, long before any repair. Does not know: what people do, or
the other laws.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2pchat.engine import gossip, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.context import ViewSizes
from p2pchat.ids import EventId
from p2pchat.model import ROOM
from p2pchat.wire.messages.rooms import MEMBER
from tests.kit.laws import law
from tests.kit.seeds import Trace, remembered_signatures
from tests.kit.swarm import Machine
from tests.sim.plans import Plan
from tests.sim.room_histories import RoomHistory
from tests.sim.room_plans import draw_rooms

SIZES: Final = ViewSizes(above=2, active=2, most=3, passive=2)
FEWEST: Final = 6
"""Machines below which two neighbours are as good as all."""
SOON_S: Final = gossip.WAIT_S + 3 * gossip.AGAIN_S + 1.0
"""Asked for, of somebody else if need be, and a few slow hops; repair comes after 48 s."""
BACK_S: Final = 15.0
"""Until a machine that was switched off and on has all its links again."""
WORDS: Final = 3
"""Said by others each time, so that trees made by one are used by the next."""


def draw_crowd(seed: int) -> Plan:
    """The history that `seed` means: the first from there on with enough machines."""
    for other in range(seed * 1000, seed * 1000 + 1000):
        plan = draw_rooms("rooms", other)
        if plan.places >= FEWEST:
            return replace(plan, scenario="crowds")
    raise ValueError(f"no history of {FEWEST} machines from seed {seed} on")


class CrowdHistory(RoomHistory):
    """One seed of crowded rooms, lived through."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        super().__init__(plan, trace)
        self.swarm.sizes = SIZES  # a machine that starts takes them

    def judge(self) -> None:
        """Every law, and that a word is with all at once."""
        super().judge()
        for machine in self.places[:2]:
            machine.stop()
            self.swarm.run(self.swarm.now + 1.0)
            machine.start()
        self.swarm.run(self.swarm.now + BACK_S)
        for _ in range(WORDS):
            self._a_word_in_each_room()

    def _a_word_in_each_room(self) -> None:
        swarm = self.swarm
        ids = {row.id for m in self.places for row in m.look().cache.known_rooms.values() if row.kind == ROOM}
        for room in sorted(ids):
            there = [m for m in self.places if self._may_write(m, room)]
            if not there:
                continue
            author = swarm.chance.choice(there)
            said: list[str] = []

            def answered(result: object, error: object, said: list[str] = said) -> None:
                law(error is None, f"a word was refused: {error}")
                assert isinstance(result, dict)
                said.append(str(result["id"]))

            self.work.ask(author, lambda r, room=room: happened.Post(r, "#" + room.hex(), "soon"), answered)  # type: ignore[misc]
            swarm.run(swarm.now + SOON_S + 2 * max(m.lag_s for m in self.places) * 10)
            event = EventId(bytes.fromhex(said[0]))
            members = rooms.room(author.look(), room).graph.members
            late = [
                m.name for m in self.places if m.account in members and m.ledger.events.get(event) is None
            ]
            law(not late, f"a word of {author.name} is not with {late} after {SOON_S} s")

    def _may_write(self, machine: Machine, room: bytes) -> bool:
        ctx = machine.look()
        row = next((row for row in ctx.cache.known_rooms.values() if row.id == room), None)
        if row is None:
            return False
        graph = rooms.room(ctx, row.id).graph
        member = graph.members.get(machine.account)
        return member is not None and (not graph.settings.announce or member.role != MEMBER)


def play(seed: int, *, without: tuple[str, ...] = (), loud: bool = False) -> Trace:
    """Live through one seed; Broken if a law does not hold. Returns the trace."""
    trace = Trace(loud=loud)
    with remembered_signatures():
        history = CrowdHistory(draw_crowd(seed).without(without), trace)
        try:
            history.live()
        finally:
            history.swarm.close()
    return trace
