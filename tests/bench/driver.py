"""A whole daemon in this process, driven from inside: what the figures "inside the daemon" mean.

    python -m tests.bench.driver FOLDER NAME [--control] [--profile FILE]

Decides: how the real parts are put together here (as the daemon does: real TCP, real mDNS, an
archive on disk at FULL) and what can be asked of them. Does not know: what is compared.

Says {"up"}. Told {"do": "go"} it starts, says {"going": t}, then {"account", "device", "label"}, and
from then on {"sighted": label, "t": t} and {"linked": account, "t": t}, times on the machine's one
monotonic clock. Told {"do": "trips" | "stream", "to": account, "count": n}, trips also "pause_s", it
answers {"done_s": [...]} or {"rate": n}. Told {"do": "await", "room", "device", "head": n} it says
{"authentic": t} once it holds and can read all of that machine's events there up to number n, then
{"searchable": t, "messages": n} once the full text has all. Told {"do": "room", "people": [account]}
it makes a room with them in it and says {"room"}; {"do": "post", "room", "count": n, "pause_s"} says
{"asked": [[number, t]]}, when each message was posted and which event of this machine it became;
{"do": "kept", "room", "device"} says {"kept": [[number, t]]}, after which commit how many of that
machine's events were here. {"do": "leave"} stops it. With --control it also answers on the control
socket of FOLDER, like the program.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import trio

from p2pchat import __version__
from p2pchat.control.endpoint import open_control
from p2pchat.daemon.core import Daemon, Parts
from p2pchat.daemon.host import DaemonHost
from p2pchat.daemon.identity import load_or_make
from p2pchat.daemon.main import SystemEntropy, start_log, wall_and_mono
from p2pchat.daemon.memory import look_rarely
from p2pchat.daemon.queries import Queries
from p2pchat.engine.inputs import CreateRoom, Post, RoomAct, Tell
from p2pchat.ids import DeviceId, RoomId
from p2pchat.model import ROOM
from p2pchat.net.lan import Announcement, JoinedLan, Notice, Sighting
from p2pchat.net.mdns import MdnsDiscovery
from p2pchat.net.tcp import TcpTransport
from p2pchat.paths import Profile, profile
from p2pchat.store.ledger import Ledger, open_ledger
from tests.bench.prototype import TEXT, WINDOW
from tests.bench.workers import say

GROUP = 32
"""In a stream every 32nd message is waited for: receipts come in order, so the rest is covered."""
WAIT_S = 60.0
LOOK_S = 0.01
"""How often it is looked whether a history is complete."""
UNINDEXED = (
    "SELECT 1 FROM message INDEXED BY message_todo"
    " WHERE doc IS NULL AND text IS NOT NULL AND hidden = 0 AND state NOT IN (1, 2) LIMIT 1"
)
INDEXED = "SELECT count(*) FROM message WHERE doc IS NOT NULL"


class WatchedLan(JoinedLan):
    """The real network, telling what is sighted on its way to the daemon."""

    async def discover(
        self,
        notices: trio.MemorySendChannel[Notice],
        announcement: Announcement | None,
        *,
        silent: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        send, receive = trio.open_memory_channel[Notice](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, receive, notices)
            await super().discover(send, announcement, silent=silent, task_status=task_status)

    async def _pass_on(
        self, receive: trio.MemoryReceiveChannel[Notice], notices: trio.MemorySendChannel[Notice]
    ) -> None:
        async for notice in receive:
            if isinstance(notice, Sighting):
                say(sighted=notice.label, t=time.monotonic())
            await notices.send(notice)


class Watch:
    """Notes after every commit how far it knows each chain of its rooms."""

    def __init__(self) -> None:
        self.daemon: Daemon | None = None
        self.kept: dict[tuple[RoomId, DeviceId], list[tuple[int, float]]] = {}
        self.wanted: tuple[RoomId, DeviceId, int] | None = None
        """Whose events are waited for, up to which number."""
        self.complete_at: float | None = None
        """After which commit all of them were here: the engine knows them while they can still be undone."""

    def open(self, path: Path) -> Ledger:
        """The archive, with an eye on its commits."""
        ledger = open_ledger(path)
        commit = ledger.commit

        def watched() -> None:
            wrote = ledger.wrote
            commit()
            if wrote and self.daemon is not None:
                self._note(self.daemon, time.monotonic())

        ledger.commit = watched  # type: ignore[method-assign]
        return ledger

    def _note(self, daemon: Daemon, at: float) -> None:
        if self.wanted is not None and self.complete_at is None:
            wanted, device, last = self.wanted
            known = daemon.runner.node.cache.rooms.get(wanted)  # none before it is heard of
            if known is not None and known.have.get(device, ()) == ((1, last),):
                self.complete_at = at
        for room in daemon.runner.node.cache.rooms.values():
            if room.row.kind != ROOM:
                continue
            for device, head in room.heads.items():
                kept = self.kept.setdefault((room.row.id, device), [])
                if not kept or kept[-1][0] < head.seq:
                    kept.append((head.seq, at))


def build(where: Profile, name: str, watch: Watch) -> Daemon:
    """The daemon's composition on a folder of its own."""
    entropy = SystemEntropy()
    return Daemon(
        Parts(
            identity=load_or_make(where.identity, entropy.bytes),
            open_ledger=lambda: watch.open(where.archive),
            lan=WatchedLan(TcpTransport(), MdnsDiscovery()),
            entropy=entropy,
            clock=wall_and_mono,
            stopwatch=time.perf_counter,
            name=name,
        )
    )


