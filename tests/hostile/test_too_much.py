"""A member who makes us answer with more than a frame holds, or keep more than we should.

Each play drives a real node; every answer must fit a frame, for the one that does not
would end a link for our own fault, as often as it is asked.
"""

from __future__ import annotations

import pytest

from p2pchat.crypto.primitives import ed25519_sign, tag_bytes, x25519_public
from p2pchat.crypto.session import pad
from p2pchat.engine import log, people, rooms
from p2pchat.engine.accounts import make_statement, read_statement
from p2pchat.engine.inputs import FromPeer
from p2pchat.ids import NO_EPOCH, ZERO_ID
from p2pchat.store.ledger import MEMORY, open_ledger
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.limits import MAX_OFFERED
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages import link, registers
from p2pchat.wire.messages.events import Event, Header
from p2pchat.wire.messages.statements import ADD, DeviceKeys
from tests.engine.play import Actor, Dice, Stage


class Scene:
    """Ann, honest, and Mallory, who sends what she likes."""

    def __init__(self) -> None:
        self.stage = Stage(lambda: open_ledger(MEMORY))
        self.ann, self.mallory = self.stage.actor("ann"), self.stage.actor("mallory")
        self.meet()

    def meet(self) -> None:
        """A fresh link."""
        self.stage.cut()
        self.stage.join(self.ann, self.mallory)
        self.link = next(n for n, ends in self.stage.links.items() if ends[0] is self.ann)

    def send(self, message: Record) -> list[Record]:
        """One frame to Ann; what she says to it."""
        self.ann.sent.clear()
        self.ann.feed(FromPeer(self.link, link.decode_frame(link.encode_frame(message))))
        assert self.ann.closed == []
        return list(self.ann.sent)


def fit(said: list[Record]) -> None:
    """Every answer fits a frame."""
    for message in said:
        pad(link.encode_frame(message))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_account_with_as_many_machines_as_there_may_be(scene: Scene) -> None:
    mallory = scene.mallory
    signed = [*mallory.me.statements]
    heads = [read_statement(signed[0]).id]
    dice = Dice("machines")
    chunk = []
    for _ in range(people.MAX_STATEMENTS - 1):
        keys = DeviceKeys(dice.bytes(32), x25519_public(dice.bytes(32)))
        made = make_statement(mallory.me.signing_seed, mallory.account, heads[-8:], ADD, keys)
        heads.append(read_statement(made).id)
        chunk.append(made)
        if len(chunk) == 80:
            fit(scene.send(link.Statements(tuple(chunk))))
            chunk = []
    fit(scene.send(link.Statements(tuple(chunk))))
    known = scene.ann.look().cache.accounts[mallory.account]
    assert len(known.devices) == people.MAX_STATEMENTS
    assert scene.ann.closed == []
    scene.ann.sent.clear()
    scene.meet()
    told = [
        one
        for message in scene.ann.sent
        if isinstance(message, link.Statements)
        for one in message.statements
    ]
    assert len(told) >= people.MAX_STATEMENTS
    fit(scene.ann.sent)
    scene.ann.say(mallory, "to all your machines")
    fit(scene.ann.sent)


def _chain(mallory: Actor, ann: Actor, kind: int, count: int, step: int = 1) -> list[Event]:
    """`count` signed events of Mallory's chain, `step` apart."""
    room = rooms.direct_id(ann.account, mallory.account)
    ctx = mallory.look()
    head = rooms.room(ctx, room).heads.get(mallory.device)
    seq = head.seq if head else 0
    prev = bytes(head.id) if head else ZERO_ID
    found = []
    for n in range(count):
        seq += step
        if step > 1:
            prev = (n + 1).to_bytes(4, "big") * 8
        epoch = n.to_bytes(4, "big") * 4
        body = encode(wire.Epoch(1, epoch, 1 + n, b"m" * 32, True))
        header = Header(
            1, room, mallory.device, seq, prev, (), (), log.stamp(ctx.now.wall_ms) + n, kind, NO_EPOCH,
            log.body_hash(body), len(body),
        )  # fmt: skip
        raw = encode(header)
        signature = ed25519_sign(mallory.me.signing_key, tag_bytes(wire.TAG_EVENT) + raw)
        found.append(Event(raw, signature, body))
        prev = log.event_id(raw, signature)
    return found


def _in_pieces(events: list[Event], size: int = 100) -> list[link.Events]:
    return [link.Events(tuple(events[at : at + size])) for at in range(0, len(events), size)]


def test_thousands_of_epochs_nobody_gave_the_key_of(scene: Scene) -> None:
    for frame in _in_pieces(_chain(scene.mallory, scene.ann, wire.EPOCH, 3700)):
        fit(scene.send(frame))
    room = rooms.direct_id(scene.ann.account, scene.mallory.account)
    assert len(rooms.room(scene.ann.look(), room).epochs) >= 3700
    scene.ann.sent.clear()
    scene.meet()
    fit(scene.ann.sent)
    assert any(isinstance(message, link.KeyRequest) for message in scene.ann.sent)
    scene.stage.wait(30)
    fit(scene.ann.sent)


def test_one_register_asked_for_again_and_again(scene: Scene) -> None:
    for frame in _in_pieces(_chain(scene.mallory, scene.ann, wire.EPOCH, 40, step=2)):
        scene.send(frame)  # with gaps, so that our `have` is as long as can be
    scene.meet()
    offers = [message for message in scene.ann.sent if isinstance(message, link.RegisterOffer)]
    names = [name for offer in offers for name in offer.names]
    assert names
    longest = max(names, key=lambda name: len(encode(name)))
    said = scene.send(link.RegisterWant((longest,) * 256))
    fit(said)
    said = scene.send(link.RegisterWant(tuple(names)))
    fit(said)
    assert any(isinstance(message, link.Registers) for message in said)


def test_a_want_for_everything_and_more(scene: Scene) -> None:
    ids = [bytes.fromhex(scene.ann.say(scene.mallory, "x" * 15_000)) for _ in range(8)]
    room = rooms.direct_id(scene.ann.account, scene.mallory.account)
    said = scene.send(link.Want(room, False, tuple(ids * 200), b"", 0))
    fit(said)
    assert isinstance(said[-1], link.Given)
    assert sum(len(link.encode_frame(message)) for message in said) < 8 * 20_000 * 3


def test_offers_of_registers_by_the_thousand(scene: Scene) -> None:
    names = tuple(
        registers.RegisterName(
            scene.mallory.device, registers.HAVE, n.to_bytes(4, "big") * 8, b"a" * 32, n + 1
        )
        for n in range(580)
    )
    fit(scene.send(link.RegisterOffer(names[:MAX_OFFERED])))
    scene.ann.feed(FromPeer(scene.link, link.RegisterOffer(names)))
    assert scene.ann.closed == ["too many registers offered"]


def test_keys_asked_for_by_the_thousand(scene: Scene) -> None:
    room = rooms.direct_id(scene.ann.account, scene.mallory.account)
    scene.ann.say(scene.mallory, "so that there is a key")
    epoch = next(iter(rooms.room(scene.ann.look(), room).epochs))
    fit(scene.send(link.KeyRequest(room, (epoch,) * 3000)))
