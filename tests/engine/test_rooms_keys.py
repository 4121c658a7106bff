"""Keys of rooms: when a new one is started, for whom it is sealed, and who is given an old one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pchat.crypto import epochs as crypto
from p2pchat.crypto.epochs import epoch_id
from p2pchat.engine import inputs as happened
from p2pchat.engine import keys, rooms, sync
from p2pchat.engine.context import RoomCache
from p2pchat.engine.node import Node
from p2pchat.ids import DeviceId, EpochId, EventId, RoomId
from p2pchat.wire.codec import decode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages.link import KeyRequest, Keys, Reconcile
from tests.engine.play import Actor, Dice, Stage
from tests.engine.test_rooms import Three, act, create, link_of, members, refused, say, texts, three

__all__ = ["three"]

WEEK_S = 7 * 24 * 3600.0
ROTATED_S = 61.0
"""A sender with an old key starts a new one 0 to 60 s after he used it."""


def cached(actor: Actor, room: RoomId) -> RoomCache:
    return rooms.room(actor.look(), room)


def epochs(actor: Actor, room: RoomId) -> dict[EpochId, DeviceId]:
    """Every announced key, and whose machine announced it."""
    found = {}
    for event in actor.ledger.events.control(room):
        if event.kind == ev.EPOCH:
            found[EpochId(decode(ev.Epoch, event.body or b"").epoch_id)] = event.device
    return found


def held(actor: Actor, room: RoomId) -> set[EpochId]:
    return {one for one, row in cached(actor, room).epochs.items() if row.key is not None}


def seals(actor: Actor, room: RoomId) -> list[tuple[set[DeviceId], set[bytes]]]:
    """Of each seal: the machines it is for, and the accounts that are in by what it links to."""
    found = []
    for event in actor.ledger.events.control(room):
        if event.kind == ev.SEAL:
            auth = tuple(EventId(one) for one in decode(ev.Header, event.header).auth)
            body = decode(ev.Seal, event.body or b"")
            members = {bytes(one) for one in cached(actor, room).graph.members_at(auth)}
            found.append(({DeviceId(sealed.device) for sealed in body.keys}, members))
    return found


def used(actor: Actor, room: RoomId, message: str) -> EpochId:
    """The key that a message is sealed under."""
    event = actor.ledger.events.get(EventId(bytes.fromhex(message)))
    assert event is not None
    return event.epoch


def asked(giver: Actor, who: Actor, room: RoomId, wanted: list[EpochId]) -> list[bytes]:
    """The keys `giver` hands out when `who` asks for these."""
    before = len(giver.sent)
    number = link_of(giver, who)
    giver.feed(happened.FromPeer(number, KeyRequest(room, tuple(wanted))))
    answers = [one for one in giver.sent[before:] if isinstance(one, Keys)]
    giver.stage.settle()
    return [key for one in answers for key in one.keys]


# -- when a new one is started ------------------------------------------------------------


def test_who_removes_somebody_starts_the_new_key_and_nobody_else_does(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    first = used(bob, room, say(bob, "launch", "before"))
    known = set(epochs(ann, room))
    act(ann, "remove", "launch", cem)
    fresh = set(epochs(ann, room)) - known
    assert [epochs(ann, room)[one] for one in fresh] == [ann.device]
    after = [used(one, room, say(one, "launch", "after")) for one in (bob, ann)]
    assert set(after) == fresh
    assert first not in fresh
    assert set(epochs(bob, room)) - known == fresh
    assert fresh & held(cem, room) == set()
    assert first in held(cem, room), "the test can tell"


def test_a_key_is_replaced_after_a_week_once_and_nobody_waits_for_it(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    old = used(ann, room, say(ann, "launch", "this week"))
    stage.mono += WEEK_S - 10
    assert used(bob, room, say(bob, "launch", "hardly a week old")) == old
    stage.wait(ROTATED_S)
    assert set(epochs(ann, room)) == set(epochs(cem, room))
    known = set(epochs(ann, room))
    assert len(known) == 2, "one under which the room was named, one with the others"
    stage.mono += 20
    for one in three:
        assert used(one, room, say(one, "launch", "next week")) == old, "the old one still serves"
    stage.wait(ROTATED_S)
    for one in three:
        [fresh] = set(epochs(one, room)) - known
        assert used(one, room, say(one, "launch", "under the new one")) == fresh
    assert texts(ann, room) == texts(bob, room) == texts(cem, room)
    assert len(texts(cem, room)) == 8


def test_nobody_rotates_where_nobody_writes(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    room = create(ann)
    act(ann, "invite", "launch", bob)
    say(ann, "launch", "once")
    known = epochs(ann, room)
    stage.mono += 3 * WEEK_S
    stage.wait(2 * ROTATED_S)
    assert epochs(ann, room) == epochs(bob, room) == known


def test_two_keys_started_at_once_both_serve(stage: Stage) -> None:
    ann, bob, cem, dan = people = [stage.actor(name) for name in ("ann", "bob", "cem", "dan")]
    for number, one in enumerate(people):
        for other in people[number + 1 :]:
            stage.join(one, other)
    room = create(ann)
    act(ann, "invite", "launch", bob, cem, dan)  # nobody has written for these four yet
    stage.cut()
    stage.join(ann, bob)
    stage.join(cem, dan)
    left, right = used(bob, room, say(bob, "launch", "left")), used(dan, room, say(dan, "launch", "right"))
    assert left != right
    assert cached(ann, room).epochs[left].member_hash == cached(cem, room).epochs[right].member_hash
    assert cached(ann, room).epochs[left].gen == cached(cem, room).epochs[right].gen
    stage.join(ann, cem)
    stage.join(bob, dan)
    stage.wait(70)
    for one in people:
        assert sorted(map(str, texts(one, room))) == ["left", "right"], one.name
        assert {left, right} <= held(one, room)
    later = {used(one, room, say(one, "launch", f"by {one.name}")) for one in people}
    assert later == {min(left, right)}, "all go on under the same one, and start no third"


# -- for whom it is sealed ----------------------------------------------------------------


def test_who_knows_of_a_removal_never_seals_to_the_removed(stage: Stage, three: Three) -> None:
    """Bob does not know and seals to Cem as well; from the moment he knows he does not."""
    ann, bob, cem = three
    dan = stage.actor("dan")
    stage.join(dan, bob)
    stage.join(dan, ann)
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    act(ann, "role", "launch", bob, role="moderator")
    say(cem, "launch", "hello")
    stage.cut()
    act(ann, "remove", "launch", cem)
    say(ann, "launch", "he is out")
    stage.join(bob, dan)
    act(bob, "invite", "launch", dan)
    unknowing = used(bob, room, say(bob, "launch", "cem, are you there?"))
    stage.join(bob, ann)
    act(bob, "set", "launch", changes=(("topic", "later"),))
    stage.mono += WEEK_S + 1
    for one in (ann, bob):
        say(one, "launch", "a week later")
    stage.wait(ROTATED_S)
    say(bob, "launch", "under yet another key")
    assert len(epochs(ann, room)) >= 5
    found = seals(ann, room)
    assert found == seals(bob, room)
    outsiders = [devices for devices, members in found if cem.account not in members]
    assert len(outsiders) >= 3
    assert not any(cem.device in devices for devices in outsiders)
    insiders = [devices for devices, members in found if cem.account in members]
    assert any(cem.device in devices for devices in insiders)
    # that key was sealed to him, and in good faith: nothing is sealed under it once bob knows
    assert used(bob, room, say(bob, "launch", "never again")) != unknowing


# -- who is given an old one --------------------------------------------------------------


def test_old_keys_go_to_who_was_in_then_or_is_in_now_where_all_is_shared(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob)
    early = used(ann, room, say(ann, "launch", "without cem"))
    assert asked(ann, cem, room, [early]) == [], "a stranger"
    act(ann, "invite", "launch", cem)
    assert len(asked(ann, cem, room, [early])) == 1, "(b) a member now, of a room that shares"
    shared = used(ann, room, say(ann, "launch", "with cem"))
    act(ann, "remove", "launch", cem)
    late = used(ann, room, say(ann, "launch", "without him again"))
    assert len(asked(ann, cem, room, [shared])) == 1, "(a) he was in that key's member set"
    assert asked(ann, cem, room, [early, late]) == []
    assert len(asked(ann, bob, room, [early, shared, late])) == 3
    assert asked(bob, cem, room, [late]) == []


def test_where_newcomers_see_nothing_older_they_get_no_older_key(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, history="joined")
    act(ann, "invite", "launch", bob)
    early = used(bob, room, say(bob, "launch", "before cem"))
    act(ann, "invite", "launch", cem)
    for giver in (ann, bob):
        assert asked(giver, cem, room, [early]) == []
        assert len(asked(giver, bob if giver is ann else ann, room, [early])) == 1
    late = used(bob, room, say(bob, "launch", "with cem"))
    assert late in held(cem, room)
    assert early not in held(cem, room)


def test_a_room_that_stops_sharing_gives_no_newcomer_what_was_shareable(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob)
    early = used(bob, room, say(bob, "launch", "while it shared"))
    act(ann, "set", "launch", changes=(("history", "joined"),))
    act(ann, "invite", "launch", cem)
    assert cached(ann, room).epochs[early].shareable
    assert asked(ann, cem, room, [early]) == []
    assert early not in held(cem, room)


def test_keys_nobody_asked_for_and_false_ones_are_dropped(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, history="joined")
    act(ann, "invite", "launch", bob)
    early = used(bob, room, say(bob, "launch", "before cem"))
    act(ann, "invite", "launch", cem)
    key = cached(ann, room).epochs[early].key
    assert key is not None
    number = link_of(cem, ann)
    cem.node.live.asked_keys.clear()
    cem.feed(happened.FromPeer(number, Keys(room, (key,))))
    assert early not in held(cem, room), "he did not ask"
    cem.node.live.asked_keys[number, room] = frozenset([early])
    cem.feed(happened.FromPeer(number, Keys(room, (bytes(32), key[::-1]))))
    assert early not in held(cem, room), "these hash to nothing announced"
    assert ann.closed == cem.closed == []
    cem.feed(happened.FromPeer(number, Keys(room, (key,))))
    assert early in held(cem, room), "the same, asked for and true"


@pytest.mark.parametrize("silent", ["bob", "dan"])
def test_a_key_is_had_from_any_member_with_the_inviter_off(stage: Stage, silent: str) -> None:
    """One of the two does not have it either: the other is asked."""
    ann, bob, cem, dan = people = [stage.actor(name) for name in ("ann", "bob", "cem", "dan")]
    for number, one in enumerate(people):
        for other in people[number + 1 :]:
            stage.join(one, other)
    room = create(ann)
    act(ann, "invite", "launch", bob, dan)
    early = used(ann, room, say(ann, "launch", "before cem"))
    stage.cut()
    stage.join(ann, bob)
    stage.join(ann, dan)
    act(ann, "invite", "launch", cem)
    stage.cut()
    without = bob if silent == "bob" else dan
    row = cached(without, room).epochs[early]
    without.node.cache.rooms[room].epochs[early] = replace(row, key=None)
    stage.join(cem, bob)
    stage.join(cem, dan)
    stage.wait(10)
    assert early in held(cem, room)
    assert texts(cem, room) == ["before cem"]


# -- large rooms: in several steps --------------------------------------------------------


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three machines count as many."""
    monkeypatch.setattr(keys, "LARGE", 3)
    monkeypatch.setattr(keys, "SEALS_AT_ONCE", 1)
    monkeypatch.setattr(sync, "REPAIRS_AT_ONCE", 1)


