"""Histories of people with several machines: linked, lost, copied, restored, while cables are cut.

Decides: what happens when (from a seed), what the daemon would do that the engine asks for, and the laws
that hold once everything is joined again. Does not know: how a code opens a link (engine/pairing).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from p2pchat.crypto.identity import generate_device
from p2pchat.engine import clones, machines, overview, own, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.accounts import leading
from p2pchat.engine.context import Me
from p2pchat.engine.device_inputs import AddDevice, Renew, RevokeDevice
from p2pchat.engine.inputs import Tell
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.store.ledger import open_image
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.statements import SignedStatement
from tests.kit.cables import Weather
from tests.kit.laws import law
from tests.kit.persons import make_person
from tests.kit.seeds import SeededEntropy, Trace, dice
from tests.kit.swarm import Machine, Swarm

BUSY_S: Final = 400.0
HEALED_S: Final = 400.0
"""Cables joined, two rounds of repair and the longest pauses of dials."""
CONTACT_S: Final = 5.0
ROOM: Final = "launch"
WEATHER: Final = Weather(0.02, 0.02, 0.5, 0.0005, 1 << 20)


@dataclass
class Said:
    """A message somebody was told is kept."""

    text: str
    by: str
    at: float


@dataclass
class History:
    """One seed."""

    seed: int
    trace: Trace
    said: list[Said] = field(default_factory=list)
    revoked: dict[str, float] = field(default_factory=dict)  # machine -> when its person said so
    waiting: dict[tuple[str, int], tuple[str, object]] = field(default_factory=dict)
    images: dict[str, tuple[bytes, Me]] = field(default_factory=dict)
    copies: int = 0
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = dice(self.seed, "devices")
        self.swarm = Swarm(self.seed, WEATHER, self.trace)
        self.swarm.witness = self
        self.entropy = SeededEntropy(self.seed, "new machines")
        people = [make_person(self.seed, name, 1) for name in ("ann", "bob", "carl")]
        self.pc, self.bob, self.carl = (self.swarm.add(one, 0) for one in people)
        self.ann = self.pc.account

    # -- the witness ---------------------------------------------------------------------

    def sent(self, machine: Machine, peer: AccountId, message: Record) -> None: ...
    def started(self, machine: Machine) -> None: ...

    def broke(self, machine: Machine, what: str) -> None:
        self.broken.append(f"{machine.name}: {what}")

    def told(self, machine: Machine, tell: Tell) -> None:
        if tell.type == clones.RENEW:
            self.swarm.later(0.05, lambda: self._renew(machine))

    def answered(self, machine: Machine, request: int, result: object, error: CommandError | None) -> None:
        what, more = self.waiting.pop((machine.name, request), ("", None))
        if error is not None or not isinstance(result, dict):
            return
        if what == "say":
            self.said.append(Said(str(more), machine.name, self.swarm.now))
        elif what == "link" and isinstance(more, Me):
            self._linked(more, result["statements"])
        elif what == "renew" and isinstance(more, Me):
            # Now the file is written; and sometimes there is a power cut instead.
            if self.chance.random() < 0.3:
                machine.crash()
                machine.start()
            else:
                self._goes_on(machine, self._with(more, result["statements"]))

    # -- what people do, and the daemon for them ---------------------------------------------

    def say(self, machine: Machine) -> None:
        if machine.up:
            text = f"{machine.name} at {self.swarm.now:.3f}"
            self._ask(machine, "say", text, lambda n: happened.Post(n, ROOM, text))

    def link(self) -> None:
        """Somebody at the pc links a machine; the code is spoken, whatever cables are cut."""
        keys = generate_device(self.entropy.bytes)
        me = Me(self.ann, DeviceId(b""), keys.signing_seed, keys.signing.expanded, keys.noise.public, ())
        if self.pc.up:
            self._ask(self.pc, "link", me, lambda n: AddDevice(n, keys.signing.public, keys.noise.public))

    def _linked(self, me: Me, signed: tuple[SignedStatement, ...]) -> None:
        self._place(f"ann.{len(self.swarm.machines)}", self._with(me, signed)).start()

    def _with(self, me: Me, signed: tuple[SignedStatement, ...]) -> Me:
        public = me.signing_key[32:]
        device = machines.device_id(self.ann, public)
        return Me(self.ann, device, me.signing_seed, me.signing_key, me.noise_public, leading(signed, device))

    def _place(self, name: str, me: Me) -> Machine:
        address = f"198.18.9.{len(self.swarm.machines) + 1}"
        made = Machine(self.swarm, name, me, address, "ann")
        self.swarm.machines[name] = self.swarm.by_address[address] = made
        return made

    def _renew(self, machine: Machine) -> None:
        if not machine.up or machine.name in self.revoked:
            return
        keys = generate_device(self.entropy.bytes)
        me = Me(self.ann, DeviceId(b""), keys.signing_seed, keys.signing.expanded, keys.noise.public, ())
        self._ask(machine, "renew", me, lambda n: Renew(n, keys.signing.public, keys.noise.public))

    def _goes_on(self, machine: Machine, me: Me) -> None:
        machine.stop()
        machine.me = me
        machine.start()

    def revoke(self, machine: Machine) -> None:
        if self.pc.up and machine.name not in self.revoked:
            self.revoked[machine.name] = self.swarm.now
            device = machine.device.hex()
            self._ask(self.pc, "revoke", None, lambda n: RevokeDevice(n, device))

    def back_up(self, machine: Machine) -> None:
        self.images[machine.name] = (machine.ledger.serialize(), machine.me)

    def restore(self, machine: Machine) -> None:
        """The archive and the keys as they were once. What no other archive has by now is gone with the
        newer one, whatever anybody does."""
        if machine.name in self.images and machine.up:
            image, me = self.images[machine.name]
            machine.crash()
            written = dict(one for row in machine.ledger.rooms.rooms() for one in _written(machine, row.id))
            machine.ledger.close()
            machine.ledger, machine.me = open_image(image), me
            there = [one.ledger for one in self.swarm.machines.values() if one.name not in self.revoked]
            gone = {t for t, event in written.items() if all(a.events.get(event) is None for a in there)}
            self.said = [one for one in self.said if one.by != machine.name or one.text not in gone]
            machine.start()

    def copy(self, machine: Machine) -> None:
        """The same profile on another computer as well."""
        if machine.name in self.images:
            image, me = self.images[machine.name]
            self.copies += 1
            made = self._place(f"{machine.name}-copy", me)
            made.ledger.close()
            made.ledger = open_image(image)
            made.start()

    def cut(self) -> None:
        """Nobody on one side reaches anybody on the other for a while."""
        names = sorted(self.swarm.machines)
        side = [name for name in names if self.chance.random() < 0.5]
        pairs = [(a, b) for a in side for b in names if b not in side]
        for a, b in pairs:
            self.swarm.block(a, b)
            self.swarm.block(b, a)
        wait = 10 + 80 * self.chance.random()
        self.swarm.later(wait, lambda: [self._join(a, b) for a, b in pairs] and None)

    def _join(self, a: str, b: str) -> None:
        self.swarm.unblock(a, b)
        self.swarm.unblock(b, a)

    def _ask(self, machine: Machine, what: str, more: object, build: object) -> None:
        request = machine.ask(build)  # type: ignore[arg-type]
        self.waiting[machine.name, request] = (what, more)

    # -- the play ------------------------------------------------------------------------

    def live(self) -> None:
        """A room, a laptop, a tablet; and then what the seed says."""
        for machine in (self.pc, self.bob, self.carl):
            machine.start()
        self.swarm.run(5)
        self.pc.ask(lambda n: happened.CreateRoom(n, ROOM))
        self.swarm.run(6)
        self.pc.ask(
            lambda n: happened.RoomAct(n, "invite", ROOM, (self.bob.account.hex(), self.carl.account.hex()))
        )
        self.link()
        self.swarm.run(12)
        self.link()
        self.swarm.run(20)
        laptop, tablet = (
            self.swarm.machines[name] for name in sorted(self.swarm.machines) if name.startswith("ann.")
        )
        plan = self.chance
        for _ in range(30):
            self.swarm.later(BUSY_S * plan.random(), self._somebody_speaks)
        for _ in range(4):
            self.swarm.later(BUSY_S * plan.random(), self.cut)
        saved = 0.4 * BUSY_S * plan.random()
        self.swarm.later(saved, lambda: self.back_up(laptop))
        again = self.copy if plan.random() < 0.5 else self.restore
        self.swarm.later(saved + 0.4 * BUSY_S * plan.random(), lambda: again(laptop))
        self.swarm.later(BUSY_S * plan.random(), lambda: self.revoke(tablet))
        self.swarm.later(BUSY_S * plan.random(), lambda: self.pc.ask(lambda n: happened.Mute(n, ROOM)))
        for machine in (self.bob, laptop):
            self.swarm.later(BUSY_S * plan.random(), lambda m=machine: self._falls(m))  # type: ignore[misc]
        self.swarm.run(20 + BUSY_S)
        self.swarm.run(20 + BUSY_S + 100)  # the last cut is joined
        self.swarm.run(20 + BUSY_S + 100 + HEALED_S)

    def _somebody_speaks(self) -> None:
        self.say(self.chance.choice(sorted(self.swarm.machines.values(), key=lambda m: m.name)))

    def _falls(self, machine: Machine) -> None:
        if machine.up:
            machine.crash()
            self.swarm.later(1 + 20 * self.chance.random(), lambda: None if machine.up else machine.start())

    # -- the laws ------------------------------------------------------------------------

    def judge(self) -> None:
        """Everything is joined, and quiet."""
        everybody = [m for _, m in sorted(self.swarm.machines.items())]
        whole = [m for m in everybody if m.name not in self.revoked]
        room = next(
            r.id for r in self.pc.look().cache.known_rooms.values() if rooms.name(self.pc.look(), r) == ROOM
        )
        law(not self.broken, f"no rule was broken: {self.broken[:3]}")
        texts = {m.name: _texts(m, room) for m in whole}
        for name, found in texts.items():
            twice = [text for text, count in Counter(found).items() if count > 1]
            law(not twice, f"{name} shows nothing twice: {twice[:3]}")
            law(found == texts["ann"], f"{name} and the pc show the same: {set(found) ^ set(texts['ann'])}")
            lost = [s.text for s in self.said if s.by not in self.revoked and s.text not in found]
            law(not lost, f"nothing that was acknowledged is lost at {name}: {lost[:3]}")
            waiting = machine_queue(self.swarm.machines[name])
            law(not waiting, f"nothing waits at {name} any more: {waiting}")
        mine = [m for m in whole if m.account == self.ann]
        law(len({m.device for m in mine}) == len(mine), "no two machines that are in use share an id")
        entries = [own.entries(m.look()) for m in mine]
        law(all(one == entries[0] for one in entries), "own machines are in step")
        law(
            all(overview.muting(m.look(), room) == overview.muting(self.pc.look(), room) for m in mine),
            "and mute alike",
        )
        gone = {m.device for m in everybody if m.name in self.revoked}
        for m in whole:
            known = m.look().cache.accounts[self.ann]
            law(machines.revoked_of(known) == gone, f"{m.name} knows what is revoked")
            law(not gone & set(m.look().live.by_device), f"{m.name} has no link to it")
            graph = rooms.room(m.look(), room).graph
            law(gone <= set(graph.revoked), f"{m.name}: the room knows it")
            epoch = overview.room_view_of(m.look(), rooms.room(m.look(), room)).epoch
            law(epoch is not None, f"{m.name} has a key to write under")
            for victim in everybody:
                if victim.name in self.revoked:
                    held = {e.epoch for e in victim.ledger.rooms.epochs(room) if e.key is not None}
                    law(epoch not in held, f"{victim.name} does not have the key that {m.name} writes under")


def machine_queue(machine: Machine) -> int:
    """Own messages that nobody is known to have."""
    return len(machine.ledger.views.waiting(None))


def _texts(machine: Machine, room: RoomId) -> list[str]:
    cached = rooms.room(machine.look(), room)
    events = [
        e for d in cached.heads for e in machine.ledger.events.run(room, d, 1, cached.heads[d].seq, 9999)
    ]
    views = [machine.ledger.views.message(e.id) for e in sorted(events, key=lambda e: (e.hlc, e.id))]
    return [str(view.text) for view in views if view is not None and not view.hidden]


def _written(machine: Machine, room: RoomId) -> list[tuple[str, EventId]]:
    """What a machine said in a room, by the text it shows of it."""
    head = machine.ledger.events.heads(room).get(machine.device)
    events = machine.ledger.events.run(room, machine.device, 1, head.seq, 9999) if head else []
    views = [(machine.ledger.views.message(event.id), event.id) for event in events]
    return [(str(view.text), event) for view, event in views if view is not None]


def play(seed: int, *, loud: bool = False) -> Trace:
    """One history with its laws."""
    trace = Trace(loud=loud)
    history = History(seed, trace)
    history.live()
    history.judge()
    history.swarm.close()
    return trace
