"""Several machines of one person on the command line, with real daemons on one host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stage import subprocess_environment
from tests.cli.test_rooms_real import Person, until


class Cast:
    """Ann's pc and Bob, up and connected; machines of Ann's to come."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, os.urandom(2).hex()
        self.pc, self.laptop, self.bob, self.fresh = (
            Person(folder / who, f"{name}-{self.mark}")
            for who, name in (("pc", "Ann"), ("laptop", "Ann"), ("bob", "Bob"), ("fresh", "Ann"))
        )

    def address(self, one: Person) -> str:
        return "127.0.0.1:" + one.json("status")["daemon"]["listen"][0].rpartition(":")[2]

    def meet(self, *pairs: tuple[Person, Person]) -> None:
        for one, other in pairs:
            assert one.json("peers", "add", self.address(other))["connected"] is True

    def join(self, *, at: Person, more: tuple[str, ...] = ()) -> tuple[dict[str, Any], Any]:
        """`device link` at the pc and `device join` at a fresh profile; what both answered."""
        words = [
            sys.executable,
            "-m",
            "p2pchat_cli",
            "--home",
            os.fspath(self.pc.home),
            "device",
            "link",
            "--json",
        ]
        shown = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            env=subprocess_environment(),
        )  # fmt: skip
        try:
            assert shown.stdout is not None
            told = json.loads(shown.stdout.readline())
            words = ("--json", "--no-announce", "--peer", self.address(self.pc), *more)
            done = at.run("device", "join", told["code"], *words)
            rest = shown.communicate(timeout=30)[0]
        finally:
            shown.kill()
            shown.wait()
        return json.loads(done.stdout), json.loads(rest)


@pytest.fixture
def cast(tmp_path: Path) -> Iterator[Cast]:
    made = Cast(tmp_path)
    try:
        for one in (made.pc, made.bob):
            one.run("up", "--name", one.name, "--no-announce")
        made.meet((made.pc, made.bob))
        made.bob.run("peers", "--wait", made.pc.name, "--timeout", "10")
        yield made
    finally:
        for one in (made.pc, made.laptop, made.bob, made.fresh):
            one.run("down", "--now", code=None)


def devices(one: Person) -> dict[str, dict[str, Any]]:
    return {found["device"]: found for found in one.json("device", "list")["devices"]}


def _notices(one: Person) -> set[tuple[str, str | None]]:
    found = one.json("history", "launch")["notices"]
    return {(notice["type"], (notice["who"] or {}).get("name")) for notice in found}


