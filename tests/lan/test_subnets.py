"""Offices of several networks: a router between two switches, sites joined by a VPN, and addresses given
to one machine of each: everybody meets everybody."""

from __future__ import annotations

from pathlib import Path

from tests.kit.hosts import host_of, meet, office
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.routed import Router, no_multicast, renumber, route

pytestmark = [needs_netns, needs_tool("nft")]

JOINED_S = 20.0


def test_one_address_joins_two_subnets(tmp_path: Path) -> None:
    """Ann and Bob on one side of a router, Cyn and Dan on the other; Ann is told of Cyn alone."""
    with office(5, tmp_path) as (net, (ann, bob, cyn, dan)):
        router = Router(net.hosts[4])
        router.behind(host_of(cyn), host_of(dan))
        for machine in (ann, bob, cyn, dan):
            machine.up()
        meet(ann, bob)
        meet(cyn, dan)
        assert not ann.sees(cyn)
        added = ann.p2pchat("peers", "add", host_of(cyn).ip)
        assert added["connected"], added
        meet(ann, bob, cyn, dan, timeout_s=JOINED_S)
        assert bob.send(dan, "from one end to the other", "--wait", "delivered")["state"] == "delivered"


def test_behind_a_router_addresses_change_and_are_remembered(tmp_path: Path) -> None:
    """Cyn gets another lease; then all are switched off and on, and nobody is told an address again."""
    with office(4, tmp_path, names=("ann", "bob", "cyn")) as (net, (ann, bob, cyn)):
        router = Router(net.hosts[3])
        router.behind(host_of(cyn))
        for machine in (ann, bob, cyn):
            machine.up()
        assert bob.p2pchat("peers", "add", host_of(cyn).ip)["connected"]
        meet(ann, bob, cyn, timeout_s=JOINED_S)
        renumber(host_of(cyn), "10.78.0.99/16", "fd78::99/64")
        route(host_of(cyn), "default", router.far, router.far6)
        sent = ann.send(cyn, "where are you now", "--wait", "delivered", "--timeout", "25")
        assert sent["state"] == "delivered"
        for machine in (ann, bob, cyn):
            machine.kill()
        for machine in (ann, cyn):
            machine.up()
        meet(ann, cyn, timeout_s=JOINED_S)


def test_a_search_where_the_switch_swallows_multicast(tmp_path: Path) -> None:
    with office(3, tmp_path) as (net, (ann, bob, cyn)):
        with no_multicast(net.hosts[0]):
            for machine in (ann, bob, cyn):
                machine.up()
            assert not ann.p2pchat("peers")["peers"]
            bob.p2pchat("config", "set", "probe", "on")
            meet(ann, bob, cyn, timeout_s=60)
