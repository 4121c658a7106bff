"""A member who means ill: he fills no disk, stops no room, and makes no two honest members disagree.

Mallory is in, with a role or without, and his machine says what it likes (tests/engine/forging);
Ann and Bob run the real engine. What they hold of the room must be the same in the end, and what
they say to each other must arrive while it lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import items, quota, room_commands, rooms, salts, views
from p2pchat.engine.log import event_id
from p2pchat.ids import AccountId, EventId, RoomId
from p2pchat.model import StoredEvent
from p2pchat.wire.limits import MAX_EVENT, MAX_PENDING
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Given, Reconcile, Want
from tests.engine.forging import Hand
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, history, link_of, members, refused, say, texts
from tests.engine.test_rooms_told import fed, notices

AGREE_S: Final = 400.0
"""Simulated: a few repairs with random peers."""
STRANGER: Final = AccountId(b"\x07" * 32)
ACT_S: Final = 0.004
"""What one flooded act may cost an honest machine, generously for a loaded gate."""


class Room:
    """Ann's room with Bob and Mallory, all linked."""

    def __init__(self, stage: Stage, role: str = "") -> None:
        self.stage = stage
        self.ann, self.bob, self.mal = (stage.actor(name) for name in ("ann", "bob", "mallory"))
        self.honest = (self.ann, self.bob)
        stage.join(self.ann, self.bob)
        stage.join(self.ann, self.mal)
        stage.join(self.bob, self.mal)
        self.id: RoomId = create(self.ann)
        act(self.ann, "invite", "launch", self.bob, self.mal)
        if role:
            act(self.ann, "role", "launch", self.mal, role=role)
        say(self.bob, "launch", "we begin")
        self.hand = Hand(self.mal, self.id)

    def talk(self, word: str) -> None:
        """What honest people say arrives at once, and nothing has closed their link."""
        for one, other in ((self.ann, self.bob), (self.bob, self.ann)):
            say(one, "launch", f"{word} by {one.name}")
            assert f"{word} by {one.name}" in texts(other, self.id)

    def agree(self) -> None:
        """Honest people hold the same once they have repaired."""
        self.stage.wait(AGREE_S)
        held = [self.holds(one) for one in self.honest]
        assert held[0] == held[1]

    def holds(self, actor: Actor) -> tuple[object, ...]:
        cached = rooms.room(actor.look(), self.id)
        acts = {event.id: event.flags & StoredEvent.VOID for event in actor.ledger.events.control(self.id)}
        shown = [text for text in texts(actor, self.id)]
        return acts, shown, members(actor, self.id), cached.graph.settings, dict(cached.graph.revoked)

    def flood(self, count: int, *to: Actor, text: str = "spam", **more: int) -> list[Event]:
        written = [
            self.hand.write(ev.MESSAGE, ev.Message(1, f"{text} {n}", b"", b"", (), False, 0, ()), **more)
            for n in range(count)
        ]
        for one in to:
            self.hand.give(one, *written)
        return written


@pytest.fixture
def room(stage: Stage) -> Room:
    return Room(stage)


def spam(actor: Actor, room: Room) -> int:
    return sum(str(text).startswith("spam") for text in texts_all(actor, room.id))


def texts_all(actor: Actor, room: RoomId) -> list[str]:
    found = actor.ledger.connection.execute("SELECT text FROM message WHERE hidden = 0").fetchall()
    return [row[0] for row in found if row[0] is not None]


# -- floods -------------------------------------------------------------------------------


def test_a_flood_of_words_is_taken_at_a_pace_and_the_rest_comes_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "MAX_EVENTS_AT_ONCE", 200)
    room.flood(1000, room.ann, room.bob)
    for one in room.honest:
        assert spam(one, room) <= 256, "at most what there was place for, in whole frames or not"
        warnings = [told.subject for told in one.told if told.type == "warning"]
        assert len(warnings) == 1, "told once"
    room.talk("still here")
    room.stage.wait(30)
    assert spam(room.ann, room) < 700, "ten a second"
    room.agree()


