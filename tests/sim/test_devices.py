"""Machines of one person, linked, lost, copied, restored: the gate plays fixed seeds, `--full` new ones."""

from __future__ import annotations

from tests.kit.seeds import fresh_seeds, remembered_signatures
from tests.sim.device_histories import play
from tests.sim.running import play_all


def test_machines_come_go_and_double_and_nothing_is_lost(seeds: int, full: bool) -> None:
    """The laws of device_histories.py."""
    chosen = fresh_seeds(seeds) if full else list(range(1000, 1000 + max(1, seeds // 3)))
    if full:
        print(f"devices: seeds {chosen}")
    with remembered_signatures():
        play_all("devices", "devices", chosen, play)
