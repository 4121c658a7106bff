"""Somebody let into a room while others are away brings them the word of it himself."""

from __future__ import annotations

import pytest

from p2pchat.crypto.primitives import ed25519_sign, tag_bytes
from p2pchat.engine import holders, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.log import body_hash
from p2pchat.ids import NO_EPOCH, RoomId
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.events import ADD, TAG_EVENT, Event, Header
from p2pchat.wire.messages.holders import Handed, Waiting
from p2pchat.wire.messages.rooms import Add
from tests.engine.holders_play import count, make_room, tell
from tests.engine.play import Actor, Stage


def _members(actor: Actor, room: RoomId) -> set[bytes]:
    return set(rooms.room(actor.look(), room).graph.members)


def _texts(actor: Actor, room: RoomId) -> list[str]:
    rows = actor.ledger.connection.execute(
        "SELECT m.text FROM message m JOIN ident i ON i.n = m.room WHERE i.id = ? ORDER BY m.hlc", (room,)
    )
    return [text for (text,) in rows]


def test_a_newcomer_is_known_to_a_member_who_was_away(stage: Stage) -> None:
    """Ann lets Cyn in while Bob is off, and goes; Cyn and Bob meet alone."""
    ann, bob, cyn = stage.actor("ann"), stage.actor("bob"), stage.actor("cyn")
    stage.join(ann, bob)
    stage.join(ann, cyn)
    room = make_room(ann, bob)
    bob.do(lambda r: happened.Post(r, "launch", "from bob, before"))
    stage.wait(5)
    stage.hang_up(ann.look().live.by_device[bob.device])
    ann.do(lambda r: happened.RoomAct(r, "invite", room.hex(), (cyn.account.hex(),)))
    ann.do(lambda r: happened.Post(r, room.hex(), "from ann, meanwhile"))
    stage.wait(5)
    cyn.do(lambda r: happened.Post(r, room.hex(), "from cyn"))
    stage.wait(5)
    stage.cut()
    assert cyn.account not in _members(bob, room)
    stage.join(bob, cyn)
    stage.wait(30)
    assert cyn.account in _members(bob, room)
    assert set(_texts(bob, room)) == {"from bob, before", "from ann, meanwhile", "from cyn"}
    assert set(_texts(cyn, room)) >= {"from ann, meanwhile", "from cyn"}
    assert count(cyn) == 0, "and keeps nothing for those who know"


def test_a_member_who_hears_of_it_in_time_is_told_nothing_twice(stage: Stage) -> None:
    ann, bob, cyn = stage.actor("ann"), stage.actor("bob"), stage.actor("cyn")
    for one, other in ((ann, bob), (ann, cyn), (bob, cyn)):
        stage.join(one, other)
    room = make_room(ann, bob)
    ann.do(lambda r: happened.RoomAct(r, "invite", room.hex(), (cyn.account.hex(),)))
    stage.wait(15)
    assert cyn.account in _members(bob, room)
    assert count(cyn) == 0
    assert ann.closed == bob.closed == cyn.closed == []


def test_who_was_never_let_in_brings_no_word_of_it(stage: Stage) -> None:
    """Eve makes up an act of her own that lets her in, and hands it over as a holder would."""
    ann, bob, eve = stage.actor("ann"), stage.actor("bob"), stage.actor("eve")
    stage.join(ann, bob)
    room = make_room(ann, bob)
    stage.cut()
    stage.join(bob, eve)
    body = encode(Add(1, bytes(eve.account)))
    heads = rooms.room(bob.look(), room).graph.heads
    header = Header(
        1,
        room,
        eve.device,
        1,
        bytes(32),
        (),
        tuple(sorted(heads)),
        bob.now().wall_ms << 16,
        ADD,
        NO_EPOCH,
        body_hash(body),
        len(body),
    )
    raw = encode(header)
    forged = Event(raw, ed25519_sign(eve.me.signing_key, tag_bytes(TAG_EVENT) + raw), body)
    stage.carry(eve, eve.look().live.by_device[bob.device], Waiting(()))
    tell(stage, eve, bob, Handed((), (forged,), True, 1, True, True))
    assert eve.account not in _members(bob, room)


def test_of_himself_nobody_keeps_more_than_of_another_person(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever lets him into room after room would fill his disk."""
    ann, bob, cyn = stage.actor("ann"), stage.actor("bob"), stage.actor("cyn")
    stage.join(ann, bob)
    stage.join(ann, cyn)
    room = make_room(ann, bob)
    stage.hang_up(ann.look().live.by_device[bob.device])
    monkeypatch.setattr(holders, "MAX_HELD_PER_DAY", 900)
    ann.do(lambda r: happened.RoomAct(r, "invite", room.hex(), (cyn.account.hex(),)))
    kept = cyn.ledger.connection.execute("SELECT sum(size), count(*) FROM holding").fetchone()
    assert kept[1] >= 1, "the act that let him in comes first"
    assert kept[0] <= 900
