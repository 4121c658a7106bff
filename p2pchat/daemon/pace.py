"""How quick commits have lately been, and so where the next one runs; and how often others go first.

Decides: when commits are too slow for the loop to stand still (docs/decisions/0005), and how many
steps others get between two slices of backfill or of what is said. Does not know: what is
committed, or threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from p2pchat.engine.inputs import Effect

QUICK_COMMIT_S: Final = 0.008
SLOW_OF_LAST: Final = 4
"""So many of the last commits must be slow before a thread is worth its 0.3 ms for each: single
slow ones come with every disk."""
ONE_COMMIT_S: Final = 0.025
"""One this slow is enough: twice of it and the loop has stood still for 50 ms."""
COMMITS_REMEMBERED: Final = 32
STEPS_BETWEEN: Final = 6
EFFECTS_S: Final = 0.005


class Pace:
    """The last commits."""

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=COMMITS_REMEMBERED)
        self.slow = False
        """Whether they have taken so long that the loop should not stand still for one."""
        self._quick = 0

    def took(self, seconds: float) -> None:
        """One commit more. After so many quick ones in a row as are remembered there is nothing to
        weigh: numbers that lie about in memory are not looked at with each."""
        self.seconds.append(seconds)
        self._quick = self._quick + 1 if seconds < QUICK_COMMIT_S else 0
        if self._quick >= COMMITS_REMEMBERED or len(self.seconds) < COMMITS_REMEMBERED:
            self.slow = False
            return
        ranked = sorted(self.seconds)
        self.slow = ranked[-SLOW_OF_LAST] >= QUICK_COMMIT_S or ranked[-1] >= ONE_COMMIT_S


async def carry_out(
    effects: Sequence[Effect], perform: Callable[[Effect], None], stopwatch: Callable[[], float]
) -> None:
    """Perform all in order; others go first between slices: a new key is sealed for 500 links in 30 ms."""
    began = stopwatch()
    for effect in effects:
        perform(effect)
        if stopwatch() - began > EFFECTS_S:
            await trio.lowlevel.checkpoint()
            began = stopwatch()


async def let_others() -> None:
    """Between two slices of backfill: who asks over the control socket takes several steps to be
    answered, and shall not wait for a slice with each."""
    for _ in range(STEPS_BETWEEN):
        await trio.lowlevel.checkpoint()
