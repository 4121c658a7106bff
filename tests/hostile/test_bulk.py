"""Who asks on a bulk link and means ill: he is cut off, and others are served as if he were not there.

Eve is a member and linked, so nothing stands between her and a bulk link; she speaks on it herself
(kit/raw_bulk). What she gives is in test_bulk_given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon import bulk
from p2pchat.daemon.bulk_link import MAX_ASKED, STALLED_S
from p2pchat.daemon.turns import SLOTS
from p2pchat.engine import inputs as happened
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_BULK_LINKS
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.files import FileState
from p2pchat.wire.messages.link import Events, Ping, ReadMark
from tests.engine.play import Stage
from tests.engine.test_rooms import link_of
from tests.hostile.bulk_house import DATA, MADE_UP, MIB, PIECES, SOON_S, House, bounded, house, lands
from tests.kit.bulks import Machine
from tests.kit.raw_bulk import Over, Speaker, ended, speaking
from tests.kit.transfers import contents

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


async def test_who_opens_all_there_is_holds_little_of_it_open(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs descriptors. What she needs no more makes room for another."""
    monkeypatch.setattr(bulk, "OPENED", 5)
    async with house(tmp_path) as here, speaking(here.eve, here.ann) as eve:
        offers = []
        for number in range(9):
            source = tmp_path / f"{number}"
            source.write_bytes(b"%d" % number)
            offers.append(await here.ann.offer(source))
        answers: list[tuple[str, bytes]] = []

        async def asked(*messages: Record) -> None:
            await eve.say(*messages)
            while not isinstance(said := await eve.hear(), wire.Map | wire.Cannot):
                pass
            answers.append((said.reason if isinstance(said, wire.Cannot) else "", said.offer))

        for offer in offers:
            await asked(wire.Open(offer.id))
        await asked(wire.Open(offers[0].id))
        await asked(wire.Done(offers[1].id), wire.Open(offers[8].id))
        given = [("", one.id) for one in offers[:5]]
        refused = [("busy", one.id) for one in offers[5:]]
        assert answers == [*given, *refused, given[0], ("", offers[8].id)]
        await lands(here)
