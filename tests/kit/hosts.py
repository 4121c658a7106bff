"""The real program on real machines: an office of namespaces, each with its own home.

Decides: how a command and a daemon are run on one machine, killed, waited for and always
ended. Does not know: any test, or what one is judged by (proof).

    with office(3, tmp_path) as (net, (ann, bob, cyn)):
        ann.up(), bob.up()
        meet(ann, bob)
        ann.p2pchat("send", "bob", "hello", "--wait", "delivered")

Everything here is real time: each wait asks the program until a deadline passes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar

from p2pchat.control.client import connect
from p2pchat.paths import Profile, profile
from tests.kit.netns import Host, Network

ROOT: Final = Path(__file__).resolve().parents[2]
NAMES: Final = ("ann", "bob", "cyn", "dan")

COMMAND_S: Final = 60.0
"""How long one command may take; nothing may hang a gate."""

MEET_S: Final = 30.0
"""Patience of plays that begin with a meeting; how fast one is promised is tested where it is promised."""

POLL_S: Final = 0.05

T = TypeVar("T")


def until(probe: Callable[[], T], timeout_s: float, what: str) -> T:
    """Ask until the answer is truthy; AssertionError with `what` and the last answer if it is not."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s; last seen: {answer!r}")
        time.sleep(POLL_S)


def environment(home: Path) -> dict[str, str]:
    """What a command sees: this checkout, a home of its own, no setting of the user."""
    found = {key: value for key, value in os.environ.items() if not key.startswith("P2PCHAT_")}
    path = os.pathsep.join((str(ROOT), str(ROOT / "cli")))
    return {**found, "HOME": str(home.parent), "PYTHONPATH": path, "NO_COLOR": "1"}


@dataclass(frozen=True)
class Answer:
    """What one command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on stdout; AssertionError if it is none or not pure ASCII."""
        assert self.out.isascii(), self.out
        value = json.loads(self.out)
        assert isinstance(value, dict)
        assert value["schema"] == 1
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The `error` of a failed command."""
        error = self.json["error"]
        assert error["code"] == self.code, self.out
        assert isinstance(error, dict)
        return error


class Place(Protocol):
    """Where commands run."""

    def command(self, *argv: str | os.PathLike[str]) -> list[str]:
        """`argv` as a command that runs there."""


class Machine:
    """One profile on one machine; a context manager that leaves no process behind."""

    def __init__(self, place: Place, home: Path, name: str) -> None:
        self.place = place
        self.home = home
        self.name = name
        self.profile: Profile = profile(home)
        self.pid: int | None = None
        self.options: tuple[str, ...] = ()
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait(COMMAND_S)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self.kill()

    # -- commands ------------------------------------------------------------------------

    def argv(self, *words: str) -> list[str]:
        """The command line of `p2pchat --json WORDS…` for this profile, on its machine."""
        program = (sys.executable, "-m", "p2pchat_cli", "--home", os.fspath(self.home), "--json")
        return self.place.command(*program, *words)

    def attempt(self, *words: str, timeout_s: float = COMMAND_S, stdin: str | None = None) -> Answer:
        """Run one command to its end, whatever that is."""
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=environment(self.home),
            timeout=timeout_s,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def p2pchat(self, *words: str, timeout_s: float = COMMAND_S, stdin: str | None = None) -> dict[str, Any]:
        """One command that must succeed: its JSON."""
        answer = self.attempt(*words, timeout_s=timeout_s, stdin=stdin)
        assert answer.code == 0, f"{self.name}: {' '.join(words)}: exit {answer.code}\n{answer}\n{self.log()}"
        return answer.json

    def lines(self, *words: str, timeout_s: float = COMMAND_S) -> list[dict[str, Any]]:
        """One command that prints a stream and ends well: its objects."""
        answer = self.attempt(*words, timeout_s=timeout_s)
        assert answer.code == 0, answer
        return [json.loads(line) for line in answer.out.splitlines()]

    def start(self, *words: str, output: Path | None = None) -> subprocess.Popen[str]:
        """A command that goes on beside the test (`listen`), ended with this machine.

        What it prints goes to pipes, or to the file `output` if there is nobody to read them.
        """
        with ExitStack() as stack:
            out = subprocess.PIPE if output is None else stack.enter_context(output.open("w"))
            process = subprocess.Popen(
                self.argv(*words),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.PIPE if output is None else subprocess.STDOUT,
                text=True,
                env=environment(self.home),
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def ask(self, operation: str, timeout_s: float = COMMAND_S, **params: Any) -> Any:
        """One operation straight over the control socket: the cheap way to ask again and again."""
        with connect(self.profile) as client:
            return client.call(operation, params, timeout_s)

    # -- the daemon ----------------------------------------------------------------------

    def up(self, *options: str) -> dict[str, Any]:
        """Start the daemon under this machine's name, with `options` now and at later starts."""
        if options:
            self.options = options
        answer = self.p2pchat("up", "--name", self.name, *self.options)
        self.pid = answer["daemon"]["pid"]
        return answer

    def kill(self) -> None:
        """SIGKILL the daemon and wait until the kernel has taken it down. Without one: nothing."""
        pid, self.pid = self.pid, None
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), 10, f"process {pid} is gone")

    def down(self) -> dict[str, Any]:
        """Stop the daemon as a user does."""
        answer = self.p2pchat("down")
        pid, self.pid = self.pid, None
        if pid is not None:
            until(lambda: not alive(pid), 10, f"process {pid} is gone")
        return answer

    def log(self) -> str:
        """The end of the daemon's log, for a failed test."""
        try:
            return self.profile.log.read_text("utf-8", "replace")[-4000:]
        except FileNotFoundError:
            return "(no log)"

    # -- what it says --------------------------------------------------------------------

    def me(self) -> dict[str, Any]:
        """`me` of status."""
        me = self.ask("status")["me"]
        assert isinstance(me, dict)
        return me

    def peer(self, other: Machine | str) -> dict[str, Any] | None:
        """What `peers` says about the one called so; None if nothing."""
        name = other if isinstance(other, str) else other.name
        for entry in self.ask("peers.list", all=True)["peers"]:
            if entry["name"] == name:
                assert isinstance(entry, dict)
                return entry
        return None

    def sees(self, other: Machine | str) -> bool:
        """Is it shown as connected?"""
        entry = self.peer(other)
        return entry is not None and entry["connected"]

    def history(self, other: Machine | str, tail: int | str = "all") -> list[dict[str, Any]]:
        """The whole conversation, or its newest `tail` messages, oldest first, by `history`."""
        name = other if isinstance(other, str) else other.name
        messages = self.p2pchat("history", name, "--tail", str(tail))["messages"]
        assert isinstance(messages, list)
        return messages

    def texts(self, other: Machine | str, *, mine: bool | None = None) -> list[str]:
        """The texts of that conversation; `mine` chooses those of one side."""
        return [one["text"] for one in self.history(other) if mine is None or one["mine"] is mine]

    def send(self, other: Machine | str, text: str, *more: str) -> dict[str, Any]:
        """`send`; its JSON."""
        return self.p2pchat("send", other if isinstance(other, str) else other.name, text, *more)

    def waiting(self) -> int:
        """How many own messages wait in the queue."""
        return int(self.ask("status")["queue"]["waiting"])


