"""What this system knows of its network: routers, neighbours, its firewall.

Decides: where that is read. Does not know: what follows from it. Read without any right, so the rules
of a firewall themselves stay unseen; where a system tells nothing the answer is empty, and nobody is
blamed. Blocking; milliseconds, but for `sweep`.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ARP: Final = Path("/proc/net/arp")
ROUTES: Final = Path("/proc/net/route")
ANSWERED: Final = 0x2
"""ATF_COM of arp(7): the neighbour has told its hardware address."""
DISCARD: Final = 9
SWEPT_S: Final = 1.2
"""So long the kernel asks for a neighbour before most that live have answered; it gives up after 3 s."""
MOST_SWEPT: Final = 254
GROUP: Final = "224.0.0.251"


def routers() -> tuple[str, ...]:
    """Where IPv4 packets for elsewhere are sent."""
    found = []
    for words in _rows(ROUTES):
        if len(words) > 2 and words[1] == "00000000" and words[2] != "00000000":
            found.append(socket.inet_ntoa(struct.pack("<L", int(words[2], 16))))
    return tuple(found)


def neighbours() -> dict[str, bool]:
    """IPv4 neighbours asked for lately, and whether they have answered."""
    return {words[0]: bool(int(words[2], 16) & ANSWERED) for words in _rows(ARP) if len(words) > 2}


def _rows(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text("ascii").splitlines()[1:]]
    except (OSError, ValueError):
        return []  # another system, or it does not tell


def sweep(network: str) -> tuple[str, ...]:
    """Who answers on an IPv4 network of ours, by asking for each hardware address; empty where unknown.

    Of a network wider than 254 addresses those next to ours are asked for. No packet that leaves
    says more than that somebody looks for a neighbour.
    """
    ours = ipaddress.ip_interface(network)
    if ours.version != 4 or not ARP.exists():
        return ()
    net = ours.network if ours.network.prefixlen >= 24 else ipaddress.ip_interface(f"{ours.ip}/24").network
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        for one in list(net.hosts())[:MOST_SWEPT]:
            if one != ours.ip:
                try:
                    asker.sendto(b"", (str(one), DISCARD))
                except OSError:
                    continue  # refused or full: whoever lives is found by another
        time.sleep(SWEPT_S)
    return tuple(host for host, answered in neighbours().items() if answered and _in(host, net))


def _in(host: str, net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return ipaddress.ip_address(host) in net


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
