"""Rooms on the command line with two real daemons on one host: one session from beginning to end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.contract import FIELDS
from tests.cli.test_real import p2pchat

PATIENCE_S = 20.0


class Person(NamedTuple):
    """A home and the name its owner goes by."""

    home: Path
    name: str

    def run(self, *argv: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return p2pchat(self.home, *argv, code=code)

    def json(self, *argv: str, code: int | None = 0) -> dict[str, Any]:
        """The one object a command answers."""
        found = json.loads(self.run(*argv, "--json", code=code).stdout)
        assert isinstance(found, dict)
        return found

    def kind(self, *argv: str, code: int) -> str:
        """The kind of the failure a command ends with; each has a hint that helps."""
        error = self.json(*argv, code=code)["error"]
        assert error["hint"], error
        return str(error["kind"])

    def texts(self, room: str) -> list[str | None]:
        return [message["text"] for message in self.json("history", room)["messages"]]

    def room(self, name: str) -> dict[str, Any]:
        """The room as `room list` shows it, {} if it is not known here."""
        rooms = self.json("room", "list", "--all")["rooms"]
        return next((one for one in rooms if (one["kind"], one["name"]) == ("room", name)), {})

    def notices(self, room: str) -> list[tuple[str, str, str | None]]:
        """What happened to a room: (type, by, whom)."""
        found = self.json("history", room)["notices"]
        return [(one["type"], one["by"]["name"], (one["who"] or {}).get("name")) for one in found]


NO_RIGHT = ("no_right", "policy")
"""Kinds of exit code 7 by which the engine may say no to a member."""


def until(what: Callable[[], bool]) -> None:
    """Wait for what another daemon has to do first; fails by name when it does not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Person, Person]]:
    """Ann and Bob, up and connected."""
    mark = os.urandom(2).hex()
    ann, bob = (Person(tmp_path / who.lower(), f"{who}-{mark}") for who in ("Ann", "Bob"))
    try:
        for one in (ann, bob):
            one.run("up", "--name", one.name, "--no-announce")
        port = bob.json("status")["daemon"]["listen"][0].rpartition(":")[2]
        assert ann.json("peers", "add", f"127.0.0.1:{port}")["connected"] is True
        bob.run("peers", "--wait", ann.name, "--timeout", "10")
        yield ann, bob
    finally:
        for one in (ann, bob):
            one.run("down", "--now", code=None)


def test_two_people_share_a_room(two: tuple[Person, Person], tmp_path: Path) -> None:
    ann, bob = two
    rules = tmp_path / "rules.txt"
    rules.write_text("be kind\n", encoding="utf-8")

    made = ann.json("room", "create", "#launch", "--topic", "the first of May", "--rules", str(rules))["room"]
    assert FIELDS["room"] <= set(made)
    assert (made["name"], made["topic"], made["rules"]) == ("launch", "the first of May", "be kind")
    assert (made["kind"], made["membership"], made["role"], made["members"]) == ("room", "joined", "owner", 1)
    assert (made["history"], made["admission"], made["retention"]) == ("all", "invite", 0)
    ann.run("send", "launch", "before bob")

    assert bob.kind("room", "join", "launch", code=4) == "no_such_target"  # private: not even known
    invited = ann.json("room", "invite", "launch", bob.name)["room"]
    assert invited["members"] == 2
    until(lambda: bob.room("launch").get("id") == made["id"])
    requests = bob.json("inbox")["requests"]
    assert [(one["room"], one["by"]["name"]) for one in requests] == [(made["id"], ann.name)]

    sent = ann.json("send", "#launch", "hello bob", "--wait", "delivered", "--timeout", "20")
    assert (sent["state"], sent["room"]) == ("delivered", made["id"])
    until(lambda: bob.texts("launch") == ["before bob", "hello bob"])
    bob.run("send", "launch", "hello ann", "--wait", "delivered", "--timeout", "20")
    assert bob.json("inbox")["requests"] == []  # who writes there has accepted
    assert ann.texts("launch") == bob.texts("launch") == ["before bob", "hello bob", "hello ann"]

    own = ann.json("history", "launch")["messages"][1]
    assert FIELDS["message"] <= set(own)
    assert (own["kind"], own["room_name"], own["progress"]["delivered"]) == ("room", "launch", 1)
    assert [one["name"] for one in own["delivered_to"]] == [bob.name]
    expected = [("created", ann.name, None), ("added", ann.name, bob.name)]
    assert [one for one in ann.notices("launch") if one[0] in ("created", "added")] == expected
    assert [one for one in bob.notices("launch") if one[0] in ("created", "added")] == expected

    members = bob.json("room", "members", "launch")["members"]
    assert {one["name"]: one["role"] for one in members} == {ann.name: "owner", bob.name: "member"}
    assert all(len(one["devices"]) == 1 for one in members)
    assert "#launch" in ann.run("room", "list").stdout
    listed = ann.json("room", "list", "--member", bob.name)["rooms"]
    assert made["id"] in [room["id"] for room in listed]
    assert bob.json("search", "hello", "--in", "launch")["incomplete"] == []
    (hit,) = bob.json("search", "before", "--in", "#launch")["results"]
    assert hit["text"] == "before bob"


