"""The large room, small: that its figures are figures. `--full` lives through the large ones."""

from __future__ import annotations

import time

import pytest

from p2pchat.engine.context import ViewSizes
from p2pchat.engine.peers import dialable
from p2pchat.wire.limits import MAX_MEMBERS
from tests.kit.cables import Weather
from tests.kit.persons import make_person
from tests.kit.seeds import Trace, remembered_signatures
from tests.kit.swarm import PORT, Swarm
from tests.sim.big import MESSAGES, landed, line, run

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
