"""What somebody has is said again, signed, when a link comes up: a lost receipt is made good."""

from __future__ import annotations

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.ids import EventId
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.link import Events, Receipt, RegisterOffer, Registers, RegisterWant, decode_frame
from p2pchat.wire.messages.registers import Register, Seen
from tests.engine.play import Actor, Stage


def state(actor: Actor, said: str) -> str:
    view = actor.ledger.views.message(EventId(bytes.fromhex(said)))
    assert view is not None
    return view.state


def said_without_receipt(stage: Stage, ann: Actor, bob: Actor, text: str) -> str:
    """Bob has it, and his receipt is lost on the way."""
    stage.requests += 1
    ann.feed(happened.Post(stage.requests, bob.account.hex(), text))
    while stage.mail:
        number, raw = stage.mail.popleft()
        message = decode_frame(raw)
        if not isinstance(message, Receipt):
            stage.links[number][0].feed(happened.FromPeer(number, message))
    answer = ann.answers[stage.requests]
    assert isinstance(answer, dict)
    return str(answer["id"])


def of(actor: Actor, kind: type[Record]) -> list[Record]:
    return [message for message in actor.sent if isinstance(message, kind)]


def meet(stage: Stage, ann: Actor, bob: Actor) -> None:
    """A fresh link; only what is said on it counts."""
    stage.cut()
    for actor in (ann, bob):
        actor.sent.clear()
    stage.join(ann, bob)


def test_a_lost_receipt_is_made_good_by_the_register(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.say(bob, "before")
    said = said_without_receipt(stage, ann, bob, "did you get it?")
    assert state(ann, said) == "queued"
    meet(stage, ann, bob)
    room = rooms.direct_id(ann.account, bob.account)
    offered = [name for offer in of(bob, RegisterOffer) for name in offer.names]  # type: ignore[attr-defined]
    about = [name for name in offered if name.kind == registers.HAVE]
    assert [(name.room, name.author, name.device) for name in about] == [(room, ann.device, bob.device)]
    (want,) = of(ann, RegisterWant)
    assert tuple(about) == want.names  # type: ignore[attr-defined]
    given = [one for message in of(bob, Registers) for one in message.registers]  # type: ignore[attr-defined]
    (body,) = (decode(Register, one.register) for one in given)
    assert (body.kind, body.n) == (registers.HAVE, about[0].n)
    value = decode(Seen, body.value)
    top = ann.ledger.events.get(EventId(value.top))
    assert top is not None
    assert (top.device, value.ranges) == (ann.device, ((1, top.seq),))
    assert state(ann, said) == "delivered"
    kept = ann.ledger.people.register(bob.device, registers.HAVE, room, ann.device)
    assert kept is not None
    assert kept.n == body.n


def test_a_register_that_is_known_is_not_asked_for_again(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.say(bob, "hello")
    meet(stage, ann, bob)
    assert of(ann, RegisterWant)
    meet(stage, ann, bob)
    assert of(bob, RegisterOffer)
    assert of(ann, RegisterWant) == []
    assert of(bob, Registers) == []


def test_what_moved_since_gets_the_next_number(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    room = rooms.direct_id(ann.account, bob.account)
    for number in (1, 2, 3):
        said = said_without_receipt(stage, ann, bob, f"message {number}")
        meet(stage, ann, bob)
        kept = ann.ledger.people.register(bob.device, registers.HAVE, room, ann.device)
        assert kept is not None
        assert kept.n == number
        assert state(ann, said) == "delivered"


def test_a_stranger_gets_no_register_about_others(stage: Stage) -> None:
    ann, bob, eve = stage.actor("ann"), stage.actor("bob"), stage.actor("eve")
    stage.join(ann, bob)
    ann.say(bob, "between us")
    meet(stage, ann, bob)
    room = rooms.direct_id(ann.account, bob.account)
    stage.join(eve, bob)
    offered = [n for offer in of(bob, RegisterOffer) for n in offer.names if n.kind == registers.HAVE]  # type: ignore[attr-defined]
    assert offered
    bob.sent.clear()
    link = next(n for n, ends in stage.links.items() if ends[0] is bob and ends[1] is eve)
    bob.feed(happened.FromPeer(link, RegisterWant(tuple(offered))))
    assert offered[0].room == room
    assert of(bob, Registers) == []
    assert of(bob, Events) == []
