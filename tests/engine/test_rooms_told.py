"""What happened to a room, as its history and the feed tell it: what was changed, and how it was before."""

from __future__ import annotations

import json

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import membership, overview
from p2pchat.engine.node import rebuild_views
from p2pchat.ids import RoomId
from p2pchat.model import Notice, StoredEvent
from p2pchat.store.reader import open_reader
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, say, three  # noqa: F401

Three = tuple[Actor, Actor, Actor]
PEOPLE = ("added", "joined", "left", "removed", "role")


def notices(actor: Actor, room: RoomId) -> list[Notice]:
    reader = open_reader(actor.ledger)
    try:
        return reader.notices(room, None, None, 500)
    finally:
        reader.close()


def changes(actor: Actor, room: RoomId) -> list[tuple[str, str, str]]:
    """(type, what it is now, what it was) of what was done to the room itself, as history tells it."""
    found = [one for one in notices(actor, room) if one.type not in PEOPLE]
    return [((one.act and f"{one.type} {one.act}") or one.type, one.detail, one.before) for one in found]


def fed(actor: Actor, room: RoomId) -> list[tuple[str, str, str]]:
    """The same as the feed has told it."""
    rows = actor.ledger.connection.execute(
        "SELECT detail FROM feed WHERE type = 'room' AND ref = ? ORDER BY cursor", (room,)
    )
    told = [dict(json.loads(row[0])) for row in rows]
    return [
        (
            one["change"] + (f" {one['act']}" if "act" in one else ""),
            one.get("detail", ""),
            one.get("before", ""),
        )
        for one in told
        if one["change"] not in PEOPLE
    ]


def change(actor: Actor, room: str = "launch", **values: str) -> None:
    act(actor, "set", room, changes=tuple(values.items()))


