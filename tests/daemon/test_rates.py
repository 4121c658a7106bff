"""How fast something has been lately, on a clock handed in."""

from __future__ import annotations

import pytest

from p2pchat.daemon.rates import Rate


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_steady_rate_is_told_and_a_stop_is_seen() -> None:
    clock = Clock()
    rate = Rate(clock)
    clock.now += 0.3
    assert rate.of(300) == 0.0, "too early to say"
    clock.now += 0.7
    assert rate.of(1000) == pytest.approx(1000)
    assert rate.of(99_999) == pytest.approx(1000), "asked again at once"
    clock.now += 2.0
    assert rate.of(3000) == pytest.approx(1000)
    clock.now += 2.0
    assert rate.of(3000) == 0.0


def test_what_was_before_the_beginning_does_not_count() -> None:
    clock = Clock()
    rate = Rate(clock)
    clock.now += 1000
    rate.begin(50_000)
    clock.now += 1.0
    assert rate.of(51_000) == pytest.approx(1000)


def test_a_change_shows_within_some_seconds() -> None:
    clock = Clock()
    rate = Rate(clock)
    total = 0
    seen = []
    for tick in range(40):
        clock.now += 0.5
        total += 500 if tick < 20 else 5000
        seen.append(rate.of(total))
    assert seen[19] == pytest.approx(1000)
    assert seen[20] < seen[24] < seen[39] == pytest.approx(10_000, rel=0.01)