def test_a_second_machine_from_its_code_to_its_end(cast: Cast) -> None:
    pc, laptop, bob = cast.pc, cast.laptop, cast.bob
    pc.run("room", "create", "launch")
    pc.run("room", "invite", "launch", bob.name)
    until(lambda: bool(bob.room("launch")))
    bob.run("send", "launch", "in the room")
    bob.run("send", pc.name, "to you")
    until(lambda: pc.texts("launch") == ["in the room"] and pc.texts(bob.name) == ["to you"])
    pc.run("read", bob.name)
    print_of = bob.json("whoami")["me"]["fingerprint"]
    pc.run("trust", "verify", bob.name, "--fingerprint", print_of)
    pc.run("config", "set", "read_receipts", "on")

    up, linked = cast.join(at=laptop)
    me = pc.json("whoami")["me"]
    assert (up["me"]["account"], up["me"]["name"]) == (me["account"], me["name"])
    assert up["me"]["device"] == linked["device"] != me["device"]
    until(lambda: laptop.texts("launch") == ["in the room"] and laptop.texts(bob.name) == ["to you"])
    until(lambda: laptop.json("inbox")["unread"] == pc.json("inbox")["unread"])
    assert [one["name"] for one in pc.json("inbox")["unread"]] == ["launch"]
    assert laptop.json("trust", "show", bob.name)["trust"] == "verified"
    until(lambda: "on" in laptop.run("config", "show").stdout.split("read_receipts")[1].splitlines()[0])

    cast.meet((laptop, bob))
    bob.run("peers", "--wait", pc.name, "--timeout", "10")
    sent = laptop.json("send", bob.name, "from the laptop", "--wait", "delivered", "--timeout", "10")
    assert sent["state"] == "delivered"
    until(lambda: bob.texts(pc.name) == ["to you", "from the laptop"])
    seen = bob.json("trust", "show", pc.name)
    assert (seen["account"], len(seen["devices"])) == (me["account"], 2), "one person to everybody else"
    until(lambda: pc.texts(bob.name) == ["to you", "from the laptop"])

    pc.run("device", "rename", linked["device"][:12], "old laptop")
    until(lambda: devices(laptop)[linked["device"]]["name"] == "old laptop")
    gone = pc.json("device", "revoke", "old laptop")
    assert (gone["device"], gone["revoked"]) == (linked["device"], True)
    until(lambda: bool(laptop.json("status")["peers"]["connected"] == 0))
    until(lambda: "revoked" in {one["kind"] for one in laptop.json("status")["warnings"]})
    assert "was revoked" in laptop.run("device", "link", code=6).stderr, "nobody would believe what it adds"
    (key,) = [one for one in laptop.json("doctor", code=1)["checks"] if one["name"] == "key"]
    assert (key["cause"], key["ok"]) == ("revoked", False)
    assert laptop.kind("send", bob.name, "still here?", code=6) == "key_revoked"
    until(
        lambda: (
            {d["device"] for d in bob.json("trust", "show", pc.name)["devices"] if d["revoked"]}
            == {linked["device"]}
        )
    )
    until(lambda: ("revoked", pc.name) in _notices(bob))
    assert f"a machine of {pc.name} was cut off" in bob.run("history", "launch").stdout
    epoch = laptop.room("launch")["epoch"]
    until(lambda: bob.room("launch")["epoch"] not in (None, epoch))
    bob.run("send", "launch", "without the laptop")
    until(lambda: pc.texts("launch") == ["in the room", "without the laptop"])
    assert laptop.texts("launch") == ["in the room"]


def test_a_wrong_code_is_told_on_both_sides_and_makes_nobody(cast: Cast) -> None:
    pc, laptop = cast.pc, cast.laptop
    words = [sys.executable, "-m", "p2pchat_cli", "--home", os.fspath(pc.home), "device", "link", "--json"]
    shown = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        env=subprocess_environment(),
    )  # fmt: skip
    try:
        assert shown.stdout is not None
        code = json.loads(shown.stdout.readline())["code"]
        wrong = code[:-1] + ("2" if code[-1] != "2" else "3")
        options = ("--no-announce", "--peer", cast.address(pc))
        assert laptop.kind("device", "join", wrong, *options, code=6) == "key_mismatch"
        rest = json.loads(shown.communicate(timeout=30)[0])
    finally:
        shown.kill()
        shown.wait()
    assert (shown.returncode, rest["error"]["kind"]) == (1, "failed")
    assert "another code" in rest["error"]["message"]
    assert not (laptop.home / "identity").exists()
    assert len(devices(pc)) == 1
    assert laptop.json("status", code=3)["error"]["kind"] == "no_daemon"


def test_who_is_somebody_already_does_not_join(cast: Cast) -> None:
    assert cast.bob.kind("device", "join", "ABCD-EFGH", code=7) == "policy"
    cast.bob.run("down", "--now")
    assert cast.bob.kind("device", "join", "ABCD-EFGH", "--no-announce", code=7) == "policy"
    assert cast.laptop.kind("device", "join", "ABCD", "--no-announce", code=2) == "usage"
    assert cast.laptop.kind("device", "join", code=2) == "usage"


def test_the_recovery_key_makes_a_machine_when_all_are_lost(cast: Cast) -> None:
    pc, bob, fresh = cast.pc, cast.bob, cast.fresh
    bob.run("send", pc.name, "do you remember?")
    until(lambda: pc.texts(bob.name) == ["do you remember?"])
    key = pc.json("device", "recovery-key", "--yes")["recovery_key"]
    me = pc.json("whoami")["me"]
    pc.run("down", "--now")
    paper = cast.folder / "paper.txt"
    paper.write_text(key + "\n", encoding="utf-8")
    up = fresh.json("device", "recover", str(paper), "--no-announce", "--peer", cast.address(bob))
    assert (up["me"]["account"], up["me"]["name"]) == (me["account"], pc.name)
    assert up["me"]["device"] != me["device"]
    until(lambda: fresh.texts(bob.name) == ["do you remember?"])
    assert fresh.json("device", "revoke", me["device"][:12])["revoked"] is True
    until(lambda: [d["revoked"] for d in bob.json("trust", "show", pc.name)["devices"]].count(True) == 1)


