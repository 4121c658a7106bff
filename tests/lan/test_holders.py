"""Words for somebody who is off, when who wrote them has gone home: `reception` keeps them, unread.

One play in scenes that share three machines, in the order of this file. Ann and Bob are never up at the
same time once they have met; the last scene searches the holder's disk and everything that went over the
cables.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.hosts import Machine, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.proof import capture, found_in, integrity

pytestmark = [needs_netns, needs_tool("tcpdump")]

NAMES = ("ann", "bob", "reception")
DIRECT = ("Morgenkaffee vor der Inventur", "Schluessel liegt im Blumentopf")
ROOM = "Kuchenliste der Abteilung"
AGAIN = "Zweiter Anlauf nach Feierabend"
ARRIVE_S = 20.0


class Play(NamedTuple):
    """The cast, up and acquainted; Bob and reception are in Ann's room."""

    ann: Machine
    bob: Machine
    reception: Machine
    packets: Path


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    folder = tmp_path_factory.mktemp("holders")
    packets = folder / "all.pcap"
    with office(3, folder, names=NAMES) as (net, (ann, bob, reception)), capture(net, packets):
        for machine in (ann, bob, reception):
            machine.up()
        meet(ann, bob, reception)
        mark = reception.p2pchat("whoami")["me"]["fingerprint"]
        ann.p2pchat("trust", "verify", "reception", "--fingerprint", mark)
        yield Play(ann, bob, reception, packets)


def held(machine: Machine, which: str = "TRUE") -> int:
    """How many events of others lie in this archive for somebody who lacks them; `which` is SQL."""
    conn = sqlite3.connect(f"file:{machine.profile.archive}?mode=ro", uri=True)
    try:
        return int(conn.execute(f"SELECT count(*) FROM holding WHERE {which}").fetchone()[0])
    finally:
        conn.close()


def keeps(rows: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """The names of who keeps each of these messages."""
    return {tuple(one["name"] for one in row["held_by"]) for row in rows}


def goes(machine: Machine, *others: Machine) -> None:
    """It is shut down, and shown as gone."""
    machine.down()
    for other in others:
        until(lambda other=other: not other.sees(machine), 5, f"{other.name} sees that")  # type: ignore[misc]


def test_ann_writes_and_shuts_down_a_second_later_and_bob_reads_it(play: Play) -> None:
    """Bob has been off all the while, and between the two the holder is killed."""
    ann, bob, reception, _ = play
    goes(bob, ann, reception)
    for text in DIRECT:
        assert ann.send(bob, text)["state"] == "queued"
    time.sleep(1.0)  # the words
    left = ann.down()
    assert left["queue"] == {"waiting": 2, "only_here": 0}, "handed over before she stopped"
    until(lambda: not reception.sees(ann), 5, "ann has gone")
    assert held(reception) >= len(DIRECT)
    assert reception.texts(ann) == []
    reception.kill()
    reception.up()
    bob.up()
    until(lambda: bob.texts(ann) == list(DIRECT), ARRIVE_S, "bob reads it")
    assert bob.p2pchat("inbox")["unread"][0]["count"] == 2
    until(lambda: held(reception) == 0, ARRIVE_S, "given up on his signed word")
    goes(bob, reception)
    ann.up()
    until(lambda: ann.waiting() == 0, ARRIVE_S, "ann hears that he has it, from the holder")
    shown = ann.history(bob)
    assert [(one["state"], one["held_by"]) for one in shown] == [("delivered", [])] * 2
    assert ann.p2pchat("queue")["queue"] == []


def test_who_holds_it_is_told_to_the_author_everywhere(play: Play) -> None:
    """Bob is off. When Ann takes it back, the holder keeps its place in her chain without a word."""
    ann, bob, reception, _ = play
    meet(ann, reception)
    cursor = ann.ask("status")["cursor"]
    sent = ann.send(bob, AGAIN, "--wait", "held", "--timeout", "20")
    assert sent["state"] == "held"
    (row,) = ann.p2pchat("queue")["queue"]
    assert (row["id"], row["state"], keeps([row])) == (sent["id"], "held", {("reception",)})
    assert row["held_by"][0]["device"] == reception.me()["device"]
    assert (ann.history(bob)[-1]["state"], keeps(ann.history(bob)[-1:])) == ("held", {("reception",)})
    stream = ann.lines(
        "listen", "--since", str(cursor), "--types", "receipt", "--count", "1", "--timeout", "10"
    )
    (told,) = [line["receipt"] for line in stream if line["type"] == "receipt"]
    assert (told["id"], told["state"], told["person"]["name"]) == (sent["id"], "held", "reception")
    assert told["person"]["device"] == reception.me()["device"]
    assert held(reception) == 1
    assert ann.p2pchat("queue", "cancel", sent["id"])["state"] == "cancelled"
    goes(ann, reception)
    assert held(reception, "body IS NULL") == 1, "a place in her chain, and no words"
    bob.up()
    until(lambda: held(reception) == 0, ARRIVE_S, "bob has taken what is left of it")
    assert bob.texts(ann) == list(DIRECT)
    goes(bob, reception)


def test_a_room_by_turns(play: Play) -> None:
    """Reception is in it, so it holds by being a member; it reads this, and Bob does as well."""
    ann, bob, reception, _ = play
    ann.up()
    bob.up()
    meet(ann, bob, reception)
    room = ann.ask("rooms.create", name="kuchen")["room"]["id"]
    ann.ask("rooms.invite", room=room, people=["bob", "reception"])
    for one in (bob, reception):
        until(
            lambda one=one: room in {known["id"] for known in one.ask("rooms.list", all=True)["rooms"]},  # type: ignore[misc]
            ARRIVE_S,
            f"{one.name} is in",
        )
    goes(bob, ann, reception)
    sent = ann.send("#kuchen", ROOM)
    time.sleep(1.0)
    left = ann.down()
    assert left["queue"] == {"waiting": 1, "only_here": 0}, "a member keeps it"
    until(lambda: not reception.sees(ann), 5, "ann has gone")
    reception.kill()
    reception.up()
    bob.up()
    until(lambda: bob.texts("#kuchen") == [ROOM], ARRIVE_S, "bob reads it")
    goes(bob, reception)
    ann.up()
    until(lambda: ann.history("#kuchen")[-1]["state"] == "delivered", ARRIVE_S, "ann is told")
    (shown,) = ann.history("#kuchen")
    assert shown["id"] == sent["id"]
    assert sorted(one["name"] for one in shown["delivered_to"]) == ["bob", "reception"]


def test_the_holders_disk_and_the_cables_hold_nothing_of_it(play: Play) -> None:
    """Last: the daemons stop, and what is left is searched byte by byte."""
    for machine in (play.ann, play.bob, play.reception):
        machine.down() if machine.pid is not None else None
        assert integrity(machine) == []
    assert found_in([*DIRECT, AGAIN], play.reception.home) == []
    assert found_in([*DIRECT, AGAIN, ROOM], play.packets) == []
    assert play.packets.stat().st_size > 30_000
    # The search itself works: the room's words lie on the holder's disk, the others on Bob's.
    assert {hit.split("'")[1] for hit in found_in([ROOM], play.reception.home)} == {ROOM}
    assert {hit.split("'")[1] for hit in found_in([*DIRECT, ROOM], play.bob.home)} == {*DIRECT, ROOM}
