"""A mover of files that moves nothing: it keeps what it was asked, and says what a test wants to hear."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from p2pchat.daemon.moving import Moving
from p2pchat.errors import CommandError
from p2pchat.files.source import Left
from p2pchat.wire.messages.files import Offer


def offer(name: str, number: int = 1, *, ttl_s: int = 0) -> Offer:
    """An offer of 1.2 MB whose id is that of samples.transfer_view."""
    ident = bytes([0xF0 + number]) * 16
    return Offer(ident, 1_200_000, 0, 1, name, "", 0, b"k" * 32, 1 << 20, ttl_s)


class FalseBulk:
    """Fits daemon.moving.Bulk."""

    def __init__(self) -> None:
        self.prepared: list[tuple[str, int]] = []
        self.dropped: list[bytes] = []
        self.spools: dict[str, bytes] = {}
        self.motion: dict[bytes, Moving] = {}
        self.at_rest: dict[bytes, Moving] = {}
        self.missing: set[str] = set()
        self.left_out: dict[bytes, Left] = {}
        self.changed = trio.Event()
        self._numbers = 0

    async def prepare(self, path: str, ttl_s: int = 0) -> Offer:
        await trio.lowlevel.checkpoint()
        if path in self.missing:
            raise CommandError("no_such_target", f"no file {path!r}", "check the name")
        self.prepared.append((path, ttl_s))
        self._numbers += 1
        return offer(path.rpartition("/")[2], self._numbers, ttl_s=ttl_s)

    async def prepare_spool(self, spool: str, name: str, ttl_s: int = 0) -> tuple[Offer, str]:
        await trio.lowlevel.checkpoint()
        if spool not in self.spools:
            raise CommandError("no_such_target", f"nothing was piped in as {spool!r}", "begin again")
        self._numbers += 1
        return offer(name, self._numbers, ttl_s=ttl_s), f"/staging/{spool}"

    async def spool(self) -> str:
        await trio.lowlevel.checkpoint()
        number = f"spool-{len(self.spools) + 1}"
        self.spools[number] = b""
        return number

    async def spool_add(self, spool: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.spools[spool] += data

    async def spool_drop(self, spool: str) -> None:
        await trio.lowlevel.checkpoint()
        self.spools.pop(spool, None)

    def moving(self, offer: bytes) -> Moving | None:
        return self.motion.get(offer)

    async def resting(self, offer: Offer) -> Moving:
        await trio.lowlevel.checkpoint()
        if offer.id not in self.at_rest:
            raise CommandError("unsafe_path", "the log can not be read", "")
        return self.at_rest[offer.id]

    def left(self, offer: bytes) -> Left | None:
        return self.left_out.pop(offer, None)

    def drop_prepared(self, offers: Sequence[bytes]) -> None:
        self.dropped += offers

    def move(self, offer: bytes, done: int, rate: float = 1e6) -> None:
        """So many bytes of it are there now."""
        self.motion[offer] = Moving(done, rate, 1, done // 1_000_000, 2, "active")
        self._tell()

    def stop(self, offer: bytes) -> None:
        """Nothing of it moves any more."""
        del self.motion[offer]
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
