"""A runner with everything around it false: node, archive, links, and inputs to feed it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2pchat.daemon.runner import BULK_RUN, Runner
from p2pchat.engine.context import Link, Live
from p2pchat.engine.inputs import (
    ConfirmShown,
    Effect,
    Forgotten,
    FromPeer,
    Input,
    LinkUp,
    Lost,
    TimerFired,
)
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import Now
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.messages.events import Event, Header
from p2pchat.wire.messages.link import Events, Ping

ROOM = b"r" * 32


@dataclass
class FakeViews:
    """Counts chores."""

    indexed: list[int] = field(default_factory=list)
    left: int = 0
    error: Exception | None = None

    def index_some(self, limit: int) -> int:
        if self.error is not None:
            raise self.error
        self.indexed.append(limit)
        done = min(limit, self.left)
        self.left -= done
        return done


class FakeLedger:
    """A transaction log: rows are durable only by `commit`."""

    def __init__(self, disk: list[object], trace: list[str]) -> None:
        self.disk = disk
        self.trace = trace
        self.rows: list[object] = []
        self.open = False
        self.closed = False
        self.fail_commit: Exception | None = None
        self.views = FakeViews()

    @property
    def wrote(self) -> bool:
        return bool(self.rows)

    def begin(self) -> None:
        assert not self.open
        self.open = True

    def commit(self) -> None:
        assert self.open
        if self.fail_commit is not None:
            raise self.fail_commit
        self.open = False
        if self.rows:
            self.trace.append(f"commit {len(self.rows)}")
        self.disk += self.rows
        self.rows = []

    def rollback(self) -> None:
        self.open = False
        self.rows = []
        self.trace.append("rollback")

    def scrub(self) -> bool:
        return True

    def close(self) -> None:
        self.rollback()
        self.closed = True


class FakeNode:
    """Writes each input down; `acts` says what else follows from one."""

    def __init__(self, play: Play, ledger: FakeLedger) -> None:
        self.live = Live()
        self.play = play
        self.ledger = ledger
        self.batch: list[Input] = []
        self.forgot = 0

    def snapshot(self) -> Live:
        return self.live.snapshot()

    def restore(self, snapshot: Live) -> None:
        self.live = snapshot

    def forget(self) -> None:
        self.forgot += 1

    def handle(self, event: Input, now: Now) -> list[Effect]:
        self.play.handled.append(event)
        act = self.play.acts.get(event) or self.play.acts.get(type(event))
        if isinstance(event, LinkUp):
            self.live.links[event.link] = link(event.link)
        if not isinstance(event, Forgotten | Lost):
            self.ledger.rows.append(event)
        self.batch.append(event)
        return act(self) if act else []

    def close_batch(self, now: Now) -> list[Effect]:
        self.play.batches.append(self.batch)
        self.batch = []
        return []


class Play:
    """A runner with everything around it false, and a record of all that happened."""

    def __init__(self, *, thread: bool = False) -> None:
        self.disk: list[object] = []
        self.trace: list[str] = []
        self.handled: list[Input] = []
        self.batches: list[list[Input]] = []
        self.acts: dict[object, Callable[[FakeNode], list[Effect]]] = {}
        self.made = 0
        self.fail_open: Exception | None = None
        self.spent = 0.0
        self.threaded = 0
        self.taken_of: list[int] = []
        self.runner = Runner(
            self.source,  # type: ignore[arg-type]
            self,
            lambda: Now(0, trio.current_time()),
            stopwatch=lambda: trio.current_time() + self.spent,
            in_thread=self.in_thread if thread else None,
        )

    def source(self) -> tuple[FakeNode, FakeLedger]:
        if self.fail_open is not None:
            raise self.fail_open
        self.made += 1
        ledger = FakeLedger(self.disk, self.trace)
        return FakeNode(self, ledger), ledger

    async def in_thread(self, work: Callable[[], None]) -> None:
        self.threaded += 1
        await trio.sleep(0.5)
        work()

    def perform(self, effect: Effect) -> None:
        self.trace.append(f"{type(effect).__name__} {getattr(effect, 'link', '')}".strip())

    def taken(self, link: int) -> None:
        self.taken_of.append(link)

    @property
    def node(self) -> FakeNode:
        return self.runner.node  # type: ignore[return-value]

    @property
    def ledger(self) -> FakeLedger:
        return self.runner.ledger  # type: ignore[return-value]

    async def settle(self) -> None:
        await self.runner.idle.wait()


@asynccontextmanager
async def running(play: Play) -> AsyncIterator[Play]:
    """The runner at work, stopped at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play.runner.run)
        yield play
        play.runner.stop()


def link(number: int) -> Link:
    return Link(
        number, DeviceId(b"d" * 32), AccountId(b"a" * 32), True, "192.0.2.1", 26700, b"h" * 64, 0.0, 0
    )


def up(number: int) -> LinkUp:
    return LinkUp(
        number, DeviceId(b"d" * 32), AccountId(b"a" * 32), (), (), True, "192.0.2.1", 26700, b"h" * 64, 0
    )


def said(number: int, message: Record | None = None) -> FromPeer:
    return FromPeer(number, message or Ping(0))


def run_of(number: int, count: int = BULK_RUN + 1) -> FromPeer:
    """Backfill: a frame of many events."""
    zero = b"\0" * 32
    header = Header(1, ROOM, zero, 1, zero, (), (), 0, 0, b"\0" * 16, zero, 0)
    return FromPeer(number, Events((Event(encode(header), b"", b""),) * count))


def shown(request: int) -> ConfirmShown:
    return ConfirmShown(request, "x", ())


def raises(error: Exception) -> Callable[[FakeNode], list[Effect]]:
    def act(node: FakeNode) -> list[Effect]:
        raise error

    return act


def timer(name: str) -> TimerFired:
    return TimerFired(name)
