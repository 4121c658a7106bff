"""How far an own message has come, shown on the person's other machines too."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview, rooms, views
from p2pchat.engine.node import Node
from p2pchat.ids import EventId
from p2pchat.wire.messages.link import Receipt
from tests.engine.play import Actor, Dice, Stage

Three = tuple[Actor, Actor, Actor]


@pytest.fixture
def people(stage: Stage) -> Three:
    """Ann has a pc and a laptop, Bob is Bob."""
    pc = stage.actor("ann")
    return pc, stage.actor("laptop", of=pc), stage.actor("bob")


def _all(stage: Stage, people: Three) -> None:
    pc, laptop, bob = people
    stage.join(pc, laptop)
    stage.join(pc, bob)
    stage.join(laptop, bob)
    stage.wait(3)


def _say(actor: Actor, whom: Actor, text: str) -> EventId:
    return EventId(bytes.fromhex(actor.say(whom, text)))


def _state(actor: Actor, event: EventId) -> str:
    view = actor.ledger.views.message(event)
    return view.state if view is not None else "not here"


def test_delivered_is_shown_on_every_machine_of_mine(stage: Stage, people: Three) -> None:
    pc, laptop, bob = people
    _all(stage, people)
    said = _say(pc, bob, "one")
    stage.wait(3)
    assert [_state(one, said) for one in (pc, laptop)] == ["delivered", "delivered"]
    view = laptop.ledger.views.message(said)
    assert view is not None
    told = overview.progress(laptop.look(), view)
    assert told is not None
    assert (told.delivered, told.read, told.of) == ((bob.account,), (), 1)
    bob.do(lambda r: happened.Configure(r, read_receipts=True))
    bob.do(lambda r: happened.ConfirmShown(r, pc.account.hex(), (said.hex(),)))
    stage.settle()
    assert [_state(one, said) for one in (pc, laptop)] == ["read", "read"]


def test_what_was_delivered_while_the_other_machine_was_off_is_told_when_it_comes(
    stage: Stage, people: Three
) -> None:
    pc, laptop, bob = people
    _all(stage, people)
    stage.cut()
    stage.join(pc, bob)
    said = _say(pc, bob, "two")
    stage.wait(3)
    stage.cut()
    stage.join(laptop, bob)
    stage.wait(3)
    assert _state(laptop, said) == "delivered"
    laptop.node = Node(laptop.me, laptop.ledger, Dice("again"), name="ann", label="laptop", keep_name=True)
    laptop.feed(happened.Started(26700))
    room = overview.conversation(laptop.look(), "bob").room
    event = laptop.ledger.events.get(said)
    assert event is not None
    found = event
    laptop.write(lambda ctx: ctx.ledger.views.drop_message(said))
    assert _state(laptop, said) == "not here"
    laptop.write(lambda ctx: views.rebuild(ctx, rooms.room(ctx, room), [found]))
    assert _state(laptop, said) == "delivered", "computed again from what is remembered"


def test_nobody_else_moves_it(stage: Stage, people: Three) -> None:
    pc, laptop, bob = people
    carl = stage.actor("carl")
    _all(stage, people)
    stage.cut()
    stage.join(pc, laptop)
    said = _say(pc, bob, "for bob")
    stage.wait(3)
    stage.join(laptop, carl)
    room = overview.conversation(laptop.look(), "bob").room
    link = laptop.node.live.by_device[carl.device]
    laptop.feed(happened.FromPeer(link, Receipt(room, pc.device, ((1, 9),), bytes(32))))
    assert _state(laptop, said) == "received"
    stage.join(bob, laptop)
    link = laptop.node.live.by_device[bob.device]
    laptop.feed(happened.FromPeer(link, Receipt(room, pc.device, ((1, 2**62),), bytes(32))))
    assert _state(laptop, said) == "delivered"
    assert not [one for one in laptop.told if one.type == "warning"], (
        "what lies beyond is not here yet, no copy"
    )
