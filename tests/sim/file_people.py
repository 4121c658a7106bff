"""What simulated people do with files: offer, accept, think otherwise, take back; and ask for others'.

Decides: which command is given when. Does not know: faults, how bytes move (tests/kit/false_mover.py),
or what must hold in the end (tests/kit/file_laws.py).
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import inputs as happened
from p2pchat.engine import offers
from p2pchat.engine.inputs import Input
from p2pchat.errors import CommandError
from p2pchat.model import TransferView
from p2pchat.wire.limits import MIB
from p2pchat.wire.messages.files import Offer
from tests.kit.laws import law
from tests.kit.persons import Person
from tests.kit.swarm import Machine as SwarmMachine
from tests.kit.swarm import Swarm
from tests.sim.people import Machine
from tests.sim.room_people import REFUSALS, RoomWorkload

FILES: Final = 0.4
VERBS: Final = ("accept",) * 8 + ("decline", "pause", "resume", "cancel")
ODD: Final = ("usage",)
"""A transfer may have moved since its user looked."""


class FileWorkload(RoomWorkload):
    """Everybody's fingers, in rooms and on files."""

    def __init__(self, town: Swarm, people: list[Person]) -> None:
        super().__init__(town, people, direct=0.15)
        self.swarm = town
        self.expected = (*REFUSALS, *ODD)
        self.offers: list[Offer] = []

    def act(self) -> None:
        """Somebody does something, often with a file."""
        up = [m for m in self.swarm.machines.values() if m.up and m.node.loaded]
        if not up or self.chance.random() > FILES:
            super().act()
            return
        machine = self.chance.choice(up)
        kind = self.chance.random()
        if kind < 0.25 or not self.offers:
            self.offer(machine)
        elif kind < 0.85:
            for _ in range(self.chance.choice((1, 2, 5))):
                self.decide(machine)
        elif kind < 0.90:
            self.delete(machine)
        else:
            self.poke(machine)

    def offer(self, machine: Machine) -> None:
        """A message with one file or a few, to a person or into a room."""
        mine = self._mine(machine)
        where = "#" + self.chance.choice(mine).row.id.hex() if mine and self.chance.random() < 0.7 else ""
        where = where or self._peer(machine).account.hex()
        some = []
        for _ in range(self.chance.choice((1, 1, 1, 3))):
            number = len(self.offers)
            key = number.to_bytes(32, "big")
            name, size = f"file{number}", self.chance.choice((0, 1, 5 * MIB))
            one = Offer(offers.offer_id(machine.account, key), size, 0, 1, name, "", 0, key, MIB, 0)
            self.offers.append(one)
            some.append((one, f"/{machine.name}/{name}"))
        files, ident = tuple(some), f"f-{self.offers[-1].name}"

        def build(request: int) -> Input:
            return happened.Post(request, where, "", key=ident, files=files)

        self.ask(machine, build, self._changed, again=True)

    def decide(self, machine: Machine) -> None:
        """Somebody answers an offer, or changes a transfer."""
        verb = self.chance.choice(VERBS)
        near = self.offers[-12:]
        known = [one for one in near if machine.ledger.transfers.transfer(one.id) is not None]
        if not known:
            return
        one = self.chance.choice(known)

        def told(result: object, error: CommandError | None) -> None:
            self._changed(None, error)
            if error is None:
                assert isinstance(result, dict)
                law(isinstance(result["transfer"], TransferView), f"{verb} of {one.name} shows {result}")

        self.ask(machine, lambda n: happened.FileAct(n, verb, one.id.hex()), told)

    def delete(self, machine: Machine) -> None:
        """Somebody takes a message with files back."""
        rows = [machine.ledger.transfers.transfer(one.id) for one in self.offers[-12:]]
        mine = [row.event for row in rows if row is not None and row.device == machine.device]
        if mine:
            event = self.chance.choice(mine).hex()
            self.ask(machine, lambda n: happened.Change(n, "delete", event), self._changed)

    def poke(self, machine: SwarmMachine) -> None:
        """Somebody asks for a file of which he may know nothing."""
        one = self.chance.choice(self.offers)
        others = [m for m in self.swarm.machines.values() if m.up and m is not machine]
        if others and machine.mover is not None:
            machine.mover.ask(self.chance.choice(others).device, one.id)
