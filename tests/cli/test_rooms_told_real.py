"""What happened to a room, by the real commands between real daemons: read later, and as it comes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.cli.test_rooms_real import Person, two, until

__all__ = ["two"]

ROOM = "launch"


def test_who_joins_is_shown_topic_rules_and_what_a_newcomer_reads(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    ann, bob = two
    rules = tmp_path / "rules.txt"
    rules.write_text("be kind\n", encoding="utf-8")
    policies = {"all": "a newcomer reads everything", "joined": "a newcomer reads what is said from then on"}
    for history in policies:
        options = ["--topic", f"topic of {history}", "--history", history, "--rules", str(rules)]
        ann.run("room", "create", history, "--open", *options)
        ann.run("send", history, "said before")
    until(lambda: all(bob.room(name) != {} for name in policies))
    for name, policy in policies.items():
        shown = bob.run("room", "join", name).stdout.splitlines()
        assert shown[1:] == [f"topic    topic of {name}", f"history  {policy}", "rules  │ be kind"], name
    assert (bob.texts("all"), bob.texts("joined")) == (["said before"], [])
    assert [one for one in told(ann, "joined") if "set the topic" in one] == [
        f"{ann.name} set the topic: topic of joined"
    ], "that it was said again for Bob is no news"


def told(who: Person, room: str = ROOM) -> list[str]:
    """What stands between the messages of his history, without times."""
    lines = who.run("history", room).stdout.splitlines()
    return [found[1] for line in lines if (found := re.fullmatch(r" +· \d\d:\d\d (.*)", line))]


def test_changes_of_a_room_are_read_later_and_heard_as_they_come(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    ann, bob = two
    rules = tmp_path / "rules.txt"
    rules.write_text("be kind\nno shouting\n", encoding="utf-8")
    ann.run("room", "create", ROOM, "--topic", "first of May", "--rules", str(rules))
    ann.run("room", "invite", ROOM, bob.name)
    until(lambda: bob.room(ROOM).get("topic") == "first of May")
    start = bob.json("status")["cursor"]
    for words in (
        ["--topic", "quarterly numbers"],
        ["--history", "joined"],
        ["--history", "joined"],
        ["--retention", "30d"],
        ["--announce"],
        ["--open"],
        ["--private"],
        ["--topic", "", "--rules", str(tmp_path / "rules.txt")],
        ["--name", "landing"],
    ):
        ann.run("room", "set", ROOM, *words)
    ann.run("room", "set", "landing", "--name", ROOM)
    rules.write_text("be quick\n", encoding="utf-8")
    ann.run("room", "set", ROOM, "--rules", str(rules))
    look = f"`p2pchat room show --home {shlex.quote(str(bob.home))} {ROOM}`"
    later = [
        f"{ann.name} set the topic: quarterly numbers (it was: first of May)",
        f"{ann.name} changed the history policy: a newcomer reads what is said from then on",
        f"{ann.name} set that files are kept for 30 days (it was: for ever)",
        f"{ann.name} let only owners and moderators write",
        f"{ann.name} opened the room: anybody may join",
        f"{ann.name} made the room private: who is invited comes in",
        f"{ann.name} removed the topic (it was: quarterly numbers)",
        f'{ann.name} renamed the room from "{ROOM}" to "landing"',
        f'{ann.name} renamed the room from "landing" to "{ROOM}"',
        f"{ann.name} changed the rules: {look}",
    ]
    began = [
        f"{ann.name} created the room",
        f"{ann.name} set the topic: first of May",
        f"{ann.name} set the rules: {look}",
        f"{ann.name} added {bob.name}",
    ]
    until(lambda: bob.room(ROOM).get("rules") == "be quick")
    assert told(bob) == began + later
    count = str(len(later))
    stream = bob.run("listen", "--since", str(start), "--types", "room", "--count", count, "--timeout", "20")
    heard = [re.sub(r"^· #\w+: ", "", line) for line in stream.stdout.splitlines()]
    assert [line.partition("p2pchat")[0] for line in heard] == [one.partition("p2pchat")[0] for one in later]
    command = shlex.split(look.strip("`"))
    assert command[:3] == ["p2pchat", "room", "show"]
    assert "rules  │ be quick" in bob.run(*command[1:3], command[-1]).stdout.splitlines()
