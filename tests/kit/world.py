"""Whole daemons in one process: real links, runner and archive, a fake LAN, a mock clock.

Decides: how a daemon is started, killed and started again from what it had committed, and
what of it can be watched or spoiled. Does not know: what is said, or what must hold.

Run under `repeatable_trio` and a MockClock with autojump: nothing here waits for real
time, and nothing runs in threads, which such a clock does not see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio

from p2pchat.daemon.core import Daemon, Parts
from p2pchat.daemon.identity import Identity
from p2pchat.engine.inputs import CloseLink, Command, Effect, Input, Send, Tell
from p2pchat.engine.node import Node
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import Now
from p2pchat.store.ledger import MEMORY, Ledger, open_image, open_ledger
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import encode_frame
from tests.kit.fake_lan import FakeLan
from tests.kit.persons import Person
from tests.kit.seeds import SeededEntropy, Trace, dice

EPOCH_MS: Final = 1_700_000_000_000
HONEST_ENDS: Final = ("duplicate", "self", "stopping", "restart", "refused")
"""Reasons for which a daemon may end the link of an honest peer."""
STOP_WITHIN_S: Final = 12.0


class Witness(Protocol):
    """Who watches; see swarm.Witness. `peer` is the account at the other end."""

    def sent(self, machine: Resident, peer: AccountId, message: Record) -> None: ...
    def answered(
        self, machine: Resident, request: int, result: object, error: CommandError | None
    ) -> None: ...
    def told(self, machine: Resident, tell: Tell) -> None: ...
    def broke(self, machine: Resident, what: str) -> None: ...
    def started(self, machine: Resident) -> None: ...


class KeptLedger(Ledger):
    """An archive in memory whose last committed image outlives it, as a disk would."""

    def __init__(self, disk: Disk) -> None:
        inner = open_image(disk.image) if disk.image else open_ledger(MEMORY)
        super().__init__(inner.connection, MEMORY)
        self._disk = disk

    def close(self) -> None:
        """What was not committed is lost, the rest is kept."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._disk.image = self.connection.serialize()
        super().close()


class Disk:
    """What is left of a daemon while it does not run."""

    def __init__(self) -> None:
        self.image = b""


class WatchedNode(Node):
    """A node that breaks once, at an input chosen before."""

    resident: Resident

    def handle(self, event: Input, now: Now) -> list[Effect]:
        """As Node; the input that was chosen meets a bug."""
        resident = self.resident
        resident.inputs += 1
        resident.note(type(event).__name__)
        if resident.inputs == resident.throw_at:
            raise RuntimeError("a bug, put in by the test")
        return super().handle(event, now)


class WatchedDaemon(Daemon):
    """A daemon whose effects are seen before they are carried out."""

    def __init__(self, parts: Parts, resident: Resident) -> None:
        self.resident = resident
        super().__init__(parts)

    def _source(self) -> tuple[Node, Ledger]:
        ledger = self.parts.open_ledger()
        node = WatchedNode(
            self.parts.identity.me, ledger, self.parts.entropy, name=self.parts.name, label=self.label
        )
        node.resident = self.resident
        return node, ledger

    def perform(self, effect: Effect) -> None:
        """Tell the witness first."""
        self.resident.performs(effect, self)
        super().perform(effect)