def test_what_was_set_is_told_with_what_it_was(three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    room = create(ann, topic="first", rules="be kind\nand short", announce=True)
    act(ann, "invite", "launch", bob)
    change(ann, topic="second", history="joined")
    change(ann, retention="30", announce="0")
    change(ann, name="landing", topic="")
    change(ann, "landing", rules="")
    expected = [
        ("created", "admission=invite announce=1 history=all", ""),
        ("name", "launch", ""),
        ("topic", "first", ""),
        ("rules", "be kind", ""),
        ("settings", "history=joined", "history=all"),
        ("topic", "second", "first"),
        ("settings", "announce=0 retention=30", "announce=1 retention=0"),
        ("name", "landing", "launch"),
        ("topic", "", "second"),
        ("rules", "", "be kind"),
    ]
    assert changes(ann, room) == changes(bob, room) == fed(ann, room) == expected
    assert sorted(fed(bob, room)) == sorted(expected), "acts come first"


def test_what_stands_already_is_not_told_again(three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    room = create(ann, topic="plan")
    act(ann, "invite", "launch", bob)
    before = changes(ann, room)
    change(ann, topic="plan", history="all", announce="0", name="launch", rules="")
    assert changes(ann, room) == before == fed(ann, room)
    assert changes(bob, room) == before


def test_what_was_not_allowed_is_told_as_such_and_what_it_was_stands_again(
    stage: Stage,
    three: Three,  # noqa: F811
) -> None:
    ann, bob, cem = three
    room = create(ann, topic="plan")
    act(ann, "invite", "launch", bob, cem)
    act(ann, "role", "launch", bob, role="owner")
    stage.cut()
    act(ann, "remove", "launch", bob)
    stage.join(bob, cem)
    change(bob, topic="party", history="joined")
    assert changes(cem, room)[-2:] == [
        ("settings", "history=joined", "history=all"),
        ("topic", "party", "plan"),
    ]
    stage.join(ann, cem)
    stage.wait(5)
    end = [("voided settings", "history=joined", ""), ("voided topic", "", "")]
    assert changes(cem, room)[-2:] == end
    assert overview.room_view(cem.look(), "launch").topic == "plan"
    told = fed(cem, room)[-2:]
    assert sorted(told) == [("topic", "plan", "party"), ("voided settings", "history=joined", "")]
    change(ann, topic="work", history="joined")
    assert changes(cem, room)[-2:] == [
        ("settings", "history=joined", "history=all"),
        ("topic", "work", "plan"),
    ]


@pytest.mark.parametrize("first", ["ann", "bob"])
def test_of_two_at_once_it_is_told_which_stands(first: str, stage: Stage, three: Three) -> None:  # noqa: F811
    """Ann's knows of more acts, so it stands, though Bob's is dated later; whichever Cem hears of first."""
    ann, bob, cem = three
    room = create(ann, topic="plan")
    act(ann, "invite", "launch", bob, cem)
    act(ann, "role", "launch", bob, role="moderator")
    stage.cut()
    act(ann, "role", "launch", cem, role="moderator")
    change(ann, topic="of ann")
    stage.wait(5)
    change(bob, topic="of bob")
    for one in (ann, bob) if first == "ann" else (bob, ann):
        stage.join(one, cem)
        stage.wait(5)
    stage.join(ann, bob)
    stage.wait(5)
    for one in three:
        assert overview.room_view(one.look(), "launch").topic == "of ann", one.name
        end = [("topic", "of ann", "plan"), ("overruled topic", "of bob", "of ann")]
        assert changes(one, room)[-2:] == end, one.name
    change(bob, topic="both")
    assert changes(cem, room)[-1] == fed(cem, room)[-1] == ("topic", "both", "of ann")


def test_however_much_somebody_who_is_out_has_set_what_stands_is_looked_for_once(
    stage: Stage,
    three: Three,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann, bob, cem = three
    room = create(ann, topic="plan")
    act(ann, "invite", "launch", bob, cem)
    act(ann, "role", "launch", bob, role="moderator")
    stage.cut()
    stage.join(bob, cem)
    for number in range(40):
        change(bob, topic=f"{number}")
    stage.cut()
    act(ann, "remove", "launch", bob)
    looked, of_kind = [], cem.ledger.events.of_kind

    def of(room: RoomId, kind: int) -> list[StoredEvent]:
        looked.append(kind)
        return of_kind(room, kind)

    monkeypatch.setattr(cem.ledger.events, "of_kind", of)
    stage.join(ann, cem)
    assert looked == [37]
    assert overview.room_view(cem.look(), "launch").topic == "plan"
    assert [one for one in fed(cem, room) if one[0] == "topic"][-2:] == [
        ("topic", "39", "38"),
        ("topic", "plan", "39"),
    ]


def test_who_comes_into_a_room_of_joined_history_is_told_once_what_it_says(three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    room = create(ann, topic="plan", history="joined")
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "between")
    change(ann, topic="second plan")
    act(ann, "invite", "launch", cem)
    told = [("topic", "plan", ""), ("topic", "second plan", "plan")]
    assert [one for one in changes(ann, room) if one[0] == "topic"] == told
    assert [one for one in changes(bob, room) if one[0] == "topic"] == told, "not again for Cem"
    assert [one for one in fed(bob, room) if one[0] == "topic"] == told
    made = ("created", "admission=invite announce=0 history=joined", "")
    late = [made, ("name", "launch", ""), ("topic", "second plan", "")]
    assert changes(cem, room) == late, "of before he sees the acts, not what was said"


def test_notices_are_made_again_from_the_log(three: Three) -> None:  # noqa: F811
    """Also where the archive was written by a version that did not keep what they say."""
    ann, bob, _ = three
    room = create(ann, topic="plan")
    change(ann, topic="second plan")
    told = changes(ann, room)
    assert ("topic", "second plan", "plan") in told
    ann.ledger.begin()
    ann.ledger.views.clear_views()
    rebuild_views(ann.node, ann.now())
    assert changes(ann, room) == told
    ann.ledger.views.clear_views()
    ann.ledger.commit()
    ann.node.forget()
    assert changes(ann, room) == [one for one in told if one[0] == "created"]
    ann.do(lambda n: happened.Post(n, bob.name, "hello"))
    assert changes(ann, room) == told


def test_who_comes_and_goes_does_not_make_them_say_everything_again_each_time(stage: Stage) -> None:
    """It stays in everybody's archive for good. What was set while he was away he hears in a minute."""
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    for one in (bob, cem):
        stage.join(ann, one)
    room = create(ann, topic="plan", rules="be kind", history="joined", admission="office")
    for _ in range(60):
        act(cem, "join", "launch")
        stage.wait(0.6)
        act(cem, "leave", "launch")
        stage.wait(0.4)
    assert len(ann.ledger.events.of_kind(room, 37)) <= 3 * 3, "at first, when he joined, after a minute"
    change(ann, topic="second plan")
    stage.wait(1)
    act(cem, "join", "launch")
    act(bob, "join", "launch")
    stage.wait(1)
    assert overview.room_view(bob.look(), "launch").topic == "second plan", "who is new waits for nobody"
    act(cem, "leave", "launch")
    change(ann, topic="third plan")
    stage.wait(1)
    act(cem, "join", "launch")
    assert overview.room_view(cem.look(), "launch").topic == "second plan"
    stage.wait(membership.TELL_BACK_S + 1)
    assert overview.room_view(cem.look(), "launch").topic == "third plan"


def test_who_joins_an_open_room_of_joined_history_is_told_once_what_it_says(stage: Stage) -> None:
    """By the first of those who may that is there; the others see nothing of it."""
    ann, bob, cem, dee = people = [stage.actor(name) for name in ("ann", "bob", "cem", "dee")]
    for one in people[1:]:
        stage.join(ann, one)
    stage.join(bob, cem)
    stage.join(bob, dee)
    room = create(ann, topic="plan", rules="be kind", history="joined", admission="office")
    act(ann, "invite", "launch", bob)
    act(ann, "role", "launch", bob, role="moderator")
    stage.wait(70)
    act(cem, "join", "launch")
    assert not overview.room_view(cem.look(), "launch").described
    stage.wait(2)
    view = overview.room_view(cem.look(), "launch")
    assert (view.topic, view.rules, view.described) == ("plan", "be kind", True)
    told = changes(bob, room)
    stage.wait(60)
    assert changes(bob, room) == told == changes(ann, room)
    stage.cut()
    stage.join(bob, dee)
    act(dee, "join", "launch")
    stage.wait(2)
    assert overview.room_view(dee.look(), "launch").topic == "", "ann, who is the first, is away"
    stage.wait(5)
    assert overview.room_view(dee.look(), "launch").topic == "plan"
    stage.join(ann, bob)
    stage.wait(60)
    assert overview.room_view(dee.look(), "launch").rules == "be kind"
    of_ann = [one for one in ann.ledger.events.of_kind(room, 37) if one.device == ann.device]
    assert len(of_ann) == 3 * 3, (
        "at first, for bob and for cem; what bob said in her place she does not repeat"
    )
    assert changes(ann, room) == told
