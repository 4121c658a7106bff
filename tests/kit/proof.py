"""What a test on real machines is judged by: numbered messages, captured packets, searched bytes.

Decides: how a stream of numbered messages is sent through kills and held against what
arrived; how packets are captured; in which spellings a secret is looked for. Does not know:
any test.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p2pchat.errors import CommandError
from tests.kit.hosts import COMMAND_S, Machine, until
from tests.kit.netns import Network

AGAIN: Final = ("no_daemon", "internal", "timeout", "disk_full")
"""Failures after which a script sends the same again under the same key."""


class Stream:
    """Numbered messages from one machine to another, sent one after the other in a thread.

    Each is sent by `send` with a key of its own; one that got no answer because the daemon
    died is sent again under the same key, as the command does. `acknowledged` holds
    (number, id) in order, of those that got an id.
    """

    def __init__(self, sender: Machine, to: str, label: str, *, pause_s: float = 0.02) -> None:
        self.sender = sender
        self.to = to
        self.label = label
        self.pause_s = pause_s
        self.acknowledged: list[tuple[int, str]] = []
        self.failed: list[CommandError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def text(self, number: int) -> str:
        """The text of message `number`."""
        return f"{self.label} {number:05d}"

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Send no more; how many were acknowledged. The one under way is finished first."""
        self._stop.set()
        self._thread.join(COMMAND_S)
        assert not self._thread.is_alive(), f"{self.label}: a send hangs"
        return len(self.acknowledged)

    def reach(self, count: int, timeout_s: float = 30.0) -> None:
        """Wait until so many are acknowledged."""
        until(
            lambda: len(self.acknowledged) >= count,
            timeout_s,
            f"{self.label}: {count} sent {self.failed[-1:]}",
        )

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                params = {"target": self.to, "text": self.text(number), "key": f"{self.label}-{number}"}
                answer = self.sender.ask("send", 10.0, **params)
            except CommandError as error:  # no daemon just now: the same number again
                self.failed.append(error)
                if error.kind not in AGAIN:
                    raise
                self._stop.wait(0.1)
                continue
            self.acknowledged.append((number, answer["id"]))
            number += 1
            self._stop.wait(self.pause_s)

    def arrived(self, machine: Machine, peer: str) -> bool:
        """Is everything acknowledged there?"""
        there = {one["id"] for one in machine.history(peer)}
        return all(id in there for _, id in self.acknowledged)

    def check(self, machine: Machine, peer: str) -> None:
        """Every acknowledged message is there once, in the order sent; of others at most the last."""
        got = [one for one in machine.history(peer) if (one["text"] or "").startswith(self.label + " ")]
        numbers = [int(one["text"].rpartition(" ")[2]) for one in got]
        assert numbers == sorted(set(numbers)), f"doubled or reordered: {numbers}"
        ids = {int(one["text"].rpartition(" ")[2]): one["id"] for one in got}
        lost = [number for number, id in self.acknowledged if ids.get(number) != id]
        assert not lost, f"lost of {len(self.acknowledged)}: {lost[:20]}"
        assert len(numbers) <= len(self.acknowledged) + 1


@contextmanager
def capture(net: Network, path: Path) -> Iterator[None]:
    """Every packet on every switch of `net`, raw, into the file `path`."""
    # -Z root: without it tcpdump gives up its rights, and with them the folder of the test
    words = ("tcpdump", "-i", "any", "-s", "0", "-U", "-Z", "root", "-w", os.fspath(path))
    process = subprocess.Popen(
        ["ip", "netns", "exec", net.namespace, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while "listening on" not in (line := process.stderr.readline()):
            assert line, "tcpdump ended at once"
        yield
        time.sleep(0.2)  # what is on its way through the kernel's ring to the file
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(10)


def spellings(secret: str | bytes) -> list[bytes]:
    """The ways bytes may show up in a file: raw, hex, UTF-16."""
    raw = secret.encode() if isinstance(secret, str) else secret
    found = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    if isinstance(secret, str):
        found.append(secret.encode("utf-16-le"))
    return found


def found_in(secrets: Sequence[str | bytes], *places: Path) -> list[str]:
    """Which secrets lie, in any spelling, in these files or in files below these folders."""
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    hits = []
    for file in files:
        if file.is_file():
            data = file.read_bytes()
            hits += [f"{one!r} in {file}" for one in secrets if any(way in data for way in spellings(one))]
    return hits


def integrity(machine: Machine) -> list[str]:
    """What SQLite finds wrong with a stopped machine's archive; empty if nothing."""
    conn = sqlite3.connect(machine.profile.archive)
    try:
        return [row[0] for row in conn.execute("PRAGMA integrity_check") if row[0] != "ok"]
    finally:
        conn.close()
