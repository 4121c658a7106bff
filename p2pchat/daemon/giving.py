"""One transfer that others may have from us: their bytes are read here.

Decides: in which order hashes and pieces are told, and that one piece is read at a time. Does not know:
who may have it (engine), how it travels (bulk_link), or when a link gets its turn (bulk).

What is given is ours (Outgoing on the source itself), something received that lies in the inbox
(Outgoing on a Seed), or what is here so far of something being received (Partial).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

import trio

from p2pchat.daemon.bulk_link import BulkLink
from p2pchat.daemon.disk import Disk, Pace
from p2pchat.daemon.rates import Rate
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.files.outgoing import Outgoing
from p2pchat.files.pieces import HASH_BYTES, Bits, length
from p2pchat.files.staging import Staging
from p2pchat.ids import DeviceId
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_HASHES
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.files import Offer

log = logging.getLogger(__name__)

CHANGED: Final = "source_changed"


class Giver(Protocol):
    """Whatever can give pieces of one offer."""

    offer: Offer
    given: dict[DeviceId, int]
    """Bytes given to each machine since the start."""
    openers: dict[BulkLink, None]
    """Links on which it was opened."""

    async def open(self, link: BulkLink) -> None:
        """Tell the peer what can be had."""

    async def give(self, link: BulkLink, number: int, into: memoryview) -> tuple[Record, ...]:
        """See bulk_link.Talk."""

    async def hashes(self, link: BulkLink, first: int, count: int) -> None:
        """Tell these hashes."""


class Given:
    """An Outgoing that is given. Fits Giver.

    `author`: it is ours, so hashes are made and told as pieces are first read; `read` is called once all
    of them are, and durable; `failed` when the source is no longer what it was, or our own disk refuses.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        disk: Disk,
        *,
        author: bool,
        mono: Callable[[], float],
        read: Callable[[Given], None],
        failed: Callable[[Given, CommandError], None],
    ) -> None:
        self.offer = outgoing.offer
        self.outgoing = outgoing
        self.author = author
        self.given: dict[DeviceId, int] = {}
        self.openers: dict[BulkLink, None] = {}
        self._rate = Rate(mono)
        self._told: dict[BulkLink, Bits] = {}
        self._disk = disk
        self._pace = Pace()
        self._mono = mono
        self._lock = trio.Lock()
        self._read = read
        self._failed = failed
        self._all_told = False
        self._over: CommandError | None = None  # why nothing of it is read any more

    async def open(self, link: BulkLink) -> None:
        """A map, and from the author the hashes that are known."""
        if not self.openers:
            self._rate.begin(self.most)
        self.openers[link] = None
        known = self.outgoing.known
        told = self._told[link] = Bits(known.total)
        whole = Bits.whole(known.total).encode()
        link.say(wire.Map(self.offer.id, whole, self.author, known.complete))
        if self.author:
            for first, run in _runs(self.outgoing):
                link.say(wire.Hashes(self.offer.id, first, run))
                for number in range(first, first + len(run) // HASH_BYTES):
                    told.add(number)

    @property
    def most(self) -> int:
        """Bytes that the one who has got the most was given."""
        return min(max(self.given.values(), default=0), self.offer.size)

    def rate(self) -> float:
        """Bytes a second lately, to that one."""
        return self._rate.of(self.most)

    def leave(self, link: BulkLink) -> None:
        """That link needs no more of it."""
        self.openers.pop(link, None)
        self._told.pop(link, None)

    async def give(self, link: BulkLink, number: int, into: memoryview) -> tuple[Record, ...]:
        """See bulk_link.Talk. The hash goes before the piece, and to all others who wait for it."""
        offer = self.offer
        if not 0 <= number < self.outgoing.known.total:
            raise RemoteProtocolError("piece that does not exist")
        try:
            size = await self._piece(number, into)
        except CommandError as error:
            return (wire.Cannot(offer.id, number, self._stumble(error)),)
        piece = wire.Piece(offer.id, number, size)
        self.given[link.device] = self.given.get(link.device, 0) + size
        told = self._told.get(link)
        if told is None or number in told or not self.author:
            return (piece,)
        told.add(number)
        return (wire.Hashes(offer.id, number, self._hash(number)), piece)

    async def hashes(self, link: BulkLink, first: int, count: int) -> None:
        """Tell hashes; the author reads what he has not read yet."""
        total = self.outgoing.known.total
        if not 0 <= first <= first + count <= total:
            raise RemoteProtocolError("hashes of pieces that do not exist")
        scratch = memoryview(b"")
        for start in range(first, first + count, MAX_HASHES):
            found = bytearray()
            for number in range(start, min(first + count, start + MAX_HASHES)):
                if link not in self.openers:
                    return
                if number not in self.outgoing.known:
                    scratch = scratch or memoryview(bytearray(self.offer.piece_size))
                    try:
                        await self._piece(number, scratch)
                    except CommandError as error:
                        link.say(wire.Cannot(self.offer.id, -1, self._stumble(error)))
                        return
                found += self._hash(number)
            link.say(wire.Hashes(self.offer.id, start, bytes(found)))

    async def close(self) -> None:
        """Let go of log and source, once nobody reads; who still has it here is told to ask again."""
        async with self._lock:
            self._over = self._over or CommandError("internal", f"{self.offer.name!r} was let go", "")
            self.outgoing.close()

    def _stumble(self, error: CommandError) -> str:
        """It can not be read on; what is said to who asked: only a source that changed is gone for good,
        a disk of ours that is full is not."""
        self._over = self._over or error
        self._failed(self, error)
        return CHANGED if error.kind == CHANGED else "busy"

    def _hash(self, number: int) -> bytes:
        found = self.outgoing.hash_of(number)
        assert found is not None
        return found

    async def _piece(self, number: int, into: memoryview) -> int:
        async with self._lock:
            if self._over is not None:
                raise self._over.with_traceback(None)
            fresh = number not in self.outgoing.known
            size = await self._disk.quick(self._pace, lambda: self.outgoing.piece(number, into))
            if self.outgoing.due(self._mono()):
                await self._disk.slow(partial(self.outgoing.sync, self._mono()))
            if self.outgoing.known.complete and self.author and not self._all_told:
                self._all_told = True
                await self._disk.slow(partial(self.outgoing.sync, self._mono()))
                self._read(self)
        if fresh:
            for link, told in self._told.items():
                if number not in told and len(self._told) > 1:
                    told.add(number)
                    link.say(wire.Hashes(self.offer.id, number, self._hash(number)))
        return size


class Partial:
    """What is here of a transfer being received. Fits Giver."""

    def __init__(self, offer: Offer, disk: Disk) -> None:
        self.offer = offer
        self.given: dict[DeviceId, int] = {}
        self.openers: dict[BulkLink, None] = {}
        self.staging: Staging | None = None
        self.leaving = False
        """All is here and gets its name: from then on it is given from where it lies."""
        self.lock = trio.Lock()
        """Held by whoever uses the staging."""
        self.pace = Pace()
        self._disk = disk

    async def open(self, link: BulkLink) -> None:
        """See Giver."""
        self.openers[link] = None
        if self.staging is None or self.leaving:
            link.say(wire.Cannot(self.offer.id, -1, "busy"))
            return
        listed = self.staging.all_known and bool(self.staging.root)
        bits = (
            self.staging.done.encode() if self.staging.has_layout else Bits(self.staging.done.total).encode()
        )
        link.say(wire.Map(self.offer.id, bits, False, listed))

    def leave(self, link: BulkLink) -> None:
        """See Given."""
        self.openers.pop(link, None)

    def came(self, number: int) -> None:
        """One more piece is here: tell those who wait for it."""
        for link in self.openers:
            link.say(wire.More(self.offer.id, (number,)))

    async def give(self, link: BulkLink, number: int, into: memoryview) -> tuple[Record, ...]:
        """See Giver."""
        async with self.lock:
            staging = self.staging
            if staging is None or self.leaving or number not in staging.done or not staging.has_layout:
                return (wire.Cannot(self.offer.id, number, "busy"),)
            try:
                size = await self._disk.quick(self.pace, lambda: staging.read(number, into))
            except CommandError as error:
                log.warning("a piece that is here can not be given: %s", error.message)
                return (wire.Cannot(self.offer.id, number, "gone"),)
        self.given[link.device] = self.given.get(link.device, 0) + size
        return (wire.Piece(self.offer.id, number, size),)

    async def hashes(self, link: BulkLink, first: int, count: int) -> None:
        """See Giver: only whole lists that fit the signed root are of use to others."""
        staging = self.staging
        if staging is None or not staging.all_known or not staging.root:
            link.say(wire.Cannot(self.offer.id, -1, "busy"))
            return
        if not 0 <= first <= first + count <= staging.done.total:
            raise RemoteProtocolError("hashes of pieces that do not exist")
        for start in range(first, first + count, MAX_HASHES):
            numbers = range(start, min(first + count, start + MAX_HASHES))
            link.say(wire.Hashes(self.offer.id, start, b"".join(staging.hash_of(n) or b"" for n in numbers)))


def _runs(outgoing: Outgoing) -> Iterator[tuple[int, bytes]]:
    """Known hashes in runs of at most MAX_HASHES."""
    first, run = 0, bytearray()
    for number in range(outgoing.known.total + 1):
        found = outgoing.hash_of(number) if number < outgoing.known.total else None
        if run and (found is None or len(run) >= MAX_HASHES * HASH_BYTES):
            yield first, bytes(run)
            run = bytearray()
        if found is not None:
            if not run:
                first = number
            run += found


def size_of(offer: Offer, number: int) -> int:
    """Bytes of one piece."""
    return length(number, offer.size, offer.piece_size)
