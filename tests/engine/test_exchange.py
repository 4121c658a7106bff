"""Introductions: who is told of whom, what is dialled on somebody's word, and what nobody is made to dial."""

from __future__ import annotations

import time

import pytest

from p2pchat.crypto.primitives import ed25519_sign, tag_bytes
from p2pchat.engine import exchange, peers
from p2pchat.engine import inputs as happened
from p2pchat.engine.context import Target
from p2pchat.engine.presence_inputs import SetPresence
from p2pchat.ids import DeviceId
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.limits import MAX_INTRODUCED, MAX_UNKNOWN_PEERS
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.network import PREFIX, Around, Introduction, Introductions, Reach
from p2pchat.wire.messages.registers import Register, SignedRegister
from tests.engine.play import Actor, Stage


def at(actor: Actor, *hosts: str, networks: tuple[str, ...] = ()) -> None:
    """This machine has these addresses."""
    actor.feed(happened.NetworkChanged(hosts, networks))


def office(stage: Stage) -> tuple[Actor, Actor, Actor]:
    """Ann is linked to Bob, Bob to Cyn; each has an address of its own."""
    ann, bob, cyn = (stage.actor(name) for name in ("ann", "bob", "cyn"))
    for number, one in enumerate((ann, bob, cyn)):
        at(one, f"10.7{number}.0.9")
    stage.join(ann, bob)
    stage.join(bob, cyn)
    return ann, bob, cyn


def reach(actor: Actor, *hosts: str, port: int = 26700, n: int = 99) -> SignedRegister:
    """What a machine may sign of itself, whether true or not."""
    raw = encode(Register(1, actor.device, registers.REACH, b"", b"", n, encode(Reach(hosts, port))))
    signature = ed25519_sign(actor.me.signing_key, tag_bytes(registers.TAG_REGISTER) + raw)
    return SignedRegister(raw, signature)


def introduction(actor: Actor, *hosts: str, port: int = 26700) -> Introduction:
    return Introduction(actor.me.statements, reach(actor, *hosts, port=port))


def link_to(one: Actor, other: Actor) -> int:
    return one.node.live.by_device[other.device]


def ask(actor: Actor) -> None:
    """The time to ask has come."""
    actor.feed(happened.TimerFired("around"))
    actor.stage.settle()


def targets(actor: Actor) -> list[tuple[str, int]]:
    """What would be dialled on somebody's word."""
    return [key for key, target in actor.node.live.targets.items() if target.by is not None]


def tell(actor: Actor, teller: Actor, *people: Introduction) -> None:
    """Introductions come, asked for or not."""
    actor.feed(happened.FromPeer(link_to(actor, teller), Introductions(people)))


def heard(actor: Actor, teller: Actor, *people: Introduction) -> None:
    """Introductions come after a question."""
    live = actor.node.live
    live.introducers[teller.device] = live.introducers.get(teller.device, exchange.Introducer())._replace(
        asked=MAX_INTRODUCED
    )
    tell(actor, teller, *people)


def test_who_is_linked_to_both_introduces_them(stage: Stage) -> None:
    ann, _bob, cyn = office(stage)
    ask(ann)
    assert targets(ann) == [("10.72.0.9", 26700)]
    stage.mono += 2
    ann.feed(happened.TimerFired("peers"))
    (dialled,) = [dial for who, dial in stage.dials if who is ann]
    assert (dialled.host, dialled.port) == ("10.72.0.9", 26700)
    stage.join(ann, cyn, dialled.dial)
    assert cyn.device in ann.node.live.by_device
    assert targets(ann) == [], "who has proved himself is a hint no more"
    assert ("10.72.0.9", 26700) in ann.look().cache.addresses, "and is remembered"
    ask(ann)
    assert targets(ann) == []


def test_whom_one_is_linked_to_already_is_not_told(stage: Stage) -> None:
    ann, bob, cyn = office(stage)
    stage.join(ann, cyn)
    before = len(bob.sent)
    bob.feed(happened.FromPeer(link_to(bob, ann), Around(cyn.device[:PREFIX])))
    assert not [said for said in bob.sent[before:] if isinstance(said, Introductions)]
    stage.mono += 5
    bob.feed(happened.FromPeer(link_to(bob, ann), Around(b"")))
    (said,) = [said for said in bob.sent if isinstance(said, Introductions)]
    assert [decode(Register, one.register.register).device for one in said.people] == [cyn.device]