def post(request: int, to: str, wait: str) -> Post:
    """What everybody says here."""
    return Post(request, to, TEXT, wait=wait, timeout_s=WAIT_S)


async def trips(daemon: Daemon, to: str, count: int, pause_s: float) -> list[float]:
    """Seconds of each message until it is delivered, one after the other, `pause_s` between them."""
    took = []
    for _ in range(count):
        await trio.sleep(pause_s)
        start = time.perf_counter()
        await daemon.runner.ask(lambda request: post(request, to, "delivered"))
        took.append(time.perf_counter() - start)
    return took


async def stream(daemon: Daemon, to: str, count: int) -> float:
    """Messages a second until the last is delivered, WINDOW under way at a time."""
    left = count

    async def groups() -> None:
        # each goes on by itself, so that the inbox is never empty while there is room in the window
        nonlocal left
        while left:
            size = min(GROUP, left)
            left -= size
            for _ in range(size - 1):
                daemon.runner.post(post(0, to, ""))
            await daemon.runner.ask(lambda request: post(request, to, "delivered"))

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(max(1, WINDOW // GROUP)):
            nursery.start_soon(groups)
    return count / (time.perf_counter() - start)


async def room_with(daemon: Daemon, people: list[str]) -> RoomId:
    """A new room with these people in it."""
    made = await daemon.runner.ask(lambda request: CreateRoom(request, "bench"))
    room: RoomId = made["room"].id
    await daemon.runner.ask(lambda request: RoomAct(request, "invite", room.hex(), tuple(people)))
    return room


async def posts(daemon: Daemon, room: RoomId, count: int, pause_s: float) -> list[tuple[int, float]]:
    """One message after the other: the number of its event, and when it was posted."""
    asked = []
    for _ in range(count):
        await trio.sleep(pause_s)
        at = time.monotonic()
        await daemon.runner.ask(lambda request: post(request, room.hex(), ""))
        heads = daemon.runner.node.cache.rooms[room].heads
        asked.append((heads[daemon.parts.identity.me.device].seq, at))
    return asked


async def complete(watch: Watch, where: Profile) -> None:
    """Say when all that is wanted has been taken in and read, and when all of it can be found."""
    while watch.complete_at is None:
        await trio.sleep(LOOK_S)
    say(authentic=watch.complete_at)
    with closing(sqlite3.connect(f"file:{where.archive}?mode=ro", uri=True)) as reader:
        while reader.execute(UNINDEXED).fetchone() is not None:
            await trio.sleep(LOOK_S)
        at = time.monotonic()
        say(searchable=at, messages=reader.execute(INDEXED).fetchone()[0])


async def obey(daemon: Daemon, where: Profile, watch: Watch) -> None:
    """Lines from stdin, until told to leave or the parent has gone."""
    while True:
        line = await trio.to_thread.run_sync(_line, abandon_on_cancel=True)
        told: dict[str, Any] = json.loads(line) if line else {"do": "leave"}
        match told["do"]:
            case "trips":
                pause_s = told.get("pause_s", 0.0)
                say(done_s=await trips(daemon, told["to"], told["count"], pause_s))
            case "stream":
                say(rate=await stream(daemon, told["to"], told["count"]))
            case "await":
                room, device = RoomId(bytes.fromhex(told["room"])), DeviceId(bytes.fromhex(told["device"]))
                watch.wanted, watch.complete_at = (room, device, told["head"]), None
                await complete(watch, where)
            case "room":
                say(room=(await room_with(daemon, told["people"])).hex())
            case "post":
                room = RoomId(bytes.fromhex(told["room"]))
                say(asked=await posts(daemon, room, told["count"], told["pause_s"]))
            case "kept":
                room, device = RoomId(bytes.fromhex(told["room"])), DeviceId(bytes.fromhex(told["device"]))
                say(kept=watch.kept.get((room, device), []))
            case "leave":
                return


def _line() -> str:
    return sys.stdin.readline()


async def run(where: Profile, name: str, answering: bool) -> None:
    await trio.to_thread.run_sync(_line)
    say(going=time.monotonic())
    watch = Watch()
    daemon = watch.daemon = build(where, name, watch)
    linked: dict[bytes, None] = {}

    def heard(tell: Tell) -> None:
        if tell.type == "peer":
            live = daemon.runner.node.live
            for number in live.by_device.values():
                account = live.links[number].account
                if account not in linked:
                    linked[account] = None
                    say(linked=account.hex(), t=time.monotonic())

    daemon.runner.tells["bench"] = heard
    async with trio.open_nursery() as nursery:
        if answering:
            handler = Queries(DaemonHost(daemon, where, {}))
            await nursery.start(daemon.run, open_control(where), handler, __version__)
        else:
            await nursery.start(daemon.run)
        me = daemon.parts.identity.me
        say(account=me.account.hex(), device=me.device.hex(), label=daemon.label)
        await obey(daemon, where, watch)
        daemon.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--profile", type=Path, default=None)
    chosen = parser.parse_args()
    chosen.folder.mkdir(mode=0o700, exist_ok=True)
    start_log(chosen.folder / "log", also_stderr=False)
    say(up=True)
    look_rarely()  # as the daemon's own main program
    with ExitStack() as stack:
        if chosen.profile is not None:
            watched = cProfile.Profile()
            stack.callback(watched.dump_stats, chosen.profile)
            stack.enter_context(watched)
        trio.run(run, profile(chosen.folder), chosen.name, chosen.control)


if __name__ == "__main__":
    main()
