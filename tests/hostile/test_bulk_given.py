"""Who gives on a bulk link and means ill: cut off or named; what lands is byte-equal.

Eve is a holder of what Ann offers, or the author of an offer of her own, and speaks herself (kit/raw_bulk).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon.bulk_link import STALLED_S
from p2pchat.files import manifest
from p2pchat.files.pieces import MAX_SIZE, Bits
from p2pchat.wire.codec import encode
from p2pchat.wire.limits import MAX_HASHES
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.files import Entry, Manifest, Offer
from tests.hostile.bulk_house import DATA, MIB, PIECES, SOON_S, House, bounded, house, lands
from tests.kit.bulks import row_of
from tests.kit.raw_bulk import Over, Speaker, ended, speaking
from tests.kit.transfers import contents, hashes_of, offer_of, pieces_of

# -- she gives ------------------------------------------------------------------------------------

Giving = Callable[[Speaker, House], Awaitable[None]]
ALL = Bits.whole(PIECES).encode()


def map_of(bits: bytes, *, author: bool = False, listed: bool = True) -> Callable[[bytes], wire.Map]:
    """A Map of any offer."""
    return lambda offer: wire.Map(offer, bits, author, listed)


async def with_list(eve: Speaker, here: House) -> None:
    """Map and list as they should be; then she is asked for pieces."""
    await eve.say(map_of(ALL)(here.offer.id))
    await eve.hear_until(wire.GetHashes)
    await eve.say(wire.Hashes(here.offer.id, 0, hashes_of(here.offer, DATA)))


async def wrong_number(eve: Speaker, here: House) -> None:
    await with_list(eve, here)
    got = await eve.hear_until(wire.Get)
    assert isinstance(got, wire.Get)
    await eve.piece(here.offer.id, got.pieces[1], pieces_of(here.offer, DATA)[got.pieces[1]])


async def wrong_size(eve: Speaker, here: House) -> None:
    await with_list(eve, here)
    got = await eve.hear_until(wire.Get)
    assert isinstance(got, wire.Get)
    await eve.piece(here.offer.id, got.pieces[0], bytes(100))


async def sealed_as_another(eve: Speaker, here: House) -> None:
    """The record is that of another piece than its frame says."""
    await with_list(eve, here)
    got = await eve.hear_until(wire.Get)
    assert isinstance(got, wire.Get)
    data = pieces_of(here.offer, DATA)[got.pieces[0]]
    await eve.piece(here.offer.id, got.pieces[0] + 1, data, as_number=got.pieces[0])


async def twice(eve: Speaker, here: House) -> None:
    """The same piece again."""
    await with_list(eve, here)
    got = await eve.hear_until(wire.Get)
    assert isinstance(got, wire.Get)
    for _ in range(2):
        await eve.piece(here.offer.id, got.pieces[0], pieces_of(here.offer, DATA)[got.pieces[0]])


def mapped(bits: bytes) -> Giving:
    return lambda eve, here: eve.say(map_of(bits)(here.offer.id))


def hashed(first: int, hashes: bytes, *, asked: bool = True) -> Giving:
    async def act(eve: Speaker, here: House) -> None:
        await eve.say(map_of(ALL, listed=asked)(here.offer.id))
        if asked:
            await eve.hear_until(wire.GetHashes)
        await eve.say(wire.Hashes(here.offer.id, first, hashes))

    return act


GIVEN_OUT_OF_PLACE = {
    "another number": wrong_number,
    "another size": wrong_size,
    "another piece's record": sealed_as_another,
    "a piece twice": twice,
    "a map too short": mapped(b""),
    "a map too long": mapped(ALL + b"\0"),
    "a map of 60,000 bytes": mapped(bytes(60_000)),
    "a map of pieces there are not": mapped(b"\xff"),
    "hashes nobody asked for": hashed(0, bytes(32), asked=False),
    "hashes with a gap": hashed(1, bytes(32)),
    "hashes from below": hashed(-1, bytes(32)),
    "more hashes than pieces": hashed(0, bytes(32 * (PIECES + 1))),
    "hashes that go on for ever": hashed(0, bytes(32 * MAX_HASHES)),
}


@pytest.mark.parametrize("what", GIVEN_OUT_OF_PLACE)
async def test_who_gives_out_of_place_is_cut_off(
    tmp_path: Path, autojump_clock: MockClock, what: str
) -> None:
    """A holder's link ends; nobody is banned for what may be a fault on the way, and Ann gives the rest."""
    async with house(tmp_path) as here:
        await given(here, GIVEN_OUT_OF_PLACE[what])
        assert here.bob.troubles() == []
        await lands(here)


