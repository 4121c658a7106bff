"""What this system knows of its network: routers, neighbours, its firewall.

Decides: where that is read. Does not know: what follows from it. Read without any right, so the rules
of a firewall themselves stay unseen; where a system tells nothing the answer is empty, and nobody is
blamed. Blocking; milliseconds, but for `answers` and `sweep`.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

ROUTES: Final = Path("/proc/net/route")
DISCARD: Final = 9
SETTLED_S: Final = 9.5
"""Nobody it knows: the kernel asks for 3 s. One it has not heard for a while: it believes for 5 s that
he is still there, then asks."""
BELIEVED_S: Final = 45.0
"""So long it believes at most, unasked, in one it has just heard."""
LOOK_S: Final = 0.25
AGAIN_S: Final = 1.0
HERE: Final = 0x02
GONE: Final = 0x20
ASKED: Final = 0x01 | 0x04 | 0x08 | 0x10
"""NUD_REACHABLE; NUD_FAILED; INCOMPLETE, STALE, DELAY, PROBE of rtnetlink(7)."""
TICKS: Final = 100
"""USER_HZ: the age of a confirmation is told in these."""
MOST_SWEPT: Final = 254
GROUP: Final = "224.0.0.251"


def routers() -> tuple[str, ...]:
    """Where IPv4 packets for elsewhere are sent."""
    found = []
    for words in _rows(ROUTES):
        if len(words) > 2 and words[1] == "00000000" and words[2] != "00000000":
            found.append(socket.inet_ntoa(struct.pack("<L", int(words[2], 16))))
    return tuple(found)


class Neighbour(NamedTuple):
    """What the kernel knows of one: NUD_ state, and how many seconds ago he was last heard."""

    state: int
    heard_s: float


def neighbours() -> dict[str, Neighbour]:
    """Neighbours the kernel has asked for lately, by address; empty where it does not tell."""
    found: dict[str, Neighbour] = {}
    if sys.platform != "linux":
        return found
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as asker:
            asker.settimeout(1.0)
            asker.send(_ASK_NEIGHBOURS)
            while True:
                data = asker.recv(1 << 16)
                while data:
                    length, kind = struct.unpack_from("=IH", data)
                    if kind != _NEW_NEIGHBOUR:  # done, or an error
                        return found
                    found.update(_neighbour(data[16:length]))
                    data = data[(length + 3) & ~3 :]
    except (OSError, struct.error):
        return found


_NEW_NEIGHBOUR: Final = 28
_ASK_NEIGHBOURS: Final = struct.pack("=IHHIIBxHiHBB", 28, 30, 0x301, 1, 0, 0, 0, 0, 0, 0, 0)
"""RTM_GETNEIGH with NLM_F_REQUEST | NLM_F_DUMP, and an empty ndmsg."""
_ADDRESS: Final = 1
_CACHE_INFO: Final = 3
"""NDA_DST; NDA_CACHEINFO, whose first word is the age of the last confirmation."""


def _neighbour(body: bytes) -> dict[str, Neighbour]:
    """One ndmsg and its attributes."""
    family, _, state = struct.unpack_from("=BxxxiH", body)
    at, address, ticks = 12, "", 0
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if kind == _ADDRESS and family in (socket.AF_INET, socket.AF_INET6):
            address = socket.inet_ntop(family, body[at + 4 : at + length])
        elif kind == _CACHE_INFO:
            (ticks,) = struct.unpack_from("=I", body, at + 4)
        at += max(4, (length + 3) & ~3)
    return {address: Neighbour(state, ticks / TICKS)} if address else {}


def _rows(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text("ascii").splitlines()[1:]]
    except (OSError, ValueError):
        return []  # another system, or it does not tell


def answers(host: str) -> bool | None:
    """Whether a machine of our own network is there at all, whatever its firewall says to us: does it
    tell its hardware address? None where the system does not say.

    Up to SETTLED_S; where it has vanished within the last minute up to BELIEVED_S more, for so long the
    kernel does not ask.
    """
    bare = host.partition("%")[0]
    began = time.monotonic()
    with ExitStack() as stack:
        while time.monotonic() < began + BELIEVED_S + SETTLED_S:
            asker = _provoke(stack, host)
            again = time.monotonic() + AGAIN_S
            while time.monotonic() < again:
                time.sleep(LOOK_S)
                if asker is not None and _refused(asker):
                    return True
                known = neighbours().get(bare)
                if known is not None and known.state & GONE:
                    return False
                if known is not None and known.state & HERE and known.heard_s < time.monotonic() - began:
                    return True
                if known is None and time.monotonic() > began + AGAIN_S:
                    return None
    return None


def sweep(network: str) -> tuple[str, ...]:
    """Who answers on an IPv4 network of ours, by asking for each hardware address; empty where unknown.
    Who was heard within the last minute counts.

    Of a network wider than 254 addresses those next to ours are asked for. No packet that leaves
    says more than that somebody looks for a neighbour. Up to SETTLED_S.
    """
    ours = ipaddress.ip_interface(network)
    if ours.version != 4:
        return ()
    net = ours.network if ours.network.prefixlen >= 24 else ipaddress.ip_interface(f"{ours.ip}/24").network
    asked = {str(one): None for one in list(net.hosts())[:MOST_SWEPT] if one != ours.ip}
    here: dict[str, None] = {}
    deadline = time.monotonic() + SETTLED_S
    silent = list(asked)
    while silent and time.monotonic() < deadline:
        with ExitStack() as stack:
            for host in silent:
                _provoke(stack, host)
        time.sleep(LOOK_S)
        states = {host: one.state for host, one in neighbours().items() if host in asked}
        here.update((host, None) for host, state in states.items() if state & HERE)
        silent = [host for host, state in states.items() if state & ASKED and host not in here]
    return tuple(host for host in asked if host in here)


def _provoke(stack: ExitStack, host: str) -> socket.socket | None:
    """Have the kernel ask for this address: a datagram to nobody's port. The socket hears a refusal."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, DISCARD, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
        asker = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        asker.setblocking(False)
        asker.connect(found[0][4])
        asker.send(b"")
    except OSError:
        return None  # refused or full: whoever lives is found by another
    return asker


