"""People who are there by turns only: what one says reaches another by whoever meets both.

Decides: who is there when, who trusts whom, and the laws of holders: what was said to somebody who
is away is held as soon as a verified person was met, whoever holds something hands it to the one it
is for when they meet, nobody holds more than the bounds allow, and in the end nothing was lost, not
even for somebody who was away for seven weeks. Does not know: what people say (room_people.py), or
the other laws.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Final

from p2pchat.engine import holders, kept, ranges, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.inputs import Effect, FromPeer, Input, Send, Tell
from p2pchat.ids import AccountId
from p2pchat.model import DIRECT, QUEUED, ROOM
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import HOLD_MS
from p2pchat.wire.messages.events import REMOVE, Header
from p2pchat.wire.messages.holders import Claim, Deposit, Holding, Kept, Withdraw
from p2pchat.wire.messages.rooms import ALL
from tests.kit.cables import Weather
from tests.kit.laws import law
from tests.kit.persons import Person
from tests.kit.seeds import Trace, dice, remembered_signatures
from tests.kit.swarm import Machine, Swarm
from tests.sim.histories import QUIET_S
from tests.sim.plans import DAY_S, Plan, draw
from tests.sim.room_histories import RoomHistory
from tests.sim.room_people import RoomWorkload

SCENARIOS: Final = {
    "turns": "three to six people, one to three of them there at a time",
    "turns-homes": "the same, some with two machines",
    "turns-weeks": "the same over seven weeks, through which one of them is away",
    "turns-liars": "some hold nothing of what they say to hold",
    "turns-full": "holders take very little",
}
MEETING_S: Final = 45.0
"""So long together is enough: to connect, to wait for whoever may be there himself, to hand over."""
FRESH_S: Final = 30.0
SMALL: Final = 6000


class Liar(Machine):
    """It says that it holds everything, and holds nothing."""

    def _try(self, event: Input) -> list[Effect] | None:
        if isinstance(event, FromPeer) and isinstance(event.message, Deposit):
            said: dict[bytes, list[int]] = {}
            for one in event.message.events:
                header = decode(Header, one.header)
                said.setdefault(header.device, []).append(header.seq)
            ranges = tuple(
                Kept(d, tuple((s, s) for s in sorted(set(n), reverse=True))) for d, n in said.items()
            )
            merged = tuple(Kept(one.author, _merged(one.ranges)) for one in ranges)
            return [Send(event.link, Holding(event.message.room, merged, ""))]
        if isinstance(event, FromPeer) and isinstance(event.message, Claim | Withdraw):
            return []
        return super()._try(event)


def _merged(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for low, high in ranges:
        if found and high + 1 == found[-1][0]:
            found[-1] = (low, found[-1][1])
        else:
            found.append((low, high))
    return tuple(found)


def draw_turns(scenario: str, seed: int) -> Plan:
    """The history that `seed` means in one of SCENARIOS."""
    chance = dice(seed, "plan", "turns")
    count = chance.choice((3, 3, 4, 4, 5, 6))
    homes = scenario == "turns-homes"
    machines = tuple(2 if homes and chance.random() < 0.4 else 1 for _ in range(count))
    plan = replace(draw("direct", seed), scenario=scenario, machines=machines, cuts=(), falls=(), jumps=())
    return replace(
        plan, skews_ms=(0,) * sum(machines), holidays=(), burst=6, messages=chance.randrange(4, 10),
        weather=Weather(0.01, 0.0, 0.0, 0.0, 1 << 20),
    )  # fmt: skip


class Turners(RoomWorkload):
    """People who talk more than they change, and may be told that a holder is full."""

    def told(self, machine: Machine, tell: Tell) -> None:
        """A remark that is not kept."""
        if holders.MAX_HELD_PER_DAY != SMALL or tell.subject[:1] != ("holder_full",):  # type: ignore[index]
            super().told(machine, tell)


class Turns(RoomHistory):
    """One seed, lived through by turns."""

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.chance = dice(plan.seed, "turns")
        self.liars: dict[AccountId, None] = {}
        super().__init__(plan, trace)
        if plan.scenario == "turns-full":
            holders.MAX_HELD_PER_DAY = SMALL  # type: ignore[misc]  # put back by `play`
        self.hermit = self.chance.choice(self.places) if plan.scenario == "turns-weeks" else None
        self.since: dict[str, float] = {}

    def workload(self, swarm: Swarm, people: list[Person]) -> RoomWorkload:
        """People who talk more than they change."""
        return Turners(swarm, people, churn=0.15, direct=0.6)

    def kind(self, person: Person) -> type[Machine]:
        """Some lie."""
        if self.plan.scenario == "turns-liars" and self.chance.random() < 0.4:
            self.liars[person.account] = None
            return Liar
        return Machine

    def live(self) -> None:
        """All meet once; then shifts; then all are there."""
        swarm = self.swarm
        for machine in self.places:
            machine.start()
        swarm.run(20.0)
        self._trust()
        for _ in range(3):
            self.work.act()
        swarm.run(swarm.now + 30.0)
        for machine in self.places:
            machine.stop()
        weeks = self.plan.scenario == "turns-weeks"
        for _ in range(self.chance.randrange(14, 18) if weeks else self.chance.randrange(6, 14)):
            self._shift()
            swarm.run(
                swarm.now + (self.chance.uniform(2.5, 4.5) * DAY_S if weeks else self.chance.uniform(1, 9))
            )
        self.heal()
        swarm.run(swarm.now + QUIET_S)
        self.judge()

    def _trust(self) -> None:
        for machine in self.places:
            for other in self.places:
                if other.account != machine.account and self.chance.random() < 0.7:
                    whom = other.account.hex()
                    self.work.ask(
                        machine, lambda r, whom=whom: happened.SetTrust(r, "verify", whom), self.work._ignored
                    )  # type: ignore[misc]

    # -- a shift -------------------------------------------------------------------------------

    def _shift(self) -> None:
        swarm, chance = self.swarm, self.chance
        there = [m for m in self.places if m is not self.hermit]
        some = chance.sample(there, k=min(len(there), chance.choice((1, 2, 2, 2, 3))))
        for machine in some:
            machine.start()
        length = chance.uniform(MEETING_S + 20.0, 200.0)
        end = swarm.now + length
        began = swarm.now
        for _ in range(self.plan.messages):
            swarm.later(3.0 + chance.random() * (length - 5.0), self.work.act)
        swarm.run(end)
        self._judge_shift(some, began)
        for machine in some:
            if not machine.up:
                continue
            if chance.random() < 0.75:
                self.work.ask(machine, lambda r: happened.HandOver(r), self.work._ignored)
                swarm.run(swarm.now + 6.0)
                machine.stop()
            else:
                machine.crash()
                self._forget_asked(machine)

    def _forget_asked(self, machine: Machine) -> None:
        """Asked without a key and not answered before the crash: nobody waits any more."""

    def _judge_shift(self, there: list[Machine], began: float) -> None:
        for one in there:
            self._within_bounds(one)
            for other in there:
                if one.account == other.account:
                    continue
                if one.account not in self.liars:
                    self._handed_over(one, other)
                if not self.liars.keys() & {one.account, other.account}:
                    self._told(one, other)
                if self._trusts(one, other) and self.plan.scenario != "turns-full":
                    self._entrusted(one, other, there, began)

    def _trusts(self, one: Machine, other: Machine) -> bool:
        trust = one.look().cache.trust.get(other.account)
        return trust is not None and trust.verified

    def _handed_over(self, holder: Machine, to: Machine) -> None:
        """Whoever holds something for somebody has given it to him when they have met."""
        ledger = holder.ledger
        waiting = ledger.holdings.claimed(to.account, to.device, True, 0, 9999)
        waiting += ledger.holdings.claimed(to.account, to.device, False, 0, 9999)
        old = [h for h in waiting if h.at_ms < holder.clock().wall_ms - FRESH_S * 1000]
        old = [h for h in old if h.depositor != to.account and self._wants(to, to.account, h.room)]
        by = {machine.device: machine for machine in self.places}
        # Who is out by now, and has not heard of it, is owed nothing: what it needed may be withdrawn.
        old = [h for h in old if self._wants(by[h.author], to.account, h.room)]
        # What was taken back counts as had once its delete is here, which may not have been taken.
        old = [h for h in old if h.body is not None or to.ledger.events.get(h.id) is None]
        law(not old, f"{holder.name} met {to.name} and still holds {len(old)} events for it")

    def _told(self, one: Machine, other: Machine) -> None:
        """Members who have met have of a room what either had before, whoever wrote it."""
        ctx, their = one.look(), other.look()
        wall = one.clock().wall_ms
        for row in ctx.cache.known_rooms.values():
            if row.kind != ROOM or row.id not in their.cache.known_rooms:
                continue
            room, twin = rooms.room(ctx, row.id), rooms.room(their, row.id)
            if room.graph.settings.history != ALL:
                continue  # who comes in later is given less
            if {one.account, other.account} - (room.graph.members.keys() & twin.graph.members.keys()):
                continue  # one of them has not heard that the other is in
            for author, held in room.have.items():
                for low, high in ranges.minus(held, twin.have.get(author, ())):
                    for event in one.ledger.events.run(row.id, author, low, high, 999):
                        old = event.received_ms < wall - MEETING_S * 1000 and event.body is not None
                        got = other.ledger.events.get(event.id) is not None
                        law(got or not old, f"{one.name} met {other.name}, who still lacks a word of a room")

    def _within_bounds(self, holder: Machine) -> None:
        """Nobody holds more of one person and day than he may."""
        for size, depositor in holder.ledger.connection.execute(
            "SELECT sum(size), depositor FROM holding GROUP BY depositor, at / 86400000"
        ):
            law(
                size <= holders.MAX_HELD_PER_DAY, f"{holder.name} holds {size} bytes of {depositor.hex()[:8]}"
            )

    def _wants(self, machine: Machine, account: AccountId, room: bytes) -> bool:
        """Whether somebody is in that room as far as a machine knows: of others nothing counts for him."""
        ctx = machine.look()
        row = ctx.cache.known_rooms.get(room)  # type: ignore[call-overload]
        return row is not None and account in rooms.room(ctx, row.id).graph.members

    def _entrusted(self, author: Machine, holder: Machine, there: list[Machine], began: float) -> None:
        """Whoever met a verified person has given him what waits for others, or others hold it."""
        ctx = author.look()
        wall = author.clock().wall_ms
        here = {machine.account for machine in there}
        for event, room_id in author.ledger.views.waiting(None):
            room, stored = rooms.room(ctx, room_id), author.ledger.events.get(event)
            if stored is None or room.row.kind != DIRECT or holder.account in room.accounts:
                continue
            peer = room.row.peer
            # What was said differently a moment ago is given anew without its first body.
            recent = stored.received_ms > wall - MEETING_S * 1000 or stored.body is None
            old = (stored.hlc >> 16) < wall - HOLD_MS + 7_200_000
            if recent or old or peer in here or began > self.swarm.now - MEETING_S:
                continue
            held = kept.is_held(room, author.device, stored.seq)
            law(held, f"{author.name} met {holder.name} and a message for somebody away is held by nobody")

    # -- the end -------------------------------------------------------------------------------

    def judge(self) -> None:
        """Every law; and nothing is held any more for people who are there."""
        super().judge()
        for machine in self.places:
            chats = "SELECT count(*) FROM holding WHERE room = ?"
            for one in self.places:
                for other in self.places:
                    room = rooms.direct_id(one.account, other.account)
                    left = machine.ledger.connection.execute(chats, (room,)).fetchone()[0]
                    law(not left, f"{machine.name} still holds {left} events of {one.name} and {other.name}")
            for depositor in machine.ledger.holdings.depositors():
                size = machine.ledger.holdings.held_bytes([depositor])
                law(size <= holders.MAX_HELD_PER_DAY * 30, f"{machine.name} holds {size} bytes of one person")

    def witnessed(self) -> Counter[str]:
        """What the one who was away came home to, and what ran out meanwhile."""
        found: Counter[str] = Counter()
        if self.hermit is not None:
            ctx = self.hermit.look()
            for room in map(lambda known: rooms.room(ctx, known), ctx.cache.known_rooms):
                found["rotations"] += max(0, len(room.epochs) - 1)
                acts = ctx.ledger.events.control(room.row.id)
                found["removals"] += sum(act.kind == REMOVE for act in acts)
        for machine in self.places:
            told = machine.ledger.connection.execute("SELECT detail FROM feed WHERE type = 'receipt'")
            found["expired"] += sum(json.loads(row[0]) == [["state", QUEUED]] for row in told)
        return found


def play(
    scenario: str,
    seed: int,
    *,
    without: tuple[str, ...] = (),
    loud: bool = False,
    seen: Counter[str] | None = None,
) -> Trace:
    """Live through one seed; Broken if a law does not hold. Returns the trace; `seen` counts what
    happened in it."""
    trace = Trace(loud=loud)
    before = holders.MAX_HELD_PER_DAY
    with remembered_signatures():
        history = Turns(draw_turns(scenario, seed).without(without), trace)
        try:
            history.live()
            if seen is not None:
                seen += history.witnessed()
        finally:
            holders.MAX_HELD_PER_DAY = before  # type: ignore[misc]
            history.swarm.close()
    return trace
