"""Rooms: what went wrong once, each as the play that showed it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest

from p2pchat.engine import keys, log, overview, rooms
from p2pchat.engine.context import Context
from p2pchat.ids import RoomId
from p2pchat.wire.codec import encode
from p2pchat.wire.limits import MAX_TEXT
from p2pchat.wire.messages import events as wire
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, members, say, texts


def all_meet(stage: Stage, *groups: Sequence[Actor]) -> None:
    for group in groups:
        for one, other in combinations(group, 2):
            stage.join(one, other)


def agreed(people: Sequence[Actor], room: RoomId) -> tuple[list[str | None], dict[str, str], str]:
    """What all of them hold, which must be the same."""
    held = [
        (texts(one, room), members(one, room), overview.room_view(one.look(), room.hex()).topic)
        for one in people
    ]
    for one, more in zip(people, held, strict=True):
        assert more == held[0], one.name
    return held[0]


@pytest.mark.parametrize("first", range(3))
def test_what_stands_on_a_void_act_is_judged_by_everybody(stage: Stage, first: int) -> None:
    """Eve, whom the other half has put out, lets Flo in; Dan's key names that act. It is void, but
    without it nobody could judge what Dan wrote, and the halves never agreed."""
    ann, bob, cyn, dan, eve, flo = people = [
        stage.actor(n) for n in ("ann", "bob", "cyn", "dan", "eve", "flo")
    ]
    all_meet(stage, people)
    room = create(ann, "split")
    act(ann, "invite", "split", bob, cyn, dan, eve)
    act(ann, "role", "split", dan, role="owner")
    act(ann, "role", "split", eve, role="moderator")
    stage.cut()
    all_meet(stage, (ann, bob, cyn), (dan, eve, flo))
    act(ann, "set", "split", changes=(("topic", "left"),))
    act(ann, "remove", "split", eve)
    say(bob, "split", "from the left")
    act(eve, "invite", "split", flo)
    act(dan, "set", "split", changes=(("topic", "right"),))
    for one in (dan, eve, flo, dan):
        stage.mono += 1
        say(one, "split", f"from the right by {one.name}")
    meetings = [(one, other) for one in (ann, bob, cyn) for other in (dan, eve, flo)]
    for one, other in meetings[first * 3 :] + meetings[: first * 3]:
        stage.join(one, other)
    said, who, topic = agreed((ann, bob, cyn, dan), room)
    assert said == ["from the left", "from the right by dan", "from the right by dan"]
    assert len(who) == 4
    assert topic == "right"
    for one in (eve, flo):  # flo too is told why she is in no more
        assert overview.room_view(one.look(), "split").membership == "removed", one.name


@pytest.mark.parametrize("newcomer_dials", [True, False])
@pytest.mark.parametrize("admission", ["invite", "office"])
def test_who_was_away_hears_of_a_room_whoever_dials(
    stage: Stage, admission: str, newcomer_dials: bool
) -> None:
    """Only who dials repairs; Bob, who dialled, could not ask for a room he knew nothing of, and
    heard of it when Ann next happened to repair with him."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    stage.cut()
    room = create(ann, admission=admission)
    say(ann, "launch", "while you were away")
    if admission == "invite":
        act(ann, "invite", "launch", bob)
    stage.join(*((bob, ann) if newcomer_dials else (ann, bob)))
    assert sorted(members(bob, room).values()) == ["member", "owner"][admission == "office" :]
    assert texts(bob, room) == ["while you were away"] * (admission == "invite")


def test_a_body_out_of_form_is_kept_and_blames_nobody_who_passes_it_on(stage: Stage) -> None:
    """Ann seals a text longer than any may be: Bob, who hands it to Cem, keeps his link."""
    ann, bob, cem = people = [stage.actor(name) for name in ("ann", "bob", "cem")]
    all_meet(stage, people)
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    say(ann, "launch", "fine")
    stage.cut()
    stage.join(ann, bob)
    cached = rooms.room(ann.look(), room)
    wrong = encode(wire.Message(1, "x" * (MAX_TEXT + 1), b"", b"", (), False, 0, ()))

    def write(ctx: Context) -> None:
        log.append(ctx, cached, wire.MESSAGE, wrong, keys.current(ctx, cached), lambda ctx, event: None)

    ann.write(write)
    stage.settle()
    closed = list(bob.closed)
    stage.cut()
    stage.join(bob, cem)
    say(bob, "launch", "still here")
    assert texts(cem, room) == texts(bob, room) == ["fine", "still here"]
    assert bob.closed == closed
    assert cem.ledger.connection.execute("SELECT count(*) FROM event WHERE kind = 32").fetchone()[0] == 3


@pytest.mark.parametrize("dialled_by", ["the newcomer", "a member"])
def test_a_newcomer_hears_of_the_room_whoever_dials(stage: Stage, dialled_by: str) -> None:
    """Who dials repairs the rooms he knows; the newcomer knew of none, and heard of it a minute late."""
    ann, bob, cyn = people = [stage.actor(n) for n in ("ann", "bob", "cyn")]
    all_meet(stage, people)
    room = create(ann)
    act(ann, "invite", "launch", bob)
    stage.cut()
    stage.join(ann, bob)
    act(ann, "invite", "launch", cyn)
    say(ann, "launch", "for cyn")
    stage.cut()
    stage.join(*((cyn, bob) if dialled_by == "the newcomer" else (bob, cyn)))
    stage.wait(2)
    assert texts(cyn, room) == ["for cyn"]
