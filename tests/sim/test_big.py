"""The large room, small: that its figures are figures. `python -m tests.sim.big 50` prints them."""

from __future__ import annotations

from tests.kit.seeds import remembered_signatures
from tests.sim.big import MESSAGES, run


def test_a_small_large_room_agrees_and_is_measured() -> None:
    with remembered_signatures():
        figures = run(12, 1)
        again = run(12, 1)
    assert figures == again
    assert figures["agreed"] == 1
    assert 0 < figures["messages"] <= MESSAGES
    assert 1 <= figures["last hop"] <= 4
    assert figures["copies per delivered message"] >= 1
