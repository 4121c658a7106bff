"""A whole daemon in this process, driven from inside: what the figures "inside the daemon" mean.

    python -m tests.bench.driver FOLDER NAME [--profile FILE]

Decides: how the real parts are put together here (as the daemon does: real TCP, real mDNS, an
archive on disk at FULL) and what can be asked of them. Does not know: what is compared.

Says {"up"}. Told {"do": "go"} it starts, says {"going": t}, then {"account", "label"}, and from
then on {"sighted": label, "t": t} and {"linked": account, "t": t}, times on the machine's one
monotonic clock. Told {"do": "trips" | "stream", "to": account, "count": n}, trips also "pause_s", it
answers {"done_s": [...]} or {"rate": n}; {"do": "leave"} stops it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trio

from p2pchat.daemon.core import Daemon, Parts
from p2pchat.daemon.identity import load_or_make
from p2pchat.daemon.main import SystemEntropy, start_log, wall_and_mono
from p2pchat.engine.inputs import Post, Tell
from p2pchat.net.lan import Announcement, JoinedLan, Notice, Sighting
from p2pchat.net.mdns import MdnsDiscovery
from p2pchat.net.tcp import TcpTransport
from p2pchat.store.ledger import open_ledger
from tests.bench.prototype import TEXT, WINDOW
from tests.bench.workers import say

GROUP = 32
"""In a stream every 32nd message is waited for: receipts come in order, so the rest is covered."""
WAIT_S = 60.0


class WatchedLan(JoinedLan):
    """The real network, telling what is sighted on its way to the daemon."""

    async def discover(
        self,
        notices: trio.MemorySendChannel[Notice],
        announcement: Announcement | None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        send, receive = trio.open_memory_channel[Notice](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, receive, notices)
            await super().discover(send, announcement, task_status=task_status)

    async def _pass_on(
        self, receive: trio.MemoryReceiveChannel[Notice], notices: trio.MemorySendChannel[Notice]
    ) -> None:
        async for notice in receive:
            if isinstance(notice, Sighting):
                say(sighted=notice.label, t=time.monotonic())
            await notices.send(notice)


def build(folder: Path, name: str) -> Daemon:
    """The daemon's composition on a folder of its own."""
    entropy = SystemEntropy()
    return Daemon(
        Parts(
            identity=load_or_make(folder / "identity", entropy.bytes),
            open_ledger=lambda: open_ledger(folder / "archive.db"),
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


async def obey(daemon: Daemon) -> None:
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
            case "leave":
                return


def _line() -> str:
    return sys.stdin.readline()


async def run(folder: Path, name: str) -> None:
    await trio.to_thread.run_sync(_line)
    say(going=time.monotonic())
    daemon = build(folder, name)
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
        await nursery.start(daemon.run)
        say(account=daemon.parts.identity.me.account.hex(), label=daemon.label)
        await obey(daemon)
        daemon.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--profile", type=Path, default=None)
    chosen = parser.parse_args()
    chosen.folder.mkdir(mode=0o700, exist_ok=True)
    start_log(chosen.folder / "log", also_stderr=False)
    say(up=True)
    with ExitStack() as stack:
        if chosen.profile is not None:
            profile = stack.enter_context(cProfile.Profile())
            stack.callback(profile.dump_stats, chosen.profile)
        trio.run(run, chosen.folder, chosen.name)


if __name__ == "__main__":
    main()