def _refused(asker: socket.socket) -> bool:
    """Whether somebody has said that nothing listens there."""
    try:
        asker.recv(1)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False  # nothing yet, or a router's word
    return True


def returns(wait_s: float = 0.5) -> bool | None:
    """Whether multicast to the group of mDNS, but on a port of our own, comes back to this machine; None
    if it cannot be tried. It does so without any network gear: what stops it is this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as both:
        try:
            both.bind(("", 0))
            member = socket.inet_aton(GROUP) + socket.inet_aton("0.0.0.0")  # noqa: S104 - joins a group
            both.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            both.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            both.settimeout(wait_s)
            both.sendto(b"p2pchat", (GROUP, both.getsockname()[1]))
            return both.recv(64) == b"p2pchat"
        except TimeoutError:
            return False
        except OSError:
            return None


def firewalls() -> tuple[str, ...]:
    """Firewalls that are installed here, by the tool that opens a port in them."""
    if sys.platform == "win32":
        return ("netsh",)
    if sys.platform == "darwin":
        return ("socketfilterfw",)
    return tuple(
        tool for tool in ("ufw", "firewall-cmd", "nft", "iptables") if shutil.which(tool, path=_PATH)
    )


_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def remedy(tools: Iterable[str], port: int, *, outgoing: bool = False) -> str:
    """What opens `port` in the firewall of this system; for outgoing calls, what lets them out."""
    found = tuple(tools)
    if outgoing:
        return f"let this machine's firewall pass outgoing TCP to ports {port} and up"
    for tool, said in _REMEDIES.items():
        if tool in found:
            return said.format(port=port)
    return f"open TCP {port} and UDP 5353 in this machine's firewall"


_REMEDIES: Final = {
    "ufw": "sudo ufw allow {port}/tcp && sudo ufw allow 5353/udp",
    "firewall-cmd": "sudo firewall-cmd --permanent --add-port={port}/tcp --add-service=mdns"
    " && sudo firewall-cmd --reload",
    "netsh": "as administrator: netsh advfirewall firewall add rule name=p2pchat dir=in action=allow"
    " protocol=TCP localport={port}",
    "socketfilterfw": "System Settings, Network, Firewall: allow incoming connections for python",
    "nft": "open TCP {port} and UDP 5353 in the input chain: `sudo nft list ruleset` shows it",
    "iptables": "sudo iptables -I INPUT -p tcp --dport {port} -j ACCEPT"
    " && sudo iptables -I INPUT -p udp --dport 5353 -j ACCEPT",
}


def opened_there(port: int) -> str:
    """What the person at the other machine should do, whatever system that is."""
    return (
        f"on the other machine open TCP {port} in the firewall"
        f" (Linux: `sudo ufw allow {port}/tcp`; Windows: allow p2pchat in private networks)"
    )
