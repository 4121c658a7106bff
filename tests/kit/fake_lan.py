"""A LAN in memory for worlds of whole daemons under trio's MockClock.

Decides: who reaches whom, how long it takes, what a pulled cable, a killed program and
a dead machine look like to the others. Does not know: what travels. It fits the Lan port
of `p2pchat.net.lan` and passes the same contract test as real TCP and mDNS.

A play:

    hub = FakeLan(random.Random(7))
    alice, bob = hub.host("alice", "10.0.0.1"), hub.host("bob", "10.0.0.2")
    hub.cut("alice", "bob")      streams stall silently, dials time out, both ways
    hub.join("alice", "bob")     what was sent arrives
    hub.kill_host("bob")         the program dies: its streams are reset, no goodbye
    hub.power_off("bob")         the machine dies: nobody is told anything
    bob = hub.host("bob", "10.0.0.2")    it comes up again, with nothing open

Everything is ordered by insertion and by the clock; the generator is used for jitter only.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import trio

from p2pchat.errors import DialError, SettingsError
from p2pchat.net.lan import (
    DIAL_TIMEOUT_S,
    PORTS,
    Address,
    Announcement,
    DiscoveryState,
    Gone,
    Listening,
    NetworkChanged,
    Notice,
    NoticeBox,
    Serve,
    Sighting,
)
from tests.kit.fake_stream import FakeStream, Pipe

ARP_S: Final = 3.0
"""How long a real host asks for an address that nobody has before it says host_down."""

EPHEMERAL: Final = range(40000, 60000)


@dataclass(frozen=True, slots=True)
class _Ear:
    serve: Serve
    calls: trio.MemorySendChannel[tuple[FakeStream, Address]]


@dataclass(slots=True)
class _Looker:
    """One running `discover`."""

    box: NoticeBox
    announcement: Announcement | None
    known: dict[str, Sighting]


class FakeLan:
    """The hub: wires, hosts and what happens to them. Times are seconds of trio's clock."""

    def __init__(
        self,
        rng: random.Random,
        *,
        latency_s: float = 0.001,
        jitter_s: float = 0.0,
        sighting_delay_s: float = 0.05,
        buffer_bytes: int = 64 * 1024,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        self.rng = rng
        self.latency_s = latency_s
        self.jitter_s = jitter_s
        self.sighting_delay_s = sighting_delay_s
        self.buffer_bytes = buffer_bytes
        self.wall_ms = wall_ms or (lambda: int(trio.current_time() * 1000))
        self.hosts: dict[str, FakeHost] = {}
        self._cuts: dict[tuple[str, str], None] = {}
        self._walls: dict[tuple[str, str], None] = {}
        self._deaf: dict[tuple[str, str], None] = {}
        self._streams: dict[int, tuple[FakeStream, FakeStream]] = {}
        self._next_stream = 0

    def host(self, name: str, address: str) -> FakeHost:
        """A machine on this LAN; a name used before is that machine started again."""
        ipaddress.ip_address(address)
        old = self.hosts.pop(name, None)
        if old is not None:
            old.stop()
        new = self.hosts[name] = FakeHost(self, name, address)
        # the old program's connections are unknown to the new one: it answers with resets
        self._reset_streams_of(name)
        return new

    def reaches(self, source: str, target: str) -> bool:
        """Whether what `source` sends now arrives at `target`."""
        up = self.hosts[source].powered and self.hosts[target].powered
        return up and (source, target) not in self._cuts

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """A switch stops passing packets from a to b, and b to a unless `one_way`. Silent."""
        for pair in ((a, b),) if one_way else ((a, b), (b, a)):
            self._cuts[pair] = None
        self._wires_changed()

    def firewall(self, caller: str, callee: str) -> None:
        """New connections from `caller` to `callee` are dropped; what is open goes on."""
        self._walls[caller, callee] = None

    def deafen(self, a: str, b: str) -> None:
        """Announcements do not pass between the two: a router, or a switch without multicast."""
        self._deaf[a, b] = self._deaf[b, a] = None

    def lets(self, caller: str, callee: str) -> bool:
        """Whether no firewall stops a new connection."""
        return (caller, callee) not in self._walls

    def join(self, a: str, b: str) -> None:
        """Undo any cut between a and b; they sight each other if they had not yet."""
        for pair in ((a, b), (b, a)):
            self._cuts.pop(pair, None)
        self._wires_changed()
        self._look_around(a)
        self._look_around(b)

    def unplug(self, name: str) -> None:
        """Pull a host's cable: it has no address and says so; nobody else is told."""
        for other in self._others(name):
            self._cuts[(name, other)] = self._cuts[(other, name)] = None
        self._wires_changed()
        self.hosts[name].tell_network(())

    def replug(self, name: str) -> None:
        """Put the cable back in: all cuts of this host heal and everybody is sighted anew."""
        for other in self._others(name):
            self._cuts.pop((name, other), None)
            self._cuts.pop((other, name), None)
        self._wires_changed()
        host = self.hosts[name]
        host.tell_network((host.address,))
        self._look_around(name, anew=True)

    def move(self, name: str, address: str) -> None:
        """Another address (new lease): open streams of the host stall for ever."""
        host = self.hosts[name]
        ipaddress.ip_address(address)
        for stream in self._streams_of(name):
            stream.strand()
        host.address = address
        host.tell_network((address,))
        self._look_around(name, anew=True)

    def kill_host(self, name: str) -> None:
        """The program dies as by SIGKILL: streams reset (when the wire allows), no goodbye.

        The fake host is unusable after it; cancel the daemon's tasks, then `host` again.
        """
        self.hosts[name].stop()
        self._reset_streams_of(name)

    def power_off(self, name: str) -> None:
        """The machine dies: its streams stay half-open elsewhere until `host` starts it again."""
        self.hosts[name].stop()
        self.hosts[name].powered = False
        self._wires_changed()

    # what hosts and streams ask of the hub

    def delay_s(self) -> float:
        """How long one segment travels now."""
        return self.latency_s + (self.rng.random() * self.jitter_s if self.jitter_s else 0.0)

    def by_address(self, address: str) -> FakeHost | None:
        """The powered host that has this address."""
        for host in self.hosts.values():
            if host.address == address and host.powered:
                return host
        return None

    def connect(self, caller: FakeHost, callee: FakeHost, port: int) -> tuple[FakeStream, FakeStream]:
        """Two ends of a new connection: the caller's and the callee's."""
        there, back = (
            Pipe(
                capacity=self.buffer_bytes,
                delay_s=self.delay_s,
                up=lambda: self.reaches(caller.name, callee.name),
                ack_up=lambda: self.reaches(callee.name, caller.name),
            ),
            Pipe(
                capacity=self.buffer_bytes,
                delay_s=self.delay_s,
                up=lambda: self.reaches(callee.name, caller.name),
                ack_up=lambda: self.reaches(caller.name, callee.name),
            ),
        )
        local = Address(caller.address, caller.next_port())
        mine = FakeStream(caller.name, callee.name, there, back, Address(callee.address, port))
        theirs = FakeStream(callee.name, caller.name, back, there, local)
        self._streams = {n: pair for n, pair in self._streams.items() if not all(s.closed for s in pair)}
        self._streams[self._next_stream] = (mine, theirs)
        self._next_stream += 1
        return mine, theirs

    def announce(self, source: FakeHost, *, anew: bool = False) -> None:
        """Everybody reachable sights `source` after the delay, once unless `anew`."""
        sighting = source.sighting()
        if sighting is not None:
            for other in self._others(source.name):
                source.later(self._sight, self.hosts[other], source, sighting, anew)

    def goodbye(self, source: FakeHost, label: str) -> None:
        """Everybody reachable hears that `label` has gone."""
        for other in self._others(source.name):
            target = self.hosts[other]
            if target.looker is not None and self.reaches(source.name, other):
                target.looker.known.pop(label, None)
                target.looker.box.put(Gone(label))

    def look_from(self, target: FakeHost, *, anew: bool = False) -> None:
        """`target` asks who is there and is answered after the delay."""
        for other in self._others(target.name):
            source = self.hosts[other]
            sighting = source.sighting()
            if sighting is not None and self.reaches(target.name, other):
                target.later(self._sight, target, source, sighting, anew)

    # inside

    def _sight(self, target: FakeHost, source: FakeHost, sighting: Sighting, anew: bool) -> None:
        looker = target.looker
        if looker is None or source.sighting() != sighting or not self.reaches(source.name, target.name):
            return
        if (source.name, target.name) in self._deaf:
            return
        if anew or looker.known.get(sighting.label) != sighting:
            looker.known[sighting.label] = sighting
            looker.box.put(sighting)

    def _look_around(self, name: str, *, anew: bool = False) -> None:
        host = self.hosts[name]
        self.announce(host, anew=anew)
        self.look_from(host, anew=anew)

    def _others(self, name: str) -> list[str]:
        return [other for other in self.hosts if other != name]

    def _streams_of(self, name: str) -> Iterator[FakeStream]:
        for pair in self._streams.values():
            for stream in pair:
                if stream.owner == name:
                    yield stream

    def _reset_streams_of(self, name: str) -> None:
        for stream in self._streams_of(name):
            stream.die()
        self._wires_changed()

    def _wires_changed(self) -> None:
        for pair in self._streams.values():
            for stream in pair:
                stream.outgoing.changed()


class FakeHost:
    """One machine's view of the LAN: fits `p2pchat.net.lan.Lan`."""

    def __init__(self, hub: FakeLan, name: str, address: str) -> None:
        self.hub = hub
        self.name = name
        self.address = address
        self.powered = True
        self.running = True
        self.looker: _Looker | None = None
        self._ears: dict[int, _Ear] = {}
        self._ports = iter(EPHEMERAL)
        self._nursery: trio.Nursery | None = None

    def stop(self) -> None:
        """Nothing of this program listens or looks any more."""
        self.running = False
        self.looker = None
        self._ears.clear()

    def next_port(self) -> int:
        """The port of the next outgoing connection."""
        return next(self._ports)

    async def listen(
        self,
        port: int | None,
        serve: Serve,
        *,
        task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See lan.Transport."""
        number = self._free_port(port)
        send, calls = trio.open_memory_channel[tuple[FakeStream, Address]](128)
        ear = self._ears[number] = _Ear(serve, send)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(Listening(number, (Address(self.address, number),)))
                async for stream, caller in calls:
                    nursery.start_soon(_serve, serve, stream, caller)
        finally:
            if self._ears.get(number) is ear:
                del self._ears[number]
            calls.close()

    def _free_port(self, port: int | None) -> int:
        if port is not None and not 0 <= port <= 65535:
            raise SettingsError(f"port {port} is not a port; choose one from 1024 to 65535")
        if port == 0:
            return self.next_port()
        for candidate in PORTS if port is None else (port,):
            if candidate not in self._ears:
                return candidate
        raise SettingsError(f"port {port or PORTS[0]} is in use by another program")

    async def dial(self, host: str, port: int) -> FakeStream:
        """See lan.Transport. `host` may be a host's name on this LAN."""
        if not 1 <= port <= 65535 or not host:
            raise DialError("name", f"{host!r} port {port} is no address")
        target = self._named(host)
        with trio.move_on_after(DIAL_TIMEOUT_S):
            if target is None or not self.powered:
                await trio.sleep(ARP_S)
                raise DialError("host_down", f"nobody has {host}")
            if target is self:
                await trio.sleep(0)
            elif not (self.hub.reaches(self.name, target.name) and self.hub.reaches(target.name, self.name)):
                await trio.sleep_forever()
            elif not self.hub.lets(self.name, target.name):
                await trio.sleep_forever()
            else:
                await trio.sleep(2 * self.hub.delay_s())
            ear = target._ears.get(port)
            if ear is None:
                raise DialError("port_closed", f"nothing listens on {host} port {port}")
            mine, theirs = self.hub.connect(self, target, port)
            try:
                ear.calls.send_nowait((theirs, theirs.remote_address))
            except trio.WouldBlock:
                await trio.sleep_forever()  # a full backlog drops the SYN
            return mine
        raise DialError("timeout", f"no answer from {host} port {port}")

    def _named(self, host: str) -> FakeHost | None:
        try:
            literal = str(ipaddress.ip_address(host.partition("%")[0]))
        except ValueError:
            named = self.hub.hosts.get(host)
            if named is None:
                raise DialError("name", f"{host!r} is nobody's name") from None
            return named if named.powered else None
        return self if literal in ("127.0.0.1", "::1") else self.hub.by_address(literal)

    async def discover(
        self,
        notices: trio.MemorySendChannel[Notice],
        announcement: Announcement | None,
        *,
        silent: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See lan.Discovery."""
        if silent:
            announcement = None
        looker = self.looker = _Looker(NoticeBox(), announcement, {})
        looker.box.put(NetworkChanged((self.address,)))
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(looker.box.pump, notices)
                task_status.started()
                self.hub.announce(self)
                if not silent:
                    self.hub.look_from(self)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            if self.looker is looker:
                self.looker = None
                if announcement is not None:
                    self.hub.goodbye(self, announcement.label)

    def refresh(self) -> None:
        """See lan.Discovery."""
        self.hub.announce(self, anew=True)
        self.hub.look_from(self)

    def discovery_state(self) -> DiscoveryState:
        """See lan.Discovery."""
        if self.looker is None:
            return DiscoveryState(False, (), False, "not started")
        return DiscoveryState(True, (self.address,), self.looker.announcement is not None, "")

    def sighting(self) -> Sighting | None:
        """What others would see of this host now."""
        if self.looker is None or self.looker.announcement is None:
            return None
        told = self.looker.announcement
        tag = told.tags_at(self.hub.wall_ms())[0]
        return Sighting(told.label, (self.address,), told.port, told.version, (tag,))

    def tell_network(self, addresses: tuple[str, ...]) -> None:
        """Post NetworkChanged to whoever looks from here."""
        if self.looker is not None:
            self.looker.known.clear()
            self.looker.box.put(NetworkChanged(addresses))

    def later(
        self,
        act: Callable[[FakeHost, FakeHost, Sighting, bool], None],
        target: FakeHost,
        source: FakeHost,
        sighting: Sighting,
        anew: bool,
    ) -> None:
        """Do `act` after the sighting delay, unless this host's discovery ends before."""

        async def wait() -> None:
            await trio.sleep(self.hub.sighting_delay_s)
            act(target, source, sighting, anew)

        if self._nursery is not None:
            self._nursery.start_soon(wait)


async def _serve(serve: Serve, stream: FakeStream, caller: Address) -> None:
    try:
        await serve(stream, caller)
    finally:
        stream.close_now()