class Resident:
    """One person's machine in the world."""

    def __init__(self, world: World, person: Person, place: int) -> None:
        self.world, self.name = world, person.name
        self.me = person.machines[0]
        self.identity = Identity(self.me, person.noise_secrets[0], b"", Path("nowhere"), fresh=True)
        self.address = f"10.0.0.{place + 1}"
        self.disk = Disk()
        self.boot = 0
        self.up = False
        self.skew_ms = 0
        self.requests = 0
        self.inputs = 0
        self.throw_at = 0
        self.most_queued = 0
        self.daemon: WatchedDaemon | None = None
        self._scope = trio.CancelScope()
        self._idle: Ledger | None = None
        self._gone = trio.Event()

    # -- as the laws see it --------------------------------------------------------------------

    @property
    def account(self) -> AccountId:
        """Whose machine it is."""
        return self.me.account

    @property
    def device(self) -> DeviceId:
        """Which machine it is."""
        return self.me.device

    @property
    def node(self) -> Node:
        """The node of the running daemon."""
        assert self.daemon is not None, f"{self.name} is off"
        return self.daemon.runner.node

    @property
    def ledger(self) -> Ledger:
        """What is durable, running or not."""
        if self.up and self.daemon is not None:
            return self.daemon.runner.ledger
        if self._idle is None:
            self._idle = open_image(self.disk.image) if self.disk.image else open_ledger(MEMORY)
        return self._idle

    def clock(self) -> Now:
        """Its two clocks."""
        now = trio.current_time()
        return Now(EPOCH_MS + round(now * 1000) + self.skew_ms, now)

    def note(self, what: str, raw: bytes = b"") -> None:
        """A line of the trace."""
        self.world.trace.note(trio.current_time(), self.name, what, raw)

    def performs(self, effect: Effect, daemon: WatchedDaemon) -> None:
        """An effect is about to be carried out."""
        witness = self.world.witness
        match effect:
            case Send(link, message) if link in daemon.pumps:
                self.note(f"sends {type(message).__name__}", encode_frame(message))
                self.most_queued = max(self.most_queued, daemon.pumps[link].queued)
                known = daemon.runner.node.live.links.get(link)
                if known is not None:
                    witness.sent(self, known.account, message)
            case CloseLink(_, reason) if reason not in HONEST_ENDS:
                witness.broke(self, reason)

    def connected(self) -> int:
        """To how many machines."""
        return len(self.node.live.by_device) if self.up else 0

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Switch it on; returns when it listens."""
        assert not self.up
        self.boot += 1
        if self._idle is not None:
            self._idle.close()
            self._idle = None
        self._scope, self._gone = trio.CancelScope(), trio.Event()
        host = self.world.lan.host(self.name, self.address)
        entropy = SeededEntropy(self.world.seed, self.name, self.boot)
        parts = Parts(
            identity=self.identity,
            open_ledger=lambda: KeptLedger(self.disk),
            lan=host,
            entropy=entropy,
            clock=self.clock,
            stopwatch=trio.current_time,
            name=self.name,
            threads=False,
            label=entropy.bytes(8).hex(),
        )
        self.note("starts")
        self.daemon = daemon = WatchedDaemon(parts, self)
        daemon.runner.tells[self] = lambda tell: self.world.witness.told(self, tell)
        self.up = True
        ready = trio.Event()
        self.world.nursery.start_soon(self._live, daemon, self._scope, ready, self._gone)
        await ready.wait()
        if self.up and self.daemon is daemon:
            self.world.witness.started(self)

    async def _live(
        self, daemon: WatchedDaemon, scope: trio.CancelScope, ready: trio.Event, gone: trio.Event
    ) -> None:
        async def run(task_status: trio.TaskStatus[None]) -> None:
            await daemon.run(task_status=task_status)
            nursery.cancel_scope.cancel()  # nobody waits for answers any more

        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    self._asks = nursery
                    await nursery.start(run)
                    ready.set()
        finally:
            self.up = False
            self.note("is off")
            ready.set()
            gone.set()

    async def stop(self) -> float:
        """Ask it to stop; how long that took."""
        began = trio.current_time()
        if self.daemon is not None and self.up:
            self.daemon.stop()
            await self._gone.wait()
        return trio.current_time() - began

    async def kill(self, *, power: bool = False) -> None:
        """As by SIGKILL; with `power` the whole machine goes and nobody is told."""
        if self.up:
            self.note("is killed")
            (self.world.lan.power_off if power else self.world.lan.kill_host)(self.name)
            await self.cancel()

    def cancel_now(self) -> None:
        """Cancel all its tasks; they end in their own time."""
        self._scope.cancel()

    async def cancel(self) -> None:
        """Cancel all its tasks, and wait for their end."""
        self.cancel_now()
        await self._gone.wait()

    # -- its user ------------------------------------------------------------------------------

    def ask(self, build: Callable[[int], Command]) -> int:
        """A command; the witness hears the answer."""
        self.requests += 1
        number, daemon, witness = self.requests, self.daemon, self.world.witness

        async def wait() -> None:
            assert daemon is not None
            try:
                result = await daemon.runner.ask(build)
            except CommandError as error:
                witness.answered(self, number, error.result, error)
            else:
                witness.answered(self, number, result, None)

        self._asks.start_soon(wait)
        return number


class World:
    """The LAN and everybody on it. `nursery` outlives all daemons."""

    def __init__(
        self, seed: int, lan: FakeLan, people: list[Person], nursery: trio.Nursery, trace: Trace
    ) -> None:
        self.seed, self.lan, self.nursery, self.trace = seed, lan, nursery, trace
        self.machines = {person.name: Resident(self, person, place) for place, person in enumerate(people)}
        self.witness: Witness

    async def start_all(self) -> None:
        """Everybody comes to work, one after the other."""
        chance = dice(self.seed, "starts")
        for machine in self.machines.values():
            await machine.start()
            await trio.sleep(0.2 * chance.random())

    async def stop_all(self) -> None:
        """Everybody goes home."""
        async with trio.open_nursery() as nursery:
            for machine in self.machines.values():
                nursery.start_soon(machine.stop)

    async def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Wait for it in virtual time; how long it took. AssertionError if it does not come."""
        began = trio.current_time()
        while not condition():
            assert trio.current_time() - began <= within_s, f"it did not happen within {within_s} s"
            await trio.sleep(0.05)
        return trio.current_time() - began


class LogWatch(logging.Handler):
    """Collects what daemons log as an error, and as the end of a link."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.said.append(self.format(record))

    def __enter__(self) -> LogWatch:
        logging.getLogger("p2pchat").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("p2pchat").removeHandler(self)