def test_history_is_not_held_up_by_the_pace(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than ten minutes is bounded by its bytes only."""
    monkeypatch.setattr(quota, "MAX_EVENTS_AT_ONCE", 50)
    monkeypatch.setattr(quota, "MAX_EVENTS_PER_MINUTE", 0)
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    room = create(ann)
    for number in range(300):
        say(ann, "launch", f"old {number}")
    stage.mono += quota.RECENT_MS / 1000 + 1
    for number in range(60):
        say(ann, "launch", f"new {number}")
    act(ann, "invite", "launch", bob)
    stage.wait(5)
    found = texts_all(bob, room)
    assert sum(text.startswith("old") for text in found) == 300
    assert 0 < sum(text.startswith("new") for text in found) <= 50


def test_huge_bodies_take_a_members_share_of_a_day_and_leave_place_for_others(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "MAX_ROOM_PER_DAY", 4_000_000)
    monkeypatch.setattr(quota, "MAX_MEMBER_PER_DAY", 1_000_000)
    before = {one: one.ledger.connection.execute("PRAGMA page_count").fetchone()[0] for one in room.honest}
    old = room.ann.now().wall_ms - 3 * 24 * 3600 * 1000
    written = room.flood(
        200, room.ann, room.bob, text="spam" + "x" * 16_000, hlc_ms=old
    )  # 3.2 MB, back-dated
    for one in room.honest:
        pages = one.ledger.connection.execute("PRAGMA page_count").fetchone()[0] - before[one]
        assert pages * 4096 < 10 * 1_000_000, "body, text and index of a day's share, not of all"
        assert 1 <= spam(one, room) <= 62
    room.talk("a word")
    room.stage.wait(AGREE_S)
    assert spam(room.bob, room) <= 62, "repair brings no more on that day"
    room.talk("another word")
    for _ in range(4):  # another day, another share
        room.stage.mono += 24 * 3600
        for one in room.honest:
            room.hand.give(one, *written)
    assert spam(room.ann, room) == spam(room.bob, room) == 200
    room.agree()


def test_rooms_nobody_asked_for_count_as_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MAX_ROOM_PER_DAY", 500_000)
    monkeypatch.setattr(quota, "MAX_MEMBER_PER_DAY", 400_000)
    mal, ann = stage.actor("mallory"), stage.actor("ann")
    stage.join(mal, ann)
    for number in range(6):
        room = create(mal, f"trap {number}")
        act(mal, "invite", room.hex(), ann)
        for _ in range(20):
            say(mal, room.hex(), "x" * 10_000)
    assert 300_000 < sum(map(len, texts_all(ann, room))) <= 400_000
    own = create(ann, "mine")
    act(ann, "invite", own.hex(), mal)
    say(mal, own.hex(), "y" * 10_000)
    assert texts(ann, own) == ["y" * 10_000], "where she wants him there is place"


def test_what_nobody_can_judge_takes_a_bounded_place(room: Room) -> None:
    """Acts and words on acts that do not exist."""
    nowhere = (EventId(b"?" * 32),)
    words = room.flood(1500, room.ann, auth=nowhere)  # type: ignore[arg-type]
    assert len(words) == 1500
    assert len(room.ann.ledger.events.parked_headers(room.id)) <= MAX_PENDING
    room.talk("all the same")
    room.agree()


def test_an_event_beyond_the_ceiling_ends_the_link_of_who_sends_it(room: Room) -> None:
    huge = room.hand.write(ev.MESSAGE, b"\0" * MAX_EVENT)
    room.hand.give(room.ann, huge)
    assert room.ann.closed != []
    assert not any((end, far) == (room.ann, room.mal) for end, far, _ in room.stage.links.values())
    room.talk("without him")


# -- acts -----------------------------------------------------------------------------------

Acts = Callable[[Room, int], Event]


def epoch(room: Room, number: int) -> Event:
    return room.hand.write(ev.EPOCH, ev.Epoch(1, number.to_bytes(16), number + 2, bytes(32), True))


def add_without_right(room: Room, number: int) -> Event:
    return room.hand.write(ev.ADD, wire.Add(1, number.to_bytes(32)))


def remove_without_right(room: Room, number: int) -> Event:
    return room.hand.write(ev.REMOVE, wire.Remove(1, room.ann.account, ()))


def branch(room: Room, number: int) -> Event:
    """Each beside all others: none links to another."""
    return room.hand.write(
        ev.EPOCH, ev.Epoch(1, number.to_bytes(16), number + 2, bytes(32), True), goes_on=False
    )


@pytest.mark.parametrize("acts", [epoch, add_without_right, remove_without_right, branch])
def test_a_flood_of_acts_stops_nobody(room: Room, acts: Acts, full: bool) -> None:
    count = 5000 if full else 500
    written = [acts(room, number) for number in range(count)]
    began = time.perf_counter()
    room.hand.give(room.ann, *written)
    took = time.perf_counter() - began
    assert took < count * ACT_S, f"{took / count * 1e3:.2f} ms an act"
    room.talk("meanwhile")
    room.hand.give(room.bob, *written[: count // 2])
    room.talk("and still")
    room.agree()
    act(room.ann, "remove", "launch", room.mal)
    room.talk("without him")
    room.agree()
    assert len(members(room.bob, room.id)) == 2


def test_acts_shown_to_one_only_keep_nobody_waiting(room: Room) -> None:
    """Ann's words link to acts of Mallory that Bob has not seen, and his to others."""
    left = [epoch(room, number) for number in range(40)]
    right = [epoch(room, number) for number in range(40, 80)]
    room.hand.give(room.ann, *left)
    room.hand.give(room.bob, *right)
    say(room.ann, "launch", "on the left")
    say(room.bob, "launch", "on the right")
    room.agree()
    for one in room.honest:
        assert {"on the left", "on the right"} <= set(texts(one, room.id)), one.name


# -- forks ------------------------------------------------------------------------------------


def test_a_different_story_for_each_is_kept_marked_and_the_same_for_all(room: Room) -> None:
    other = room.hand.twin()
    for number in range(20):
        for hand, actor, side in ((room.hand, room.ann, "left"), (other, room.bob, "right")):
            body = ev.Message(1, f"{side} {number}", b"", b"", (), False, 0, ())
            hand.give(actor, hand.write(ev.MESSAGE, body))
    room.talk("do you see what I see")
    room.agree()
    told = [
        row.flags & StoredEvent.FORKED
        for row in room.ann.ledger.events.run(room.id, room.mal.device, 1, 99, 999)
    ]
    assert sum(map(bool, told)) == 40
    assert len([one for one in room.ann.told if one.subject[0] == "fork"]) == 1  # type: ignore[index]
    for one in room.honest:
        (notice,) = [told for told in notices(one, room.id) if told.type == "fork"]
        assert notice.device == room.mal.device
        assert [change for change, *_ in fed(one, room.id)].count("fork") == 1, "once, however long both are"


def test_forked_acts_come_to_the_same_and_their_proof_revokes_the_machine(room: Room) -> None:
    """As moderator he lets somebody in in one story and puts Bob out in the other."""
    act(room.ann, "role", "launch", room.mal, role="moderator")
    left, right = Hand(room.mal, room.id), Hand(room.mal, room.id)
    one = left.write(ev.ADD, wire.Add(1, STRANGER))
    two = right.write(ev.REMOVE, wire.Remove(1, room.bob.account, ()))
    left.give(room.ann, one)
    right.give(room.bob, two)
    assert refused(room.bob, "set", "launch", changes=(("topic", "x"),)).kind == "no_right"
    room.stage.wait(AGREE_S)
    assert room.bob.account not in rooms.room(room.ann.look(), room.id).graph.members, "both know of it"
    by_ann = Hand(room.ann, room.id)
    proof = (one.header, one.signature, two.header, two.signature)
    cut = (wire.Cut(room.mal.device, left.seq, left.prev),)
    said = by_ann.write(ev.REVOKE, wire.Revoke(1, room.mal.device, proof, cut), goes_on=False)
    by_ann.give(room.ann, said, by=room.mal)
    act(room.ann, "invite", "launch", room.bob)
    room.agree()
    for actor in room.honest:
        graph = rooms.room(actor.look(), room.id).graph
        assert set(graph.revoked) == {room.mal.device}
        assert {room.bob.account, STRANGER, room.mal.account} <= set(graph.members)
    third = right.write(ev.REMOVE, wire.Remove(1, room.ann.account, ()))
    right.give(room.bob, third)
    right.give(room.ann, third)
    room.talk("he says no more")
    room.agree()
    assert room.ann.account in rooms.room(room.bob.look(), room.id).graph.members


# -- people -----------------------------------------------------------------------------------


def test_no_more_people_than_a_room_holds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_commands, "MAX_MEMBERS", 3)
    ann, bob, cem, dan = people = [stage.actor(name) for name in ("ann", "bob", "cem", "dan")]
    for other in people[1:]:
        stage.join(ann, other)
    room = create(ann, admission="office")
    assert refused(ann, "invite", "launch", bob, cem, dan).kind == "policy"
    act(ann, "invite", "launch", bob, cem)
    assert refused(ann, "invite", "launch", dan).kind == "policy"
    stage.wait(70)
    assert refused(dan, "join", "launch").kind == "policy"
    assert len(members(ann, room)) == 3


