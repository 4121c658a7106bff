"""A long history on real hosts, over a slow cable: what comes first, what is told to be missing or coming.

One play: Cyn comes back to a room of which much was said meanwhile. Ann gives it to her, until her cable is
pulled; Bob gives the rest.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.lan.test_rooms import known

pytestmark = [needs_netns, needs_tool("tc")]

COUNT = 500
SLOW_MBIT = 1
TEXT_BYTES = 2_000
"""A megabyte in all: some 8 s of that cable."""
ALL_S = 60.0


def wordy(number: int) -> str:
    """A text that says which it is, and has no end."""
    words = random.Random(number).choices(("plum", "pear", "quince", "sloe", "rowan"), k=TEXT_BYTES // 5)
    return f"number{number} " + " ".join(words)


def numbers(machine: Machine, room: str) -> list[int]:
    """Which of the texts are here, of the newest 500."""
    found = machine.ask("history", target=room, tail=500)["messages"]
    return [int(one["text"].split()[0].removeprefix("number")) for one in found]


def missing_of(machine: Machine, room: str) -> dict[str, Any]:
    page: dict[str, Any] = machine.ask("history", target=room, tail=1)
    return page


def counted(heard: Path) -> list[int]:
    """What `listen` said is to come, line by line."""
    lines = [json.loads(line) for line in heard.read_text("utf-8").splitlines()]
    return [line["history"]["coming"]["count"] for line in lines if line["type"] == "history"]


def test_the_newest_is_here_first_and_what_is_not_is_told(tmp_path: Path) -> None:
    with office(3, tmp_path, names=("ann", "bob", "cyn")) as (_, (ann, bob, cyn)):
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        room = ann.ask("rooms.create", name="orchard")["room"]["id"]
        ann.ask("rooms.invite", room=room, people=["bob", "cyn"])
        for one in (bob, cyn):
            until(lambda one=one: room in known(one), 20, f"{one.name} is in")  # type: ignore[misc]
        cyn.down()
        for number in range(COUNT):
            ann.ask("send", target=room, text=wordy(number))
        until(lambda: len(numbers(bob, room)) == COUNT, ALL_S, "bob has all of it")
        bob.down()

        host_of(cyn).limit(SLOW_MBIT)
        cyn.up()
        heard = cyn.start("listen", "#orchard", "--types", "history", "--json", output=tmp_path / "heard")
        until(lambda: numbers(cyn, room), 30, "the first has come")
        here, page = numbers(cyn, room), missing_of(cyn, room)
        assert len(here) < COUNT / 2, "much is to come, else this shows nothing"
        assert min(here) >= COUNT - 2 * 256, "two pieces from the newest end"
        assert page["coming"]["count"] > COUNT / 2
        assert [one["name"] for one in page["coming"]["from"]] == ["ann"]

        until(lambda: missing_of(cyn, room)["gaps"], 30, "what lies below is told")
        (gap,) = missing_of(cyn, room)["gaps"]
        assert (gap["name"], [one["name"] for one in gap["holders"]]) == ("ann", ["ann"])
        early = cyn.ask("search", query="number0", target="#orchard")
        assert early["results"] == []
        (part,) = early["incomplete"]
        assert part["room"] == room
        assert part["missing"] >= part["coming"]["count"] > 100

        host_of(ann).unplug()
        until(lambda: not cyn.sees(ann), 30, "she is known to be gone")
        stuck = missing_of(cyn, room)
        assert stuck["coming"] == {"count": 0, "from": []}
        (gap,) = stuck["gaps"]
        assert (gap["name"], gap["holders"]) == ("ann", [])
        assert len(numbers(cyn, room)) < COUNT

        bob.up()
        until(lambda: len(numbers(cyn, room)) == COUNT, ALL_S, "bob had the rest")
        assert numbers(cyn, room) == list(range(COUNT))
        until(lambda: missing_of(cyn, room)["coming"]["count"] == 0, 10, "nothing is on its way any more")
        assert missing_of(cyn, room)["gaps"] == []
        done = cyn.ask("search", query="number0", target="#orchard")
        assert ([len(done["results"])], done["incomplete"]) == ([1], [])
        heard.terminate()
        heard.wait(10)
        told = counted(tmp_path / "heard")
        assert len(set(told)) > 5, "second by second, not piece by piece"
        assert (told[-2] > 0, told[-1]) == (True, 0)
