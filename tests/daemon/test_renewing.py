"""A machine of which there is a copy takes other keys, once, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon import renewing
from p2pchat.daemon.identity import Identity, load_or_make
from p2pchat.daemon.renewing import AGAIN_S, Renewing
from p2pchat.engine import clones
from p2pchat.engine import inputs as happened
from p2pchat.engine.inputs import Tell
from p2pchat.errors import CommandError
from tests.engine.conftest import stage as stage
from tests.engine.play import Actor, Dice, Stage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "identity"


class Machine:
    """A node with an identity on disk, and what was made of it."""

    def __init__(self, stage: Stage, path: Path) -> None:
        self.path = path
        self.identity = load_or_make(path, Dice("ann").bytes)
        self.actor = Actor(stage, "ann", stage._open, stated=lambda _: self.identity.me.statements)
        self.actor.node.me = self.actor.me = self.identity.me
        self.became: list[Identity] = []

    async def ask(self, command: Callable[[int], happened.Input]) -> Any:
        return self.actor.do(command)

    def machines(self) -> int:
        return len(self.actor.look().cache.accounts[self.identity.me.account].devices)

    async def renew(self, name: str, until: Callable[[], bool]) -> None:
        """One life of the daemon, in which the copy is noticed."""
        task = Renewing(Dice(name), self.ask, lambda: self.identity, self.became.append, threads=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.run)
            task.heard(Tell(clones.RENEW, self.identity.me.device))
            while not until():
                await trio.sleep(1)
            nursery.cancel_scope.cancel()


async def test_a_disk_that_is_full_for_an_hour_makes_one_machine(
    stage: Stage, path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(stage, path)
    written, full_until = renewing.renewed, trio.current_time() + 3600

    def on_a_full_disk(*args: Any) -> Identity:
        if trio.current_time() < full_until:
            raise CommandError("disk_full", "the disk is full", "")
        return written(*args)

    monkeypatch.setattr(renewing, "renewed", on_a_full_disk)
    await machine.renew("one", lambda: bool(machine.became))
    assert trio.current_time() >= full_until >= AGAIN_S
    assert machine.machines() == 2, "the one that is used twice, and the one it is now"
    assert load_or_make(path, Dice("nobody").bytes).me == machine.became[0].me
    assert list(path.parent.iterdir()) == [path]


async def test_a_crash_before_it_is_written_down_makes_one_machine(
    stage: Stage, path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(stage, path)
    reached = trio.Event()

    def crash(*_: Any) -> Identity:
        reached.set()
        raise CommandError("failed", "the power went", "")

    with monkeypatch.context() as patch:
        patch.setattr(renewing, "renewed", crash)
        await machine.renew("one", reached.is_set)
    await machine.renew("two", lambda: bool(machine.became))
    assert machine.machines() == 2
    assert (
        machine.became[0].me.device
        in machine.actor.look().cache.accounts[machine.identity.me.account].devices
    )
