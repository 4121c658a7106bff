"""Files between two daemons through kills, full disks and power cuts: byte-equal in the end, or absent.

What comes of the bytes of one receiver on one disk is in test_files; here are whole daemons, with what
their archives, links and engines believe beside it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.daemon.disk import Disk
from tests.crash.test_disk import fill, small_disk
from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_fuse, needs_netns
from tests.kit.powercut import PowerCut
from tests.kit.proof import integrity
from tests.kit.sending import equal_or_absent, inbox, landed, moved, noise, offer, same, shown, staging, take

pytestmark = needs_netns

MIB = 1 << 20
LAND_S = 60.0
FLOOR_MIB = 256
"""So much of a disk files leave free."""


@pytest.fixture
def seed(full: bool) -> int:
    """Fixed in the gate, new with --full; printed, so that a failure can be played again."""
    chosen = random.SystemRandom().randrange(1 << 32) if full else 3
    print(f"with seed {chosen}")
    return chosen


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        yield ann, bob


@pytest.mark.parametrize(
    ("size_mib", "kills", "every_s"), [(1024, 12, 2.0), (2048, 20, 0.0)], ids=["every 2 s", "20 kills"]
)
def test_kills_of_either_side(
    pair: tuple[Machine, Machine],
    tmp_path: Path,
    size_mib: int,
    kills: int,
    every_s: float,
    full: bool,
    seed: int,
) -> None:
    """SIGKILL to one, the other, or both, while it goes on; nothing half bears a name at any moment."""
    if not full:
        size_mib, kills, every_s = size_mib // 8, kills // 4, every_s / 2
    ann, bob = pair
    rng = random.Random(seed)
    host_of(ann).limit(8 * size_mib * 8 // (10 * kills))  # so that it takes ten times as long as one kill
    source = noise(tmp_path / "film", size_mib * MIB)
    ident = offer(ann, bob, source)
    take(bob, ident)
    done = 0
    for number in range(kills):
        if every_s:
            time.sleep(every_s)
        else:
            until(lambda least=done: moved(bob, ident) > least, LAND_S, "it goes on")  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.5))  # the moment of the kill is the point
        victims = ((ann,), (bob,), (ann, bob))[number % 3]
        for victim in victims:
            victim.kill()
        equal_or_absent(bob, source)
        for victim in victims:
            victim.up()
        done = moved(bob, ident)
    assert same(landed(bob, ident, 600 if full else LAND_S), source)
    until(lambda: shown(ann, ident).get("state") == "done", 20, "Ann knows")
    assert [path.name for path in inbox(bob).iterdir()] == ["film"]
    for machine in (ann, bob):
        machine.down()
        assert integrity(machine) == []
        assert "Traceback" not in machine.profile.log.read_text("utf-8")
    assert not (staging(bob) / ident).exists()


def test_a_full_disk_in_the_middle(tmp_path: Path) -> None:
    """The receiver's disk fills while it comes: both are told, and it goes on when there is room."""
    with (
        small_disk(tmp_path / "disk", FLOOR_MIB + 100) as disk,
        office(2, tmp_path) as (net, (ann, _)),
        Machine(net.hosts[1], disk / "home", "bob") as bob,
    ):
        ann.up()
        bob.up()
        meet(ann, bob)
        host_of(ann).limit(100)
        source = noise(tmp_path / "film", 40 * MIB)
        ident = offer(ann, bob, source)
        take(bob, ident)
        until(lambda: moved(bob, ident) > 4 * MIB, 20, "some of it is there")
        fill(disk, 16 * MIB)
        for machine in (bob, ann):
            until(
                lambda one=machine: (shown(one, ident).get("error") or {}).get("kind") == "disk_full",  # type: ignore[misc]
                30,
                f"{machine.name} is told",
            )
        assert shown(bob, ident)["state"] == "waiting"
        assert not equal_or_absent(bob, source)
        (disk / "filler").unlink()
        fill(disk, 128 * MIB)  # words fit, files do not
        later = offer(ann, bob, noise(tmp_path / "small", MIB))
        take(bob, later)
        until(
            lambda: (shown(bob, later).get("error") or {}).get("kind") == "disk_full", 20, "nor does this fit"
        )
        (disk / "filler").unlink()
        assert same(landed(bob, ident, 2 * LAND_S), source)
        assert same(landed(bob, later, 2 * LAND_S), tmp_path / "small")
        for machine in (bob, ann):
            until(lambda one=machine: shown(one, ident).get("state") == "done", 20, "all know")  # type: ignore[misc]
            assert shown(machine, ident)["error"] is None
        assert "Traceback" not in bob.profile.log.read_text("utf-8")


@needs_fuse
def test_the_inbox_outlives_a_power_cut_with_all_that_landed_in_it(tmp_path: Path) -> None:
    """Made by us, its own name is as much on the way to a file as the file's."""
    with PowerCut(tmp_path, seed=1) as power:
        inbox = power.root / "home" / "down" / "inbox"
        disk = Disk(power.root / "home" / "staging", lambda: inbox, threads=False, stopwatch=time.monotonic)
        with disk.staging(), disk.target("") as target:
            os.close(target.create("landed"))
            target.sync()
        power.cut()
        assert (inbox / "landed").exists()
        assert (power.root / "home" / "staging").is_dir()


GATE_CUTS, FULL_CUTS = 4, 40


@needs_fuse
def test_power_cuts_of_the_receiver(tmp_path: Path, full: bool, seed: int) -> None:
    """His disk forgets what was not synced, his archive, log and pieces alike: it goes on and lands whole."""
    rng = random.Random(seed)
    with PowerCut(tmp_path, seed=seed) as disk, office(2, tmp_path) as (net, (ann, _)):
        with Machine(net.hosts[1], disk.root / "home", "bob") as bob:
            ann.up()
            bob.up()
            meet(ann, bob)
            host_of(ann).limit(40)
            cuts = 0
            number = 0
            while cuts < (FULL_CUTS if full else GATE_CUTS):
                source = noise(tmp_path / f"film{number}", 24 * MIB)
                ident = offer(ann, bob, source)
                take(bob, ident)
                for _ in range(GATE_CUTS):
                    time.sleep(rng.uniform(0.3, 2.5))  # the moment of the cut is the point
                    bob.kill()
                    disk.cut()
                    cuts += 1
                    there = inbox(bob) / source.name
                    assert not there.exists() or same(there, source)
                    bob.up()
                    until(lambda: bob.sees(ann) and ann.sees(bob), 20, "they meet again")
                    if not shown(bob, ident):  # he had not heard of it, as far as his disk knows
                        take(bob, ident)
                    elif shown(bob, ident)["state"] == "offered":
                        bob.ask("files.accept", id=ident)
                assert same(landed(bob, ident, LAND_S), source)
                number += 1
            bob.down()
            assert integrity(bob) == []
            assert len(list(inbox(bob).iterdir())) == number
