"""A disk that fills up, and one that fails to sync: nothing is acknowledged that is not there.

The full disk is a small tmpfs, filled while two people talk and emptied again; the failing one
is strace, which makes the kernel's answer to fdatasync an error from the k-th call on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pchat.errors import CommandError
from tests.kit.hosts import Machine, alive, environment, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.proof import Stream, integrity

pytestmark = needs_netns

DISK_MIB = 112
"""Room for the floor below which messages are refused (64 MiB), the reserve, and the archive."""


@contextmanager
def small_disk(folder: Path, size_mib: int = DISK_MIB) -> Iterator[Path]:
    """An empty disk of that size."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0755", "tmpfs", os.fspath(folder)]
    subprocess.run(words, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Take all room but `leave` bytes, in blocks that are really taken."""
    with (disk / "filler").open("ab") as file:
        step = 1 << 30
        while step >= 4096:
            room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leave
            step = min(step, room)
            if step <= 0:
                return
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
            except OSError:  # somebody else took a page meanwhile, and nothing of this was taken
                step //= 2


def test_a_full_disk_refuses_and_recovers_without_a_restart(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, office(2, tmp_path) as (net, (_, bob)):
        with Machine(net.hosts[0], disk / "home", "ann") as ann:
            ann.up()
            bob.up()
            meet(ann, bob)
            ann.send("bob", "while there is room", "--wait", "delivered")
            pid = ann.ask("status")["daemon"]["pid"]
            with Stream(bob, "ann", "from bob", pause_s=0.05) as to_ann:
                to_ann.reach(5)
                with Stream(ann, "bob", "from ann", pause_s=0.01) as from_ann:
                    from_ann.reach(10)
                    fill(disk, 0)
                    until(lambda: "disk_full" in {e.kind for e in from_ann.failed}, 20, "new work is refused")
                    fill(disk, 0)  # whatever the daemon made free is taken too
                    refused = ann.attempt("send", "bob", "no room for this")
                    assert refused.code == 9, ann.log()
                    assert refused.error["kind"] == "disk_full"
                    assert refused.error["hint"]
                    status = ann.p2pchat("status")
                    assert "disk_full" in {warning["kind"] for warning in status["warnings"]}
                    assert ann.p2pchat("history", "bob", "--tail", "1")["messages"]
                    before = len(to_ann.acknowledged)
                    to_ann.reach(before + 5)  # Bob's words wait with Bob
                    (disk / "filler").unlink()
                    done = len(from_ann.acknowledged)
                    from_ann.reach(done + 5)
                    from_ann.stop()
                to_ann.stop()
            until(lambda: ann.waiting() == bob.waiting() == 0, 30, "all is delivered")
            assert ann.ask("status")["daemon"]["pid"] == pid, "it was restarted"
            for stream in (to_ann, from_ann):
                stream.check(ann, "bob")
                stream.check(bob, "ann")
            assert "no room for this" not in bob.texts("ann")
            for machine in (ann, bob):
                machine.down()
                assert integrity(machine) == []


def test_below_the_floor_others_keep_their_words(tmp_path: Path) -> None:
    """Near the end of the room words of others are refused, and wait with those who said them."""
    with small_disk(tmp_path / "disk") as disk, office(2, tmp_path) as (net, (_, bob)):
        with Machine(net.hosts[0], disk / "home", "ann") as ann:
            ann.up()
            bob.up()
            meet(ann, bob)
            bob.send("ann", "there is room", "--wait", "delivered")
            fill(disk, 32 << 20)
            late = bob.attempt("send", "ann", "there is little", "--wait", "delivered", "--timeout", "3")
            assert late.code == 5, late
            assert ann.send("bob", "I can still write", "--wait", "delivered")["state"] == "delivered"
            (disk / "filler").unlink()
            until(lambda: bob.waiting() == 0, 20, "it is delivered once there is room")
            assert bob.texts("ann") == ["there is room", "there is little", "I can still write"]


class Traced:
    """Ann's daemon under strace, every sync from the `first`-th on failing (`last`: up to that one)."""

    def __init__(self, ann: Machine, folder: Path, first: int, last: int | None) -> None:
        self.ann = ann
        self.log = folder / "strace.log"
        when = f"{first}..{last}" if last is not None else f"{first}+"
        daemon = (sys.executable, "-m", "p2pchat", "--home", os.fspath(ann.home), "--name", ann.name)
        self.process = subprocess.Popen(
            ann.place.command(
                *("strace", "-f", "-qq", "-ttt", "--seccomp-bpf", "-o", os.fspath(self.log)),
                *("-e", "trace=fdatasync,fsync", "-e", f"inject=fdatasync,fsync:error=EIO:when={when}"),
                *(*daemon, "--foreground"),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(ann.home),
            start_new_session=True,
        )

    def ready(self) -> None:
        """Wait for the daemon; its process id is Ann's from here on, so that it is always ended."""

        def answers() -> bool:
            try:
                self.ann.pid = self.ann.ask("status")["daemon"]["pid"]
            except CommandError:
                return False
            return True

        until(answers, 20, "the traced daemon answers")

    def failures(self) -> list[float]:
        """When syncs were made to fail, in seconds since 1970."""
        found = re.findall(r"^\d+ +(\d+\.\d+) .*\(INJECTED\)", self.log.read_text(), re.MULTILINE)
        return [float(one) for one in found]

    def end(self) -> None:
        """Kill daemon and tracer."""
        self.ann.kill()
        self.process.kill()
        self.process.wait(10)


@needs_tool("strace")
@pytest.mark.parametrize("last", [60, None], ids=["once", "for good"])
def test_nothing_is_acknowledged_after_a_failed_sync(tmp_path: Path, last: int | None) -> None:
    """A sync that failed once may lie when tried again, so its commit and handle are given up."""
    answered: list[tuple[float, str]] = []
    errors: list[str] = []
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        bob.down()
        ann.down()
        traced = Traced(ann, tmp_path, 60, last)
        try:
            traced.ready()
            pid = ann.pid
            assert pid is not None
            for number in range(400):
                try:
                    answer = ann.ask("send", 20.0, target="bob", text=f"{number}", key=f"try-{number}")
                except CommandError as error:
                    errors.append(error.kind)
                    if not alive(pid) or len(errors) > 20:
                        break
                    continue
                answered.append((time.time(), answer["id"]))
                if errors and last is not None and len(errors) + len(answered) > 100:
                    break
            failures = traced.failures()
            assert failures, "no sync was made to fail"
            assert errors, "a send was answered although its commit failed"
            if last is None:
                late = [when for when, _ in answered if when > failures[0] + 0.1]
                assert not late, "acknowledged after the disk stopped syncing"
                until(lambda: not alive(pid), 10, "a daemon whose disk is broken ends")
            else:
                assert alive(pid)
                assert set(errors) <= {"internal", "no_daemon", "disk_full", "failed"}
        finally:
            traced.end()
        ann.up()
        bob.up()
        until(lambda: ann.waiting() == 0, 20, "all is delivered")
        there = [one["id"] for one in bob.history("ann")]
        assert [one for one in there if one in {id for _, id in answered}] == [id for _, id in answered]
        assert len(there) == len(set(there)) <= len(answered) + len(errors)
        texts = bob.texts("ann")
        assert len(texts) == len(set(texts))
        ann.down()
        assert integrity(ann) == []
