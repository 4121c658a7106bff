"""Machines that pass files to each other over a fake LAN, without an engine: who may have what is said here.

Decides: how a test's machines are linked, what they are allowed, and what their bulk part told. Does not
know: rooms, messages, archives.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2pchat.daemon.bulk import Bulk
from p2pchat.daemon.bulk_link import shake_hands
from p2pchat.daemon.disk import Disk
from p2pchat.daemon.links import Inbox, Pump
from p2pchat.daemon.reaching import Wires
from p2pchat.engine.file_inputs import Fetch, FileLanded, FileSettled, FileSource, FileTrouble, MayServe
from p2pchat.engine.inputs import Command, Input
from p2pchat.engine.links import BULK, OPEN_OFFICE_KEY, Established, LinkMachine
from p2pchat.errors import DialError
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import ACTIVE, CANCELLED, DONE, OFFERED, TransferRow
from p2pchat.net.lan import Address, Listening, Stream
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.files import Offer
from p2pchat.wire.messages.link import Hello
from tests.kit.fake_lan import FakeHost, FakeLan
from tests.kit.persons import make_person
from tests.kit.seeds import SeededEntropy

ROOM = RoomId(b"r" * 32)
EVENT = EventId(b"e" * 32)
WAIT_S = 600.0


def row_of(offer: Offer, author: Machine, path: str, *, incoming: bool, state: str) -> TransferRow:
    """What the archive would say of an offer."""
    return TransferRow(
        id=offer.id, room=ROOM, event=EVENT, author=author.account, device=author.device,
        incoming=incoming, offer=encode(offer), name=offer.name, size=offer.size, files=offer.files,
        state=state, path=path, to="",
        conflict="rename", root=b"", error_kind="", error="", expires_ms=0, made_ms=0, told=-1,
    )  # fmt: skip


@dataclass
class Machine:
    """One machine: its bulk part, and the words it exchanged with the engine it does not have."""

    office: Office
    name: str
    account: AccountId
    device: DeviceId
    host: FakeHost
    base: Path
    bulk: Bulk = field(init=False)
    dial: Callable[[DeviceId], Awaitable[tuple[LinkMachine, Stream, Established]]] = field(init=False)
    """A bulk link as its bulk part opens one, for whoever wants to speak on it himself."""
    disk: Disk = field(init=False)
    told: list[Input] = field(default_factory=list)
    rows: dict[bytes, TransferRow] = field(default_factory=dict)
    denied: dict[DeviceId, None] = field(default_factory=dict)
    linked: dict[DeviceId, None] = field(default_factory=dict)
    dials: bool = True
    changed: trio.Event = field(default_factory=trio.Event)

    @property
    def inbox(self) -> Path:
        """Where received files land."""
        return self.base / "inbox"

    def post(self, event: Input) -> None:
        """What the bulk part tells the engine."""
        self.told.append(event)
        match event:
            case FileLanded(offer, path, _, root):
                row = self.rows[offer]
                self.rows[offer] = _with(row, state=DONE, path=path, root=root)
                self.bulk.perform(FileSettled(self.office.offers[offer], path))
        self.changed.set()
        self.changed = trio.Event()

    async def ask(self, make: Callable[[int], Command]) -> Any:
        """The only question: may this machine have that?"""
        question = make(0)
        assert isinstance(question, MayServe)
        row = self.rows.get(question.offer)
        if row is None:
            return "unknown"
        if row.state == CANCELLED:
            return "cancelled"
        return "no_right" if question.device in self.denied else row

    async def until(self, happened: Callable[[], bool], within_s: float = WAIT_S) -> None:
        """Wait until something is true."""
        with trio.fail_after(within_s):
            while not happened():
                with trio.move_on_after(0.5):
                    await self.changed.wait()

    def landed(self, offer: Offer) -> FileLanded | None:
        """What was told of it, if it has landed."""
        return next((one for one in self.told if isinstance(one, FileLanded) and one.offer == offer.id), None)

    def troubles(self) -> list[FileTrouble]:
        """Troubles told, without those that say that one is over."""
        return [one for one in self.told if isinstance(one, FileTrouble) and one.kind]

    async def offer(self, path: Path) -> Offer:
        """Offer a file or folder to everybody."""
        offer = await self.bulk.shelf.prepare(str(path))
        self.office.offers[offer.id] = offer
        self.rows[offer.id] = row_of(offer, self, str(path), incoming=False, state=OFFERED)
        return offer

    def fetch(self, offer: Offer, author: Machine, *sources: Machine, root: bytes = b"", **how: str) -> None:
        """Receive it from its author and `sources`."""
        self.rows[offer.id] = row_of(offer, author, "", incoming=True, state=ACTIVE)
        to, conflict = how.get("to", ""), how.get("conflict", "rename")
        self.bulk.perform(Fetch(offer, ROOM, author.account, root, to, conflict))
        for source in (author, *sources):
            self.bulk.perform(FileSource(offer.id, source.device, source is author))


class Office:
    """Machines with a chat link between each two of them."""

    def __init__(self, base: Path, nursery: trio.Nursery, seed: int = 0, latency_s: float = 0.001) -> None:
        self.hub = FakeLan(random.Random(seed), latency_s=latency_s, buffer_bytes=256 * 1024)
        self.machines: dict[str, Machine] = {}
        self.offers: dict[bytes, Offer] = {}
        self.wrap: Callable[[str, str, Stream], Stream] = lambda _caller, _callee, stream: stream
        self._base = base
        self._nursery = nursery
        self._seed = seed

    async def add(self, name: str) -> Machine:
        """One more machine, linked with all others."""
        number = len(self.machines) + 1
        person = make_person(self._seed, name, 1)
        host = self.hub.host(name, f"10.0.0.{number}")
        machine = Machine(self, name, person.account, person.machines[0].device, host, self._base / name)
        machine.base.mkdir()
        disk = machine.disk = Disk(
            machine.base / "staging",
            lambda: machine.inbox,
            threads=False,
            stopwatch=trio.current_time,
            floor=0,
        )
        entropy = SeededEntropy(self._seed, "bulk", name)

        def link_machine(purpose: str, initiator: bool) -> LinkMachine:
            hello = Hello(1, machine.device, person.machines[0].statements, (), 26700, 0)
            return LinkMachine(
                initiator=initiator, noise_secret=person.noise_secrets[0], hello=encode(hello),
                psks={"office": (OPEN_OFFICE_KEY,)}, entropy=entropy,
                now=trio.current_time(), purpose=purpose,
            )  # fmt: skip

        async def dial(device: DeviceId) -> tuple[LinkMachine, Stream, Established]:
            other = next(one for one in self.machines.values() if one.device == device)
            if not machine.dials:
                raise DialError("port_closed", "not from here")
            stream = self.wrap(name, other.name, await host.dial(other.host.address, 26700))
            made = link_machine(BULK, True)
            return made, stream, await shake_hands(made, stream)

        machine.dial = dial
        wires = Wires(
            linked=lambda device: device in machine.linked,
            dial=dial,
            post=machine.post,
            ask=machine.ask,
            name=lambda account: next((m.name for m in self.machines.values() if m.account == account), "?"),
        )
        machine.bulk = Bulk(person.account, disk, wires, entropy, trio.current_time)
        nobody: Callable[[Input], None] = lambda _: None  # noqa: E731 - told nothing here
        inbox = Inbox(nobody, nobody, trio.current_time, dict, None, {"bulk": machine.bulk.take})

        async def serve(stream: Stream, _: Address) -> None:
            await Pump(0, link_machine("chat", False), stream, inbox).run()

        await self._nursery.start(machine.bulk.run)
        listening: Listening = await self._nursery.start(host.listen, 26700, serve)
        assert listening.port == 26700
        for other in self.machines.values():
            other.linked[machine.device] = machine.linked[other.device] = None
        self.machines[name] = machine
        return machine

    def rejoin(self, one: Machine, other: Machine, *offers: Offer) -> None:
        """Their chat link is back, and with it what `one` may have from `other`."""
        one.linked[other.device] = other.linked[one.device] = None
        for offer in offers:
            author = self.offers[offer.id] is not None and other.rows[offer.id].device == other.device
            one.bulk.perform(FileSource(offer.id, other.device, author))

    def part(self, one: Machine, other: Machine) -> None:
        """The chat link between two machines ends."""
        for a, b in ((one, other), (other, one)):
            a.linked.pop(b.device, None)
            a.bulk.chat_ended(b.device)


@asynccontextmanager
async def office(base: Path, seed: int = 0, latency_s: float = 0.001) -> AsyncIterator[Office]:
    """An office that is closed at the end."""
    async with trio.open_nursery() as nursery:
        yield Office(base, nursery, seed, latency_s)
        nursery.cancel_scope.cancel()


def _with(row: TransferRow, **changes: Any) -> TransferRow:
    from dataclasses import replace

    return replace(row, **changes)
