"""The house of the plays with bulk links to Eve, who means ill.

Decides: who is there, what Ann offers, and that Bob must get it soon. Does not know: what Eve does.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from p2pchat.engine.file_inputs import FileRead
from p2pchat.wire.messages.files import Offer
from tests.kit.bulks import Machine, Office, office
from tests.kit.transfers import contents, pattern

MIB = 1 << 20
PIECES = 6
SIZE = PIECES * MIB - 5
DATA = pattern(SIZE)
SOON_S = 10.0
"""On a LAN that is idle beside her an honest transfer of a few MiB takes less than a second."""
MADE_UP = bytes(16)


class House(NamedTuple):
    """Ann offers, Bob wants, Eve means ill; Ann is Bob's only way to the right bytes."""

    office: Office
    ann: Machine
    bob: Machine
    eve: Machine
    offer: Offer
    root: bytes


@asynccontextmanager
async def house(base: Path, latency_s: float = 0.001) -> AsyncIterator[House]:
    """The three of them; Eve has fetched all of it once, so its root is known."""
    async with office(base, latency_s=latency_s) as here:
        ann, bob, eve = [await here.add(name) for name in ("ann", "bob", "eve")]
        source = base / "report.pdf"
        source.write_bytes(DATA)
        offer = await ann.offer(source)
        eve.fetch(offer, ann)
        await eve.until(lambda: eve.landed(offer) is not None)
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        yield House(here, ann, bob, eve, offer, root)


async def lands(house: House, within_s: float = SOON_S) -> None:
    """Bob has Ann's bytes, and nothing else, soon."""
    bob, ann, offer = house.bob, house.ann, house.offer
    bob.dials = True
    if offer.id in bob.rows:
        house.office.rejoin(bob, ann, offer)
    else:
        bob.fetch(offer, ann, root=house.root)
    await bob.until(lambda: bob.landed(offer) is not None, within_s)
    assert contents(bob.inbox) == {"report.pdf": DATA}


@contextmanager
def bounded(most_bytes: int) -> Iterator[None]:
    """No more memory than that is held at any moment within."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak <= most_bytes, f"{peak >> 20} MiB were held"
