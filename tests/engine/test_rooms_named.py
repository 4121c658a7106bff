"""Names of rooms: strangers choose them, and they take nothing away from anybody."""

from __future__ import annotations

import shlex

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview, rooms, talk
from p2pchat.engine.links import OPEN_OFFICE_KEY
from p2pchat.errors import CommandError
from p2pchat.ids import RoomId, fingerprint
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, history, refused, say, texts, three  # noqa: F401

Three = tuple[Actor, Actor, Actor]


def chat(one: Actor, other: Actor) -> str:
    return rooms.direct_id(one.account, other.account).hex()


def sent_to(actor: Actor, target: str) -> str:
    """The conversation a message to `target` goes to; reading means the same one."""
    place = str(actor.do(lambda n: happened.Post(n, target, "hi"))["room"])
    assert overview.conversation(actor.look(), target).room.hex() == place
    return place


def warning(actor: Actor, target: str) -> object:
    return actor.do(lambda n: happened.Post(n, target, "hi"))["warning"]


def unclear(actor: Actor, target: str) -> CommandError:
    """How a target that means two is refused, to write and to read alike."""
    with pytest.raises(CommandError) as reading:
        overview.conversation(actor.look(), target)
    writing = actor.refused(lambda n: happened.Post(n, target, "hi"))
    assert (reading.value.message, reading.value.hint) == (writing.message, writing.hint)
    return writing


def verify(actor: Actor, other: Actor) -> None:
    key = fingerprint(other.account)
    actor.do(lambda n: happened.SetTrust(n, "verify", "@" + other.name, "fingerprint", key))


def command(hint: str) -> list[str]:
    """The words a shell makes of the command in a hint."""
    [told] = [part for part in hint.split("`") if part.startswith("p2pchat ")]
    words = shlex.split(told, comments=True)
    assert told == shlex.join(words), "nothing in it is a shell's to expand"
    return words


# -- a room and a person of one name ------------------------------------------------------