def test_a_restored_backup_takes_a_new_id_and_loses_nothing(cast: Cast) -> None:
    """The backup is older than what was said since; then the original comes back as well."""
    pc, bob = cast.pc, cast.bob
    pc.run("send", bob.name, "one")
    until(lambda: bob.texts(pc.name) == ["one"])
    old = pc.json("whoami")["me"]
    pc.run("down", "--now")
    original = Person(cast.laptop.home, pc.name)
    shutil.copytree(pc.home, original.home)
    original.run("up", "--no-announce")
    cast.meet((original, bob))
    original.run("send", bob.name, "two, which the backup has not", "--wait", "delivered")
    original.run("down", "--now")

    pc.run("up", "--no-announce")
    cast.meet((pc, bob))
    until(lambda: pc.json("whoami")["me"]["device"] != old["device"])
    until(lambda: pc.texts(bob.name) == ["one", "two, which the backup has not"])
    assert pc.json("whoami")["me"]["account"] == old["account"]
    told = [one for one in pc.json("status")["warnings"] if one["kind"] == "clone"]
    assert [old["device"][:16] in one["fix"] for one in told] == [True]
    cast.meet((pc, bob))
    pc.run("send", bob.name, "three", "--wait", "delivered", "--timeout", "10")

    original.run("up", "--no-announce")
    cast.meet((original, bob), (original, pc))
    original.run("send", bob.name, "four", "--wait", "delivered", "--timeout", "10")
    wanted = ["one", "two, which the backup has not", "three", "four"]
    for one, other in ((bob, pc), (pc, bob), (original, bob)):
        until(lambda one=one, other=other: one.texts(other.name) == wanted)  # type: ignore[misc]
    assert original.json("whoami")["me"]["device"] == old["device"], "its id is its own again"
    messages = bob.json("history", pc.name)["messages"]
    assert not any("forked" in message["flags"] for message in messages)
    pc.run("down", "--now")
    again = pc.json("up", "--no-announce")
    assert again["me"]["device"] not in (old["device"], None), "written down"


def test_a_profile_that_is_somebody_gives_that_person_up_with_replace(cast: Cast) -> None:
    """Eve's machine becomes Ann's: Bob, who had verified Eve, is asked before he goes on with Ann."""
    pc, bob, eve = cast.pc, cast.bob, Person(cast.laptop.home, f"Eve-{cast.mark}")
    eve.run("up", "--name", eve.name, "--no-announce")
    cast.meet((eve, bob), (eve, pc))
    eve.run("send", bob.name, "I am eve", "--wait", "delivered")
    before = eve.json("whoami")["me"]
    bob.run("trust", "verify", eve.name, "--fingerprint", before["fingerprint"])
    assert eve.kind("device", "join", "ABCD-EFGH", code=7) == "policy"
    up, linked = cast.join(at=eve, more=("--replace",))
    me = pc.json("whoami")["me"]
    assert (up["me"]["account"], up["me"]["device"]) == (me["account"], linked["device"])
    cast.meet((eve, bob))
    until(lambda: bob.json("trust", "show", before["fingerprint"])["trust"] == "changed")
    assert bob.kind("send", before["fingerprint"], "who are you?", code=6) == "key_changed"
    accepted = bob.json("trust", "accept", before["fingerprint"])
    assert (accepted["account"], accepted["trust"]) == (me["account"], "unverified")
    (aside,) = eve.home.glob("before-*")
    assert {"identity", "archive.db"} <= {one.name for one in aside.iterdir()}, "nothing is deleted"
    assert eve.texts(bob.name) == [], "nor mixed with what is Ann's"
