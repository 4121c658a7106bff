"""One transfer that is being received: from the first map to the name in the inbox.

Decides: what is asked of which link, what a wrong piece, a full disk or a changed source means, and when
it is whole. Does not know: how links come about (bulk), how pieces travel (bulk_link), or who decides
that it is wanted (engine).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

import trio

from p2pchat.daemon.berths import Berths, MakesWay, Stay
from p2pchat.daemon.bulk_link import Asked, BulkLink
from p2pchat.daemon.disk import Disk
from p2pchat.daemon.giving import CHANGED, Partial, size_of
from p2pchat.daemon.rates import Rate
from p2pchat.engine.file_inputs import Fetch
from p2pchat.errors import CommandError, PieceError, RemoteProtocolError
from p2pchat.files import already, inbox
from p2pchat.files.pieces import HASH_BYTES, Bits, root_of
from p2pchat.files.plan import Plan
from p2pchat.files.seed import keep_list
from p2pchat.files.staging import SYNC_S, Staging
from p2pchat.ids import AccountId, DeviceId
from p2pchat.platform.folders import Folder
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import bulk as wire

log = logging.getLogger(__name__)

WINDOW_BYTES: Final = 4 << 20
"""On the way from one source at once: 10 Gbit/s for 3 ms; with many sources more is asked of the quick."""
ALONE_BYTES: Final = 64 << 20
"""After so much, with one source still, twice that is asked for, by halves: a question for every piece took
a tenth of the processor time. Not sooner, for in a room all would ask the author for the same."""
AGAIN_S: Final = 5.0
"""After trouble with the disk, and with a source that had nothing; doubled up to AGAIN_MOST_S."""
AGAIN_MOST_S: Final = 60.0
LIST_S: Final = 15.0
"""A list of hashes of which nothing comes for so long is asked of one more holder."""
BAD_SOURCE: Final = "bad_source"


class Reports(Protocol):
    """Who hears how it goes."""

    def landed(self, fetching: Fetching, landed: inbox.Landed, root: bytes) -> None: ...
    def trouble(self, fetching: Fetching, kind: str, message: str, *, final: bool) -> None: ...
    def bad_source(self, fetching: Fetching, link: BulkLink, why: str) -> None:
        """A source gave a wrong piece: it is asked no more for this."""

    def moved(self) -> None:
        """Something changed that people look at."""


class Fetching:
    """One incoming transfer. `order`: a number of this machine's own, see plan."""

    def __init__(
        self,
        fetch: Fetch,
        disk: Disk,
        reports: Reports,
        mono: Callable[[], float],
        order: int,
        berths: Berths,
    ) -> None:
        self.fetch = fetch
        self.offer = fetch.offer
        self.partial = Partial(fetch.offer, disk)
        self.wanted: dict[DeviceId, bool] = {}
        """Machines that may have some of it, and whether each is the author's."""
        self.banned: dict[DeviceId, None] = {}
        self._disk = disk
        self._reports = reports
        self._mono = mono
        self._order = order
        self._berths = berths
        self._stay = Stay(berths, mono)
        self._links: dict[BulkLink, bool] = {}  # opened on it; whether a map came
        self._asked: dict[BulkLink, tuple[float, float]] = {}  # opened when, and how long until again
        self._author: dict[BulkLink, None] = {}  # whose hashes are the author's own word
        self._listed: dict[BulkLink, None] = {}  # who can give all hashes
        self._lists: dict[BulkLink, bytearray] = {}  # of those who were asked; believed when whole
        self._list_at = 0.0  # when one was asked for, or some of one came
        self._plan: Plan | None = None
        self._comparing = False  # hashes first: the same bytes may be here
        self._trouble: Exception | None = None
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self.stopping = False
        """Nothing more is asked for: who wants it again begins anew, once it has ended."""
        self.ended = trio.Event()
        """Set by who runs it: nothing of it is in use any more."""
        self._discard = False
        self.bytes_done = 0
        self._came = 0  # bytes, since it last began
        self._rate = Rate(mono)
        self._refused = ""

    # -- for others: nothing here waits --------------------------------------------------

    @property
    def offered_by(self) -> AccountId:
        """See berths.Waits."""
        return self.fetch.author

    @property
    def sources(self) -> int:
        """Links on which pieces are to be had just now."""
        return sum(self._links.values())

    def stop(self, *, discard: bool) -> None:
        """Fetch no more; with `discard` remove what is here."""
        self._discard = self._discard or discard
        self.stopping = True
        self._say_all(wire.Done(self.offer.id))
        self._scope.cancel()

    def root_known(self, root: bytes) -> None:
        """The author signed it."""
        self.fetch = replace(self.fetch, root=root)
        self._wake.set()

    def opened(self, link: BulkLink) -> None:
        """There is a link to one of `wanted`."""
        if link.device in self.banned or self._links.get(link):
            return
        if link in self._links:  # it had nothing when it was asked, and says now that it has
            if self._plan is not None and not self._refused:
                self._open(link)
            return
        self._links[link] = False
        self._berths.ready(self, True)
        if self._refused:
            link.say(wire.Cannot(self.offer.id, -1, self._refused))
        elif self._plan is not None:
            self._open(link)

    def closed(self, link: BulkLink) -> None:
        """That link is gone."""
        self._links.pop(link, None)
        self._berths.ready(self, bool(self._links))
        self._asked.pop(link, None)
        self._author.pop(link, None)
        self._no_list(link)
        if self._plan is not None:
            self._plan.drop(link)
            self._fill_all()
        self._reports.moved()

    def rate(self) -> float:
        """Bytes a second lately."""
        return self._rate.of(self.bytes_done)

    # -- the task ------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it has landed, has failed for good, or is stopped."""
        pause, fresh = AGAIN_S, True
        with self._scope:
            while True:
                try:
                    await self._berths.take(self, ready=bool(self._links), fresh=fresh)
                    before, fresh = self.bytes_done, False
                    await self._receive()
                except MakesWay:
                    self._say_all(wire.Done(self.offer.id))
                    continue
                except CommandError as error:
                    if error.kind == CHANGED:
                        self._discard = self.stopping = True  # the rest of what is no more never comes
                        self._reports.trouble(self, error.kind, error.message, final=True)
                        break
                    self._refuse("disk" if error.kind == "disk_full" else "busy")
                    self._reports.trouble(self, error.kind, error.message, final=False)
                except (PieceError, RemoteProtocolError) as error:
                    self._discard = self.stopping = True
                    self._reports.trouble(self, "internal", f"it cannot be put together: {error}", final=True)
                    break
                else:
                    break
                finally:
                    await self._let_go()
                    self._berths.leave(self)
                pause = AGAIN_S if self.bytes_done != before else min(pause * 2, AGAIN_MOST_S)
                await trio.sleep(pause)
                self._refused = ""
        if self._discard:  # in such a pause, too
            await self._let_go()
        self._say_all(wire.Done(self.offer.id))

    def _say_all(self, message: Record) -> None:
        for link in list(self._links):
            link.say(message)

    async def _let_go(self) -> None:
        with trio.CancelScope(shield=True):
            async with self.partial.lock:
                staging, self.partial.staging, self._plan = self.partial.staging, None, None
                self.partial.leaving = False
                self._author.clear()
                self._lists.clear()
                self._listed.clear()
                if staging is not None:
                    await self._disk.slow(staging.discard if self._discard else staging.close)
                elif self._discard:
                    folder = await self._disk.slow(self._disk.staging)
                    await self._disk.slow(lambda: inbox.forget(folder, self.offer.id))
        for link in self._links:
            self._links[link] = False

    async def _receive(self) -> None:
        disk, offer = self._disk, self.offer
        folder = await disk.slow(disk.staging)
        staging = await disk.slow(
            partial(Staging.begin, folder, offer, keep_free=disk.keep_free(), now=self._mono())
        )
        self.partial.staging = staging
        self._trouble = None
        self.bytes_done = sum(size_of(offer, n) for n in range(staging.done.total) if n in staging.done)
        self._rate.begin(self.bytes_done)
        self._came = 0
        self._stay.begin()
        target = await disk.slow(lambda: disk.target(self.fetch.to))
        with target:
            if staging.placing is None and not staging.done.complete:
                self._comparing = await disk.slow(lambda: already.maybe(target, offer))
                if not self._comparing and await disk.slow(lambda: self._is_in_the_way(target)):
                    self._discard = self.stopping = True
                    self._reports.landed(self, inbox.skipped(target, offer), b"")
                    return
                if not self._comparing:
                    await disk.slow(lambda: disk.check_target(target, offer))
                self._plan = Plan(staging.done, staging.head_pieces, self._order)
                if self.fetch.root:
                    staging.learn_root(self.fetch.root)
                for link in list(self._links):
                    self._open(link)
                self._reports.trouble(self, "", "", final=False)
                same = await self._gather(staging, target)
                if same is not None:
                    await disk.slow(lambda: self._keep_same(folder, staging))
                    self.stopping = True
                    self._reports.landed(self, same, staging.root_of_hashes())
                    return
            async with self.partial.lock:
                self._plan, self.partial.leaving = None, True
                if not staging.placed:  # else the list was kept before
                    await disk.slow(lambda: keep_list(folder, staging))
                root = staging.root_of_hashes()
                landed = await disk.slow(
                    partial(inbox.place, staging, target, self._mono(), _conflict(self.fetch.conflict))
                )
        self.stopping = True
        self._reports.landed(self, landed, root)

    async def _gather(self, staging: Staging, target: Folder) -> inbox.Landed | None:
        """Until all pieces are here; or where the very same bytes lie already."""
        while not staging.done.complete:
            if self._trouble is not None:
                raise self._trouble
            if self._comparing and staging.all_known and (staging.has_layout or not self.offer.head):
                async with self.partial.lock:
                    same = await self._disk.slow(lambda: already.find(staging, target))
                self._comparing = False
                if same is not None:
                    return same
            if staging.root != self.fetch.root and not staging.root:
                staging.learn_root(self.fetch.root)
                self._ask_lists()
            self._stay.check(links=len(self._links), sources=self.sources)
            self._open_again()
            self._want_list(staging)
            self._fill_all()
            if self._wake.is_set():
                self._wake = trio.Event()
            with trio.move_on_after(SYNC_S):
                await self._wake.wait()
            if self._trouble is None and staging.due(self._mono()):
                await self._sync(staging)
        if self._trouble is not None:  # the last piece was here and could not be used
            raise self._trouble
        return None

    async def _sync(self, staging: Staging) -> None:
        async with self.partial.lock:
            try:
                await self._disk.slow(partial(staging.sync, self._mono()))
                # What others put on the disk meanwhile: the archive shall not starve for a file.
                await self._disk.slow(lambda: staging.check_room(self._disk.keep_free()))
            except CommandError as error:
                self._stumble(error)  # before anybody who waits for the lock puts a piece into it

    def _is_in_the_way(self, target: Folder) -> bool:
        """Whether it would be left out in the end, for something else bears its name."""
        return self.fetch.conflict == "skip" and target.look(inbox.final_name(self.offer)) is not None

    def _keep_same(self, folder: Folder, staging: Staging) -> None:
        keep_list(folder, staging)
        staging.log.sync()

    # -- what comes ----------------------------------------------------------------------

    async def heard(self, link: BulkLink, message: Record) -> None:
        """A source says something."""
        staging, plan = self.partial.staging, self._plan
        if staging is None or plan is None or link not in self._links:
            return
        match message:
            case wire.Map(_, raw, author, listed):
                own = author and link.account == self.fetch.author
                plan.add(link, Bits.decode(raw, staging.done.total), author=own)
                self._links[link] = True
                if own:
                    self._author[link] = None
                if own and not staging.all_known and (listed or self._comparing):
                    link.say(wire.GetHashes(self.offer.id, 0, staging.done.total))
                elif listed and not own:
                    self._listed[link] = None
                    self._want_list(staging)
                self._reports.moved()
            case wire.More(_, pieces):
                plan.more(link, [n for n in pieces if 0 <= n < staging.done.total])
            case wire.Hashes(_, first, hashes):
                async with self.partial.lock:
                    if self._trouble is not None or self.partial.staging is not staging:
                        return
                    self._learn(link, staging, first, hashes)
                if self._comparing and staging.all_known:
                    self._wake.set()
            case wire.Cannot(_, number, reason):
                self._cannot(link, number, reason)
        self._fill(link)

    async def came(self, link: BulkLink, asked: Asked, piece: memoryview) -> None:
        """A piece from a source."""
        async with self.partial.lock:
            staging, plan = self.partial.staging, self._plan
            if staging is None or plan is None or self._trouble is not None:
                return
            plan.came(link, asked.number)
            if link.device in self.banned or asked.number in staging.done:
                return
            if staging.hash_of(asked.number) is None:
                raise RemoteProtocolError("piece before its hash")
            try:
                await self._disk.quick(self.partial.pace, lambda: staging.put(asked.number, piece))
            except PieceError as error:
                self._ban(link, str(error))
                return
            except (CommandError, RemoteProtocolError) as error:
                self._stumble(error)
                return
        self.bytes_done += len(piece)
        self._came += len(piece)
        self._stay.moved()
        self.partial.came(asked.number)
        self._fill(link)
        if staging.done.complete or staging.due(self._mono()) or self._comparing:
            self._wake.set()
        self._reports.moved()

    def _learn(self, link: BulkLink, staging: Staging, first: int, hashes: bytes) -> None:
        try:
            if link in self._author:
                staging.learn(first, hashes)
                return
            got = self._lists.get(link)
            if got is None or first * HASH_BYTES != len(got):
                raise RemoteProtocolError("hashes out of place")
            got += hashes
            self._list_at = self._mono()
            total = staging.done.total * HASH_BYTES
            if len(got) > total:
                raise RemoteProtocolError("hashes of pieces that do not exist")
            if len(got) == total:
                del self._lists[link]
                offer = self.offer
                if root_of(offer.file_key, offer.size, offer.head, offer.piece_size, got) != staging.root:
                    raise PieceError(0, "comes with a list that does not fit the signed root")
                staging.learn(0, bytes(got))
                self._wake.set()
        except PieceError as error:
            self._ban(link, str(error))
        except CommandError as error:
            self._stumble(error)

    def _cannot(self, link: BulkLink, number: int, reason: str) -> None:
        assert self._plan is not None
        if reason == CHANGED and (link in self._author or (number < 0 and link.account == self.fetch.author)):
            name = self.offer.name
            self._stumble(
                CommandError(
                    CHANGED, f"{name!r} was changed or deleted while it was sent", "ask for it again"
                )
            )
        else:  # what else was asked of it is refused too; it is asked again for a map, after a pause
            self._plan.drop(link)
            self._links[link] = False
            if number < 0:
                self._no_list(link)
            self._reports.moved()

    # -- what is asked -------------------------------------------------------------------

    def _fill_all(self) -> None:
        for link in self._links:
            self._fill(link)

    def _fill(self, link: BulkLink) -> None:
        staging, plan = self.partial.staging, self._plan
        if staging is None or plan is None or not self._links.get(link) or self._trouble is not None:
            return
        anywhere = staging.has_layout
        if self._comparing and (anywhere or not self.offer.head):
            return
        window, flying = max(2, WINDOW_BYTES // self.offer.piece_size), plan.flying(link)
        if plan.sources == 1 and self._came >= ALONE_BYTES:
            if flying > window:
                return
            window *= 2
        count = min(window - flying, link.may_ask)
        if count <= 0:
            return
        numbers = plan.take(link, count, self._mono(), staging.known, anywhere=anywhere)
        if numbers:
            link.ask(self.offer.id, [(number, size_of(self.offer, number)) for number in numbers])

    def _open(self, link: BulkLink) -> None:
        """Ask for a map; who has nothing yet, or does not answer, is asked again later."""
        _, pause = self._asked.get(link, (0.0, AGAIN_S / 2))
        self._asked[link] = self._mono(), min(2 * pause, AGAIN_MOST_S)
        link.say(wire.Open(self.offer.id))

    def _open_again(self) -> None:
        now = self._mono()
        for link, mapped in self._links.items():
            at, pause = self._asked.get(link, (0.0, 0.0))
            if not mapped and now - at >= pause:
                self._open(link)

    def _want_list(self, staging: Staging) -> None:
        """With the root known any holder's list will do: one is asked, another if that comes to nothing."""
        if staging.all_known or not staging.root:
            return
        if self._lists and self._mono() - self._list_at < LIST_S:
            return
        link = next((link for link in self._listed if link not in self._lists), None)
        if link is not None:
            self._lists[link], self._list_at = bytearray(), self._mono()
            link.say(wire.GetHashes(self.offer.id, 0, staging.done.total))

    def _no_list(self, link: BulkLink) -> None:
        """None is to be had there."""
        self._lists.pop(link, None)
        self._listed.pop(link, None)

    def _ask_lists(self) -> None:
        """The root is known now: whoever has the list may give it. Maps say who that is."""
        for link in self._links:
            if link not in self._author:
                self._open(link)

    def _ban(self, link: BulkLink, why: str) -> None:
        self.banned[link.device] = None
        self._links.pop(link, None)
        self._asked.pop(link, None)
        self._author.pop(link, None)
        self._no_list(link)
        if self._plan is not None:
            self._plan.drop(link)
        link.say(wire.Done(self.offer.id))
        self._reports.bad_source(self, link, why)
        self._fill_all()

    def _stumble(self, error: Exception) -> None:
        self._trouble = self._trouble or error
        self._wake.set()

    def _refuse(self, why: str) -> None:
        """Tell all sources that it does not go on here just now."""
        self._refused = why
        self._say_all(wire.Cannot(self.offer.id, -1, why))


def _conflict(text: str) -> inbox.Conflict:
    match text:
        case "skip" | "overwrite":
            return text
        case _:
            return "rename"
