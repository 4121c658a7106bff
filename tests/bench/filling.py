"""Archives with a long history in them, written by the engine itself in big transactions.

Decides: who writes a room's history here, in which words and over which time, and how somebody
is let into it before the two machines ever meet. Does not know: what is then measured, daemons
or networks.

The history is one author's, spread evenly over WEEKS weeks that end now, under a new key every
week. `run` says how many messages an author's machine wrote at once: 1 makes each carry a
signature of its own, as people write; 64 puts one signature over as many, as scripts do and as
the protocol allows at most.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from p2pchat.daemon.identity import load_or_make
from p2pchat.daemon.main import SystemEntropy
from p2pchat.engine import inputs as happened
from p2pchat.engine import overview
from p2pchat.engine.inputs import Effect, Input, Reply, Send, SetTimer
from p2pchat.engine.node import Node
from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.model import Now, RoomView
from p2pchat.store.ledger import MEMORY, open_ledger
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import decode_frame, encode_frame
from tests.bench.prototype import TEXT

WEEKS = 26
WEEK_MS = 7 * 24 * 3600 * 1000
TRANSACTION = 1024
"""Messages a transaction: filling is no figure."""
INDEXED = 4096
WORDS = 8192
NAME = "archive"
LINK = 1
"""Number of the link over which a newcomer's first word is played."""


@dataclass(frozen=True)
class Filled:
    """A home with a room of `count` messages in it; `head` is the last event of its author's chain."""

    home: Path
    room: RoomId
    account: AccountId
    device: DeviceId
    count: int
    head: int


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    dice = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [1 / (at + 1) for at in range(len(letters))]
    words = ["".join(dice.choices(letters, weights, k=dice.randint(2, 10))) for _ in range(WORDS)]
    return words, [1 / (at + 1) for at in range(WORDS)]


