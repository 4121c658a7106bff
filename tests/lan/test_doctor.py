"""Every broken network of the design, made of namespaces and nft: the doctor names it; on a whole one he
is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit.hosts import Machine, drop, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.routed import FAR, Router, bridge, doubting, filtered, isolate, no_multicast

pytestmark = [needs_netns, needs_tool("nft")]

TCP = "tcp dport 26700-26709 drop"


class Wrong(dict[tuple[str, str], dict[str, Any]]):
    """What a doctor found wrong, by name and side; who looks for more is shown all that he said."""

    def __init__(self, checks: list[dict[str, Any]]) -> None:
        super().__init__({(one["name"], one["side"]): one for one in checks if not one["ok"]})
        self.checks = checks

    def __missing__(self, key: tuple[str, str]) -> dict[str, Any]:
        raise AssertionError(f"nothing wrong with {key}: {self.checks}")


def examined(machine: Machine, *target: str, ok: bool = False) -> Wrong:
    """`doctor`, and what it found wrong."""
    answer = machine.attempt("doctor", *target, timeout_s=120)
    checks = answer.json["checks"]
    found = Wrong(checks)
    assert answer.code == (1 if found else 0), answer
    assert answer.json["ok"] is not bool(found)
    for one in checks:
        assert one["detail"], one
        caused = one["cause"] is not None or one["name"] == "daemon"  # which just does not run
        assert (one["cause"] is None and not one["fix"]) if one["ok"] else (caused and one["fix"]), one
    if ok:
        assert not found, found
    return found


def causes(found: Wrong) -> set[str]:
    return {one["cause"] for one in found.values()}


def at_once(*looks: Callable[[], Wrong]) -> list[Wrong]:
    """Several doctors at a time."""
    with ThreadPoolExecutor(len(looks)) as pool:
        return [one.result() for one in [pool.submit(look) for look in looks]]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        yield ann, bob, cyn


def test_a_whole_network(three: tuple[Machine, Machine, Machine]) -> None:
    ann, bob, cyn = three
    examined(ann, ok=True)
    examined(ann, "bob", ok=True)
    examined(bob, host_of(cyn).ip, ok=True)
    examined(cyn, f"[{host_of(ann).ip6}]:26700", ok=True)
    missing = ann.attempt("doctor", "nobody-of-that-name")
    assert missing.code == 4
    ann.send(bob, "between us")
    report = ann.attempt("bugreport").out
    assert "ready, version" in report
    told = [word for one in (ann, bob, cyn) for word in (one.name, host_of(one).ip, host_of(one).ip6)]
    told += ["between us", ann.p2pchat("status")["me"]["account"][:8], str(ann.home), "10.77.", "02:00:00"]
    assert [word for word in told if word.casefold() in report.casefold()] == []


@contextmanager
def behind(folder: Path, hook: str) -> Iterator[tuple[Machine, Machine]]:
    """Ann's machine has a firewall, Bob's and Cyn's have none; all have met all the same."""
    with office(3, folder) as (_, (ann, bob, cyn)), filtered(host_of(ann), hook, TCP):
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        yield ann, bob


def test_a_firewall_that_lets_nothing_in(tmp_path: Path) -> None:
    """Ann's: she is told of herself; Bob is told of her."""
    with behind(tmp_path, "input") as (ann, bob):
        found, seen = at_once(lambda: examined(ann), lambda: examined(bob, "ann"))
        assert found["tcp_in", "here"]["cause"] == "firewall_here"
        assert found["firewall", "here"]["cause"] == "firewall_here"
        assert "26700" in found["firewall", "here"]["fix"]
        assert seen["tcp_out", "here"]["cause"] == "firewall_there"
        assert "firewall_here" not in causes(seen)


def test_a_firewall_that_lets_nothing_out(tmp_path: Path) -> None:
    with behind(tmp_path, "output") as (ann, bob):
        found, seen = at_once(lambda: examined(ann), lambda: examined(bob, "ann"))
        assert found["tcp_out", "here"]["cause"] == "firewall_here"
        assert ("tcp_in", "here") not in found
        assert seen["tcp_out", "there"]["cause"] == "firewall_there"
        assert ("tcp_out", "here") not in seen


def test_mdns_stopped_on_this_machine(tmp_path: Path) -> None:
    with office(2, tmp_path) as (_, (ann, bob)):
        with drop(ann, "udp dport 5353"):
            ann.up()
            bob.up()
            assert ann.p2pchat("peers", "add", host_of(bob).ip)["connected"]
            found = examined(ann)
            assert found["discovery", "here"]["cause"] == "firewall_here"
            assert "5353" in found["discovery", "here"]["detail"]


def test_multicast_blocked_by_the_switch(tmp_path: Path) -> None:
    with office(3, tmp_path) as (net, (ann, bob, cyn)):
        with no_multicast(net.hosts[0]):
            for machine in (ann, bob, cyn):
                machine.up()
            examined(ann, ok=True)  # who is alone may just be alone
            found = examined(ann, host_of(bob).ip)
            assert found["discovery", "here"]["cause"] == "no_multicast"
            assert ann.p2pchat("peers", "add", host_of(bob).ip)["connected"]
            assert cyn.p2pchat("peers", "add", host_of(bob).ip)["connected"]
            meet(ann, bob, cyn, timeout_s=20)
            found = examined(ann)
            assert found["discovery", "here"]["cause"] == "no_multicast"
            assert causes(found) == {"no_multicast"}


