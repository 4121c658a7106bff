"""Power cuts: the disk forgets what was never synced, and nothing acknowledged is among it.

SIGKILL cannot show this, since the page cache survives it. The control runs the same writer
with `synchronous=NORMAL`, which loses rows; a test that could not see that would prove nothing.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.store.ledger import open_ledger
from tests.crash.writer import key, value
from tests.kit.hosts import ROOT, Machine, environment, meet, office, until
from tests.kit.needs import needs_fuse, needs_netns
from tests.kit.powercut import PowerCut
from tests.kit.proof import Stream, integrity

pytestmark = needs_fuse

GATE_CUTS = 5
FULL_CUTS = 50


@pytest.fixture
def seed(full: bool) -> int:
    """Fixed in the gate, new with --full; printed, so that a failure can be played again."""
    chosen = random.SystemRandom().randrange(1 << 32) if full else 7
    print(f"power cuts with seed {chosen}")
    return chosen


def cuts(disk: PowerCut, mode: str, seed: int, count: int) -> tuple[int, int]:
    """Let the writer commit, cut the power, look; (rows acknowledged, rows lost)."""
    rng = random.Random(seed)
    archive = disk.root / "archive.db"
    promised: list[int] = []
    lost = 0
    for _ in range(count):
        first = promised[-1] + 1 if promised else 0
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.writer", str(archive), str(first), mode],
            cwd=ROOT,
            env=environment(archive),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(50, 600)):
            promised.append(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        promised += [
            int(line) for line in process.stdout.read().splitlines(keepends=True) if line[-1:] == "\n"
        ]
        process.stdout.close()
        process.wait(10)
        disk.cut()
        ledger = open_ledger(archive)  # as the next start does: it must need nobody's help
        assert ledger.check_integrity() == []
        kept = [number for number in promised if ledger.people.value(key(number)) == value(number)]
        ledger.close()
        lost += len(promised) - len(kept)
        promised = kept
    return promised[-1] + 1 if promised else 0, lost


def test_full_loses_no_acknowledged_row(tmp_path: Path, seed: int, full: bool) -> None:
    with PowerCut(tmp_path, seed=seed) as disk:
        acknowledged, lost = cuts(disk, "FULL", seed, FULL_CUTS if full else GATE_CUTS)
    assert acknowledged > 500
    assert lost == 0


def test_the_control_with_normal_loses_some(tmp_path: Path, seed: int, full: bool) -> None:
    with PowerCut(tmp_path, seed=seed) as disk:
        _, lost = cuts(disk, "NORMAL", seed, FULL_CUTS if full else GATE_CUTS)
    assert lost > 0


@pytest.fixture
def pair(tmp_path: Path, seed: int) -> Iterator[tuple[Machine, Machine, PowerCut]]:
    """Ann on a disk that forgets, Bob on an ordinary one, linked."""
    with PowerCut(tmp_path, seed=seed) as disk, office(2, tmp_path) as (net, (_, bob)):
        with Machine(net.hosts[0], disk.root / "home", "ann") as ann:
            bob.up()
            ann.up()
            meet(ann, bob)
            yield ann, bob, disk


@needs_netns
def test_a_daemon_whose_power_is_cut_keeps_every_promise(
    pair: tuple[Machine, Machine, PowerCut], seed: int, full: bool
) -> None:
    """What Ann acknowledged to her user or, as delivered, to Bob is there after every cut."""
    ann, bob, disk = pair
    rng = random.Random(seed)
    me = ann.me()
    with Stream(ann, "bob", "from ann", pause_s=0) as sent, Stream(bob, "ann", "to ann") as got:
        for _ in range(FULL_CUTS if full else GATE_CUTS):
            sent.reach(len(sent.acknowledged) + rng.randrange(20, 60))
            got.reach(len(got.acknowledged) + 10)
            ann.kill()
            disk.cut()
            recent = [one for one in bob.history("ann", 300) if one["mine"]]
            told = {one["id"] for one in recent if one["state"] != "queued"}
            ann.up()
            assert ann.me() == me
            there = {one["id"] for one in ann.history("bob", 1000)}
            assert told <= there, "bob was told of a delivery that the disk forgot"
            until(lambda: ann.sees("bob") and bob.sees("ann"), 15, "they meet again")
        sent.stop()
        got.stop()
    until(lambda: ann.waiting() == bob.waiting() == 0, 20, "all is delivered")
    for stream in (sent, got):
        stream.check(ann, "bob")
        stream.check(bob, "ann")
    for machine in (ann, bob):
        machine.down()
        assert integrity(machine) == []
