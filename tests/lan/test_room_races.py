"""What can go wrong with rooms, on real hosts: owners who remove each other, people who leave before they are
counted, a maker who is gone, a clock a day ahead, two histories of one machine, a key that is a week old.

One play in scenes that share the daemons, in the order of this file; each scene has a room of its own. From
the fourth on it is eight days later for everybody: the key of the first room is replaced meanwhile, and the
last scene looks for that.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.netns import Host, Network
from tests.kit.variants import Changes, built, clocked
from tests.lan.test_rooms import ARRIVE_S, agree, holds, in_room, keys, known, make, page, say, texts

pytestmark = needs_netns

NAMES = ("ann", "bob", "cyn", "dan", "copy")
DAY_S = 24 * 3600
LATER_S = 8 * DAY_S
SOON: Changes = {
    "p2pchat/engine/keys.py": (("ROTATE_SPREAD_S: Final = 60.0\n", "ROTATE_SPREAD_S: Final = 3.0\n"),)
}
"""Ann's program, so that nobody waits for the minute within which one of those who speak replaces a key."""


class Play(NamedTuple):
    """The cast, and the host of each. On `copy` nothing lies until Dan's profile is copied to it."""

    net: Network
    machines: list[Machine]
    copy: Machine
    hosts: dict[Machine, Host]
    folder: Path
    old: list[str]
    """The key of the first room before the eight days."""


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    folder = tmp_path_factory.mktemp("races")
    with office(len(NAMES), folder, names=NAMES) as (net, (*machines, copy)):
        hosts = {one: host_of(one) for one in (*machines, copy)}
        for machine in machines:
            machine.up()
        meet(*machines)
        yield Play(net, machines, copy, hosts, folder, [])


def split(play: Play, *groups: Sequence[Machine]) -> None:
    play.net.split(*([play.hosts[one] for one in group] for group in groups))


