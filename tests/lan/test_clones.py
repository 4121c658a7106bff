"""One profile on two machines of a network: a backup that was restored, and a copy that runs beside it.
One play in two scenes that share the daemons, in the order of this file.

Whoever notices is told, takes another device id and goes on; nothing that either wrote is lost.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.netns import Network

pytestmark = needs_netns

ARRIVE_S = 20.0


class Play(NamedTuple):
    """The cast, up and acquainted. `copy` is another host, on which nothing lies yet."""

    net: Network
    ann: Machine
    copy: Machine
    bob: Machine
    cyn: Machine


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    folder = tmp_path_factory.mktemp("clones")
    with office(4, folder, names=("ann", "copy", "bob", "cyn")) as (net, (ann, copy, bob, cyn)):
        copy.name = ann.name
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        yield Play(net, ann, copy, bob, cyn)


def saved(machine: Machine, folder: Path) -> None:
    """A backup of a profile whose daemon is down."""
    machine.down()
    shutil.copytree(machine.home, folder)


def device(machine: Machine) -> str:
    return str(machine.me()["device"])


def warned(machine: Machine) -> list[dict[str, Any]]:
    return [one for one in machine.ask("status")["warnings"] if one["kind"] == "clone"]


def said(machine: Machine, where: str) -> list[str]:
    return [one["text"] for one in machine.ask("history", target=where, tail=100)["messages"]]


def delivered(machine: Machine) -> None:
    until(lambda: machine.waiting() == 0, ARRIVE_S, f"nothing of {machine.name} waits")


def test_a_backup_is_restored_after_the_disk_was_lost(play: Play, tmp_path: Path) -> None:
    """It knows nothing of what was said since; what it writes before it meets anybody is kept as well."""
    _, ann, copy, bob, cyn = play
    ann.send(bob, "before the backup", "--wait", "delivered")
    saved(ann, tmp_path / "backup")
    ann.up()
    meet(ann, bob, cyn)
    ann.send(bob, "after the backup", "--wait", "delivered")
    bob.send(ann, "and an answer", "--wait", "delivered")
    old = device(ann)
    ann.kill()
    shutil.copytree(tmp_path / "backup", copy.home)
    host_of(copy).unplug()
    copy.up()
    copy.ask("send", target="bob", text="before anybody could tell")
    heard = copy.start("listen", "--types", "warning", "--timeout", "30")
    assert heard.stdout is not None
    assert json.loads(heard.stdout.readline())["type"] == "ready"
    host_of(copy).plug()
    until(lambda: device(copy) != old, ARRIVE_S, "it takes another id")
    (told,) = warned(copy)
    assert old[:16] in told["fix"]
    lines = (json.loads(line) for line in heard.stdout)
    assert any(line["type"] == "warning" and line["warning"]["kind"] == "clone" for line in lines), (
        "told at once"
    )
    assert copy.me()["account"] == bob.peer("ann")["account"]  # type: ignore[index]
    meet(copy, bob, cyn)
    copy.send(bob, "under the new id", "--wait", "delivered")
    wanted = {
        "before the backup",
        "after the backup",
        "and an answer",
        "before anybody could tell",
        "under the new id",
    }
    for one, where in ((bob, "ann"), (copy, "bob")):
        until(lambda one=one, where=where: set(said(one, where)) == wanted, ARRIVE_S, f"{one.name} has all")  # type: ignore[misc]
        assert len(said(one, where)) == len(wanted), "and each once"
    delivered(copy)
    assert copy.p2pchat("device", "revoke", old[:16], "--yes")["revoked"] is True


def test_a_copy_runs_beside_the_original(play: Play, tmp_path: Path) -> None:
    """They run in two halves of the network, and both write; then the halves meet. The original is now on
    the host of the restored backup; its image runs where Ann was before."""
    net, copy, ann, bob, cyn = play
    before = [said(one, "ann") for one in (bob, cyn)]
    saved(ann, tmp_path / "image")
    copy.home.rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "image", copy.home)
    cyn.down()
    net.split([host_of(ann), host_of(bob)], [host_of(copy), host_of(cyn)])
    for one in (ann, copy, cyn):
        one.up()
    meet(ann, bob)
    meet(copy, cyn)
    old = device(ann)
    assert device(copy) == old
    for number in range(3):
        ann.send(bob, f"original {number}", "--wait", "delivered")
        copy.send(cyn, f"copy {number}", "--wait", "delivered")
    ann.ask("send", target="cyn", text="original to cyn")
    copy.ask("send", target="bob", text="copy to bob")
    net.join()
    until(lambda: device(ann) != device(copy), ARRIVE_S, "one of them takes another id")
    to_bob = {*before[0], "original 0", "original 1", "original 2", "copy to bob"}
    to_cyn = {*before[1], "copy 0", "copy 1", "copy 2", "original to cyn"}
    meet(ann, bob, cyn)
    meet(copy, bob, cyn)
    for other, wanted in ((bob, to_bob), (cyn, to_cyn)):
        for one, where in ((other, "ann"), (ann, other.name), (copy, other.name)):
            until(
                lambda one=one, where=where, wanted=wanted: set(said(one, where)) == wanted,
                ARRIVE_S,
                f"{one.place}: {where}",
            )  # type: ignore[misc]
            assert len(said(one, where)) == len(wanted), "and each once"
    for one in (ann, copy):
        assert one.send(bob, f"later {device(one)[:6]}", "--wait", "delivered")["state"] == "delivered"
    renewed = [one for one in (ann, copy) if device(one) != old]
    assert renewed, "who notices it takes another id; if both do at the same moment, both"
    assert all(old[:16] in warned(one)[0]["fix"] for one in renewed)
