"""Which addresses are this machine's and may be used.

Decides: which addresses take part, judged by flags and addresses alone, never by a
driver or a name: the interface is up with a carrier, is neither loopback nor
point-to-point, and the address can be bound right now. That leaves out a bridge nobody
is plugged into, a tunnel, a pulled cable and an IPv6 address still being checked for
duplicates, and it needs no list of names that grows old. What `--interface` names is
taken whatever its kind, since somebody asked for it; then nothing else is.
Does not know: mDNS, TCP, or who is told about a change.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import ifaddr
import trio

from p2pchat.platform import network_news

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40
"""Bits of netdevice(7); the BSDs and macOS number these four alike."""

_SIOCGIFFLAGS: Final = 0x8913 if sys.platform == "linux" else 0xC0206911
_IFREQ_BYTES: Final = 40


POLL_S: Final = 10.0
"""Addresses and clocks are looked at this often where the system tells of changes, should it forget to;
a look costs 0.4 ms."""
BLIND_S: Final = 2.0
"""And this often where it does not: peers are to be back within 5 s of the network's return."""

SETTLE_S: Final = 0.5
"""A changed set of addresses counts once two looks this far apart agree (DHCP, flapping)."""

JUMP_S: Final = 5.0
"""Wall and steady clock drifting apart by more between two looks: we slept, or were reset."""


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One address of ours: a literal without scope, its prefix length, its interface."""

    interface: str
    index: int
    ip: str
    prefix: int
    tunnel: bool = False
    """The interface has one other end and no neighbours: a VPN. It carries no announcements."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.ip else 4

    @property
    def link_local(self) -> bool:
        """An IPv6 address that means nothing without its interface (RFC 4007)."""
        return self.version == 6 and ipaddress.IPv6Address(self.ip).is_link_local

    @property
    def loopback(self) -> bool:
        """Reaches this machine only."""
        return ipaddress.ip_address(self.ip).is_loopback

    def __str__(self) -> str:
        return f"{self.ip}%{self.interface}" if self.link_local else self.ip


@dataclass(frozen=True, slots=True)
class Adapter:
    """An interface as the system tells it; `flags` None where it tells none (Windows)."""

    name: str
    index: int
    flags: int | None
    ips: tuple[tuple[str, int], ...]
    """Literals without scope, each with its prefix length."""


Scan = Callable[[], tuple[LocalAddress, ...]]
"""Reads the addresses in use now. Blocks for under a millisecond."""


def usable(
    adapters: Iterable[Adapter],
    wanted: tuple[str, ...],
    bindable: Callable[[LocalAddress], bool],
    *,
    tunnels: bool = False,
) -> tuple[LocalAddress, ...]:
    """The addresses that take part: IPv4, then global IPv6, then link-local; stable order.

    `wanted`: interface names or address literals (`eth0`, `192.168.1.5`, `fe80::1%eth0`,
    `lo`, `127.0.0.2`); empty: every ordinary interface, and with `tunnels` the others but
    loopback as well, last and marked.
    """
    found: dict[LocalAddress, None] = {}
    for adapter in adapters:
        flags = adapter.flags
        if flags is not None and (not flags & IFF_UP or not flags & IFF_RUNNING):
            continue
        named = adapter.name in wanted
        special = flags is not None and bool(flags & (IFF_LOOPBACK | IFF_POINTOPOINT))
        for ip, prefix in adapter.ips:
            here = LocalAddress(adapter.name, adapter.index, ip, prefix)
            if wanted:
                if named or ip in wanted or str(here) in wanted:
                    found[here] = None
                # Linux answers to all of 127.0.0.0/8 though it lists one address
                for text in wanted:
                    if here.loopback and _inside(text, here):
                        found[LocalAddress(adapter.name, adapter.index, text, prefix)] = None
            elif not special and not here.loopback:
                found[here] = None
            elif tunnels and not here.loopback and not here.link_local:
                found[replace(here, tunnel=True)] = None
    ready = [address for address in found if bindable(address)]
    return tuple(sorted(ready, key=lambda a: (a.tunnel, a.version, a.link_local, a.index, a.interface, a.ip)))


def on_link(host: str, local: Iterable[LocalAddress]) -> str | None:
    """`host` as a literal we can reach without a router, or None.

    A link-local IPv6 literal comes back with the name of our interface as scope: the one it
    was heard on, or our only one if it came without. Nothing else may be dialled on
    a stranger's word (CVE-2020-26164: dialling other people's services).
    """
    literal, _, scope = host.partition("%")
    try:
        ip = ipaddress.ip_address(literal)
    except ValueError:
        return None
    if ip.is_multicast or ip.is_unspecified:
        return None
    if ip.version == 6 and ip.is_link_local:
        names = {a.interface: a.index for a in local if a.version == 6 and not a.loopback}
        if scope:
            for name, index in names.items():
                if scope in (name, str(index)):
                    return f"{ip}%{name}"
            return None
        return f"{ip}%{next(iter(names))}" if len(names) == 1 else None
    return str(ip) if any(_inside(str(ip), a) for a in local) else None


def _inside(text: str, local: LocalAddress) -> bool:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    network = ipaddress.ip_network(f"{local.ip}/{local.prefix}", strict=False)
    return ip.version == network.version and ip in network


