"""Three people on a switch talk for a while: what they see, what survives a kill, what others see.

One play in scenes that share the daemons, in the order of this file; the last scene looks at
everything that ever went over the cables and at the disk of somebody who was not spoken to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.proof import Stream, capture, found_in, integrity

pytestmark = [needs_netns, needs_tool("tcpdump")]

NAMES = ("Annegret-Zwickelbaum", "Bogumil-Querkopf", "Cyriakus-Horchposten")
GREETING = "Pflaumenkuchen um halb vier"
ANSWER = "Zwetschgendatschi waere mir lieber"
KILLED_GONE_S = 3.0
"""A killed peer is shown as gone at once: the kernel says so; the rest is a slow machine."""


class Play(NamedTuple):
    """The cast."""

    ann: Machine
    bob: Machine
    cyn: Machine
    packets: Path


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    folder = tmp_path_factory.mktemp("talk")
    with office(3, folder, names=NAMES) as (net, (ann, bob, cyn)), capture(net, folder / "all.pcap"):
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        yield Play(ann, bob, cyn, folder / "all.pcap")


def test_they_meet_and_each_knows_the_others_name_address_and_room(play: Play) -> None:
    listed = {peer["name"]: peer for peer in play.ann.p2pchat("peers")["peers"]}
    assert set(listed) == {play.bob.name, play.cyn.name}
    for machine in (play.bob, play.cyn):
        peer = listed[machine.name]
        assert peer["account"] == machine.me()["account"]
        assert peer["trust"] == "unverified"
        assert peer["presence"] == "available"
        assert peer["address"].startswith((host_of(machine).ip, f"[{host_of(machine).ip6}]", "[fe80:"))
        assert peer["room"] in {one["room"] for one in machine.p2pchat("peers")["peers"]}


def test_both_ways_with_history_search_and_listen(play: Play) -> None:
    stream = play.bob.start("listen", "--timeout", "30", "--count", "1", "--types", "message")
    assert stream.stdout is not None
    assert json.loads(stream.stdout.readline())["type"] == "ready"
    sent = play.ann.send(play.bob, GREETING, "--wait", "delivered")
    assert sent["state"] == "delivered"
    heard = json.loads(stream.stdout.readline())
    assert heard["type"] == "message"
    assert (heard["message"]["id"], heard["message"]["text"]) == (sent["id"], GREETING)
    assert heard["message"]["author_name"] == play.ann.name
    assert (
        play.bob.send(play.ann, ANSWER, "--reply-to", sent["id"], "--wait", "delivered")["state"]
        == "delivered"
    )
    for one, other in ((play.ann, play.bob), (play.bob, play.ann)):
        first, second = one.history(other)
        assert [first["text"], second["text"]] == [GREETING, ANSWER]
        assert second["reply_to"] == first["id"] == sent["id"]
        assert first["room"] == sent["room"]
        assert first["kind"] == "direct"
        assert [first["mine"], second["mine"]] == [one is play.ann, one is play.bob]
        assert [first["state"], second["state"]] == (
            ["delivered", "received"] if one is play.ann else ["received", "delivered"]
        )
    found = play.bob.p2pchat("search", "pflaumenkuchen vier")["results"]
    assert [one["id"] for one in found] == [sent["id"]]
    assert play.cyn.p2pchat("search", "pflaumenkuchen")["results"] == []


def test_the_sender_is_told_what_was_delivered_and_read(play: Play) -> None:
    play.bob.p2pchat("config", "set", "read_receipts", "on")
    sent = play.ann.send(play.bob, "Quittungsfrage eins", "--wait", "delivered")
    assert play.ann.history(play.bob)[-1]["delivered_to"][0]["name"] == play.bob.name
    unread = play.bob.p2pchat("read", play.ann.name)["messages"]
    assert unread[-1]["id"] == sent["id"]
    until(lambda: play.ann.history(play.bob)[-1]["state"] == "read", 10, "the sender learns that it was read")
    assert play.bob.p2pchat("read", play.ann.name)["messages"] == []
    stream = play.ann.lines("listen", "--since", "0", "--types", "receipt", "--timeout", "1")
    states = [line["receipt"]["state"] for line in stream if line.get("receipt", {}).get("id") == sent["id"]]
    assert states[-1] == "read"
    assert "delivered" in states


def test_two_profiles_on_one_host_find_and_keep_apart_their_own(play: Play, tmp_path: Path) -> None:
    with Machine(host_of(play.ann), tmp_path / "second", "Annegrets-Zweitprofil") as second:
        second.up()
        ports = {one.ask("status")["daemon"]["listen"][0].rpartition(":")[2] for one in (play.ann, second)}
        assert len(ports) == 2
        meet(second, play.ann, play.bob)
        second.send(play.ann, "Nachbarprofil laesst gruessen", "--wait", "delivered")
        second.send(play.bob, "Nachbarprofil an alle", "--wait", "delivered")
        assert play.ann.texts(second) == ["Nachbarprofil laesst gruessen"]
        assert "Nachbarprofil an alle" not in play.bob.texts(play.ann)
        second.down()


@pytest.mark.parametrize("victim", ["sender", "recipient"])
def test_killed_mid_stream_nothing_lost_doubled_or_reordered(
    play: Play, victim: str, full: bool, tmp_path: Path
) -> None:
    """Also for a `listen` that was started before: it comes back by itself, at least once for each."""
    ann, bob = play.ann, play.bob
    heard = tmp_path / "heard"
    bob.start("listen", ann.name, "--types", "message", output=heard)
    until(lambda: '"ready"' in heard.read_text(), 10, "listen is ready")
    killed, other = (ann, bob) if victim == "sender" else (bob, ann)
    label = f"Dauerlauf {victim}"
    with Stream(ann, bob.name, label) as numbers:
        for count in range(1, 11 if full else 3):
            numbers.reach(count * 15)
            killed.kill()
            until(lambda: not other.sees(killed), KILLED_GONE_S, f"{killed.name} is shown as gone")
            killed.up()
            until(lambda: other.sees(killed), 15, f"{killed.name} is back")
        numbers.reach(len(numbers.acknowledged) + 15)
        numbers.stop()
    until(lambda: numbers.arrived(bob, ann.name), 20, "all that was acknowledged is there")
    numbers.check(bob, ann.name)
    numbers.check(ann, bob.name)
    until(lambda: ann.waiting() == 0, 10, "nothing waits any more")
    ids = [id for _, id in numbers.acknowledged]
    # After a restart what was missed is fetched while new words come in, so the stream's order is
    # that of arrival; history above is in the order of writing.
    until(lambda: all(id in heard.read_text() for id in ids), 10, "listen has told them all")
    lines = [json.loads(line) for line in heard.read_text().splitlines() if line.startswith("{")]
    told = {line["message"]["id"] for line in lines if line["type"] == "message"}
    assert set(ids) <= told
    cursors = [int(line["cursor"]) for line in lines]
    assert cursors == sorted(cursors)


def test_a_third_machine_and_the_cables_hold_nothing_of_it(play: Play) -> None:
    """Last: the daemons stop, and what is left is searched byte by byte."""
    rooms = {one.name: one.history(play.ann)[0]["room"] for one in (play.bob,)}
    room = bytes.fromhex(rooms[play.bob.name])
    texts = [GREETING, ANSWER, "Quittungsfrage", "Nachbarprofil", "Dauerlauf"]
    peers = [bytes.fromhex(peer["room"]) for peer in play.cyn.p2pchat("peers", "--all")["peers"]]
    ids = [bytes.fromhex(machine.me()[key]) for machine in play[:3] for key in ("account", "device")]
    for machine in (play.ann, play.bob, play.cyn):
        machine.down()
        assert integrity(machine) == []
    assert found_in([*texts, room], play.cyn.home) == []
    assert found_in([*texts, *NAMES, *ids, room, *peers, "Annegrets-Zweitprofil"], play.packets) == []
    # The search itself works: the same words lie open in Ann's own archive, and mDNS in the capture.
    archive = play.ann.profile.archive
    assert len({hit.rpartition(" in ")[0] for hit in found_in([*texts, room], archive)}) == len(texts) + 1
    assert found_in(["_p2pchat"], play.packets) != []
    assert play.packets.stat().st_size > 100_000