def test_who_may_what(two: tuple[Person, Person]) -> None:
    """Refusals: 4 for what is not there, 7 for what one has no right to."""
    ann, bob = two
    ann.run("room", "create", "launch")
    ann.run("room", "invite", "launch", bob.name)
    until(lambda: bob.room("launch") != {})

    for words in (
        ["room", "members", "nowhere"],
        ["room", "leave", "nowhere"],
        ["room", "invite", "launch", "Nobody"],
        ["room", "remove", "launch", "Nobody"],
        ["room", "role", "launch", "Nobody", "owner"],
        ["history", "nowhere"],
        ["send", "nowhere", "x"],
    ):
        assert ann.kind(*words, code=4) == "no_such_target"
    for words in (
        ["room", "remove", "launch", ann.name],
        ["room", "role", "launch", bob.name, "owner"],
        ["room", "set", "launch", "--history", "joined"],
        ["room", "set", "launch", "--topic", "mine now"],
    ):
        assert bob.kind(*words, code=7) in NO_RIGHT
    assert ann.kind("room", "leave", "launch", code=7) == "policy"  # the last owner names a successor

    given = ann.json("room", "role", "launch", bob.name, "moderator")["room"]
    assert given["role"] == "owner"
    until(lambda: bob.room("launch")["role"] == "moderator")
    bob.run("room", "set", "launch", "--topic", "by a moderator")
    until(lambda: ann.room("launch")["topic"] == "by a moderator")
    ann.run("room", "set", "launch", "--announce", "--retention", "30d")
    ann.run("room", "role", "launch", bob.name, "member")
    until(lambda: bob.room("launch")["role"] == "member")
    assert bob.room("launch")["retention"] == 30
    assert bob.kind("send", "launch", "may I?", code=7) in NO_RIGHT
    ann.run("room", "set", "launch", "--no-announce")
    until(lambda: bob.room("launch")["announce"] is False)
    bob.run("send", "launch", "now I may")


def test_a_removed_member_reads_nothing_later(two: tuple[Person, Person]) -> None:
    ann, bob = two
    ann.run("room", "create", "launch")
    ann.run("room", "invite", "launch", bob.name)
    ann.run("send", "launch", "with bob", "--wait", "delivered", "--timeout", "20")
    ann.run("room", "remove", "launch", bob.name)
    ann.run("send", "launch", "without bob")
    until(lambda: ("removed", ann.name, bob.name) in bob.notices("launch"))
    assert bob.texts("launch") == ["with bob"]
    assert bob.room("launch")["membership"] == "removed"
    assert bob.kind("send", "launch", "let me in", code=7) in NO_RIGHT
    assert bob.kind("room", "join", "launch", code=7) in NO_RIGHT
    assert [one["name"] for one in ann.json("room", "members", "launch")["members"]] == [ann.name]


def test_leaving_and_coming_back(two: tuple[Person, Person]) -> None:
    ann, bob = two
    ann.run("room", "create", "garden", "--open")
    until(lambda: bob.room("garden").get("membership") == "open")
    joined = bob.run("room", "join", "garden").stdout
    assert joined.startswith("#garden  open")
    assert "history  a newcomer reads everything" in joined
    bob.run("room", "leave", "garden")
    until(lambda: ("left", bob.name) in [(kind, by) for kind, by, _ in ann.notices("garden")])
    assert bob.json("room", "join", "garden")["room"]["membership"] == "joined"
    until(lambda: len(ann.json("room", "members", "garden")["members"]) == 2)
    ann.run("room", "role", "garden", bob.name, "owner")
    assert ann.json("room", "leave", "garden")["room"]["membership"] == "left"


def test_taking_note_hearing_of_a_room_and_muting_it(two: tuple[Person, Person]) -> None:
    ann, bob = two
    ann.run("room", "create", "launch")
    ann.run("room", "invite", "launch", bob.name)
    sent_at = ann.json("history", "launch")["notices"][-1]["at"]
    sent = ann.json("send", "launch", "stop at noon", "--ack", "--by", "2h", "--wait", "delivered")
    asked = ann.json("ack", sent["id"][:12], "--list")
    assert FIELDS["ack"] <= set(asked)
    assert ([one["name"] for one in asked["missing"]], asked["acked"]) == ([bob.name], [])
    (waiting,) = bob.json("inbox")["acks"]
    assert (waiting["id"], waiting["preview"]) == (sent["id"], "stop at noon")
    assert bob.json("history", "launch")["messages"][0]["ack"]["by_time"] > sent_at
    done = bob.json("ack", waiting["id"])
    assert done["target"] == sent["id"]
    assert bob.json("inbox")["acks"] == []
    until(lambda: ann.json("ack", "last", "--list", "--in", "launch")["missing"] == [])
    (message,) = ann.json("history", "launch")["messages"]
    assert [one["name"] for one in message["ack"]["acked"]] == [bob.name]
    said = ann.run("listen", "--since", "0", "--types", "ack", "--count", "1", "--json").stdout
    noted = json.loads(said.splitlines()[-1])["ack"]
    assert (noted["id"], noted["person"]["name"], noted["missing"]) == (sent["id"], bob.name, [])
    receipts = ann.json("receipts", sent["id"][:12])
    assert [(one["name"], one["state"]) for one in receipts["devices"]] == [(bob.name, "delivered")]
    stream = ann.run("listen", "launch", "--since", "0", "--types", "room", "--count", "3", "--json").stdout
    ready, created, named, added = (json.loads(line) for line in stream.splitlines())
    assert ready["type"] == "ready"
    assert {*FIELDS["room"], "change"} <= set(created["room"])
    assert [line["room"]["change"] for line in (created, named, added)] == ["created", "name", "added"]
    assert added["room"]["who"]["name"] == bob.name
    assert ann.json("room", "mute", "launch", "--for", "2h")["room"]["mute"]["until"]
    assert ann.json("room", "mute", "launch")["room"]["mute"] == {"until": None, "mentions_only": False}
    assert ann.json("room", "mute", "launch", "--off")["room"]["mute"] is None
