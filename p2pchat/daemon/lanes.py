"""What has come and is not handled yet, in two lanes: chat, and backfill behind it.

Decides: what is backfill, what must not overtake it, and how much is taken at a time. Does not
know: when anything is taken, or what follows from it (runner).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from p2pchat.engine.door_inputs import Answered, AtTheDoor
from p2pchat.engine.inputs import FromPeer, Input, LinkUp
from p2pchat.wire.messages.link import Events, Given

LIVE_BATCH: Final = 64
"""So many live inputs at most share a transaction."""
BULK_EVENTS: Final = 1024
"""So many events of backfill share one."""
BULK_RUN: Final = 16
"""A frame with more events than this is backfill, not chat."""

WHO_IS_HERE: Final = (LinkUp, Answered, AtTheDoor)


class Lanes:
    """The inbox. Whoever can flood it must bound himself (links do)."""

    def __init__(self) -> None:
        self.live: deque[Input] = deque()
        self._bulk: deque[FromPeer] = deque()
        self._bulk_of: dict[int, int] = {}  # frames of a link in the second lane, or being handled

    def __bool__(self) -> bool:
        return bool(self.live or self._bulk)

    @property
    def bulk(self) -> bool:
        """Whether backfill waits."""
        return bool(self._bulk)

    @property
    def links_behind(self) -> tuple[int, ...]:
        """Links some of whose backfill is not done."""
        return tuple(self._bulk_of)

    def put(self, event: Input) -> None:
        """Behind everything else in its lane; who is here, before what was said. Nothing of a new link can
        have come before it, and while the loop is behind, whoever is here unheard is dialled again."""
        if isinstance(event, FromPeer) and self.is_bulk(event):
            self._bulk.append(event)
            self._bulk_of[event.link] = self._bulk_of.get(event.link, 0) + 1
        elif isinstance(event, WHO_IS_HERE):
            others = (place for place, one in enumerate(self.live) if isinstance(one, FromPeer))
            self.live.insert(next(others, len(self.live)), event)
        else:
            self.live.append(event)

    def is_bulk(self, event: FromPeer) -> bool:
        """Backfill, and what must not overtake it on the same link."""
        if isinstance(event.message, Events):
            return len(event.message.events) > BULK_RUN or event.link in self._bulk_of
        return isinstance(event.message, Given) and event.link in self._bulk_of

    def take_live(self) -> list[Input]:
        """The next live inputs that share a transaction."""
        batch: list[Input] = []
        while self.live and len(batch) < LIVE_BATCH:
            batch.append(self.live.popleft())
        return batch

    def take_bulk(self, most: int = BULK_EVENTS) -> list[Input]:
        """The next backfill, until it is `most` events or more."""
        batch: list[Input] = []
        taken = 0
        while self._bulk and taken < most:
            batch.append(self._bulk.popleft())
            taken += weight(batch[-1:])
        return batch

    def put_back(self, batch: Sequence[Input], *, bulk: bool) -> None:
        """These were taken and had no time: they are the next of their lane again."""
        for event in reversed(batch):
            if bulk and isinstance(event, FromPeer):
                self._bulk.appendleft(event)
            else:
                self.live.appendleft(event)

    def bulk_done(self, link: int) -> None:
        """A frame of that link's backfill has been handled: chat of it may follow once all have."""
        left = self._bulk_of[link] - 1
        if left:
            self._bulk_of[link] = left
        else:
            del self._bulk_of[link]


def weight(batch: Sequence[Input]) -> int:
    """How many events a batch of backfill holds."""
    return sum(
        len(one.message.events) if isinstance(one, FromPeer) and isinstance(one.message, Events) else 1
        for one in batch
    )
