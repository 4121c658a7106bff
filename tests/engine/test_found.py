"""What the simulators found, as small plays: each failed once.

Kept apart so that a reader sees which mistakes a seed finds that nobody thought of.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import log, overview, rooms
from p2pchat.ids import EventId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Events, Given, KeyRequest, Reconcile, Want, decode_frame
from tests.engine.play import Actor, Stage


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    return stage.actor("ann"), stage.actor("bob")


def link_of(actor: Actor, other: Actor) -> int:
    return actor.node.live.by_device[other.device]


def said(actor: Actor) -> list[Event]:
    """All events the actor has sent, in order."""
    return [event for frame in actor.sent if isinstance(frame, Events) for event in frame.events]


def posts(whom: Actor, *texts: str) -> list[happened.Input]:
    return [happened.Post(900 + n, whom.account.hex(), text) for n, text in enumerate(texts)]


def alone(events: Sequence[Event]) -> Record:
    return Events(tuple(events))


def run_of_three(stage: Stage, ann: Actor, bob: Actor) -> list[Event]:
    """Three messages of one batch, the last of which is signed; bob has none of them."""
    stage.join(ann, bob)
    ann.say(bob, "before")  # the epoch is known on both sides
    ann.sent.clear()
    ann.feed(*posts(bob, "one", "two", "three"))
    stage.mail.clear()
    run = said(ann)
    assert [bool(event.signature) for event in run] == [False, False, True]
    return run


def texts(actor: Actor, other: Actor) -> list[str | None]:
    room = rooms.direct_id(actor.account, other.account)
    found = [actor.ledger.views.message(one) for one in actor.ledger.views.unread(room, 99)]
    return [view.text for view in found if view is not None]


def test_a_question_in_the_batch_that_brings_the_answer(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    """Events counted at the end of a batch must be counted before a reconciliation in it."""
    ann, bob = pair
    run = run_of_three(stage, ann, bob)
    ann.sent.clear()
    ann.feed(happened.TimerFired("repair"))
    question = next(frame for frame in ann.sent if isinstance(frame, Reconcile))
    content = Reconcile(question.room, False, 77, True, b"", 0, question.message)
    number = link_of(bob, ann)
    bob.ledger.begin()  # by hand: the stage would try each input alone if the batch failed
    for frame in (alone(run), content):
        bob.node.handle(happened.FromPeer(number, frame), bob.now())
    bob.node.close_batch(bob.now())
    bob.ledger.commit()
    assert texts(bob, ann) == ["before", "one", "two", "three"]


def test_what_was_parked_before_a_restart_is_taken_after_it(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    run = run_of_three(stage, ann, bob)
    number = link_of(bob, ann)
    bob.feed(happened.FromPeer(number, alone(run[:2])))
    assert texts(bob, ann) == ["before"]
    bob.node.forget()  # as after a restart: nothing is remembered but the archive
    bob.feed(happened.FromPeer(number, alone(run[2:])))
    assert texts(bob, ann) == ["before", "one", "two", "three"]
    assert bob.ledger.connection.execute("SELECT count(*) FROM parked").fetchone() == (0,)


def test_an_unsigned_event_may_come_after_its_cover(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    run = run_of_three(stage, ann, bob)
    number = link_of(bob, ann)
    for one in reversed(run):
        bob.feed(happened.FromPeer(number, alone([one])))
    assert sorted(map(str, texts(bob, ann))) == ["before", "one", "three", "two"]
    assert bob.ledger.connection.execute("SELECT count(*) FROM parked").fetchone() == (0,)


def test_both_repair_when_a_link_takes_over_late(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    """Bob's machine died without a word; ann still speaks into the dead link for a while."""
    ann, bob = pair
    stage.join(ann, bob)
    stage.links.clear()  # nobody hears of it
    bob.node.live.links.clear()
    bob.node.live.by_device.clear()
    stage.join(bob, ann)
    lost = ann.say(bob, "into the dead link")
    assert texts(bob, ann) == []
    stage.wait(3.0)  # the old link does not answer the ping: the new one takes over
    assert texts(bob, ann) == ["into the dead link"]
    assert ann.ledger.events.get(EventId(bytes.fromhex(lost))) is not None


def test_a_text_taken_back_before_it_came_never_stays(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    run = run_of_three(stage, ann, bob)
    ann.sent.clear()
    gone = log.event_id(run[2].header, run[2].signature)
    ann.feed(happened.Change(950, "delete", gone.hex()))
    stage.mail.clear()
    number = link_of(bob, ann)
    bob.feed(happened.FromPeer(number, alone(said(ann))))  # the delete overtakes the message
    bob.feed(happened.FromPeer(number, alone(run)))
    stored = bob.ledger.events.get(gone)
    assert stored is not None
    assert stored.body is None
    assert texts(bob, ann) == ["before", "one", "two"]


def test_keys_are_asked_for_when_somebody_comes_who_has_them(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    ann.say(bob, "sealed")
    room = rooms.direct_id(ann.account, bob.account)
    epoch = bob.ledger.rooms.epochs(room)[0]
    stage.cut()
    bob.ledger.begin()
    bob.ledger.rooms.put_epoch(
        type(epoch)(*(None if f == "key" else getattr(epoch, f) for f in epoch.__slots__))
    )
    bob.ledger.commit()
    bob.node.forget()
    bob.sent.clear()
    stage.join(ann, bob)
    assert any(isinstance(frame, KeyRequest) for frame in bob.sent)
    assert bob.ledger.rooms.epochs(room)[0].key == epoch.key


def test_a_given_of_an_earlier_run_does_not_end_this_one(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    ann.say(bob, "before")
    ann.feed(*posts(bob, "lost"))
    stage.mail.clear()
    bob.feed(happened.TimerFired("repair"))
    room = rooms.direct_id(ann.account, bob.account)
    for control in (True, False):
        bob.feed(happened.FromPeer(link_of(bob, ann), Given(room, control)))
    stage.settle()
    assert texts(bob, ann) == ["before", "lost"]


def test_what_was_dropped_for_lack_of_room_is_asked_for_again(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    """More than is pushed unasked, so bob must ask; and his last question was never answered."""
    ann, bob = pair
    stage.join(bob, ann)
    ann.say(bob, "before")
    ann.feed(*posts(bob, *(f"number {n}" for n in range(300))))
    stage.mail.clear()
    bob.feed(happened.TimerFired("repair"))
    while not any(isinstance(frame, Want) for frame in bob.sent):
        number, raw = stage.mail.popleft()
        stage.links[number][0].feed(happened.FromPeer(number, decode_frame(raw)))
    stage.mail.clear()  # the want came, its answer did not fit
    ann.feed(happened.LinkDrained(link_of(ann, bob)))
    stage.settle()
    assert len(bob.ledger.views.unread(rooms.direct_id(ann.account, bob.account), 999)) == 301


def test_a_corrected_clock_is_not_passed_on_as_ones_own(stage: Stage) -> None:
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    for wrong in (bob, cem):
        wrong.skew_ms = 86_400_000
        stage.join(ann, wrong)
        ann.feed(happened.SetTrust(9, "verify", wrong.account.hex()))
    assert ann.node.live.shift_ms == 86_400_000
    assert overview.hello(ann.look()).wall_ms == ann.now().wall_ms


def test_timers_of_links_that_are_gone_do_not_pile_up(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    for _ in range(20):
        stage.join(ann, bob)
        stage.cut()
    assert len(ann.node.live.timers) < 10
