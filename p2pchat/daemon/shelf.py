"""What can be given to others: our own files that were offered, and received ones from where they landed.

Decides: how an offer is made, when a source is opened and closed again, and what is kept in the staging
folder for it. Does not know: links, or who may have what.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from p2pchat.daemon.disk import Disk
from p2pchat.daemon.giving import CHANGED, Given, size_of
from p2pchat.daemon.moving import Moving
from p2pchat.engine.offers import offer_id
from p2pchat.engine.ports import Entropy
from p2pchat.errors import CommandError
from p2pchat.files import inbox, outgoing
from p2pchat.files.outgoing import Outgoing
from p2pchat.files.seed import landed_source, list_name
from p2pchat.files.source import FileSource, FolderSource, Left, Source, Spool, open_source
from p2pchat.files.staging import so_far
from p2pchat.ids import AccountId
from p2pchat.model import TransferRow
from p2pchat.platform.folders import Folder
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.files import FILE_KEY_BYTES, Offer

IDLE_GIVERS: Final = 32
"""So many transfers that nobody fetches just now stay open: descriptors."""
IDLE_FILES: Final = 20_000
"""And no more files than these in all of them: what is known of each takes 0.6 KiB of memory."""
SPOOL: Final = "spool-"


class Shelf:
    """All that can be given. `read` and `failed` as in giving.Given."""

    def __init__(
        self,
        me: AccountId,
        disk: Disk,
        entropy: Entropy,
        mono: Callable[[], float],
        read: Callable[[Given], None],
        failed: Callable[[Given, CommandError], None],
    ) -> None:
        self._me = me
        self._disk = disk
        self._entropy = entropy
        self._mono = mono
        self._read = read
        self._failed = failed
        self._givers: dict[bytes, Given] = {}
        self._opening: dict[bytes, trio.Lock] = {}
        self._spools: dict[str, Spool] = {}
        self.left: dict[bytes, Left] = {}
        """What of folders just offered does not go along: until it is told."""

    def get(self, offer: bytes) -> Given | None:
        """What is open of it."""
        return self._givers.get(offer)

    def pop(self, offer: bytes) -> Given | None:
        """The same, no longer kept here; who takes it closes it."""
        return self._givers.pop(offer, None)

    def close(self) -> None:
        """Let go of everything."""
        for giver in self._givers.values():
            giver.outgoing.close()
        for spool in self._spools.values():
            spool.abort()

    async def prepare(self, path: str, ttl_s: int = 0) -> Offer:
        """Offer a file or folder of ours, kept open for a while. CommandErrors of open_source."""
        source = await self._disk.slow(lambda: open_source(path))
        offer = await self._offer(source, ttl_s)
        if isinstance(source, FolderSource) and source.left.any:
            self.left[offer.id] = source.left
        return offer

    async def _offer(self, source: Source, ttl_s: int, key: bytes = b"") -> Offer:
        key = key or self._entropy.bytes(FILE_KEY_BYTES)
        identity = offer_id(self._me, key)
        mime = mimetypes.guess_type(source.name)[0] or "" if not source.head else ""
        offer = outgoing.offer_for(source, identity, key, mime, ttl_s)
        folder = await self._disk.slow(self._disk.staging)
        begun = await self._disk.slow(partial(_begin, folder, offer, source, self._mono()))
        await self._keep(begun, author=True)
        return offer

    async def spool(self) -> str:
        """A place for what is piped in; its name."""
        folder = await self._disk.slow(self._disk.staging)
        key = self._entropy.bytes(FILE_KEY_BYTES)
        name = f"{SPOOL}{offer_id(self._me, key).hex()}"
        keep_free = self._disk.keep_free()
        self._spools[key.hex()] = await self._disk.slow(lambda: Spool(folder, name, keep_free=keep_free))
        return key.hex()

    async def spool_add(self, spool: str, data: bytes) -> None:
        """More of it. CommandError `no_such_target` if there is no such place, `disk_full`, `too_long`."""
        await self._disk.slow(lambda: self._spool(spool).add(data))

    async def spool_drop(self, spool: str) -> None:
        """It is not sent after all."""
        found = self._spools.pop(spool, None)
        if found is not None:
            await self._disk.slow(found.abort)

    async def prepare_spool(self, spool: str, name: str, ttl_s: int = 0) -> tuple[Offer, str]:
        """Offer what was piped in, and where it is kept."""
        found = self._spool(spool)
        source = await self._disk.slow(lambda: found.finish(name))
        del self._spools[spool]
        return await self._offer(source, ttl_s, bytes.fromhex(spool)), source.path

    def _spool(self, spool: str) -> Spool:
        found = self._spools.get(spool)
        if found is None:
            raise CommandError("no_such_target", f"nothing is piped in as {spool[:16]!r}", "send it again")
        return found

    async def resting(self, offer: Offer) -> Moving:
        """See moving.Bulk."""
        folder = await self._disk.slow(self._disk.staging)
        here = await self._disk.slow(lambda: so_far(folder, offer))
        size = sum(size_of(offer, number) for number in range(here.total) if number in here)
        return Moving(size, 0.0, 0, here.here, here.total, "waiting")

    async def remove(self, offer: bytes) -> None:
        """Forget what is kept of a transfer: nothing of it is wanted any more."""
        folder = await self._disk.slow(self._disk.staging)

        def remove() -> None:
            inbox.forget(folder, offer)
            folder.remove(list_name(offer))
            folder.remove(f"{SPOOL}{offer.hex()}")

        await self._disk.slow(remove)

    async def settle(self, offer: bytes) -> None:
        """It may be served from where it landed; what was staged can go, but for its log and list."""
        folder = await self._disk.slow(self._disk.staging)
        await self._disk.slow(lambda: folder.remove_tree(offer.hex()))

    async def open(self, row: TransferRow) -> Given:
        """What a row of the archive speaks of, opened again where it is not. CommandError
        `source_changed` if it is no longer that."""
        async with self._opening.setdefault(row.id, trio.Lock()):
            known = self._givers.get(row.id)
            if known is not None:
                return known
            offer = decode(Offer, row.offer)
            folder = await self._disk.slow(self._disk.staging)

            now = self._mono()

            def again() -> Outgoing:
                source: Source
                if row.incoming:
                    source = landed_source(folder, offer, row.path)
                elif row.path == f"{folder.path}/{SPOOL}{offer.id.hex()}":
                    source = FileSource(row.path, offer.name)
                else:
                    source = open_source(row.path, again=True)
                return _begin(folder, offer, source, now)

            begun = await self._disk.slow(again)
            if row.incoming and not begun.known.complete:
                begun.close()
                raise CommandError(CHANGED, f"{row.path!r} has lost its list of hashes", "")
            return await self._keep(begun, author=not row.incoming)

    async def _keep(self, begun: Outgoing, *, author: bool) -> Given:
        """Room is made first: nobody but who asked has it in hand before it counts as idle, too."""
        try:
            await self.close_idle(1, begun.offer.files)
        except BaseException:
            begun.close()
            raise
        given = Given(begun, self._disk, author=author, mono=self._mono, read=self._read, failed=self._failed)
        self._givers[begun.offer.id] = given
        return given

    async def close_idle(self, more: int = 0, more_files: int = 0) -> None:
        """Let go of what nobody fetches, but for IDLE_GIVERS; or make room for one more, of so many files."""
        idle = [giver for giver in self._givers.values() if not giver.openers]
        count, files = len(idle) + more, sum(giver.offer.files for giver in idle) + more_files
        for giver in idle:
            if count <= IDLE_GIVERS and files <= IDLE_FILES:
                return
            count, files = count - 1, files - giver.offer.files
            if not giver.openers and self._givers.get(giver.offer.id) is giver:
                del self._givers[giver.offer.id]
                await giver.close()


def _begin(folder: Folder, offer: Offer, source: Source, now: float) -> Outgoing:
    """Outgoing on a source, which is let go if that comes to nothing."""
    try:
        return Outgoing(folder, offer, source, now)
    except BaseException:
        source.close()
        raise
