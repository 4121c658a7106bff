"""What simulated rooms brought to light, each as the smallest play that fails without its remedy."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import log, overview, rooms
from p2pchat.ids import EventId, RoomId
from p2pchat.wire.codec import encode
from p2pchat.wire.messages import events as ev
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, link_of, members, refused, say, texts

Three = tuple[Actor, Actor, Actor]


@pytest.fixture
def three(stage: Stage) -> Three:
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    for one, other in ((ann, bob), (bob, cem), (ann, cem)):
        stage.join(one, other)
    return ann, bob, cem


def apart(stage: Stage, one: Actor, other: Actor) -> None:
    stage.hang_up(link_of(one, other))


def test_what_was_said_before_a_leave_nobody_saw_is_not_lost(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    stage.cut()
    say(cem, "launch", "my last word")
    act(cem, "leave", "launch")
    stage.join(ann, cem)
    assert texts(ann, room) == ["my last word"]
    stage.join(ann, bob)
    assert texts(bob, room) == ["my last word"]


def test_a_draft_of_who_left_is_not_sent(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    room = create(ann)
    act(ann, "invite", "launch", bob)
    due = bob.now().wall_ms + 5000
    bob.do(lambda n: happened.Post(n, "launch", "later", at_ms=due))
    act(bob, "leave", "launch")
    before = rooms.room(bob.look(), room).heads[bob.device].seq
    bob.stage.wait(10)
    assert rooms.room(bob.look(), room).heads[bob.device].seq == before
    assert [tell.subject[0] for tell in bob.told if tell.type == "warning"] == ["draft"]  # type: ignore[index]


def test_who_joined_before_he_heard_that_the_door_is_shut_is_in(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    room = create(ann, "tea", admission="office")
    stage.wait(70)
    apart(stage, ann, bob)
    act(ann, "set", "tea", changes=(("admission", "closed"),))
    act(bob, "join", room.hex())
    stage.cut()
    stage.join(ann, bob)
    assert members(ann, room) == members(bob, room)
    assert len(members(ann, room)) == 2


@pytest.mark.parametrize("admission", ["closed", "invite"])
@pytest.mark.parametrize("away", [False, True])
def test_who_knew_an_open_room_hears_that_it_is_so_no_more_and_nothing_later(
    stage: Stage, three: Three, admission: str, away: bool
) -> None:
    """Else he would go on taking it for open, join it a year later, and be in."""
    ann, bob, cem = three
    room = create(ann, "tea", admission="office")
    stage.wait(200)
    assert [view.name for view in overview.room_views(bob.look(), True, None) if view.id == room] == ["tea"]
    if away:
        stage.cut()
        stage.join(ann, cem)
    act(cem, "join", "tea")
    act(ann, "set", "tea", changes=(("admission", admission),))
    act(ann, "role", room.hex(), cem, role="moderator")
    if away:
        stage.join(bob, cem)
    stage.wait(200)
    assert refused(bob, "join", room.hex()).kind == "no_right"
    assert room not in [view.id for view in overview.room_views(bob.look(), True, None)]
    assert rooms.room(bob.look(), room).graph.settings.admission == admission
    assert sorted(members(bob, room).values()) == ["member", "owner"], "of cem's new role he hears nothing"
    assert len(members(ann, room)) == len(members(cem, room)) == 2
    act(ann, "set", room.hex(), changes=(("admission", "office"), ("name", "tea")))
    stage.wait(200)
    act(bob, "join", "tea")
    stage.wait(200)
    assert members(ann, room) == members(cem, room) == members(bob, room)
    assert len(members(ann, room)) == 3


def test_who_was_removed_hears_nothing_of_what_becomes_of_an_open_room(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    room = create(ann, "tea", admission="office")
    stage.wait(200)
    act(bob, "join", "tea")
    act(ann, "remove", "tea", bob)
    act(ann, "set", "tea", changes=(("admission", "closed"),))
    stage.wait(200)
    assert rooms.room(bob.look(), room).graph.settings.admission == "office"
    assert refused(bob, "join", room.hex()).kind == "no_right"


def test_who_was_invited_while_away_hears_of_it_when_he_dials(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    stage.cut()
    room = create(ann)
    act(ann, "invite", "launch", bob)
    stage.join(bob, ann)
    assert members(bob, room) == members(ann, room)


def test_a_newcomer_of_a_joined_room_is_told_its_name_by_repair(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    room = create(ann, history="joined")
    stage.cut()
    act(ann, "invite", "launch", bob)
    stage.join(ann, bob)
    assert rooms.name(bob.look(), bob.look().cache.known_rooms[room]) == "launch"


def _delete(actor: Actor, room: RoomId, target: EventId) -> None:
    """What no command does: a delete of an act."""
    ctx = actor.node.context(actor.now())
    actor.ledger.begin()
    cached = rooms.room(ctx, room)
    epoch = next(row for row in cached.epochs.values() if row.key is not None)
    log.append(ctx, cached, ev.DELETE, encode(ev.Delete(1, target)), epoch, lambda c, e: None)
    effects = actor.node.close_batch(actor.now())
    actor.ledger.commit()
    for effect in effects:
        actor._perform(effect)
    actor.stage.settle()


def test_nobody_deletes_an_act(three: Three) -> None:
    ann, bob, _ = three
    room = create(ann)
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "here")
    added = next(e for e in bob.ledger.events.control(room) if e.kind == ev.ADD)
    _delete(ann, room, added.id)
    kept = bob.ledger.events.get(added.id)
    assert kept is not None
    assert kept.body is not None
