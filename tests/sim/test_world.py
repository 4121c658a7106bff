"""Whole daemons on a fake LAN under a clock that jumps: days, and four laws of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import trio
import trio.testing

from p2pchat.daemon.links import Pump
from p2pchat.engine.inputs import Post
from p2pchat.engine.links import OPEN_OFFICE_KEY, Established, LinkMachine
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.link import Hello, Ping
from tests.kit.fake_lan import FakeLan
from tests.kit.laws import Broken, check, law
from tests.kit.persons import Person, make_person
from tests.kit.seeds import (
    SeededEntropy,
    Trace,
    dice,
    fresh_seeds,
    remembered_signatures,
    repeatable_trio,
)
from tests.kit.world import EPOCH_MS, Resident, World
from tests.sim import mutants
from tests.sim.days import MOST_QUEUED, play
from tests.sim.histories import NAMES
from tests.sim.people import EXPECTED, Workload
from tests.sim.running import play_all

MIB: Final = 1 << 20
GATE_DAYS: Final = 5
FULL_DAYS: Final = 50
FIRST_INPUT: Final = 3
"""Before it a daemon starts: with a bug there it does not come up, and says so."""
GATE_POINTS: Final = 30
"""At how many of all checkpoints the gate cancels; `--full` takes every one."""


def test_after_a_day_everybody_agrees(full: bool, pytestconfig: pytest.Config) -> None:
    chosen: int | None = pytestconfig.getoption("--seeds")
    days = chosen if chosen is not None else FULL_DAYS if full else GATE_DAYS
    seeds = fresh_seeds(days) if full else list(range(2000, 2000 + days))
    if full:
        print(f"world: seeds {seeds}")
    play_all("world", "day", seeds, play)


# -- one small scene, spoiled in every place --------------------------------------------------------

Scene = Callable[[World, Workload], Awaitable[None]]


class Steps(trio.abc.Instrument):
    """Counts the steps of the daemons' tasks, and does something at one of them."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.at, self.act, self.count = at, act, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task is about to go on from a checkpoint."""
        if task.name.startswith("p2pchat."):
            self.count += 1
            if self.count == self.at:
                self.act()


def on_stage(
    scene: Scene,
    names: tuple[str, ...],
    *,
    cancel_at: int = 0,
    throw_at: int = 0,
    expected: tuple[str, ...] = (),
) -> tuple[int, int]:
    """Play a scene; how many steps the daemons took, and how many inputs the first one had.

    At step `cancel_at` the first daemon is cancelled; at its input `throw_at` it meets a bug.
    """
    worlds: list[World] = []
    steps = Steps(cancel_at, lambda: worlds[0].machines[names[0]].cancel_now())

    async def main() -> None:
        people = [make_person(1, name, 1) for name in names]
        lan = FakeLan(dice(1, "wires"), wall_ms=lambda: EPOCH_MS + round(trio.current_time() * 1000))
        async with trio.open_nursery() as nursery:
            world = World(1, lan, people, nursery, Trace())
            worlds.append(world)
            work = Workload(world, people)
            work.expected = (*EXPECTED, *expected)
            world.witness = work
            world.machines[names[0]].throw_at = throw_at
            await scene(world, work)
            await world.stop_all()

    with remembered_signatures(), repeatable_trio(1):
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(main, clock=clock, instruments=[steps])
    return steps.count, worlds[0].machines[names[0]].inputs


async def a_short_talk(world: World, work: Workload) -> None:
    """Two people meet and do a little of everything; the laws hold at the end."""
    residents = list(world.machines.values())
    await world.start_all()
    for _ in range(25):
        work.act()
        await trio.sleep(0.15)
    for rest_s in (2.0, 70.0, 70.0):
        await trio.sleep(rest_s)
        for one in residents:
            if not one.up:
                await one.start()
        if rest_s > 2.0 and all(one.boot == 1 for one in residents):
            break
    law(not work.open, f"never answered: {sorted(work.open)}")
    for one in residents:
        law(one.connected() == len(residents) - 1, f"{one.name} is alone")
    check(work.book, work.sites(), {one.name: one.clock() for one in residents})


