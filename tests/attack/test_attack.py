"""A stranger who keeps to the encoding and to nothing else, against one engine.

Decides: that what one peer says costs him his link at most. Each test is a play: Mallory speaks,
then Ann's engine must stand, and know, keep and show no more than it should.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from p2pchat.crypto import epochs
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign, tag_bytes, x25519_public
from p2pchat.engine import inputs as happened
from p2pchat.engine import log, names
from p2pchat.engine.accounts import device_id, make_genesis, make_statement, read_statement, verify_hello
from p2pchat.engine.rooms import direct_id
from p2pchat.ids import AccountId, DeviceId, tag
from p2pchat.store.ledger import MEMORY, open_ledger
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages import registers as reg
from p2pchat.wire.messages import statements as st
from tests.engine.play import EPOCH_MS, Actor, Dice, Stage

HERE = "192.0.2.66"


class Keys:
    """A machine's secrets."""

    def __init__(self, name: str) -> None:
        dice = Dice(name)
        self.seed, self.noise = dice.bytes(32), dice.bytes(32)
        self.public, self.key = ed25519_keypair(self.seed)
        self.noise_public = x25519_public(self.noise)


@dataclass
class Mallory:
    """One link of Mallory's to Ann."""

    ann: Actor
    number: int
    account: AccountId
    keys: Keys
    statements: tuple[st.SignedStatement, ...]

    @property
    def device(self) -> DeviceId:
        return device_id(self.account, self.keys.public)

    @property
    def room(self) -> bytes:
        return direct_id(self.ann.account, self.account)

    def register(self, kind: int, value: bytes, room: bytes = b"", author: bytes = b"") -> reg.SignedRegister:
        raw = encode(reg.Register(1, self.device, kind, room, author, 1, value))
        return reg.SignedRegister(raw, ed25519_sign(self.keys.key, tag_bytes(reg.TAG_REGISTER) + raw))

    def come(
        self, name: str = "mallory", dial: int | None = None, *registers: reg.SignedRegister, wall_ms: int = 0
    ) -> Mallory:
        given = registers or (self.register(reg.PROFILE, encode(reg.Profile(name))),)
        hello = wire.Hello(1, self.device, self.statements, given, 0, wall_ms or EPOCH_MS)
        verify_hello(hello, self.keys.noise_public)  # what the link has proven before it comes here
        self.ann.feed(
            happened.LinkUp(
                self.number,
                self.device,
                self.account,
                hello.statements,
                hello.registers,
                dial is not None,
                HERE,
                0,
                b"h" * 64,
                hello.wall_ms,
                dial,
            )
        )
        return self

    def say(self, *messages: Record) -> None:
        for message in messages:
            self.ann.feed(happened.FromPeer(self.number, message, None))

    def event(
        self,
        kind: int,
        body: bytes,
        seq: int,
        *,
        key: bytes | None = None,
        auth: tuple[bytes, ...] = (),
        signed: bool = True,
        hlc: int = EPOCH_MS << 16,
    ) -> ev.Event:
        control = ev.is_control(kind)
        epoch = bytes(16) if control else epochs.epoch_id(key) if key else b"e" * 16
        prev = bytes(32) if seq == 1 else b"p" * 32

        def header(hashed: bytes) -> ev.Header:
            return ev.Header(1, self.room, self.device, seq, prev, (), auth, hlc, kind, epoch, hashed, size)

        size = len(body) + (40 if key else 0)
        if key:
            body = epochs.seal_body(
                key, self.room, self.device, seq, encode(header(bytes(32))), body, bytes(24)
            )  # type: ignore[arg-type]
        raw = encode(header(log.body_hash(body)))
        return ev.Event(
            raw, ed25519_sign(self.keys.key, tag_bytes(ev.TAG_EVENT) + raw) if signed else b"", body
        )


class Family:
    """Mallory's account: a first machine and a recovery key."""

    def __init__(self, ann: Actor, name: str = "mallory") -> None:
        self.ann, self.first, self.recovery = ann, Keys(name), Keys(f"{name} recovery")
        self.genesis = make_genesis(self.first.seed, self.first.noise_public, self.recovery.public)
        act = read_statement(self.genesis)
        self.account, self.root = act.account, act.id
        self.links = 100 + 10 * len(name)

    def link(self, keys: Keys | None = None, *statements: st.SignedStatement) -> Mallory:
        self.links += 1
        return Mallory(self.ann, self.links, self.account, keys or self.first, (self.genesis, *statements))

    def added(self, keys: Keys, by: Keys) -> st.SignedStatement:
        return make_statement(
            by.seed, self.account, (self.root,), st.ADD, st.DeviceKeys(keys.public, keys.noise_public)
        )

    def revoked(self, keys: Keys) -> st.SignedStatement:
        device = device_id(self.account, keys.public)
        return make_statement(self.recovery.seed, self.account, (self.root,), st.REVOKE, st.Revoked(device))


@pytest.fixture
def ann() -> Iterator[Actor]:
    actor = Stage(lambda: open_ledger(MEMORY)).actor("ann")
    yield actor
    actor.ledger.close()


@pytest.mark.parametrize("ask", [wire.RegisterOffer, wire.RegisterWant])
def test_a_number_no_column_holds_ends_the_link_only(ann: Actor, ask: type[wire.RegisterOffer]) -> None:
    mallory = Family(ann).link().come()
    mallory.say(ask((reg.RegisterName(ann.device, 2**64 - 1, b"", b"", 1),)))