def test_one_machine_is_answered_once_in_a_while(stage: Stage) -> None:
    ann, bob, _ = office(stage)
    for _ in range(10):
        bob.feed(happened.FromPeer(link_to(bob, ann), Around(b"")))
    assert sum(isinstance(said, Introductions) for said in bob.sent) == 1


def test_who_does_not_announce_himself_is_not_introduced(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    ann.node.live.unlisted = True
    at(ann, "10.70.0.9")
    assert ann.device not in ann.node.live.reach
    ann.node.live.unlisted = False
    at(ann, "10.70.0.9")
    stage.join(ann, bob)
    assert bob.node.live.reach[ann.device]
    ann.node.live.unlisted = True
    at(ann, "10.70.0.9")
    stage.settle()
    said = decode(Register, bob.node.live.reach[ann.device].register)
    assert decode(Reach, said.value) == Reach((), 0), "he takes back where he was"
    cyn = stage.actor("cyn")
    stage.join(cyn, bob)
    ask(cyn)
    assert targets(cyn) == []


def test_who_hides_is_introduced_to_nobody(stage: Stage) -> None:
    """Not by whom he hides from, who does not see him; and hidden from all he takes back where he is."""
    ann, bob, cyn = office(stage)
    cyn.ask(lambda r: SetPresence(r, None, hide_from=(bob.account.hex(),)))
    ask(ann)
    assert targets(ann) == []
    cyn.ask(lambda r: SetPresence(r, None, show_all=True))
    stage.mono += 5
    ask(ann)
    assert targets(ann) == [("10.72.0.9", 26700)]
    cyn.ask(lambda r: SetPresence(r, "invisible"))
    stage.settle()
    said = decode(Register, bob.node.live.reach[cyn.device].register)
    assert decode(Reach, said.value) == Reach((), 0)
    cyn.ask(lambda r: SetPresence(r, "available"))
    stage.settle()
    again = decode(Register, bob.node.live.reach[cyn.device].register)
    assert decode(Reach, again.value).hosts == ("10.72.0.9",)


def test_a_new_address_is_told_to_who_is_linked(stage: Stage) -> None:
    ann, _bob, cyn = office(stage)
    at(cyn, "10.72.0.77", "fe80::1%eth0", "127.0.0.1")
    stage.settle()
    ask(ann)
    assert targets(ann) == [("10.72.0.77", 26700)], "and nothing that means nothing elsewhere"


def test_who_is_gone_is_not_introduced(stage: Stage) -> None:
    ann, bob, cyn = office(stage)
    for number in (link_to(bob, cyn), link_to(cyn, bob)):
        (bob if number in bob.node.live.links else cyn).feed(happened.LinkDown(number, "closed"))
    ask(ann)
    assert targets(ann) == []
    assert cyn.device not in bob.node.live.reach


def test_nobody_is_heard_who_was_not_asked(stage: Stage) -> None:
    ann, bob, _ = office(stage)
    tell(ann, bob, introduction(stage.actor("dan"), "10.1.1.1"))
    assert targets(ann) == []
    assert bob.device in ann.node.live.by_device, (
        "it is no offence either: we may have asked before a restart"
    )


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8", "1.1.1.1", "2001:db8::1", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.251", "ff02::fb",
        "169.254.1.1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1", "router.example", "", "10.0.0.1/8",
        "010.0.0.1", "10.70.0.9",
    ],
)  # fmt: skip
def test_addresses_that_nobody_makes_us_dial(stage: Stage, host: str) -> None:
    """The open internet, ourselves, everybody at once, names, and what is not written as it should be."""
    ann, bob, _ = office(stage)
    heard(ann, bob, introduction(stage.actor("dan"), host))
    assert targets(ann) == []


@pytest.mark.parametrize("port", [0, 22, 25, 443, 1023, 65536, -1])
def test_ports_that_nobody_makes_us_dial(stage: Stage, port: int) -> None:
    ann, bob, _ = office(stage)
    heard(ann, bob, introduction(stage.actor("dan"), "10.1.1.1", port=port))
    assert targets(ann) == []