async def given(here: House, act: Giving, *, over: bool = True) -> None:
    """Bob wants it, only Eve is there, and she comes with this."""
    bob, eve = here.bob, here.eve
    here.office.part(here.ann, bob)
    bob.dials = False
    bob.fetch(here.offer, here.ann, eve, root=here.root)
    bob.bulk.chat_ended(here.ann.device)
    async with speaking(eve, bob) as speaker:
        await speaker.hear_until(wire.Open)
        link = next(link for link in bob.bulk._links if link.device == eve.device)
        with suppress(Over):
            await act(speaker, here)
        if over:
            with trio.fail_after(SOON_S):
                await ended(speaker)
            assert link.reason not in ("", "broken", "internal")
        else:
            await trio.sleep(SOON_S)
            assert not link.over


async def wrong_piece(eve: Speaker, here: House) -> None:
    await with_list(eve, here)
    got = await eve.hear_until(wire.Get)
    assert isinstance(got, wire.Get)
    for number in got.pieces:
        await eve.piece(here.offer.id, number, bytes(len(pieces_of(here.offer, DATA)[number])))


async def wrong_list(eve: Speaker, here: House) -> None:
    await eve.say(map_of(ALL)(here.offer.id))
    await eve.hear_until(wire.GetHashes)
    await eve.say(wire.Hashes(here.offer.id, 0, bytes(32 * PIECES)))


@pytest.mark.parametrize("act", [wrong_piece, wrong_list])
async def test_who_seals_what_is_wrong_is_named_and_asked_no_more(
    tmp_path: Path, autojump_clock: MockClock, act: Giving
) -> None:
    """Well sealed and wrong: that was she herself."""
    async with house(tmp_path) as here:
        await given(here, act, over=False)
        assert [(one.kind, one.final) for one in here.bob.troubles()] == [("bad_source", False)]
        assert "'eve'" in here.bob.troubles()[0].message
        assert not (here.bob.inbox / "report.pdf").exists()
        await lands(here)


async def boasts(eve: Speaker, here: House) -> None:
    await eve.say(map_of(bytes(1), listed=False)(here.offer.id))
    await eve.say(wire.More(here.offer.id, (1 << 62, -(1 << 62), PIECES, -1, *range(5000))))
    await eve.say(wire.More(here.offer.id, (3,) * 50_000))


async def promises(eve: Speaker, here: House) -> None:
    """She has it all, is asked, and gives nothing."""
    await with_list(eve, here)
    await eve.hear_until(wire.Get)


async def refuses(eve: Speaker, here: House) -> None:
    """Every piece she has said to have, and again when she is asked again."""
    await with_list(eve, here)
    for _ in range(20):
        got = await eve.hear_until(wire.Get)
        assert isinstance(got, wire.Get)
        for number in got.pieces:
            await eve.say(wire.Cannot(here.offer.id, number, "busy"))


@pytest.mark.parametrize("act", [boasts, promises, refuses])
async def test_who_promises_and_does_not_give_holds_nobody_up(
    tmp_path: Path, autojump_clock: MockClock, act: Giving
) -> None:
    """With Ann there as well all of it comes from her, soon, though Eve was asked for half of it."""
    async with house(tmp_path) as here, trio.open_nursery() as nursery:
        bob, eve = here.bob, here.eve

        async def play() -> None:
            async with speaking(eve, bob) as speaker:
                await speaker.hear_until(wire.Open)
                await act(speaker, here)
                await trio.sleep_forever()

        here.office.part(here.ann, bob)
        bob.dials = False
        bob.fetch(here.offer, here.ann, eve, root=here.root)
        bob.bulk.chat_ended(here.ann.device)
        nursery.start_soon(play)
        await trio.sleep(1)
        await lands(here)
        nursery.cancel_scope.cancel()


async def test_a_source_that_stalls_for_ever_is_left(tmp_path: Path, autojump_clock: MockClock) -> None:
    """She is the only one: her link is given up after a while, and with Ann back it lands."""
    async with house(tmp_path) as here:
        bob, eve = here.bob, here.eve
        here.office.part(here.ann, bob)
        bob.dials = False
        bob.fetch(here.offer, here.ann, eve, root=here.root)
        bob.bulk.chat_ended(here.ann.device)
        async with speaking(eve, bob) as speaker:
            await speaker.hear_until(wire.Open)
            link = next(link for link in bob.bulk._links if link.device == eve.device)
            await promises(speaker, here)
            with trio.fail_after(2 * STALLED_S):
                await ended(speaker)
            assert link.reason == "stalled"
        await lands(here)


# -- she is the author ----------------------------------------------------------------------------


