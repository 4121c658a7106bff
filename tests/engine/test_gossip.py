"""Crowded rooms, small: a handful of people with views of two, where the protocol has a hundred and eight."""

from __future__ import annotations

import pytest

from p2pchat.engine import gossip, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.context import View, ViewSizes
from p2pchat.ids import DeviceId, EventId, RoomId
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_ANNOUNCED, MAX_SOUGHT
from p2pchat.wire.messages.link import GIVE, HAVE, HOLD, PART, PUSH, Announce, Events
from p2pchat.wire.messages.network import Around
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act, create, link_of, say, texts

SIZES = ViewSizes(above=5, active=2, most=3, passive=3)
SOON_S = gossip.WAIT_S + 4 * gossip.AGAIN_S
"""Far below the 48 s after which repair would bring whatever is amiss."""
NAMES = ("ann", "bob", "cem", "dan", "eva", "fay", "gil", "hal")


class Room:
    """Everybody in Ann's room, all linked with all."""

    def __init__(self, stage: Stage, sizes: ViewSizes = SIZES, names: tuple[str, ...] = NAMES) -> None:
        self.stage = stage
        self.people = [stage.actor(name, sizes=sizes) for name in names]
        self.ann, self.bob = self.people[:2]
        for place, one in enumerate(self.people):
            for other in self.people[place + 1 :]:
                stage.join(one, other)
        self.id: RoomId = create(self.ann)
        act(self.ann, "invite", "launch", *self.people[1:])
        for _ in range(2):  # who was asked before he knew that he is in is asked again by what comes
            for one in self.people:
                say(one, "launch", f"{one.name} is here")
            stage.wait(gossip.REFILL_S + 1)
        self.forget()

    def forget(self) -> None:
        for one in self.people:
            one.sent.clear()

    def view(self, one: Actor) -> View | None:
        return one.node.live.views.get(self.id)

    def neighbours(self, one: Actor) -> dict[DeviceId, bool]:
        view = self.view(one)
        return dict(view.active) if view is not None else {}

    def everybody_reads(self, text: str, but: tuple[Actor, ...] = ()) -> None:
        lacking = [one.name for one in self.people if one not in but and text not in texts(one, self.id)]
        assert lacking == [], text

    def tell(self, whom: Actor, by: Actor, kind: int, *ids: bytes) -> None:
        """`by` says something about ids, whatever his own machine thinks of it."""
        said = Announce(self.id, kind, ids)
        whom.feed(happened.FromPeer(link_of(whom, by), said))

    def heard_from(self, by: Actor, kind: type[Record] = Announce) -> list[Record]:
        return [message for message in by.sent if isinstance(message, kind)]


@pytest.fixture
def room(stage: Stage) -> Room:
    return Room(stage)


def kinds(sent: list[Record]) -> list[int]:
    return [one.kind for one in sent if isinstance(one, Announce)]


def copies(room: Room) -> int:
    return sum(len(room.heard_from(one, Events)) for one in room.people)


# -- who is pushed to ----------------------------------------------------------------------------


def test_up_to_the_bound_everybody_is_pushed_to_and_nothing_is_announced(stage: Stage) -> None:
    room = Room(stage, SIZES, NAMES[:5])
    say(room.bob, "launch", "all five")
    room.everybody_reads("all five")
    assert len(room.heard_from(room.bob, Events)) == 4
    assert all(room.heard_from(one) == [] for one in room.people)
    assert all(room.view(one) is None for one in room.people)


def test_beyond_it_neighbours_are_pushed_to_and_the_rest_is_told(room: Room) -> None:
    say(room.bob, "launch", "first")
    room.forget()
    event = say(room.bob, "launch", "second")
    room.everybody_reads("second")
    eager = sum(room.neighbours(room.bob).values())
    assert 1 <= eager <= SIZES.most
    assert len(room.heard_from(room.bob, Events)) == eager
    told = [one for one in room.heard_from(room.bob) if isinstance(one, Announce) and one.kind == HAVE]
    assert [one.ids for one in told] == [(bytes.fromhex(event),)] * (7 - eager)


def test_neighbours_are_neighbours_on_both_sides_and_no_more_than_there_is_place_for(room: Room) -> None:
    by_device = {one.device: one for one in room.people}
    for one in room.people:
        assert 1 <= len(room.neighbours(one)) <= SIZES.most, one.name
        for device, pushed in room.neighbours(one).items():
            assert room.neighbours(by_device[device]).get(one.device) == pushed


def test_what_came_twice_comes_once_the_next_time(room: Room) -> None:
    """What is left of the pushes is a tree: one copy for each, and nobody asks."""
    for number in range(3):
        say(room.ann, "launch", f"settling {number}")
    room.forget()
    say(room.ann, "launch", "once")
    room.everybody_reads("once")
    assert copies(room) == 7
    room.forget()
    say(room.people[5], "launch", "once, from elsewhere")
    room.everybody_reads("once, from elsewhere")
    assert copies(room) <= 8
    asked = [kind for one in room.people for kind in kinds(room.heard_from(one)) if kind in (GIVE, PUSH)]
    assert asked == []