@pytest.mark.parametrize("host", ["10.1.1.1", "172.31.0.1", "192.168.3.4", "100.64.0.1", "fd00::1"])
def test_local_addresses_are_worth_a_try(stage: Stage, host: str) -> None:
    ann, bob, _ = office(stage)
    heard(ann, bob, introduction(stage.actor("dan"), host))
    assert targets(ann) == [(host, 26700)]


def test_public_addresses_where_somebody_answered_close_by(stage: Stage) -> None:
    """An office with public addresses: its own network, and where a peer has proved himself."""
    ann, bob, _ = office(stage)
    at(ann, "198.51.100.9", networks=("198.51.100.9/25",))
    dan, eve = stage.actor("dan"), stage.actor("eve")
    heard(ann, bob, introduction(dan, "198.51.100.77", "198.51.100.200"), introduction(eve, "203.0.113.5"))
    assert targets(ann) == [("198.51.100.77", 26700)]
    ann.feed(happened.AddPeer(900, "203.0.113.9", 26700))
    heard(ann, bob, introduction(eve, "203.0.113.5"))
    assert ("203.0.113.5", 26700) in targets(ann)


def forged(kind: str, stage: Stage) -> Introduction:
    dan, eve = stage.actor("dan"), stage.actor("eve")
    good = introduction(dan, "10.1.1.1")
    match kind:
        case "signed by another":
            return Introduction(dan.me.statements, introduction(eve, "10.1.1.1").register)
        case "signature":
            return Introduction(dan.me.statements, SignedRegister(good.register.register, bytes(64)))
        case "another register":
            raw = encode(
                Register(1, dan.device, registers.PREKEY, b"", b"", 1, encode(Reach(("10.1.1.1",), 2000)))
            )
            signature = ed25519_sign(dan.me.signing_key, tag_bytes(registers.TAG_REGISTER) + raw)
            return Introduction(dan.me.statements, SignedRegister(raw, signature))
        case "two accounts":
            return Introduction((*dan.me.statements, *eve.me.statements), good.register)
        case "no statements":
            return Introduction((), good.register)
        case "many statements":
            return Introduction(dan.me.statements * 17, good.register)
        case "many addresses":
            return introduction(dan, *(f"10.1.1.{n}" for n in range(9)))
        case _:
            return introduction(dan, "1" * 46)


@pytest.mark.parametrize(
    "kind",
    [
        "signed by another", "signature", "another register", "two accounts", "no statements",
        "many statements", "many addresses", "long address",
    ],
)  # fmt: skip
def test_what_does_not_hold_ends_the_link(stage: Stage, kind: str) -> None:
    ann, bob, _ = office(stage)
    heard(ann, bob, forged(kind, stage))
    assert targets(ann) == []
    assert ann.closed, "a broken rule ends that link"


def test_more_than_can_be_introduced_at_once_ends_the_link(stage: Stage) -> None:
    ann, bob, _ = office(stage)
    heard(ann, bob, *[introduction(bob, "10.1.1.1")] * (MAX_INTRODUCED + 1))
    assert ann.closed


def test_what_leads_nowhere_rests(stage: Stage) -> None:
    ann, _bob, _cyn = office(stage)
    ask(ann)
    tried = 0
    for _ in range(200):
        stage.mono += 1
        ann.feed(happened.TimerFired("peers"))
        for who, dial in list(stage.dials):
            if who is ann and dial.host == "10.72.0.9":
                tried += 1
                stage.dials.remove((who, dial))
                ann.feed(happened.DialFailed(dial.dial, "timeout"))
        if _ % 50 == 49:
            ask(ann)
    assert tried == exchange.TRIES
    stage.mono += exchange.RESTS_S
    ask(ann)
    assert targets(ann) == [("10.72.0.9", 26700)]
    at(ann, "10.70.0.10")
    assert ann.node.live.fruitless == {}, "on another network it is tried at once"


def test_who_points_at_many_that_are_not_there_is_not_heard_for_a_while(stage: Stage) -> None:
    """Eve wants us to knock at all doors of a network: 48 in vain, and that is all."""
    ann, bob, _ = office(stage)
    knocked: dict[str, None] = {}
    for turn in range(30):
        liars = [stage.actor(f"liar{turn}-{n}") for n in range(8)]
        heard(ann, bob, *(introduction(one, f"10.9.{turn}.{n}") for n, one in enumerate(liars)))
        for _ in range(20):
            stage.mono += 1
            ann.feed(happened.TimerFired("peers"))
            for who, dial in list(stage.dials):
                stage.dials.remove((who, dial))
                knocked[dial.host] = None
                ann.feed(happened.DialFailed(dial.dial, "timeout"))
    assert exchange.MISLED <= len(knocked) <= exchange.MISLED + 8
    assert ann.node.live.introducers[bob.device].deaf_until > stage.mono - 600


