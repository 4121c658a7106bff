"""Every judgement of the doctor as a line in a table: what was seen, and what it is called."""

from __future__ import annotations

from typing import Any

import pytest

from p2pchat.control.operations.daemon import CHECKS
from p2pchat.daemon import verdicts
from p2pchat.daemon.probing import Probed
from p2pchat.daemon.sights import Case, Dialled, Own, Word
from p2pchat.engine.context import Link
from p2pchat.ids import AccountId, DeviceId
from p2pchat.net.interfaces import Left
from p2pchat.net.lan import Address
from p2pchat.wire.messages.network import Findings

BOB = AccountId(b"b" * 32)
EVE = AccountId(b"e" * 32)
MACHINE = DeviceId(b"m" * 32)
WHERE = Address("10.77.0.2", 26700)


def own(**more: Any) -> Own:
    """A machine of which nothing is known but that it runs."""
    plain = Own(True, False, True, (), (), None, None, ("eth0",), (), (), ("nft",), 26700)
    return plain._replace(**more)


def findings(**more: Any) -> Findings:
    """Bob's machine, which reaches us and hears us."""
    given: dict[str, Any] = {
        "number": 1,
        "device": MACHINE,
        "absent": False,
        "dialled": (("10.77.0.1", ""),),
        "sighted": True,
        "hears_itself": True,
        "discovery": "",
        "hosts": ("10.77.0.2",),
        "port": 26700,
        "version": "0.1.0",
        "wall_ms": 1000,
    }
    return Findings(**(given | more))


def word(name: str = "bob", *, near: bool = True, out: str = "", back: str = "", **more: Any) -> Word:
    """What came of asking and dialling somebody."""
    said = findings(dialled=(("10.77.0.1", back),), **more.pop("found", {}))
    plain = Word(name, "10.77.0.2", 26700, near, Dialled("10.77.0.2:26700", out), said, True)
    return plain._replace(**more)


def link(*, initiator: bool = True) -> Link:
    return Link(1, MACHINE, BOB, initiator, "10.77.0.2", 26700, b"", 0.0, 0)


def met(**more: Any) -> Probed:
    given: dict[str, Any] = {"device": MACHINE, "account": BOB, "wall_ms": 1000, "findings": findings()}
    return Probed(WHERE, "", **(given | more))


def case(*probed: Probed, **more: Any) -> Case:
    """The way to Bob, on our own network unless said otherwise."""
    found = next((one.findings for one in probed if one.findings is not None), None)
    plain = Case("bob", BOB, MACHINE, None, probed, "", found, True, True, None, "", own(), 1000)
    return plain._replace(**more)


def failed(reason: str) -> Probed:
    return Probed(WHERE, reason)


def troubles(checks: list[dict[str, Any]]) -> dict[str, str]:
    """Cause by name, with the side where it is not here."""
    for one in checks:
        assert one["name"] in CHECKS
        assert one["side"] in ("here", "there")
        assert bool(one["ok"]) is (one["cause"] is None) is (one["fix"] == ""), one
    there = {True: "there ", False: ""}
    return {there[one["side"] == "there"] + one["name"]: one["cause"] for one in checks if not one["ok"]}


UNHEARD = {"sighted": False, "found": {"sighted": False}}

