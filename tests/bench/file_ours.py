"""p2pchat as a contestant in moving files: the program itself, its commands and its control socket.

Decides: how people are brought together who take each other's files without being asked, when a file counts
as arrived, and what a daemon has cost. Does not know: rounds, tables, rivals.

The clock runs from the start of the command `file send` until the receiver's daemon says `done`: every piece
is there, has its hash, is synced, and the file has its name. Daemons run before and are linked, as on any
working day; the first copy opens the bulk link, later ones find it.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pchat.control.client import PlainClient
from p2pchat.errors import CommandError
from tests.bench import ours
from tests.bench.prototype import TEXT
from tests.bench.workers import WorkerFailed, python_module, workers
from tests.kit.hosts import environment
from tests.kit.netns import Host

ARRIVE_S = 300.0
MEMORY = Path("/dev/shm")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Person:
    """One who has a machine, a daemon on it, and an open connection to that."""

    name: str
    host: Host
    program: ours.Program
    client: PlainClient
    account: str = ""

    @property
    def inbox(self) -> Path:
        return self.program.home / "inbox"

    def call(self, operation: str, **params: Any) -> Any:
        return self.client.call(operation, params, 60.0)

    def send(self, target: str, path: Path) -> str:
        """The command `file send`, from start to exit; the id of the transfer."""
        home = self.program.home
        argv = python_module("p2pchat_cli", "--home", home, "--json", "file", "send", target, path)
        done = self.host.run(*argv, env=environment(home))
        if done.returncode:
            raise WorkerFailed(f"file send: {done.stdout}{done.stderr}")
        ident: str = json.loads(done.stdout)["transfers"][0]["id"]
        return ident

    def until_here(self, ident: str) -> None:
        """Until all of it is here, checked, and has its name."""
        deadline = time.monotonic() + ARRIVE_S
        while True:
            try:
                asked = {"ids": [ident], "timeout_s": ARRIVE_S}
                (one,) = self.client.call("files.wait", asked, ARRIVE_S + 10)["transfers"]
            except CommandError as error:
                if error.kind != "no_such_target" or time.monotonic() > deadline:
                    raise
                time.sleep(0.002)  # not heard of it yet
                continue
            if one["state"] != "done":
                raise WorkerFailed(f"{self.name}: {one['state']}: {one['error']}")
            return

    def empty(self) -> None:
        """Forget what lies in the inbox: the next copy must find nothing of the same bytes there."""
        shutil.rmtree(self.inbox, ignore_errors=True)

    def cpu_s(self) -> float:
        """User and system seconds so far, ended threads included."""
        words = Path(f"/proc/{self.program.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) * TICK_S

    def peak_mib(self) -> float:
        """The most memory that was resident at any time since its start (VmHWM)."""
        for line in Path(f"/proc/{self.program.pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise WorkerFailed("no VmHWM")


@contextmanager
def people(hosts: Sequence[Host], folder: Path, names: Sequence[str]) -> Iterator[list[Person]]:
    """One person a host, each linked to all, each taking what the first one sends."""
    with workers() as stack:
        there = [
            (name, host, ours.program(stack, host, folder / name, name))
            for name, host in zip(names, hosts, strict=False)
        ]
        for _, _, program in there:
            ours.ready(program)
        found = [
            Person(name, host, program, stack.enter_context(program.client()))
            for name, host, program in there
        ]
        for one in found:
            ours.until(
                lambda one=one: ours.connected(one.client) == len(found) - 1,  # type: ignore[misc]
                f"{one.name} did not meet all",
            )
            one.account = one.call("status")["me"]["account"]
        giver, *takers = found
        proof = ""
        for taker in takers:
            proof = proof or taker.call("trust.show", target=giver.name)["fingerprint"]
            taker.call("trust.verify", target=giver.name, kind="fingerprint", proof=proof)
            taker.call("config.set", key="file_auto_max", value="100GB")
            taker.call("files.auto", person=giver.name, on=True)
        yield found


def room_of(giver: Person, takers: Sequence[Person]) -> str:
    """A room with all in it, as each of them knows; its id."""
    room: str = giver.call("rooms.create", name="bench")["room"]["id"]
    giver.call("rooms.invite", room=room, people=[one.name for one in takers])
    said = giver.call("send", target=room, text="here we are")["id"]
    for one in takers:
        ours.until(lambda one=one: said in _said(one, room), f"{one.name} is not in the room")  # type: ignore[misc]
    return room


def _said(one: Person, room: str) -> list[str]:
    try:
        return [message["id"] for message in one.call("history", target=room, tail=5)["messages"]]
    except CommandError:
        return []


def copy(giver: Person, target: str, path: Path, takers: Sequence[Person]) -> float:
    """Seconds from the start of the command until the last of `takers` has all."""
    began = time.perf_counter()
    ident = giver.send(target, path)
    for one in takers:
        one.until_here(ident)
    return time.perf_counter() - began


@dataclass
class Chatting:
    """One person who goes on talking to another meanwhile; seconds of each message until delivered."""

    person: Person
    target: str
    pause_s: float = 0.01
    took: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def _talk(self) -> None:
        with self.person.program.client() as client:
            while not self._over.is_set():
                began = time.perf_counter()
                client.call("send", {"target": self.target, "text": TEXT, "wait": "delivered"}, 60.0)
                self.took.append(time.perf_counter() - began)
                self._over.wait(self.pause_s)

    @contextmanager
    def on(self) -> Iterator[None]:
        """While this lasts."""
        thread = threading.Thread(target=self._talk, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(60)


def talk_for(seconds: float, *chats: Chatting) -> None:
    """Only that."""
    with ExitStack() as stack:
        for chat in chats:
            stack.enter_context(chat.on())
        time.sleep(seconds)
