"""Many machines, many faults: the gate plays fixed seeds, `--full` draws new ones."""

from __future__ import annotations

import pytest

from p2pchat.errors import P2pchatError
from tests.kit.laws import Broken
from tests.kit.seeds import fresh_seeds
from tests.sim import mutants
from tests.sim.histories import play
from tests.sim.running import play_all

REMEMBERED = {
    "direct": (9, 11, 21, 24, 26),
    "clocks": (15,),
    "homes": (),
}
"""Seeds that once broke a law: they stay in the gate as long as they mean the same history
(a change of plans.py changes what seeds mean; the plays of tests/engine/test_found.py stay)."""


@pytest.mark.parametrize("scenario", ["direct", "clocks", "homes"])
def test_after_all_that_everybody_agrees(scenario: str, seeds: int, full: bool) -> None:
    """`seeds` histories of each scenario with every law of tests/kit/laws.py."""
    if not full and scenario != "direct":
        seeds //= 2
    chosen = fresh_seeds(seeds) if full else list(range(1000, 1000 + seeds))
    if full:
        print(f"{scenario}: seeds {chosen}")
    play_all("swarm", scenario, [*REMEMBERED[scenario], *chosen], lambda seed: play(scenario, seed))


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
