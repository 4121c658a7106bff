"""What machines say to each other about who is there: typing, and words that cannot be."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine.presence_inputs import TypeIn
from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.messages.presence import Presence, Typing
from tests.engine.play import Actor, Stage
from tests.engine.test_presence import choose, pair, sees, word

__all__ = ["pair"]

# -- typing ---------------------------------------------------------------------------------------


def _typing(who: Actor) -> list[bool]:
    found = [tell.subject[2] for tell in who.told if tell.type == "typing"]  # type: ignore[index]
    who.told.clear()
    return found


def test_typing_is_told_believed_for_a_while_and_ended(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    bob.told.clear()
    ann.do(lambda r: TypeIn(r, "Bob", on=True))
    ann.do(lambda r: TypeIn(r, "Bob", on=True))
    assert _typing(bob) == [True]
    assert len([one for one in ann.sent if isinstance(one, Typing)]) == 1  # not for every key
    ann.do(lambda r: TypeIn(r, "Bob", on=False))
    assert _typing(bob) == [False]
    ann.do(lambda r: TypeIn(r, "Bob", on=True))
    stage.wait(30)
    assert _typing(bob) == [True, False]  # he went away without a word


def test_typing_is_not_told_to_whom_i_hide_from(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(ann, hide_from=("Bob",))
    bob.told.clear()
    ann.do(lambda r: TypeIn(r, "Bob", on=True))
    assert _typing(bob) == []
    assert not [one for one in ann.sent if isinstance(one, Typing)]


# -- words that cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        Presence("invisible", ""),
        Presence("busy", "x" * 201),
        Presence("offline", "but here"),
        Presence("", ""),
    ],
)
def test_a_presence_out_of_form_ends_the_link(
    said: Presence, stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    (link,) = bob.node.live.links
    with pytest.raises(RemoteProtocolError):
        bob.node.handle(happened.FromPeer(link, said), bob.now())
    assert word(bob, ann) == "available"


def test_typing_in_a_room_that_is_not_shared_is_passed_over(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    room = ann.do(lambda r: happened.CreateRoom(r, "secret"))["room"]
    (link,) = bob.node.live.links
    bob.told.clear()
    bob.feed(happened.FromPeer(link, Typing(room.id, True)))  # type: ignore[attr-defined]
    assert _typing(bob) == []


def test_a_flood_of_typing_is_not_told_on(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    (link,) = bob.node.live.links
    room = sees(bob, ann).room
    bob.told.clear()
    for _ in range(500):
        bob.feed(happened.FromPeer(link, Typing(room, True)), happened.FromPeer(link, Typing(room, False)))
    assert len(_typing(bob)) <= 60
