"""The hours in which a person does not want to be disturbed, by the clock on his wall.

Decides: when they begin and end. Does not know: what follows from that (engine), or where they are
set (settings).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio

from p2pchat.engine.inputs import Command
from p2pchat.engine.presence_inputs import DoNotDisturb
from p2pchat.errors import CommandError

log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""The clock may be set and the machine may sleep, so it is looked at, not waited for."""


def within(hours: str, minute: int) -> bool:
    """Whether a minute of the day lies in `HH:MM-HH:MM`; the end is outside, and equal ends are a day."""
    if not hours:
        return False
    begin, end = ((int(one[:2]) * 60 + int(one[3:])) for one in hours.split("-"))
    if begin < end:
        return begin <= minute < end
    return minute >= begin or minute < end


def minute_of_day(wall_ms: int) -> int:
    """Of the local day."""
    at = time.localtime(wall_ms / 1000)
    return at.tm_hour * 60 + at.tm_min


class QuietHours:
    """Tells the node when they begin and end."""

    def __init__(
        self,
        hours: str,
        wall_ms: Callable[[], int],
        ask: Callable[[Callable[[int], Command]], Awaitable[Any]],
        minute: Callable[[int], int] = minute_of_day,
    ) -> None:
        self._hours = hours
        self._wall_ms = wall_ms
        self._ask = ask
        self._minute = minute
        self._changed = trio.Event()

    def set(self, hours: str) -> None:
        """Other hours from now on; empty: none."""
        self._hours = hours
        self._changed.set()

    async def run(self) -> None:
        """For ever. Told again at every look, for a node that was built anew has forgotten it."""
        told = False
        while True:
            self._changed = trio.Event()
            on = within(self._hours, self._minute(self._wall_ms()))
            if on or told:
                try:
                    await self._ask(partial(DoNotDisturb, on=on))
                except CommandError as error:  # it starts over from the archive
                    log.info("the hours of rest are told again in a moment: %s", error.kind)
                else:
                    told = on
            with trio.move_on_after(LOOK_S if self._hours or told else math.inf):
                await self._changed.wait()