def test_hints_stay_within_the_table_of_strangers(stage: Stage) -> None:
    ann, bob, _ = office(stage)
    dan = stage.actor("dan")
    live = ann.node.live
    for n in range(MAX_UNKNOWN_PEERS):
        key = (f"10.8.{n >> 8}.{n & 255}", 26700)
        live.targets[key] = Target(*key, "", DeviceId(n.to_bytes(32, "big")), 0, 1e9, 0.0, by=bob.device)
    heard(ann, bob, introduction(dan, "10.1.1.1"))
    assert ("10.1.1.1", 26700) not in live.targets


def test_blocked_and_revoked_are_not_looked_for(stage: Stage) -> None:
    ann, bob, cyn = office(stage)
    stage.join(ann, cyn)
    ann.do(lambda r: happened.SetTrust(r, "block", "cyn"))
    heard(ann, bob, introduction(cyn, "10.1.1.1"))
    assert targets(ann) == []
    bob.do(lambda r: happened.SetTrust(r, "block", "cyn"))
    stage.mono += 5
    ask(ann)
    assert targets(ann) == []


def test_a_newcomer_asks_once_and_then_seldom(stage: Stage) -> None:
    """Idle, it is one question a minute, whatever the office's size."""
    ann, _bob, cyn = office(stage)
    stage.join(ann, cyn)
    began, questions = stage.mono, len([one for one in ann.sent if isinstance(one, Around)])
    while stage.mono < began + 600:
        stage.mono = max(stage.mono + 0.5, 0)
        if ann.timers.get("around", 1e9) <= stage.mono:
            ann.timers.pop("around")
            ask(ann)
    asked = len([one for one in ann.sent if isinstance(one, Around)]) - questions
    assert 8 <= asked <= 15


@pytest.mark.parametrize("known", [b"1234567", bytes(8 * 501)])
def test_names_out_of_range(stage: Stage, known: bytes) -> None:
    ann, bob, _ = office(stage)
    bob.feed(happened.FromPeer(link_to(bob, ann), Around(known)))
    assert bob.closed


def test_two_thousand_addresses_of_the_world_do_not_stop_us(stage: Stage) -> None:
    """Each is held against every address that is remembered: once a frame, and not once an address."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    for number in range(500):
        host = f"198.51.{number // 250}.{number % 250 + 1}"
        ann.write(lambda ctx, at=host: peers.remember(ctx, at, 26700, None, static=True))  # type: ignore[misc]
    liars = [stage.actor(f"liar {number}") for number in range(60)]
    people = [
        introduction(one, *(f"203.0.{place}.{number}" for place in range(8)))
        for number, one in enumerate(liars)
    ]
    began = time.process_time()
    heard(ann, bob, *people)
    assert time.process_time() - began < 2, "it took 14 s"
    assert targets(ann) == []
    heard(ann, bob, introduction(liars[0], "198.51.0.251"))
    assert targets(ann) == [("198.51.0.251", 26700)]


def test_one_question_is_answered_by_so_many_and_no_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_INTRODUCED", 3)
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ask(ann)
    people = [introduction(stage.actor(f"one {number}"), f"10.8.0.{number + 1}") for number in range(6)]
    tell(ann, bob, *people[:2])
    tell(ann, bob, *people[2:4])
    tell(ann, bob, *people[4:])
    assert len(targets(ann)) == 3
    stage.mono += 60
    ask(ann)
    tell(ann, bob, *people[4:])
    assert len(targets(ann)) == 5


def test_nothing_is_remembered_of_who_only_asked_and_went(stage: Stage) -> None:
    ann = stage.actor("ann")
    for number in range(20):
        one = stage.actor(f"passer-by {number}")
        stage.join(one, ann)
        ann.feed(happened.FromPeer(link_to(ann, one), Around(b"")))
        stage.cut()
    assert ann.node.live.introducers == {}