def _voided(ann: Actor, *, first: bool) -> tuple[Mallory, Mallory]:
    """Machine b was added by one that the recovery key revokes without knowing of b; c lives on."""
    family, b, c = Family(ann), Keys("b"), Keys("c")
    in_b = family.link(b, family.added(b, family.first))
    in_c = family.link(c, family.added(c, family.recovery))
    if first:
        in_b.come()
    in_c.come()
    return in_b, in_c


def test_a_machine_whose_add_is_void_is_turned_away(ann: Actor) -> None:
    b, c = _voided(ann, first=False)
    c.say(wire.Statements((Family(ann).revoked(Keys("mallory")),)))
    b.come()


def test_registers_of_a_machine_whose_add_became_void_are_passed_over(ann: Actor) -> None:
    b, c = _voided(ann, first=True)
    c.say(wire.Statements((Family(ann).revoked(Keys("mallory")),)))
    c.say(wire.Registers((b.register(reg.PROFILE, encode(reg.Profile("b"))),)))


def test_what_a_machine_said_before_its_add_became_void_can_still_be_touched(ann: Actor) -> None:
    b, c = _voided(ann, first=True)
    key = b"k" * 32
    members = epochs.member_hash(encode(ev.MemberSet(tuple(sorted((ann.account, b.account))), ())))
    b.say(wire.Events((b.event(ev.EPOCH, encode(ev.Epoch(1, epochs.epoch_id(key), 1, members, True)), 1),)))
    said = b.event(ev.MESSAGE, encode(ev.Message(1, "hello", b"", b"", (), False, 0, ())), 2, key=key)
    b.say(wire.Events((said,)), wire.Keys(b.room, (key,)))
    c.say(wire.Statements((Family(ann).revoked(Keys("mallory")),)))
    ann.node.forget()  # any rollback
    reaction = encode(ev.Reaction(1, log.event_id(said.header, said.signature), "!", False))
    c.say(wire.Events((c.event(ev.REACTION, reaction, 1, key=key),)))


def test_own_events_name_no_more_heads_than_a_header_may(ann: Actor) -> None:
    mallory = Family(ann).link().come()
    mallory.say(wire.Events(tuple(mallory.event(ev.SETTINGS, b"\x90", n, hlc=n << 16) for n in range(1, 21))))
    ann.node.forget()
    ann.do(lambda r: happened.Post(r, mallory.account.hex(), "hello"))
    sent = [e for m in ann.sent if isinstance(m, wire.Events) for e in m.events]
    assert max(len(decode(ev.Header, e.header).auth) for e in sent) <= 8


def test_registers_about_rooms_we_do_not_share_are_not_kept(ann: Actor) -> None:
    mallory = Family(ann).link().come()
    value = encode(reg.Seen(((1, 1),), bytes(32)))
    mallory.say(
        wire.Registers(
            tuple(mallory.register(reg.HAVE, value, os.urandom(32), os.urandom(32)) for _ in range(50))
        )
    )
    assert len(ann.ledger.people.registers(reg.HAVE)) == 0


def test_an_auth_link_to_an_event_of_another_room_is_not_known(ann: Actor) -> None:
    stage = ann.stage
    bob = stage.actor("bob")
    stage.join(ann, bob)
    secret = bytes.fromhex(ann.say(bob, "hi"))
    mallory = Family(ann).link().come()
    mallory.say(wire.Events((mallory.event(ev.SETTINGS, b"\x90", 1, auth=(secret,)),)))
    assert not [m for m in ann.sent if isinstance(m, wire.Receipt) and m.room == mallory.room]


def test_targets_of_one_announcement_are_bounded(ann: Actor) -> None:
    for n in range(400):
        addresses = tuple(f"10.{n // 250}.{n % 250}.{k}" for k in range(1, 9))
        ann.feed(happened.Sighted("one-label", addresses, 26700, ()))
    assert len(ann.node.live.targets) <= 512


def test_a_name_that_looks_tagged_is_tagged(ann: Actor) -> None:
    bob = Family(ann, "bob").link().come("bob")
    liar = Family(ann, "liar").link().come("bob" + tag(bob.account))
    ctx = ann.look()
    assert names.shown(ctx, liar.account) != "bob" + tag(bob.account)


def test_what_an_unsigned_event_makes_us_read_is_bounded(ann: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    mallory = Family(ann).link().come()
    for n in range(2, 65):
        mallory.say(wire.Events((mallory.event(ev.MESSAGE, b"b" * 30_000, n),)))
    read = 0
    run = ann.ledger.events.run

    def counted(*words: object) -> list[object]:
        nonlocal read
        found = run(*words)  # type: ignore[arg-type]
        read += sum(len(event.body or b"") for event in found)
        return found  # type: ignore[return-value]

    monkeypatch.setattr(ann.ledger.events, "run", counted)
    mallory.say(
        wire.Events(tuple(mallory.event(ev.MESSAGE, b"y", 1, signed=False, hlc=n) for n in range(100)))
    )
    assert read < 16 * 2**20


def test_one_stranger_leaves_room_for_the_others(ann: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pchat.engine import quota

    monkeypatch.setattr(quota, "MAX_UNVERIFIED_PER_DAY", 100_000)
    mallory = Family(ann).link().come()
    for n in range(1, 6):
        mallory.say(wire.Events((mallory.event(ev.MESSAGE, b"b" * 25_000, n),)))
    mallory.say(wire.Events(tuple(mallory.event(ev.MESSAGE, b"b", n) for n in range(6, 200))))
    bob = Family(ann, "bob").link().come("bob")
    bob.say(wire.Events((bob.event(ev.MESSAGE, b"hello", 1),)))
    assert ann.ledger.events.heads(bob.room), "an honest stranger is still heard"  # type: ignore[arg-type]
