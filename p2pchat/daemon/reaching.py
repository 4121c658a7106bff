"""Bulk links that are opened from here: when one is dialled, and when again.

Decides: the pauses between attempts, and that a peer is asked to dial us where we do not reach it. Does
not know: what travels on a link, or why it is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import trio

from p2pchat.engine.file_inputs import NeedBulk
from p2pchat.engine.inputs import Command, Input
from p2pchat.engine.links import Established, LinkMachine
from p2pchat.errors import DialError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.net.lan import Stream

log = logging.getLogger(__name__)

REDIAL_S: Final = 1.0
REDIAL_MOST_S: Final = 30.0


class Wires(NamedTuple):
    """What is needed of the daemon: who is linked, and how a bulk link is made."""

    linked: Callable[[DeviceId], bool]
    dial: Callable[[DeviceId], Awaitable[tuple[LinkMachine, Stream, Established]]]
    """Opens a bulk link; DialError if it can not."""
    post: Callable[[Input], None]
    ask: Callable[[Callable[[int], Command]], Awaitable[Any]]
    name: Callable[[AccountId], str]
    """What a person is called here."""


class Reaching:
    """One task for each machine that is wanted and not linked."""

    def __init__(
        self,
        wires: Wires,
        *,
        here: Callable[[DeviceId], bool],
        wanted: Callable[[DeviceId], bool],
        run: Callable[[LinkMachine, Stream, Established], Awaitable[int]],
    ) -> None:
        """`here`: there is a link to it; `run` runs one to its end and says how much moved on it."""
        self._wires = wires
        self._here = here
        self._wanted = wanted
        self._run = run
        self._at_it: dict[DeviceId, trio.CancelScope] = {}
        self._again: dict[DeviceId, bool] = {}  # wanted anew while the task before was ending; `asked`

    def chat_ended(self, device: DeviceId) -> None:
        """Nobody is to be reached there any more."""
        scope = self._at_it.get(device)
        if scope is not None:
            scope.cancel()

    async def reach(self, device: DeviceId, asked: bool) -> None:
        """Dial a machine until there is a link, and again when that has ended, as long as it is wanted;
        with `asked`, because it can not dial us, once in any case."""
        under_way = self._at_it.get(device)
        if under_way is not None:
            if under_way.cancel_called:  # it is still letting go, and would not look again
                self._again[device] = asked
            return
        with trio.CancelScope() as scope:
            self._at_it[device] = scope
            try:
                await self._keep(device, asked)
            finally:
                del self._at_it[device]
        if device in self._again:
            await self.reach(device, self._again.pop(device))

    async def _keep(self, device: DeviceId, asked: bool) -> None:
        pause = REDIAL_S
        while (asked or self._wanted(device)) and self._wires.linked(device) and not self._here(device):
            moved = 0
            try:
                connection = await self._wires.dial(device)
            except DialError as error:
                log.info("no bulk link: %s", error)
                if not asked:
                    self._wires.post(NeedBulk(device))
            else:
                moved = await self._run(*connection)
            asked = False
            await trio.sleep(pause)
            pause = REDIAL_S if moved else min(2 * pause, REDIAL_MOST_S)
