"""Rooms as plays: Ann makes one, Bob and Cem come in, somebody goes."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.errors import CommandError
from p2pchat.ids import RoomId
from p2pchat.model import MessageView, RoomView
from p2pchat.store.reader import open_reader
from tests.engine.play import Actor, Stage


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
        return list(reader.history(room, tail=1000).messages)
    finally:
        reader.close()


def members(actor: Actor, room: RoomId) -> dict[str, str]:
    cached = rooms.room(actor.look(), room)
    return {a.hex()[:8]: member.role for a, member in cached.graph.members.items()}


@pytest.fixture
def three(stage: Stage) -> tuple[Actor, Actor, Actor]:
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    stage.join(ann, bob)
    stage.join(bob, cem)
    stage.join(ann, cem)
    return ann, bob, cem


def test_a_room_is_made_and_filled_and_everybody_reads_the_same(three: tuple[Actor, Actor, Actor]) -> None:
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