# -- elsewhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["message", "change"])
def test_what_is_said_in_a_direct_chat_changes_nothing_in_a_room(room: Room, first: str) -> None:
    """Only Bob has what Mallory writes to him; of the room he must show what Ann shows."""
    room.mal.say(room.bob, "hello bob")
    words = [
        room.hand.write(ev.MESSAGE, ev.Message(1, f"word {n}", b"", b"", (), False, n, ())) for n in range(4)
    ]
    edited, deleted, pinned, asked = (event_id(word.header, word.signature) for word in words)
    chat = Hand(room.mal, rooms.direct_id(room.mal.account, room.bob.account))
    changes = [
        chat.write(ev.EDIT, ev.Edit(1, edited, "word 5", (), b"", b"", False, 0, (), False)),
        chat.write(ev.DELETE, ev.Delete(1, deleted)),
        chat.write(ev.PIN, ev.Pin(1, pinned, False)),
        chat.write(ev.ACK, wire.Ack(1, asked)),
    ]
    if first == "change":
        chat.give(room.bob, *changes)
    for one in room.honest:
        room.hand.give(one, *words)
    if first == "message":
        chat.give(room.bob, *changes)
    for target in (edited, deleted, pinned, asked):
        room.ann.change("react", target.hex(), "👍")  # what is shown is computed anew
    room.agree()
    for one in room.honest:
        assert [f"word {n}" for n in range(4)] == [
            t for t in texts(one, room.id) if t and t.startswith("word")
        ]
        assert not any(view.pinned or view.edited or view.deleted for view in history(one, room.id))
        assert len(one.ledger.views.touches(room.id, asked)) == 1, "the reaction"


