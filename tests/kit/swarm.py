"""Many machines in one process, without trio: engines and real archives on a heap of time.

Decides: when each machine turns its inbox into a batch, what a crash leaves behind, who
sights and dials whom. Does not know: what is said (tests/sim/scenarios.py) or what must
hold (laws.py, told of everything that leaves a machine).

A machine is what the daemon's runner is: begin, handle, close the batch, commit, and only
then the effects. A crash rolls back what was not committed and opens the archive again
from its image; effects between commit and sending may be lost. The heap holds
(time, order, act); an input lies in its machine's inbox until the machine takes it.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable
from typing import Final, Protocol

from p2pchat.engine import inputs as happened
from p2pchat.engine.context import Context, Me, ViewSizes
from p2pchat.engine.file_inputs import FILE_EFFECTS
from p2pchat.engine.inputs import CloseLink, Dial, Effect, Input, Refuse, Reply, Send, SetTimer, Tell
from p2pchat.engine.node import Node
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import Now
from p2pchat.store.ledger import MEMORY, Ledger, open_image, open_ledger
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Events, decode_frame, encode_frame
from tests.kit.cables import Cable, End, Way, Weather
from tests.kit.false_mover import Mover
from tests.kit.greetings import hello, link_up
from tests.kit.persons import Person
from tests.kit.seeds import SeededEntropy, Trace, dice

EPOCH_MS: Final = 1_700_000_000_000
PORT: Final = 26_700
DIAL_S: Final = 5.0
SIGHT_GONE_S: Final = 75.0
FRAMES_READ: Final = 4096
"""Frames remembered as read: what was said to many is read once."""
FEW_CABLES: Final = 1000
"""Of more, those that are over are not taken out with every new one."""
OFFICE_TAG: Final = b"\x01" * 8


class Witness(Protocol):
    """Who watches: told after the commit, before anything reaches anybody."""

    def sent(self, machine: Machine, peer: AccountId, message: Record) -> None: ...
    def answered(
        self, machine: Machine, request: int, result: object, error: CommandError | None
    ) -> None: ...
    def told(self, machine: Machine, tell: Tell) -> None: ...
    def broke(self, machine: Machine, what: str) -> None: ...
    def started(self, machine: Machine) -> None: ...


class Machine:
    """One simulated computer with one daemon."""

    def __init__(self, swarm: Swarm, name: str, me: Me, address: str, person: str) -> None:
        self.swarm, self.name, self.me, self.address, self.person = swarm, name, me, address, person
        self.chance = dice(swarm.seed, "machine", name)
        self.ledger: Ledger = open_ledger(MEMORY)
        self.boot = 0
        self.up = False
        self.ready = False
        self.skew_ms = 0
        self.lag_s = 0.003  # how long inputs lie before a batch takes them
        self.at_once = 5.0  # how many a batch takes, in the mean
        self.requests = 0
        self.refused = 0  # the link whose frame broke a rule last
        self.mover: Mover | None = None  # who moves the bytes of files, if anybody does
        self._fresh()

    def _fresh(self) -> None:
        self.ready = False
        if self.mover is not None:
            self.mover.fresh()
        self.inbox: list[Input] = []
        self.pending: list[Effect] = []
        self.busy = False
        self.links: dict[int, tuple[Cable, End]] = {}
        self.link_count = 0
        self.timers: dict[str, float] = {}
        self.born = self.swarm.now
        self.label = f"{self.name}-{self.boot}-{self.chance.randrange(1 << 30):08x}"
        entropy = SeededEntropy(self.swarm.seed, self.name, self.boot)
        self.node = Node(
            self.me, self.ledger, entropy, name=self.person, label=self.label, sizes=self.swarm.sizes
        )

    @property
    def device(self) -> DeviceId:
        return self.me.device

    @property
    def account(self) -> AccountId:
        return self.me.account

    def clock(self) -> Now:
        """Its own two clocks: one may be wrong, the other begins anew with every boot."""
        swarm = self.swarm
        wall = EPOCH_MS + round(swarm.now * 1000) + self.skew_ms
        return Now(wall, 7.0 + swarm.now - self.born)

    def look(self) -> Context:
        """What the node knows between two batches."""
        return self.node.look(self.clock())

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch it on."""
        self.boot += 1
        self._fresh()
        self.up = True
        self.post(happened.NetworkChanged((self.address,)))
        self.post(happened.Started(PORT))
        self.swarm.announce(self)
        self.swarm.witness.started(self)

    def crash(self, *, quietly: bool = False) -> None:
        """It dies now: in the middle of a batch, or of carrying out what one decided."""
        self.swarm.note(self.name, "crash" + (" quietly" if quietly else ""))
        for effect in self.pending[: self.chance.randrange(len(self.pending) + 1)]:
            self._perform(effect)
        self.pending = []
        if self.inbox:
            self.ledger.begin()
            some = self.inbox[: 1 + self.chance.randrange(len(self.inbox))]
            if all(self._try(event) is not None for event in some) and self.chance.random() < 0.5:
                self.node.close_batch(self.clock())
            self.ledger.rollback()
        self.swarm.forgotten(self)
        self._off(quietly=quietly, tail_lost=self.chance.random() < 0.5)

    def stop(self) -> None:
        """It is told to stop, says what there is to say and closes its links."""
        self.swarm.note(self.name, "stop")
        self._carry_out()
        self.inbox.append(happened.Stopping())
        while self.inbox:
            self._batch(len(self.inbox))
            self._carry_out()
        for number in list(self.links):
            self._perform(CloseLink(number, "bye"))
        self.swarm.withdraw(self)
        self._off(quietly=False, tail_lost=False)

    def _off(self, *, quietly: bool, tail_lost: bool) -> None:
        self.up = False
        for cable in list(self.swarm.cables):
            for end in cable.ends:
                if end.host is self and end.alive:
                    cable.crashed(end, quietly=quietly, tail_lost=tail_lost)
        self.boot += 1  # whatever was planned for the run before is void
        image = self.ledger.serialize()
        self.ledger.close()
        self.ledger = open_image(image)
        self._fresh()

    # -- inbox and batches ---------------------------------------------------------------------

    def post(self, event: Input) -> None:
        """Something has happened."""
        self.inbox.append(event)
        if not self.busy:
            self.busy = True
            self.soon(self.chance.random() * self.lag_s, self._turn)

    def ask(self, build: Callable[[int], Input]) -> int:
        """A command, built from its request number."""
        self.requests += 1
        self.post(build(self.requests))
        return self.requests

    def soon(self, delay: float, act: Callable[[], None]) -> None:
        """Do `act` in a while, unless it is another run by then."""
        boot = self.boot

        def unless_restarted() -> None:
            if self.boot == boot:
                act()

        self.swarm.later(delay, unless_restarted)

    def _turn(self) -> None:
        most = min(len(self.inbox), 1 + int(self.chance.expovariate(1.0 / self.at_once)))
        self._batch(most)
        self.soon(self.chance.random() * self.lag_s, self._after)

    def _after(self) -> None:
        self._carry_out()
        if self.inbox:
            self.soon(0.0, self._turn)
        else:
            self.busy = False

    def _carry_out(self) -> None:
        effects, self.pending = self.pending, []
        for effect in effects:
            self._perform(effect)

    def _batch(self, count: int) -> None:
        """One transaction over the first `count` inputs; if one is refused, each alone."""
        events, self.inbox = self.inbox[:count], self.inbox[count:]
        if not self._transact(events):
            for event in events:
                self._transact([event])

    def _transact(self, events: list[Input]) -> bool:
        self.node.begin()
        self.ledger.begin()
        effects: list[Effect] = []
        for event in events:
            self.swarm.trace.note(self.swarm.now, self.name, type(event).__name__)
            done = self._try(event)
            if done is None:
                self.ledger.rollback()
                self.node.undo()
                self.node.forget()
                if len(events) == 1:
                    self._refuse(event)
                return len(events) == 1
            effects += done
        effects += self.node.close_batch(self.clock())
        self.ledger.commit()
        self.ready = True  # from its first batch on it listens
        self.pending += effects
        return True

    def _try(self, event: Input) -> list[Effect] | None:
        self._error: CommandError | RemoteProtocolError | None = None
        try:
            return self.node.handle(event, self.clock())
        except (CommandError, RemoteProtocolError) as error:
            self._error = error
            return None

    def _refuse(self, event: Input) -> None:
        error = self._error
        if isinstance(error, RemoteProtocolError):
            self.refused = event.link  # type: ignore[union-attr]
            self.swarm.witness.broke(self, f"{type(event).__name__}: {error.reason}")
            self.pending.append(CloseLink(event.link, error.reason))  # type: ignore[union-attr]
        elif isinstance(error, CommandError):
            self.pending.append(Refuse(event.request, error))  # type: ignore[union-attr]

    # -- effects -------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        swarm = self.swarm
        match effect:
            case Send(link, message):
                if link in self.links:
                    cable, end = self.links[link]
                    far = cable.ends[1] if end is cable.ends[0] else cable.ends[0]
                    swarm.witness.sent(self, swarm.machines[far.host.name].account, message)
                    cable.send(end, message)
            case CloseLink(link, reason):
                swarm.note(self.name, f"close {reason}")
                if link in self.links:
                    cable, end = self.links[link]
                    cable.hang_up(end, reason)
            case Dial(dial, host, port):
                swarm.dialled(self, dial, host, port)
            case SetTimer(name, None):
                self.timers.pop(name, None)
            case SetTimer(name, at) if at is not None:
                self.timers[name] = at
                wait = max(0.0, at - self.clock().mono)
                self.soon(wait, lambda: self._ring(name, at))
            case Reply(request, result) if request < 0 and self.mover is not None:
                self.mover.answered(request, result)
            case Reply(request, result):
                swarm.witness.answered(self, request, result, None)
            case Refuse(request, error, result):
                swarm.witness.answered(self, request, result, error)
            case Tell():
                swarm.witness.told(self, effect)
            case _ if isinstance(effect, FILE_EFFECTS) and self.mover is not None:
                self.mover.perform(effect)

    def _ring(self, name: str, at: float) -> None:
        if self.timers.get(name) == at:
            del self.timers[name]
            self.post(happened.TimerFired(name))

    # -- its links, as cables see them -----------------------------------------------------------

    def attach(self, cable: Cable, end: End, up: happened.LinkUp) -> None:
        """A handshake is complete."""
        self.links[end.number] = (cable, end)
        self.post(up)

    def next_link(self) -> int:
        """The number of a new link."""
        self.link_count += 1
        return self.link_count

    def heard(self, number: int, message: Record, raw: bytes) -> None:
        """A frame for the engine."""
        checked = None
        if isinstance(message, Events) and self.chance.random() < 0.5:  # looked at before the inbox
            checked = tuple(i for i, event in enumerate(message.events) if _signed(event))
        self.swarm.trace.note(self.swarm.now, self.name, f"hears {type(message).__name__}", raw)
        self.post(happened.FromPeer(number, message, checked))

    def gone(self, number: int, reason: str) -> None:
        """A link is over."""
        if self.links.pop(number, None) is not None:
            self.post(happened.LinkDown(number, reason))

    def drained(self, number: int) -> None:
        """A link that was behind has room again."""
        self.post(happened.LinkDrained(number))