def points(first: int, last: int, full: bool) -> list[int]:
    """Places from `first` to `last`: all of them, or a slice that is the same every time."""
    step = 1 if full else max(1, (last - first) // GATE_POINTS)
    return list(range(first, last + 1, step))


def test_a_daemon_may_be_cancelled_at_every_checkpoint(full: bool) -> None:
    """It ends, nothing but what was not committed is lost, and it goes on when started again."""
    count, _ = on_stage(a_short_talk, ("ann", "bob"))
    assert count > 300
    broken = []
    for at in points(1, count, full):
        try:
            on_stage(a_short_talk, ("ann", "bob"), cancel_at=at)
        except (Broken, ExceptionGroup) as error:
            broken.append((at, error))
    assert not broken, f"{len(broken)} of the checkpoints spoil something, the first: {broken[0]!r}"


def test_a_bug_at_any_input_spoils_nothing_else(full: bool) -> None:
    """The daemon starts over from its archive; who waited hears `internal`; all agree."""
    _, count = on_stage(a_short_talk, ("ann", "bob"))
    assert count > 50
    broken = []
    for at in points(FIRST_INPUT, count, full):
        try:
            on_stage(a_short_talk, ("ann", "bob"), throw_at=at, expected=("internal",))
        except (Broken, ExceptionGroup) as error:
            broken.append((at, error))
    assert not broken, f"a bug at {len(broken)} inputs spoils more, the first: {broken[0]!r}"


# -- a peer that reads nothing ------------------------------------------------------------------------


async def deaf(world: World, person: Person, address: str, towards: Resident, met: trio.Event) -> None:
    """Somebody who greets, says that he lives, and never reads again."""
    me = person.machines[0]
    stream = await world.lan.host(person.name, address).dial(towards.address, 26_700)
    machine = LinkMachine(
        initiator=True,
        noise_secret=person.noise_secrets[0],
        hello=encode(Hello(1, me.device, me.statements, (), 0, EPOCH_MS)),
        psks={"office": (OPEN_OFFICE_KEY,)},
        entropy=SeededEntropy(1, "deaf"),
        now=trio.current_time(),
    )
    machine.start()
    established = False
    while not established:
        await stream.send_all(machine.data_to_send())
        machine.receive_data(await stream.receive_some(65_536), trio.current_time())
        while (event := machine.next_event()) is not None:
            established |= isinstance(event, Established)
    await stream.send_all(machine.data_to_send())
    met.set()
    while True:
        await trio.sleep(5.0)
        machine.send(Ping(1), trio.current_time())
        await stream.send_all(machine.data_to_send())


def test_a_peer_that_reads_nothing_costs_little_and_delays_nobody() -> None:
    waits: list[float] = []

    async def scene(world: World, work: Workload) -> None:
        await world.start_all()
        ann = world.machines["ann"]
        met = trio.Event()
        bob = make_person(1, "bob", 1)
        world.nursery.start_soon(deaf, world, bob, "10.0.0.77", ann, met)
        with trio.fail_after(5):
            await met.wait()
        await world.until(lambda: ann.connected() == 2, 5)
        daemon = ann.daemon
        assert daemon is not None
        for number in range(120):
            for _ in range(5):
                text = f"zq{number:06d}x" + "d" * 9000
                await daemon.runner.ask(lambda r, text=text: Post(r, bob.account.hex(), text))  # type: ignore[misc]
            began = trio.current_time()
            await daemon.runner.ask(lambda r: Post(r, "cem", "zq900000x", wait="delivered"))
            waits.append(trio.current_time() - began)
            await trio.sleep(0.05)
        held = [pump.queued for pump in daemon.pumps.values()]
        assert max(held) <= MOST_QUEUED <= MIB
        assert max(held) > MIB // 2, "the deaf peer was not even noticed"
        assert ann.most_queued <= MOST_QUEUED
        world.nursery.cancel_scope.cancel()

    on_stage(scene, ("ann", "cem"))
    assert len(waits) == 120
    assert max(waits) <= 0.1


# -- who is there ---------------------------------------------------------------------------------------


def test_who_vanishes_is_gone_in_15_s_and_back_in_5() -> None:
    async def scene(world: World, work: Workload) -> None:
        await world.start_all()
        residents = list(world.machines.values())
        lost, others = residents[0], residents[1:]
        everybody = len(others)
        await world.until(lambda: all(one.connected() == everybody for one in residents), 5)
        for away_s in (16.0, 120.0, 700.0):
            world.lan.unplug(lost.name)
            gone = await world.until(lambda: all(one.connected() == everybody - 1 for one in others), 16)
            assert gone <= 15
            await trio.sleep(away_s)
            world.lan.replug(lost.name)
            back = await world.until(lambda: all(one.connected() == everybody for one in residents), 16)
            assert back <= 5
        await lost.kill()
        assert await world.until(lambda: all(one.connected() == everybody - 1 for one in others), 16) <= 1
        await lost.start()
        assert await world.until(lambda: all(one.connected() == everybody for one in residents), 16) <= 5

    on_stage(scene, NAMES[:5])


# -- the laws bite -------------------------------------------------------------------------------------


def _goes_deaf(patch: pytest.MonkeyPatch) -> None:
    """What the engine wants to say is never sent."""
    patch.setattr(Pump, "send", lambda self, message: None)


@pytest.mark.parametrize("spoil", [_goes_deaf, mutants.never_commits, mutants.receipts_run_ahead])
def test_a_wrong_daemon_is_caught(
    spoil: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)

    def some() -> None:
        for seed in range(2000, 2006):
            play(seed)

    with pytest.raises((Broken, ExceptionGroup)):
        some()
