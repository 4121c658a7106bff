"""Two sites and a WireGuard between their routers, as docs/network.md describes it; and a machine on the
road that has a tunnel of its own."""

from __future__ import annotations

from pathlib import Path

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.netns import Host
from tests.kit.routed import FAR, forward, renumber, route
from tests.kit.vpn import WireGuard

pytestmark = [needs_netns, needs_tool("wireguard-go"), needs_tool("wg")]

INTERNET = 2
JOINED_S = 30.0


def line(router: Host, number: int) -> str:
    """The router's address on the open network between the sites."""
    address = f"203.0.113.{number}"
    router.attach("eth1", INTERNET, f"{address}/24")
    forward(router)
    return address


def test_one_address_joins_two_sites(tmp_path: Path) -> None:
    with office(6, tmp_path) as (net, machines):
        ann, bob, cyn, dan = machines
        here, there = net.hosts[4:]
        there.move(FAR)
        renumber(there, "10.78.0.254/16")
        for machine in (ann, bob):
            route(host_of(machine), "default", here.ip)
        for machine in (cyn, dan):
            host_of(machine).move(FAR)
            renumber(host_of(machine), f"10.78.0.{host_of(machine).number + 1}/16")
            route(host_of(machine), "default", there.ip)
        with WireGuard(here, "10.99.0.1", line(here, 1), there, "10.99.0.2", line(there, 2)) as tunnel:
            tunnel.route(here, "10.78.0.0/16")
            tunnel.route(there, "10.77.0.0/16")
            for machine in machines:
                machine.up()
            meet(ann, bob)
            meet(cyn, dan)
            added = ann.p2pchat("peers", "add", host_of(cyn).ip, timeout_s=60)
            assert added["connected"], added
            meet(*machines, timeout_s=JOINED_S)
            text = "over the line " * 1000  # larger than its packets
            assert bob.send(dan, text, "--wait", "delivered", "--timeout", "20")["state"] == "delivered"
            assert bob.attempt("doctor", "dan", timeout_s=120).code == 0
            tunnel.cut()
            until(lambda: not _any(ann, cyn, dan), 20, "the other site is gone")
            assert ann.sees(bob)
            assert ann.send(cyn, "later")["state"] == "queued"


def _any(one: Machine, *others: Machine) -> bool:
    return any(one.sees(other) for other in others)


def test_two_on_the_road(tmp_path: Path) -> None:
    """Ann and Bob reach nobody but through tunnels to Cyn's machine, which forwards between them:
    introduced by her, they meet by the addresses of their tunnels."""
    with office(3, tmp_path, names=("ann", "bob", "cyn")) as (_, (ann, bob, cyn)):
        host_of(ann).move(FAR)
        host_of(bob).move(INTERNET)
        for number, machine in enumerate((ann, bob)):
            host = host_of(machine)
            host.address("del", f"{host.ip}/16")
            host.address("add", f"203.0.{113 + number}.1/24")
            host_of(cyn).attach(f"eth{number + 1}", FAR + number, f"203.0.{113 + number}.2/24")
        forward(host_of(cyn))
        with (
            WireGuard(
                host_of(ann), "10.99.1.1", "203.0.113.1", host_of(cyn), "10.99.1.2", "203.0.113.2"
            ) as one,
            WireGuard(
                host_of(bob), "10.99.2.1", "203.0.114.1", host_of(cyn), "10.99.2.2", "203.0.114.2", port=51821
            ) as two,
        ):
            one.route(host_of(ann), "10.99.0.0/16")
            two.route(host_of(bob), "10.99.0.0/16")
            for machine in (ann, bob):
                machine.up()
            cyn.up()
            assert ann.p2pchat("peers", "add", "10.99.1.2")["connected"]
            assert bob.p2pchat("peers", "add", "10.99.2.2")["connected"]
            meet(ann, bob, timeout_s=JOINED_S)
            seen = {(ann.peer(bob) or {})["address"], (bob.peer(ann) or {})["address"]}
            assert seen == {"10.99.2.1:26700", "10.99.1.1:26700"}
