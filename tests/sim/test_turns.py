"""People who are there by turns: the gate plays fixed seeds, `--full` draws new ones; mistakes are caught."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from p2pchat.engine import deposits, handed, holders
from p2pchat.errors import P2pchatError
from p2pchat.store.holdings import Holdings
from tests.kit.laws import Broken
from tests.kit.seeds import fresh_seeds
from tests.sim.running import play_all
from tests.sim.turns import SCENARIOS, play

Patch = pytest.MonkeyPatch
FULL = {"turns": 200, "turns-homes": 50, "turns-weeks": 50, "turns-liars": 50, "turns-full": 50}
GATE = {
    "turns": (0, 1, 4),
    "turns-homes": (0, 1),
    "turns-weeks": (1, 11),
    "turns-liars": (0,),
    "turns-full": (0,),
}
REMEMBERED: dict[str, tuple[int, ...]] = {
    "turns": (3, 10, 3019, 302139761645),
    "turns-homes": (1041,),
    "turns-full": (209058460743, 1056994353475),
}
"""Seeds that once broke a law, as long as they mean the same history."""


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_whoever_meets_both_carries_what_one_says_to_the_other(
    scenario: str, full: bool, pytestconfig: pytest.Config
) -> None:
    """Every law of rooms, and those of tests/sim/turns.py."""
    asked: int | None = pytestconfig.getoption("--seeds")
    chosen = list(GATE[scenario])
    if full or asked is not None:
        chosen = fresh_seeds(FULL[scenario] if asked is None else asked)
        print(f"{scenario}: seeds {chosen}")
    known = REMEMBERED.get(scenario, ())
    seen: Counter[str] = Counter()
    play_all("turns", scenario, [*known, *chosen], lambda seed: play(scenario, seed, seen=seen))
    if scenario == "turns-weeks" and len(chosen) > 1:
        print(dict(seen))
        assert all(seen[what] for what in ("rotations", "removals", "expired")), "nothing was missed"


# -- the laws bite ------------------------------------------------------------------------------


def entrusts_to_anybody(patch: Patch) -> None:
    """Strangers are asked to hold."""
    patch.setattr(deposits, "may_hold", lambda ctx, link: link.account != ctx.me.account)


def entrusts_to_nobody(patch: Patch) -> None:
    """Nobody is asked."""
    patch.setattr(deposits, "may_hold", lambda ctx, link: False)


def hands_to_anybody(patch: Patch) -> None:
    """Whoever asks gets what is held."""

    def claimed(self: Any, account: Any, device: Any, control: bool, after: int, limit: int) -> Any:
        rows = self._conn.execute("SELECT DISTINCT account FROM holding_for").fetchall()
        found = [one for row in rows for one in real(self, row[0], device, control, after, limit)]
        return sorted({one.place: one for one in found}.values(), key=lambda one: one.place)[:limit]

    real = Holdings.claimed
    patch.setattr(Holdings, "claimed", claimed)
    patch.setattr(holders, "tell_waiting", lambda ctx, link: _say_waiting(ctx, link))


def _say_waiting(ctx: Any, link: Any) -> None:
    from p2pchat.engine.inputs import Send
    from p2pchat.wire.messages.holders import Waiting

    ctx.out.append(Send(link.link, Waiting(())))


def hands_nothing_over(patch: Patch) -> None:
    """Nobody is told that something is held for him."""
    patch.setattr(holders, "tell_waiting", lambda ctx, link: None)


def says_nothing_back(patch: Patch) -> None:
    """Who was handed something does not say that he has it."""
    patch.setattr(handed, "close", lambda ctx: None)


def keeps_what_is_had(patch: Patch) -> None:
    """What everybody has is held all the same."""
    patch.setattr(Holdings, "drop_had", lambda self, *rest: None)
    patch.setattr(Holdings, "withdraw", lambda self, *rest: None)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "strangers hold": entrusts_to_anybody,
    "nobody holds": entrusts_to_nobody,
    "anybody gets what is held": hands_to_anybody,
    "nobody is told that something waits": hands_nothing_over,
    "nobody says that he has it": says_nothing_back,
    "what everybody has is held on": keeps_what_is_had,
}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_wrong_machine_is_caught(mutant: str, monkeypatch: Patch) -> None:
    """Each mistake is seen within ten histories."""
    MUTANTS[mutant](monkeypatch)

    def ten() -> None:
        for seed in range(10):
            play("turns", seed)

    with pytest.raises((Broken, P2pchatError)):
        ten()


def test_who_takes_without_measure_is_caught(monkeypatch: Patch) -> None:
    """Bounds of what is held are a law where they are small."""
    left = holders._room_left
    monkeypatch.setattr(holders, "_room_left", lambda ctx, link: max(left(ctx, link), 1 << 40))

    def some() -> None:
        for seed in range(5):
            play("turns-full", seed)

    with pytest.raises(Broken, match="holds"):
        some()
