"""Networks that are whole and machines that are not: the doctor names what is wrong with which one, and
leaves the others alone. Real daemons, also of programs that are not ours (tests.kit.variants)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.variants import OTHER_OFFICE, OTHER_VERSION, built, clocked
from tests.lan.test_doctor import causes, examined

pytestmark = needs_netns

HERE, THERE = "here", "there"
HEARD_S = 10.0
"""An announcement is heard within a second; the rest is a busy machine."""


def test_a_clock_three_hours_ahead(tmp_path: Path) -> None:
    """Ann's, and she is told; Bob and Cyn, who agree, are not. Two alone cannot know whose it is."""
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        ann.place = clocked(host_of(ann), tmp_path / "clock", 3 * 3600)
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        found = examined(ann)
        assert causes(found) == {"clock"}
        assert "180 min" in found["clock", HERE]["detail"]
        assert found["clock", HERE]["fix"] == "set the clock of this machine"
        examined(bob, ok=True)
        found = examined(bob, "ann")
        assert set(found) == {("clock", THERE)}
        assert "ahead" in found["clock", THERE]["detail"]
        examined(bob, "cyn", ok=True)
        cyn.down()
        until(lambda: not ann.sees(cyn) and not bob.sees(cyn), HEARD_S, "cyn is gone")
        for one in (ann, bob):
            assert "set the one that is wrong" in examined(one)["clock", HERE]["fix"]


def test_other_programs_on_the_same_network(tmp_path: Path) -> None:
    """Bob's program speaks a later version only, Dan's belongs to another office; Ann and Cyn are ours."""
    with office(4, tmp_path) as (_, (ann, bob, cyn, dan)):
        there = {one.name: host_of(one).ip for one in (ann, bob, cyn, dan)}
        bob.place = built(host_of(bob), tmp_path / "later", OTHER_VERSION)
        dan.place = built(host_of(dan), tmp_path / "neighbours", OTHER_OFFICE)
        for machine in (ann, bob, cyn, dan):
            machine.up()
        meet(ann, cyn)
        until(lambda: causes(examined(bob)) == {"version"}, HEARD_S, "bob hears of the others' version")
        assert examined(bob)["version", HERE]["detail"].startswith("3 machines")
        assert causes(examined(bob, there["ann"])) == {"version"}
        until(lambda: ("key", HERE) in examined(dan), HEARD_S, "dan hears of the other office")
        found = examined(dan)
        assert found["key", HERE]["cause"] == "other_office"
        assert found["key", HERE]["detail"].startswith("2 machines"), "bob may be of any office"
        assert found["version", HERE]["detail"].startswith("1 machine ")
        examined(ann, ok=True)  # side by side is no trouble
        assert causes(examined(ann, there["bob"])) == {"version"}
        assert causes(examined(cyn, there["dan"])) == {"other_office"}
        cyn.down()
        until(lambda: not ann.sees(cyn), HEARD_S, "cyn is gone")
        assert causes(examined(ann)) == {"version", "other_office"}, "who is alone is told whom she hears"
        for machine in (bob, dan):
            machine.down()
        until(lambda: not examined(ann), HEARD_S, "they have said goodbye")