@asynccontextmanager
async def offered_by_eve(here: House, offer: Offer) -> AsyncIterator[Speaker]:
    """Bob wants what Eve offers; she speaks as its author."""
    bob, eve = here.bob, here.eve
    here.office.offers[offer.id] = offer
    eve.rows[offer.id] = row_of(offer, eve, "", incoming=False, state="offered")
    bob.dials = False
    bob.fetch(offer, eve)
    async with speaking(eve, bob) as speaker:
        await speaker.hear_until(wire.Open)
        total = len(pieces_of(offer, bytes(min(offer.size, 64 * MIB))))
        await speaker.say(wire.Map(offer.id, Bits.whole(total).encode(), True, False))
        yield speaker


async def test_hashes_that_contradict_are_believed_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """An author who says two things of one piece is asked no more."""
    async with house(tmp_path) as here:
        offer = offer_of(DATA, name="of eve")
        async with offered_by_eve(here, offer) as eve:
            await eve.say(wire.Hashes(offer.id, 0, hashes_of(offer, DATA)))
            await eve.hear_until(wire.Get)
            await eve.say(wire.Hashes(offer.id, 0, bytes(32)))
            await here.bob.until(lambda: bool(here.bob.troubles()), SOON_S)
            assert [(one.kind, one.final) for one in here.bob.troubles()] == [("bad_source", False)]
            assert contents(here.bob.inbox) == {}


async def test_a_piece_before_its_hash_ends_the_link(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nothing of it is written: it could be anything."""
    async with house(tmp_path) as here:
        offer = offer_of(DATA, name="of eve")
        async with offered_by_eve(here, offer) as eve:
            await eve.hear_until(wire.Get)
            await eve.piece(offer.id, 0, DATA[:MIB])
            with trio.fail_after(SOON_S):
                await ended(eve)
        assert not (here.bob.base / "staging" / offer.id.hex() / "data").exists()


def lying_manifests() -> dict[str, tuple[bytes, int, int]]:
    """(manifest, bytes behind it, files offered) that cannot be."""
    good = [Entry(("a",), False, 5, 1), Entry(("b",), False, 3, 1)]
    made = manifest.make(good)
    return {
        "more bytes than files have": (made, 9, 2),
        "fewer": (made, 7, 2),
        "another number of files": (made, 8, 3),
        "no manifest": (b"\xc1" * 40, 8, 2),
        "cut short": (made[:-1], 8, 2),
        "something behind it": (made + b"\0", 8, 2),
        "twice the same": (_raw(good[0], good[0]), 10, 2),
        "out of order": (_raw(good[1], good[0]), 8, 2),
        "below a file": (_raw(good[0], Entry(("a", "b"), False, 3, 1)), 8, 2),
        "no name": (_raw(Entry((), False, 8, 1)), 8, 1),
        "less than nothing": (_raw(Entry(("a",), False, -8, 1), Entry(("b",), False, 16, 1)), 8, 2),
        "a folder with bytes": (_raw(Entry(("a",), True, 8, 1)), 8, 0),
        "before time began": (_raw(Entry(("a",), False, 8, -1)), 8, 1),
    }


def _raw(*entries: Entry) -> bytes:
    return encode(Manifest(1, entries))


@pytest.mark.parametrize("lie", lying_manifests())
async def test_a_manifest_that_lies_ends_the_transfer(
    tmp_path: Path, autojump_clock: MockClock, lie: str
) -> None:
    """With hashes that fit, for its author made them: it has failed, for good, and nothing lands."""
    head, behind, files = lying_manifests()[lie]
    stream = head + bytes(behind)
    offer = offer_of(stream, name="of eve", head=len(head), files=files, mtime=0)
    async with house(tmp_path) as here:
        async with offered_by_eve(here, offer) as eve:
            await eve.say(wire.Hashes(offer.id, 0, hashes_of(offer, stream)))
            await eve.hear_until(wire.Get)
            await eve.piece(offer.id, 0, stream)
            await here.bob.until(lambda: any(one.final for one in here.bob.troubles()), SOON_S)
            await trio.sleep(1)
            assert here.bob.landed(offer) is None
            assert contents(here.bob.inbox) == {}
            assert list((here.bob.base / "staging").iterdir()) == []
            assert here.bob.bulk.moving(offer.id) is None
        here.bob.dials = True
        await lands(here)


async def test_two_tebibytes_are_offered(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nothing is taken of the disk for what cannot fit; who asked is told why it waits."""
    offer = Offer(
        id=bytes(range(16)), size=MAX_SIZE, head=0, files=1, name="huge", mime="", mtime=0,
        file_key=bytes(32), piece_size=8 * MIB, ttl_s=0,
    )  # fmt: skip
    async with house(tmp_path) as here:
        bob = here.bob
        with bounded(64 * MIB):
            bob.fetch(offer, here.eve)
            await bob.until(lambda: bool(bob.troubles()), SOON_S)
        assert (bob.troubles()[0].kind, bob.troubles()[0].final) == ("disk_full", False)
        assert list((bob.base / "staging").iterdir()) == []
        await lands(here)