def alive(pid: int) -> bool:
    """Does this process run? One that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The processes this one has started and not yet waited for; none if it is gone."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # of a thread, or of all of it
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
    return found


def meet(*machines: Machine, timeout_s: float = MEET_S) -> None:
    """Wait until each is connected to every other; AssertionError with the logs of both if not."""
    for one in machines:
        for other in machines:
            if one is not other:
                _meet(one, other, timeout_s)


def _meet(one: Machine, other: Machine, timeout_s: float) -> None:
    try:
        until(lambda: one.sees(other), timeout_s, f"{one.name} sees {other.name}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{one.name}: {one.log()}\n{other.name}: {other.log()}") from None


@contextmanager
def office(
    count: int,
    folder: Path,
    *,
    names: Sequence[str] = NAMES,
    ipv4: bool = True,
    ipv6: bool = True,
    plugged: bool = True,
) -> Iterator[tuple[Network, list[Machine]]]:
    """`count` machines on one switch, their homes below `folder`, no daemon started yet."""
    with ExitStack() as stack:
        net = stack.enter_context(Network(count, ipv4=ipv4, ipv6=ipv6, plugged=plugged))
        machines = [
            stack.enter_context(Machine(host, folder / name / "home", name))
            for host, name in zip(net.hosts, names, strict=False)
        ]
        for machine in machines:
            machine.home.parent.mkdir(parents=True, exist_ok=True)
        yield net, machines


def host_of(machine: Machine) -> Host:
    """The namespace a machine of an office lives in."""
    assert isinstance(machine.place, Host)
    return machine.place


@contextmanager
def drop(machine: Machine, what: str = "") -> Iterator[None]:
    """Swallow packets that `machine` sends or gets, all or those of nft's expression `what`.

    Nobody is told: carriers stay up, no answer comes, connections hang. Loopback is spared.
    """
    host = host_of(machine)
    rule = f"{what} drop".strip()
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {side}name != lo {rule}; }}\n"
        for hook, side in (("input", "iif"), ("output", "oif"))
    )
    host.run("nft", "-f", "-", input=f"table inet swallow {{\n{chains}}}\n", check=True)
    try:
        yield
    finally:
        host.run("nft", "delete", "table", "inet", "swallow", check=True)
