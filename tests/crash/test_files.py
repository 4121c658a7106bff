"""Kills, power cuts and full disks while a file or folder is received.

What was said to be durable is there afterwards; what gets a name has all its bytes; and it gets one
name once. The control leaves out the sync of bytes and must be caught.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pchat.errors import CommandError
from p2pchat.files.inbox import place
from p2pchat.files.outgoing import offer_for
from p2pchat.files.pieces import Bits
from p2pchat.files.source import open_source
from p2pchat.files.staging import Staging, state_name
from p2pchat.platform.folders import Folder
from tests.kit.hosts import ROOT, environment
from tests.kit.needs import needs_fuse, needs_root
from tests.kit.powercut import PowerCut
from tests.kit.transfers import (
    FILE_KEY,
    ID,
    Places,
    contents,
    hashes_of,
    offer_of,
    pattern,
    pieces_of,
    put_all,
)

MIB = 1 << 20
GATE_KILLS, FULL_KILLS = 12, 100
GATE_CUTS, FULL_CUTS = 8, 60


@pytest.fixture
def seed(full: bool) -> int:
    """Fixed in the gate, new with --full; printed, so that a failure can be played again."""
    chosen = random.SystemRandom().randrange(1 << 32) if full else 5
    print(f"crashes with seed {chosen}")
    return chosen


def source_of(folder: Path, kind: str) -> Path:
    """A file, or a folder with small ones, big ones and empty ones."""
    path = folder / "project"
    if kind == "file":
        folder.mkdir(parents=True)
        path.write_bytes(pattern(15 * MIB + 77))
        return path
    (path / "sub" / "empty").mkdir(parents=True)
    for number in range(60):
        (path / "sub" / f"small {number}").write_bytes(pattern(4096, number))
    for number in range(4):
        (path / f"big {number}").write_bytes(pattern(3 * MIB + number, number))
    (path / "nothing").write_bytes(b"")
    return path


def same(there: Path, source: Path) -> bool:
    """Byte-equal, all of it?"""
    if source.is_file():
        return there.is_file() and there.read_bytes() == source.read_bytes()
    return contents(there) == contents(source)


class Round:
    """One run of the receiver, killed after so many lines, or left to end."""

    def __init__(self, base: Path, source: Path, seed: int, mode: str, lines: int, pause_s: float) -> None:
        words = [sys.executable, "-m", "tests.crash.receiver", str(base), str(source), str(seed), mode]
        self.durable: str | None = None
        self.placed: str | None = None
        with subprocess.Popen(
            words, cwd=ROOT, env=environment(base), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                self._take(process.stdout.readline())
            time.sleep(pause_s)  # the moment of the kill is the point
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                self._take(line)
        assert process.returncode in (0, -signal.SIGKILL)

    def _take(self, line: str) -> None:
        if line.endswith("\n"):
            kind, value = line.split(None, 1)
            setattr(self, kind, value.strip())


def durable_now(base: Path, source: Path) -> bytes:
    """What a daemon that starts now believes to have."""
    opened = open_source(source)
    offer = offer_for(opened, ID, FILE_KEY)
    opened.close()
    with Folder.open(base / "staging") as folder:
        staging = Staging.begin(folder, offer, keep_free=0, now=0)
        bits = staging.durable.encode()
        assert staging.placing is not None or staging.done.encode() == bits
        staging.close()
    return bits


def lost(said: str | None, bits: bytes) -> int:
    """How many pieces that were said to be durable are not there."""
    if said is None:
        return 0
    total = 8 * len(bits)
    return len(Bits.decode(bytes.fromhex(said), total).beyond(Bits.decode(bits, total)))


def crash_until_placed(
    base: Path, source: Path, seed: int, rounds: int, mode: str, disk: PowerCut | None
) -> tuple[int, int]:
    """Crash again and again, beginning anew when it is placed; (transfers placed, promises broken)."""
    rng = random.Random(seed)
    done = broken = 0
    said: str | None = None
    name: str | None = None
    for number in range(rounds):
        one = Round(base, source, seed + number, mode, rng.randrange(0, 4), rng.uniform(0, 0.03))
        if disk is not None:
            disk.cut()
        said = one.durable or said
        name = one.placed or name
        if (base / "inbox").is_dir():  # whatever has a name is whole, at every moment
            for found in (base / "inbox").iterdir():
                broken += not same(found, source)
        if name is None:
            if (base / "staging" / state_name(ID)).exists():
                broken += lost(said, durable_now(base, source))
            elif said is not None:
                broken += 1
            continue
        broken += [path.name for path in (base / "inbox").iterdir()] != [name]
        done += 1
        for path in sorted(base.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        if disk is not None:  # and forgotten for good
            for folder in ("inbox", "staging", "out", ""):
                if (base / folder).is_dir():
                    with Folder.open(base / folder) as here:
                        here.sync()
        said = name = None
    return done, broken


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_killed_at_any_moment(tmp_path: Path, kind: str, seed: int, full: bool) -> None:
    base = Path(os.path.realpath(tmp_path)) / "base"
    base.mkdir()
    source = source_of(tmp_path / "sources", kind)
    kills = FULL_KILLS if full else GATE_KILLS
    done, broken = crash_until_placed(base, source, seed, kills, "careful", None)
    print(f"{kills} kills, {done} transfers placed")
    assert broken == 0
    if not done:
        last = Round(base, source, seed, "careful", 100, 0)
        assert last.placed == "project"
        assert same(base / "inbox" / "project", source)


@needs_fuse
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_power_cut_at_any_moment(tmp_path: Path, kind: str, seed: int, full: bool) -> None:
    source = source_of(tmp_path / "sources", kind)
    cuts = FULL_CUTS if full else GATE_CUTS
    with PowerCut(Path(os.path.realpath(tmp_path)), seed=seed) as disk:
        done, broken = crash_until_placed(disk.root, source, seed, cuts, "careful", disk)
    print(f"{cuts} cuts, {done} transfers placed")
    assert broken == 0


@needs_fuse
def test_the_control_that_syncs_no_bytes_is_caught(tmp_path: Path, seed: int) -> None:
    source = source_of(tmp_path / "sources", "file")
    with PowerCut(Path(os.path.realpath(tmp_path)), seed=seed) as disk:
        broken = 0
        for number in range(20):
            one = Round(disk.root, source, seed + number, "careless", 100, 0)
            disk.cut()
            broken += one.placed is not None and not same(disk.root / "inbox" / "project", source)
            if broken:
                break
    assert broken > 0


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """An empty disk of so many MiB."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", os.fspath(folder)]
    subprocess.run(words, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True)