def notices(machine: Machine, room: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = machine.ask("history", target=room, tail=500)["notices"]
    return found


def told(machine: Machine, room: str, *types: str) -> list[tuple[str, str, str, str | None]]:
    """(type, what it was, by whom, of whom)."""
    return [
        (one["type"], one["act"], one["by"]["name"], (one["who"] or {}).get("name"))
        for one in notices(machine, room)
        if one["type"] in types
    ]


def account(machine: Machine) -> str:
    return str(machine.me()["account"])


def test_of_two_owners_who_remove_each_other_the_maker_stays_for_everybody(play: Play) -> None:
    """Dan believes Bob, whom he sees alone: what he says then stands, under a key made without Ann."""
    ann, bob, cyn, dan = play.machines
    holds(dan, make("weekly", ann, bob, cyn, dan), [ann.send("#weekly", "makes its first key")["id"]])
    room = make("race", ann, bob, cyn, dan)
    ann.ask("rooms.role", room=room, person="bob", role="owner")
    said = [say(ann, room, "together")]
    for one in (bob, cyn, dan):
        holds(one, room, said)
        until(lambda one=one: ("role", "", "ann", "bob") in told(one, room, "role"), ARRIVE_S, "he is owner")  # type: ignore[misc]
    for one in (bob, dan):  # who goes says goodbye: nobody has to wait for a silence
        one.down()
    split(play, [ann, cyn], [bob, dan])
    for one in (bob, dan):
        one.up()
    meet(bob, dan)
    bob.ask("rooms.set", room=room, topic="mine now")
    bob.ask("rooms.remove", room=room, person="ann")
    say(bob, room, "without ann")
    until(lambda: "without ann" in texts(dan, room), ARRIVE_S, "dan knows of one of them")
    say(dan, room, "who is right")
    ann.ask("rooms.remove", room=room, person="bob")
    say(cyn, room, "without bob")

    play.net.join()
    held = agree([ann, cyn, dan], room, 3)
    assert [text for _, text in held["messages"]] == ["together", "who is right", "without bob"]
    assert held["shown"] == ["race", "", "invite", "all", 3]
    until(lambda: known(bob)[room]["membership"] == "removed", ARRIVE_S, "bob is told that he is out")
    assert texts(bob, room) == ["together", "who is right"]
    for one in play.machines:
        assert told(one, room, "removed", "voided") == [
            ("voided", "topic", "bob", None),
            ("voided", "removed", "bob", "ann"),
            ("removed", "", "ann", "bob"),
        ]
    say(dan, room, "so ann is")
    agree([ann, cyn, dan], room, 4)
    used = known(ann)[room]["epoch"]
    assert used in keys(ann, room) & keys(cyn, room) & keys(dan, room)
    assert used not in keys(bob, room)


def test_who_read_it_is_counted_and_who_left_or_was_removed_is_not(play: Play) -> None:
    ann, bob, cyn, dan = play.machines
    room = make("count", ann, bob, cyn, dan)
    bob.p2pchat("config", "set", "read_receipts", "on")
    sent = ann.send("#count", "all here?", "--wait", "delivered")["id"]
    for one in (bob, cyn):
        one.p2pchat("read", "#count")

    def progress() -> dict[str, int]:
        found = page(ann, room)[-1]
        assert found["id"] == sent
        return dict(found["progress"])

    until(lambda: progress()["read"], ARRIVE_S, "ann hears that it was read")
    assert progress() == {"delivered": 3, "read": 1, "of": 3}, "cyn tells nobody what she reads"
    assert [one["name"] for one in page(ann, room)[-1]["read_by"]] == ["bob"]
    cyn.ask("rooms.leave", room=room)
    until(lambda: progress() == {"delivered": 2, "read": 1, "of": 2}, ARRIVE_S, "cyn has left")
    ann.ask("rooms.remove", room=room, person="dan")
    assert progress() == {"delivered": 1, "read": 1, "of": 1}
    (row,) = ann.p2pchat("receipts", sent)["devices"]
    assert (row["name"], row["state"]) == ("bob", "read")


def test_a_room_goes_on_without_who_made_it(play: Play) -> None:
    """Ann names a successor, leaves and is off; Cyn comes in and reads all of it, Bob decides."""
    ann, bob, cyn, dan = play.machines
    made = ann.ask("rooms.create", name="heirs", admission="office", topic="what was", rules="be kind")
    room = made["room"]["id"]
    for one in (bob, cyn):
        until(lambda one=one: room in known(one), ARRIVE_S, "it is found")  # type: ignore[misc]
    bob.ask("rooms.join", room=room)
    said = [say(ann, room, "by the maker"), say(bob, room, "by the heir")]
    holds(bob, room, said)
    assert ann.attempt("room", "leave", "heirs").error["kind"] == "policy"
    ann.ask("rooms.role", room=room, person="bob", role="owner")
    ann.ask("rooms.leave", room=room)
    until(lambda: account(ann) not in in_room(bob, room), ARRIVE_S, "bob knows")
    ann.down()
    joined = cyn.p2pchat("room", "join", "heirs")["room"]
    assert (joined["topic"], joined["rules"], joined["history"]) == ("what was", "be kind", "all")
    holds(cyn, room, said)
    until(lambda: room in known(dan), ARRIVE_S, "dan has found it, too")
    bob.ask("rooms.set", room=room, topic="what is", admission="closed")
    until(lambda: known(cyn)[room]["topic"] == "what is", ARRIVE_S, "the heir decides")
    until(lambda: room not in known(dan), ARRIVE_S, "who is not in is told that he does not come in any more")
    assert dan.attempt("room", "join", room).error["kind"] == "no_right"
    assert bob.attempt("room", "invite", "heirs", "dan").error["kind"] == "no_right"
    say(cyn, room, "and goes on")
    agree([bob, cyn], room, 3)


def eight_days_pass(play: Play) -> str:
    """Nine for Cyn, who comes back alone. What the others say in the first room makes them replace its key.
    The id of a room of Ann, Bob and Cyn."""
    ann, bob, cyn, dan = play.machines
    ann.up()
    meet(*play.machines)
    room = make("clock", ann, bob, cyn)
    play.old.extend(view["epoch"] for view in known(ann).values() if view["name"] == "weekly")
    for one in play.machines:
        one.down()
        ahead, folder = LATER_S + (DAY_S if one is cyn else 0), play.folder / f"clock-{one.name}"
        if one is ann:
            built(play.hosts[one], folder, SOON)
        one.place = clocked(play.hosts[one], folder, ahead)
    split(play, [ann, bob, dan], [cyn])
    for one in play.machines:
        one.up()
    meet(ann, bob, dan)
    for one in (ann, bob, dan):
        one.ask("send", target="#weekly", text=f"{one.name}, a week later")
    return room


def test_what_a_clock_dates_a_day_ahead_is_shown_as_it_comes_and_moves_nothing(play: Play) -> None:
    """Cyn's, until two others who agree set it right. She herself shows it where she had dated it."""
    ann, bob, cyn, _ = play.machines
    room = eight_days_pass(play)
    said = [say(ann, room, "on time"), say(cyn, room, "of tomorrow")]
    play.net.join()
    for one in (ann, bob):
        holds(one, room, said)
        assert ["future" in message["flags"] for message in page(one, room)] == [False, True]
    meet(ann, bob, cyn)
    said += [say(bob, room, "an answer"), say(cyn, room, "set right")]
    for one in (ann, bob):
        holds(one, room, said)
        dates = [message["written_at"] for message in page(one, room)]
        assert dates[0] <= dates[2] <= dates[3] < dates[1], "nobody is drawn ahead, nor is she any more"
    until(lambda: set(said) == {one["id"] for one in page(cyn, room)}, ARRIVE_S, "cyn has all of it, too")


def test_two_histories_of_one_machine_are_kept_marked_and_told(play: Play) -> None:
    """Dan's profile runs twice, in two halves of the network, and both say something."""
    ann, bob, _, dan = play.machines
    copy = play.copy
    room = make("twice", ann, bob, dan)
    said = [say(dan, room, "alone")]
    for one in (ann, bob):
        holds(one, room, said)
    dan.down()
    shutil.copytree(dan.home, copy.home)
    copy.name = dan.name
    copy.place = clocked(play.hosts[copy], play.folder / "clock-copy", LATER_S)
    split(play, [ann, dan], [bob, copy])
    cursor = ann.ask("status")["cursor"]
    for one in (dan, copy):
        one.up()
    for number in range(3):
        say(dan, room, f"left {number}")
        say(copy, room, f"right {number}")
    until(lambda: "left 2" in texts(ann, room), ARRIVE_S, "one half heard this")
    until(lambda: "right 2" in texts(bob, room), ARRIVE_S, "the other that")
    play.net.join()
    until(lambda: dan.me()["device"] != copy.me()["device"], ARRIVE_S, "it is noticed")
    agree([ann, bob, dan, copy], room, 7)
    for one in (ann, bob, dan, copy):
        marked = {message["text"] for message in page(one, room) if "forked" in message["flags"]}
        assert marked == {f"{side} {number}" for side in ("left", "right") for number in range(3)}
        assert told(one, room, "fork") == [("fork", "", "dan", None)]
    stream = ann.lines("listen", "#twice", "--since", str(cursor), "--types", "room", "--count", "1")
    assert [(line["room"]["change"], line["room"]["by"]["name"]) for line in stream[1:]] == [("fork", "dan")]
    say(dan, room, "I go on")
    say(copy, room, "and so do I")
    agree([ann, bob, dan, copy], room, 9)
    assert not {"I go on", "and so do I"} & {
        message["text"] for message in page(bob, room) if "forked" in message["flags"]
    }


def test_a_key_that_is_a_week_old_is_replaced_for_all(play: Play) -> None:
    """By one of those who spoke after the eight days."""
    ann, bob, cyn, _ = play.machines
    (room,) = (one["id"] for one in known(ann).values() if one["name"] == "weekly")
    until(lambda: known(ann)[room]["epoch"] not in play.old, ARRIVE_S, "there is a new key")
    new = known(ann)[room]["epoch"]
    for one in (bob, cyn):
        until(lambda one=one: known(one)[room]["epoch"] == new, ARRIVE_S, f"{one.name} takes it")  # type: ignore[misc]
    said = say(bob, room, "under the new one")
    until(lambda: said in [message["id"] for message in page(cyn, room)], ARRIVE_S, "cyn reads it")
