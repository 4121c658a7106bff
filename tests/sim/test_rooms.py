"""Rooms in the swarm: the gate plays fixed seeds, `--full` draws new ones."""

from __future__ import annotations

import pytest

from p2pchat.errors import P2pchatError
from tests.kit.laws import Broken
from tests.kit.seeds import fresh_seeds
from tests.sim import room_mutants, room_plans
from tests.sim.room_histories import play
from tests.sim.running import play_all

FULL = {"rooms": 200, "room-homes": 50, "room-clocks": 50, "byzantine": 100}
GATE = {"rooms": 8, "room-homes": 6, "room-clocks": 6, "byzantine": 6}
REMEMBERED: dict[str, tuple[int, ...]] = {
    "rooms": (0, 3, 15, 18, 22, 762, 1016, 2044, 725875548252),
    "room-homes": (1001, 3029, 406423576188, 767302591075),
    "room-clocks": (1003, 5049, 5084, 534269083316),
    "byzantine": (
        2,
        4,
        19,
        2031,
        78546292159,
        172147706253,
        184570258917,
        455268434639,
        892527972327,
        940501897971,
    ),
}
"""Seeds that once broke a law, as long as they mean the same history."""
SHORT = (316, 1398, 1075, 131, 1499, 2109, 1938, 1967, 889, 1261, 5039, 5025)
"""Histories of less than a second, most of a fifth (three people, some fifty commands), in which a cut comes
at the wrong moment: each mistake shows in two of them or more. Played first."""


@pytest.mark.parametrize("scenario", [name for name in room_plans.SCENARIOS if name != "files"])  # test_files
def test_after_all_that_members_agree(scenario: str, full: bool, pytestconfig: pytest.Config) -> None:
    """Histories of rooms with every law of tests/kit/laws.py and tests/kit/room_laws.py."""
    asked: int | None = pytestconfig.getoption("--seeds")
    count = asked if asked is not None else (FULL if full else GATE)[scenario]
    chosen = fresh_seeds(count) if full else list(range(1000, 1000 + count))
    if full:
        print(f"{scenario}: seeds {chosen}")
    known = [*REMEMBERED[scenario], *(SHORT if scenario == "rooms" else ())]
    play_all("rooms", scenario, [*known, *chosen], lambda seed: play(scenario, seed))


@pytest.mark.parametrize("mutant", sorted(room_mutants.ALL))
def test_a_wrong_machine_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake of room_mutants.py is seen within thirty histories."""
    room_mutants.ALL[mutant](monkeypatch)

    def thirty() -> None:
        for seed in (*SHORT, *range(20)):
            play("rooms", seed)

    with pytest.raises((Broken, P2pchatError)):
        thirty()


def test_what_a_rogue_told_somebody_who_is_out_is_owed_where_he_may_hand_it_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What nobody could hand to a member is no part of the room (room_court, seed 78546292159); here he
    who is out knows of a member that he may have it, and the law asks for it."""
    play("byzantine", 700021)
    room_mutants.tells_nothing_when_out(monkeypatch)
    with pytest.raises(Broken, match="lacks the acts"):
        play("byzantine", 700021)