def test_a_body_is_not_lawfully_absent_by_a_delete_elsewhere(room: Room) -> None:
    """The author's delete in a direct chat lets nobody count as held what has no text."""
    room.mal.say(room.bob, "hello bob")
    word = room.hand.write(ev.MESSAGE, ev.Message(1, "word", b"", b"", (), False, 0, ()))
    target = event_id(word.header, word.signature)
    chat = Hand(room.mal, rooms.direct_id(room.mal.account, room.bob.account))
    chat.give(room.bob, chat.write(ev.DELETE, ev.Delete(1, target)))
    room.hand.give(room.bob, Event(word.header, word.signature, None))
    stored = room.bob.ledger.events.get(target)
    assert stored is not None
    assert not views.lawfully_absent(room.bob.look(), stored)
    room.hand.give(room.bob, word)
    assert "word" in texts(room.bob, room.id), "the text is taken when it comes"


# -- work ---------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items were hashed each time a set was made under a salt."""
    made: list[int] = []

    def counted(found: Iterable[items.Item], salt: bytes) -> tuple[items.VectorItems, dict[bytes, bytes]]:
        under = items.salted(found, salt)
        made.append(len(under[1]))
        return under

    monkeypatch.setattr(salts, "salted", counted)
    return made


def ask_salted(room: Room, salt: bytes, *, want: bool = False) -> bool:
    """Mallory asks Ann about this week under a salt; whether she answers."""
    week = items.week_of(room.ann.now().wall_ms)
    number = link_of(room.ann, room.mal)
    before = len(room.ann.sent)
    frame = (
        Want(room.id, False, (bytes(32),), salt, week)
        if want
        else Reconcile(room.id, False, 1, True, salt, week, b"\x61")
    )
    room.ann.feed(happened.FromPeer(number, frame))
    return any(isinstance(one, Given | Reconcile) for one in room.ann.sent[before:])