@contextmanager
def disk(machine: Machine) -> Iterator[Path]:
    """A disk of a gigabyte for its profile alone; it takes no memory but for what is written."""
    machine.home.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=700", "disk", machine.home], check=True)
    try:
        yield machine.home
    finally:
        machine.kill()
        subprocess.run(["umount", machine.home], check=True)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def fill(path: Path) -> None:
    """Write until nothing fits any more."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    assert shutil.disk_usage(path.parent).free < 1 << 16


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    """Ann, and Bob whose profile has a disk of its own. Bob's troubles come one after the other; each scene
    leaves him as it found him, but for the last."""
    with office(2, tmp_path_factory.mktemp("two")) as (_, (ann, bob)), disk(bob):
        for machine in (ann, bob):
            machine.up()
        meet(ann, bob)
        examined(bob, ok=True)
        yield ann, bob


def test_a_disk_that_fills_up(two: tuple[Machine, Machine]) -> None:
    ann, bob = two
    folder = bob.home
    resize(folder, "200m")
    found = examined(bob)
    assert causes(found) == {"disk_full"}
    assert "no files are taken" in found["disk", HERE]["detail"]
    resize(folder, "60m")
    found = examined(bob, "ann")
    assert causes(found) == {"disk_full"}
    assert "nothing that others send is taken" in found["disk", HERE]["detail"]
    fill(folder / "somebody else's")
    assert causes(examined(bob)) == {"disk_full"}
    bob.kill()
    found = examined(bob)
    assert found["disk", HERE]["cause"] == "disk_full"
    assert found["daemon", HERE]["cause"] is None
    (folder / "somebody else's").unlink()
    resize(folder, "1g")
    bob.up()
    meet(ann, bob)
    examined(bob, ok=True)
    assert ann.send(bob, "there is room again", "--wait", "delivered")["state"] == "delivered"


def put(archive: Path, data: bytes) -> None:
    """This is the archive now, with nothing beside it that belongs to another."""
    for left in archive.parent.glob("archive.db-*"):
        left.unlink()
    archive.write_bytes(data)


def test_a_damaged_archive(two: tuple[Machine, Machine]) -> None:
    """While the daemon runs, when it is to start, and when the file is cut short; a backup helps."""
    ann, bob = two
    before = len(bob.texts(ann))
    for number in range(40):
        ann.ask("send", target="bob", text=f"{number} " + "words " * 100)
    until(lambda: ann.waiting() == 0, HEARD_S, "all are delivered")
    bob.down()
    archive = bob.profile.archive
    whole = archive.read_bytes()
    bob.up()
    meet(ann, bob)
    size = int.from_bytes(whole[16:18], "big")
    with archive.open("r+b") as file:
        for page in range(len(whole) // size // 3, len(whole) // size, 3):
            file.seek(page * size)
            file.write(b"\xa5" * size)
    found = examined(bob)
    assert causes(found) - {None} == {"archive_damaged"}, "the daemon may have ended of it meanwhile"
    assert "backup" in found["archive", HERE]["fix"]
    assert examined(bob, "ann")["archive", HERE]["cause"] == "archive_damaged"
    read = bob.attempt("history", "ann")
    assert (read.code, read.error["kind"]) in ((9, "archive"), (3, "no_daemon"))
    bob.kill()
    for damaged in (archive.read_bytes(), whole[: len(whole) // 2]):
        put(archive, damaged)
        started = bob.attempt("up", "--name", "bob")
        assert (started.code, started.error["kind"]) == (9, "archive"), started
        found = examined(bob)
        assert found["archive", HERE]["cause"] == "archive_damaged", found
    put(archive, whole)
    bob.up()
    meet(ann, bob)
    examined(bob, ok=True)
    assert len(bob.texts(ann)) == before + 40


def test_a_machine_set_up_anew_under_the_old_name(two: tuple[Machine, Machine]) -> None:
    """Last: Bob starts anew. His name and address are the old ones, his key is not. Ann had verified him."""
    ann, bob = two
    before = bob.p2pchat("whoami")["me"]
    ann.p2pchat("trust", "verify", "bob", "--fingerprint", before["fingerprint"])
    bob.down()
    for old in ("identity", "archive.db"):
        (bob.home / old).rename(bob.home / f"old-{old}")
    bob.up()
    after = bob.p2pchat("whoami")["me"]
    until(lambda: (ann.peer(f"bob~{after['account'][:4]}") or {}).get("connected"), HEARD_S, "they meet")
    found = examined(ann, "bob")
    assert found["key", HERE]["cause"] == "key_changed"
    assert after["account"][:4] in found["key", HERE]["detail"]
    assert "trust show" in found["key", HERE]["fix"]
    examined(ann, after["account"], ok=True)
    examined(ann, ok=True)
    examined(bob, "ann", ok=True)
