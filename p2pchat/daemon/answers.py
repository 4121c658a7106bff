"""Who waits for the answer to a command, and how he gets one.

Decides: that every question is answered once: by its answer, a refusal, or the failure it was
lost with. Does not know: what is asked, or when a batch is committed (runner).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from p2pchat.daemon.refusals import interrupted, unwritten
from p2pchat.engine.inputs import Command, Forgotten, Input
from p2pchat.errors import CommandError


@dataclass
class _Waiting:
    """Somebody waits for the answer to a command."""

    done: trio.Event
    result: object = None
    error: CommandError | None = None


class Answers:
    """Questions under way, by their number."""

    def __init__(self, post: Callable[[Input], None]) -> None:
        self._post = post
        self._waiting: dict[int, _Waiting] = {}
        self._requests = 0

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, make: Callable[[int], Command]) -> Any:
        """Post a command and wait for its answer; CommandError if it is refused.

        A refusal that comes with a result (a timed-out wait) carries it as `result`.
        """
        self._requests += 1
        request = self._requests
        waiting = self._waiting[request] = _Waiting(trio.Event())
        self._post(make(request))
        try:
            await waiting.done.wait()
        finally:
            del self._waiting[request]
            if not waiting.done.is_set():
                self._post(Forgotten(request))
        if waiting.error is not None:
            raise waiting.error
        return waiting.result

    def reply(self, request: int, result: object) -> None:
        """The answer; nobody may be waiting for it any more."""
        waiting = self._waiting.get(request)
        if waiting is not None:
            waiting.result = result
            waiting.done.set()

    def refuse(self, request: int, error: CommandError, result: object) -> None:
        """It cannot be done, or only partly: `result` then says what was."""
        waiting = self._waiting.get(request)
        if waiting is not None:
            error.result = result if result is not None else error.result
            waiting.error = error
            waiting.done.set()

    def give_up(self, batch: Sequence[Input], to_come: Sequence[Input], error: BaseException) -> None:
        """Answer whoever a failure concerns; what still lies in the inbox is done in its turn."""
        failed = {event.request for event in batch if hasattr(event, "request")}
        coming = {event.request for event in to_come if hasattr(event, "request")}
        for request, waiting in self._waiting.items():
            if request in failed:
                waiting.error = unwritten(error)
            elif request not in coming:
                waiting.error = interrupted()
            else:
                continue
            waiting.done.set()
