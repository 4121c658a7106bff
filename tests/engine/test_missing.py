"""What a person is told is missing: not what was before he came in, and who has the rest."""

from __future__ import annotations

import pytest

from p2pchat.engine import missing, rooms
from p2pchat.ids import RoomId
from p2pchat.model import Gap
from p2pchat.store.reader import open_reader
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import Events
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import Three, act, create, say, texts, three

__all__ = ["three"]


def holes(actor: Actor, room: RoomId) -> list[Gap]:
    """As the log has them."""
    reader = open_reader(actor.ledger)
    try:
        return reader.gaps(room)
    finally:
        reader.close()


def told(actor: Actor, room: RoomId) -> list[Gap]:
    return missing.told(actor.look(), room, holes(actor, room))


def keep_from(actor: Actor, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event reaches him any more."""
    carry = stage.carry

    def carried(sender: Actor, link: int, message: Record) -> None:
        to = stage.links[link][1] if link in stage.links else None
        if not (to is actor and isinstance(message, Events)):
            carry(sender, link, message)

    monkeypatch.setattr(stage, "carry", carried)


def test_what_was_before_one_came_in_is_not_missing(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, history="joined")
    act(ann, "invite", "launch", bob)
    for text in ("old", "older", "oldest"):
        say(bob, "launch", text)
    say(ann, "launch", "old too")
    stage.wait(1)
    act(ann, "invite", "launch", cem)
    say(ann, "launch", "new")
    stage.wait(60)
    assert texts(cem, room) == ["new"]
    assert [gap.device for gap in holes(cem, room)] == 2 * [ann.device]  # of Bob nothing came yet
    assert told(cem, room) == [], "they lie between acts of hers, of which the last is his add"
    say(bob, "launch", "and mine")
    stage.wait(60)
    (of_bob,) = told(cem, room)
    assert (of_bob.device, of_bob.low, of_bob.high, of_bob.earlier) == (bob.device, 1, 3, True)
    assert told(bob, room) == told(ann, room) == []


def test_what_is_missing_is_told_with_who_has_it(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cem hears of something of Bob's and not of what was before it."""
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(bob, "launch", "one")
    with monkeypatch.context() as deaf:
        keep_from(cem, stage, deaf)
        say(bob, "launch", "two")
        say(bob, "launch", "three")
    with monkeypatch.context() as slow:
        say_four(stage, bob, cem, slow)
        (gap,) = told(cem, room)
        assert (gap.device, gap.high - gap.low + 1, gap.earlier) == (bob.device, 2, False)
        assert gap.holders == (bob.device,), "his machine is here"
        for number, (end, far, _) in list(stage.links.items()):
            if (end, far) == (bob, cem):
                stage.hang_up(number)
        assert told(cem, room)[0].holders == (), "nobody else has told him"
    stage.wait(120)
    assert texts(cem, room) == ["one", "two", "three", "four"]
    assert told(cem, room) == []
    assert rooms.room(cem.look(), room).graph.members.keys() == {a.account for a in three}


def say_four(stage: Stage, bob: Actor, cem: Actor, patch: pytest.MonkeyPatch) -> None:
    """What Bob says now reaches Cem; nothing that he asks for does."""
    say(bob, "launch", "four")
    keep_from(cem, stage, patch)
