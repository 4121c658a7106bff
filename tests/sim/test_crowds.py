"""Crowded rooms in the swarm: the gate plays fixed seeds, `--full` draws new ones; mistakes are caught."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from p2pchat.engine import gossip, rooms
from p2pchat.wire.messages.link import HAVE
from tests.kit.laws import Broken
from tests.sim.crowds import play
from tests.sim.running import play_all

Patch = pytest.MonkeyPatch
FULL: int = 60
GATE = (1, 2, 3, 5, 6, 7, 8)


def test_after_all_that_members_of_crowds_agree_and_hear_at_once(
    full: bool, pytestconfig: pytest.Config
) -> None:
    """Every law of rooms, and that of tests/sim/crowds.py."""
    asked: int | None = pytestconfig.getoption("--seeds")
    chosen: Iterable[int] = GATE
    if full or asked is not None:
        first = random.SystemRandom().randrange(1_000, 1 << 30)
        chosen = range(first, first + (FULL if asked is None else asked))
        print(f"crowds: seeds {chosen}")
    play_all("crowds", "crowds", chosen, play)


def tells_nobody(patch: Patch) -> None:
    """Nothing is announced: whom no neighbour pushes to waits for repair."""
    real = gossip._announce

    def announce(ctx: Any, links: Iterable[int], room: Any, kind: int, ids: Any = ()) -> None:
        if kind != HAVE:
            real(ctx, links, room, kind, ids)

    patch.setattr(gossip, "_announce", announce)


def asks_for_nothing(patch: Patch) -> None:
    """What was announced is not asked for when the time is over."""
    patch.setattr(gossip, "due", lambda ctx: None)


def passes_nothing_on(patch: Patch) -> None:
    """Who is pushed something keeps it, and who pushes to him has nobody to pull from."""
    patch.setattr(gossip, "onward", lambda ctx: iter(()))
    patch.setattr(gossip, "_seek", lambda ctx, device, room, ids: None)


def pushes_to_everybody(patch: Patch) -> None:
    """Neighbours need not be members."""
    patch.setattr(
        rooms, "links_of", lambda ctx, room: [ctx.live.links[n] for n in ctx.live.by_device.values()]
    )


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "nothing is announced": tells_nobody,
    "nothing is asked for": asks_for_nothing,
    "nothing is passed on": passes_nothing_on,
    "outsiders are pushed to": pushes_to_everybody,
}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_wrong_crowd_is_caught(mutant: str, monkeypatch: Patch) -> None:
    """Each mistake is seen in the histories that hold without it."""
    MUTANTS[mutant](monkeypatch)

    def all_of_them() -> None:
        for seed in GATE:
            play(seed)

    with pytest.raises(Broken):
        all_of_them()
