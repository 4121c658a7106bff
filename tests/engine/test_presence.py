"""Availability between people: what is chosen, who sees it, and what gives nothing away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview, people
from p2pchat.engine.presence import IDLE_S, WITHHELD_S
from p2pchat.engine.presence_inputs import Active, Announcing, DoNotDisturb, SetPresence
from p2pchat.engine.presence_words import WORDS
from p2pchat.errors import CommandError
from p2pchat.ids import EventId
from p2pchat.model import Availability, PeerView
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.link import Receipt, RegisterOffer, Registers, RegisterWant
from p2pchat.wire.messages.presence import Chosen, Presence
from p2pchat.wire.messages.registers import PRESENCE, Register, RegisterName
from tests.engine.files_play import offer_of, send, state
from tests.engine.play import Actor, Stage
from tests.engine.test_presence_laws import tells

HOUR_MS = 3_600_000


def sees(who: Actor, whom: Actor) -> PeerView:
    """What `who` is shown of the one machine of `whom`."""
    (found,) = [peer for peer in overview.peer_views(who.look()) if peer.device == whom.device]
    return found


def word(who: Actor, whom: Actor) -> str:
    return sees(who, whom).presence


def choose(who: Actor, state: str | None = None, **more: object) -> Availability:
    answer = who.ask(lambda r: SetPresence(r, state, **more))  # type: ignore[arg-type]
    assert isinstance(answer, Availability), answer
    return answer


def refused(who: Actor, state: str | None = None, **more: object) -> CommandError:
    return who.refused(lambda r: SetPresence(r, state, **more))  # type: ignore[arg-type]


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    ann, bob = stage.actor("Ann"), stage.actor("Bob")
    stage.join(ann, bob)
    return ann, bob


def told(who: Actor) -> list[str]:
    """Types of what was told since this was last asked."""
    found = [tell.type for tell in who.told]
    who.told.clear()
    return found


# -- what is chosen ------------------------------------------------------------------------------


def test_a_state_and_a_message_are_seen_by_the_others(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    assert word(bob, ann) == "available"
    told(bob)
    mine = choose(ann, "busy", message="  in a\n meeting ")
    assert (mine.state, mine.shown, mine.message) == ("busy", "busy", "in a meeting")
    assert (word(bob, ann), sees(bob, ann).status_message) == ("busy", "in a meeting")
    assert told(bob) == ["presence"]
    choose(ann, "busy", message="in a meeting")
    assert told(bob) == []  # nothing has changed
    choose(ann, message="until five")
    assert (word(bob, ann), sees(bob, ann).status_message) == ("busy", "until five")
    choose(ann, "away")
    assert (word(bob, ann), sees(bob, ann).status_message) == ("away", "")  # a state brings its own message


def test_it_outlives_a_restart_and_is_told_to_who_comes_later(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    choose(ann, "busy", message="writing")
    stage.cut()
    ann.node.forget()
    assert word(bob, ann) == "offline"
    assert sees(bob, ann).status_message == ""
    stage.join(bob, ann)
    assert (word(bob, ann), sees(bob, ann).status_message) == ("busy", "writing")


def test_it_ends_when_its_time_is_over(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(ann, hide_from=())
    mine = choose(ann, "busy", message="lunch", until_ms=ann.now().wall_ms + HOUR_MS)
    assert mine.until_ms == ann.now().wall_ms + HOUR_MS
    stage.wait(3599)
    assert word(bob, ann) == "busy"
    stage.wait(2)
    assert (word(bob, ann), sees(bob, ann).status_message) == ("available", "")
    now = choose(ann)
    assert (now.state, now.message, now.until_ms) == ("available", "", None)


def test_invisible_for_a_while_ends_by_itself(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(ann, "invisible", until_ms=ann.now().wall_ms + HOUR_MS)
    assert word(bob, ann) == "offline"
    stage.wait(3601)
    assert word(bob, ann) == "available"


@pytest.mark.parametrize(
    ("state", "more", "message"),
    [
        ("asleep", {}, "'asleep' is none of"),
        ("busy", {"message": "x" * 201}, "201 characters"),
        (None, {"until_ms": 2**50}, "goes with a state"),
        ("busy", {"until_ms": 1}, "over already"),
        (None, {"hide_from": ("nobody",)}, "nobody"),
    ],
)
def test_what_cannot_be_chosen_changes_nothing(
    state: str | None, more: dict[str, object], message: str, stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    choose(ann, "away", message="out")
    assert message in refused(ann, state, **more).message
    assert (word(bob, ann), sees(bob, ann).status_message) == ("away", "out")


def test_idle_is_away_and_work_is_back(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.wait(2 * IDLE_S)
    assert word(bob, ann) == "available"  # no front end keeps account of anybody
    ann.do(Active)
    stage.wait(IDLE_S - 1)
    assert word(bob, ann) == "available"
    stage.wait(2)
    assert word(bob, ann) == "away"
    ann.say(bob, "here again")
    assert word(bob, ann) == "available"
    stage.wait(IDLE_S / 2)
    ann.do(Active)
    stage.wait(IDLE_S - 1)
    assert word(bob, ann) == "available"
    stage.wait(2)
    assert word(bob, ann) == "away"
    choose(ann, "available")
    assert word(bob, ann) == "available"


def test_hours_of_rest_make_busy_of_available_only(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    ann.do(lambda r: DoNotDisturb(r, on=True))
    assert word(bob, ann) == "busy"
    assert (choose(ann).shown, choose(ann).do_not_disturb) == ("busy", True)
    choose(ann, "away")
    assert word(bob, ann) == "away"
    choose(ann, "available")
    ann.do(lambda r: DoNotDisturb(r, on=False))
    assert word(bob, ann) == "available"


def test_a_word_that_was_lost_is_said_again(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    (link,) = ann.node.live.links
    _lose(stage, lambda: choose(ann, "busy"))
    assert word(bob, ann) == "available"
    ann.feed(happened.LinkDrained(link))
    stage.settle()
    assert word(bob, ann) == "busy"


def _lose(stage: Stage, act: Callable[[], object]) -> None:
    """Everything that is sent meanwhile finds the queue full."""
    carry = stage.carry
    stage.carry = lambda *_: None  # type: ignore[method-assign]
    act()
    stage.carry = carry  # type: ignore[method-assign]


# -- hiding ----------------------------------------------------------------------------------------


def test_who_is_hidden_from_me_looks_as_if_he_had_left(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.wait(100)
    told(bob)
    hid = ann.now().wall_ms
    choose(ann, "invisible")
    assert told(bob) == ["peer"]
    stage.wait(100)
    now = sees(bob, ann)
    assert (now.presence, now.connected, now.address) == ("offline", False, None)
    assert (now.status_message, now.last_seen_ms) == ("", hid)
    stage.cut()  # and neither going nor coming back says anything
    stage.wait(100)
    stage.join(ann, bob)
    assert told(bob) == []
    assert (sees(bob, ann).connected, sees(bob, ann).last_seen_ms) == (False, hid)
    bob.node.forget()
    assert sees(bob, ann).last_seen_ms == hid
    choose(ann, "available")
    assert told(bob) == ["peer"]
    assert sees(bob, ann).connected


def test_the_invisible_write_and_are_written_to(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(ann, "invisible")
    sent = ann.say(bob, "psst")
    view = ann.ledger.views.message(_id(sent))
    assert view is not None
    assert view.state == "delivered"  # Bob hides from nobody
    heard = _id(bob.say(ann, "who is there?"))
    assert ann.ledger.views.message(heard) is not None


def _id(text: str) -> EventId:
    return EventId(bytes.fromhex(text))


def _state(who: Actor, ident: str) -> str:
    view = who.ledger.views.message(_id(ident))
    assert view is not None
    return view.state


def test_receipts_of_the_invisible_wait_and_then_come_at_no_telling_time(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    bob.say(ann, "before")
    choose(ann, "invisible")
    ann.sent.clear()
    first = bob.say(ann, "are you there?")
    stage.wait(WITHHELD_S[0] - 1)
    stage.cut()
    stage.join(bob, ann)  # a new link offers nothing either
    assert _state(bob, first) == "queued"
    assert not [one for one in ann.sent if isinstance(one, Receipt)]
    assert not [one for one in ann.sent if isinstance(one, RegisterOffer) and tells(one)]
    stage.wait(WITHHELD_S[1] - WITHHELD_S[0] + 2)
    assert _state(bob, first) == "delivered"
    second = bob.say(ann, "still not?")
    assert _state(bob, second) == "queued"
    choose(ann, "available")
    assert _state(bob, second) == "delivered"


def test_who_is_answered_has_his_receipts_at_once(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(ann, hide_from=("Bob",))
    asked = bob.say(ann, "ten?")
    assert _state(bob, asked) == "queued"
    ann.say(bob, "ten")
    assert _state(bob, asked) == "delivered"
    again = bob.say(ann, "thanks")
    assert _state(bob, again) == "queued"


def test_reading_is_not_told_while_hidden(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    ann.do(lambda r: happened.Configure(r, read_receipts=True))
    choose(ann, "invisible")
    asked = bob.say(ann, "read this")
    ann.do(lambda r: happened.ConfirmShown(r, "Bob", (asked,)))
    assert _state(bob, asked) == "queued"
    choose(ann, "available")
    assert _state(bob, asked) == "read"


def test_no_file_is_taken_unasked_while_hidden(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    whom = bob.account.hex()
    ann.do(lambda r: happened.SetTrust(r, "verify", whom))
    ann.do(lambda r: happened.FileAuto(r, whom, on=True))
    ann.do(lambda r: happened.Configure(r, read_receipts=False, file_auto_max=10**9))
    choose(ann, hide_from=("Bob",))
    hidden, shown = offer_of(bob.account, "hidden"), offer_of(bob.account, "shown")
    send(bob, ann.account.hex(), hidden)
    assert (state(ann, hidden), state(bob, hidden)) == ("offered", "offered")
    choose(ann, show_all=True)
    send(bob, ann.account.hex(), shown)
    assert state(ann, shown) == "active"


def test_chosen_people_are_hidden_from_and_no_others(stage: Stage) -> None:
    ann, bob, carl = (stage.actor(name) for name in ("Ann", "Bob", "Carl"))
    stage.join(ann, bob)
    stage.join(ann, carl)
    mine = choose(ann, "busy", hide_from=("Bob",))
    assert (mine.hidden_from, mine.shown) == ((bob.account,), "busy")
    assert (word(bob, ann), word(carl, ann)) == ("offline", "busy")
    mine = choose(ann, hide_from=("Carl",))
    assert mine.hidden_from == tuple(sorted((bob.account, carl.account)))
    assert (word(bob, ann), word(carl, ann)) == ("offline", "offline")
    assert choose(ann, show_all=True).hidden_from == ()
    assert (word(bob, ann), word(carl, ann)) == ("busy", "busy")
    choose(ann, "invisible")
    assert choose(ann, show_all=True).state == "available"


def _office(stage: Stage) -> dict[str, Actor]:
    """Ann has written to Dan and Eve, and is in a room with Rob and Eve; Sam is just there."""
    people = {name: stage.actor(name, lobby=True) for name in ("Ann", "Dan", "Rob", "Eve", "Sam")}
    ann = people["Ann"]
    for name, other in people.items():
        if name != "Ann":
            stage.join(ann, other)
    ann.do(lambda r: happened.CreateRoom(r, "launch"))
    ann.do(lambda r: happened.RoomAct(r, "invite", "launch", ("Rob", "Eve")))
    ann.say(people["Dan"], "hi")
    ann.say(people["Eve"], "hello")
    for name in ("Rob", "Sam"):
        people[name].say(ann, "who only writes to her does not come to see her")
    stage.wait(5)
    return people


@pytest.mark.parametrize(
    ("how", "seen_by"),
    [
        ({}, "Dan Rob Eve Sam"),
        ({"hide_direct": True}, "Rob Eve"),
        ({"hide_rooms": True}, "Dan Eve"),
        ({"hide_direct": True, "hide_rooms": True}, ""),
        ({"hide_rooms": True, "hide_from": ("Eve",)}, "Dan"),
    ],
)
def test_hidden_from_direct_chats_or_from_rooms(how: dict[str, object], seen_by: str, stage: Stage) -> None:
    people = _office(stage)
    choose(people["Ann"], **how)
    found = [name for name in people if name != "Ann" and word(people[name], people["Ann"]) == "available"]
    assert found == seen_by.split()


def test_who_gets_to_know_me_better_sees_me(stage: Stage) -> None:
    people = _office(stage)
    ann, sam = people["Ann"], people["Sam"]
    choose(ann, hide_direct=True)
    assert word(sam, ann) == "offline"
    ann.do(lambda r: happened.RoomAct(r, "invite", "launch", ("Sam",)))
    stage.wait(5)
    assert word(sam, ann) == "available"
    ann.do(lambda r: happened.RoomAct(r, "remove", "launch", ("Sam",)))
    stage.wait(5)
    assert word(sam, ann) == "offline"
    choose(ann, show_all=True, hide_rooms=True)
    assert word(sam, ann) == "offline"
    ann.say(sam, "now we talk")
    assert word(sam, ann) == "available"


def test_nobody_sees_me_so_nothing_is_announced(stage: Stage) -> None:
    ann = stage.actor("Ann")

    def effects(act: Callable[[int], happened.Input]) -> list[bool]:
        found: list[bool] = []
        before = ann._perform
        ann._perform = lambda one: found.append(one.on) if isinstance(one, Announcing) else before(one)  # type: ignore[method-assign]
        ann.ask(act)
        ann._perform = before  # type: ignore[method-assign]
        return found

    assert effects(lambda r: SetPresence(r, "busy")) == []
    assert effects(lambda r: SetPresence(r, "invisible")) == [False]
    assert effects(lambda r: SetPresence(r, "invisible", message="x")) == []
    assert effects(lambda r: SetPresence(r, "available")) == [True]
    assert effects(lambda r: SetPresence(r, hide_direct=True)) == []
    assert effects(lambda r: SetPresence(r, hide_rooms=True)) == [False]


# -- my other machines --------------------------------------------------------------------------


def test_my_machines_agree_whatever_was_said_where(stage: Stage) -> None:
    ann, bob = stage.actor("Ann"), stage.actor("Bob")
    desk = stage.actor("desk", of=ann)
    stage.join(ann, bob)
    stage.join(desk, bob)
    choose(ann, "busy", message="one", hide_from=())
    assert (word(bob, ann), word(bob, desk)) == ("busy", "available")  # they have not met yet
    stage.join(ann, desk)
    assert word(bob, desk) == "busy"
    choose(desk, "invisible")
    assert (word(bob, ann), word(bob, desk)) == ("offline", "offline")
    choose(ann, "available", hide_from=("Bob",))
    assert choose(desk).hidden_from == (bob.account,)
    assert (word(bob, ann), word(bob, desk)) == ("offline", "offline")
    choose(desk, show_all=True)
    assert (word(bob, ann), word(bob, desk)) == ("available", "available")


def test_nobody_else_is_given_what_i_have_chosen(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(ann, "busy", hide_from=("Bob",))
    given = [one for sent in ann.sent if isinstance(sent, Registers) for one in sent.registers]
    assert PRESENCE not in [decode(Register, one.register).kind for one in given]
    assert bob.ledger.people.registers(PRESENCE) == []
    name = RegisterName(ann.device, PRESENCE, b"", b"", 1)
    (link,) = ann.node.live.links
    ann.feed(happened.FromPeer(link, RegisterWant((name,))))  # nor if he asks for it
    stage.settle()
    assert bob.ledger.people.registers(PRESENCE) == []


def test_what_others_say_they_have_chosen_is_passed_over(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    choose(bob, "invisible", hide_from=("Ann",))
    row = bob.look().cache.presence
    assert row is not None
    (link,) = ann.node.live.links
    ann.feed(happened.FromPeer(link, Registers((people.signed_register(row),))))
    assert choose(ann).state == "available"
    assert ann.ledger.people.registers(PRESENCE) == []


@pytest.mark.parametrize(
    "said",
    [
        Chosen("offline", "", 0, (), False, False),
        Chosen("busy", "x" * 201, 0, (), False, False),
        Chosen("busy", "", -1, (), False, False),
        Chosen("busy", "", 0, (b"short",), False, False),
        Chosen("busy", "", 0, (bytes(32),) * 257, False, False),
    ],
)
def test_my_own_machine_out_of_form_ends_its_link(said: Chosen, stage: Stage) -> None:
    ann = stage.actor("Ann")
    desk = stage.actor("desk", of=ann)
    stage.join(ann, desk)
    ann.closed.clear()
    (number,) = ann.node.live.links

    def publish(ctx: overview.Context) -> None:
        row = people.publish(ctx, PRESENCE, said)
        ctx.out.append(happened.Send(next(iter(ctx.live.links)), Registers((people.signed_register(row),))))

    desk.write(publish)
    stage.settle()
    assert len(ann.closed) == 1
    assert choose(ann).state == "available"
    assert number not in ann.node.live.links


def test_who_changes_all_the_time_is_not_heard_for_ever(pair: tuple[Actor, Actor]) -> None:
    """Each change is told to front ends, and going is written down."""
    ann, bob = pair
    number = ann.look().live.by_device[bob.device]
    told(ann)
    for turn in range(500):
        said = Presence("offline", "") if turn % 2 else Presence("busy", str(turn))
        ann.feed(happened.FromPeer(number, said))
    assert len(told(ann)) < 2 * WORDS
    assert ann.closed == ["presence too often"]


def test_an_honest_crowd_of_changes_is_heard(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    for turn in range(100):
        ann.stage.mono += 1
        choose(bob, "busy", message=str(turn))
    for _ in range(50):
        choose(bob, "busy", message="the same again")
    assert word(ann, bob) == "busy"
    assert ann.closed == []


def test_a_room_into_which_a_stranger_brings_me_does_not_show_me_to_him(stage: Stage) -> None:
    ann, eve, bob = stage.actor("Ann"), stage.actor("Eve"), stage.actor("Bob")
    stage.join(ann, bob)
    ann.do(lambda r: happened.SetTrust(r, "verify", bob.account.hex()))
    choose(ann, hide_direct=True)
    stage.join(ann, eve)
    for one, name in ((eve, "trap"), (bob, "office")):
        one.do(lambda r, n=name: happened.CreateRoom(r, n))  # type: ignore[misc]
        one.do(lambda r, n=name: happened.RoomAct(r, "invite", n, (ann.account.hex(),)))  # type: ignore[misc]
    assert word(eve, ann) == "offline"
    assert word(bob, ann) == "available", "whom she has verified"
    ann.do(lambda r: happened.Post(r, "trap", "who are you?"))
    assert word(eve, ann) == "available", "where she writes she is seen"


def test_verifying_who_brought_me_in_shows_me_there(stage: Stage) -> None:
    ann, bob = stage.actor("Ann"), stage.actor("Bob")
    choose(ann, hide_direct=True)
    stage.join(ann, bob)
    bob.do(lambda r: happened.CreateRoom(r, "office"))
    bob.do(lambda r: happened.RoomAct(r, "invite", "office", (ann.account.hex(),)))
    assert word(bob, ann) == "offline"
    ann.do(lambda r: happened.SetTrust(r, "verify", bob.account.hex()))
    assert word(bob, ann) == "available"
