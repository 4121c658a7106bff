"""Files between real hosts: many, large, empty; changed, deleted, moved and lied about on the way.

Whatever happens, what bears a name in an inbox is byte-equal to its source.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.hosts import ROOT, Machine, environment, host_of, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.netns import Host
from tests.kit.sending import (
    equal_or_absent,
    inbox,
    landed,
    moved,
    noise,
    offer,
    offered,
    same,
    settled,
    shown,
    staging,
    take,
)
from tests.lan.test_rooms import make

pytestmark = needs_netns

MIB = 1 << 20
SLOW_MBIT = 100
SLOW_MIB = 32
"""At 100 Mbit/s about 3 s: time to do something meanwhile."""
LAND_S = 60.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        yield ann, bob


def test_ten_thousand_and_an_empty_one_and_a_hole(
    pair: tuple[Machine, Machine], tmp_path: Path, full: bool
) -> None:
    """A folder of 10,000 small files, a file of no bytes, and one that is nearly only a hole."""
    ann, bob = pair
    many = tmp_path / "many"
    for number in range(10_000):
        if number % 100 == 0:
            (many / f"{number // 100:02d}").mkdir(parents=True)
        (many / f"{number // 100:02d}" / f"{number:05d}").write_bytes(number.to_bytes(4, "big") * 1024)
    (tmp_path / "empty").touch()
    size = 5 << 30 if full else 300 * MIB
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.write(b"begin")
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    ids = offered(ann, bob, many, tmp_path / "empty", hole)
    for ident in ids:
        take(bob, ident)
    folder, empty, sparse = [landed(bob, ident, 600 if full else LAND_S) for ident in ids]
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(found) == 10_000
    for number, path in enumerate(found):
        assert path.read_bytes() == number.to_bytes(4, "big") * 1024, path
        assert path.name == f"{number:05d}"
    assert empty.stat().st_size == 0
    assert (sparse.stat().st_size, sparse.stat().st_blocks < 8 * MIB // 512) == (size, True)
    assert same(sparse, hole)
    for ident in ids:
        until(lambda ident=ident: shown(ann, ident)["state"] == "done", 10, "Ann knows")  # type: ignore[misc]
    until(lambda: _small(staging(bob)), 10, "what was staged is gone")


def _small(folder: Path) -> bool:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4 * MIB


@pytest.mark.parametrize("how", ["changed", "deleted", "longer", "another"])
def test_a_source_that_goes_is_told_on_both_sides(
    pair: tuple[Machine, Machine], tmp_path: Path, how: str
) -> None:
    """Written to, deleted, appended to, or exchanged for another while it is sent."""
    ann, bob = pair
    host_of(ann).limit(SLOW_MBIT)
    source = noise(tmp_path / "report.pdf", SLOW_MIB * MIB)
    ident = offer(ann, bob, source)
    take(bob, ident)
    until(lambda: moved(bob, ident) > 4 * MIB, 20, "some of it is there")
    match how:
        case "changed":
            with source.open("r+b") as file:
                file.seek(SLOW_MIB * MIB - 1000)
                file.write(b"another end")
        case "deleted":
            source.unlink()
        case "longer":
            with source.open("ab") as file:
                file.write(b"more")
        case "another":
            noise(tmp_path / "new", SLOW_MIB * MIB).rename(source)
    for machine in (bob, ann):
        found = settled(machine, ident, LAND_S)
        assert found["state"] == "failed", found
        assert found["error"]["kind"] == "source_changed"
        assert "'report.pdf'" in found["error"]["message"] or str(source) in found["error"]["message"]
    assert not any(inbox(bob).glob("*"))
    until(lambda: _small(staging(bob)), 10, "what came of it is not kept")
    again = bob.attempt("file", "accept", ident, "--wait", "--timeout", "2")
    assert again.code != 0
    assert "Traceback" not in again.err + bob.profile.log.read_text("utf-8") + ann.profile.log.read_text(
        "utf-8"
    )


def test_another_address_in_the_middle(pair: tuple[Machine, Machine], tmp_path: Path) -> None:
    """Bob's address goes and another comes: it goes on from where it was."""
    ann, bob = pair
    host_of(ann).limit(SLOW_MBIT)
    source = noise(tmp_path / "film", SLOW_MIB * MIB)
    ident = offer(ann, bob, source)
    take(bob, ident)
    until(lambda: moved(bob, ident) > 8 * MIB, 20, "some of it is there")
    host = host_of(bob)
    host.address("del", f"{host.ip6}/64")
    host.address("del", f"{host.ip}/16")
    host.address("add", "10.77.9.9/16")
    host.address("add", "fd77::99/64")
    host.run("ip", "route", "replace", "224.0.0.0/4", "dev", "eth0", check=True)
    before = moved(bob, ident)
    assert not equal_or_absent(bob, source)
    assert same(landed(bob, ident, LAND_S), source)
    assert before > 4 * MIB
    given = moved(ann, ident)
    assert given < (SLOW_MIB + 16) * MIB, "what was there was not asked for again"


