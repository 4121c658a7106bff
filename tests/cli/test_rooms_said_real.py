"""What is said in rooms, by the real commands between real daemons: what test_rooms_real leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.test_rooms_real import NO_RIGHT, Person, two, until

__all__ = ["two"]

ROOM = "launch"


def said(who: Person, text: str, *more: str) -> str:
    return str(who.json("send", ROOM, text, "--wait", "delivered", "--timeout", "20", *more)["id"])


def seen(who: Person, ident: str) -> dict[str, Any]:
    """A message as somebody's history shows it, {} where it does not."""
    found = who.json("history", ROOM)["messages"]
    return next((one for one in found if one["id"] == ident), {})


def test_answers_threads_changes_and_mentions(two: tuple[Person, Person]) -> None:
    ann, bob = two
    ann.run("room", "create", ROOM)
    ann.run("room", "invite", ROOM, bob.name)
    until(lambda: bob.room(ROOM) != {})
    first = said(ann, "shall we")
    answer = said(bob, "yes", "--reply-to", first[:12])
    threaded = said(bob, "when", "--thread", first[:12])
    until(lambda: seen(ann, threaded) != {})
    assert (seen(ann, answer)["reply_to"], seen(ann, threaded)["thread"]) == (first, first)
    in_thread = ann.json("history", ROOM, "--thread", first[:12])["messages"]
    assert threaded in [one["id"] for one in in_thread]
    assert answer not in [one["id"] for one in in_thread]

    bob.run("react", first[:12], "👍")
    ann.run("edit", first[:12], "shall we meet")
    bob.run("delete", answer[:12])
    ann.run("pin", threaded[:12])
    until(lambda: bool(seen(ann, first)["reactions"]) and seen(ann, answer)["deleted"])
    assert [(r["emoji"], r["by"][0]["name"]) for r in seen(ann, first)["reactions"]] == [("👍", bob.name)]
    assert seen(ann, answer)["text"] is None
    until(lambda: seen(bob, first)["edited"] and seen(bob, threaded)["pinned"])
    assert seen(bob, first)["text"] == "shall we meet"
    pinned = bob.json("history", ROOM, "--pinned")["messages"]
    assert [one["id"] for one in pinned] == [threaded]
    bob.run("react", first[:12], "👍", "--remove")
    ann.run("pin", threaded[:12], "--remove")
    until(lambda: seen(ann, first)["reactions"] == [] and not seen(bob, threaded)["pinned"])
    assert ann.kind("edit", threaded[:12], "never", code=7) in NO_RIGHT, "it is Bob's"

    to_bob, to_all = said(ann, f"@{bob.name} are you there"), said(ann, "@room all of you")
    for ident in (to_bob, to_all):
        until(lambda one=ident: seen(bob, one) != {})  # type: ignore[misc]
        assert seen(bob, ident)["mentions_me"] is True
    assert seen(bob, threaded)["mentions_me"] is False
    stream = bob.run("listen", ROOM, "--since", "0", "--mentions", "--count", "2", "--json").stdout
    heard = [json.loads(line) for line in stream.splitlines()]
    assert [one["message"]["id"] for one in heard if one["type"] == "message"] == [to_bob, to_all]


def test_the_lobby_and_a_room_for_announcements(two: tuple[Person, Person]) -> None:
    ann, bob = two
    ann.run("send", "#lobby", "good morning", "--wait", "delivered", "--timeout", "20")
    assert bob.texts("#lobby") == ["good morning"], "nobody had made it"
    ann.run("room", "create", ROOM, "--open", "--announce")
    until(lambda: bob.json("room", "list", "--all")["rooms"] != [] and bob.room(ROOM) != {})
    assert bob.room(ROOM)["membership"] == "open"
    bob.run("room", "join", ROOM)
    until(lambda: ann.room(ROOM)["members"] == 2)
    assert bob.kind("send", ROOM, "me too", code=7) in NO_RIGHT
    news = said(ann, "closed on Monday")
    bob.run("react", news[:12], "👍")
    until(lambda: bool(seen(ann, news)["reactions"]))
    before = bob.json("status")["cursor"]
    ann.run("room", "set", ROOM, "--topic", "what matters")
    ann.run("room", "set", ROOM, "--history", "joined")
    until(lambda: ("settings", ann.name, None) in bob.notices(ROOM))
    until(lambda: bob.room(ROOM)["topic"] == "what matters")
    stream = bob.run("listen", ROOM, "--since", str(before), "--types", "room", "--count", "2").stdout
    assert "topic" in stream, stream
    assert "history" in stream, stream


def test_what_a_newcomer_may_not_see_is_not_missing_and_who_is_off_is_tried(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    ann, bob = two
    ann.run("room", "create", ROOM, "--history", "joined")
    for text in ("old", "older"):
        ann.run("send", ROOM, text)
    ann.run("room", "invite", ROOM, bob.name)
    until(lambda: bob.room(ROOM) != {})
    said(ann, "new")
    page = bob.json("history", ROOM)
    assert ([one["text"] for one in page["messages"]], page["gaps"]) == (["new"], [])
    assert "missing" not in bob.run("history", ROOM).stdout
    assert bob.json("search", "new", "--in", ROOM)["incomplete"] == []

    bob.run("down", "--now")
    waiting = ann.json("send", bob.name, "are you there")["id"]
    (row,) = ann.json("queue", "list")["queue"]
    assert (row["id"], [one["name"] for one in row["to"]]) == (waiting, [bob.name])
    until(lambda: ann.json("queue", "list")["queue"][0]["attempts"] >= 2)
    assert bob.run("up", "--no-announce").returncode == 0
    until(lambda: ann.json("queue", "list")["queue"] == [])
