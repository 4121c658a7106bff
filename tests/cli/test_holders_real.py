"""A message for somebody who is off, on the command line with three real daemons on one host."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_rooms_real import Person, until

Three = tuple[Person, Person, Person]


def connect(one: Person, other: Person) -> None:
    port = other.json("status")["daemon"]["listen"][0].rpartition(":")[2]
    assert one.json("peers", "add", f"127.0.0.1:{port}")["connected"] is True
    other.run("peers", "--wait", one.name, "--timeout", "20")


def up(one: Person) -> None:
    one.run("up", "--name", one.name, "--no-announce")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    """Ann, Bob and Cem have met; Ann has verified Cem; Bob is off."""
    mark = os.urandom(2).hex()
    ann, bob, cem = (Person(tmp_path / who.lower(), f"{who}-{mark}") for who in ("Ann", "Bob", "Cem"))
    try:
        for one in (ann, bob, cem):
            up(one)
        connect(ann, bob)
        connect(ann, cem)
        connect(bob, cem)
        mark = cem.json("whoami")["me"]["fingerprint"]
        ann.run("trust", "verify", cem.name, "--fingerprint", mark)
        bob.run("down")
        yield ann, bob, cem
    finally:
        for one in (ann, bob, cem):
            one.run("down", "--now", code=None)


def test_what_ann_said_before_she_went_home_reaches_bob(three: Three) -> None:
    ann, bob, cem = three
    said = ann.json("send", bob.name, "read this in the morning")
    assert said["state"] == "queued"
    offer = ann.home.parent / "plan.txt"
    offer.write_text("the plan")
    ann.run("send", bob.name, "and this", "--file", str(offer))
    time.sleep(1.0)  # the words: she shuts down one second later
    left = ann.json("down")
    assert left["queue"] == {"waiting": 2, "only_here": 0}, "it was handed over before she stopped"
    os.kill(cem.json("status")["daemon"]["pid"], signal.SIGKILL)
    up(cem)
    up(bob)
    connect(cem, bob)
    until(lambda: bob.texts(ann.name) == ["read this in the morning", "and this"])
    (transfer,) = bob.json("file", "list")["transfers"]
    assert (transfer["name"], transfer["state"]) == ("plan.txt", "offered"), "its bytes come from ann"
    assert transfer["peer"]["name"] == ann.name
    bob.run("down")
    up(ann)
    connect(ann, cem)
    until(lambda: ann.json("queue")["queue"] == [])
    states = [(one["state"], one["held_by"]) for one in ann.json("history", bob.name)["messages"]]
    assert states == [("delivered", [])] * 2


def test_rooms_by_turns(three: Three) -> None:
    ann, bob, cem = three
    up(bob)
    connect(ann, bob)
    connect(cem, bob)
    ann.run("room", "create", "launch")
    ann.run("room", "invite", "launch", bob.name, cem.name)
    until(lambda: bob.room("launch") != {} != cem.room("launch"))
    bob.run("down")
    said = ann.json("send", "launch", "to both")
    until(lambda: cem.texts("launch") == ["to both"])
    assert ann.json("down")["queue"] == {"waiting": 1, "only_here": 0}, "a member keeps it"
    up(bob)
    connect(cem, bob)
    until(lambda: bob.texts("launch") == ["to both"])
    bob.run("down")
    up(ann)
    connect(ann, cem)
    until(lambda: ann.json("history", "launch")["messages"][0]["state"] == "delivered")
    assert ann.json("history", "launch")["messages"][0]["id"] == said["id"]


def test_who_holds_a_message_is_told_everywhere(three: Three) -> None:
    ann, bob, cem = three
    cursor = ann.json("status")["cursor"]
    said = ann.json("send", bob.name, "hold this", "--wait", "held", "--timeout", "20")
    assert said["state"] == "held"
    (row,) = ann.json("queue")["queue"]
    assert [one["name"] for one in row["held_by"]] == [cem.name]
    assert row["held_by"][0]["device"] == cem.json("whoami")["me"]["device"]
    assert (row["state"], [one["name"] for one in row["to"]]) == ("held", [bob.name])
    (message,) = ann.json("history", bob.name)["messages"]
    assert (message["state"], message["held_by"]) == ("held", row["held_by"])
    assert cem.name in ann.run("queue").stdout
    assert f"held by {cem.name}" in ann.run("history", bob.name).stdout
    told = ann.run("listen", "--since", cursor, "--types", "receipt", "--count", "1", "--timeout", "10")
    assert told.stdout.strip().endswith(f"{said['id'][:12]} held by {cem.name}")
    assert cem.json("history", ann.name)["messages"] == []
    assert ann.json("queue", "cancel", said["id"])["state"] == "cancelled"
    assert ann.json("queue")["queue"] == []
