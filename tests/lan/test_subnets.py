"""Offices of several networks: a router between two switches, sites joined by a VPN, and addresses given
to one machine of each: everybody meets everybody."""

from __future__ import annotations

from pathlib import Path

from tests.kit.hosts import host_of, meet, office
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.routed import Router

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
