"""A stranger who speaks of rooms: he takes no place from others, fills no disk and makes no work.

Mallory is in no room of Bob's. He has a link, as anybody in an open office has, and his machine
says what it likes; what honest people do then must come about as if he were not there.
"""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import quota, rooms
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Events, Pull, Reconcile
from tests.engine.forging import Hand
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, link_of, say, texts

# -- rooms that are not there ---------------------------------------------------------------


def speaks(how: str, stranger: Actor, to: Actor, number: int) -> Record:
    """A frame about a room nobody knows."""
    room = number.to_bytes(32, "big")
    if how == "reconcile":
        return Reconcile(room, True, 1, True, b"", 0, b"\x61")
    if how == "pull":
        return Pull(room)
    hand = Hand(stranger, rooms.direct_id(stranger.account, to.account))
    hand.room = rooms.RoomId(room)  # an act that links to one that never comes: it waits
    return Events((hand.write(ev.LEAVE, wire.Leave(1), auth=(rooms.EventId(room),)),))


@pytest.mark.parametrize("how", ["reconcile", "pull", "events"])
@pytest.mark.parametrize("strangers", [1, 10])
def test_rooms_made_up_by_strangers_keep_no_new_room_out(stage: Stage, how: str, strangers: int) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    crowd = [stage.actor(f"mallory{n}") for n in range(strangers)]
    for turn, mal in enumerate(crowd):
        stage.join(mal, bob)
        for number in range(70):
            bob.feed(happened.FromPeer(link_of(bob, mal), speaks(how, mal, bob, 1000 * turn + number + 1)))
        assert bob.closed == [], "nothing wrong with any of it"
        held = list(bob.look().live.heard_by.values())
        assert 0 < held.count(link_of(bob, mal)) <= rooms.MAX_HEARD_EACH
        assert len(held) <= rooms.MAX_HEARD_OF
    stage.mail.clear()  # Mallory answers nothing
    room = create(ann)
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "do you hear me")
    assert texts(bob, room) == ["do you hear me"]
    stage.cut()
    live = bob.look().live
    assert (live.heard_of, live.heard_by, live.recons) == ({}, {}, {}), "forgotten with their links"


def test_what_waits_in_a_forgotten_room_is_found_when_the_room_comes(stage: Stage) -> None:
    """Mallory hands over all acts but the first, and goes; Ann brings the first and nothing else."""
    ann, bob, mal = (stage.actor(name) for name in ("ann", "bob", "mallory"))
    stage.join(ann, bob)
    stage.join(mal, bob)
    number = link_of(ann, bob)
    stage.hang_up(number)
    room = create(ann)
    act(ann, "invite", "launch", bob)
    first, *later = [Event(e.header, e.signature, e.body or b"") for e in ann.ledger.events.control(room)]
    bob.feed(happened.FromPeer(link_of(bob, mal), Events(tuple(later))))
    assert room in bob.look().live.heard_of
    stage.hang_up(link_of(bob, mal))
    assert room not in bob.look().live.heard_of
    assert bob.ledger.events.parked_headers(room)
    stage.join(mal, bob)
    bob.feed(happened.FromPeer(link_of(bob, mal), Events((first,))))
    assert bob.account in rooms.room(bob.look(), room).graph.members


# -- disks ----------------------------------------------------------------------------------


def held(actor: Actor) -> int:
    """Bytes of all bodies in an archive."""
    found = actor.ledger.connection.execute("SELECT sum(length(body)) FROM event").fetchone()
    return int(found[0])


@pytest.mark.parametrize("kind", ["lobby", "open"])
def test_strangers_fill_no_disk_through_a_room_anybody_may_enter(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """However many they are and however long they go on; who is verified is heard all the same."""
    monkeypatch.setattr(quota, "MAX_UNVERIFIED_PER_DAY", 100_000)
    monkeypatch.setattr(quota, "MAX_UNVERIFIED", 250_000)
    ann, bob = stage.actor("ann", lobby=True), stage.actor("bob", lobby=True)
    crowd = [stage.actor(f"mallory{n}", lobby=True) for n in range(5)]
    stage.join(bob, ann)
    for mal in crowd:
        stage.join(mal, ann)
    where = "lobby"
    if kind == "open":
        room, where = create(ann, admission="office"), "launch"
        for one in (*crowd, bob):
            act(one, "join", room.hex())
    ann.do(lambda r: happened.SetTrust(r, "verify", bob.account.hex()))
    before, kept = held(ann), []
    for day in range(5):
        for mal in crowd:
            for number in range(5):
                say(mal, where, f"{day} {number} " + "x" * 10_000)
        kept.append(held(ann) - before)
        stage.mono += 24 * 3600
    assert 60_000 < kept[0] < 100_000
    assert 200_000 < kept[2] < 250_000
    assert kept[-1] == kept[2], "no more, on whatever day"
    say(bob, where, "from bob")
    known = ann.look().cache.known_rooms.values()
    here = next(row.id for row in known if rooms.name(ann.look(), row) == where)
    assert "from bob" in texts(ann, here)
