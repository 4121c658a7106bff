"""Keys grow old: prekeys and room keys are renewed every week, old secrets go after three more."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.model import EpochRow, PrekeyRow
from p2pchat.wire.messages.link import Events, Registers
from tests.engine.play import Actor, Stage

DAY_S = 24 * 3600
WEEK_S = 7 * DAY_S


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    return ann, bob


def later(stage: Stage, seconds: float, *whose: Actor) -> None:
    """Time passes in one step; the timer that tends prekeys rings."""
    stage.mono += seconds
    for actor in whose:
        actor.feed(happened.TimerFired("prekeys"))
    stage.settle()


def prekeys(actor: Actor) -> list[PrekeyRow]:
    return actor.ledger.rooms.prekeys()


def number_known(actor: Actor, other: Actor) -> int:
    """Which of the other's prekeys would be sealed to."""
    return actor.look().cache.prekeys[other.device].n


# -- prekeys ---------------------------------------------------------------------------------


def test_a_prekey_is_renewed_when_it_is_a_week_old_and_told_to_who_is_here(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    later(stage, WEEK_S - 60, ann)
    assert [row.n for row in prekeys(ann)] == [1]
    ann.sent.clear()
    later(stage, 60, ann)
    assert [row.n for row in prekeys(ann)] == [1, 2]
    assert [type(message) for message in ann.sent] == [Registers]
    assert number_known(bob, ann) == 2
    later(stage, 3600, ann)
    assert [row.n for row in prekeys(ann)] == [1, 2]


def test_a_prekey_renewed_while_alone_is_learnt_at_the_next_meeting(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.cut()
    later(stage, WEEK_S, ann)
    assert number_known(bob, ann) == 1
    stage.join(bob, ann)
    assert number_known(bob, ann) == 2
    said = bob.say(ann, "sealed to the new one")
    assert ann.ledger.views.find(said)


def test_a_secret_goes_three_weeks_after_its_successor_was_seen_and_all_was_repaired(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    ann.say(bob, "so that there is a room to repair")
    stage.cut()
    later(stage, WEEK_S, ann)
    assert prekeys(ann)[0].replaced_seen_ms is None, "nobody has seen the new one"
    later(stage, 30 * DAY_S, ann)
    assert prekeys(ann)[0].secret, "unseen, it may still be sealed to"
    stage.join(ann, bob)
    assert prekeys(ann)[0].replaced_seen_ms == ann.now().wall_ms
    stage.cut()
    later(stage, 21 * DAY_S - 60, ann)
    stage.join(ann, bob)
    later(stage, 0, ann)
    assert prekeys(ann)[0].secret, "a minute early"
    stage.cut()
    later(stage, 120, ann)
    assert prekeys(ann)[0].secret, "what was sealed before may still be on its way: no repair since"
    stage.join(ann, bob)
    later(stage, 0, ann)
    kept = prekeys(ann)
    assert kept[0].secret == b""
    assert all(row.secret for row in kept[-2:])
    later(stage, 400 * DAY_S, ann)
    assert prekeys(ann)[-1].secret, "the newest never goes, however old"


# -- room keys -------------------------------------------------------------------------------


def epochs(actor: Actor, other: Actor) -> list[EpochRow]:
    room = rooms.direct_id(actor.account, other.account)
    return sorted(actor.ledger.rooms.epochs(room), key=lambda row: row.gen)


def epoch_of(actor: Actor, said: str) -> bytes:
    """The key under which a message was sent."""
    event = actor.ledger.events.get(bytes.fromhex(said))  # type: ignore[arg-type]
    assert event is not None
    return event.epoch


def ring(actor: Actor, kind: str) -> None:
    """The timers of that kind ring, wherever they stand."""
    for name in [name for name in actor.timers if name.startswith(kind)]:
        del actor.timers[name]
        actor.feed(happened.TimerFired(name))
    actor.stage.settle()


def test_a_room_key_is_replaced_within_a_minute_of_the_first_message_after_a_week(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    ann.say(bob, "one")
    (first,) = epochs(ann, bob)
    stage.mono += WEEK_S - 3600
    ann.say(bob, "two")
    ring(ann, "rotate")
    assert epochs(ann, bob) == [first]
    stage.mono += 2 * 3600
    assert epoch_of(ann, ann.say(bob, "three")) == first.epoch, "the message does not wait for a new key"
    (due,) = (at for name, at in ann.timers.items() if name.startswith("rotate"))
    assert stage.mono <= due <= stage.mono + 60
    ring(ann, "rotate")
    old, new = epochs(ann, bob)
    assert (old.epoch, new.gen) == (first.epoch, 2)
    for speaker, hearer in (pair, pair[::-1]):
        said = speaker.say(hearer, "four")
        assert epoch_of(speaker, said) == new.epoch
        view = hearer.ledger.views.message(bytes.fromhex(said))  # type: ignore[arg-type]
        assert view is not None
        assert view.text == "four"


def test_of_two_who_would_replace_a_key_only_the_first_does(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    ann.say(bob, "one")
    stage.mono += WEEK_S + 60
    ann.say(bob, "two")
    bob.say(ann, "three")
    ring(ann, "rotate")
    bob.sent.clear()
    ring(bob, "rotate")
    assert len(epochs(ann, bob)) == len(epochs(bob, ann)) == 2
    assert not any(isinstance(message, Events) for message in bob.sent)