def part(one: Machine, other: Machine) -> None:
    """Isolate two machines from each other. Their link is torn at once: to miss an answer takes 14 s."""
    here, there = host_of(one), host_of(other)
    isolate(here, there)
    torn = (
        f"ip daddr {there.ip} meta l4proto tcp reject with tcp reset",
        f"ip6 daddr {{ {there.ip6}, {there.link_local} }} meta l4proto tcp reject with tcp reset",
    )
    with filtered(here, "output", "\n".join(torn)):
        one.send(other, "are you there")
        until(lambda: not one.sees(other), 20, "the link is torn")


def test_an_access_point_that_isolates(tmp_path: Path) -> None:
    """Ann and Bob are clients, Cyn hangs on a cable: she reaches both."""
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        doubting(host_of(ann))
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        part(ann, bob)
        found = examined(ann, "bob")
        assert found["tcp_out", "here"]["cause"] == "client_isolation", found
        assert causes(found) == {"client_isolation"}, found
        cyn.down()
        found = examined(ann, "bob")
        assert causes(found) <= {"client_isolation", "host_down"}, found


def test_nobody_but_the_router_answers(tmp_path: Path) -> None:
    """A guest network: Ann knows Bob from yesterday."""
    with office(3, tmp_path, names=("ann", "bob")) as (net, (ann, bob)):
        Router(net.hosts[2])
        doubting(host_of(ann))
        ann.up()
        bob.up()
        meet(ann, bob)
        examined(ann, ok=True)
        part(ann, bob)
        found = examined(ann)
        assert found["discovery", "here"]["cause"] == "client_isolation"
        assert causes(examined(ann, "bob")) == {"client_isolation"}


def test_subnets(tmp_path: Path) -> None:
    """Behind a router: what is whole, what the router drops, where large packets vanish, who is not there."""
    with office(4, tmp_path, names=("ann", "bob", "cyn")) as (net, (ann, bob, cyn)):
        router = Router(net.hosts[3])
        router.behind(host_of(cyn))
        doubting(host_of(ann), router.host)
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob)
        there = host_of(cyn).ip
        found = examined(ann, there)  # it is there, and not met: a router is in between
        assert causes(found) == {"other_subnet"}
        assert f"peers add {there}" in found["discovery", "here"]["fix"]
        with router.forwards("tcp dport 26700-26709 drop"):
            found = examined(ann, there)
            assert found["tcp_out", "here"]["cause"] == "other_subnet"
        assert ann.p2pchat("peers", "add", there)["connected"]
        meet(ann, bob, cyn, timeout_s=20)
        examined(ann, ok=True)
        examined(ann, "cyn", ok=True)
        examined(cyn, "bob", ok=True)
        with router.forwards("ip length > 1200 drop\nmeta nfproto ipv6 meta length > 1200 drop"):
            found = examined(bob, "cyn")
            assert found["tcp_out", "here"]["cause"] == "mtu"
        cyn.kill()
        until(lambda: not ann.sees(cyn), 20, "cyn is gone")
        assert causes(examined(ann, "cyn")) == {"port_closed"}
        host_of(cyn).unplug()
        found = examined(ann, "cyn")
        assert causes(found) <= {"host_down", "other_subnet"}


def test_the_wrong_interface(tmp_path: Path) -> None:
    """Ann has two cards and has chosen one; Bob is on the other."""
    with office(2, tmp_path) as (_, (ann, bob)):
        host_of(bob).move(FAR)
        host_of(bob).address("del", f"{host_of(bob).ip}/16")
        host_of(bob).address("add", "10.79.0.2/16")
        host_of(ann).attach("eth1", FAR, "10.79.0.1/16")
        ann.up("--interface", "eth0")
        bob.up()
        with drop(ann, "ip daddr 10.79.0.0/16"):
            found = examined(ann, "10.79.0.2")
            assert found["tcp_out", "here"]["cause"] == "wrong_interface"
        ann.down()
        host_of(ann).unplug("eth1")
        ann.up("--interface", "eth1")
        found = examined(ann)
        assert "wrong_interface" in causes(found)


def test_ipv6_alone(tmp_path: Path) -> None:
    """No IPv4 anywhere, and at Bob's not even a routable address."""
    with office(2, tmp_path, ipv4=False) as (_, (ann, bob)):
        host_of(bob).address("del", f"{host_of(bob).ip6}/64")
        for machine in (ann, bob):
            machine.up()
        meet(ann, bob)
        examined(ann, ok=True)
        examined(ann, "bob", ok=True)
        examined(bob, "ann", ok=True)


def test_container_bridges(tmp_path: Path) -> None:
    """Both have containers behind bridges of the same usual address, and a bridge that is empty."""
    with office(2, tmp_path) as (_, (ann, bob)):
        for machine in (ann, bob):
            bridge(host_of(machine), "docker0", "172.17.0.1/16")
            bridge(host_of(machine), "docker1", "172.18.0.1/16", plugged=False)
            machine.up()
        meet(ann, bob)
        assert ann.send(bob, "past the containers", "--wait", "delivered")["state"] == "delivered"
        for one, other in ((ann, bob), (bob, ann)):
            assert not (one.peer(other) or {})["address"].startswith("172."), "that would be itself"
            examined(one, ok=True)
            examined(one, other.name, ok=True)


def test_after_a_new_lease(tmp_path: Path) -> None:
    """All is well again, and the doctor says nothing."""
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        host = host_of(bob)
        host.address("del", f"{host.ip6}/64")
        host.address("del", f"{host.ip}/16")
        host.address("add", "10.77.9.9/16")
        host.run("ip", "route", "replace", "224.0.0.0/4", "dev", "eth0", check=True)
        ann.send(bob, "found again", "--wait", "delivered", "--timeout", "20")
        examined(ann, ok=True)
        examined(bob, ok=True)