def _signed(event: Event) -> bool:
    return bool(event.signature)


class Swarm:
    """The heap of time, the wires, and everybody on them."""

    def __init__(self, seed: int, weather: Weather, trace: Trace) -> None:
        self.seed, self.weather, self.trace = seed, weather, trace
        self.chance = dice(seed, "wires")
        self.now = 0.0
        self.order = 0
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.machines: dict[str, Machine] = {}
        self.by_address: dict[str, Machine] = {}
        self.sizes: ViewSizes | None = None  # of crowded rooms, if not those of the protocol
        self.cables: list[Cable] = []
        self.decoded = functools.lru_cache(FRAMES_READ)(decode_frame)  # a record is never changed
        self._said: tuple[Record, bytes] | None = None
        self.swept = 0  # cables left when those that are over were last taken out
        self.cut: dict[tuple[str, str], None] = {}
        self.witness: Witness
        self.fullest = 0
        self.frames = 0

    def add(self, person: Person, index: int, kind: type[Machine] = Machine) -> Machine:
        """One machine of `person`, switched off."""
        name = person.name if index == 0 else f"{person.name}.{index + 1}"
        address = "198.18.{}.{}".format(*divmod(len(self.machines) + 1, 256))  # nobody dials 192.0.2.256
        machine = kind(self, name, person.machines[index], address, person.name)
        self.machines[name] = self.by_address[address] = machine
        return machine

    # -- time --------------------------------------------------------------------------------

    def later(self, delay: float, act: Callable[[], None]) -> None:
        """Do `act` in `delay` virtual seconds; of equal times in the order of asking."""
        self.order += 1
        heapq.heappush(self.heap, (self.now + delay, self.order, act))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self.heap and self.heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self.heap)
            act()
        self.now = until

    def encoded(self, message: Record) -> bytes:
        """A frame in its bytes; the same record said to many at once is encoded once."""
        if self._said is None or self._said[0] is not message:
            self._said = (message, encode_frame(message))
        return self._said[1]

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        self.trace.note(self.now, who, what)

    # -- sighting ----------------------------------------------------------------------------

    def reaches(self, source: Machine, target: Machine) -> bool:
        """Whether what `source` sends now could arrive."""
        return source.up and target.up and (source.name, target.name) not in self.cut

    def others(self, machine: Machine) -> list[Machine]:
        """Everybody else."""
        return [other for other in self.machines.values() if other is not machine]

    def announce(self, machine: Machine) -> None:
        """Others sight it, and it sights others."""
        for other in self.others(machine):
            self._sight(machine, other)
            self._sight(other, machine)

    def _sight(self, seen: Machine, by: Machine) -> None:
        seen_boot, by_boot = seen.boot, by.boot

        def arrives() -> None:
            if (seen.boot, by.boot) == (seen_boot, by_boot) and self.reaches(seen, by):
                by.post(happened.Sighted(seen.label, (seen.address,), PORT, (OFFICE_TAG,)))

        self.later(0.02 + 0.3 * self.chance.random(), arrives)

    def withdraw(self, machine: Machine) -> None:
        """Its announcement is taken back, for those who hear it."""
        for other in self.others(machine):
            if self.reaches(machine, other):
                other.post(happened.Lost(machine.label))

    def forgotten(self, machine: Machine) -> None:
        """It went without a word: others forget its announcement when that runs out."""
        label = machine.label
        gone = [(other, other.boot) for other in self.others(machine) if other.up]

        def runs_out() -> None:
            for other, boot in gone:
                if other.boot == boot and other.up:
                    other.post(happened.Lost(label))

        self.later(SIGHT_GONE_S, runs_out)

    # -- connecting ----------------------------------------------------------------------------

    def dialled(self, machine: Machine, dial: int, host: str, port: int) -> None:
        """A dial: two hellos cross after a while, or it fails in one of net.lan's words."""
        boot = machine.boot
        target = self.by_address.get(host)

        def fail(reason: str) -> None:
            if machine.boot == boot:
                machine.post(happened.DialFailed(dial, reason))

        if target is None or not target.up:
            self.later(3.0, lambda: fail("host_down"))
        elif (machine.name, target.name) in self.cut or (target.name, machine.name) in self.cut:
            self.later(DIAL_S, lambda: fail("timeout"))
        elif port != PORT:
            self.later(0.001, lambda: fail("port_closed"))
        else:
            there = target
            self.later(
                0.002 + self.weather.delay_s * self.chance.random(),
                lambda: self._shake(machine, boot, there, dial, fail),
            )

    def _shake(
        self, machine: Machine, boot: int, target: Machine, dial: int, fail: Callable[[str], None]
    ) -> None:
        if machine.boot != boot:
            return
        if not (self.reaches(machine, target) and self.reaches(target, machine)):
            fail("timeout")
            return
        if not target.ready:
            fail("port_closed")
            return
        first = End(machine, machine.boot, machine.next_link())
        second = End(target, target.boot, target.next_link())
        cable = Cable(self, self.chance, self.weather, first, second)
        if len(self.cables) < FEW_CABLES or len(self.cables) > 2 * self.swept:
            self.cables = [old for old in self.cables if not old.over]
            self.swept = len(self.cables)
        self.cables.append(cable)
        shared = self.chance.randbytes(64)
        ours, theirs = hello(machine), hello(target)
        machine.attach(cable, first, link_up(first.number, target, theirs, shared, dial))
        # The third message of the handshake is the first thing that travels.
        up = link_up(second.number, machine, ours, shared, None)
        cable.ways[0].send(lambda: target.attach(cable, second, up))

    # -- faults ----------------------------------------------------------------------------------

    def block(self, source: str, target: str) -> None:
        """Nothing passes from `source` to `target` any more."""
        self.note(source, f"cut off from {target}")
        self.cut[source, target] = None
        for way in self._ways(source, target):
            way.block()

    def unblock(self, source: str, target: str) -> None:
        """It passes again, and both see each other's announcements."""
        if self.cut.pop((source, target), 0) is None:
            self.note(source, f"joined to {target}")
            for way in self._ways(source, target):
                way.unblock()
            self._sight(self.machines[source], self.machines[target])

    def _ways(self, source: str, target: str) -> list[Way]:
        ends = (self.machines[source], self.machines[target])
        ways = (way for cable in self.cables for way in cable.ways)
        return [way for way in ways if (way.source.host, way.target.host) == ends]

    def close(self) -> None:
        """Give all archives back."""
        for machine in self.machines.values():
            machine.ledger.close()