OWN: list[tuple[str, Own, dict[str, str]]] = [
    ("nobody is here", own(), {}),
    ("all is well", own(words=(word(), word("cyn"))), {}),
    ("linked with another network", own(words=(word(near=False, **UNHEARD),)), {}),
    ("not announced, as wished", own(announcing=False, words=(word(**UNHEARD),)), {}),
    ("the others do not announce themselves", own(words=(word(sighted=False),)), {}),
    ("those known are off", own(missed=(Dialled("h", "host_down"),), alone=False), {}),
    ("those known have stopped", own(missed=(Dialled("h", "port_closed"),)), {}),
    ("nothing listens here", own(words=(word(back="port_closed"),), listening=False), {}),
    ("mDNS stopped here", own(deaf=True), {"discovery": "firewall_here", "firewall": "firewall_here"}),
    ("no multicast here", own(deaf=True, returns=False), {"discovery": "no_multicast"}),
    ("multicast unknown here", own(deaf=True, returns=None), {"discovery": "no_multicast"}),
    ("the switch passes no multicast", own(words=(word(**UNHEARD),)), {"discovery": "no_multicast"}),
    (
        "multicast passes one way",
        own(words=(word(found={"sighted": False}),)),
        {"discovery": "no_multicast"},
    ),
    (
        "one of two hears us",
        own(words=(word(found={"sighted": False}), word("cyn"))),
        {},
    ),
    (
        "only the router answers",
        own(missed=(Dialled("h", "host_down"),), alone=True),
        {"discovery": "client_isolation"},
    ),
    (
        "nobody reaches us",
        own(words=(word(back="timeout"), word("cyn", back="timeout"))),
        {"tcp_in": "firewall_here", "firewall": "firewall_here"},
    ),
    (
        "one does not reach us",
        own(words=(word(back="timeout"), word("cyn"))),
        {"tcp_in": "firewall_there"},
    ),
    (
        "we reach nobody",
        own(words=(word(out="timeout"), word("cyn", out="timeout"))),
        {"tcp_out": "firewall_here", "firewall": "firewall_here"},
    ),
    (
        "we reach nobody but the router",
        own(words=(word(out="timeout"), word("cyn", out="timeout")), router=True),
        {"tcp_out": "firewall_there"},
    ),
    ("we do not reach one", own(words=(word(out="timeout"), word("cyn"))), {"tcp_out": "firewall_there"}),
    ("we do not reach the only one", own(words=(word(out="timeout"),)), {"tcp_out": "firewall_there"}),
    (
        "one known is silent",
        own(missed=(Dialled("h", "timeout"),)),
        {"tcp_out": "firewall_there"},
    ),
    (
        "all known are silent",
        own(missed=(Dialled("h", "timeout"), Dialled("i", "timeout"))),
        {"tcp_out": "firewall_here", "firewall": "firewall_here"},
    ),
    (
        "the chosen interface is not there",
        own(used=(), chosen=("eth1",), unused=(Left("eth1", "nothing is plugged in", ()),)),
        {"interface": "wrong_interface"},
    ),
    ("others are of another version", own(other_versions=2), {"version": "version"}),
    ("others are of another office", own(other_offices=2), {"key": "other_office"}),
    (
        "others of another version, others of another office",
        own(other_versions=1, other_offices=2),
        {"version": "version", "key": "other_office"},
    ),
    ("offices side by side", own(other_offices=2, words=(word(),)), {}),
]


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in OWN], ids=[row[0] for row in OWN])
def test_this_machine(seen: Own, expected: dict[str, str]) -> None:
    assert troubles(verdicts.own(seen)) == expected


FAR = {"near": False, "sighted": False}
ALIVE: dict[str, Any] = {"through": "cyn", "findings": findings(dialled=(("10.77.0.1", "host_down"),))}
REACHED = own(words=(word("cyn"),))