def test_a_room_that_empties_is_pushed_to_everybody_again(room: Room) -> None:
    say(room.bob, "launch", "a crowd")
    for one in room.people[4:]:
        act(one, "leave", "launch")
    room.forget()
    say(room.bob, "launch", "a few")
    for one in room.people[:4]:
        assert "a few" in texts(one, room.id)
        assert room.view(one) is None
    assert len(room.heard_from(room.bob, Events)) == 3


def test_a_view_is_kept_while_one_machine_comes_and_goes_at_the_bound(stage: Stage) -> None:
    room = Room(stage, ViewSizes(above=10, active=3, most=4, passive=3), (*NAMES, "ida", "jon", "kim"))
    say(room.ann, "launch", "eleven")
    assert room.view(room.ann) is not None
    stage.hang_up(link_of(room.ann, room.people[-1]))
    say(room.ann, "launch", "ten")
    assert room.view(room.ann) is not None
    stage.hang_up(link_of(room.ann, room.people[-2]))
    say(room.ann, "launch", "nine")
    assert room.view(room.ann) is None


# -- what does not come ---------------------------------------------------------------------------


def test_what_was_announced_and_does_not_come_is_asked_for(room: Room) -> None:
    """Bob's pushes are lost, all of them."""
    for one in room.people:
        say(one, "launch", f"by {one.name}")
    carry = room.stage.carry

    def lossy(sender: Actor, link: int, message: Record) -> None:
        if not (isinstance(message, Events) and sender is room.bob and not asked):
            carry(sender, link, message)

    asked: list[int] = []
    room.stage.carry = lossy  # type: ignore[method-assign]
    say(room.bob, "launch", "into the void")
    assert "into the void" not in texts(room.ann, room.id)
    asked.append(1)
    room.stage.wait(SOON_S)
    told = len(room.people) - 1 - sum(room.neighbours(room.bob).values())
    readers = [one for one in room.people if "into the void" in texts(one, room.id)]
    assert len(readers) >= 1 + told, "all who were told have asked"


def test_who_announces_and_does_not_give_is_passed_over(room: Room) -> None:
    """Mallory was first to tell of it; the next who told gives it."""
    ann = room.ann
    say(ann, "launch", "a word")
    mal, bob = [one for one in room.people[1:] if one.device not in room.neighbours(ann)][:2]
    carry = room.stage.carry
    room.stage.carry = (  # type: ignore[method-assign]
        lambda sender, link, message: (
            None if isinstance(message, Events | Announce) else carry(sender, link, message)
        )
    )
    event = bytes.fromhex(say(bob, "launch", "held back"))
    room.stage.carry = (  # type: ignore[method-assign]
        lambda sender, link, message: None if sender is mal else carry(sender, link, message)
    )
    room.tell(ann, mal, HAVE, event)
    room.tell(ann, bob, HAVE, event)
    room.forget()
    room.stage.wait(gossip.WAIT_S + 0.01)
    assert "held back" not in texts(ann, room.id)
    room.stage.wait(gossip.AGAIN_S)
    assert "held back" in texts(ann, room.id)
    assert kinds(room.heard_from(ann)).count(GIVE) == 2


def test_a_neighbour_who_only_announced_pushes_from_the_next_time_on(room: Room) -> None:
    ann, other = next(
        (one, two)
        for one in room.people
        for two in room.people
        if two.device in room.neighbours(one)
        and any(pushed for device, pushed in room.neighbours(one).items() if device != two.device)
        and any(pushed for device, pushed in room.neighbours(two).items() if device != one.device)
    )
    room.tell(ann, other, HOLD)
    room.tell(other, ann, HOLD)
    assert not room.neighbours(ann)[other.device]
    assert not room.neighbours(other)[ann.device]
    room.tell(ann, other, HAVE, b"\7" * 32)
    room.forget()
    room.stage.wait(gossip.WAIT_S + 0.01)
    assert room.heard_from(ann) == [Announce(room.id, PUSH, (b"\7" * 32,))]
    assert room.neighbours(ann)[other.device]
    assert room.neighbours(other)[ann.device]


def test_when_a_neighbour_goes_a_candidate_takes_his_place(room: Room) -> None:
    say(room.ann, "launch", "a word")
    view = room.view(room.ann)
    assert view is not None
    gone = [one for one in room.people if one.device in dict(view.active)]
    room.forget()
    for one in gone:
        room.stage.hang_up(link_of(room.ann, one))
    after = room.view(room.ann)
    assert after is not None
    assert {device for device, _ in after.active}.isdisjoint(one.device for one in gone)
    assert len(after.active) >= min(SIZES.active, len(view.passive))
    assert kinds(room.heard_from(room.ann)).count(PUSH) >= 1
    say(room.ann, "launch", "still heard")
    room.stage.wait(SOON_S)
    room.everybody_reads("still heard")


