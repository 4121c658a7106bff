"""How fast something has been lately.

Decides: over how long a rate is taken. Does not know: what moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

RATE_S: Final = 2.0
"""The rate shown is that of about this long."""


class Rate:
    """Bytes a second of a total that grows. It is computed when somebody looks."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._bps = 0.0
        self._at, self._before = mono(), 0

    def begin(self, total: int) -> None:
        """From now on, at `total`: what was before does not count."""
        self._bps = 0.0
        self._at, self._before = self._mono(), total

    def of(self, total: int) -> float:
        """Bytes a second, the total being `total` now; 0 in the first half second."""
        now = self._mono()
        if now - self._at >= RATE_S / 4:
            fresh = max(0, total - self._before) / (now - self._at)
            weight = min(1.0, (now - self._at) / RATE_S)
            self._bps = fresh if not self._bps else self._bps + weight * (fresh - self._bps)
            self._at, self._before = now, total
        return self._bps
