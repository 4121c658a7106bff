"""Rooms as plays: Ann makes one, Bob and Cem come in, somebody goes."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview, rooms
from p2pchat.engine.links import OPEN_OFFICE_KEY
from p2pchat.errors import CommandError
from p2pchat.ids import RoomId
from p2pchat.model import MessageView, RoomView
from p2pchat.store.reader import open_reader
from tests.engine.play import Actor, Stage

Three = tuple[Actor, Actor, Actor]


def link_of(one: Actor, other: Actor) -> int:
    return next(number for number, (end, far, _) in one.stage.links.items() if (end, far) == (one, other))


def create(actor: Actor, name: str = "launch", **options: object) -> RoomId:
    answer = actor.do(lambda n: happened.CreateRoom(n, name, **options))  # type: ignore[arg-type]
    view = answer["room"]
    assert isinstance(view, RoomView)
    return view.id


def act(actor: Actor, verb: str, room: str, *people: Actor, **more: object) -> None:
    names = tuple(person.account.hex() for person in people)
    actor.do(lambda n: happened.RoomAct(n, verb, room, names, **more))  # type: ignore[arg-type]


def refused(actor: Actor, verb: str, room: str, *people: Actor, **more: object) -> CommandError:
    names = tuple(person.account.hex() for person in people)
    return actor.refused(lambda n: happened.RoomAct(n, verb, room, names, **more))  # type: ignore[arg-type]


def say(actor: Actor, room: str, text: str, **more: object) -> str:
    return str(actor.do(lambda n: happened.Post(n, room, text, **more))["id"])  # type: ignore[arg-type]


def texts(actor: Actor, room: RoomId) -> list[str | None]:
    return [view.text for view in history(actor, room)]


def history(actor: Actor, room: RoomId) -> list[MessageView]:
    reader = open_reader(actor.ledger)
    try:
        return list(reader.history(room, tail=2000).messages)
    finally:
        reader.close()


def members(actor: Actor, room: RoomId) -> dict[str, str]:
    cached = rooms.room(actor.look(), room)
    return {a.hex(): member.role for a, member in cached.graph.members.items()}


@pytest.fixture
def three(stage: Stage) -> Three:
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    stage.join(ann, bob)
    stage.join(bob, cem)
    stage.join(ann, cem)
    return ann, bob, cem


def test_a_room_is_made_and_filled_and_everybody_reads_the_same(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, topic="rocket")
    say(ann, "#launch", "alone here")
    act(ann, "invite", "launch", bob, cem)
    say(bob, "launch", "hello all")
    say(cem, "#launch", "hi bob")
    for one in three:
        assert texts(one, room) == ["alone here", "hello all", "hi bob"], one.name
        assert sorted(members(one, room).values()) == ["member", "member", "owner"]
        assert rooms.name(one.look(), one.look().cache.known_rooms[room]) == "launch"


def states(actor: Actor, room: RoomId) -> list[str]:
    return [view.state for view in history(actor, room)]


def test_delivered_means_everybody_and_progress_is_counted_in_people(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    stage.hang_up(link_of(ann, cem))
    stage.hang_up(link_of(bob, cem))
    say(ann, "launch", "who is here?")
    stage.wait(2)
    [view] = history(ann, room)
    assert view.state == "queued"
    told = overview.progress(ann.look(), view)
    assert told is not None
    assert (told.delivered, told.read, told.of) == ((bob.account,), (), 2)
    stage.join(cem, bob)
    assert texts(cem, room) == ["who is here?"], "from whoever has it"
    stage.join(cem, ann)
    stage.wait(2)
    assert states(ann, room) == ["delivered"]


def test_who_is_removed_reads_nothing_later(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(ann, "launch", "before")
    act(ann, "remove", "launch", cem)
    say(bob, "launch", "after")
    assert texts(cem, room) == ["before"]
    assert overview.room_view(cem.look(), "launch").membership == "removed"
    assert cem.account not in rooms.room(cem.look(), room).graph.members
    stage.cut()
    stage.join(cem, bob)
    stage.join(cem, ann)
    assert texts(cem, room) == ["before"]
    body = cem.ledger.connection.execute("SELECT count(*) FROM event WHERE kind = 32").fetchone()[0]
    assert body == 1, "not even sealed"
    with pytest.raises(CommandError) as refusal:
        say(cem, "launch", "may I?")
    assert refusal.value.code == 7


def test_what_was_written_behind_a_removal_is_hidden_everywhere(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(cem, "launch", "fair")
    stage.cut()
    act(ann, "remove", "launch", cem)
    say(cem, "launch", "unfair")  # cem does not know yet
    stage.join(cem, bob)
    assert texts(bob, room) == ["fair", "unfair"], "nobody told bob"
    stage.join(ann, bob)
    assert texts(bob, room) == ["fair"]
    stage.join(ann, cem)
    assert texts(cem, room) == texts(ann, room) == ["fair"]


def test_a_newcomer_reads_all_with_the_inviter_off(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "one")
    say(bob, "launch", "two")
    stage.hang_up(link_of(ann, cem))
    stage.hang_up(link_of(bob, cem))
    act(ann, "invite", "launch", cem)
    stage.cut()  # ann goes home
    stage.join(bob, cem)
    assert texts(cem, room) == ["one", "two"]
    say(cem, "launch", "three")
    assert texts(bob, room) == ["one", "two", "three"]


def test_in_a_room_of_joined_history_a_newcomer_reads_what_comes(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, history="joined")
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "old")
    stage.wait(1)
    act(ann, "invite", "launch", cem)
    say(bob, "launch", "new")
    stage.wait(120)  # repairs find nothing to give
    assert texts(cem, room) == ["new"]
    assert texts(bob, room) == ["old", "new"]


def test_an_open_room_is_found_and_joined_and_left(stage: Stage, three: Three) -> None:
    ann, bob, _cem = three
    room = create(ann, "tea", admission="office")
    stage.wait(70)
    view = overview.room_view(bob.look(), "#tea")
    assert (view.membership, view.name) == ("open", "tea")
    act(bob, "join", "tea")
    say(ann, "tea", "welcome bob")
    assert texts(bob, room) == ["welcome bob"]
    act(bob, "leave", "tea")
    assert overview.room_view(bob.look(), "tea").membership == "left"
    say(ann, "tea", "gone?")
    assert texts(bob, room) == ["welcome bob"]
    act(bob, "join", "tea")
    assert texts(bob, room) == ["welcome bob", "gone?"]
    assert refused(ann, "leave", "tea").code == 7, "the last owner names another first"
    act(ann, "role", "tea", bob, role="owner")
    act(ann, "leave", "tea")
    assert list(members(bob, room).values()) == ["owner"]


def test_only_who_may_announces(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, "news", announce=True)
    act(ann, "invite", "news", bob, cem)
    said = say(ann, "news", "rain today", ack=True)
    with pytest.raises(CommandError) as refusal:
        say(bob, "news", "sun here")
    assert refusal.value.code == 7
    bob.change("ack", said)
    cem.change("react", said, "☔")
    act(ann, "role", "news", bob, role="moderator")
    say(bob, "news", "sun here")
    assert texts(cem, room) == ["rain today", "sun here"]
    [first, _] = history(ann, room)
    reader = open_reader(ann.ledger)
    acks = overview.acks(ann.look(), first, reader.acked(first.id))
    reader.close()
    assert acks is not None
    assert (acks.acked, acks.missing) == ((bob.account,), (cem.account,))


def test_everybody_is_called_at_once(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(ann, "launch", "@room lift off, @bob first")
    assert [history(one, room)[0].mentions_me for one in three] == [True, True, True]
    assert history(cem, room)[0].mentions == (bob.account,)


def test_topic_name_and_rules_change_for_all(three: Three) -> None:
    ann, bob, cem = three
    create(ann, topic="old", rules="be kind")
    act(ann, "invite", "launch", bob, cem)
    assert overview.room_view(bob.look(), "launch").rules == "be kind"
    act(ann, "set", "launch", changes=(("name", "landing"), ("topic", "new")))
    for one in three:
        view = overview.room_view(one.look(), "landing")
        assert (view.topic, view.name) == ("new", "landing"), one.name
    assert refused(bob, "set", "landing", changes=(("topic", "mine"),)).code == 7


def test_the_lobby_is_there_without_anybody_making_it(stage: Stage) -> None:
    ann, bob, cem = (stage.actor(name, lobby=True) for name in ("ann", "bob", "cem"))
    say(ann, "lobby", "anybody?")
    stage.join(ann, bob)
    stage.join(bob, cem)
    stage.wait(70)
    say(cem, "lobby", "me")
    stage.wait(70)
    room = rooms.lobby_id(OPEN_OFFICE_KEY)
    assert texts(ann, room) == texts(bob, room) == texts(cem, room) == ["anybody?", "me"]
    assert len(members(ann, room)) == 3


def test_who_was_invited_while_off_has_the_room_as_soon_as_he_is_linked(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.hang_up(link_of(ann, cem))
    stage.hang_up(link_of(bob, cem))
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(ann, "launch", "see you")
    stage.join(cem, bob)  # he dials, and has never heard of the room
    assert texts(cem, room) == ["see you"]