def test_who_has_just_started_finds_neighbours_with_the_first_word_he_hears_of(room: Room) -> None:
    say(room.ann, "launch", "a word")
    late = room.people[6]
    for other in room.people:
        if other is not late:
            room.stage.hang_up(link_of(late, other))
    late.node.live.views.clear()
    for other in room.people:
        if other is not late:
            room.stage.join(late, other)
    say(room.ann, "launch", "welcome")
    room.stage.wait(SOON_S)
    assert "welcome" in texts(late, room.id)
    assert len(room.neighbours(late)) >= 1


def test_somebody_out_is_no_neighbour(room: Room) -> None:
    say(room.ann, "launch", "a word")
    out = next(one for one in room.people[1:] if one.device in room.neighbours(room.ann))
    act(room.ann, "remove", "launch", out)
    room.forget()
    say(room.ann, "launch", "without him")
    room.stage.wait(SOON_S)
    room.everybody_reads("without him", but=(out,))
    assert "without him" not in texts(out, room.id)
    for one in room.people:
        if one is not out:
            assert out.device not in room.neighbours(one)


def test_old_news_is_not_passed_on(room: Room) -> None:
    """What comes by repair after an absence goes to everybody by repair."""
    for one in room.people:
        say(one, "launch", f"by {one.name}")
    off = room.people[3]
    for other in room.people:
        if other is not off:
            room.stage.hang_up(link_of(off, other))
    for number in range(20):
        say(off, "launch", f"alone {number}")
    room.stage.wait(gossip.LIVE_MS / 1000 + 1)
    room.forget()
    room.stage.join(off, room.ann)
    assert "alone 19" in texts(room.ann, room.id)
    assert room.heard_from(room.ann, Events) == []


# -- bounds ------------------------------------------------------------------------------------------


def test_ids_that_do_not_exist_take_a_bounded_place_and_are_forgotten(room: Room) -> None:
    mal = room.people[7]
    for start in range(0, 4000, MAX_ANNOUNCED):
        ids = [EventId(number.to_bytes(32)) for number in range(start, start + MAX_ANNOUNCED)]
        room.tell(room.ann, mal, HAVE, *ids)
        room.tell(room.ann, mal, HAVE, *ids)
    live = room.ann.node.live
    assert len(live.sought) == MAX_SOUGHT
    assert live.sought_of == {mal.device: MAX_SOUGHT}
    room.forget()
    room.stage.wait(gossip.WAIT_S + 2 * gossip.AGAIN_S)
    asked = [one for one in room.heard_from(room.ann) if isinstance(one, Announce) and one.ids]
    assert sum(len(one.ids) for one in asked) == MAX_SOUGHT, "each once"
    assert (live.sought, live.sought_of) == ({}, {})
    say(room.people[2], "launch", "all the same")
    room.stage.wait(SOON_S)
    room.everybody_reads("all the same")


def test_where_all_refuse_nobody_is_asked_without_end(room: Room) -> None:
    say(room.ann, "launch", "a word")
    room.forget()
    for _ in range(50):
        for other in room.people[1:]:
            room.tell(room.ann, other, PART)
    asked = kinds(room.heard_from(room.ann)).count(PUSH)
    assert asked <= len(room.people) - 1 + SIZES.passive + SIZES.active
    say(room.ann, "launch", "told all the same")
    room.stage.wait(SOON_S)
    room.everybody_reads("told all the same")


def test_no_more_neighbours_than_there_is_place_for_however_many_ask(room: Room) -> None:
    say(room.ann, "launch", "a word")
    room.forget()
    for _ in range(5):
        for other in room.people[1:]:
            room.tell(room.ann, other, PUSH)
    assert len(room.neighbours(room.ann)) == SIZES.most
    assert PART in kinds(room.heard_from(room.ann))


@pytest.mark.parametrize(
    "said",
    [
        Announce(b"", HAVE, (b"short",)),
        Announce(b"", 5, ()),
        Announce(b"", -1, ()),
        Announce(b"", HAVE, (bytes(32),) * (MAX_ANNOUNCED + 1)),
    ],
)
def test_an_announcement_out_of_form_ends_the_link_of_who_sends_it(room: Room, said: Announce) -> None:
    mal = room.people[7]
    number = link_of(room.ann, mal)
    room.ann.feed(happened.FromPeer(number, Announce(room.id, said.kind, said.ids)))
    assert room.ann.closed == ["announcement out of range"]
    assert number not in room.stage.links


def test_a_stranger_learns_nothing_and_is_asked_for_nothing(room: Room) -> None:
    """Not what is said, not who is in: his announcements are as if they had not been made."""
    out = room.stage.actor("oto", sizes=SIZES)
    room.stage.join(out, room.ann)
    event = bytes.fromhex(say(room.ann, "launch", "for members"))
    room.forget()
    out.sent.clear()
    for kind in (HAVE, GIVE, PUSH, HOLD, PART):
        room.tell(room.ann, out, kind, event if kind != HAVE else bytes(32))
    room.stage.wait(SOON_S)
    assert [said for said in room.ann.sent if not isinstance(said, Around)] == []  # whom he knows is asked
    assert out.device not in room.neighbours(room.ann)
    assert rooms.direct_id(room.ann.account, out.account) != room.id
