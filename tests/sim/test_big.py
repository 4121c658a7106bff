"""The large room, small: that its figures are figures. `--full` lives through the large ones."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from p2pchat.engine.context import ViewSizes
from p2pchat.engine.peers import dialable
from p2pchat.wire.limits import MAX_MEMBERS
from tests.kit.cables import Weather
from tests.kit.persons import make_person
from tests.kit.seeds import Trace, remembered_signatures
from tests.kit.swarm import PORT, Swarm
from tests.sim.big import MESSAGES, landed, line, run

ROOT: Final = Path(__file__).resolve().parents[2]
CROWDED = ViewSizes(above=8, active=3, most=5, passive=6)


@pytest.mark.parametrize("sizes", [None, CROWDED])
def test_a_small_large_room_agrees_and_is_measured(sizes: ViewSizes | None) -> None:
    with remembered_signatures():
        figures = run(12, 1, sizes)
        again = run(12, 1, sizes)
    assert figures == again
    assert figures["agreed"] == 1
    assert 0 < figures["messages"] <= MESSAGES
    # with a view a path may wind through all twelve, each of them once
    assert 1 <= figures["last hop"] <= (11 if sizes else 4)
    assert 1 <= figures["copies per delivered message"] < 2
    assert (figures["of these announcements"] > 0) == (sizes is not None)


def test_the_last_machine_of_the_largest_room_is_dialled_like_the_first() -> None:
    """Else a room of 500 is measured on half a mesh, where what is pushed does not come through."""
    swarm = Swarm(1, Weather(0.01, 0.0, 0.0, 0.0, 1 << 20), Trace())
    machines = [swarm.add(make_person(1, f"p{n:03d}", 1), 0) for n in range(MAX_MEMBERS)]
    assert len(swarm.by_address) == MAX_MEMBERS
    assert [m.name for m in machines if not dialable(m.address, PORT, ("198.18.0.1",))] == []
    swarm.close()


def test_a_room_that_is_over_takes_no_memory_from_the_next() -> None:
    """Where sizes are played one after the other; in a process of its own, for nothing is collected there."""
    script = (
        "import gc\nfrom tests.sim import big\nfrom tests.kit.swarm import Swarm\n"
        "big.main(['5', '6'])\n"
        "print('left', sum(isinstance(one, Swarm) for one in gc.get_objects()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    told = done.stdout.splitlines()
    assert [one.partition(":")[0] for one in told] == ["room of 5", "room of 6", "left 0"]


def test_what_has_landed_is_whole() -> None:
    """Figures of each size, and a line that compares with them."""
    for count in (50, 200, 300, 500):
        figures = landed(count)
        assert figures["agreed"] == 1, count
        assert "was" not in line(figures, 0.0)
        assert "(was " in line({**figures, "last hop": 99}, 0.0)


def test_the_largest_rooms_agree(full: bool) -> None:
    """Five hundred people are as many as a room holds; that takes half an hour, so the gate plays thirty."""
    for count in (200, 500) if full else (30,):
        began = time.perf_counter()
        with remembered_signatures():
            figures = run(count, 1)
        print(line(figures, time.perf_counter() - began))
        assert figures["agreed"] == 1
        assert figures["copies per delivered message"] < 2
