"""Write, then speak: the one loop that owns node and ledger.

Decides: what is handled together in one transaction, when it is committed, what happens
when that fails, and that no effect leaves before its commit. Does not know: what inputs
mean (engine) or how an effect is carried out (`Hands`).

The batch is optimistic (docs/decisions/0001): if one input of it fails, the whole is
rolled back and each is handled again alone, so one poisoned input spoils nothing else.

While the loop rests, whoever brings an input goes through its next step himself (`at_once`): one
turn of the scheduler less, some 0.1 ms of each message where twelve daemons share two cores.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from p2pchat.daemon import chores
from p2pchat.daemon.answers import Answers
from p2pchat.daemon.lanes import BULK_EVENTS, LIVE_BATCH, Lanes, weight
from p2pchat.daemon.logbook import plain
from p2pchat.daemon.ordering import part_early, repeats, sends_first
from p2pchat.daemon.pace import EFFECTS_S, Pace, carry_out, let_others
from p2pchat.daemon.refusals import full_disk, internal, is_full
from p2pchat.daemon.room import Door, Room
from p2pchat.engine.inputs import (
    CloseLink,
    DialFailed,
    Effect,
    FeedGrew,
    FromPeer,
    Input,
    LinkDown,
    LinkUp,
    NetworkChanged,
    Refuse,
    Reply,
    Send,
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

log = logging.getLogger(__name__)

LIVE_BATCH_S: Final = 0.010
"""A batch of live inputs ends after this long at the latest, so nobody waits for others."""
LINGER_S: Final = 0.002
"""So long receipts wait for a commit to share: the answers of a room, or one's own next message."""
TOGETHER_S: Final = 0.002
"""What comes so soon after an input that was handled at once shares a transaction with others."""
BULK_SLICE_S: Final = 0.005
MUCH: Final = BULK_EVENTS // 4
"""From so many events in a transaction on its commit is worth a thread (docs/decisions/0005)."""
REBUILD_WINDOW_S: Final = 60.0
TIMER_AGAIN_S: Final = 60.0
"""A timer that failed fires again after this: each of them carries on something for good."""
ROOM_AGAIN_S: Final = 1.0
"""How often a full disk is looked at, while somebody waits for room on it."""


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
        self._door = Door(room)
        self.node, self.ledger = source()
        self._lanes = Lanes()
        self._wake = trio.Event()
        self._answers = Answers(self.at_once)
        self.ask = self._answers.ask
        self.pace = Pace()
        self._failed_at: float | None = None
        self._stopping = False
        self._leisure = chores.Leisure(self._waken)
        self._resting = False
        self._together_until = 0.0
        self._unsaid: list[Effect] = []
        self._stop: Stop | None = None
        self._anew = False
        self.idle = trio.Event()
        self._feed_changed: trio.Event | None = None
        self.tells: dict[object, Callable[[Tell], None]] = {}
        self.batches = 0

    # -- for other tasks --------------------------------------------------------------------

    @property
    def feed_changed(self) -> trio.Event:
        """Is set once the feed has grown: to be taken before the feed is read. Made for who asks."""
        if self._feed_changed is None:
            self._feed_changed = trio.Event()
        return self._feed_changed

    def post(self, event: Input) -> None:
        """Put something into the inbox. Whoever can flood must bound himself (links do)."""
        self._lanes.put(event)
        self.idle = trio.Event() if self.idle.is_set() else self.idle
        self._waken()

    def at_once(self, event: Input) -> None:
        """Like `post`, from whoever has nothing more to post now: if the loop rests, it is handled in
        this very step of the scheduler. What comes right after it is handled together."""
        now = self._stopwatch()
        if (
            not self._resting
            or now < self._together_until
            or repeats(event)
            or (isinstance(event, FromPeer) and self._lanes.is_bulk(event))
            or (self._in_thread is not None and self.pace.slow)
        ):
            self.post(event)
            return
        self._together_until = now + TOGETHER_S
        batch = self._admit([event])
        if not batch:
            return
        self.batches += 1
        self.node.begin()
        try:
            at = self.clock()
            self.ledger.begin()
            effects = self.node.handle(event, at)
            effects = sends_first(effects, self.node.close_batch(at))
            self._commit_here()
        except Exception as error:
            try:
                self._gone_wrong(error, batch, bulk=False)
            except Stop as stop:  # whoever posted is not to end with it
                self._stop = stop
                self._waken()
            return
        self._taken(batch)
        began = self._stopwatch()
        for done, effect in enumerate(effects, 1):
            self._perform(effect)
            if done < len(effects) and self._stopwatch() - began > EFFECTS_S:
                self._unsaid = effects[done:]
                self.idle = trio.Event()
                self._waken()
                break
        self._leisure.begin()

    def stop(self) -> None:
        """Handle what lies in the inbox, then return from `run`."""
        self._stopping = True
        self._waken()

    def start_over(self) -> None:
        """Make node and ledger again from their source, which has changed."""
        self._anew = True
        self._waken()

    def _waken(self) -> None:
        self._resting = False  # there is something to do: nobody goes before it
        self._wake.set()

    # -- the loop -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`. Raises Stop if the archive fails twice within a minute."""
        failed: Stop | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leisure.watch)
            try:
                await self._loop()
            except Stop as stop:  # as itself, not in a group
                failed = stop
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _loop(self) -> None:
        while True:
            if self._stop is not None:
                raise self._stop
            if self._anew:
                self._anew = False
                self._build_anew(Stop("this machine goes on under another id"))
            if self._unsaid:
                effects, self._unsaid = self._unsaid, []
                await carry_out(effects, self._perform, self._stopwatch)
            if self._lanes:
                self._leisure.due = False
            if self._lanes.live:
                await self._batch(self._admit(self._lanes.take_live()))
                if self._lanes.live:  # a crowd of links must not keep the loop from everything else
                    await trio.lowlevel.checkpoint()
            elif self._lanes.bulk:
                await self._batch(self._admit(self._lanes.take_bulk(), bulk=True), bulk=True)
                await let_others()
            elif self._stopping:
                self.idle.set()
                return
            else:
                await self._rest()

    async def _rest(self) -> None:
        self.idle.set()
        self._wake = trio.Event()
        if self._lanes or self._stopping:
            return
        if self._door.turned_away:
            with trio.move_on_after(ROOM_AGAIN_S):
                await self._wake.wait()
            for link in self._door.open_again():
                self._perform(CloseLink(link, "restart"))
            return
        if self._leisure.due:
            if not self._leisure.done and self._door.has_room():
                await self._chores()
                return  # and go on, as long as nothing comes
            self._leisure.due = False
        self._leisure.begin()
        self._resting = True
        await self._wake.wait()
        self._resting = False

    async def _chores(self) -> None:
        try:
            self._leisure.done = await chores.do_some(
                self.ledger, lambda: bool(self._lanes or self._stopping), self._commit
            )
        except Exception as error:  # as in _batch: nothing half done may stay
            self._rebuild(error)
        await let_others()

    def _admit(self, batch: list[Input], *, bulk: bool = False) -> list[Input]:
        """What of `batch` the disk has room for. Others' events stay with them, own words are refused."""
        kept, left, refused = self._door.admit(batch)
        self._taken(left, bulk=bulk)
        for event in refused:
            self._perform(Refuse(event.request, full_disk()))
        return kept

    async def _batch(self, batch: list[Input], *, bulk: bool = False) -> None:
        self.batches += 1
        self.node.begin()
        try:
            effects, handled = await self._try(batch, bulk=bulk)
            await self._commit(much=bulk and weight(batch[:handled]) >= MUCH)
        except Exception as error:
            if self._gone_wrong(error, batch, bulk=bulk):
                for event in batch:
                    await self._batch([event], bulk=bulk)
            return
        self._lanes.put_back(batch[handled:], bulk=bulk)
        self._taken(batch[:handled], bulk=bulk)
        await carry_out(effects, self._perform, self._stopwatch)

    def _gone_wrong(self, error: Exception, batch: list[Input], *, bulk: bool) -> bool:
        """Undo a batch that failed; whether each of its inputs is to be handled again, alone."""
        if isinstance(error, P2pchatError) and not isinstance(error, ArchiveError):
            try:
                self._undo()
            except P2pchatError as worse:
                error = worse
            else:
                if len(batch) > 1:
                    return True
                self._taken(batch, bulk=bulk)
                self._refuse(batch[0], error)
                return False
        elif not isinstance(error, ArchiveError):
            log.exception("an input could not be handled")  # a bug of ours
        self._rebuild(error, batch, bulk=bulk)  # nothing of this batch may stay, in memory or on disk
        return False

    def _taken(self, batch: Sequence[Input], *, bulk: bool = False) -> None:
        """These have left the inbox, and so has the bulk lane what came out of it."""
        for event in batch:
            if not isinstance(event, FromPeer):
                continue
            self._hands.taken(event.link)
            if bulk:
                self._lanes.bulk_done(event.link)

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
            over = self._stopwatch() - began > limit
            if not bulk:
                if over and handled < len(batch):
                    break
                continue
            if over:
                effects = self._speak_early(effects)
                await let_others()
                if self._lanes.live:
                    break
                began = self._stopwatch()
            if handled == len(batch):  # what has come shares the commit: each writes the same pages again
                batch += self._admit(self._lanes.take_bulk(BULK_EVENTS - weight(batch)), bulk=True)
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
        while all(repeats(event) for event in batch) and not self._lanes.bulk and not self._stopping:
            self._wake = trio.Event()
            if not self._lanes.live:
                with trio.move_on_at(until):
                    await self._wake.wait()
                if not self._lanes.live:
                    break
            now = self.clock()
            began = self._stopwatch()
            while self._lanes.live and len(batch) < LIVE_BATCH and self._stopwatch() - began <= LIVE_BATCH_S:
                admitted = self._admit([self._lanes.live.popleft()])
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

    async def _commit(self, *, much: bool = False) -> None:
        """`much`: it takes some milliseconds on the best of disks, in which others may go on."""
        if self.ledger.wrote and self._in_thread is not None and (much or self.pace.slow):
            with trio.CancelScope(shield=True):
                await self._in_thread(self._commit_here)
        else:
            self._commit_here()

    def _commit_here(self) -> None:
        """In whatever thread; what getting there takes is not the disk's, and would keep it slow."""
        if not self.ledger.wrote:
            self.ledger.commit()  # touches no disk, and keeps the caches a rollback would drop
            return
        self._leisure.done = False
        started = self._stopwatch()
        self.ledger.commit()
        self.pace.took(self._stopwatch() - started)

    def _undo(self) -> None:
        if self.ledger.wrote or not self.node.untouched:
            self.ledger.rollback()
            self.node.forget()
        else:  # most refusals: reading everything anew takes 60 ms
            self.ledger.commit()
        self.node.undo()

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
        self._build_anew(error, batch, bulk=bulk)

    def _build_anew(
        self, error: BaseException, batch: list[Input] | None = None, *, bulk: bool = False
    ) -> None:
        before = self.node.live
        links, sights = list(before.links), list(before.sights.values())
        try:
            self.ledger.close()
            self.node, self.ledger = self._source()
        except ArchiveError as again:
            raise Stop(f"the archive cannot be opened again: {plain(again)}") from again
        self.node.live.counter = before.counter  # dials under way keep numbers of their own
        self.node.live.searching = before.searching
        self._door.turned_away.clear()
        for link in links:
            self._perform(CloseLink(link, "restart"))
        self._lanes.live.appendleft(Started(before.port))  # before whatever waits: it begins the new life
        self.post(NetworkChanged(before.addresses, before.networks))
        for sight in sights:  # who announced himself once will not do so again for us
            self.post(Sighted(sight.label, sight.addresses, sight.port, ()))
        self._answers.give_up(batch or (), tuple(self._lanes.live), error)
        self._taken(batch or (), bulk=bulk)
        for event in batch or ():
            if isinstance(event, LinkUp):
                self._perform(CloseLink(event.link, "restart"))
            elif isinstance(event, LinkDown):
                self.post(event)

    # -- effects ----------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._hands.perform(effect)
            case Reply(request, result):
                self._answers.reply(request, result)
            case Refuse(request, error, result):
                self._answers.refuse(request, error, result)
            case FeedGrew():
                if self._feed_changed is not None:
                    self._feed_changed.set()
                    self._feed_changed = None
            case Tell():
                for listener in list(self.tells.values()):
                    listener(effect)
            case _:
                self._hands.perform(effect)
