"""Bulk links to somebody who means ill: he is cut off or named, and honest people get their bytes.

Eve is a member and linked, so nothing stands between her and a bulk link; she speaks on it herself
(kit/raw_bulk). Whatever she says, what lands is byte-equal, memory stays small, and others are served.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon.bulk_link import MAX_ASKED, STALLED_S
from p2pchat.daemon.turns import SLOTS
from p2pchat.engine import inputs as happened
from p2pchat.engine.file_inputs import FileRead
from p2pchat.files import manifest
from p2pchat.files.pieces import MAX_SIZE, Bits
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_BULK_LINKS, MAX_HASHES
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.files import Entry, FileState, Offer
from p2pchat.wire.messages.link import Events, Ping, ReadMark
from tests.engine.play import Stage
from tests.engine.test_rooms import link_of
from tests.kit.bulks import Machine, Office, office, row_of
from tests.kit.raw_bulk import Over, Speaker, ended, speaking
from tests.kit.transfers import contents, hashes_of, offer_of, pattern, pieces_of

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


# -- she asks -------------------------------------------------------------------------------------

Asking = Callable[[Speaker, bytes], Awaitable[None]]


def says(*messages: Callable[[bytes], object]) -> Asking:
    """Say these of an offer."""

    async def say(speaker: Speaker, offer: bytes) -> None:
        await speaker.say(*(one(offer) for one in messages))  # type: ignore[arg-type]

    return say


ASKED = {
    "a million pieces": says(*[lambda offer: wire.Get(offer, tuple(range(10_000)))] * 100),
    "one piece too many": says(lambda offer: wire.Get(offer, (0,) * (MAX_ASKED + 1))),
    "a piece beyond the end": says(lambda offer: wire.Get(offer, (PIECES,))),
    "piece -1": says(lambda offer: wire.Get(offer, (-1,))),
    "piece 2^63": says(lambda offer: wire.Get(offer, (1 << 63,))),
    "hashes beyond the end": says(lambda offer: wire.GetHashes(offer, 0, PIECES + 1)),
    "hashes before the start": says(lambda offer: wire.GetHashes(offer, -1, 1)),
    "fewer than no hashes": says(lambda offer: wire.GetHashes(offer, 3, -2)),
    "an id that is none": says(lambda offer: wire.Open(offer[:3])),
    "a refusal of what nobody asked for": says(lambda offer: wire.Cannot(offer, 2, "gone")),
    "a piece nobody asked for": lambda speaker, offer: speaker.piece(offer, 0, DATA[:MIB]),
    "a state, which belongs on a chat link": says(lambda offer: FileState(bytes(32), offer, 0, True)),
    "a read mark": says(lambda _: ReadMark(bytes(32), bytes(32), (), bytes(32))),
    "events": says(lambda _: Events(())),
    "noise": lambda speaker, _: speaker.raw(bytes(100) + DATA[:100_000]),
    "no frame": lambda speaker, _: speaker.raw(b"\0\0"),
}


@pytest.mark.parametrize("what", ASKED)
async def test_who_asks_out_of_place_is_cut_off(tmp_path: Path, autojump_clock: MockClock, what: str) -> None:
    """The link ends at once, for a reason, and the next who asks is served."""
    async with house(tmp_path) as here:
        async with speaking(here.eve, here.ann) as eve:
            await eve.say(wire.Open(here.offer.id))
            await eve.hear_until(wire.Map)
            link = [link for link in here.ann.bulk._links if link.device == here.eve.device][-1]
            with trio.fail_after(SOON_S):
                with suppress(Over):
                    await ASKED[what](eve, here.offer.id)
                await ended(eve)
            assert link.over
            assert link.reason not in ("", "broken", "internal")
        await lands(here)


async def test_what_asks_for_nothing_is_let_go(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Words that a link of somebody slow may bring too: of offers nobody knows, or not opened here."""
    async with house(tmp_path) as here:
        async with speaking(here.eve, here.ann) as eve:
            await eve.say(
                wire.Done(MADE_UP), wire.Done(here.offer.id), wire.GetHashes(here.offer.id, 0, 1),
                wire.Get(here.offer.id, (0, 1)), wire.Get(MADE_UP, (0,)), wire.Cannot(MADE_UP, -1, "x" * 999),
                wire.More(here.offer.id, (1 << 62, -(1 << 62))), wire.Hashes(here.offer.id, 0, bytes(32)),
                wire.Map(here.offer.id, b"", True, True), wire.Open(MADE_UP),
            )  # fmt: skip
            refused = []
            for _ in range(4):
                said = await eve.hear_until(wire.Cannot)
                assert isinstance(said, wire.Cannot)
                refused.append((said.offer, said.number))
            assert sorted(refused) == [(MADE_UP, -1), (MADE_UP, 0), (here.offer.id, 0), (here.offer.id, 1)]
            await eve.say(wire.Open(here.offer.id))
            await eve.hear_until(wire.Map)
        await lands(here)


