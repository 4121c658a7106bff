"""Whole daemons in a test: real runner, links and ledger on a fake LAN and a mock clock."""

from __future__ import annotations

import pathlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from p2pchat.daemon.core import Daemon, Parts
from p2pchat.daemon.identity import Identity, _use, make
from p2pchat.engine import inputs as happened
from p2pchat.ids import EventId
from p2pchat.model import MessageView, Now
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from tests.engine.play import EPOCH_MS, Dice
from tests.kit.fake_lan import FakeLan


def clock() -> Now:
    """The mock clock as both clocks."""
    return Now(EPOCH_MS + round(trio.current_time() * 1000), trio.current_time())


class House:
    """Daemons by name on one LAN."""

    def __init__(self, seed: int = 1) -> None:
        self.lan = FakeLan(random.Random(seed), wall_ms=lambda: clock().wall_ms)
        self.daemons: dict[str, Daemon] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self.identities: dict[str, Identity] = {}
        self.ledgers: dict[str, Callable[[], Ledger]] = {}
        self.nursery: trio.Nursery | None = None

    async def up(self, name: str, open_it: Callable[[], Ledger] | None = None) -> Daemon:
        """Start a daemon; the second time with the same identity and archive."""
        dice = Dice(f"{name}/{len(self.scopes)}")
        if name not in self.identities:
            self.identities[name] = _use(make(Dice(name).bytes), pathlib.Path("nowhere"), fresh=True)
            self.ledgers[name] = open_it or (lambda: open_ledger(MEMORY))
        host = self.lan.host(name, f"10.0.0.{1 + sorted(self.identities).index(name) + 10 * len(name)}")
        parts = Parts(
            identity=self.identities[name],
            open_ledger=self.ledgers[name],
            lan=host,
            entropy=dice,
            clock=clock,
            stopwatch=trio.current_time,
            name=name,
            threads=False,
            label=f"label-{name}",
        )
        daemon = self.daemons[name] = Daemon(parts)
        assert self.nursery is not None
        self.scopes[name] = trio.CancelScope()

        async def live(task_status: trio.TaskStatus[None]) -> None:
            with self.scopes[name]:
                await daemon.run(task_status=task_status)

        await self.nursery.start(live)
        return daemon

    async def say(self, who: str, whom: str, text: str, **more: object) -> dict[str, object]:
        """Send, as the control socket would."""
        ask = self.daemons[who].runner.ask
        answer = await ask(lambda r: happened.Post(r, whom, text, **more))  # type: ignore[arg-type]
        assert isinstance(answer, dict)
        return answer

    def view(self, who: str, message: object) -> MessageView | None:
        """What somebody's archive shows of a message."""
        return self.daemons[who].runner.ledger.views.message(EventId(bytes.fromhex(str(message))))

    def connected(self, who: str) -> int:
        """How many machines somebody is connected to."""
        return len(self.daemons[who].runner.node.live.by_device)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> float:
        """Wait in virtual time; how long it took."""
        began = trio.current_time()
        while not condition():
            assert trio.current_time() - began < timeout_s, "it did not happen in time"
            await trio.sleep(0.05)
        return trio.current_time() - began


@asynccontextmanager
async def house(seed: int = 1) -> AsyncIterator[House]:
    """A LAN with nobody on it yet; everybody stops at the end."""
    built = House(seed)
    async with trio.open_nursery() as nursery:
        built.nursery = nursery
        yield built
        for daemon in built.daemons.values():
            daemon.stop()
        with trio.move_on_after(30):
            for name in built.daemons:
                while nursery.child_tasks and name:
                    await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
