"""What simulated people do: say, change, take back, read, and try again.

Decides: which command is given when, and what its answer means for the book of wishes.
Does not know: faults, or what must hold in the end (tests/kit/laws.py).

A person's program puts a key into a send and repeats it with the same key if the daemon
vanished before it answered (docs/control.md); a send without a key is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.engine.inputs import Input, Tell
from p2pchat.engine.node import Node
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.model import Now
from p2pchat.store.ledger import Ledger
from p2pchat.wire.codec import Record
from tests.kit.laws import Book, Site, Try, Wish, delivered, law, speaks
from tests.kit.persons import Person
from tests.kit.seeds import dice

Answer = Callable[[object, CommandError | None], None]

EXPECTED: Final = ("no_such_target", "already_delivered", "no_right", "timeout")
"""Kinds of refusal an honest mishap can bring; any other is a bug."""
EMOJIS: Final = ("👍", "🎉", "❤")


class Machine(Protocol):
    """A machine of either simulator."""

    name: str
    boot: int
    up: bool
    requests: int

    @property
    def account(self) -> AccountId: ...
    @property
    def device(self) -> DeviceId: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def node(self) -> Node: ...
    def clock(self) -> Now: ...
    def ask(self, build: Callable[[int], Input]) -> int: ...


class Town(Protocol):
    """A simulator: its seed, and its machines by name."""

    seed: int

    @property
    def machines(self) -> Mapping[str, Machine]: ...


class Workload:
    """Everybody's fingers, and the witness of all that machines say and answer."""

    def __init__(self, town: Town, people: list[Person]) -> None:
        self.town, self.people = town, people
        self.chance = dice(town.seed, "people")
        self.book = Book()
        self.open: dict[tuple[str, int], tuple[Answer, Callable[[int], Input] | None]] = {}
        self.expected = EXPECTED
        self.burst_of = 24
        for person in people:
            if len(person.machines) > 1:
                self.book.many[person.account] = None

    # -- witness -----------------------------------------------------------------------------

    def sites(self) -> list[Site]:
        """All machines, as the laws see them."""
        return [
            Site(m.name, m.account, m.device, m.ledger, m.node, m.account in self.book.crooked)
            for m in self.town.machines.values()
        ]

    def _site(self, machine: Machine) -> Site:
        return Site(machine.name, machine.account, machine.device, machine.ledger, machine.node)

    def sent(self, machine: Machine, peer: AccountId, message: Record) -> None:
        """A frame leaves a machine."""
        speaks(self.book, self._site(machine), machine.boot, peer, message)

    def answered(self, machine: Machine, request: int, result: object, error: CommandError | None) -> None:
        """A command is answered."""
        told = self.open.pop((machine.name, request), None)
        law(told is not None, f"{machine.name} answered request {request} twice or unasked: {result!r}")
        if told is not None:
            told[0](result, error)

    def told(self, machine: Machine, tell: Tell) -> None:
        """A remark that is not kept."""
        if tell.type == "warning":
            law(False, f"{machine.name} warns its honest user: {tell.subject!r}")

    def broke(self, machine: Machine, what: str) -> None:
        """A machine took an honest peer for a liar."""
        law(False, f"{machine.name} ends the link of an honest peer: {what}")

    def started(self, machine: Machine) -> None:
        """It is back: what was asked with a key and not answered is asked again."""
        unanswered = [(key, value) for key, value in self.open.items() if key[0] == machine.name]
        for key, (answer, again) in unanswered:
            del self.open[key]
            if again is not None:
                self.ask(machine, again, answer, again=True)

    def ask(
        self, machine: Machine, build: Callable[[int], Input], answer: Answer, *, again: bool = False
    ) -> None:
        """Give a command; `again`: give it anew if the machine dies before it answers."""
        self.open[machine.name, machine.requests + 1] = (answer, build if again else None)
        machine.ask(build)

    # -- doing ---------------------------------------------------------------------------------

    def act(self) -> None:
        """Somebody does something."""
        up = [m for m in self.town.machines.values() if m.up]
        if not up:
            return
        machine = self.chance.choice(up)
        kind = self.chance.random()
        mine = [w for w in self.book.wishes if w.author == machine.account and (w.ids or w.draft)]
        if kind < 0.55 or not self.book.wishes:
            self.say(machine)
        elif kind < 0.65 and mine:
            self.edit(machine, self._recent(mine))
        elif kind < 0.70 and mine:
            self.take_back(machine, self._recent(mine), "delete")
        elif kind < 0.75 and mine:
            self.take_back(machine, self._recent(mine), "cancel")
        elif kind < 0.87:
            self.react(machine)
        elif kind < 0.95:
            self.read(machine)
        else:
            self.burst(machine)

    def _recent(self, wishes: list[Wish]) -> Wish:
        return self.chance.choice(wishes[-6:])

    def burst(self, machine: Machine) -> None:
        """A paste, or a script: many messages at once, which share a batch and a signature."""
        peer = self._peer(machine)
        for _ in range(self.chance.randint(2, self.burst_of)):
            self.say(machine, peer)

    def _peer(self, machine: Machine) -> Person:
        return self.chance.choice([p for p in self.people if p.account != machine.account])

    def say(self, machine: Machine, peer: Person | None = None) -> None:
        """Post, with or without a key, now or later."""
        peer = peer or self._peer(machine)
        chance = self.chance
        token = f"zq{len(self.book.wishes):06d}x"
        named = f" @{peer.name}, " if chance.random() < 0.1 else " "
        text = token + named + "v" * int(chance.choice((0, 0, 5, 200, 3000, 9000)) * chance.random())
        wish = Wish(token, machine.name, machine.account, peer.account, text)
        self.book.wishes.append(wish)
        key = f"k-{token}" if chance.random() < 0.6 else ""
        wish.key = key
        wait = chance.choice(("", "", "", "delivered", "read"))
        at_ms = None
        if chance.random() < 0.08:
            at_ms = machine.clock().wall_ms + chance.randrange(500, 30_000)
            wish.due_ms = at_ms
        two = {wish.author, wish.peer}
        said = [w for w in self.book.wishes if {w.author, w.peer} == two and w.id is not None]
        ref = chance.choice(said[-8:]).id if said and chance.random() < 0.15 else None
        reply = ref.hex() if ref and self.shows(machine, ref) else ""

        def build(request: int) -> Input:
            return happened.Post(
                request, peer.account.hex(), text, reply_to=reply, urgent=len(text) % 7 == 0, key=key,
                at_ms=at_ms, wait="" if at_ms else wait, timeout_s=20.0,
            )  # fmt: skip

        def answer(result: object, error: CommandError | None) -> None:
            self._said(machine, wish, result, error)

        self.ask(machine, build, answer, again=bool(key))
        if key and chance.random() < 0.15:  # the script is run twice
            self.ask(machine, build, answer, again=True)

    def shows(self, machine: Machine, event: EventId) -> bool:
        """Whether the machine shows this message: its user can only answer what he sees."""
        view = machine.ledger.views.message(event)
        return view is not None and not view.hidden and not view.deleted

    def _said(self, machine: Machine, wish: Wish, result: object, error: CommandError | None) -> None:
        if error is not None:
            law(error.kind in self.expected, f"{wish.token} refused: {error.kind} {error.message}")
            law(
                (error.kind == "timeout") == (result is not None), f"{wish.token}: {error.kind} says {result}"
            )
            if error.kind == "internal":
                return  # it broke there: done or not, nothing is promised
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
        if result["state"] in ("delivered", "read"):
            there = delivered(self.sites(), wish.room, wish.author, event)
            law(there, f"{wish.token} is told to be {result['state']} and nobody has it")

    def edit(self, machine: Machine, wish: Wish) -> None:
        """Say it differently."""
        one = Try(f"{wish.token} edited {len(wish.edits)} " + "w" * self.chance.randrange(400))
        wish.edits.append(one)
        ref = wish.id.hex() if wish.id else wish.draft
        self._change(machine, wish, one, wish.edits, lambda r: happened.Change(r, "edit", ref, one.value))

    def take_back(self, machine: Machine, wish: Wish, verb: str) -> None:
        """Delete it, or cancel it while nobody has it."""
        one = Try(verb)
        wish.deletes.append(one)
        ref = wish.id.hex() if wish.id else wish.draft
        if verb == "cancel":
            self._change(machine, wish, one, wish.deletes, lambda r: happened.CancelQueued(r, ref))
        else:
            self._change(machine, wish, one, wish.deletes, lambda r: happened.Change(r, "delete", ref))

    def react(self, machine: Machine) -> None:
        """Put an emoji on something one sees, take it off, or pin it."""
        near = [w for w in self.book.wishes if machine.account in (w.author, w.peer) and w.id is not None]
        if not near:
            return
        wish = self._recent(near)
        event = wish.id
        if event is None or not self.shows(machine, event):
            return
        remove = self.chance.random() < 0.3
        if self.chance.random() < 0.2:
            pin = Try("pin", remove=remove)
            ref = event.hex()
            self._change(machine, wish, pin, [pin], lambda r: happened.Change(r, "pin", ref, remove=remove))
            return
        emoji = self.chance.choice(EMOJIS)
        one = Try(emoji, remove=remove)
        tries = wish.reactions.setdefault((machine.account, emoji), [])
        tries.append(one)
        self._change(
            machine, wish, one, tries,
            lambda r: happened.Change(r, "react", event.hex(), emoji, remove=remove),
        )  # fmt: skip

    def _change(
        self, machine: Machine, wish: Wish, one: Try, tries: list[Try], build: Callable[[int], Input]
    ) -> None:
        def answer(result: object, error: CommandError | None) -> None:
            if error is not None:
                law(error.kind in self.expected, f"change of {wish.token}: {error.kind} {error.message}")
                if error.kind == "internal":
                    return
                tries[:] = [other for other in tries if other is not one]  # it never was
                return
            assert isinstance(result, dict)
            one.acked = True
            if not str(result["id"]).startswith("draft-"):
                event = EventId(bytes.fromhex(str(result["id"])))
                self.book.changes.append((machine.name, wish.room, event))

        self.ask(machine, build, answer)

    def _ignored(self, result: object, error: CommandError | None) -> None:
        """Reading and setting change nothing that a law asks about here."""
        law(error is None or error.kind in self.expected, f"reading refused: {error}")

    def read(self, machine: Machine) -> None:
        """Look at what somebody wrote; sometimes change one's mind about telling so."""
        if self.chance.random() < 0.2:
            told = self.chance.random() < 0.7
            self.ask(machine, lambda r: happened.Configure(r, told), self._ignored)
        peer = self._peer(machine)
        room = rooms.direct_id(machine.account, peer.account)
        unread = machine.ledger.views.unread(room, 50)
        if unread:
            ids = tuple(one.hex() for one in unread)
            self.ask(machine, lambda r: happened.ConfirmShown(r, peer.account.hex(), ids), self._ignored)
