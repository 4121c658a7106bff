"""Bytes of files: bulk links, what is fetched over them, and what is given.

Decides: with whom a bulk link is opened and when it is tried again, who gets a turn, and how what the
engine wants (effects) and what happened (inputs) go back and forth. Does not know: who may have what
(`MayServe` is asked), pieces (fetching, giving), or streams (bulk_link).

No byte of a file passes through the runner or the archive: what goes there are a few words for a transfer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from p2pchat.daemon.berths import AT_ONCE, Berths
from p2pchat.daemon.bulk_link import Asked, BulkLink
from p2pchat.daemon.disk import Disk
from p2pchat.daemon.fetching import BAD_SOURCE, Fetching
from p2pchat.daemon.giving import CHANGED, Given, Partial
from p2pchat.daemon.moving import Moving
from p2pchat.daemon.reaching import Reaching, Wires
from p2pchat.daemon.shelf import Shelf
from p2pchat.daemon.turns import Turns
from p2pchat.engine.file_inputs import (
    DialBulk,
    Fetch,
    FileEffect,
    FileLanded,
    FileRead,
    FileRootKnown,
    FileSettled,
    FileSource,
    FileTrouble,
    MayServe,
    StopFetch,
    Withdraw,
)
from p2pchat.engine.links import Established, LinkMachine
from p2pchat.engine.ports import Entropy
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.files import inbox
from p2pchat.files.source import Left
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import TransferRow
from p2pchat.net.lan import Stream
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_BULK_LINKS
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.files import OFFER_ID_BYTES, Offer

log = logging.getLogger(__name__)

LISTS: Final = 2
"""Lists of hashes that are read for one link at the same time."""
OPENED: Final = 4 * AT_ONCE
"""Offers opened on one link at a time: each keeps descriptors, and whoever takes files opens far fewer."""
TELL_S: Final = 0.25
"""How often progress is told at most."""
IDLE_S: Final = 60.0
"""A bulk link that nobody uses ends after so long."""


class Bulk:
    """All transfers of this machine. Fits bulk_link.Talk and fetching.Reports."""

    def __init__(
        self, me: AccountId, disk: Disk, wires: Wires, entropy: Entropy, mono: Callable[[], float]
    ) -> None:
        self._disk = disk
        self._wires = wires
        self._entropy = entropy
        self._mono = mono
        self._fetchings: dict[bytes, Fetching] = {}
        self._links: dict[BulkLink, None] = {}
        self._opened: dict[BulkLink, dict[bytes, Given | Partial]] = {}
        self._used: dict[BulkLink, float] = {}
        self.turns = Turns()
        self.berths = Berths()
        self._lists: dict[BulkLink, trio.Semaphore] = {}
        self._troubled: dict[bytes, None] = {}  # offers of ours that somebody had no room for
        self.shelf = Shelf(me, disk, entropy, mono, self._read, self._failed)
        self._reaching = Reaching(
            wires,
            here=lambda device: any(link.device == device and not link.over for link in self._links),
            wanted=self._wanted,
            run=self._run_dialled,
        )
        self._nursery: trio.Nursery | None = None
        self._moved = False
        self._withdrawals = 0  # so far: who was opening something asks again whether he may
        self.changed = trio.Event()

    # -- life ----------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As long as the daemon."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await self._telling()
        finally:
            self._nursery = None
            for link in list(self._links):
                link.end("stopping")
            self.shelf.close()
            self._disk.close()

    async def _telling(self) -> None:
        """Progress at most four times a second, and an end to links and files that nobody uses."""
        while True:
            await trio.sleep(TELL_S)
            await self._guarded(self.shelf.close_idle)
            if self._moved:
                self._moved = False
                self._tell()
            now = self._mono()
            for link in self._links:
                if self._in_use(link):
                    self._used[link] = now
                elif now - self._used.get(link, now) >= IDLE_S:
                    link.end("idle")

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def moved(self) -> None:
        """See fetching.Reports."""
        self._moved = True

    # -- what the engine wants -----------------------------------------------------------

    def perform(self, effect: FileEffect) -> None:
        """Carry out an effect. Nothing here waits."""
        match effect:
            case Fetch():
                self._fetch(effect)
            case FileSource(offer, device, author):
                fetching = self._fetchings.get(offer)
                if fetching is not None and device not in fetching.banned:
                    fetching.wanted[device] = author
                    self._reach(device)
            case FileRootKnown(offer, root):
                fetching = self._fetchings.get(offer)
                if fetching is not None:
                    fetching.root_known(root)
            case StopFetch(offer, discard):
                fetching = self._fetchings.get(offer)
                if fetching is not None:
                    fetching.stop(discard=discard)
                elif discard:
                    self._start(self.shelf.remove, offer)
            case FileSettled(offer):
                self._start(self.shelf.settle, offer.id)
            case Withdraw(offer, forget):
                self._withdrawals += 1
                self._start(self._withdraw, offer, forget)
            case DialBulk(device):
                self._reach(device, asked=True)

    def _start(self, task: Callable[..., Awaitable[Any]], *arguments: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._guarded, task, *arguments)

    async def _guarded(self, task: Callable[..., Awaitable[Any]], *arguments: object) -> None:
        """What goes wrong with one transfer or one link ends neither the others nor the daemon."""
        try:
            await task(*arguments)
        except Exception:
            log.exception("a task of transfers ended: it met an error that nobody had thought of")

    def _fetch(self, fetch: Fetch) -> None:
        before = self._fetchings.get(fetch.offer.id)
        if (before is not None and not before.stopping) or self._nursery is None:
            return
        order = int.from_bytes(self._entropy.bytes(8), "big")
        fetching = Fetching(fetch, self._disk, self, self._mono, order, self.berths)
        self._fetchings[fetch.offer.id] = fetching
        self._start(self._fetching, fetching, before)

    async def _fetching(self, fetching: Fetching, before: Fetching | None) -> None:
        try:
            if before is not None:  # stopped, and still putting away what it has
                await before.ended.wait()
            await fetching.run()
        except Exception as error:
            text = f"it met an error of our own: {error!r}"
            self._wires.post(FileTrouble(fetching.offer.id, "internal", text, final=True))
            raise
        finally:
            fetching.ended.set()
            if self._fetchings.get(fetching.offer.id) is fetching:
                del self._fetchings[fetching.offer.id]
            self._tell()

    async def _withdraw(self, offer: bytes, forget: bool = True) -> None:
        giver = self.shelf.pop(offer)
        if giver is not None:
            for link in list(giver.openers):
                link.say(wire.Cannot(offer, -1, "cancelled"))
                self._opened.get(link, {}).pop(offer, None)
            await giver.close()
        if forget:
            await self.shelf.remove(offer)

    async def prepare(self, path: str, ttl_s: int = 0) -> Offer:
        """See moving.Bulk."""
        return await self.shelf.prepare(path, ttl_s)

    async def prepare_spool(self, spool: str, name: str, ttl_s: int = 0) -> tuple[Offer, str]:
        """See moving.Bulk."""
        return await self.shelf.prepare_spool(spool, name, ttl_s)

    async def spool(self) -> str:
        """See moving.Bulk."""
        return await self.shelf.spool()

    async def spool_add(self, spool: str, data: bytes) -> None:
        """See moving.Bulk."""
        await self.shelf.spool_add(spool, data)

    async def spool_drop(self, spool: str) -> None:
        """See moving.Bulk."""
        await self.shelf.spool_drop(spool)

    def left(self, offer: bytes) -> Left | None:
        """See moving.Bulk."""
        return self.shelf.left.pop(offer, None)

    def drop_prepared(self, offers: Sequence[bytes]) -> None:
        """Nobody was told of these offers (shelf.prepare)."""
        for offer in offers:
            self._start(self._withdraw, offer)

    # -- what people see -----------------------------------------------------------------

    def moving(self, offer: bytes) -> Moving | None:
        """How a transfer moves; None if it does not."""
        fetching = self._fetchings.get(offer)
        if fetching is not None:
            staging = fetching.partial.staging
            here, total = (staging.done.here, staging.done.total) if staging else (0, 0)
            state = "active" if fetching.sources else "waiting"
            return Moving(fetching.bytes_done, fetching.rate(), fetching.sources, here, total, state)
        giver = self.shelf.get(offer)
        if giver is None or not giver.openers:
            return None
        known = giver.outgoing.known
        return Moving(giver.most, giver.rate(), len(giver.openers), known.here, known.total, "active")

    async def resting(self, offer: Offer) -> Moving:
        """See moving.Bulk."""
        return await self.shelf.resting(offer)

    # -- links ---------------------------------------------------------------------------

    async def take(self, machine: LinkMachine, stream: Stream, established: Established) -> None:
        """Run a bulk link that somebody else opened; returns when it ends."""
        standing = sum(link.device == established.device for link in self._links)
        if standing >= MAX_BULK_LINKS or not self._wires.linked(established.device) or self._nursery is None:
            log.info("a bulk link was turned away")
            return
        # In our own nursery, so that nobody reads a file any more when we let go of it.
        link, over = BulkLink(machine, stream, established, self), trio.Event()
        self._start(self._run_taken, link, over)
        try:
            await over.wait()
        finally:
            link.end("stopping")

    async def _run_taken(self, link: BulkLink, over: trio.Event) -> None:
        try:
            await self._run_link(link)
        finally:
            over.set()

    async def _run_link(self, link: BulkLink) -> None:
        self._links[link] = None
        self._opened[link] = {}
        self._used[link] = self._mono()
        self._lists[link] = trio.Semaphore(LISTS)
        for fetching in self._fetchings.values():
            if link.device in fetching.wanted:
                fetching.opened(link)
        try:
            await link.run()
        finally:
            del self._links[link]
            del self._used[link], self._lists[link]
            for giver in self._opened.pop(link).values():
                giver.leave(link)
            self.rests(link)
            for fetching in self._fetchings.values():
                fetching.closed(link)
                if link.device in fetching.wanted:
                    self._reach(link.device)

    def chat_renewed(self, device: DeviceId) -> None:
        """A chat link to a machine has ended and there is another: maybe it has another address now.
        A bulk link on which what is asked for does not move is soon given up."""
        for link in self._links:
            if link.device == device:
                self._start(link.prove)

    def chat_ended(self, device: DeviceId) -> None:
        """No chat link to a machine is left: its bulk links end too."""
        for link in self._links:
            if link.device == device:
                link.end("no chat link")
        self._reaching.chat_ended(device)
        for fetching in self._fetchings.values():
            fetching.wanted.pop(device, None)

    def _reach(self, device: DeviceId, *, asked: bool = False) -> None:
        """See to it that there is a link to a machine, as long as it is wanted; at once if it asked."""
        for link in self._links:
            if link.device == device and not link.over:
                for fetching in self._fetchings.values():
                    if device in fetching.wanted:
                        fetching.opened(link)
                return
        self._start(self._reaching.reach, device, asked)

    async def _run_dialled(self, machine: LinkMachine, stream: Stream, established: Established) -> int:
        """Run a bulk link that we opened, to its end; how much moved on it."""
        link = BulkLink(machine, stream, established, self)
        try:
            await self._run_link(link)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()
        return link.moved

    def _wanted(self, device: DeviceId) -> bool:
        return any(
            device in fetching.wanted and device not in fetching.banned
            for fetching in self._fetchings.values()
        )

    def _in_use(self, link: BulkLink) -> bool:
        return bool(self._opened[link]) or self._wanted(link.device)

    # -- what links say: Talk ------------------------------------------------------------

    async def heard(self, link: BulkLink, message: Record) -> None:
        """See bulk_link.Talk."""
        assert isinstance(message, wire.Map | wire.More | wire.Hashes | wire.Cannot)
        fetching = self._fetchings.get(message.offer)
        if fetching is not None and link.device in fetching.wanted:
            await fetching.heard(link, message)
        elif isinstance(message, wire.Cannot):
            await self._refused(link, message)

    async def _refused(self, link: BulkLink, message: wire.Cannot) -> None:
        """Who fetches from us says that he can not go on: before he has opened it, too."""
        if message.reason != "disk":
            return
        found = await self._wires.ask(lambda n: MayServe(n, link.device, message.offer))
        if isinstance(found, TransferRow) and not found.incoming:
            name = self._wires.name(link.account)
            text = f"{name!r} has no room for it just now"
            self._troubled[message.offer] = None
            self._wires.post(FileTrouble(message.offer, "disk_full", text, False))

    async def came(self, link: BulkLink, asked: Asked, piece: memoryview) -> None:
        """See bulk_link.Talk."""
        fetching = self._fetchings.get(asked.offer)
        if fetching is not None:
            await fetching.came(link, asked, piece)

    async def asked(self, link: BulkLink, message: Record) -> None:
        """See bulk_link.Talk."""
        match message:
            case wire.Open(offer):
                await self._open(link, offer)
            case wire.Done(offer):
                giver = self._opened.get(link, {}).pop(offer, None)
                if giver is not None:
                    giver.leave(link)
                    self._tell()
            case wire.GetHashes(offer, first, count):
                giver = self._opened.get(link, {}).get(offer)
                if giver is not None:
                    lists = self._lists[link]
                    await lists.acquire()
                    self._start(self._hashes, link, giver, first, count, lists)

    async def _open(self, link: BulkLink, offer: bytes) -> None:
        if len(offer) != OFFER_ID_BYTES:
            link.end("offer out of form")
            return
        opened = self._opened.get(link, {})
        full = offer not in opened and len(opened) >= OPENED
        giver, why = (None, "busy") if full else await self._may_give(link, offer)
        if giver is None:
            link.say(wire.Cannot(offer, -1, why))
        elif link in self._links:
            self._opened[link][offer] = giver
            if not isinstance(giver, Partial) and giver.author:
                if not giver.openers or offer in self._troubled:
                    self._troubled.pop(offer, None)
                    self._wires.post(FileTrouble(offer, "", "", False))
            await giver.open(link)
            self._tell()

    async def _may_give(self, link: BulkLink, offer: bytes) -> tuple[Given | Partial | None, str]:
        """What a machine may have of it from here; or None, and why not."""
        while True:
            before = self._withdrawals
            found = await self._wires.ask(lambda n: MayServe(n, link.device, offer))
            if not isinstance(found, TransferRow):
                if found == "cancelled" and self.shelf.get(offer) is not None:  # while it was opened
                    self._start(self._withdraw, offer)
                return None, str(found)
            try:
                giver = await self._giver(found)
            except CommandError as error:
                log.info("an offer can not be given: %s", error.message)
                changed = error.kind == CHANGED and not found.incoming  # of what is ours: for good
                return None, CHANGED if changed else "gone"
            if before == self._withdrawals:
                return giver, "busy"

    async def _hashes(
        self, link: BulkLink, giver: Given | Partial, first: int, count: int, lists: trio.Semaphore
    ) -> None:
        try:
            await giver.hashes(link, first, count)
        except RemoteProtocolError as error:
            link.end(str(error))
        finally:
            lists.release()

    def piece_size(self, offer: bytes) -> int:
        """See bulk_link.Talk."""
        giver = self.shelf.get(offer)
        if giver is not None:
            return giver.offer.piece_size
        fetching = self._fetchings.get(offer)
        return fetching.offer.piece_size if fetching is not None else 0

    async def give(self, link: BulkLink, offer: bytes, number: int, into: memoryview) -> tuple[Record, ...]:
        """See bulk_link.Talk."""
        giver = self._opened.get(link, {}).get(offer)
        if giver is None or len(into) < giver.offer.piece_size:
            return (wire.Cannot(offer, number, "gone"),)
        await self.turns.take(link)
        with self.turns.reading(link):
            said = await giver.give(link, number, into)
        self._moved = True
        return said

    def rests(self, link: BulkLink) -> None:
        """See bulk_link.Talk: its turn is somebody else's."""
        self.turns.rests(link)

    # -- givers --------------------------------------------------------------------------

    async def _giver(self, row: TransferRow) -> Given | Partial | None:
        fetching = self._fetchings.get(row.id)
        if fetching is not None:
            return fetching.partial if fetching.partial.staging is not None else None
        try:
            return await self.shelf.open(row)
        except CommandError as error:
            if error.kind == CHANGED:
                self._wires.post(FileTrouble(row.id, error.kind, error.message, final=True))
            raise

    def _read(self, giver: Given) -> None:
        self._wires.post(FileRead(giver.offer.id, giver.outgoing.root(), giver.outgoing.known.total))

    def _failed(self, giver: Given, error: CommandError) -> None:
        if self.shelf.get(giver.offer.id) is giver:
            self.shelf.pop(giver.offer.id)
            final = error.kind == CHANGED  # else it is opened anew by who asks next
            self._wires.post(FileTrouble(giver.offer.id, error.kind, error.message, final))
            self._start(giver.close)

    # -- fetchings: Reports --------------------------------------------------------------

    def landed(self, fetching: Fetching, landed: inbox.Landed, root: bytes) -> None:
        """See fetching.Reports."""
        self._wires.post(FileLanded(fetching.offer.id, landed.path, landed.how, root))

    def trouble(self, fetching: Fetching, kind: str, message: str, *, final: bool) -> None:
        """See fetching.Reports."""
        self._wires.post(FileTrouble(fetching.offer.id, kind, message, final))

    def bad_source(self, fetching: Fetching, link: BulkLink, why: str) -> None:
        """See fetching.Reports."""
        name = self._wires.name(link.account)
        log.warning("a source of a file gave a wrong piece and is asked no more for it: %s", why)
        text = f"{name!r} gave a wrong piece and is asked no more for it"
        self._wires.post(FileTrouble(fetching.offer.id, BAD_SOURCE, text, False))