def fill(disk: Path) -> None:
    """Take all room there is."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@needs_root
def test_a_disk_that_fills_up_and_has_room_again(tmp_path: Path) -> None:
    """Pieces are refused, nothing that is there is lost, and it goes on without beginning anew."""
    data = pattern(12 * MIB)
    offer = offer_of(data)
    parts = pieces_of(offer, data)
    with small_disk(Path(os.path.realpath(tmp_path)) / "disk", 16) as disk:
        places = Places(disk)
        staging = places.begin(offer)
        staging.learn(0, hashes_of(offer, data))
        for number in range(4):
            staging.put(number, parts[number])
        staging.sync(0)
        (disk / "filler").write_bytes(bytes(6 * MIB))

        def put_the_rest() -> None:
            for number in list(staging.done.missing()):
                staging.put(number, parts[number])

        with pytest.raises(CommandError) as met:
            put_the_rest()
        assert met.value.kind == "disk_full"
        with pytest.raises(CommandError) as met:
            staging.check_room(keep_free=MIB)
        assert met.value.kind == "disk_full"
        buffer = memoryview(bytearray(MIB))
        for number in range(4):
            assert staging.read(number, buffer) == MIB
            assert buffer == parts[number]
        assert not staging.done.complete
        (disk / "filler").unlink()
        put_the_rest()
        landed = place(staging, places.inbox, 0)
        staging.close()
        assert Path(landed.path).read_bytes() == data
        places.close()


@needs_root
def test_a_full_disk_while_a_log_is_written(tmp_path: Path) -> None:
    """Not a byte is left: every append fails, and each leaves the log as it was."""
    data = b"x" * 1000
    offer = offer_of(data)
    with small_disk(Path(os.path.realpath(tmp_path)) / "disk", 4) as disk:
        places = Places(disk)
        staging = places.begin(offer)
        fill(disk)
        staging.learn_root(b"r" * 32)  # within the log's own page there is room
        log = disk / "staging" / state_name(ID)
        sizes = [log.stat().st_size]

        def append_until_full() -> None:
            while len(sizes) < 200:
                staging.log.append(99, bytes(100))
                sizes.append(log.stat().st_size)

        with pytest.raises(CommandError) as met:
            append_until_full()
        assert met.value.kind == "disk_full"
        assert log.stat().st_size == sizes[-1]
        (disk / "filler").unlink()
        staging.close()
        again = places.begin(offer)
        assert again.root == b"r" * 32
        again.close()
        places.close()


@needs_root
def test_an_inbox_on_another_disk(tmp_path: Path) -> None:
    """For real: link and rename do not reach across, so all is copied first and named in one step."""
    data = pattern(3 * MIB + 1)
    real = Path(os.path.realpath(tmp_path))
    with small_disk(real / "disk", 8) as disk, Folder.open(disk) as inbox:
        places = Places(real / "home")
        offer = offer_of(data)
        for number in (1, 2):
            staging = places.begin(offer)
            put_all(staging, offer, data)
            landed = place(staging, inbox, 0)
            staging.discard()
            assert landed.name == ("report.pdf" if number == 1 else "report (2).pdf")
            assert Path(landed.path).read_bytes() == data
        staging = places.begin(offer)
        put_all(staging, offer, data)
        with pytest.raises(CommandError) as met:
            place(staging, inbox, 0)
        assert met.value.kind == "disk_full"
        assert sorted(os.listdir(disk)) == ["report (2).pdf", "report.pdf"]
        (disk / "report.pdf").unlink()
        assert place(staging, inbox, 0).name == "report.pdf"
        staging.close()
        places.close()
