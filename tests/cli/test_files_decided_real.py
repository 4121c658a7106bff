"""What people decide about files, with two real daemons on one host: pause, and names that are taken."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from p2pchat.control.client import PlainClient, connect
from p2pchat.paths import profile
from tests.cli.test_files_real import heard, sent, stands
from tests.cli.test_rooms_real import Person, two, until

__all__ = ["two"]

MIB = 1 << 20
LARGE = 400 * MIB
SYNCED = 64 * MIB
"""So much is durable at the latest when a little more has come."""


def at_once(client: PlainClient, ident: str) -> dict[str, Any]:
    """How it stands, without the time a command takes to start."""
    found = client.call("files.list", {}, 10.0)["transfers"]
    return next(one for one in found if one["id"] == ident)


def test_paused_in_the_middle_it_goes_on_from_there(two: tuple[Person, Person], tmp_path: Path) -> None:
    ann, bob = two
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        for at in range(0, LARGE, 50 * MIB):
            file.seek(at)
            file.write(at.to_bytes(8, "big"))
        file.truncate(LARGE)
    ident = sent(ann, bob.name, str(large))
    heard(bob, ident)
    with connect(profile(bob.home)) as client:
        client.call("files.accept", {"id": ident}, 10.0)
        deadline = time.monotonic() + 60
        while at_once(client, ident)["bytes_done"] < SYNCED + 8 * MIB:
            assert time.monotonic() < deadline, "nothing moves"
        client.call("files.pause", {"id": ident}, 10.0)
    until(lambda: stands(bob, ident)["state"] == "paused")
    until(lambda: stands(bob, ident)["sources"] == 0)
    paused = stands(bob, ident)
    assert SYNCED <= int(str(paused["bytes_done"])) < LARGE
    assert not (bob.home / "inbox" / "large.bin").exists()
    bob.run("down", "--now")
    bob.run("up", "--no-announce")
    port = ann.json("status")["daemon"]["listen"][0].rpartition(":")[2]
    bob.json("peers", "add", f"127.0.0.1:{port}")
    again = stands(bob, ident)
    assert (again["state"], again["bytes_done"]) == ("paused", paused["bytes_done"]), "across a restart"
    bob.run("file", "resume", ident)
    until(lambda: stands(bob, ident)["state"] == "done")
    with large.open("rb") as there, (bob.home / "inbox" / "large.bin").open("rb") as here:
        while block := there.read(8 * MIB):
            assert here.read(8 * MIB) == block
        assert here.read(1) == b""


def test_a_name_that_is_taken(two: tuple[Person, Person], tmp_path: Path) -> None:
    """It gets a number of its own, is put in its place, or is left out, as who takes it says."""
    ann, bob = two
    note = tmp_path / "note.txt"
    inbox = bob.home / "inbox"

    def offered(text: str) -> str:
        note.write_text(text)
        ident = sent(ann, bob.name, str(note))
        heard(bob, ident)
        return ident

    for text in ("first", "second one"):
        bob.run("file", "accept", offered(text), "--wait", "--timeout", "60")
    names = sorted(path.name for path in inbox.iterdir())
    assert len(names) == 2
    assert sorted(path.read_text() for path in inbox.iterdir()) == ["first", "second one"]
    assert (inbox / "note.txt").read_text() == "first"

    bob.run(
        "file", "accept", offered("third, longer"), "--conflict", "overwrite", "--wait", "--timeout", "60"
    )
    assert (inbox / "note.txt").read_text() == "third, longer"
    assert sorted(path.name for path in inbox.iterdir()) == names

    left_out = offered("the fourth, left out")
    words = ("file", "accept", left_out, "--conflict", "skip", "--wait", "--timeout", "60")
    assert bob.kind(*words, code=8) == "declined"
    assert (inbox / "note.txt").read_text() == "third, longer"
    until(lambda: stands(ann, left_out)["state"] == "declined")
    assert sorted(path.name for path in inbox.iterdir()) == names
