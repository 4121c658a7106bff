"""The daemon: every part made once, and the tree of tasks in which they live.

Decides: what is nested in what, and so what is closed before what (docs/architecture.md,
"The daemon as a tree of tasks"). Does not know: files, arguments or the platform, which
`main` hands in; so a whole daemon runs in a test under a clock of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from p2pchat.control.endpoint import ControlListener
from p2pchat.control.server import Handler, serve_control
from p2pchat.daemon.bulk import Bulk
from p2pchat.daemon.bulk_link import shake_hands
from p2pchat.daemon.checking import Checker, Remembering, start_process
from p2pchat.daemon.disk import Disk
from p2pchat.daemon.examiner import Examiner
from p2pchat.daemon.foreign import OFFICE, VERSION
from p2pchat.daemon.identity import Identity
from p2pchat.daemon.links import Gate, Inbox, Pump, Taker
from p2pchat.daemon.office import office_tags
from p2pchat.daemon.pairing import Pairings
from p2pchat.daemon.parts import Parts as Parts
from p2pchat.daemon.quiet import QuietHours
from p2pchat.daemon.reaching import Wires
from p2pchat.daemon.renewing import Renewing
from p2pchat.daemon.runner import Runner
from p2pchat.daemon.tidying import tidy
from p2pchat.daemon.timers import Timers
from p2pchat.engine import overview, people, presence
from p2pchat.engine.context import Context
from p2pchat.engine.device_inputs import Farewell
from p2pchat.engine.door_inputs import Answered, AtTheDoor
from p2pchat.engine.file_inputs import FILE_EFFECTS
from p2pchat.engine.inputs import (
    AddPeer,
    Announcing,
    CloseLink,
    Configure,
    Consulted,
    Dial,
    DialFailed,
    Effect,
    Found,
    HandOver,
    Lost,
    NetworkChanged,
    Search,
    Send,
    SetTimer,
    Sighted,
    Started,
    Stopping,
)
from p2pchat.engine.links import BULK, OPEN_OFFICE_KEY, PROBE, Established, LinkMachine
from p2pchat.engine.node import Node
from p2pchat.errors import ArchiveError, CommandError, DialError
from p2pchat.ids import DeviceId
from p2pchat.net import lan as network
from p2pchat.net.lan import Address, Announcement, Listening, Stream
from p2pchat.store.ledger import Ledger
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.limits import MAX_HALF_OPEN, MAX_LINKS

log = logging.getLogger(__name__)

PROTOCOL_VERSION: Final = 1
DRAIN_S: Final = 2.0
HAND_OVER_S: Final = 6.0
"""The engine answers within 5 s; longer means that it does not live."""
NOTICES: Final = 256
MAX_PUMPS: Final = MAX_LINKS + 4 * MAX_HALF_OPEN
"""Connections of all kinds: links, those in the door, and those that are just being told to go."""


class Daemon:
    """One running daemon."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.identity = parts.identity
        self.label = parts.label or parts.entropy.bytes(16).hex()
        self.runner = Runner(
            self._source,
            self,
            parts.clock,
            stopwatch=parts.stopwatch,
            in_thread=_in_thread if parts.threads else None,
            room=parts.room,
        )
        self.timers = Timers(self.mono, self.runner.post)
        self.renewing = Renewing(
            parts.entropy, self.runner.ask, lambda: self.identity, self.go_on_as, threads=parts.threads
        )
        self.runner.tells[self.renewing] = self.renewing.heard
        self.pumps: dict[int, Pump] = {}
        self.gate = Gate()
        self.stopping = trio.Event()
        self._at_once = False
        self.listening = Listening(0, ())
        self.started_ms = parts.clock().wall_ms
        self.before_close: list[Callable[[], None]] = []
        self._links: trio.Nursery | None = None
        self._no_links = trio.Event()
        self._no_links.set()
        self._numbers = 0
        self.quiet = QuietHours(parts.quiet_hours, lambda: parts.clock().wall_ms, self.runner.ask)
        self._announced = True
        self._look_otherwise = trio.Event()
        self._checker = Checker(start_process, _verify, self.mono) if parts.threads else None
        check = Remembering(self._checker.check).check if self._checker is not None else None
        self.bulk = self._make_bulk(parts.disk) if parts.disk is not None else None
        self.pairings = Pairings(
            noise_secret=lambda: self.identity.noise_secret,
            entropy=parts.entropy,
            mono=self.mono,
            look=self.look,
            ask=self.runner.ask,
        )
        self.examiner = Examiner(
            parts.lan,
            self.look,
            parts.clock,
            lambda purpose: self._machine(initiator=True, purpose=purpose),
            self._say,
            chosen=parts.interfaces,
            threads=parts.threads,
            announcing=lambda: parts.announce and self._announced,  # not while nobody is to see us
        )
        takers: dict[str, Taker] = {PROBE: self.examiner.probes.take}
        if self.bulk is not None:
            takers[BULK] = self.bulk.take
        self._inbox = Inbox(
            self.runner.post,
            self.runner.at_once,
            self.mono,
            self.signing_keys,
            check,
            takers,
            self.pairings.take,
        )

    # -- made of ----------------------------------------------------------------------------------

    def _source(self) -> tuple[Node, Ledger]:
        ledger = self.parts.open_ledger()
        parts = self.parts
        node = Node(
            self.identity.me,
            ledger,
            parts.entropy,
            name=parts.name,
            label=self.label,
            machine=parts.machine,
            keep_name=parts.keep_name,
            office_key=OPEN_OFFICE_KEY if parts.lobby else None,
            unlisted=not parts.announce,
        )
        return node, ledger

    def _make_bulk(self, disk: Disk) -> Bulk:
        wires = Wires(
            linked=self._linked,
            dial=self._dial_bulk,
            post=self.runner.post,
            ask=self.runner.ask,
            name=lambda account: people.name(self.look(), account),
        )
        return Bulk(self.identity.me.account, disk, wires, self.parts.entropy, self.mono)

    def mono(self) -> float:
        """Monotonic seconds."""
        return self.parts.clock().mono

    def look(self) -> Context:
        """The node's memory, to read, between two batches."""
        return self.runner.node.look(self.parts.clock())

    def signing_keys(self) -> dict[DeviceId, bytes]:
        """The signing key of every machine known."""
        accounts = self.runner.node.cache.accounts.values()
        return {device.id: device.signing for account in accounts for device in account.devices.values()}

    # -- effects ------------------------------------------------------------------------------------

    def perform(self, effect: Effect) -> None:
        """Carry out what the runner does not itself. Nothing here waits."""
        match effect:
            case Send(link, message):
                self._say(link, message)
            case CloseLink(link, reason):
                pump = self.pumps.get(link)
                if pump is not None:
                    pump.close(reason)
            case Dial(number, host, port):
                if self._links is None or self.stopping.is_set():
                    self.runner.post(DialFailed(number, "stopping"))
                else:
                    self._links.start_soon(self._dial, number, host, port)
            case Announcing(on):
                self._announced = on
                self._look_otherwise.set()
            case Consulted():
                if self._links is not None and not self.stopping.is_set():
                    self._links.start_soon(self.examiner.answer, effect)
            case Found():
                self.examiner.heard(effect)
            case SetTimer(name, at):
                self.timers.set(name, at)
            case _ if isinstance(effect, FILE_EFFECTS):
                if self.bulk is not None:
                    self.bulk.perform(effect)

    def _say(self, link: int, message: Record) -> None:
        pump = self.pumps.get(link)
        if pump is not None:
            pump.send(message)

    def taken(self, link: int) -> None:
        """An input of this link has left the inbox."""
        pump = self.pumps.get(link)
        if pump is not None:
            pump.handled()

    # -- the tree ---------------------------------------------------------------------------------------

    async def run(
        self,
        control: ControlListener | None = None,
        handler: Handler | None = None,
        version: str = "",
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until `stop`. Raises runner.Stop if the archive cannot be written any more."""
        try:
            async with trio.open_nursery() as core:
                core.start_soon(self.runner.run)
                core.start_soon(self.timers.run)
                core.start_soon(self.renewing.run)
                if self._checker is not None:
                    core.start_soon(self._checker.run)
                async with trio.open_nursery() as links:
                    self._links = links
                    await self._outer(control, handler, version, task_status)
                    links.cancel_scope.cancel()
                self.runner.stop()
                await self.runner.idle.wait()
                core.cancel_scope.cancel()
        finally:
            for close in self.before_close:
                close()  # readers first: who closes the file last puts its log away
            self.runner.ledger.close()

    async def _outer(
        self,
        control: ControlListener | None,
        handler: Handler | None,
        version: str,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as outer:
            # Before anybody can connect: what the node reads and writes first is in a transaction.
            heeded = (self.parts.read_receipts, self.parts.file_auto_max)
            await self.runner.ask(lambda request: Configure(request, *heeded))
            self._announced = not presence.hidden_from_all(self.look())
            if self.parts.farewell:
                await self.runner.ask(lambda request: Farewell(request, self.parts.farewell))
            if self.bulk is not None and self.parts.disk is not None:
                await outer.start(self.bulk.run)
                await tidy(self.parts.disk, self.bulk.shelf, self.runner.ask)
            self.listening = await outer.start(self.parts.lan.listen, self.parts.port, self._serve)
            self.runner.post(Started(self.listening.port))
            send, receive = trio.open_memory_channel[network.Notice](NOTICES)
            announcement = None
            if self.parts.announce:
                announcement = Announcement(self.label, self.listening.port, PROTOCOL_VERSION, office_tags)
            await outer.start(self._discover, send, announcement)
            outer.start_soon(self.quiet.run)
            outer.start_soon(self._notices, receive)
            if self.parts.search:
                await self.runner.ask(lambda request: Search(request, True))
            for host, port in self.parts.peers:
                outer.start_soon(self._add_peer, host, port)
            async with trio.open_nursery() as clients:
                if control is not None and handler is not None:
                    serve = _serving(control, handler, version)
                    await clients.start(serve)
                task_status.started()
                await self.stopping.wait()
                if control is not None:
                    clients.cancel_scope.deadline = trio.current_time() + DRAIN_S
                    await control.aclose()
            await self._close_links()
            outer.cancel_scope.cancel()

    async def _discover(
        self,
        notices: trio.MemorySendChannel[network.Notice],
        announcement: Announcement | None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Look around, and be seen unless everybody is hidden from: then nothing at all is sent."""
        started = False
        while True:
            announced, self._look_otherwise = self._announced, trio.Event()
            shown = announcement if announced else None
            async with trio.open_nursery() as looking:
                await looking.start(partial(self.parts.lan.discover, notices, shown, silent=not announced))
                if not started:
                    task_status.started()
                started = True
                while announced == self._announced:
                    await self._look_otherwise.wait()
                    self._look_otherwise = trio.Event()
                looking.cancel_scope.cancel()

    async def _close_links(self) -> None:
        """Let others hold what lies only here, then say goodbye on every link, the accepted ones
        included, while all tasks still live."""
        if not self._at_once:
            try:
                with trio.move_on_after(HAND_OVER_S):
                    await self.runner.ask(HandOver)
            except CommandError as error:  # the archive fails: what lies here stays here
                log.warning("nothing was handed to others: %s", error.message)
        self.runner.post(Stopping())
        await self.runner.idle.wait()
        for pump in list(self.pumps.values()):
            pump.close("stopping")
        with trio.move_on_after(DRAIN_S):
            await self._no_links.wait()

    def go_on_as(self, identity: Identity) -> None:
        """From now on with other keys: every link was made with the ones before."""
        self.identity = identity
        for pump in list(self.pumps.values()):
            pump.close("restart")
        self.runner.start_over()

    def stop(self, *, now: bool = False) -> None:
        """Close everything, from the outside in; `now`: without letting others hold what lies only here."""
        self._at_once = now
        self.stopping.set()

    # -- connections --------------------------------------------------------------------------------------

    def _pump(self, stream: Stream, *, initiator: bool, dial: int | None = None) -> Pump:
        self._numbers += 1
        return Pump(self._numbers, self._machine(initiator=initiator), stream, self._inbox, dial)

    def _machine(self, *, initiator: bool, purpose: str = "chat") -> LinkMachine:
        return LinkMachine(
            initiator=initiator,
            noise_secret=self.identity.noise_secret,
            hello=encode(overview.hello(self.look())),
            psks={"office": (OPEN_OFFICE_KEY,)},
            entropy=self.parts.entropy,
            now=self.mono(),
            purpose=purpose,
            pairing=not initiator,
        )

    async def _run_pump(self, pump: Pump) -> None:
        self.pumps[pump.number] = pump
        self._no_links = trio.Event() if self._no_links.is_set() else self._no_links
        try:
            await pump.run()
        finally:
            del self.pumps[pump.number]
            if self.bulk is not None and pump.device is not None:
                tell = self.bulk.chat_renewed if self._linked(pump.device) else self.bulk.chat_ended
                tell(pump.device)
            if not self.pumps:
                self._no_links.set()

    async def _serve(self, stream: Stream, address: Address) -> None:
        """A connection somebody else dialled: the listener's task for it ends with the link."""
        if self.stopping.is_set():
            return
        # Whoever completes the handshake may be somebody we know: which link then ends the engine says.
        if len(self.pumps) >= MAX_PUMPS or not self.gate.enter(address):
            log.info("a connection from %s was turned away: too many half open", address)
            return
        in_the_door = [address]
        self.runner.post(AtTheDoor(address.host, over=False))

        def leave() -> None:
            self.gate.leave(in_the_door.pop())
            self.runner.post(AtTheDoor(address.host, over=True))

        async def leave_when_open(pump: Pump) -> None:
            await pump.established.wait()
            leave()

        try:
            pump = self._pump(stream, initiator=False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave_when_open, pump)
                await self._run_pump(pump)
                nursery.cancel_scope.cancel()
        except ArchiveError as error:
            log.error("a connection from %s was turned away: %s", address, error)
        finally:
            if in_the_door:
                leave()

    async def _dial(self, number: int, host: str, port: int) -> None:
        try:
            stream = await self.parts.lan.dial(host, port)
        except DialError as error:
            self.runner.post(DialFailed(number, error.reason))
            return
        try:
            pump = None if self.stopping.is_set() else self._pump(stream, initiator=True, dial=number)
        except ArchiveError as error:  # the runner meets it as well, and decides what follows
            log.error("a connection to %s was given up: %s", stream.remote_address, error)
            pump = None
        if pump is None:
            await stream.aclose()
            self.runner.post(DialFailed(number, "closed"))
            return
        self.runner.post(Answered(number))
        await self._run_pump(pump)

    def _linked(self, device: DeviceId) -> bool:
        return any(pump.device == device for pump in self.pumps.values())

    async def _dial_bulk(self, device: DeviceId) -> tuple[LinkMachine, Stream, Established]:
        """Open a bulk link to a machine that has a chat link to us. DialError if that does not work."""
        live = self.runner.node.live
        link = live.links.get(live.by_device.get(device, -1))
        if link is None or not link.port:
            raise DialError("unreachable", "it does not say where it listens")
        stream = await self.parts.lan.dial(link.host, link.port)
        try:
            machine = self._machine(initiator=True, purpose=BULK)
            established = await shake_hands(machine, stream)
            if established.device != device:
                raise DialError("host_down", "another machine answered")
        except BaseException:
            with trio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return machine, stream, established

    async def _add_peer(self, host: str, port: int | None) -> None:
        try:
            await self.runner.ask(lambda request: AddPeer(request, host, port))
        except CommandError as error:
            log.warning("a peer named at the start was not dialled: %s", error.message)

    async def _notices(self, notices: trio.MemoryReceiveChannel[network.Notice]) -> None:
        async for notice in notices:
            match notice:
                case network.Sighting(label, addresses, port, version, tags):
                    if version != PROTOCOL_VERSION:
                        self.examiner.foreign.saw(notice, VERSION)
                    elif set(tags) & set(office_tags(self.parts.clock().wall_ms)):
                        self.runner.post(Sighted(label, addresses, port, tags))
                    else:
                        self.examiner.foreign.saw(notice, OFFICE)
                case network.Gone(label):
                    self.examiner.foreign.gone(label)
                    self.runner.post(Lost(label))
                case network.NetworkChanged(addresses, networks):
                    self.runner.post(NetworkChanged(addresses, networks))


def _serving(control: ControlListener, handler: Handler, version: str) -> Callable[..., Awaitable[None]]:
    async def serve(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await serve_control(control, handler, version=version, task_status=task_status)

    return serve


async def _in_thread(work: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(work)


async def _verify(work: Callable[[], tuple[bool, ...]]) -> tuple[bool, ...]:
    return await trio.to_thread.run_sync(work)