def can_bind(address: LocalAddress) -> bool:
    """Whether the system lets us use the address now; False while it is tentative or gone."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if address.version == 6:
                probe.bind((address.ip, 0, 0, address.index if address.link_local else 0))
            else:
                probe.bind((address.ip, 0))
    except OSError:
        return False
    return True


def system_adapters() -> list[Adapter]:
    """Every interface that has an address. OSError if the system does not say."""
    adapters: list[Adapter] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for seen in ifaddr.get_adapters():
            # windows names an interface by a GUID and shows people another name
            name = seen.nice_name if sys.platform == "win32" else seen.name
            base = name.partition(":")[0]  # `eth0:1` is an alias of eth0
            ips = tuple(
                (ip.ip[0] if isinstance(ip.ip, tuple) else ip.ip, ip.network_prefix) for ip in seen.ips
            )
            try:
                index = seen.index or socket.if_nametoindex(base)
                flags = _flags(asker, base)
            except OSError:
                continue  # the interface went away between two system calls
            adapters.append(Adapter(base, index, flags, ips))
    return adapters


def _flags(asker: socket.socket, name: str) -> int | None:
    if sys.platform == "win32":
        return None
    request = name.encode()[:15].ljust(_IFREQ_BYTES, b"\0")
    answer = fcntl.ioctl(asker, _SIOCGIFFLAGS, request)
    return int.from_bytes(answer[16:18], sys.byteorder)


def scanner(wanted: tuple[str, ...] = (), *, tunnels: bool = False) -> Scan:
    """A reader of this machine's usable addresses, restricted to `wanted` as in `usable`."""

    def scan() -> tuple[LocalAddress, ...]:
        return usable(system_adapters(), wanted, can_bind, tunnels=tunnels)

    return scan


class News(Protocol):
    """Tells that something about the interfaces may have changed."""

    async def wait(self) -> None:
        """Until something has happened since the last call returned."""


class SystemNews:
    """What the system tells, in a `with` block; `tells`: whether it tells anything."""

    def __init__(self) -> None:
        self._socket = network_news()
        self.tells = self._socket is not None

    def __enter__(self) -> SystemNews:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    async def wait(self) -> None:
        """See News. What is told is not read: the addresses are looked at anew."""
        if self._socket is None:
            await trio.sleep_forever()
        await trio.lowlevel.wait_readable(self._socket)
        try:
            while self._socket.recv(65536):
                pass
        except OSError:  # all has been read, or more came than the system kept for us
            pass


class Watch:
    """Notices changed addresses and a machine that slept."""

    def __init__(
        self,
        scan: Scan,
        wall_s: Callable[[], float],
        steady_s: Callable[[], float],
        news: News | None = None,
    ) -> None:
        self._scan = scan
        self._wall_s = wall_s
        self._steady_s = steady_s
        self._news = news
        self._offset = wall_s() - steady_s()
        self.now: tuple[LocalAddress, ...] = ()

    async def look(self) -> tuple[LocalAddress, ...]:
        """The usable addresses; unchanged when the system does not say."""
        try:
            self.now = await trio.to_thread.run_sync(self._scan, abandon_on_cancel=True)
        except OSError as error:
            log.debug("addresses not read: %s", error)
        return self.now

    def _woke(self) -> bool:
        offset = self._wall_s() - self._steady_s()
        jumped = abs(offset - self._offset) > JUMP_S
        self._offset = offset
        return jumped

    async def change(self, active: tuple[LocalAddress, ...]) -> tuple[LocalAddress, ...]:
        """Wait until the addresses are not `active`, or were not for a moment, or we woke."""
        while True:
            told = await self._told()
            seen = await self.look()
            if told and seen == active:  # the news may have been of a change not yet complete
                await trio.sleep(SETTLE_S)
                seen = await self.look()
            if self._woke() or seen != active:
                break
        while True:
            await trio.sleep(SETTLE_S)
            before, seen = seen, await self.look()
            if seen == before:
                return seen

    async def _told(self) -> bool:
        """Whether there was news, before it was time for a look anyway."""
        with trio.move_on_after(BLIND_S if self._news is None else POLL_S):
            if self._news is None:
                await trio.sleep_forever()
            await self._news.wait()
            return True
        return False


@dataclass(frozen=True, slots=True)
class Left:
    """An interface that does not take part, and why."""

    name: str
    why: str
    networks: tuple[str, ...]


def survey(wanted: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Left, ...]]:
    """The interfaces that take part, and the others but loopback. OSError counts as none."""
    try:
        adapters = system_adapters()
    except OSError:
        return (), ()
    return judged(adapters, wanted, can_bind)


def judged(
    adapters: Iterable[Adapter], wanted: tuple[str, ...], bindable: Callable[[LocalAddress], bool]
) -> tuple[tuple[str, ...], tuple[Left, ...]]:
    """The same of given ones."""
    listed = list(adapters)
    used = dict.fromkeys(address.interface for address in usable(listed, wanted, bindable))
    left: dict[str, Left] = {}
    for adapter in listed:
        flags = adapter.flags if adapter.flags is not None else IFF_UP | IFF_RUNNING
        if adapter.name in used or flags & IFF_LOOPBACK:
            continue
        if not flags & IFF_UP:
            why = "switched off"
        elif not flags & IFF_RUNNING:
            why = "nothing is plugged in"
        elif wanted:
            why = "not named by --interface"
        elif flags & IFF_POINTOPOINT:
            why = "a tunnel: used for addresses that are given, carries no announcements"
        else:
            why = "no address that can be used"
        routed = (pair for pair in adapter.ips if not ipaddress.ip_address(pair[0]).is_link_local)
        networks = tuple(f"{ip}/{prefix}" for ip, prefix in routed)
        before = left.get(adapter.name)
        networks = (*before.networks, *networks) if before is not None else networks
        left[adapter.name] = Left(adapter.name, why, networks)
    return tuple(used), tuple(left.values())