def rotation(actor: Actor, room: RoomId) -> bool:
    """The next step of a rotation; whether there is another one."""
    name = f"rotate:{room.hex()}"
    actor.timers.pop(name, None)
    actor.feed(happened.TimerFired(name))
    return name in actor.timers


@pytest.mark.usefixtures("small_is_large")
def test_a_large_rotation_seals_in_steps_and_writes_in_the_last(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    stage.wait(1)
    say(ann, "launch", "this week")
    known = epochs(ann, room)
    stage.mono += WEEK_S + 10
    ann.node.live.prepared.clear()
    before = ann.ledger.connection.total_changes, len(ann.sent)
    for _ in range(2):
        assert rotation(ann, room)
        assert (ann.ledger.connection.total_changes, len(ann.sent)) == before
        assert epochs(ann, room) == known
    assert not rotation(ann, room)
    stage.settle()
    [fresh] = set(epochs(ann, room)) - set(known)
    assert seals(ann, room)[-1][0] == {one.device for one in three}
    for one in three:
        assert fresh in held(one, room)
        assert used(one, room, say(one, "launch", f"{one.name} in the next week")) == fresh


@pytest.mark.usefixtures("small_is_large")
def test_a_restart_in_the_middle_of_a_rotation_leaves_no_new_key(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    stage.wait(1)
    old = used(ann, room, say(ann, "launch", "this week"))
    known = epochs(ann, room)
    stage.mono += WEEK_S + 10
    assert rotation(ann, room)
    half = ann.node.live.prepared[room]
    stage.cut()
    ann.timers.clear()
    ann.node = Node(ann.me, ann.ledger, Dice("ann again"), name="ann")
    ann.feed(happened.Started(26700))
    stage.join(ann, bob)
    stage.join(ann, cem)
    assert epochs(ann, room) == epochs(bob, room) == known
    assert used(ann, room, say(ann, "launch", "still readable")) == old
    while rotation(ann, room):
        pass
    stage.settle()
    [fresh] = set(epochs(ann, room)) - set(known)
    assert fresh != epoch_id(half.key)
    assert fresh in held(bob, room) & held(cem, room)


@pytest.mark.usefixtures("small_is_large")
def test_who_may_remove_has_the_next_key_sealed_already(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cem = three
    dan = stage.actor("dan")
    stage.join(ann, dan)
    room = create(ann)
    act(ann, "invite", "launch", bob, cem, dan)
    stage.wait(3)
    say(ann, "launch", "a first key")
    stage.wait(3)
    assert set(ann.node.live.prepared[room].sealed) == {
        (one.device, ann.look().cache.prekeys[one.device].n) for one in (ann, bob, cem, dan)
    }
    assert room not in bob.node.live.prepared, "he may remove nobody"
    known, made = set(epochs(ann, room)), 0
    stage.mono += WEEK_S  # bob has another prekey by then
    bob.feed(happened.TimerFired("prekeys"))
    stage.settle()
    seal = crypto.seal_epoch_key

    def counted(public: bytes, key: bytes, secret: bytes) -> bytes:
        nonlocal made
        made += 1
        return seal(public, key, secret)

    monkeypatch.setattr(crypto, "seal_epoch_key", counted)
    act(ann, "remove", "launch", cem)
    assert made == 1, "for bob's new prekey only"
    [fresh] = set(epochs(ann, room)) - known
    assert seals(ann, room)[-1][0] == {ann.device, bob.device, dan.device}
    assert used(bob, room, say(bob, "launch", "without cem")) == fresh
    assert fresh in held(dan, room)
    assert fresh not in held(cem, room)
    assert room not in ann.node.live.prepared, "a key is announced once"


@pytest.mark.usefixtures("small_is_large")
def test_a_refused_removal_keeps_what_is_ready(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    act(ann, "invite", "launch", bob, cem)
    stage.wait(3)
    ready = ann.node.live.prepared[room]
    ann.node.begin()
    ann.ledger.begin()
    ann.node.handle(happened.RoomAct(9, "remove", "launch", (cem.account.hex(),)), ann.now())
    assert room not in ann.node.live.prepared
    ann.ledger.rollback()
    ann.node.undo()
    ann.node.forget()
    assert ann.node.live.prepared[room] == ready


@pytest.mark.usefixtures("small_is_large")
def test_a_change_of_members_repairs_with_some_at_a_time(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    stage.mail.clear()
    ann.feed(happened.RoomAct(9, "invite", "launch", (bob.account.hex(), cem.account.hex())))
    asked = [one for one in ann.sent if isinstance(one, Reconcile) and one.room == room]
    assert len(asked) == 1
    assert f"moved:{room.hex()}" in ann.timers
    stage.settle()
    stage.wait(1)
    assert epochs(bob, room) == epochs(cem, room) == epochs(ann, room)
    assert f"moved:{room.hex()}" not in ann.timers


# -- inviting a crowd -----------------------------------------------------------------------


def test_a_crowd_is_looked_at_whole_and_comes_in_by_portions(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, history="joined", topic="rocket")
    everybody = (bob.account.hex(), "cem", "bob", ann.account.hex()[:5] + "zz")
    unknown = ann.refused(lambda n: happened.RoomAct(n, "invitable", "launch", everybody))
    assert unknown.kind == "no_such_target"
    assert set(members(ann, room)) == {ann.account.hex()}
    told = ann.do(lambda n: happened.RoomAct(n, "invitable", "launch", everybody[:3]))
    assert told["people"] == (bob.account.hex(), cem.account.hex())
    assert set(members(ann, room)) == {ann.account.hex()}

    def named() -> int:
        return len(ann.ledger.events.of_kind(room, ev.NAME))

    before = named()
    act(ann, "invite", "launch", bob, more=True)
    assert named() == before, "what the room is called is said once all are in"
    act(ann, "invite", "launch", cem)
    assert named() == before + 2
    assert len(members(cem, room)) == 3
    assert refused(bob, "invitable", "launch", cem).kind == "no_right"
