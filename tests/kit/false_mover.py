"""Who moves the bytes of files in the swarm, without bytes: what may be had arrives after a while, or not.

Decides: whom a machine asks for what it fetches, and when something is all there. Does not know: pieces,
bulk links, or who may have what (the other machine's engine is asked, as on a bulk link).

What has landed is on disk and survives a crash; all else is forgotten in one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from p2pchat.engine import offers
from p2pchat.engine.file_inputs import (
    DialBulk,
    Fetch,
    FileEffect,
    FileLanded,
    FileRead,
    FileRootKnown,
    FileSettled,
    FileSource,
    MayServe,
    StopFetch,
    Withdraw,
)
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import DONE, TransferRow
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.files import Offer
from tests.kit.laws import law

if TYPE_CHECKING:
    from tests.kit.swarm import Machine

LONGEST_S: Final = 8.0
"""A transfer takes up to so long: long enough to be caught by cuts and crashes."""


class Mover:
    """The bulk part of one simulated machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.disk: dict[bytes, str] = {}
        """Where offers have landed."""
        self.given: dict[tuple[AccountId, bytes], None] = {}
        """Who was ever told that he may have some of an offer from here."""
        self.fresh()

    def fresh(self) -> None:
        """A run begins."""
        self.fetching: dict[bytes, Fetch] = {}
        self.withdrawn: dict[bytes, None] = {}
        self.asked: dict[int, tuple[Machine, int, bytes]] = {}  # who, in which run, and for what

    def perform(self, effect: FileEffect) -> None:
        """Do what the engine wants."""
        match effect:
            case Fetch(offer):
                self.fetching[offer.id] = effect
                if offer.id in self.disk:  # it had landed, and the archive had not been told
                    self._landed(offer.id)
            case FileSource(offer, device, _):
                self._soon(0.3, lambda: self.ask(device, offer))
            case StopFetch(offer, _):
                self.fetching.pop(offer, None)
            case FileSettled(offer, path):
                law(self.disk.get(offer.id) == path, f"{self.machine.name} settles what has not landed")
            case Withdraw(offer):
                self.withdrawn[offer] = None
            case FileRootKnown() | DialBulk():
                pass

    def ask(self, device: DeviceId, offer: bytes) -> None:
        """May I have it? Asked only of who is linked; also by who has no business with it."""
        target = self._linked(device)
        if target is not None and target.mover is not None:
            target.mover.is_asked(self.machine, offer)

    def is_asked(self, by: Machine, offer: bytes) -> None:
        """Another machine would like some of an offer."""
        number = -1 - len(self.asked) - self.machine.boot * 1_000_000
        self.asked[number] = (by, by.boot, offer)
        self.machine.post(MayServe(number, by.device, offer))

    def answered(self, number: int, result: object) -> None:
        """The engine says whether he may have it."""
        by, boot, offer = self.asked[number]
        if not isinstance(result, TransferRow):
            return
        self.withdrawn.pop(offer, None)  # what was let go is opened again for who may have it
        self.given[by.account, offer] = None
        whole = not result.incoming or result.state == DONE
        if whole and by.boot == boot and by.mover is not None:
            law(not result.incoming or offer in self.disk, f"{self.machine.name} gives what is not here")
            by.mover.is_given(self.machine, offer, author=not result.incoming)

    def is_given(self, source: Machine, offer: bytes, *, author: bool) -> None:
        """It comes, if the link holds and nobody thinks otherwise meanwhile."""
        boot = source.boot

        def arrives() -> None:
            still = source.boot == boot and source.up and self._linked(source.device) is source
            if not still or source.mover is None or offer in source.mover.withdrawn:
                return
            if offer in self.fetching and offer not in self.disk:
                if author:
                    stream = decode(Offer, source.ledger.transfers.transfer(offer).offer)  # type: ignore[union-attr]
                    source.post(FileRead(offer, root_of(offer), offers.pieces(stream)))
                self.disk[offer] = f"/{self.machine.name}/{offer.hex()}"
                self._landed(offer)

        self._soon(LONGEST_S, arrives)

    def _landed(self, offer: bytes) -> None:
        self.machine.post(FileLanded(offer, self.disk[offer], "made", root_of(offer)))

    def _linked(self, device: DeviceId) -> Machine | None:
        if not self.machine.up or device not in self.machine.node.live.by_device:
            return None
        found = (other for other in self.machine.swarm.machines.values() if other.device == device)
        target = next(found, None)
        return target if target is not None and self.machine.swarm.reaches(self.machine, target) else None

    def _soon(self, within: float, act: Callable[[], None]) -> None:
        self.machine.soon(within * self.machine.chance.random(), act)


def root_of(offer: bytes) -> bytes:
    """What the bytes of an offer come to: everybody who has them finds the same."""
    return offer * 2
