"""A runner among fakes: a node that does as it is told, a ledger that counts, hands that remember.

Inputs are TimerFired("word …") with words the fake node understands, so that a test reads
as what happened. The real node and ledger under the real runner stand in house.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from p2pchat.daemon.runner import Runner
from p2pchat.engine.context import Live
from p2pchat.engine.inputs import (
    CloseLink,
    Effect,
    FeedGrew,
    FromPeer,
    Input,
    NetworkChanged,
    Post,
    Refuse,
    Reply,
    Send,
    Sighted,
    Started,
    TimerFired,
)
from p2pchat.errors import ArchiveError, CommandError, LocalProtocolError, RemoteProtocolError
from p2pchat.model import Now
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import Given, Ping, Receipt

Story = list[tuple[str, object]]


class Views:
    """Text to index, in pieces."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger

    def index_some(self, limit: int) -> int:
        """So many rows are done; as many again may be left."""
        if self._ledger.index_fails is not None:
            raise self._ledger.index_fails
        done = min(limit, self._ledger.unindexed)
        self._ledger.unindexed -= done
        self._ledger.on_index()
        return done


@dataclass
class FakeLedger:
    """Counts transactions; fails when told."""

    story: Story
    wrote: bool = False
    open: bool = False
    closed: bool = False
    unindexed: int = 0
    disk: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    commit_fails: Exception | None = None
    rollback_fails: Exception | None = None
    index_fails: Exception | None = None
    on_index: Callable[[], None] = lambda: None
    commit_takes: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.views = Views(self)

    def begin(self) -> None:
        assert not self.open
        self.open, self.wrote = True, False
        self.pending = []

    def commit(self) -> None:
        assert self.open
        if self.wrote and self.commit_takes is not None:
            self.commit_takes()
        if self.wrote and self.commit_fails is not None:
            raise self.commit_fails
        self.open = False
        self.disk += self.pending
        self.story.append(("commit", self.wrote))

    def rollback(self) -> None:
        self.story.append(("rollback", None))
        self.open = False
        if self.rollback_fails is not None:
            raise self.rollback_fails

    def scrub(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
        self.story.append(("close", None))


class FakeNode:
    """Knows `write X`, `read X`, `local X`, `remote X`, `no X`, `bug X`, `archive X`, `slow S` and `feed`."""

    def __init__(self, stage: Stage, ledger: FakeLedger) -> None:
        self.live = Live()
        self.stage = stage
        self.ledger = ledger
        self.seen: list[str] = []
        self.before: list[str] = []
        self.forgotten = 0

    def begin(self) -> None:
        self.before = list(self.seen)

    def undo(self) -> None:
        self.seen = self.before

    def forget(self) -> None:
        self.forgotten += 1

    @property
    def untouched(self) -> bool:
        return not self.ledger.pending

    def handle(self, event: Input, now: Now) -> list[Effect]:
        assert self.ledger.open
        match event:
            case TimerFired(name):
                return self._told(name)
            case Post(request, _, text):
                effects = self._told(text)
                if text.startswith("wait"):
                    return effects
                return [*effects, Reply(request, {"said": text})]
            case FromPeer(link, message):
                self.stage.story.append(("handled", link))
                if isinstance(message, Given | Receipt):
                    return self._told(message.room.decode())
                return []
            case Started() | NetworkChanged():
                self.stage.story.append(("begins", type(event).__name__))
                return []
            case Sighted(label, addresses, port):
                self.stage.story.append(("begins", f"{label} at {addresses[0]}:{port}"))
                return []
            case _:
                self.seen.append(type(event).__name__)
                return []

    def _told(self, name: str) -> list[Effect]:
        word, _, rest = name.partition(" ")
        self.seen.append(name)
        match word:
            case "write":
                self.ledger.wrote = True
                self.ledger.pending.append(rest)
                return [Send(len(self.ledger.disk) + len(self.ledger.pending), Ping(1))]
            case "answer":
                self.ledger.wrote = True
                self.ledger.pending.append(name)
                return [Reply(int(rest), name, early=True)]
            case "feed":
                return [FeedGrew()]
            case "slow":
                self.stage.clock_s += float(rest)
            case "local":
                self.ledger.wrote = True
                self.ledger.pending.append("never")
                raise LocalProtocolError(rest)
            case "remote":
                self.ledger.wrote = True
                self.ledger.pending.append("never")
                raise RemoteProtocolError(rest)
            case "refuse":
                self.ledger.pending.append("never")
                raise CommandError("policy", rest)
            case "no":
                raise CommandError("policy", rest)
            case "bug":
                self.ledger.wrote = True
                self.ledger.pending.append("never")
                raise ZeroDivisionError(rest)
            case "archive":
                raise ArchiveError(rest)
        return []

    def close_batch(self, now: Now) -> list[Effect]:
        assert self.ledger.open
        return []


class Stage:
    """A runner with everything around it. `story` tells what happened in order."""

    def __init__(self, in_thread: Callable[[Callable[[], None]], Awaitable[None]] | None = None) -> None:
        self.story: Story = []
        self.clock_s = 1000.0
        self.ledgers: list[FakeLedger] = []
        self.nodes: list[FakeNode] = []
        self.source_fails: Exception | None = None
        self.takes: list[int] = []
        self.disk: list[str] = []
        self.runner = Runner(
            self._source,  # type: ignore[arg-type]
            self,
            lambda: Now(0, self.clock_s),
            stopwatch=lambda: self.clock_s,
            in_thread=in_thread,
        )

    def _source(self) -> tuple[FakeNode, FakeLedger]:
        if self.source_fails is not None:
            raise self.source_fails
        ledger = FakeLedger(self.story, disk=self.disk)
        self.ledgers.append(ledger)
        self.nodes.append(FakeNode(self, ledger))
        return self.nodes[-1], ledger

    @property
    def ledger(self) -> FakeLedger:
        return self.ledgers[-1]

    @property
    def node(self) -> FakeNode:
        return self.nodes[-1]

    def perform(self, effect: Effect) -> None:
        assert not self.ledger.open, "an effect before its commit"
        self.story.append(("effect", effect))

    def taken(self, link: int) -> None:
        self.takes.append(link)

    def tell(self, *names: str) -> None:
        """Post these as inputs."""
        for name in names:
            self.runner.post(TimerFired(name))

    async def play(self, *names: str) -> None:
        """Post, run until nothing is left, stop."""
        self.tell(*names)
        self.runner.stop()
        await self.runner.run()

    def closed(self) -> list[tuple[int, str]]:
        """Links that were told to end."""
        return [(e.link, e.reason) for w, e in self.story if w == "effect" and isinstance(e, CloseLink)]

    def committed(self) -> list[bool]:
        """Whether each commit had anything to write."""
        return [bool(wrote) for word, wrote in self.story if word == "commit"]


def said(request: int, text: str) -> Post:
    """A command of somebody."""
    return Post(request, "bob", text)


def from_link(link: int, told: str) -> FromPeer:
    """A frame on `link` that makes the node do `told`."""
    message: Record = Given(told.encode(), False)
    return FromPeer(link, message)


def receipt(link: int, told: str) -> FromPeer:
    """A receipt on `link` that makes the node do `told`: `answer N` replies early to request N."""
    return FromPeer(link, Receipt(told.encode(), b"", (), b""))


__all__ = ["FakeLedger", "FakeNode", "Refuse", "Stage", "Story", "from_link", "receipt", "said"]


async def ask(stage: Stage, text: str, into: list[Any]) -> None:
    """Ask and keep what came of it."""
    try:
        into.append(await stage.runner.ask(lambda number: said(number, text)))
    except CommandError as error:
        into.append(error)
    except trio.Cancelled:
        into.append("cancelled")
        raise


def sends_after_commit(stage: Stage) -> int:
    """How many frames left; each must follow the commit of what it tells of."""
    count = 0
    last = ""
    for word, what in stage.story:
        if word == "effect" and isinstance(what, Send):
            assert last == "commit"
            count += 1
        elif word in ("commit", "rollback"):
            last = word
    return count
