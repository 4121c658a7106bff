"""Files in the swarm: the gate plays fixed seeds, `--full` draws new ones; and the laws bite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pchat.engine import transfers
from p2pchat.errors import P2pchatError
from p2pchat.model import DONE
from tests.kit.laws import Broken
from tests.kit.seeds import Trace, fresh_seeds, remembered_signatures
from tests.sim.file_histories import FileHistory
from tests.sim.room_histories import play
from tests.sim.room_plans import draw_rooms
from tests.sim.running import play_all

GATE, FULL = 6, 150
REMEMBERED: tuple[int, ...] = (2027, 2072, 2082)
"""Seeds that once broke a law, as long as they mean the same history."""
SHORT = (10, 26, 13, 36)
"""Histories of a second in which each mistake below shows. Played first."""
Patch = pytest.MonkeyPatch


def test_after_all_whoever_wanted_it_has_it(full: bool, pytestconfig: pytest.Config) -> None:
    """Histories of files with every law of tests/kit/file_laws.py, and those of rooms and chats."""
    asked: int | None = pytestconfig.getoption("--seeds")
    count = asked if asked is not None else (FULL if full else GATE)
    chosen = fresh_seeds(count) if full else list(range(1000, 1000 + count))
    if full:
        print(f"files: seeds {chosen}")
    play_all("rooms", "files", [*REMEMBERED, *SHORT, *chosen], lambda seed: play("files", seed))


def test_something_happens() -> None:
    """A history in which nothing is fetched would keep every law."""
    with remembered_signatures():
        history = FileHistory(draw_rooms("files", 34), Trace())
        try:
            history.live()
        finally:
            history.swarm.close()
    assert history.counts[DONE] > 10
    assert sum(len(mover.given) for mover in history.movers.values()) > 10


# -- the laws bite ---------------------------------------------------------------------------------


def gives_to_anybody(patch: Patch) -> None:
    """Nobody looks who asks."""
    patch.setattr(transfers, "may_have", lambda ctx, row, account, device: True)


def gives_what_was_taken_back(patch: Patch) -> None:
    """A deleted message's files can still be had and are still wanted."""
    patch.setattr(transfers, "withdrawn", lambda ctx, message: None)


def asks_once(patch: Patch) -> None:
    """Who is not there when something is wanted is never asked."""
    patch.setattr(transfers, "met", lambda ctx, link: None)
    patch.setattr(transfers, "again", lambda ctx: None)


def tells_once(patch: Patch) -> None:
    """An end that was lost on the way is not told again."""
    patch.setattr(transfers, "_tell_ends", lambda ctx, link, most: None)


def forgets_over_night(patch: Patch) -> None:
    """What is wanted is not fetched after a start."""
    patch.setattr(transfers, "start", lambda ctx: None)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "gives to anybody": gives_to_anybody,
    "gives what was taken back": gives_what_was_taken_back,
    "asks once": asks_once,
    "tells once": tells_once,
    "forgets over night": forgets_over_night,
}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_wrong_machine_is_caught(mutant: str, monkeypatch: Patch) -> None:
    """Each of these mistakes is seen within a few histories."""
    MUTANTS[mutant](monkeypatch)

    def a_few() -> None:
        for seed in (*SHORT, *range(8)):
            play("files", seed)

    with pytest.raises((Broken, P2pchatError)):
        a_few()