class Hostile(Machine):
    """A daemon of another making: `tests.hostile.liar`, which gives wrong pieces that are well sealed."""

    def up(self, *options: str) -> dict[str, object]:  # type: ignore[override]
        words = (sys.executable, "-m", "tests.hostile.liar", "--home", os.fspath(self.home))
        process = subprocess.Popen(
            self.place.command(*words, "--name", self.name, "--foreground"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=ROOT, env=environment(self.home), text=True, start_new_session=True,
        )  # fmt: skip
        self._running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        self.pid = process.pid
        return {}


def test_of_three_who_have_it_one_lies_and_one_dies(tmp_path: Path) -> None:
    """The author is off; Cyn lies, Dan dies in the middle. Only Cyn is named; with the author all is here."""
    with (
        office(4, tmp_path) as (net, (ann, bob, _, dan)),
        Hostile(net.hosts[2], tmp_path / "cyn" / "home", "cyn") as cyn,
    ):
        for machine in (ann, bob, cyn, dan):
            machine.up()
        meet(ann, bob, cyn, dan)
        room = make("party", ann, bob, cyn, dan)
        source = noise(tmp_path / "film", SLOW_MIB * MIB)
        ident = offer(ann, room, source)
        for machine in (cyn, dan):
            take(machine, ident)
        for machine in (cyn, dan):
            assert same(landed(machine, ident, LAND_S), source)
        until(lambda: shown(bob, ident), 10, "Bob has heard of it")
        time.sleep(1)  # and of its root, which came with the author's last piece
        ann.kill()
        until(lambda: not bob.sees(ann), 20, "Ann is gone")
        host_of(bob).limit(SLOW_MBIT)
        take(bob, ident)
        until(lambda: moved(bob, ident) > 8 * MIB, 30, "some of it is there")
        dan.kill()
        until(
            lambda: (shown(bob, ident).get("error") or {}).get("kind") == "bad_source",
            30,
            "the liar is named",
        )
        assert "'cyn'" in shown(bob, ident)["error"]["message"]
        until(lambda: not bob.sees(dan), 20, "Dan is gone")
        assert shown(bob, ident)["state"] == "waiting"
        assert not equal_or_absent(bob, source)
        ann.up()
        assert same(landed(bob, ident, LAND_S), source)
        assert shown(bob, ident)["error"] is None


@contextmanager
def man_in_the_middle(place: Host, host: str, port: str, every: int) -> Iterator[subprocess.Popen[str]]:
    """On his machine: whoever dials it at `port` is led to `host`, and now and then a bit is turned."""
    words = (sys.executable, "-m", "tests.hostile.middle", port, host, str(every))
    process = place.popen(
        *words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_a_man_in_the_middle_flips_bits(tmp_path: Path) -> None:
    """He has Ann's address on Bob's switch. Each flip ends a bulk link; nobody is banned or named for it."""
    with office(3, tmp_path, ipv6=False) as (net, (ann, bob, _)):
        house, middle = net.hosts[0], net.hosts[2]
        address = house.ip
        house.move(1)
        for host, before, after in ((house, house.ip, "10.78.0.1"), (middle, middle.ip, address)):
            host.address("del", f"{before}/16")
            host.address("add", f"{after}/16")
        middle.attach("eth1", 1, "10.78.0.9/16")
        ann.up()
        port = ann.ask("status")["daemon"]["listen"][0].rpartition(":")[2]
        with man_in_the_middle(middle, "10.78.0.1", port, 20 * MIB) as man:
            bob.up("--no-announce", "--peer", f"{address}:{port}")
            meet(ann, bob)
            source = noise(tmp_path / "film", 64 * MIB)
            ident = offer(ann, bob, source)
            take(bob, ident)
            errors = []

            def over() -> bool:
                found = shown(bob, ident)
                errors.append(found.get("error"))
                return found.get("state") == "done"

            until(over, LAND_S, "it is here")
            man.kill()
            assert man.stdout is not None
            assert man.stdout.read().split().count("flip") >= 2
        assert {(error or {}).get("kind") for error in errors} == {None}
        assert same(inbox(bob) / "film", source)
        assert "does not open" in bob.profile.log.read_text("utf-8")
        for machine in (ann, bob):
            log = machine.profile.log.read_text("utf-8")
            assert "wrong piece" not in log
            assert "Traceback" not in log