def test_a_salted_week_is_hashed_once_for_a_run(room: Room, hashed: list[int]) -> None:
    room.flood(20, room.ann)
    for want in (False, True, False, True):
        assert ask_salted(room, b"one", want=want)
    assert len(hashed) == 1


def test_ever_new_salts_are_answered_so_often_and_again_later(
    room: Room, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salts, "MAX_HASHED", 60)
    room.flood(20, room.ann)
    answered = [ask_salted(room, bytes([n]), want=n % 2 == 0) for n in range(1, 50)]
    assert answered == [True] * 3 + [False] * 46
    assert len(hashed) == 3
    assert ask_salted(room, b"\x03"), "a run that has begun goes on"
    room.stage.hang_up(link_of(room.ann, room.mal))
    room.stage.join(room.ann, room.mal)
    assert not ask_salted(room, b"new"), "another link is no other machine"
    room.stage.mono += salts.SPAN_S
    assert ask_salted(room, b"newer")
    room.talk("meanwhile")


def test_of_salted_sets_few_are_remembered(
    room: Room, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salts, "MAX_KEPT", 30)
    room.flood(20, room.ann, room.bob)
    ask_salted(room, b"one")
    memory = room.ann.look().cache.salted
    assert list(memory) == [(link_of(room.ann, room.mal), room.id, False)]
    week = items.week_of(room.ann.now().wall_ms)
    other = link_of(room.ann, room.bob)
    room.ann.feed(happened.FromPeer(other, Reconcile(room.id, False, 1, True, b"two", week, b"\x61")))
    assert list(room.ann.look().cache.salted) == [(other, room.id, False)]
    room.stage.cut()
    assert room.ann.look().cache.salted == {}


# -- dates --------------------------------------------------------------------------------


@pytest.mark.parametrize("removed", [True, False])
def test_a_name_dated_years_ahead_does_not_stand_for_ever(stage: Stage, removed: bool) -> None:
    room = Room(stage, role="moderator")
    ahead = room.ann.now().wall_ms + 10 * 365 * 86_400_000
    named = room.hand.write(ev.NAME, wire.Name(1, "name", "for ever"), hlc_ms=ahead)
    for one in room.honest:
        room.hand.give(one, named)
    if removed:
        act(room.ann, "remove", room.id.hex(), room.mal)
    act(room.ann, "set", room.id.hex(), changes=(("name", "ours"),))
    stage.wait(AGREE_S)
    late = stage.actor("cyn")  # who gets all of it in another order
    stage.join(room.ann, late)
    stage.join(room.bob, late)
    act(room.ann, "invite", room.id.hex(), late)
    stage.wait(AGREE_S)
    for one in (*room.honest, late):
        assert rooms.name(one.look(), rooms.room(one.look(), room.id).row) == "ours", one.name
