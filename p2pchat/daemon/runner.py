"""Write, then speak: the one task that owns node and ledger.

Decides: what is handled together in one transaction, when it is committed, what happens
when that fails, and that no effect leaves before its commit. Does not know: what inputs
mean (engine) or how an effect is carried out (`Hands`).

The batch is optimistic (docs/decisions/0001): if one input of it fails, the whole is
rolled back and each is handled again alone, so one poisoned input spoils nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import trio

from p2pchat.daemon import chores
from p2pchat.daemon.answers import Answers
from p2pchat.daemon.logbook import plain
from p2pchat.daemon.ordering import part_early, repeats, sends_first
from p2pchat.daemon.pace import Pace, carry_out, let_others
from p2pchat.daemon.refusals import full_disk, internal, is_full
from p2pchat.daemon.room import Room
from p2pchat.engine.inputs import (
    Change,
    CloseLink,
    DialFailed,
    Effect,
    FeedGrew,
    FromPeer,
    Input,
    LinkDown,
    LinkUp,
    NetworkChanged,
    Post,
    Refuse,
    Reply,
    SetTimer,
    Sighted,
    Started,
    Tell,
    TimerFired,
)
from p2pchat.engine.node import Node
from p2pchat.errors import ArchiveError, CommandError, P2pchatError, RemoteProtocolError
from p2pchat.model import Now
from p2pchat.store.ledger import Ledger
from p2pchat.wire.messages.holders import Deposit, Handed
from p2pchat.wire.messages.link import Events, Given

log = logging.getLogger(__name__)

T = TypeVar("T")

LIVE_BATCH: Final = 64
LIVE_BATCH_S: Final = 0.010
"""A batch of live inputs ends at this many or after this long, so nobody waits for others."""
LINGER_S: Final = 0.002
"""So long receipts wait for a commit to share: the answers of a room, or one's own next message."""
BULK_EVENTS: Final = 1024
BULK_SLICE_S: Final = 0.005
BULK_RUN: Final = 16
"""A frame with more events than this is backfill, not chat."""
CHORES_AFTER_S: Final = 0.25
"""So long nothing must have come before chores are done: chat first."""
REBUILD_WINDOW_S: Final = 60.0
TIMER_AGAIN_S: Final = 60.0
"""A timer that failed fires again after this: each of them carries on something for good."""
ROOM_AGAIN_S: Final = 1.0
"""How often a full disk is looked at, while somebody waits for room on it."""
_GROWS: Final = (FromPeer, Post, Change)
"""Inputs that may make the archive larger by more than a row of bookkeeping."""
_OF_OTHERS: Final = (Events, Deposit, Handed)
"""And what of peers does."""


class Stop(P2pchatError):
    """The daemon cannot go on; its exit code is 9."""


class Hands(Protocol):
    """Whoever carries out effects. None of it waits."""

    def perform(self, effect: Effect) -> None: ...
    def taken(self, link: int) -> None:
        """An input of this link has left the inbox."""


class Source(Protocol):
    """Makes node and ledger, at the start and again after a failure."""

    def __call__(self) -> tuple[Node, Ledger]: ...


