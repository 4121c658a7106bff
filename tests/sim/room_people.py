"""What simulated people do in rooms: make them, come, go, put each other out, and talk.

Decides: which command is given when and what its answer means for the book of wishes. Does not
know: faults, or what must hold in the end (tests/kit/room_laws.py).

People act on what their own machine shows them, so that two halves of a cut network go different
ways on purpose: both invite, both remove, both call the room something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.engine.context import RoomCache
from p2pchat.engine.inputs import Input, Tell
from p2pchat.errors import CommandError
from p2pchat.ids import EventId, RoomId
from p2pchat.model import ROOM, RoomView
from p2pchat.wire.messages import rooms as wire
from tests.kit.laws import Try, Wish, law
from tests.kit.persons import Person
from tests.sim.people import EMOJIS, Machine, Town, Workload

REFUSALS: Final = ("no_such_target", "already_delivered", "no_right", "timeout", "policy", "ambiguous_target")
"""What an honest mishap can bring in a room: the state may have moved since the user looked."""
MOST_ROOMS: Final = 3
SPEAK: Final = 0.5


class RoomWorkload(Workload):
    """Everybody's fingers, in rooms; now and then a direct chat."""

    def __init__(self, town: Town, people: list[Person], *, churn: float = 0.3, direct: float = 0.05) -> None:
        super().__init__(town, people)
        self.expected = REFUSALS
        self.churn, self.direct = churn, direct
        self.asked_for = 0
        self.names = 0

    # -- looking -------------------------------------------------------------------------------

    def _rooms(self, machine: Machine) -> list[RoomCache]:
        if not machine.node.loaded:
            return []
        ctx = machine.node.look(machine.clock())
        known = [row for row in ctx.cache.known_rooms.values() if row.kind == ROOM]
        return [rooms.room(ctx, row.id) for row in sorted(known, key=lambda row: row.id)]

    def _mine(self, machine: Machine) -> list[RoomCache]:
        return [room for room in self._rooms(machine) if machine.account in room.graph.members]

    def _others(self, machine: Machine) -> list[Person]:
        return [person for person in self.people if person.account != machine.account]

    # -- doing ---------------------------------------------------------------------------------

    def act(self) -> None:
        """Somebody does something, mostly in a room."""
        up = [m for m in self.town.machines.values() if m.up and m.node.loaded]
        if not up:
            return
        machine = self.chance.choice(up)
        if self.chance.random() < self.direct:
            super().act()
            return
        mine = self._mine(machine)
        if self.asked_for < MOST_ROOMS and (not mine or self.chance.random() < 0.05):
            self.create(machine)
        elif self.chance.random() < self.churn or not mine:
            self.change_room(machine, mine)
        else:
            self.talk(machine, self.chance.choice(mine).row.id)

    def create(self, machine: Machine) -> None:
        """Make a room of one sort or another, and invite some at once."""
        chance = self.chance
        self.asked_for += 1
        name = f"room{self.asked_for}"
        admission = chance.choice((wire.INVITE, wire.INVITE, wire.OFFICE))
        history = chance.choice((wire.ALL, wire.ALL, wire.JOINED))
        announce = chance.random() < 0.2
        some = chance.sample(self._others(machine), k=chance.randint(1, len(self.people) - 1))

        def made(result: object, error: CommandError | None) -> None:
            law(error is None, f"no room was made: {error}")
            assert isinstance(result, dict)
            view = result["room"]
            assert isinstance(view, RoomView)
            self._do(machine, view.id, "invite", *some)

        self.ask(machine, lambda r: happened.CreateRoom(r, name, "", admission, announce, history), made)

    def _do(self, machine: Machine, room: RoomId, verb: str, *people: Person, **more: object) -> None:
        names = tuple(person.account.hex() for person in people)

        def build(request: int) -> Input:
            return happened.RoomAct(request, verb, room.hex(), names, **more)  # type: ignore[arg-type]

        self.ask(machine, build, self._changed)

    def _changed(self, result: object, error: CommandError | None) -> None:
        law(error is None or error.kind in self.expected, f"a change was refused: {error!r} {error}")

    def change_room(self, machine: Machine, mine: list[RoomCache]) -> None:
        """Who is in, what they are, what the room is."""
        chance = self.chance
        kind = chance.random()
        known = self._rooms(machine)
        if kind < 0.15 or not mine:
            outside = [room for room in known if room not in mine]
            if outside:
                self._do(machine, chance.choice(outside).row.id, "join")
            return
        room = chance.choice(mine)
        here, identity = room.graph.members, room.row.id
        role = here[machine.account].role
        inside = [person for person in self._others(machine) if person.account in here]
        outside_people = [person for person in self._others(machine) if person.account not in here]
        if kind < 0.40:
            if outside_people and (role != wire.MEMBER or chance.random() < 0.1):
                some = chance.sample(outside_people, k=chance.randint(1, len(outside_people)))
                self._do(machine, identity, "invite", *some)
        elif kind < 0.60:
            if inside and (role != wire.MEMBER or chance.random() < 0.1):
                self._do(machine, identity, "remove", chance.choice(inside))
        elif kind < 0.80:
            if role == wire.OWNER or chance.random() < 0.1:
                who = chance.choice([*inside, *(p for p in self.people if p.account == machine.account)])
                self._do(machine, identity, "role", who, role=chance.choice(tuple(wire.RANK)))
        elif kind < 0.87:
            self._do(machine, identity, "leave")
        else:
            self.names += 1
            change = chance.choice(
                (
                    ("announce", chance.choice("01")),
                    ("admission", chance.choice(wire.ADMISSIONS)),
                    ("history", chance.choice(wire.HISTORIES)),
                    ("topic", f"topic {self.names}"),
                    ("name", f"name{self.names}"),
                )
            )
            if role != wire.MEMBER or chance.random() < 0.1:
                self._do(machine, identity, "set", changes=(change,))

    def talk(self, machine: Machine, room: RoomId) -> None:
        """Say, change, take back, react, pin, take note, read."""
        chance = self.chance
        said = [w for w in self.book.wishes if w.place == room]
        mine = [w for w in said if w.author == machine.account and (w.ids or w.draft)]
        kind = chance.random()
        if kind < SPEAK or not said:
            self.say_in(machine, room)
        elif kind < 0.60 and mine:
            self.edit(machine, self._recent(mine))
        elif kind < 0.65 and mine:
            self.take_back(machine, self._recent(mine), chance.choice(("delete", "cancel")))
        elif kind < 0.80:
            self._touch(machine, said)
        elif kind < 0.90:
            unread = machine.ledger.views.unread(room, 50)
            ids = tuple(one.hex() for one in unread)
            self.ask(machine, lambda r: happened.ConfirmShown(r, "#" + room.hex(), ids), self._ignored)
        else:
            for _ in range(chance.randint(2, self.burst_of)):
                self.say_in(machine, room)

    def say_in(self, machine: Machine, room: RoomId) -> None:
        """Post into a room, with or without a key, now or later."""
        chance = self.chance
        token = f"zq{len(self.book.wishes):06d}x"
        named = chance.choice((" ", " ", " @room, ", f" @{chance.choice(self.people).name}, "))
        text = token + named + "v" * int(chance.choice((0, 0, 5, 200, 3000)) * chance.random())
        wish = Wish(token, machine.name, machine.account, machine.account, text, place=room)
        self.book.wishes.append(wish)
        key = f"k-{token}" if chance.random() < 0.6 else ""
        wish.key = key
        wait = chance.choice(("", "", "", "delivered", "read"))
        at_ms = machine.clock().wall_ms + chance.randrange(500, 30_000) if chance.random() < 0.06 else None
        near = [w.id for w in self.book.wishes if w.place == room and w.id is not None][-8:]
        ref = chance.choice(near) if near and chance.random() < 0.15 else None
        reply = ref.hex() if ref and self.shows(machine, ref) else ""

        def build(request: int) -> Input:
            return happened.Post(
                request, "#" + room.hex(), text, reply_to=reply, urgent=len(text) % 7 == 0, key=key,
                at_ms=at_ms, wait="" if at_ms else wait, timeout_s=20.0, ack=len(text) % 5 == 0,
            )  # fmt: skip

        def answer(result: object, error: CommandError | None) -> None:
            self._told(machine, wish, result, error)

        self.ask(machine, build, answer, again=bool(key))

    def _told(self, machine: Machine, wish: Wish, result: object, error: CommandError | None) -> None:
        if error is not None:
            law(error.kind in self.expected, f"{wish.token} refused: {error.kind} {error.message}")
            if result is None:
                wish.refused = "" if wish.acked else error.kind
                return
        assert isinstance(result, dict)
        wish.acked, wish.refused = True, ""
        if str(result["id"]).startswith("draft-"):
            wish.draft = str(result["id"])
            return
        event = EventId(bytes.fromhex(str(result["id"])))
        wish.ids[event] = None
        law(machine.ledger.events.get(event) is not None, f"{wish.token} was answered before it was kept")

    def _touch(self, machine: Machine, said: list[Wish]) -> None:
        near = [w for w in said[-8:] if w.id is not None and self.shows(machine, w.id)]
        if not near:
            return
        event = self.chance.choice(near).id
        assert event is not None
        verb = self.chance.choice(("react", "react", "react", "pin", "ack"))
        remove = verb != "ack" and self.chance.random() < 0.3
        value = self.chance.choice(EMOJIS) if verb == "react" else ""
        view = machine.ledger.views.message(event)
        if verb == "ack" and (view is None or view.mine or view.ack_by_ms is None):
            return
        self.ask(
            machine, lambda r: happened.Change(r, verb, event.hex(), value, remove=remove), self._changed
        )

    def _change(
        self, machine: Machine, wish: Wish, one: Try, tries: list[Try], build: Callable[[int], Input]
    ) -> None:
        """As in a direct chat; that the change is everywhere follows from all events being so."""
        if wish.place is None:
            super()._change(machine, wish, one, tries, build)
            return

        def answer(result: object, error: CommandError | None) -> None:
            if error is None:
                one.acked = True
                return
            law(error.kind in self.expected, f"change of {wish.token}: {error.kind} {error.message}")
            tries[:] = [other for other in tries if other is not one]

        self.ask(machine, build, answer)

    def told(self, machine: Machine, tell: Tell) -> None:
        """That a draft was not sent because its author is out by now is no warning to wonder at."""
        if tell.type != "warning" or not isinstance(tell.subject, tuple) or tell.subject[0] != "draft":
            super().told(machine, tell)
