"""Many seeds in one test: how they are counted, played and reported.

Decides: that all seeds are played before the test fails, so that one run tells how often
a law breaks, and that each failure names the command that plays it again. Does not know:
what a history is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from p2pchat.errors import P2pchatError
from tests.kit.laws import Broken
from tests.kit.seeds import replay

SHOWN = 5


def play_all(kind: str, scenario: str, seeds: Iterable[int], play: Callable[[int], object]) -> None:
    """AssertionError with the replay commands of those that failed."""
    failed: list[str] = []
    count = 0
    for seed in seeds:
        count += 1
        try:
            play(seed)
        except (Broken, P2pchatError, ExceptionGroup) as error:
            more = ("--scenario", scenario)
            failed.append(f"{type(error).__name__}: {error}\n    {replay(kind, seed, *more)}")
    told = "\n".join(failed[:SHOWN])
    assert not failed, f"{len(failed)} of {count} histories broke a law:\n{told}"