def texts(count: int) -> Iterator[str]:
    """`count` messages as long as those of the other figures, of words as unevenly spread as people's."""
    dice = random.Random(2)
    words, weights = _vocabulary()
    for number in range(count):
        said = " ".join(dice.choices(words, weights, k=len(TEXT) // 4))
        yield f"{number} {said}"[: len(TEXT)]


class Writer:
    """Somebody's node on an archive of its own, fed without a daemon."""

    def __init__(self, home: Path, name: str, wall_ms: int, *, on_disk: bool = True) -> None:
        """Makes the person at the first use of `home`; his archive is there, or only in memory."""
        home.mkdir(mode=0o700, exist_ok=True)
        entropy = SystemEntropy()
        self.home = home
        self.me = load_or_make(home / "identity", entropy.bytes).me
        self.ledger = open_ledger(home / "archive.db" if on_disk else MEMORY)
        self.node = Node(self.me, self.ledger, entropy, name=name, label=name)
        self.wall_ms = wall_ms
        self._due: dict[str, None] = {}
        self.feed([[happened.Started(0)]])

    def now(self) -> Now:
        return Now(self.wall_ms, self.wall_ms / 1000)

    def feed(self, batches: Sequence[Sequence[Input]], step_ms: int = 0) -> list[Effect]:
        """Batches as the runner would make them, `step_ms` apart, but all in one transaction; what
        they ask to be done."""
        effects: list[Effect] = []
        self.ledger.begin()
        for batch in batches:
            for event in batch:
                effects += self.node.handle(event, self.now())
            effects += self.node.close_batch(self.now())
            self.wall_ms += step_ms
        self.ledger.commit()
        keys = [e.name for e in effects if isinstance(e, SetTimer) and e.name.startswith("rotate:")]
        self._due.update(dict.fromkeys(keys))
        return effects

    def rotate(self) -> None:
        """What has been asked for since the last time: new keys, a week after the old."""
        due, self._due = self._due, {}
        for name in due:
            self.feed([[happened.TimerFired(name)]])

    def do(self, command: Callable[[int], Input]) -> dict[str, object]:
        """The answer to a command."""
        [answer] = [effect for effect in self.feed([[command(1)]]) if isinstance(effect, Reply)]
        assert isinstance(answer.result, dict)
        return answer.result

    def create(self, **options: object) -> RoomId:
        """A room that everybody else is let into later."""
        answer = self.do(lambda n: happened.CreateRoom(n, NAME, **options))  # type: ignore[arg-type]
        view = answer["room"]
        assert isinstance(view, RoomView)
        return view.id

    def up(self, other: Writer, link: int = LINK, *, initiator: bool = True) -> happened.LinkUp:
        """What we hear when a handshake with `other` is over."""
        hello = overview.hello(other.node.look(other.now()))
        return happened.LinkUp(
            link, other.me.device, other.me.account, hello.statements, hello.registers, initiator,
            f"192.0.{link >> 8}.{link & 255}", 0, bytes(64), self.wall_ms,
        )  # fmt: skip

    def meet(self, other: Writer) -> None:
        """Learn of somebody as on a link that ends again."""
        self.feed([[self.up(other)], [happened.LinkDown(LINK, "closed")]])

    def invite(self, room: RoomId, *people: Writer) -> None:
        """Let them in; they know nothing of it yet."""
        for one in people:
            self.meet(one)
        names = tuple(one.me.account.hex() for one in people)
        self.do(lambda n: happened.RoomAct(n, "invite", room.hex(), names))

    def index(self) -> None:
        """Full text, which a daemon would make when nothing happens."""
        done = 1
        while done:
            self.ledger.begin()
            done = self.ledger.views.index_some(INDEXED)
            self.ledger.commit()

    def head(self, room: RoomId) -> int:
        """The number of our last event there."""
        return self.ledger.events.heads(room)[self.me.device].seq

    def close(self) -> None:
        self.ledger.close()


def say(writer: Writer, room: RoomId, count: int, run: int, until_ms: int) -> None:
    """`count` messages of `run` a batch, from the writer's clock on until that of `until_ms`.

    A batch is written in one millisecond, as a daemon would, and the next one later.
    """
    step_ms = (until_ms - writer.wall_ms) // -(-count // run)
    left, done = texts(count), 0
    while done < count:
        size = min(TRANSACTION, count - done)
        posts = [happened.Post(0, room.hex(), text) for text in islice(left, size)]
        writer.feed([posts[at : at + run] for at in range(0, size, run)], step_ms)
        writer.rotate()
        done += size


def _as_it_is(message: Record) -> Record:
    return message


def converse(
    one: Writer, other: Writer, on_the_way: Callable[[Record], Record] = _as_it_is
) -> list[tuple[Record, int]]:
    """A link that `one` dials, until neither has anything left to say; every record with its bytes.

    `on_the_way` may change what is carried.
    """
    said: list[tuple[Record, int]] = []
    mail: deque[tuple[Writer, Writer, Record]] = deque()

    def feed(writer: Writer, far: Writer, event: Input) -> None:
        for effect in writer.feed([[event]]):
            if isinstance(effect, Send):
                mail.append((writer, far, effect.message))

    ups = one.up(other), other.up(one, initiator=False)
    feed(one, other, ups[0])
    feed(other, one, ups[1])
    while mail:
        sender, receiver, message = mail.popleft()
        raw = encode_frame(on_the_way(message))
        said.append((message, len(raw)))
        feed(receiver, sender, happened.FromPeer(LINK, decode_frame(raw)))
    for writer in (one, other):
        writer.feed([[happened.LinkDown(LINK, "closed")]])
    return said


def history(home: Path, count: int, run: int, newcomer: Path) -> Filled:
    """A room of `count` messages in `home`, and in `newcomer` somebody who is let in before the last
    of them and knows nothing."""
    now_ms = time.time_ns() // 10**6
    writer = Writer(home, "alice", now_ms - WEEKS * WEEK_MS)
    room = writer.create()
    say(writer, room, count - 1, run, now_ms)
    writer.wall_ms = now_ms
    other = Writer(newcomer, "bob", now_ms)
    writer.invite(room, other)
    other.close()
    say(writer, room, 1, run, now_ms)  # under a new key, sealed to the newcomer too
    writer.index()
    filled = Filled(home, room, writer.me.account, writer.me.device, count, writer.head(room))
    writer.close()
    return filled
