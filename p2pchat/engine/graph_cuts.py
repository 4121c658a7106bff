"""What lies before an act, and how far a removal cuts each machine.

Decides: which acts an act reaches through `auth`, kept so that a linear history costs a number
per act; and the cut of a removal for each machine, raised to what the remover himself linked to.
Does not know: who may remove whom, or which removals count (engine/control_graph).

Acts are numbered as they come, each after all it names, so a set of acts is a number's bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from p2pchat.ids import DeviceId, EventId
from p2pchat.wire.messages.rooms import Cut


class Reach:
    """An ancestor-closed set of acts: all below `base`, and those of `bits`, counted from `base`.

    Where everybody had seen everything `bits` is 0; it grows only with what is concurrent.
    """

    __slots__ = ("base", "bits")

    def __init__(self, base: int, bits: int) -> None:
        self.base = base
        self.bits = bits

    def has(self, index: int) -> bool:
        """Whether the act of that number is in it."""
        return index < self.base or bool(self.bits and self.bits >> (index - self.base) & 1)

    def common(self, mask: int) -> int:
        """The acts of `mask` that are in it."""
        below = mask & ((1 << self.base) - 1)
        return below | ((mask >> self.base) & self.bits) << self.base

    def mask(self) -> int:
        """All of it as one number."""
        return ((1 << self.base) - 1) | self.bits << self.base


EMPTY = Reach(0, 0)


def joined(parts: Iterable[tuple[Reach, int]]) -> Reach:
    """Everything in any of the sets, and each part's own number."""
    parts = list(parts)
    if not parts:
        return EMPTY
    base = max(reach.base for reach, _ in parts)
    bits = 0
    for reach, index in parts:
        if reach.bits:
            bits |= reach.bits >> (base - reach.base)
        if index >= base:
            bits |= 1 << (index - base)
    if bits & 1:
        ones = ((bits + 1) & ~bits).bit_length() - 1
        base += ones
        bits >>= ones
    return Reach(base, bits)


class CutInForce(NamedTuple):
    """One removal's cut of one machine: `sort` is remove, demote (control events only) or revoke."""

    act: EventId
    sort: str
    seq: int
    id: EventId


class Place(NamedTuple):
    """Where a control event stands in its machine's chain."""

    seq: int
    id: EventId


def effective(named: Iterable[Cut], known: Iterable[tuple[DeviceId, Place]]) -> dict[DeviceId, Cut]:
    """The cut per machine: what a removal names, or the highest control event among its own
    ancestors (`known`) where that is higher. Of a fork at one height the smaller id counts."""
    cuts = {DeviceId(cut.device): cut for cut in named}
    tops: dict[DeviceId, Place] = {}
    for device, place in known:
        top = tops.get(device)
        if top is None or (-place.seq, place.id) < (-top.seq, top.id):
            tops[device] = place
    for device, top in tops.items():
        cut = cuts.get(device)
        if cut is None or cut.seq < top.seq:
            cuts[device] = Cut(device, top.seq, top.id)
    return cuts