def test_an_open_room_of_a_stranger_takes_nobodys_name(stage: Stage, three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    room = create(cem, "Bob", admission="office")
    stage.wait(70)
    assert overview.room_view(ann.look(), "#bob").membership == "open"
    assert sent_to(ann, "bob") == chat(ann, bob)
    assert warning(ann, "bob") == ""
    act(ann, "join", "#bob")
    assert unclear(ann, "bob").message == "'bob' is a room and a person", "she came in by herself"
    assert sent_to(ann, "#bob") == room.hex()


def test_a_room_one_was_brought_into_yields_to_who_is_better_known(three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    create(cem, "bob")
    act(cem, "invite", "#bob", ann)
    refusal = unclear(ann, "bob")
    assert refusal.kind == "ambiguous_target"
    assert refusal.hint == "write '#bob' for the room, @bob for the person", "# begins a comment in a shell"
    ann.say(bob, "he is no stranger")
    assert sent_to(ann, "bob") == chat(ann, bob)
    assert warning(ann, "bob") == "a room is called 'bob' too: write to '#bob' to mean it"
    assert warning(ann, "bob") == warning(ann, "bob"), "also where the name is remembered"
    ann.say(cem, "nor are you")
    ann.node.forget()
    assert unclear(ann, "bob").code == 4
    verify(ann, bob)
    assert sent_to(ann, "bob") == chat(ann, bob)
    verify(ann, cem)
    assert unclear(ann, "bob").code == 4


def test_a_stranger_takes_no_rooms_name(stage: Stage, three: Three) -> None:  # noqa: F811
    """Who is called as a room into which a friend brought us does not get what is written to it."""
    ann, bob, _ = three
    ann.say(bob, "hello")
    create(bob, "dee")
    act(bob, "invite", "dee", ann)
    stage.join(ann, stage.actor("dee"))
    assert unclear(ann, "dee").code == 4


def test_that_nobody_is_called_so_is_looked_at_again_when_people_change(
    stage: Stage,
    three: Three,  # noqa: F811
) -> None:
    ann, bob, cem = three
    ann.say(bob, "hello")
    rooms_of_bob = [create(bob, name).hex() for name in ("dee", "eve")]
    for name, room in zip(("dee", "eve"), rooms_of_bob, strict=True):
        act(bob, "invite", name, ann)
        assert sent_to(ann, name) == sent_to(ann, name) == room
        assert sent_to(ann, room) == sent_to(ann, room) == room
    stage.join(ann, stage.actor("dee"))
    assert unclear(ann, "dee").code == 4, "somebody new"
    cem.do(lambda n: happened.Rename(n, "eve"))
    assert unclear(ann, "eve").code == 4, "somebody is called otherwise"
    assert sent_to(ann, rooms_of_bob[0]) == rooms_of_bob[0], "a whole id is nobody's name"


def test_a_name_that_was_remembered_is_looked_at_again_when_one_comes_in(
    stage: Stage,
    three: Three,  # noqa: F811
) -> None:
    ann, bob, cem = three
    create(cem, "bob", admission="office")
    stage.wait(70)
    assert sent_to(ann, "bob") == sent_to(ann, "bob") == chat(ann, bob)
    act(ann, "join", "#bob")
    assert unclear(ann, "bob").code == 4
    act(ann, "leave", "#bob")
    assert sent_to(ann, "bob") == chat(ann, bob)


def test_an_id_that_was_sought_takes_no_rooms_name(stage: Stage, three: Three) -> None:  # noqa: F811
    ann, _, cem = three
    sought = create(cem, "tea", admission="office")
    stage.wait(70)
    mine = create(ann, sought.hex()[:6])
    assert sent_to(ann, sought.hex()[:6]) == mine.hex()
    act(ann, "join", sought.hex())
    assert sent_to(ann, "tea") == sought.hex()


@pytest.mark.parametrize("name", ["lobby", "Lobby", "l0bby"])
def test_no_room_is_called_as_the_lobby(name: str, three: Three) -> None:  # noqa: F811
    ann, *_ = three
    refusal = ann.refused(lambda n: happened.CreateRoom(n, name))
    assert (refusal.kind, refusal.message) == ("usage", f"{name!r} cannot be a room's name")
    create(ann)
    assert refused(ann, "set", "launch", changes=(("name", name),)).message == refusal.message


def test_a_room_that_is_called_lobby_all_the_same_is_not_the_lobby(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, cem = (stage.actor(name, lobby=True) for name in ("ann", "cem"))
    stage.join(ann, cem)
    with monkeypatch.context() as patch:
        patch.setattr("p2pchat.engine.room_commands._checked", lambda *_, **__: None)
        room = create(cem, "lobby")
    act(cem, "invite", room.hex(), ann)
    assert overview.room_view(ann.look(), room.hex()).membership == "joined"
    assert sent_to(ann, "lobby") == rooms.lobby_id(OPEN_OFFICE_KEY).hex()


# -- suggested commands -------------------------------------------------------------------


def joining(stage: Stage, ann: Actor, cem: Actor, name: str) -> tuple[RoomId, list[str]]:
    """What a shell is told by the hint to come into an open room of that name."""
    room = create(cem, name, admission="office")
    stage.wait(70)
    refusal = ann.refused(lambda n: happened.Post(n, room.hex(), "hi"))
    return room, command(refusal.hint)


@pytest.mark.parametrize(
    "name", ["tea", "x; touch $HOME/pwn", "two words", "it's", 'say "hi"', "$(id)", "a\\b", "--home=x", "*"]
)
def test_what_is_suggested_can_be_pasted(name: str, stage: Stage, three: Three) -> None:  # noqa: F811
    ann, _, cem = three
    room, words = joining(stage, ann, cem, name)
    assert words[:3] == ["p2pchat", "room", "join"]
    assert len(words) == 4
    assert not words[3].startswith("-")
    act(ann, "join", words[3])
    assert say(ann, room.hex(), "in")


@pytest.mark.parametrize("name", ["a`id`", "run p2pchat up now"])
def test_a_name_that_would_break_the_hint_is_an_id(name: str, stage: Stage, three: Three) -> None:  # noqa: F811
    ann, _, cem = three
    room, words = joining(stage, ann, cem, name)
    assert words == ["p2pchat", "room", "join", room.hex()[:12]]


def test_of_two_rooms_of_one_name_the_id_is_suggested(stage: Stage, three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    create(bob, "tea", admission="office")
    room, words = joining(stage, ann, cem, "tea")
    assert words[3] == room.hex()[:12]


# -- inviting -----------------------------------------------------------------------------


def invite(actor: Actor, room: str, *people: Actor) -> object:
    names = tuple(person.account.hex() for person in people)
    return actor.do(lambda n: happened.RoomAct(n, "invite", room, names))["added"]


def test_only_who_came_in_is_said_to_be_added(three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    create(ann)
    assert invite(ann, "launch", bob) == (bob.account,)
    assert invite(ann, "launch", bob, cem) == (cem.account,)
    assert invite(ann, "launch", bob, cem) == ()


def test_who_left_by_himself_is_not_added_and_the_hint_brings_him_back(three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    room = create(ann, "two words")
    act(ann, "invite", "two words", bob)
    act(bob, "leave", "two words")
    refusal = refused(ann, "invite", "two words", cem, bob)
    assert (refusal.code, refusal.message) == (7, "'bob' left 'two words' by himself: nobody can add him")
    assert cem.account not in rooms.room(ann.look(), room).graph.members, "nothing was done"
    words = command(refusal.hint)
    assert words == ["p2pchat", "room", "join", "two words"]
    act(bob, "join", words[3])
    say(bob, "two words", "back")
    assert texts(ann, room) == ["back"]


# -- refusals -----------------------------------------------------------------------------


def test_who_was_removed_is_not_sent_to_join(three: Three) -> None:  # noqa: F811
    ann, bob, cem = three
    create(ann)
    act(ann, "invite", "launch", bob, cem)
    act(ann, "remove", "launch", bob)
    act(cem, "leave", "launch")
    for refusal in (
        bob.refused(lambda n: happened.Post(n, "launch", "hi")),
        refused(bob, "invite", "launch", cem),
        refused(bob, "join", "launch"),
    ):
        assert (refusal.code, refusal.message) == (7, "you were removed from 'launch'")
        assert refusal.hint == "ask one of: ann"
    left = cem.refused(lambda n: happened.Post(n, "launch", "hi"))
    assert (left.code, left.message) == (7, "you are not in 'launch'")
    act(cem, *command(left.hint)[2:])
    say(cem, "launch", "back")


def test_a_rooms_name_is_counted_in_characters(three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    name = "\u05d0" * 64
    room = create(ann, name, topic="t")
    act(ann, "invite", name, bob)
    assert overview.room_view(bob.look(), name).id == room
    long = "\u05d0" * 65
    refusal = ann.refused(lambda n: happened.CreateRoom(n, long))
    assert (refusal.kind, refusal.code) == ("too_long", 2)
    assert refusal.message == f"'{long[:16]}'… has 65 characters: a room's name has at most 64"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tab\there", "tabs"), ("#tea", "# and @"), ("t@a", "# and @"), (" tea", "spaces"), ("tea ", "spaces")],
)
def test_the_hint_says_what_is_wrong_with_a_name(name: str, hint: str, three: Three) -> None:  # noqa: F811
    refusal = three[0].refused(lambda n: happened.CreateRoom(n, name))
    assert refusal.message == f"{name!r} cannot be a room's name"
    told = ["tabs", "# and @", "spaces"]
    assert [word for word in told if word in refusal.hint] == [hint]


def test_taking_note_of_the_last_one_says_why_not(three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    create(ann)
    act(ann, "invite", "launch", bob)
    said = say(ann, "launch", "rain", ack=True)
    refusal = bob.refused(lambda n: happened.Change(n, "ack", "last", target="launch"))
    assert (refusal.code, refusal.hint) == (2, talk.ASKING_HINT)
    assert refusal.message == "'last' is what you wrote last yourself, and you take note of others"
    plain = say(ann, "launch", "sun")
    assert bob.refused(lambda n: happened.Change(n, "ack", plain)).hint == talk.ASKING_HINT
    bob.change("ack", said)


@pytest.mark.parametrize("verb", ["edit", "delete"])
def test_what_another_wrote_can_be_answered(verb: str, three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    room = create(ann, "two words")
    act(ann, "invite", "two words", bob)
    said = say(ann, "two words", "rain")
    refusal = bob.refused(lambda n: happened.Change(n, verb, said, "sun"))
    assert refusal.message == f"{said!r} was written by 'ann'"
    words = command(refusal.hint)
    assert words == ["p2pchat", "send", "#two words", "TEXT", "--reply-to", said]
    bob.do(lambda n: happened.Post(n, words[2], "sun", reply_to=words[5]))
    assert history(ann, room)[-1].reply_to is not None


def test_a_direct_chat_has_no_topic(three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    ann.say(bob, "hello")
    refusal = refused(ann, "set", "bob", changes=(("topic", "tea"),))
    assert (refusal.kind, refusal.message) == ("usage", "a direct chat has no 'topic'")
    act(ann, "set", "bob", changes=(("retention", "3"),))


def test_where_a_room_is_meant_it_is_said_that_there_is_none(stage: Stage, three: Three) -> None:  # noqa: F811
    ann, *_ = three
    said = "no room and nobody called 'tea' is known here"
    assert refused(ann, "set", "tea", changes=(("topic", "tea"),)).message == said
    assert ann.refused(lambda n: happened.Mute(n, "tea")).message == said
    assert ann.refused(lambda n: happened.Mute(n, "@tea")).message == "nobody called '@tea' is known here"
    dee = stage.actor("dee", lobby=True)
    alone = refused(dee, "set", "#lobby", changes=(("topic", "tea"),))
    assert (alone.code, command(alone.hint)) == (7, ["p2pchat", "room", "create", "NAME"])


def test_the_last_owner_is_told_how_to_name_another(three: Three) -> None:  # noqa: F811
    ann, bob, _ = three
    create(ann, "two words")
    act(ann, "invite", "two words", bob)
    refusal = ann.refused(lambda n: happened.RoomAct(n, "role", "two words", ("ann",), "member"))
    assert command(refusal.hint) == ["p2pchat", "room", "role", "two words", "PERSON", "owner"]
