"""Machines of one person, linked, lost, copied, restored: the gate plays fixed seeds, `--full` new ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pchat.engine import clones, machines, own
from p2pchat.store.people import People
from tests.kit.laws import Broken
from tests.kit.seeds import fresh_seeds, remembered_signatures
from tests.sim.device_histories import play
from tests.sim.running import play_all

REMEMBERED = (58, 138, 241548336928, 802198885855)
"""Seeds that once broke a law."""


def test_machines_come_go_and_double_and_nothing_is_lost(seeds: int, full: bool) -> None:
    """The laws of device_histories.py."""
    chosen = fresh_seeds(seeds) if full else list(range(1000, 1000 + max(1, seeds // 3)))
    if full:
        print(f"devices: seeds {chosen}")
    with remembered_signatures():
        play_all("devices", "devices", [*REMEMBERED, *chosen], play)


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "notices no copy": lambda patch: patch.setattr(clones, "noticed", lambda ctx: None),
    "decides alone": lambda patch: patch.setattr(own, "heard", lambda ctx, link, message: None),
    "lets the revoked be": lambda patch: patch.setattr(
        machines, "changed", lambda ctx, who, at_once=False: None
    ),
    "queues for ever": lambda patch: patch.setattr(People, "become", lambda self, old, new: None),
}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_wrong_machine_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that cannot fail is none: each mistake is seen within eight histories."""
    MUTANTS[mutant](monkeypatch)

    def eight() -> None:
        for seed in range(1, 9):
            play(seed)

    with remembered_signatures(), pytest.raises(Broken):
        eight()
