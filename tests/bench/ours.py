"""Daemons of p2pchat on machines of a network, as a contestant.

Decides: how they are started, brought together and asked. Does not know: rounds or tables.
`Driven` is driver.py: a daemon measured from inside. The program itself, with its control
socket, is started as users start it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from p2pchat.control.client import PlainClient, connect
from p2pchat.errors import CommandError
from p2pchat.paths import profile
from tests.bench.contests import RUN_S, Place, fresh
from tests.bench.prototype import TEXT
from tests.bench.workers import Worker, WorkerFailed, python_module, workers
from tests.kit.netns import Host

LINKED_S = 60.0
"""How long two machines may take to meet, and one program to start."""
CROWD_S = 180.0
"""How long many may take that all start at once on these few cores."""


@dataclass
class Driven:
    """One driven daemon. `account`, `device` and `label` are known once it goes."""

    worker: Worker
    account: str = ""
    device: str = ""
    label: str = ""
    went: float = 0.0

    def go(self) -> None:
        """Start it, without waiting."""
        self.worker.tell(do="go")

    def gone(self) -> None:
        """Wait until it is up."""
        self.went = self.worker.hear("going")
        said = self.worker.hear_all("account", LINKED_S)
        self.account, self.device, self.label = said["account"], said["device"], said["label"]


def drive(
    stack: ExitStack, host: Host, folder: Path, name: str, *, profiled: bool = False, control: bool = False
) -> Driven:
    """A loaded daemon that waits for `go`."""
    options: list[object] = ["--profile", folder / f"{name}.prof"] if profiled else []
    options += ["--control"] if control else []
    argv = python_module("tests.bench.driver", folder / name, name, *options)
    driven = Driven(stack.enter_context(Worker(host, argv, folder)))
    driven.worker.hear("up")
    return driven


def pair(stack: ExitStack, place: Place, folder: Path, *, profiled: bool = False) -> tuple[Driven, Driven]:
    """alice and bob, linked to each other by mDNS alone."""
    alice = drive(stack, place.alice, folder, "alice", profiled=profiled)
    bob = drive(stack, place.bob, folder, "bob", profiled=profiled)
    for one in (alice, bob):
        one.go()
    for one in (alice, bob):
        one.gone()
    for one in (alice, bob):
        one.worker.hear("linked", LINKED_S)
    return alice, bob


def round_trips(place: Place, count: int, pause_s: float = 0.0) -> list[float]:
    """Seconds of each Post until its Reply "delivered", inside alice's daemon, `pause_s` between them."""
    with workers() as stack:
        alice, bob = pair(stack, place, fresh(place, "daemons"))
        alice.worker.tell(do="trips", to=bob.account, count=count, pause_s=pause_s)
        took: list[float] = alice.worker.hear("done_s", RUN_S)
        return took


def stream(place: Place, count: int) -> float:
    """Messages a second from alice to bob."""
    with workers() as stack:
        alice, bob = pair(stack, place, fresh(place, "stream"))
        alice.worker.tell(do="trips", to=bob.account, count=5)  # the first epoch is no part of a rate
        alice.worker.hear("done_s", RUN_S)
        alice.worker.tell(do="stream", to=bob.account, count=count)
        rate: float = alice.worker.hear("rate", RUN_S)
        return rate


def with_profile(place: Place, kind: str, count: int) -> Path:
    """Where the time goes: a folder with alice.prof and bob.prof of `kind` trips or stream."""
    folder = fresh(place, "profile")
    with workers() as stack:
        alice, bob = pair(stack, place, folder, profiled=True)
        alice.worker.tell(do=kind, to=bob.account, count=count)
        alice.worker.hear("done_s" if kind == "trips" else "rate", RUN_S)
        for one in (alice, bob):
            one.worker.tell(do="leave")
        for one in (alice, bob):
            one.worker.process.wait(30)
    return folder


# -- the program itself -----------------------------------------------------------------------


@dataclass
class Program:
    """The daemon as users run it, in a home of its own."""

    process: Worker
    home: Path

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def client(self) -> PlainClient:
        """A connection to its control socket, which is a file and so reaches into any namespace."""
        return connect(profile(self.home))


def program(
    stack: ExitStack, host: Host, home: Path, name: str, env: Mapping[str, str] | None = None
) -> Program:
    """`python -m p2pchat` started on `host`; `ready` waits until it answers."""
    argv = python_module("p2pchat", "--home", home, "--name", name, "--foreground")
    return Program(stack.enter_context(Worker(host, argv, home.parent, env)), home)


def ready(one: Program) -> None:
    """Until its control socket answers."""
    until(lambda: answers(one), f"{one.home.name} does not answer")


def answers(one: Program) -> bool:
    """Whether its control socket answers; WorkerFailed if it has ended."""
    if one.process.process.poll() is not None:
        raise WorkerFailed(f"{one.home.name} ended:\n{one.process.said.read_text('utf-8', 'replace')}")
    try:
        one.client().close()
    except CommandError:
        return False
    return True