class Runner:
    """The loop. `post` and `ask` are for other tasks of the same thread."""

    def __init__(
        self,
        source: Source,
        hands: Hands,
        clock: Callable[[], Now],
        *,
        stopwatch: Callable[[], float],
        in_thread: Callable[[Callable[[], None]], Awaitable[None]] | None,
        room: Room | None = None,
    ) -> None:
        """`stopwatch` gives seconds for pacing; `in_thread` runs a slow commit elsewhere, None: never.

        `room` watches the disk; None where there is none to fill.
        """
        self._source = source
        self._hands = hands
        self.clock = clock
        self._stopwatch = stopwatch
        self._in_thread = in_thread
        self._room = room
        self._turned_away: dict[int, None] = {}
        """Links whose events were not taken for lack of room: they begin anew once there is some."""
        self.node, self.ledger = source()
        self._live: deque[Input] = deque()
        self._bulk: deque[FromPeer] = deque()
        self._bulk_of: dict[int, int] = {}
        self._wake = trio.Event()
        self._answers = Answers(self.post)
        self.ask = self._answers.ask
        self.pace = Pace()
        self._failed_at: float | None = None
        self._stopping = False
        self._rested = False
        self._resting_since = 0.0
        self._may_tidy = trio.Event()
        self._chores_due = False
        self.idle = trio.Event()
        self.feed_changed = trio.Event()
        self.tells: dict[object, Callable[[Tell], None]] = {}
        self.batches = 0

    # -- for other tasks --------------------------------------------------------------------

    def post(self, event: Input) -> None:
        """Put something into the inbox. Whoever can flood must bound himself (links do)."""
        if isinstance(event, FromPeer) and self._is_bulk(event):
            self._bulk.append(event)
            self._bulk_of[event.link] = self._bulk_of.get(event.link, 0) + 1
        else:
            self._live.append(event)
        self.idle = trio.Event() if self.idle.is_set() else self.idle
        self._wake.set()

    def _is_bulk(self, event: FromPeer) -> bool:
        """Backfill, and what must not overtake it on the same link."""
        if isinstance(event.message, Events):
            return len(event.message.events) > BULK_RUN or event.link in self._bulk_of
        return isinstance(event.message, Given) and event.link in self._bulk_of

    def stop(self) -> None:
        """Handle what lies in the inbox, then return from `run`."""
        self._stopping = True
        self._wake.set()

    # -- the loop -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`. Raises Stop if the archive fails twice within a minute."""
        failed: Stop | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watching_rest)
            try:
                await self._loop()
            except Stop as stop:  # as itself, not in a group
                failed = stop
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _loop(self) -> None:
        while True:
            if self._live or self._bulk:
                self._chores_due = False
            if self._live:
                await self._batch(self._admit(self._take_live()))
                if self._live:  # a crowd of links must not keep the loop from everything else
                    await trio.lowlevel.checkpoint()
            elif self._bulk:
                await self._batch(self._admit(self._take_bulk(), bulk=True), bulk=True)
                await let_others()
            elif self._stopping:
                self.idle.set()
                return
            else:
                await self._rest()

    async def _rest(self) -> None:
        self.idle.set()
        self._wake = trio.Event()
        if self._live or self._bulk or self._stopping:
            return
        if self._turned_away:
            with trio.move_on_after(ROOM_AGAIN_S):
                await self._wake.wait()
            self._look_for_room()
            return
        if self._chores_due:
            if not self._rested and self._has_room():
                await self._chores()
                return  # and go on, as long as nothing comes
            self._chores_due = False
        if not self._rested:
            self._resting_since = trio.current_time()
            self._may_tidy.set()
        await self._wake.wait()

    async def _watching_rest(self) -> None:
        """Wakes the loop for its chores once nothing has come for a while."""
        while True:
            await self._may_tidy.wait()
            wait = self._resting_since + CHORES_AFTER_S - trio.current_time()
            if wait > 0:  # a scope for each rest of the loop would cost each message more
                await trio.sleep(wait)
                continue
            self._may_tidy = trio.Event()
            self._chores_due = True
            self._wake.set()

    async def _chores(self) -> None:
        try:
            self._rested = await chores.do_some(
                self.ledger, lambda: bool(self._live or self._bulk or self._stopping), self._commit
            )
        except Exception as error:  # as in _batch: nothing half done may stay
            self._rebuild(error)
        await let_others()

    def _take_live(self) -> list[Input]:
        batch: list[Input] = []
        while self._live and len(batch) < LIVE_BATCH:
            batch.append(self._live.popleft())
        return batch

    def _take_bulk(self, most: int = BULK_EVENTS) -> list[Input]:
        batch: list[Input] = []
        while self._bulk and _weight(batch) < most:
            batch.append(self._bulk.popleft())
        return batch

    def _has_room(self) -> bool:
        return self._room is None or self._room.for_own()

    def _admit(self, batch: list[Input], *, bulk: bool = False) -> list[Input]:
        """What of `batch` the disk has room for. Others' events stay with them, own words are refused."""
        if self._room is None or not any(isinstance(event, _GROWS) for event in batch):
            return batch
        if self._room.for_others():
            return batch
        own = self._room.for_own()
        kept: list[Input] = []
        for event in batch:
            if isinstance(event, FromPeer) and isinstance(event.message, _OF_OTHERS):
                self._turned_away[event.link] = None
                self._taken([event], bulk=bulk)
            elif isinstance(event, Post | Change) and not own:
                self._perform(Refuse(event.request, full_disk()))
            else:
                kept.append(event)
        return kept

    def _look_for_room(self) -> None:
        """Room again: links whose events were not taken end, and what is missing comes with the next."""
        if self._room is None or not self._room.for_others():
            return
        self._room.restore()
        for link in self._turned_away:
            self._perform(CloseLink(link, "restart"))
        self._turned_away.clear()

    async def _batch(self, batch: list[Input], *, bulk: bool = False) -> None:
        self.batches += 1
        before = self.node.snapshot()
        try:
            effects, handled = await self._try(batch, bulk=bulk)
            await self._commit()
        except ArchiveError as error:
            self._rebuild(error, batch, bulk=bulk)
            return
        except P2pchatError as error:
            try:
                self._undo(before)
            except P2pchatError as worse:
                self._rebuild(worse, batch, bulk=bulk)
                return
            if len(batch) == 1:
                self._taken(batch, bulk=bulk)
                self._refuse(batch[0], error)
                return
            for event in batch:
                await self._batch([event], bulk=bulk)
            return
        except Exception as error:  # a bug of ours: nothing of this batch may stay, in memory or on disk
            log.exception("an input could not be handled")
            self._rebuild(error, batch, bulk=bulk)
            return
        for event in reversed(batch[handled:]):
            if bulk and isinstance(event, FromPeer):
                self._bulk.appendleft(event)
            else:
                self._live.appendleft(event)
        self._taken(batch[:handled], bulk=bulk)
        await carry_out(effects, self._perform, self._stopwatch)

    def _taken(self, batch: Sequence[Input], *, bulk: bool = False) -> None:
        """These have left the inbox, and so has the bulk lane what came out of it."""
        for event in batch:
            if not isinstance(event, FromPeer):
                continue
            self._hands.taken(event.link)
            if bulk:
                left = self._bulk_of[event.link] - 1
                if left:
                    self._bulk_of[event.link] = left
                else:
                    del self._bulk_of[event.link]

    async def _try(self, batch: list[Input], *, bulk: bool) -> tuple[list[Effect], int]:
        """Handle inputs of `batch` until the time for one transaction is over.

        Backfill has the time it takes, but lets the others live in between, and gives way
        as soon as there is anything live.
        """
        now = self.clock()
        self.ledger.begin()
        effects: list[Effect] = []
        began, handled = self._stopwatch(), 0
        limit = BULK_SLICE_S if bulk else LIVE_BATCH_S
        for event in batch:
            effects += self.node.handle(event, now)
            handled += 1
            if (handled == len(batch) and not bulk) or self._stopwatch() - began <= limit:
                continue
            if not bulk:
                break
            effects = self._speak_early(effects)
            await let_others()
            if self._live:
                break
            if handled == len(batch):  # what has come meanwhile shares the commit
                batch += self._admit(self._take_bulk(BULK_EVENTS - _weight(batch)), bulk=True)
            began = self._stopwatch()
        if handled == len(batch) and all(repeats(event) for event in batch):
            effects, now = await self._lingering(batch, effects, now)
            handled = len(batch)
        return sends_first(effects, self.node.close_batch(now)), handled

    async def _lingering(
        self, batch: list[Input], effects: list[Effect], now: Now
    ) -> tuple[list[Effect], Now]:
        """A batch of receipts alone waits a moment for what comes next, and shares its commit.

        Receipts repeat, so nothing is lost with one (docs/decisions/0006). Who waits for one is
        answered at once, for his next message may be what comes.
        """
        until = trio.current_time() + LINGER_S
        effects = self._speak_early(effects)
        while all(repeats(event) for event in batch) and not self._bulk and not self._stopping:
            self._wake = trio.Event()
            if not self._live:
                with trio.move_on_at(until):
                    await self._wake.wait()
                if not self._live:
                    break
            now = self.clock()
            began = self._stopwatch()
            while self._live and len(batch) < LIVE_BATCH and self._stopwatch() - began <= LIVE_BATCH_S:
                admitted = self._admit([self._live.popleft()])
                batch += admitted  # before it is handled: if that fails, all are done again alone
                for event in admitted:
                    effects += self.node.handle(event, now)
            effects = self._speak_early(effects)
            if len(batch) >= LIVE_BATCH:
                break
        return effects, now

    def _speak_early(self, effects: list[Effect]) -> list[Effect]:
        """Give answers and ask questions that need no commit; the rest of the effects."""
        early, rest = part_early(effects)
        for effect in early:
            self._perform(effect)
        return rest

    async def _commit(self) -> None:
        if not self.ledger.wrote:
            self.ledger.commit()  # touches no disk, and keeps the caches a rollback would drop
            return
        self._rested = False
        started = self._stopwatch()
        if self._in_thread is not None and self.pace.slow:
            with trio.CancelScope(shield=True):
                await self._in_thread(self.ledger.commit)
        else:
            self.ledger.commit()
        self.pace.seconds.append(self._stopwatch() - started)

    def _undo(self, before: object) -> None:
        if self.ledger.wrote or not self.node.untouched:
            self.ledger.rollback()
            self.node.forget()
        else:  # most refusals: reading everything anew takes 60 ms
            self.ledger.commit()
        self.node.restore(before)  # type: ignore[arg-type]

    def _refuse(self, event: Input, error: P2pchatError) -> None:
        """One input failed alone: say so where it came from."""
        if isinstance(error, RemoteProtocolError) and isinstance(event, FromPeer | LinkUp):
            log.info("link %d ends: %s", event.link, error.reason)
            self._perform(CloseLink(event.link, error.reason))
            if isinstance(event, LinkUp) and event.dial is not None:
                self.post(DialFailed(event.dial, error.reason))  # or its place would be taken for ever
        elif isinstance(error, CommandError) and hasattr(event, "request"):
            self._perform(Refuse(event.request, error))
        else:
            log.error("an input of kind %s failed: %s", type(event).__name__, error)
            if hasattr(event, "request"):
                self._perform(Refuse(event.request, internal()))
            elif isinstance(event, FromPeer | LinkUp):
                self._perform(CloseLink(event.link, "internal"))  # the node may not know this link
            elif isinstance(event, TimerFired):
                again = self.clock().mono + TIMER_AGAIN_S  # what it would have set was rolled back
                self.node.live.timers[event.name] = again
                self._perform(SetTimer(event.name, again))

    def _rebuild(self, error: BaseException, batch: list[Input] | None = None, *, bulk: bool = False) -> None:
        """Node and handle are not to be trusted any more: build both anew from the disk."""
        now = self._stopwatch()
        log.error("starting over from the archive: %s", error)
        full = self._room is not None and is_full(error)
        if self._room is not None and full:
            self._room.give_up()
        elif any(isinstance(event, FromPeer | LinkUp) for event in batch or ()):
            pass  # somebody else's doing: it costs the links, and may not cost the daemon
        elif self._failed_at is not None and now - self._failed_at < REBUILD_WINDOW_S:
            raise Stop(f"the archive failed twice within a minute: {plain(error)}")
        else:
            self._failed_at = now
        links = list(self.node.live.links)
        addresses, port = self.node.live.addresses, self.node.live.port
        counter, sights = self.node.live.counter, list(self.node.live.sights.values())
        try:
            self.ledger.close()
            self.node, self.ledger = self._source()
        except ArchiveError as again:
            raise Stop(f"the archive cannot be opened again: {plain(again)}") from again
        self.node.live.counter = counter  # dials under way keep numbers of their own
        self._turned_away.clear()
        for link in links:
            self._perform(CloseLink(link, "restart"))
        self.post(Started(port))
        self.post(NetworkChanged(addresses))
        for sight in sights:  # who announced himself once will not do so again for us
            self.post(Sighted(sight.label, sight.addresses, sight.port, ()))
        self._answers.give_up(batch or (), tuple(self._live), error)
        self._taken(batch or (), bulk=bulk)
        for event in batch or ():
            if isinstance(event, LinkUp):
                self._perform(CloseLink(event.link, "restart"))
            elif isinstance(event, LinkDown):
                self.post(event)

    # -- effects ----------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Reply(request, result):
                self._answers.reply(request, result)
            case Refuse(request, error, result):
                self._answers.refuse(request, error, result)
            case FeedGrew():
                self.feed_changed.set()
                self.feed_changed = trio.Event()
            case Tell():
                for listener in list(self.tells.values()):
                    listener(effect)
            case _:
                self._hands.perform(effect)


def _weight(batch: Sequence[Input]) -> int:
    """How many events a batch of backfill holds."""
    return sum(
        len(one.message.events) if isinstance(one, FromPeer) and isinstance(one.message, Events) else 1
        for one in batch
    )
