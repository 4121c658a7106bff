"""A stage for engine tests: people whose nodes talk to each other at once.

Every effect is carried out immediately and in order, so a test reads as a small play:
Alice posts, the cable is cut, Bob posts, the cable is joined, all agree. Time moves only
when the play says so. For chances, loss and crashes see the simulators (tests/kit).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine import inputs as happened
from p2pchat.engine import overview, rooms
from p2pchat.engine.accounts import device_id, make_genesis, make_statement, read_statement
from p2pchat.engine.context import Me, ViewSizes
from p2pchat.engine.file_inputs import FILE_EFFECTS, FileEffect
from p2pchat.engine.inputs import CloseLink, Dial, Effect, Refuse, Reply, Send, SetTimer, Tell
from p2pchat.engine.links import OPEN_OFFICE_KEY
from p2pchat.engine.node import Node
from p2pchat.errors import CommandError, P2pchatError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import Now
from p2pchat.store.ledger import Ledger
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import decode_frame, encode_frame
from p2pchat.wire.messages.statements import ADD, DeviceKeys, SignedStatement

EPOCH_MS = 1_700_000_000_000


class Dice:
    """Randomness that a name repeats."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name.encode(), 0

    def bytes(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            self._count += 1
            out += hashlib.blake2b(self._count.to_bytes(8, "big"), key=self._name[:64]).digest()
        return out[:count]

    def random(self) -> float:
        return int.from_bytes(self.bytes(6), "big") / 2**48


class Actor:
    """One person with one machine."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        open_ledger: Callable[[], Ledger],
        *,
        lobby: bool = False,
        of: Actor | None = None,
        stated: Callable[[DeviceKeys], tuple[SignedStatement, ...]] | None = None,
        sizes: ViewSizes | None = None,
        named: bool = True,
    ) -> None:
        """`of`: this is a further machine of that person, who states so; `stated`: of whom these prove.
        Without `named` the keys are those of `name`, and what they are called is left to those who know."""
        dice = Dice(name)
        signing, noise, recovery = dice.bytes(32), dice.bytes(32), dice.bytes(32)
        public, key = ed25519_keypair(signing)
        signed: tuple[SignedStatement, ...]
        if stated is not None:
            signed = stated(DeviceKeys(public, x25519_public(noise)))
            account = read_statement(signed[-1]).account
        elif of is None:
            signed = (make_genesis(signing, x25519_public(noise), ed25519_keypair(recovery)[0]),)
            account = read_statement(signed[0]).account
        else:
            account, last = of.account, read_statement(of.me.statements[-1]).id
            subject = DeviceKeys(public, x25519_public(noise))
            added = make_statement(of.me.signing_seed, account, (last,), ADD, subject)
            signed = (*of.me.statements, added)
        self.me = Me(account, device_id(account, public), signing, key, x25519_public(noise), signed)
        self.stage, self.name, self.recovery = stage, name, recovery
        self.ledger = open_ledger()
        office = OPEN_OFFICE_KEY if lobby else None
        called = name if named else ""
        self.node = Node(
            self.me, self.ledger, dice, name=called, label=name, keep_name=not named, office_key=office,
            sizes=sizes,
        )  # fmt: skip
        self.answers: dict[int, object] = {}
        self.told: list[Tell] = []
        self.timers: dict[str, float] = {}
        self.sent: list[Record] = []
        self.closed: list[str] = []
        self.moves: list[FileEffect] = []  # what is asked of who moves the bytes of files
        self.skew_ms = 0
        self.feed(happened.Started(26700))

    @property
    def account(self) -> AccountId:
        return self.me.account

    @property
    def device(self) -> DeviceId:
        return self.me.device

    def now(self) -> Now:
        return Now(EPOCH_MS + round(self.stage.mono * 1000) + self.skew_ms, self.stage.mono)

    def feed(self, *events: happened.Input) -> None:
        """One batch, then its effects."""
        self.node.begin()
        self.ledger.begin()
        try:
            effects: list[Effect] = []
            for event in events:
                effects += self.node.handle(event, self.now())
            effects += self.node.close_batch(self.now())
            self.ledger.commit()
            self._nobody_is_missed()
        except P2pchatError as error:
            self.ledger.rollback()
            self.node.undo()
            self.node.forget()
            if len(events) > 1:
                for event in events:
                    self.feed(event)
                return
            self._failed(events[0], error)
            return
        for effect in effects:
            self._perform(effect)

    def _nobody_is_missed(self) -> None:
        """What is remembered of who is here in a room is what would be found anew."""
        ctx = self.node.context(self.now())
        links = [ctx.live.links[number] for number in ctx.live.by_device.values()]
        for room in ctx.cache.rooms.values():
            found = [link.link for link in links if link.account in room.graph.members]
            known = [link.link for link in rooms.links_of(ctx, room)]
            assert known == found, f"{self.name}, {room.row.name!r}"

    def _failed(self, event: happened.Input, error: P2pchatError) -> None:
        if isinstance(error, CommandError):
            self.answers[event.request] = error  # type: ignore[union-attr]
        elif isinstance(error, RemoteProtocolError):
            self._perform(CloseLink(event.link, error.reason))  # type: ignore[union-attr]
        else:
            raise error

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send(link, message):
                self.sent.append(message)
                self.stage.carry(self, link, message)
            case CloseLink(link, reason):
                self.closed.append(reason)
                self.stage.hang_up(link)
            case Reply(request, result):
                self.answers[request] = result
            case Refuse(request, error, _):
                self.answers[request] = error
            case SetTimer(name, None):
                self.timers.pop(name, None)
            case SetTimer(name, at) if at is not None:
                self.timers[name] = at
            case Tell():
                self.told.append(effect)
            case Dial():
                self.stage.dials.append((self, effect))
            case _ if isinstance(effect, FILE_EFFECTS):
                self.moves.append(effect)

    # -- what a person does ----------------------------------------------------------------

    def ask(self, command: Callable[[int], happened.Input]) -> object:
        """Carry out a command built from its request number; its answer, if there is one yet."""
        self.stage.requests += 1
        request = self.stage.requests
        self.feed(command(request))
        self.stage.settle()
        return self.answers.get(request)

    def do(self, command: Callable[[int], happened.Input]) -> dict[str, object]:
        """`ask`, where the answer must be a success."""
        answer = self.ask(command)
        if isinstance(answer, CommandError):
            raise answer
        assert isinstance(answer, dict), answer
        return answer

    def refused(self, command: Callable[[int], happened.Input]) -> CommandError:
        """`ask`, where the answer must be a refusal."""
        answer = self.ask(command)
        assert isinstance(answer, CommandError), answer
        return answer

    def say(self, whom: Actor, text: str, **more: object) -> str:
        """Post; the id of what was said."""
        answer = self.do(lambda r: happened.Post(r, whom.me.account.hex(), text, **more))  # type: ignore[arg-type]
        return str(answer["id"])

    def change(self, verb: str, ref: str, value: str = "", **more: object) -> dict[str, object]:
        """Edit, delete, react or pin."""
        return self.do(lambda r: happened.Change(r, verb, ref, value, **more))  # type: ignore[arg-type]

    def write(self, act: Callable[[overview.Context], None]) -> None:
        """Something no command does, in a batch of its own: a rogue's event."""
        self.ledger.begin()
        ctx = self.node.context(self.now())
        act(ctx)
        effects = [*ctx.out, *self.node.close_batch(self.now())]
        self.ledger.commit()
        for effect in effects:
            self._perform(effect)

    def look(self) -> overview.Context:
        return self.node.look(self.now())


class Stage:
    """Where they meet."""

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        self._open = open_ledger
        self.mono = 1000.0
        self.requests = 0
        self.links: dict[
            int, tuple[Actor, Actor, int]
        ] = {}  # number at one end: (end, other end, its number)
        self.numbers = 0
        self.mail: deque[tuple[int, bytes]] = deque()
        self.dials: list[tuple[Actor, Dial]] = []
        self.dropped = 0

    def actor(
        self,
        name: str,
        *,
        lobby: bool = False,
        of: Actor | None = None,
        stated: Callable[[DeviceKeys], tuple[SignedStatement, ...]] | None = None,
        sizes: ViewSizes | None = None,
        named: bool = True,
    ) -> Actor:
        return Actor(self, name, self._open, lobby=lobby, of=of, stated=stated, sizes=sizes, named=named)

    def join(self, one: Actor, other: Actor, dial: int | None = None, *, settled: bool = True) -> None:
        """A handshake between two machines, dialled by `one`; what they say waits unless `settled`."""
        self.numbers += 2
        a, b = self.numbers - 1, self.numbers
        self.links[a], self.links[b] = (one, other, b), (other, one, a)
        for end, far, number, first in ((one, other, a, True), (other, one, b, False)):
            hello = overview.hello(far.look())
            up = happened.LinkUp(
                number, far.device, far.account, hello.statements, hello.registers, first,
                f"192.0.2.{len(far.name)}", 26700, b"h" * 64, far.now().wall_ms, dial if first else None,
            )  # fmt: skip
            end.feed(up)
        if settled:
            self.settle()

    def carry(self, sender: Actor, link: int, message: Record) -> None:
        if link in self.links:
            self.mail.append((self.links[link][2], encode_frame(message)))

    def settle(self) -> None:
        """Until nobody has anything left to say."""
        while self.mail:
            self.deliver_one()

    def deliver_one(self) -> None:
        """The oldest letter under way arrives."""
        number, raw = self.mail.popleft()
        if number in self.links:
            self.links[number][0].feed(happened.FromPeer(number, decode_frame(raw)))
        else:
            self.dropped += 1

    def hang_up(self, number: int) -> None:
        if number not in self.links:
            return
        one, other, far = self.links.pop(number)
        self.links.pop(far)
        one.feed(happened.LinkDown(number, "closed"))
        other.feed(happened.LinkDown(far, "closed"))

    def cut(self) -> None:
        """Every cable is pulled; what was under way is lost."""
        self.mail.clear()
        for number in list(self.links):
            self.hang_up(number)

    def wait(self, seconds: float) -> None:
        """Time passes, timers ring."""
        until = self.mono + seconds
        actors = {id(a): a for pair in self.links.values() for a in pair[:2]}
        known = list(actors.values())
        while True:
            due = [(at, name, a) for a in known for name, at in a.timers.items() if at <= until]
            if not due:
                break
            at, name, actor = min(due, key=lambda one: (one[0], one[1], one[2].name))
            self.mono = max(self.mono, at)
            del actor.timers[name]
            actor.feed(happened.TimerFired(name))
            self.settle()
        self.mono = until