async def test_a_bulk_link_needs_a_chat_link(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whoever is not linked is not heard, and with the chat link the bulk link ends."""
    async with house(tmp_path) as here:
        async with speaking(here.eve, here.ann) as eve:
            await eve.say(wire.Open(here.offer.id))
            await eve.hear_until(wire.Map)
            here.office.part(here.eve, here.ann)
            await ended(eve)
        async with speaking(here.eve, here.ann) as eve:
            with trio.fail_after(SOON_S):
                await ended(eve)
        assert all(link.device != here.eve.device for link in here.ann.bulk._links)
        await lands(here)


async def test_a_fifth_bulk_link_is_turned_away(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Four of one machine, and no more; the place is free again when one ends."""
    async with house(tmp_path) as here, trio.open_nursery() as nursery:
        await trio.sleep(100)  # until what Eve's own bulk part opened has ended: nobody uses it
        for _ in range(MAX_BULK_LINKS):
            eve = await nursery.start(stays, here)
        async with speaking(here.eve, here.ann) as fifth:
            with trio.fail_after(SOON_S):
                await ended(fifth)
        await eve.say(wire.Open(here.offer.id))
        await eve.hear_until(wire.Map)
        await lands(here)
        nursery.cancel_scope.cancel()


async def stays(here: House, task_status: trio.TaskStatus[Speaker] = trio.TASK_STATUS_IGNORED) -> None:
    """Keep a bulk link from Eve to Ann open."""
    async with speaking(here.eve, here.ann) as eve:
        await eve.say(wire.Open(here.offer.id))
        await eve.hear_until(wire.Map)
        task_status.started(eve)
        await trio.sleep_forever()


# -- she asks without end -------------------------------------------------------------------------


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


async def flooding(
    here: House, act: Callable[[Speaker], Awaitable[None]], task_status: trio.TaskStatus[None]
) -> None:
    """Eve does this on a link of hers, until it ends or for ever; she reads nothing after the first map."""
    async with speaking(here.eve, here.ann) as eve:
        await eve.say(wire.Open(here.offer.id))
        await eve.hear_until(wire.Map)
        task_status.started()
        with suppress(Over):
            await act(eve)
            await trio.sleep_forever()


def again_and_again(make: Callable[[House, int], tuple[object, ...]], times: int = 1000) -> object:
    """Say the same sort of thing many times."""

    async def act(here: House, eve: Speaker) -> None:
        for number in range(times):
            await eve.say(*make(here, number))  # type: ignore[arg-type]

    return act


FLOODS = {
    "opens what there is": again_and_again(lambda here, _: (wire.Open(here.offer.id),)),
    "opens made-up ids": again_and_again(lambda _, number: (wire.Open(number.to_bytes(16, "big")),)),
    "asks for hashes": again_and_again(lambda here, _: (wire.GetHashes(here.offer.id, 0, PIECES),)),
    "asks for pieces": again_and_again(lambda here, _: (wire.Get(here.offer.id, (0, 1, 2, 3)),), 16),
    "needs no more": again_and_again(lambda here, _: (wire.Done(here.offer.id), wire.Open(here.offer.id))),
}


@pytest.mark.parametrize("what", FLOODS)
async def test_who_asks_and_never_reads_takes_little_from_others(
    tmp_path: Path, autojump_clock: MockClock, what: str
) -> None:
    """On all four links she may have. The engine is slow, so that what waits for it would pile up."""
    async with house(tmp_path) as here, trio.open_nursery() as nursery:
        await trio.sleep(100)
        slowly(here.ann)
        act = FLOODS[what]
        with bounded(24 * MIB):
            for _ in range(MAX_BULK_LINKS):
                await nursery.start(flooding, here, lambda eve: act(here, eve))  # type: ignore[operator]
            await trio.sleep(2)
            waiting = here.ann.bulk._nursery
            assert waiting is not None
            assert len(waiting.child_tasks) <= 40 * MAX_BULK_LINKS
            await lands(here)
        nursery.cancel_scope.cancel()


async def test_pings_are_not_answered_here(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nobody needs them on a bulk link, and answers would pile up for somebody who does not read."""
    async with house(tmp_path) as here, speaking(here.eve, here.ann) as eve:
        await eve.say(*(Ping(number) for number in range(1000)), wire.Open(here.offer.id))
        link = [link for link in here.ann.bulk._links if link.device == here.eve.device][-1]
        assert isinstance(await eve.next_frame(), wire.Map)
        assert link._machine.data_to_send() == b""


def slowly(machine: Machine) -> None:
    """From now on its engine takes a while to say who may have what."""
    quick = machine.bulk._wires.ask

    async def ask(make: object) -> object:
        await trio.sleep(0.05)
        return await quick(make)  # type: ignore[arg-type]

    machine.bulk._wires = machine.bulk._wires._replace(ask=ask)


async def test_hashes_of_what_was_not_read_yet_are_read_by_few_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Asked for all hashes of a file again and again, its author reads it once, in little memory."""
    async with house(tmp_path) as here:
        big = tmp_path / "big"
        with big.open("wb") as file:
            file.truncate(64 * MIB)
        offer = await here.ann.offer(big)
        async with speaking(here.eve, here.ann) as eve:
            await eve.say(wire.Open(offer.id))
            await eve.hear_until(wire.Map)
            with bounded(24 * MIB):
                for _ in range(500):
                    await eve.say(wire.GetHashes(offer.id, 0, 64))
                await eve.hear_until(wire.Hashes)
                await lands(here)


async def test_what_stalls_is_given_up_and_its_place_is_free(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Eve asks for pieces and reads none, on all her links: Bob does not wait for her, and she is cut off."""
    async with house(tmp_path) as here, trio.open_nursery() as nursery:
        await trio.sleep(100)
        act = FLOODS["asks for pieces"]
        for _ in range(MAX_BULK_LINKS):
            await nursery.start(flooding, here, lambda eve: act(here, eve))  # type: ignore[operator]
        await trio.sleep(1)
        assert sum(link.device == here.eve.device for link in here.ann.bulk._links) == MAX_BULK_LINKS
        await lands(here)
        await trio.sleep(2 * STALLED_S)
        assert all(link.device != here.eve.device for link in here.ann.bulk._links)
        assert here.ann.bulk.turns.free == SLOTS
        nursery.cancel_scope.cancel()


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
    from p2pchat.wire.codec import encode
    from p2pchat.wire.messages.files import Manifest

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


# -- honest, and many -----------------------------------------------------------------------------


async def test_a_thousand_transfers_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Somebody takes more files at once than a link answers questions for: all of them land."""
    many = 1100
    async with house(tmp_path) as here:
        offers = []
        for number in range(many):
            source = tmp_path / "sources" / f"{number}"
            source.parent.mkdir(exist_ok=True)
            source.write_bytes(b"%d" % number)
            offers.append(await here.ann.offer(source))
        for offer in offers:
            here.bob.fetch(offer, here.ann)
        await here.bob.until(lambda: all(here.bob.rows[one.id].state == "done" for one in offers))
        assert contents(here.bob.inbox) == {f"{number}": b"%d" % number for number in range(many)}


@pytest.mark.parametrize(
    "frame",
    [
        wire.Open(MADE_UP), wire.Map(MADE_UP, b"", True, True), wire.More(MADE_UP, (1,)),
        wire.Get(MADE_UP, (0,)), wire.GetHashes(MADE_UP, 0, 1), wire.Hashes(MADE_UP, 0, bytes(32)),
        wire.Piece(MADE_UP, 0, 9), wire.Cannot(MADE_UP, -1, "gone"), wire.Done(MADE_UP),
    ],
    ids=lambda frame: type(frame).__name__,
)  # fmt: skip
def test_words_of_bulk_links_end_a_chat_link(stage: Stage, frame: Record) -> None:
    """They have no meaning there, so whoever says them is no machine of ours."""
    ann, eve = stage.actor("ann"), stage.actor("eve")
    stage.join(ann, eve)
    ann.feed(happened.FromPeer(link_of(ann, eve), frame))
    assert ann.closed == ["frame out of place"]
