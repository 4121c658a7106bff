"""Networks with more than one switch: a router between two of them, what it lets through, a tunnel.

Decides: how machines are put behind a router, and how a router, a switch or a cable is made worse.
Does not know: any test, or what runs on the machines.

    with office(5, tmp_path, names=NAMES) as (net, (ann, bob, cyn, dan)):
        router = Router(net.hosts[4])
        router.behind(host_of(cyn), host_of(dan))     # 10.78/16 on a switch of their own
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.netns import Host, ip

FAR = 1
"""The switch on the other side of the router."""


class Router:
    """A machine of a Network that forwards between its switch and a second one."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.near, self.near6 = host.ip, host.ip6
        self.far, self.far6 = "10.78.0.254", "fd78::fe"
        host.attach("eth1", FAR, f"{self.far}/16", f"{self.far6}/64")
        forward(host)
        for other in host.network.hosts:
            if other is not host:
                route(other, "default", self.near, self.near6)

    def behind(self, *hosts: Host) -> None:
        """Put these on the far switch, under addresses of its network."""
        for host in hosts:
            host.move(FAR)
            renumber(host, f"10.78.0.{host.number + 1}/16", f"fd78::{host.number + 1:x}/64")
            route(host, "default", self.far, self.far6)

    @contextmanager
    def forwards(self, rules: str) -> Iterator[None]:
        """nft rules for what is forwarded, such as `tcp dport 26700 drop`."""
        with filtered(self.host, "forward", rules):
            yield


def forward(host: Host) -> None:
    """This machine passes on what is for others."""
    words = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
    host.run("sh", "-c", words, check=True)


def renumber(host: Host, v4: str, v6: str = "") -> None:
    """Another lease: the old addresses go, these come. `host.ip` and `host.ip6` are then these."""
    if host.ip:
        host.address("del", f"{host.ip}/16")
    if host.ip6:
        host.address("del", f"{host.ip6}/64")
    host.address("add", v4)
    host.ip = v4.partition("/")[0]
    host.ip6 = v6.partition("/")[0]
    if v6:
        host.address("add", v6)
    host.run("ip", "route", "replace", "224.0.0.0/4", "dev", "eth0", check=True)


def route(host: Host, where: str, via: str, via6: str = "", *, where6: str = "default") -> None:
    """Send what is for `where` to a router; replaces what was said before."""
    ip("-n", host.namespace, "route", "replace", where, "via", via)
    if via6 and host.ip6:
        ip("-n", host.namespace, "-6", "route", "replace", where6, "via", via6)


def bridge(host: Host, name: str, address: str, *, plugged: bool = True) -> None:
    """A bridge inside the machine, as containers have it; with a container's cable in it or without."""
    host.run("ip", "link", "add", name, "type", "bridge", check=True)
    host.address("add", address, name)
    if plugged:
        ends = (f"{name}a", f"{name}b")
        host.run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], check=True)
        host.run("ip", "link", "set", ends[0], "master", name, check=True)
        for end in ends:  # what is in the container is none of ours
            host.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{end}/disable_ipv6", check=True)
            host.run("ip", "link", "set", end, "up", check=True)
    host.run("ip", "link", "set", name, "up", check=True)


def doubting(*hosts: Host) -> None:
    """The systems of these notice within some seconds, not within a minute, that a neighbour is gone. Of
    those they know already they notice it later."""
    for host in hosts:
        for family in ("ipv4", "ipv6"):
            host.run("sh", "-c", _DOUBTS.format(family), check=True)


_DOUBTS = (
    "cd /proc/sys/net/{}/neigh/eth0;"
    " echo 1500 > base_reachable_time_ms; echo 1 > delay_first_probe_time; echo 200 > retrans_time_ms"
)


@contextmanager
def filtered(host: Host, hook: str, rules: str) -> Iterator[None]:
    """nft rules on `host` at `hook` (input, output, forward), one a line; loopback is spared."""
    spared = "" if hook == "forward" else f"{'iif' if hook == 'input' else 'oif'}name lo accept\n"
    table = f"seen_{hook}"
    chain = f"chain c {{ type filter hook {hook} priority 0;\n{spared}{rules}\n}}"
    host.run("nft", "-f", "-", input=f"table inet {table} {{\n{chain}\n}}\n", check=True)
    try:
        yield
    finally:
        host.run("nft", "delete", "table", "inet", table, check=True)


def isolate(*hosts: Host) -> None:
    """The switch lets these talk to others, and not to each other: client isolation."""
    for host in hosts:
        host.network.in_switch("bridge", "link", "set", "dev", f"h{host.number}eth0", "isolated", "on")


@contextmanager
def no_multicast(host: Host) -> Iterator[None]:
    """The switch of `host` passes no mDNS on, as some access points do; everybody hears himself."""
    rules = "table bridge seen { chain c { type filter hook forward priority 0; udp dport 5353 drop; }; }"
    host.network.in_switch("nft", "-f", "-", input=rules)
    try:
        yield
    finally:
        host.network.in_switch("nft", "delete", "table", "bridge", "seen")