def until(holds: Callable[[], bool], otherwise: str, within_s: float = LINKED_S) -> None:
    """Ask until it holds; WorkerFailed after `within_s`. Real processes: no clock to hand in."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise WorkerFailed(otherwise)
        time.sleep(0.05)


def connected(client: PlainClient) -> int:
    """How many machines a daemon is linked to."""
    return sum(bool(peer["connected"]) for peer in client.call("peers.list", {}, 10.0)["peers"])


def socket_trips(place: Place, count: int) -> list[float]:
    """Seconds of each `send` with wait "delivered" on one open control connection."""
    folder = fresh(place, "programs")
    with workers() as stack:
        alice = program(stack, place.alice, folder / "alice", "alice")
        bob = program(stack, place.bob, folder / "bob", "bob")
        for one in (alice, bob):
            ready(one)
        client = stack.enter_context(alice.client())
        until(lambda: connected(client) == 1, "alice and bob did not meet")
        said = {"target": "bob", "text": TEXT, "wait": "delivered"}
        took = []
        for _ in range(count):
            start = time.perf_counter()
            client.call("send", said, 60.0)
            took.append(time.perf_counter() - start)
        return took


# -- many ---------------------------------------------------------------------------------------


def crowd(stack: ExitStack, hosts: Sequence[Host], folder: Path, *, profiled: bool = False) -> list[Driven]:
    """A daemon on every host, all going; profiled ones leave their profiles in `folder`."""
    inside = folder if profiled else folder / f"crowd-{time.monotonic_ns()}"
    inside.mkdir(exist_ok=True)
    members = [
        drive(stack, host, inside, f"member{number:02d}", profiled=profiled)
        for number, host in enumerate(hosts)
    ]
    for member in members:
        member.go()
    for member in members:
        member.gone()
    return members


def until_all_linked(members: Sequence[Driven]) -> None:
    """Until everybody is linked to everybody; WorkerFailed if that takes too long."""
    deadline = time.monotonic() + CROWD_S
    for member in members:
        missing = {other.account for other in members if other is not member}
        while missing:
            missing.discard(member.worker.hear("linked", max(0.1, deadline - time.monotonic())))


def room_of(author: Driven, members: Sequence[Driven]) -> str:
    """A room the author has made and let the members into."""
    author.worker.tell(do="room", people=[member.account for member in members])
    room: str = author.worker.hear("room", RUN_S)
    return room


def room_messages(
    hosts: Sequence[Host], folder: Path, count: int, pause_s: float, *, profiled: bool = False
) -> list[list[float]]:
    """Of each message in a room of all hosts: seconds from the Post to each receiver's commit.

    `profiled`: member00.prof, the author's, and those of the others stay in `folder`.
    """
    with ExitStack() as stack:
        author, *others = crowd(stack, hosts, folder, profiled=profiled)
        until_all_linked([author, *others])
        room = room_of(author, others)
        author.worker.tell(do="post", room=room, count=count, pause_s=pause_s)
        asked: list[tuple[int, float]] = author.worker.hear("asked", RUN_S)
        last, kept = asked[-1][0], []
        deadline = time.monotonic() + LINKED_S
        for other in others:
            while True:
                other.worker.tell(do="kept", room=room, device=author.device)
                told: list[tuple[int, float]] = other.worker.hear("kept", RUN_S)
                if told and told[-1][0] >= last:
                    break
                if time.monotonic() > deadline:
                    raise WorkerFailed(f"{folder.name}: a message of the room did not arrive")
                time.sleep(0.05)
            kept.append(told)
        for one in (author, *others) if profiled else ():
            one.worker.tell(do="leave")
            one.worker.process.wait(30)
    return [[_first(told, number) - at for told in kept] for number, at in asked]


def _first(told: Sequence[tuple[int, float]], number: int) -> float:
    """When the event of that number was first among what was committed."""
    return next(at for seq, at in told if seq >= number)


@dataclass(frozen=True)
class Arrival:
    """When each of the others had sighted the newcomer, and was linked to it; ms since it went."""

    sighted_ms: list[float]
    linked_ms: list[float]


def newcomer(members: Sequence[Driven], host: Host, folder: Path, name: str) -> Arrival:
    """One more daemon comes, is met by all, and leaves again."""
    with workers() as stack:
        inside = folder / f"{name}-{time.monotonic_ns()}"
        inside.mkdir()
        came = drive(stack, host, inside, name)
        came.go()
        came.gone()
        sighted = [_when(member, "sighted", came.label) - came.went for member in members]
        linked = [_when(member, "linked", came.account) - came.went for member in members]
        came.worker.tell(do="leave")
        came.worker.process.wait(30)
    return Arrival([s * 1e3 for s in sighted], [s * 1e3 for s in linked])


def _when(member: Driven, word: str, what: str) -> float:
    """When `member` said `word` of `what`."""
    at: float = member.worker.find(word, what, LINKED_S)["t"]
    return at


def ring(hosts: Sequence[Host], folder: Path, count: int) -> float:
    """Messages a second of all together, each daemon streaming `count` to the next."""
    with ExitStack() as stack:
        members = crowd(stack, hosts, folder)
        until_all_linked(members)
        following = [*members[1:], members[0]]
        for member, other in zip(members, following, strict=True):
            member.worker.tell(do="trips", to=other.account, count=2)
        for member in members:
            member.worker.hear("done_s", RUN_S)
        start = time.perf_counter()
        for member, other in zip(members, following, strict=True):
            member.worker.tell(do="stream", to=other.account, count=count)
        for member in members:
            member.worker.hear("rate", RUN_S)
        return count * len(members) / (time.perf_counter() - start)