BETWEEN: list[tuple[str, Case, dict[str, str]]] = [
    ("all is well", case(met(), linked=link(), through="itself"), {}),
    ("linked with another network", case(met(), linked=link(), **FAR), {}),
    ("another network, not linked", case(met(), **FAR), {"discovery": "other_subnet"}),
    (
        "here, and not heard",
        case(met(), sighted=False, findings=findings(sighted=False)),
        {"discovery": "no_multicast"},
    ),
    ("here, and does not announce itself", case(met(), sighted=False, linked=link()), {}),
    (
        "deaf there",
        case(met(), sighted=False, findings=findings(hears_itself=False)),
        {"there discovery": "firewall_there"},
    ),
    (
        "no mDNS there",
        case(met(), sighted=False, findings=findings(discovery="it stopped")),
        {"there discovery": "no_multicast"},
    ),
    ("large packets stick", case(met(stuck="there", findings=None)), {"tcp_out": "mtu"}),
    ("connected, then silence", case(failed("silent")), {"tcp_out": "mtu"}),
    ("hangs up", case(failed("closed")), {"tcp_out": "other_office"}),
    ("hangs up, and says why", case(failed("closed"), foreign="version"), {"tcp_out": "version"}),
    (
        "hangs up, and announces another office",
        case(failed("closed"), foreign="other_office"),
        {"tcp_out": "other_office"},
    ),
    ("no such name", case(failed("name")), {"tcp_out": "host_down"}),
    ("no address known", case(), {"address": "host_down"}),
    ("no way there", case(failed("unreachable"), **FAR), {"tcp_out": "other_subnet"}),
    (
        "on the network of another card",
        case(failed("timeout"), elsewhere="eth1"),
        {"tcp_out": "wrong_interface"},
    ),
    ("nothing listens", case(failed("port_closed")), {"tcp_out": "port_closed"}),
    (
        "refused, though it runs",
        case(failed("port_closed"), through="cyn", findings=findings()),
        {"tcp_out": "firewall_there"},
    ),
    ("nobody has that address", case(failed("host_down")), {"tcp_out": "host_down"}),
    ("only the router answers", case(failed("host_down"), alone=True), {"tcp_out": "client_isolation"}),
    (
        "the same, and only its link-local address is known, which it tells nobody",
        case(Probed(Address("fe80::2%eth0", 26700), "host_down"), **ALIVE, own=REACHED),
        {
            "tcp_out": "client_isolation",
            "tcp_in": "client_isolation",
            "there tcp_out": "client_isolation",
        },
    ),
    (
        "a third machine reaches both",
        case(failed("host_down"), **ALIVE, own=REACHED),
        {
            "tcp_out": "client_isolation",
            "tcp_in": "client_isolation",
            "there tcp_out": "client_isolation",
        },
    ),
    (
        "it has another address now",
        case(failed("host_down"), through="cyn", findings=findings(hosts=("10.77.0.99",))),
        {"tcp_out": "host_down"},
    ),
    (
        "a router says it cannot be reached",
        case(failed("host_down"), through="cyn", findings=findings(), **FAR),
        {"tcp_out": "other_subnet"},
    ),
    (
        "only this direction is blocked",
        case(failed("timeout"), linked=link(initiator=False), through="itself", findings=findings()),
        {"tcp_out": "firewall_there"},
    ),
    (
        "nothing leaves this machine",
        case(
            failed("timeout"),
            own=own(words=(word(out="timeout"), word("cyn", out="timeout"))),
        ),
        {"tcp_out": "firewall_here"},
    ),
    ("there, and silent", case(failed("timeout")), {"tcp_out": "firewall_there"}),
    ("silent behind a router", case(failed("timeout"), **FAR), {"tcp_out": "other_subnet"}),
    (
        "silent both ways on one network, and a third reaches both",
        case(
            failed("timeout"),
            through="cyn",
            findings=findings(dialled=(("10.77.0.1", "timeout"),)),
            own=REACHED,
        ),
        {
            "tcp_out": "client_isolation",
            "tcp_in": "client_isolation",
            "there tcp_out": "client_isolation",
        },
    ),
    (
        "it does not reach us, and nobody else does",
        case(met(), linked=link(), findings=findings(dialled=(("10.77.0.1", "timeout"),))),
        {"tcp_in": "firewall_here", "there tcp_out": "firewall_here"},
    ),
    (
        "it does not reach us, and others do",
        case(met(), linked=link(), own=REACHED, findings=findings(dialled=(("10.77.0.1", "timeout"),))),
        {"tcp_in": "firewall_there", "there tcp_out": "firewall_there"},
    ),
    ("another key answers", case(met(account=EVE), linked=link()), {"key": "key_changed"}),
    (
        "somebody else uses the name since",
        case(failed("host_down"), heir="bob~acdc"),
        {"tcp_out": "host_down", "key": "key_changed"},
    ),
    ("both use the name", case(met(), linked=link(), heir="bob~acdc"), {}),
    ("its clock is wrong", case(met(), linked=link(), now_ms=10**6), {"there clock": "clock"}),
]


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in BETWEEN], ids=[row[0] for row in BETWEEN])
def test_the_way_to_another(seen: Case, expected: dict[str, str]) -> None:
    assert troubles(verdicts.between(seen)) == expected


def test_every_cause_of_the_contract_is_found() -> None:
    """But for those of this machine's disk and archive, which need no network (health)."""
    said = {cause for row in (*OWN, *BETWEEN) for cause in row[2].values()}
    assert said == set(
        "no_multicast client_isolation firewall_here firewall_there other_subnet wrong_interface mtu".split()
        + "port_closed host_down other_office key_changed clock version".split()
    )


def test_one_check_of_each_name_and_a_trouble_rather_than_none() -> None:
    good = verdicts.check("tcp_out", "here", True, "well")
    bad = verdicts.check("tcp_out", "here", False, "not well", "mtu", "do that")
    there = verdicts.check("clock", "there", True, "well")
    disk = verdicts.check("disk", "here", True, "room")
    assert verdicts.together([there, disk, good, bad, good]) == [bad, disk, there]
    assert verdicts.together([good, verdicts.check("tcp_out", "here", True, "later")])[0]["detail"] == "later"
