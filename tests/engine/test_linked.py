"""Who is here in a room is remembered, and never wrongly: after what was undone, where a link takes over."""

from __future__ import annotations

import pytest

from p2pchat.engine import crossing, rooms
from p2pchat.engine import inputs as happened
from p2pchat.ids import RoomId
from tests.engine.play import Actor, Stage
from tests.engine.test_meeting import up
from tests.engine.test_rooms import act, create, link_of


def office(stage: Stage) -> tuple[Actor, Actor, Actor, RoomId]:
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    for one in (bob, cem):
        stage.join(ann, one)
    room = create(ann)
    act(ann, "invite", "#launch", bob, cem)
    return ann, bob, cem, room


def here(actor: Actor, room: RoomId) -> list[int]:
    """By which links its members are here."""
    ctx = actor.look()
    return [link.link for link in rooms.links_of(ctx, rooms.room(ctx, room))]


@pytest.mark.parametrize("asked", [True, False])
def test_a_batch_that_is_undone_takes_nobody_away(stage: Stage, asked: bool) -> None:
    """Undone as most refusals are: what was read of the ledger is kept. The next who comes or goes must not
    make look valid what was remembered in that batch."""
    ann, bob, cem, room = office(stage)
    to_bob, to_cem = link_of(ann, bob), link_of(ann, cem)
    ann.node.begin()
    crossing.use(ann.node.live, bob.device, None)
    assert here(ann, room) == [to_cem]
    ann.node.undo()
    if asked:
        assert here(ann, room) == [to_bob, to_cem]
    crossing.use(ann.node.live, cem.device, None)
    assert here(ann, room) == [to_bob]


def test_a_link_that_takes_over_is_the_one_to_the_room(stage: Stage) -> None:
    """Of two that crossed the older gives no answer: nobody came or went, and yet it is another one."""
    ann, bob, cem, room = office(stage)
    older, newer = link_of(ann, bob), 101
    stage.links |= {newer: (ann, bob, 102), 102: (bob, ann, newer)}
    assert here(ann, room) == [older, link_of(ann, cem)]
    up(ann, bob, newer, first=not ann.node.live.links[older].initiator)
    assert here(ann, room) == [older, link_of(ann, cem)], "not yet"
    ann.feed(happened.TimerFired(f"contest:{older}"))
    assert here(ann, room) == [newer, link_of(ann, cem)]


def test_members_that_change_twice_in_one_batch_are_those_of_the_end(stage: Stage) -> None:
    ann, bob, cem, room = office(stage)
    to_bob, to_cem = link_of(ann, bob), link_of(ann, cem)
    assert here(ann, room) == [to_bob, to_cem]
    acts = [
        happened.RoomAct(900 + number, verb, "#launch", (who.account.hex(),))
        for number, (verb, who) in enumerate([("remove", bob), ("remove", cem), ("invite", bob)])
    ]
    ann.feed(*acts)
    assert here(ann, room) == [to_bob]
