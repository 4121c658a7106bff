"""Machines that do as they please: members who lie, fork, withhold, replay and forge.

Decides: what malice is tried, and when. Does not know: what must hold all the same
(tests/kit/room_laws.py, asked about honest people only).

A rogue runs the real engine, so that he is believed, and beside it writes events of his own on
his chain that his engine knows nothing of: each is a fork of what the engine writes later.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pchat.crypto.epochs import seal_body
from p2pchat.crypto.primitives import ed25519_sign
from p2pchat.engine import keys, rooms
from p2pchat.engine.context import RoomCache
from p2pchat.engine.inputs import Effect, Send, Tell
from p2pchat.engine.log import associated_data, body_hash, stamp
from p2pchat.ids import NO_EPOCH, ZERO_ID, AccountId, EventId
from p2pchat.model import ROOM
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import Event, Header
from p2pchat.wire.messages.link import Events, Keys, Pull, Receipt
from tests.kit.laws import check, law
from tests.kit.persons import Person
from tests.kit.room_laws import check_rooms
from tests.kit.seeds import dice
from tests.kit.swarm import Machine, Swarm
from tests.sim.room_histories import RoomHistory
from tests.sim.room_people import RoomWorkload

YEAR_MS = 365 * 86_400_000
KEPT = 40
SPREAD_S = 600.0
"""What a rogue tells one of them only is passed on by repair, once a minute with somebody by chance."""


class Rogue(Machine):
    """A machine with a will of its own."""

    replays: list[Events]
    withheld: tuple[str, ...] = ()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Send) and effect.link in self.links:
            if isinstance(effect.message, Events):
                kept = self.__dict__.setdefault("replays", [])
                kept.append(effect.message)
                del kept[:-KEPT]
                if self._far(effect.link) in self.withheld:
                    return
            cable, end = self.links[effect.link]
            cable.send(end, effect.message)  # no law is asked about what he says
            return
        super()._perform(effect)

    def _far(self, number: int) -> str:
        cable, end = self.links[number]
        return (cable.ends[1] if end is cable.ends[0] else cable.ends[0]).host.name

    def mischief(self) -> None:
        """One act of malice towards some of those he is linked to."""
        if not self.up or not self.node.loaded or not self.links:
            return
        chance = self.chance
        ctx = self.look()
        known = [row.id for row in ctx.cache.known_rooms.values() if row.kind == ROOM]
        numbers = sorted(self.links)
        some = chance.sample(numbers, k=chance.randint(1, len(numbers)))
        if not known:
            return
        room = rooms.room(ctx, chance.choice(sorted(known)))
        kind = chance.random()
        said: list[Record]
        if kind < 0.6:
            events = [self._forged(room, chance.random() < 0.5) for _ in range(chance.choice((1, 1, 2, 8)))]
            said = [Events(tuple(events))]
        elif kind < 0.7:
            self.withheld = tuple(chance.sample(sorted(self.swarm.machines), k=1))
            return
        elif kind < 0.85:
            kept = self.__dict__.get("replays", [])
            said = [chance.choice(kept)] if kept else []
        elif kind < 0.95:
            authors = sorted(room.heads)
            ranges = ((1, chance.choice((1, 5, 1000))),)
            said = [Receipt(room.row.id, chance.choice(authors), ranges, bytes(32))] if authors else []
        else:
            said = [Keys(room.row.id, (chance.randbytes(32),)), Pull(room.row.id)]
        for number in some:
            cable, end = self.links[number]
            for message in said:
                cable.send(end, message)

    def _forged(self, room: RoomCache, fork: bool) -> Event:
        chance, clock = self.chance, self.clock()
        head = room.heads.get(self.device)
        back = chance.randrange(3) if fork and head else 0
        prev, seq = (head.id, head.seq + 1) if head else (EventId(ZERO_ID), 1)
        if back and head is not None and seq > back + 1:
            older = self.ledger.events.at(room.row.id, self.device, seq - back - 1)
            if older:
                prev, seq = older[0].id, seq - back
        acts = [event.id for event in self.ledger.events.control(room.row.id)]
        auth = room.graph.heads
        if chance.random() < 0.5 and acts:
            auth = tuple(sorted(chance.sample(acts, k=min(len(acts), chance.randint(1, 3)))))
        ms = clock.wall_ms + chance.choice((0, 0, -3000, -YEAR_MS, 200_000, 10 * YEAR_MS))
        kind, body = self._lie(room)
        plain, epoch = encode(body), NO_EPOCH
        usable = [row for row in room.epochs.values() if row.key is not None]
        if not ev.is_control(kind):
            epoch = chance.choice(usable).epoch if usable else chance.randbytes(16)
        sealed = len(plain) + (0 if ev.is_control(kind) else 40)
        first = Header(
            1, room.row.id, self.device, seq, prev, (), auth, stamp(ms), kind, epoch, ZERO_ID, sealed
        )
        stored = plain
        if not ev.is_control(kind):
            key = next((row.key for row in usable if row.epoch == epoch), None) or bytes(32)
            ad = associated_data(encode(first), sealed)
            if chance.random() < 0.1:
                ad = b"of something else"
            stored = seal_body(key, room.row.id, self.device, seq, ad, plain, chance.randbytes(24))
        header = Header(
            1, room.row.id, self.device, seq, prev, (), auth, stamp(ms), kind, epoch,
            body_hash(stored), len(stored),
        )  # fmt: skip
        raw = encode(header)
        return Event(raw, ed25519_sign(self.me.signing_key, ev.SIGNED + raw), stored)

    def _lie(self, room: RoomCache) -> tuple[int, Record]:
        chance = self.chance
        everybody = [machine.account for machine in self.swarm.machines.values()]
        victim = bytes(chance.choice(everybody))
        device = bytes(chance.choice(sorted(room.heads))) if room.heads else bytes(32)
        cut = (wire.Cut(device, chance.randint(1, 9), chance.randbytes(32)),) if chance.random() < 0.5 else ()
        target = chance.choice([e.id for e in self.ledger.events.control(room.row.id)] or [bytes(32)])
        lies: list[Callable[[], tuple[int, Record]]] = [
            lambda: (ev.REMOVE, wire.Remove(1, victim, cut)),
            lambda: (ev.REMOVE, wire.Remove(1, victim, cut)),
            lambda: (ev.ADD, wire.Add(1, victim)),
            lambda: (ev.ROLE, wire.Role(1, victim, chance.choice(tuple(wire.RANK)), cut)),
            lambda: (ev.ROLE, wire.Role(1, bytes(self.account), wire.OWNER, ())),
            lambda: (ev.JOIN, wire.Join(1)),
            lambda: (ev.LEAVE, wire.Leave(1)),
            lambda: (ev.SETTINGS, wire.Settings(1, (wire.Setting("announce", chance.choice("01")),))),
            lambda: (ev.REVOKE, wire.Revoke(1, device, (chance.randbytes(50), bytes(64)), ())),
            lambda: (ev.EPOCH, self._epoch(room)),
            lambda: (ev.SEAL, ev.Seal(1, self._some_epoch(room), (ev.SealedKey(device, 1, bytes(80)),))),
            lambda: (ev.MESSAGE, ev.Message(1, "rogue text", b"", b"", (), False, 0, ())),
            lambda: (ev.DELETE, ev.Delete(1, bytes(target))),
            lambda: (ev.NAME, wire.Name(1, "name", "rogue")),
            lambda: (ev.PIN, ev.Pin(1, bytes(target), False)),
        ]
        return chance.choice(lies)()

    def _some_epoch(self, room: RoomCache) -> bytes:
        return self.chance.choice(sorted(room.epochs)) if room.epochs else bytes(16)

    def _epoch(self, room: RoomCache) -> ev.Epoch:
        chance = self.chance
        members = keys.member_hash(room) if chance.random() < 0.5 else chance.randbytes(32)
        gen = chance.choice((1, 5, 2**53 - 1))
        return ev.Epoch(1, chance.randbytes(16), gen, members, chance.random() < 0.5)


class Suspicious(RoomWorkload):
    """The witness where some are rogues: only what honest machines say and do is judged."""

    rogues: frozenset[AccountId] = frozenset()

    def sent(self, machine: Machine, peer: AccountId, message: Record) -> None:  # type: ignore[override]
        """A frame leaves a machine."""
        if machine.account not in self.rogues:
            super().sent(machine, peer, message)

    def told(self, machine: Machine, tell: Tell) -> None:  # type: ignore[override]
        """Warnings are what an honest machine owes its user here."""

    def broke(self, machine: Machine, what: str) -> None:  # type: ignore[override]
        """An honest machine may end the link of a rogue, and of nobody else."""
        cable, end = machine.links.get(machine.refused, (None, None))
        if machine.account in self.rogues or cable is None:
            return
        far = cable.ends[1] if end is cable.ends[0] else cable.ends[0]
        other = self.town.machines[far.host.name]
        law(other.account in self.rogues, f"{machine.name} ends the link of honest {other.name}: {what}")


class Siege(RoomHistory):
    """A history with one to three rogues."""

    def workload(self, swarm: Swarm, people: list[Person]) -> RoomWorkload:
        """Some are not what they seem."""
        work = Suspicious(swarm, people, direct=0.0)
        chance = dice(self.plan.seed, "rogues")
        count = min(chance.choice((1, 1, 2, 3)), len(people) - 2)
        work.rogues = frozenset(person.account for person in chance.sample(people, k=count))
        self.rogues = work.rogues
        return work

    def kind(self, person: Person) -> type[Machine]:
        """A rogue's machine is one."""
        return Rogue if person.account in self.rogues else Machine

    def live(self) -> None:
        """Malice goes on until all cables are in again."""
        chance = dice(self.plan.seed, "malice")
        for machine in self.places:
            if isinstance(machine, Rogue):
                for _ in range(chance.randint(5, 40)):
                    self._at(0.5 + chance.random() * self.plan.span_s, machine.mischief)
        super().live()

    def heal(self) -> None:
        """As always; what a rogue withholds, others have."""
        super().heal()
        for machine in self.places:
            if isinstance(machine, Rogue):
                machine.withheld = ()

    def judge(self) -> None:
        """The laws of honest people."""
        swarm, work = self.swarm, self.work
        swarm.run(swarm.now + SPREAD_S)
        law(swarm.fullest <= self.plan.weather.queue, "a queue grew beyond its bound")
        honest = [site for site in work.sites() if site.account not in self.rogues]
        now = {m.name: m.clock() for m in self.places}
        check(work.book, honest, now)
        check_rooms(work.book, work.sites(), now, lawless=self.rogues)
