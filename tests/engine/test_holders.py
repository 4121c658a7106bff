"""Messages for people who are away, kept by others, as small plays."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.ids import EventId
from p2pchat.model import DELIVERED, HELD, MessageView
from tests.engine.play import Actor, Stage

Three = tuple[Actor, Actor, Actor]


def verify(one: Actor, other: Actor) -> None:
    one.do(lambda r: happened.SetTrust(r, "verify", other.account.hex()))


def shown(actor: Actor, message: str) -> MessageView:
    found = actor.ledger.views.message(EventId(bytes.fromhex(message)))
    assert found is not None, f"{actor.name} has no such message"
    return found


def state(actor: Actor, message: str) -> str:
    return shown(actor, message).state


def keepers(actor: Actor, message: str) -> list[str]:
    """Whom the author believes to hold it."""
    ctx = actor.look()
    view = shown(actor, message)
    room = rooms.room(ctx, view.room)
    from p2pchat.engine import kept

    return [device.hex() for device in kept.holders(room, actor.device, view.seq)]


def count(actor: Actor, table: str = "holding") -> int:
    return int(actor.ledger.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def three(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    ann, bob, cem = stage.actor("ann"), stage.actor("bob"), stage.actor("cem")
    stage.join(ann, bob)
    stage.join(ann, cem)
    stage.join(bob, cem)
    verify(ann, cem)
    stage.cut()
    return ann, bob, cem


def test_a_message_reaches_bob_who_never_meets_ann(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    stage.join(ann, cem)
    hello = ann.say(bob, "hello bob")
    assert state(ann, hello) == "queued"
    stage.wait(11)
    assert state(ann, hello) == HELD
    assert keepers(ann, hello) == [cem.device.hex()]
    assert cem.ledger.events.get(EventId(bytes.fromhex(hello))) is None, "it is in no chain of cem's"
    stage.cut()
    stage.join(cem, bob)
    assert shown(bob, hello).text == "hello bob"
    assert count(cem) == 0
    stage.cut()
    stage.join(cem, ann)
    assert state(ann, hello) == DELIVERED
