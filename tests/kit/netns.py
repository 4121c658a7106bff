"""Real machines on one switch, made of Linux network namespaces.

Decides: how namespaces, cables (veth pairs) and switches (bridges) are made, pulled and
removed. Does not know: what runs in them. Used by tests/lan and tests/bench; needs root
(`tests.kit.needs.needs_netns`).

    with Network(3) as net:
        alice, bob, carol = net.hosts
        daemon = alice.popen("p2pchat", "up", "--foreground", env=...)
        bob.run("ping", "-c1", alice.ip, check=True)
        bob.unplug()          # carrier lost, as when the cable leaves the socket
        bob.plug()
        net.split([alice], [bob, carol])   # two switches; every carrier stays up
        net.join()

Host i has 10.77.0.<i+1>/16, fd77::<i+1>/64 and a link-local address on `eth0`; nothing is
routed anywhere else, so no packet leaves the namespaces. All switches live in a namespace
of their own. Multicast is flooded like on a plain office switch (no snooping). On the way
out every process that still lives in a namespace is ended and every namespace deleted.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

COMMAND_S: Final = 60.0
"""How long `run` lets a command take unless told; nothing here may hang a gate."""
CROWD: Final = 12
"""From so many machines on, each knows the others' hardware addresses beforehand. The kernel
keeps at most 1,024 learnt neighbours (gc_thresh3) for all namespaces together, 50 machines with
three addresses each have 7,350: without this their connections time out, as on no real network."""
END_S: Final = 5.0
"""How long processes have between SIGTERM and SIGKILL when the network is taken down."""

_serial = itertools.count()


def ip(*arguments: str, batch: str | None = None) -> str:
    """Run iproute2's `ip`; its output. RuntimeError with its own words if it fails."""
    done = subprocess.run(["ip", *arguments], input=batch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """One machine: a namespace with a cable from `eth0` to the switch.

    `ip` its IPv4 address, `ip6` its routable IPv6 one, `link_local` that of its hardware
    address; "" where the network has none.
    """

    def __init__(self, network: Network, number: int) -> None:
        self.network = network
        self.number = number
        self.namespace = f"{network.name}h{number}"
        self.ip = f"10.77.{number >> 8}.{(number & 255) + 1}" if network.ipv4 else ""
        self.ip6 = f"fd77::{number + 1:x}" if network.ipv6 else ""
        self.hardware = f"02:00:00:00:{number + 1 >> 8:02x}:{number + 1 & 255:02x}"
        self.link_local = f"fe80::ff:fe00:{number + 1:x}" if network.ipv6 else ""

    def command(self, *argv: str | os.PathLike[str]) -> list[str]:
        """`argv` as a command that runs on this machine; its pid is that of `argv` itself."""
        return ["ip", "netns", "exec", self.namespace, *(os.fspath(word) for word in argv)]

    def run(self, *argv: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """subprocess.run here, output captured as text, at most COMMAND_S; `options` override."""
        settings: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
        return subprocess.run(self.command(*argv), **(settings | {"timeout": COMMAND_S} | options))

    def popen(self, *argv: str | os.PathLike[str], **options: Any) -> subprocess.Popen[Any]:
        """subprocess.Popen here, in a process group of its own, silent unless told."""
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        settings: dict[str, Any] = {**silent, "start_new_session": True}
        return subprocess.Popen(self.command(*argv), **(settings | options))

    def pids(self) -> list[int]:
        """Processes that live here, those detached from us included."""
        return [int(word) for word in ip("netns", "pids", self.namespace).split()]

    # -- cables -----------------------------------------------------------------------

    def unplug(self, device: str = "eth0") -> None:
        """Pull the cable out: this machine sees the carrier go, addresses stay."""
        self.network.switch("link", "set", self._port(device), "down")

    def plug(self, device: str = "eth0") -> None:
        """Put the cable back."""
        self.network.switch("link", "set", self._port(device), "up")

    def move(self, switch: int, device: str = "eth0") -> None:
        """Put the cable's far end into switch number `switch`; the carrier stays up here."""
        self.network.need_switch(switch)
        self.network.switch("link", "set", self._port(device), "master", f"sw{switch}")

    def attach(self, device: str, switch: int, *addresses: str) -> None:
        """A further interface `device` on `switch` with `addresses` (such as 10.78.0.1/24)."""
        self.network.need_switch(switch)
        self.network.switch(
            "link", "add", self._port(device), "type", "veth", "peer", device, "netns", self.namespace
        )
        self.network.switch("link", "set", self._port(device), "master", f"sw{switch}", "up")
        for address in addresses:
            self.address("add", address, device)
        ip("-n", self.namespace, "link", "set", device, "up")

    def limit(self, mbit: int, device: str = "eth0") -> None:
        """So many megabits a second each way from now on (tc-tbf), as on a slow socket; what waits is at
        most 20 ms of it. RuntimeError where the kernel has no tbf."""
        shape = ("root", "tbf", "rate", f"{mbit}mbit", "burst", "128k", "latency", "20ms")
        ends = ((self.namespace, device), (self.network.namespace, self._port(device)))
        for namespace, end in ends:
            argv = ["tc", "-n", namespace, "qdisc", "replace", "dev", end, *shape]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")

    def address(self, verb: str, address: str, device: str = "eth0") -> None:
        """`verb` add or del an address with its prefix length."""
        nodad = ["nodad"] if verb == "add" and ":" in address else []
        ip("-n", self.namespace, "address", verb, address, "dev", device, *nodad)

    def _port(self, device: str) -> str:
        return f"h{self.number}{device}"


class Network:
    """`count` machines on one switch; a context manager.

    `ipv4` and `ipv6`: which routable addresses machines get. With `ipv6` False there is
    no IPv6 at all, not even link-local. `plugged` False leaves every cable out, for
    daemons that start before the network does. `namespace` is where the switches are: a
    packet capture there sees every cable.
    """

    def __init__(self, count: int, *, ipv4: bool = True, ipv6: bool = True, plugged: bool = True) -> None:
        self.name = f"pc{os.getpid()}-{next(_serial)}"
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.plugged = plugged
        self.hosts = [Host(self, number) for number in range(count)]
        self._switches: list[int] = []
        self.namespace = f"{self.name}sw"

    def __enter__(self) -> Network:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def split(self, *groups: Sequence[Host]) -> None:
        """Each group on a switch of its own: nobody hears the others, every carrier stays."""
        for number, group in enumerate(groups):
            for host in group:
                host.move(number)

    def join(self) -> None:
        """Everybody back on the first switch."""
        self.split(self.hosts)

    def close(self) -> None:
        """End what runs in the namespaces, then delete them. Twice is harmless."""
        there = set(ip("netns", "list").split())
        mine = [host for host in self.hosts if host.namespace in there]
        for send in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + END_S
            if not self._signal(mine, send):
                break
            while any(host.pids() for host in mine) and time.monotonic() < deadline:
                time.sleep(0.02)  # real processes: no clock to hand in
        for namespace in [host.namespace for host in mine] + [self.namespace] * (self.namespace in there):
            ip("netns", "delete", namespace)

    def switch(self, *words: str) -> None:
        """`ip WORDS…` where the switches are."""
        ip("-n", self.namespace, *words)

    def in_switch(self, *argv: str, input: str | None = None) -> None:
        """Run a program where the switches are; RuntimeError with its own words if it fails."""
        command = ["ip", "netns", "exec", self.namespace, *argv]
        done = subprocess.run(
            command, input=input, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")

    def need_switch(self, number: int) -> None:
        """Make switch `number` unless it is there."""
        if number not in self._switches:
            self._switches.append(number)
            self.switch("link", "add", f"sw{number}", "type", "bridge", "mcast_snooping", "0")
            self.switch("link", "set", f"sw{number}", "up")

    def _signal(self, hosts: Sequence[Host], number: signal.Signals) -> bool:
        """Send a signal to all that lives on these hosts; False if nothing did."""
        pids = [pid for host in hosts for pid in host.pids()]
        for pid in pids:
            with suppress(ProcessLookupError):  # ended meanwhile
                os.kill(pid, number)
        return bool(pids)

    def _make(self) -> None:
        ip("netns", "add", self.namespace)
        self.need_switch(0)
        state = "up" if self.plugged else "down"
        cables = []
        for host in self.hosts:
            ip("netns", "add", host.namespace)
            port = f"h{host.number}eth0"
            far = f"peer eth0 address {host.hardware} netns {host.namespace}"
            cables.append(f"link add {port} type veth {far}")
            cables.append(f"link set {port} master sw0 {state}")
        ip("-n", self.namespace, "-batch", "-", batch="\n".join(cables))
        for host in self.hosts:
            self._settle(host)

    def _settle(self, host: Host) -> None:
        """Addresses and routes of one machine; duplicate detection off, so that they work at once."""
        family = "default" if self.ipv6 else "all"
        word = "accept_dad" if self.ipv6 else "disable_ipv6"
        value = "0" if self.ipv6 else "1"
        script = f"echo {value} > /proc/sys/net/ipv6/conf/{family}/{word}"
        if self.ipv6:
            script += "; echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad"
        host.run("sh", "-c", script, check=True)
        lines = ["link set lo up"]
        if self.ipv4:
            lines.append(f"address add {host.ip}/16 broadcast + dev eth0")
        if self.ipv6:
            lines.append(f"address add {host.ip6}/64 dev eth0 nodad")
        lines.append("link set eth0 up")
        if self.ipv4:  # what a default route would do for multicast, without leading anywhere
            lines.append("route add 224.0.0.0/4 dev eth0")
        if len(self.hosts) >= CROWD:
            for other in self.hosts:
                for address in filter(None, (other.ip, other.ip6, other.link_local)):
                    lines.append(f"neighbour replace {address} lladdr {other.hardware} dev eth0")
        ip("-n", host.namespace, "-batch", "-", batch="\n".join(lines))
