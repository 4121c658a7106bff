"""Files on the command line with two real daemons on one host: one session from beginning to end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.cli.contract import FIELDS
from tests.cli.stage import subprocess_environment
from tests.cli.terminal import terminal
from tests.cli.test_rooms_real import Person, two, until

__all__ = ["two"]


def sent(who: Person, *argv: str) -> str:
    """The id of the one thing that is offered."""
    (one,) = who.json("file", "send", *argv)["transfers"]
    return str(one["id"])


def stands(who: Person, ident: str) -> dict[str, object]:
    """How it stands with somebody; {} if he does not know it."""
    found = who.json("file", "list")["transfers"]
    return next((one for one in found if one["id"] == ident), {})


def heard(who: Person, ident: str) -> None:
    until(lambda: bool(stands(who, ident)))


def test_files_between_two(two: tuple[Person, Person], tmp_path: Path) -> None:
    ann, bob = two
    report = tmp_path / "report.bin"
    report.write_bytes(os.urandom(3_000_000))
    plans = tmp_path / "plans"
    (plans / "empty").mkdir(parents=True)
    (plans / "a.txt").write_text("one")
    (plans / "away").symlink_to("/etc")

    # offered in a message, seen in the inbox, taken, and then known to be there by both
    said = ann.json("send", bob.name, "look", "--file", str(report))
    (one,) = said["transfers"]
    assert FIELDS["transfer"] <= set(one)
    assert (one["state"], one["path"], one["size"]) == ("offered", None, 3_000_000)
    heard(bob, one["id"])
    assert [entry["id"] for entry in bob.json("inbox")["files"]] == [one["id"]]
    (message,) = bob.json("history", ann.name)["messages"]
    assert message["files"] == [{"id": one["id"], "name": "report.bin", "size": 3_000_000}]
    taken = bob.run("file", "accept", one["id"][:8], "--wait", "--timeout", "60")
    landed = Path(taken.stdout.rstrip("\n"))
    assert landed == bob.home / "inbox" / "report.bin"
    assert hashlib.sha256(landed.read_bytes()).digest() == hashlib.sha256(report.read_bytes()).digest()
    until(lambda: stands(ann, one["id"])["state"] == "done")
    assert [who["name"] for who in ann.json("file", "list", "--have")["transfers"][0]["have"]] == [bob.name]
    assert bob.json("inbox")["files"] == []

    # a folder, into a folder of his choice; what does not go along is told
    offered = ann.run("file", "send", bob.name, str(plans))
    assert "1 links left out" in offered.stderr
    folder = offered.stdout.strip()
    heard(bob, folder)
    (tmp_path / "desk").mkdir()
    found = bob.json("file", "accept", folder, "--to", str(tmp_path / "desk"), "--wait", "--timeout", "60")
    assert found["transfer"]["path"] == str(tmp_path / "desk" / "plans")
    assert (tmp_path / "desk" / "plans" / "a.txt").read_text() == "one"
    assert (tmp_path / "desk" / "plans" / "empty").is_dir()
    assert not (tmp_path / "desk" / "plans" / "away").exists()

    # piped in, and waited for while the other one declines
    words = [
        "--home",
        str(ann.home),
        "file",
        "send",
        bob.name,
        "-",
        "--name",
        "build.log",
        "--wait",
        "--json",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "p2pchat_cli", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=subprocess_environment(),
    ) as piped:  # fmt: skip
        assert piped.stdin is not None
        piped.stdin.write(b"line\n" * 50_000)
        piped.stdin.close()
        until(lambda: len(bob.json("inbox")["files"]) == 1)
        (log,) = bob.json("inbox")["files"]
        assert (log["name"], log["size"]) == ("build.log", 250_000)
        bob.run("file", "decline", log["id"])
        assert piped.wait(20) == 8
        assert piped.stdout is not None
        told = json.loads(piped.stdout.read())
    assert (told["error"]["kind"], told["transfers"][0]["state"]) == ("declined", "declined")
    found = bob.json("file", "accept", log["id"], "--wait", "--timeout", "60")
    assert Path(found["transfer"]["path"]).read_bytes() == b"line\n" * 50_000

    # the same name again, a bar on a terminal, and a warning
    bad = tmp_path / "invoice.pdf.exe"
    bad.write_bytes(b"x" * 1000)
    ident = sent(ann, bob.name, str(bad))
    heard(bob, ident)
    assert stands(bob, ident)["flags"] == ["double_extension", "executable"]
    with terminal(bob.home, "file", "accept", ident, "--wait") as screen:
        assert screen.finish() == 0
    assert screen.lines()[0].startswith("warning: invoice.pdf.exe: it may run when it is opened")
    assert "[####################] 100 %  done" in screen.seen

    # withdrawn before it was taken; not there in time; unknown
    ident = sent(ann, bob.name, str(report))
    heard(bob, ident)
    ann.run("file", "cancel", ident)
    until(lambda: stands(ann, ident)["state"] == "cancelled")
    assert ann.kind("file", "send", bob.name, str(report), "--wait", "--timeout", "0.3", code=5) == "timeout"
    assert bob.kind("file", "accept", "abcdef", code=4) == "no_such_target"
    assert ann.kind("file", "accept", ident, code=2) == "usage"

    # unasked, from somebody verified
    assert bob.kind("file", "auto", ann.name, "on", code=7) == "policy"
    number = bob.json("trust", "show", ann.name)["safety_number"]
    bob.run("trust", "verify", ann.name, "--safety-number", number)
    bob.run("config", "set", "file_auto_max", "1MB")
    assert bob.json("file", "auto", ann.name, "on")["max_bytes"] == 1_000_000
    small, large = sent(ann, bob.name, str(bad)), sent(ann, bob.name, str(report))
    until(lambda: stands(bob, small).get("state") == "done")
    heard(bob, large)
    assert stands(bob, large)["state"] == "offered"
    until(lambda: stands(ann, small)["state"] == "done")


def test_a_transfer_survives_a_restart_of_both(two: tuple[Person, Person], tmp_path: Path) -> None:
    ann, bob = two
    report = tmp_path / "report.bin"
    report.write_bytes(os.urandom(2_000_000))
    ident = sent(ann, bob.name, str(report))
    heard(bob, ident)
    ann.run("down", "--now")
    left = ann.home / "staging" / f"spool-{'0' * 32}"  # as a kill in the middle of a pipe leaves it
    left.write_bytes(b"half a line")
    assert bob.json("file", "accept", ident)["transfer"]["state"] == "waiting"
    bob.run("down", "--now")
    for one in two:
        one.run("up", "--no-announce")
    port = bob.json("status")["daemon"]["listen"][0].rpartition(":")[2]
    assert ann.json("peers", "add", f"127.0.0.1:{port}")["connected"] is True
    until(lambda: stands(bob, ident)["state"] == "done")
    assert (bob.home / "inbox" / "report.bin").read_bytes() == report.read_bytes()
    assert not left.exists()
