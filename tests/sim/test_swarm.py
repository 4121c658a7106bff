"""Many machines, many faults: the gate plays fixed seeds, `--full` draws new ones."""

from __future__ import annotations

import dataclasses

import pytest

from p2pchat.errors import P2pchatError
from tests.kit.laws import Broken
from tests.kit.seeds import Trace, fresh_seeds, remembered_signatures
from tests.kit.swarm import Machine
from tests.sim import mutants, plans
from tests.sim.histories import History, play
from tests.sim.running import play_all

REMEMBERED = {
    "direct": (9, 11, 21, 24, 26),
    "clocks": (15,),
    "homes": (725539024382, 1072955443657, 467517978291, 825868771421),
    "floods": (),
}
"""Seeds that once broke a law: they stay in the gate as long as they mean the same history
(a change of plans.py changes what seeds mean; the plays of tests/engine/test_found.py stay)."""


@pytest.mark.parametrize("scenario", list(plans.SCENARIOS))
def test_after_all_that_everybody_agrees(
    scenario: str, seeds: int, full: bool, pytestconfig: pytest.Config
) -> None:
    """`seeds` histories of each scenario with every law of tests/kit/laws.py."""
    if not full and scenario != "direct" and pytestconfig.getoption("--seeds") is None:
        seeds //= 4
    chosen = fresh_seeds(seeds) if full else list(range(1000, 1000 + seeds))
    if full:
        print(f"{scenario}: seeds {chosen}")
    play_all("swarm", scenario, [*REMEMBERED[scenario], *chosen], lambda seed: play(scenario, seed))


def test_a_quiet_day_leaves_nothing_behind() -> None:
    """Two machines, 26 hours: the link is renewed, timers and memory do not grow."""
    plan = dataclasses.replace(plans.draw("direct", 5), messages=12, span_s=20.0, falls=(), cuts=())
    plan = dataclasses.replace(plan, machines=(1, 1), holidays=(), skews_ms=(0, 0), jumps=())
    with remembered_signatures():
        history = History(plan, Trace())
        history.live()
        first = {m.name: dict(m.look().live.by_device) for m in history.places}
        sizes = {m.name: _size_of_memory(m) for m in history.places}
        history.swarm.run(26 * 3600.0)
        for machine in history.places:
            assert machine.look().live.by_device != first[machine.name], "no link was renewed"
            assert _size_of_memory(machine) <= sizes[machine.name] + 4
        history.judge()
        history.swarm.close()


def _size_of_memory(machine: Machine) -> int:
    live = machine.look().live
    named = (getattr(live, field.name) for field in dataclasses.fields(live))
    return sum(len(value) for value in named if isinstance(value, dict)) + len(machine.timers)


# -- the laws bite ------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", sorted(mutants.ALL))
def test_a_wrong_machine_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that cannot fail is none: each mistake of mutants.py is seen within twelve histories."""
    mutants.ALL[mutant](monkeypatch)

    def twelve() -> None:
        for seed in range(12):
            play("direct", seed)

    with pytest.raises((Broken, P2pchatError)):
        twelve()
