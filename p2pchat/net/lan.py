"""The Lan port: what the daemon needs from a network, and the words it speaks in.

Decides: which records a network reports, what a stream can do, which ports are tried
and how notices wait for a slow reader. Does not know: sockets (tcp), mDNS packets
(mdns), which peers are worth dialling (engine) or what travels on a stream (wire).

Two things fit this port: `JoinedLan` of `tcp.TcpTransport` and `mdns.MdnsDiscovery`,
and the fake LAN of the tests. One contract test runs on both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

import trio

from p2pchat.errors import SettingsError
from p2pchat.wire.limits import FIRST_PORT, LAST_PORT

PORTS: Final = range(FIRST_PORT, LAST_PORT + 1)
"""Every port a daemon takes by itself; a HOST without a port tries these in order."""

DIAL_TIMEOUT_S: Final = 5.0
"""A LAN answers in milliseconds; five seconds outlive one lost SYN and its two repeats."""

MAX_WAITING_NOTICES: Final = 1024
"""Notices kept for a reader that is busy: twice the engine's table of unknown peers."""


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a connection: `host` is a literal, link-local IPv6 with its `%scope`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a listener waits: the port all its addresses share; wildcards stay `0.0.0.0`, `::`."""

    port: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What this machine tells everybody on the network. Nothing personal (DI1).

    `label` random, new each start, of [a-z0-9-], at most 63 characters · `port` the TCP port ·
    `version` of the protocol · `tags_at` gives the office tags (8 bytes each) for a wall
    clock in ms as (today, yesterday, tomorrow); the first one is announced, and again
    whenever it changes.
    """

    label: str
    port: int
    version: int
    tags_at: Callable[[int], tuple[bytes, bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody announces the program. A hint by anyone who can send a packet, never trust.

    `addresses` are literals on a network we are attached to, best first; `port` ≥ 1024;
    `office_tags` 8 bytes each. A repeat with the same `label` replaces the earlier one; an equal
    repeat says that its sender has just announced himself again, as when his network is back.
    """

    label: str
    addresses: tuple[str, ...]
    port: int
    version: int
    office_tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """Somebody (or a forger) said goodbye under `label`. Ends no link."""

    label: str


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Our own addresses are now these, or we woke up. Everybody is sighted anew after it.

    `networks`: those they lie in, in the same order, such as `192.168.1.5/24`; tunnels included.
    """

    addresses: tuple[str, ...]
    networks: tuple[str, ...] = ()


Notice = Sighting | Gone | NetworkChanged


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """How discovery is doing, for `status` and `doctor`.

    `running`: packets can be sent and heard · `addresses`: ours that take part ·
    `heard_self`: our own announcement came back, so multicast leaves and returns at least
    on this machine · `trouble`: why it is not running, empty when it is.
    """

    running: bool
    addresses: tuple[str, ...]
    heard_self: bool
    trouble: str


class Stream(Protocol):
    """A connected byte stream. One task may send while another receives.

    Every method may raise trio.ClosedResourceError (closed here) and the first three
    trio.BrokenResourceError (reset, or the other side is gone).
    """

    @property
    def remote_address(self) -> Address:
        """The other end."""
        ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over all bytes; waits while the other side does not read."""
        ...

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """How many of the first bytes could be handed over without waiting; 0 if none, or if this
        stream cannot do so, or is broken (the next `send_all` says how). Not beside a `send_all`."""
        ...

    async def send_eof(self) -> None:
        """No more bytes from here; receiving goes on. Twice is harmless."""
        ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At least one byte, or `b""` once the other side has ended its half."""
        ...

    async def receive_into(self, into: memoryview, least: int = 1) -> int:
        """The same into a buffer of at least one byte: how many bytes came, 0 at the end.

        `least`: with fewer bytes it is no use to wake up. They may be given all the same, and where the
        system knows no such wish they are. No more than `into` holds, and only what is sure to come.
        """
        ...

    async def aclose(self) -> None:
        """Close both halves at once. Never waits for the other side; twice is harmless."""
        ...


Serve = Callable[[Stream, Address], Awaitable[None]]
"""Called in a task of its own for each connection taken; the stream is closed when it returns."""


class Transport(Protocol):
    """Connections, in and out."""

    async def listen(
        self,
        port: int | None,
        serve: Serve,
        *,
        task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take connections until cancelled.

        `port` None takes the first free one of PORTS; a number takes exactly that (0: any
        free one). Reports Listening once connections are taken. SettingsError: the port is
        in use, not allowed or not a port. What `serve` raises ends the listener: it is ours.
        """
        ...

    async def dial(self, host: str, port: int) -> Stream:
        """Connect within DIAL_TIMEOUT_S. `host`: a name or a literal, scoped if link-local.

        Raises DialError.
        """
        ...


class Discovery(Protocol):
    """Who else is there, and who we are."""

    async def discover(
        self,
        notices: trio.MemorySendChannel[Notice],
        announcement: Announcement | None,
        *,
        silent: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Announce (unless None) and look around until cancelled; then say goodbye (≤ 3 s).

        `silent`: nothing is announced or asked, only listened to: no packet shows this machine.
        Posts NetworkChanged first, then what it finds. A slow reader is never waited for:
        notices coalesce per label and beyond MAX_WAITING_NOTICES the oldest is dropped.
        No network is no error: it starts by itself when there is one. Once at a time.
        """
        ...

    def refresh(self) -> None:
        """Ask and announce again soon, as when the network seems to be back. Cheap to repeat."""
        ...

    def discovery_state(self) -> DiscoveryState:
        """How discovery is doing now."""
        ...


class Lan(Transport, Discovery, Protocol):
    """A network: everything the daemon knows of the world outside this machine."""


class JoinedLan:
    """A Lan made of a transport and a discovery, each of its own kind."""

    def __init__(self, transport: Transport, discovery: Discovery) -> None:
        self._transport = transport
        self._discovery = discovery

    async def listen(
        self,
        port: int | None,
        serve: Serve,
        *,
        task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See Transport."""
        await self._transport.listen(port, serve, task_status=task_status)

    async def dial(self, host: str, port: int) -> Stream:
        """See Transport."""
        return await self._transport.dial(host, port)

    async def discover(
        self,
        notices: trio.MemorySendChannel[Notice],
        announcement: Announcement | None,
        *,
        silent: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See Discovery."""
        await self._discovery.discover(notices, announcement, silent=silent, task_status=task_status)

    def refresh(self) -> None:
        """See Discovery."""
        self._discovery.refresh()

    def discovery_state(self) -> DiscoveryState:
        """See Discovery."""
        return self._discovery.discovery_state()


class NoticeBox:
    """Notices on their way to a reader: one per label, the newest, in order of change.

    `put` never waits and memory is bounded; one task runs `pump`. When full, the oldest
    notice about a label goes: it is a hint, and what matters is sighted again.
    """

    def __init__(self, limit: int = MAX_WAITING_NOTICES) -> None:
        self._limit = limit
        self._network: NetworkChanged | None = None
        self._waiting: dict[str, Sighting | Gone] = {}
        self._wake = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + (self._network is not None)

    def put(self, notice: Notice) -> None:
        """Queue a notice in place of an older one about the same label."""
        if isinstance(notice, NetworkChanged):
            # what was seen on the old network is stale, and all of it is sighted anew
            self._waiting.clear()
            self._network = notice
        else:
            self._waiting.pop(notice.label, None)
            if len(self._waiting) >= self._limit:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[notice.label] = notice
        self._wake.set()

    def _take(self) -> Notice | None:
        if self._network is not None:
            changed, self._network = self._network, None
            return changed
        if self._waiting:
            return self._waiting.pop(next(iter(self._waiting)))
        return None

    async def pump(self, notices: trio.MemorySendChannel[Notice]) -> NoReturn:
        """Pass notices on as fast as the reader takes them, until cancelled."""
        while True:
            notice = self._take()
            if notice is None:
                self._wake = trio.Event()
                await self._wake.wait()
            else:
                await notices.send(notice)


def split_host_port(text: str) -> tuple[str, int | None]:
    """`HOST`, `HOST:PORT`, `[V6]:PORT`, `V6` or `V6%SCOPE` as host and port (None: not given).

    Raises SettingsError quoting `text`.
    """
    bad = SettingsError(f"{text!r} is not HOST or HOST:PORT, such as 192.168.1.20 or [fe80::1%eth0]:26700")
    rest = ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise bad
        rest = rest[1:] if rest else ""
        if text.endswith(":"):
            raise bad
    elif text.count(":") >= 2:
        host = text
    else:
        host, colon, rest = text.partition(":")
        if colon and not rest:
            raise bad
    if not host or any(c.isspace() or not c.isprintable() for c in host):
        raise bad
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise bad from None
    if not rest:
        return host, None
    if not (rest.isascii() and rest.isdigit() and 1 <= int(rest) <= 65535):
        raise SettingsError(f"{rest!r} in {text!r} is not a port; ports go from 1 to 65535")
    return host, int(rest)
