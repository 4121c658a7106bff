"""Files between machines: one source, several, liars, full disks, cut cables; bytes equal or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon import shelf
from p2pchat.daemon.bulk_link import BulkLink
from p2pchat.engine.file_inputs import (
    DialBulk,
    FileRead,
    FileSource,
    FileTrouble,
    NeedBulk,
    StopFetch,
)
from p2pchat.net.lan import Stream
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.files import Offer
from tests.kit.bulks import Machine, office
from tests.kit.transfers import contents, pattern

MIB = 1 << 20


def written(path: Path, size: int, seed: int = 0) -> Path:
    """A file of that many bytes."""
    path.write_bytes(pattern(size, seed))
    return path


async def test_a_file_lands_with_its_name(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Ann offers, Bob fetches: the same bytes, the same name, and only its log stays in staging."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "report.pdf", 3 * MIB + 17))
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert contents(bob.inbox) == {"report.pdf": pattern(3 * MIB + 17)}
        await trio.sleep(1)
        assert sorted(p.name for p in (bob.base / "staging").iterdir()) == [f"{offer.id.hex()}.state"]


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1])
async def test_sizes_at_the_edges(tmp_path: Path, autojump_clock: MockClock, size: int) -> None:
    """An empty file too, and one that fills its pieces exactly."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", size))
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert (bob.inbox / "x").read_bytes() == pattern(size)


async def test_a_folder_lands_whole(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Small and large files, an empty file and an empty folder."""
    folder = tmp_path / "project"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    for number in range(40):
        written(folder / f"{number:02d}.txt", 100 * number, number)
    written(folder / "deep" / "er" / "big.bin", 2 * MIB + 5)
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(folder)
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert contents(bob.inbox / "project") == contents(folder)


async def test_folders_nobody_fetches_are_let_go(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of each file takes memory, so few files stay open; what was let go is opened again."""
    monkeypatch.setattr(shelf, "IDLE_FILES", 5)
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offers = []
        for number in range(4):
            folder = tmp_path / f"folder{number}"
            folder.mkdir()
            for name in "ab":
                written(folder / name, 1000, number)
            offers.append(await ann.offer(folder))
        assert [ann.bulk.shelf.get(offer.id) is not None for offer in offers] == [False, False, True, True]
        bob.fetch(offers[0], ann)
        await bob.until(lambda: bob.landed(offers[0]) is not None)
        assert contents(bob.inbox / "folder0") == contents(tmp_path / "folder0")


async def test_what_was_fetched_at_once_is_let_go_when_it_has_come(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when the next is offered: each keeps descriptors."""
    monkeypatch.setattr(shelf, "IDLE_GIVERS", 2)
    async with office(tmp_path, latency_s=0.05) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offers = [await ann.offer(written(tmp_path / f"{number}", 3 * MIB, number)) for number in range(6)]
        for offer in offers:
            bob.fetch(offer, ann)
        await bob.until(lambda: all(ann.bulk.moving(offer.id) is not None for offer in offers))
        await bob.until(lambda: all(bob.landed(offer) is not None for offer in offers))
        await trio.sleep(1)
        assert sum(ann.bulk.shelf.get(offer.id) is not None for offer in offers) == 2


async def test_five_in_a_room_share(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Five fetch the same file from its author and each other: the author gives far less than five copies."""
    async with office(tmp_path) as house:
        ann = await house.add("ann")
        others = [await house.add(name) for name in ("bob", "cyn", "dan", "eve", "fay")]
        offer = await ann.offer(written(tmp_path / "film", 40 * MIB))
        for one in others:
            one.fetch(offer, ann, *(other for other in others if other is not one))
        for one in others:
            await one.until(lambda one=one: one.landed(offer) is not None)
            assert (one.inbox / "film").read_bytes() == pattern(40 * MIB)
        assert sum(given(ann, one, offer) for one in others) < 3 * 40 * MIB


async def test_cut_cable_and_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The chat link ends in the middle and comes back: it goes on from where it was."""
    async with office(tmp_path, latency_s=0.02) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: done(bob, offer) > 5 * MIB)
        house.part(ann, bob)
        await trio.sleep(5)
        before = bob.bulk.moving(offer.id)
        assert before is not None
        assert (before.sources, before.state) == (0, "waiting")
        assert before.bytes_done < 20 * MIB
        house.rejoin(bob, ann, offer)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert (bob.inbox / "x").read_bytes() == pattern(20 * MIB)
        assert given(ann, bob, offer) < 26 * MIB


async def test_both_sides_see_how_fast_it_goes(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A bar has a rate at who gives it too; from when it is fetched, not from when it was offered."""
    async with office(tmp_path, latency_s=0.05) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 200 * MIB))
        await trio.sleep(1000)
        bob.fetch(offer, ann)
        await bob.until(lambda: done(bob, offer) > 50 * MIB)
        there, here = ann.bulk.moving(offer.id), bob.bulk.moving(offer.id)
        assert there is not None
        assert here is not None
        assert there.bytes_done >= here.bytes_done > 0
        assert here.rate_bps > MIB
        assert 0.5 < there.rate_bps / here.rate_bps < 2
        bob.bulk.perform(StopFetch(offer.id, discard=False))


async def test_who_cannot_be_dialled_dials(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A firewall lets nothing in at Ann's: Bob asks to be dialled."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        bob.dials = False
        offer = await ann.offer(written(tmp_path / "x", 2 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: NeedBulk(ann.device) in bob.told)
        ann.bulk.perform(DialBulk(bob.device))
        await bob.until(lambda: bob.landed(offer) is not None)


class Flipping:
    """A man in the middle: turns one bit of what the dialled side says, once so many bytes have passed."""

    def __init__(self, stream: Stream, at: int) -> None:
        self._stream, self._left = stream, at

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    async def receive_into(self, into: memoryview, least: int = 1) -> int:
        got = await self._stream.receive_into(into, least)
        if 0 <= self._left < got:
            into[self._left] ^= 4
        self._left -= got
        return got


async def test_a_flipped_bit_ends_the_link_and_bans_nobody(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whoever sits on the wire costs a link each time, never a source."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        flips = iter([300, 70_000, 2 * MIB + 9, 3 * MIB + 1])
        house.wrap = lambda _a, _b, stream: cast(Stream, Flipping(stream, next(flips, 1 << 60)))
        offer = await ann.offer(written(tmp_path / "x", 12 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert next(flips, None) is None
        assert (bob.inbox / "x").read_bytes() == pattern(12 * MIB)
        assert bob.troubles() == []


def lie(machine: Machine) -> None:
    """From now on it seals and sends other bytes than it should."""
    honest = machine.bulk.give

    async def give(link: BulkLink, offer: bytes, number: int, into: memoryview) -> tuple[Record, ...]:
        said = await honest(link, offer, number, into)
        into[5] ^= 1
        return said

    machine.bulk.give = give  # type: ignore[method-assign]


async def test_a_liar_is_named_and_asked_no_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Three have it: one lies, one dies, one is left; the bytes are right and only the liar is banned."""
    async with office(tmp_path, latency_s=0.01) as house:
        ann = await house.add("ann")
        liar, mortal, bob = await house.add("liar"), await house.add("mortal"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 30 * MIB))
        for one in (liar, mortal):
            one.fetch(offer, ann)
            await one.until(lambda one=one: one.landed(offer) is not None)
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        lie(liar)
        bob.fetch(offer, ann, liar, mortal, root=root)
        await bob.until(lambda: given(mortal, bob, offer) > 2 * MIB)
        house.part(mortal, bob)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert (bob.inbox / "x").read_bytes() == pattern(30 * MIB)
        assert {(one.kind, one.final) for one in bob.troubles()} == {("bad_source", False)}
        assert "'liar'" in bob.troubles()[0].message


async def test_the_author_is_off_and_a_member_serves(tmp_path: Path, autojump_clock: MockClock) -> None:
    """With the root signed anybody who has it all gives list and pieces, a folder too."""
    folder = tmp_path / "project"
    folder.mkdir()
    for number in range(5):
        written(folder / f"{number}", MIB // 2 + number, number)
    async with office(tmp_path) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        offer = await ann.offer(folder)
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        house.part(ann, cyn)
        cyn.fetch(offer, ann, bob, root=root)
        await cyn.until(lambda: cyn.landed(offer) is not None)
        assert contents(cyn.inbox / "project") == contents(folder)


async def test_a_made_up_list_is_not_believed(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A holder whose list does not fit the root is asked no more; the honest one serves."""
    async with office(tmp_path) as house:
        ann, liar, bob, cyn = [await house.add(name) for name in ("ann", "liar", "bob", "cyn")]
        offer = await ann.offer(written(tmp_path / "x", 5 * MIB))
        for one in (liar, bob):
            one.fetch(offer, ann)
            await one.until(lambda one=one: one.landed(offer) is not None)
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        house.part(ann, cyn)
        forged = liar.bulk.shelf.get(offer.id) or await liar.bulk.shelf.open(liar.rows[offer.id])
        forged._hash = lambda number: bytes(32)  # type: ignore[method-assign]
        cyn.fetch(offer, ann, liar, root=root)
        await cyn.until(lambda: bool(cyn.troubles()))
        assert cyn.landed(offer) is None
        cyn.bulk.perform(FileSource(offer.id, bob.device, False))
        await cyn.until(lambda: cyn.landed(offer) is not None)
        assert (cyn.inbox / "x").read_bytes() == pattern(5 * MIB)


async def test_a_changed_source_is_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The file is written to while it is sent: a clear error on both sides, and nothing in the inbox."""
    async with office(tmp_path, latency_s=0.02) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        path = written(tmp_path / "x", 20 * MIB)
        offer = await ann.offer(path)
        bob.fetch(offer, ann)
        await bob.until(lambda: done(bob, offer) > 3 * MIB)
        path.write_bytes(pattern(20 * MIB, 7))
        await bob.until(lambda: any(one.final for one in bob.troubles()))
        for machine in (ann, bob):
            assert [(one.kind, one.final) for one in machine.troubles()] == [("source_changed", True)]
        assert contents(bob.inbox) == {}


async def test_a_full_disk_waits_and_goes_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    """No room: both sides are told, nothing is lost, and with room again it goes on by itself."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 4 * MIB))
        free = {"floor": 1 << 60}
        bob.disk.keep_free = lambda: free["floor"]  # type: ignore[method-assign]
        bob.fetch(offer, ann)
        await bob.until(lambda: bool(bob.troubles()))
        assert (bob.troubles()[0].kind, bob.troubles()[0].final) == ("disk_full", False)
        free["floor"] = 0
        await bob.until(lambda: bob.landed(offer) is not None)
        assert FileTrouble(offer.id, "", "", False) in bob.told
        troubles = [one for one in ann.told if isinstance(one, FileTrouble)]
        assert [one.kind for one in troubles] == ["disk_full", ""], "and its author hears that it goes on"


async def test_the_same_bytes_are_not_fetched(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What lies in the inbox under another name is found, and no piece travels."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 4 * MIB))
        bob.inbox.mkdir()
        written(bob.inbox / "old name", 4 * MIB)
        written(bob.inbox / "other", 4 * MIB, 9)
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        landed = bob.landed(offer)
        assert landed is not None
        assert (Path(landed.path).name, landed.how) == ("old name", "same")
        assert given(ann, bob, offer) == 0
        assert sorted(contents(bob.inbox)) == ["old name", "other"]


async def test_pause_keeps_and_cancel_does_not(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A paused transfer goes on where it was; a cancelled one leaves nothing."""
    async with office(tmp_path, latency_s=0.05) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 60 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: done(bob, offer) > 5 * MIB)
        await trio.sleep(3)
        bob.bulk.perform(StopFetch(offer.id, discard=False))
        await trio.sleep(1)
        assert bob.bulk.moving(offer.id) is None
        assert (bob.base / "staging" / f"{offer.id.hex()}.state").exists()
        rests = await bob.bulk.resting(offer)
        assert (rests.bytes_done, rests.pieces) == (rests.pieces_here * MIB, 60)
        assert 5 <= rests.pieces_here < 60
        bob.fetch(offer, ann)
        await trio.sleep(0.1)
        assert done(bob, offer) > 5 * MIB
        bob.bulk.perform(StopFetch(offer.id, discard=True))
        await trio.sleep(1)
        assert list((bob.base / "staging").iterdir()) == []


async def test_paused_and_resumed_in_one_go(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What is stopped is still putting its pieces away when it is wanted again: it goes on all the same."""
    async with office(tmp_path, latency_s=0.05) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        for discard in False, True:
            bob.fetch(offer, ann)
            await bob.until(lambda: done(bob, offer) > 5 * MIB)
            bob.bulk.perform(StopFetch(offer.id, discard=discard))
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert (bob.inbox / "x").read_bytes() == pattern(20 * MIB)


async def test_a_pause_disturbs_nothing_else_on_the_link(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What was asked for and is not wanted any more is refused in its turn, so that all keep their place."""
    async with office(tmp_path, latency_s=0.05) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        first = await ann.offer(written(tmp_path / "first", 40 * MIB))
        second = await ann.offer(written(tmp_path / "second", 20 * MIB, 1))
        bob.fetch(first, ann)
        bob.fetch(second, ann)
        await bob.until(lambda: done(bob, first) > 3 * MIB)
        links = list(bob.bulk._links)
        bob.bulk.perform(StopFetch(first.id, discard=False))
        await bob.until(lambda: bob.landed(second) is not None)
        bob.fetch(first, ann)
        await bob.until(lambda: bob.landed(first) is not None)
        assert list(bob.bulk._links) == links
        assert contents(bob.inbox) == {"first": pattern(40 * MIB), "second": pattern(20 * MIB, 1)}


async def test_a_changed_source_is_told_to_all(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Two are fetching when the file goes: each hears why, and its author once."""
    async with office(tmp_path, latency_s=0.02) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        path = written(tmp_path / "x", 20 * MIB)
        offer = await ann.offer(path)
        for one in (bob, cyn):
            one.fetch(offer, ann)
        for one in (bob, cyn):
            await one.until(lambda one=one: done(one, offer) > 2 * MIB)
        path.unlink()
        path.write_bytes(pattern(20 * MIB, 7))
        for one in (bob, cyn):
            await one.until(lambda one=one: any(trouble.final for trouble in one.troubles()))
        await trio.sleep(5)
        for one in (ann, bob, cyn):
            assert [(told.kind, told.final) for told in one.troubles()] == [("source_changed", True)]
        for one in (bob, cyn):
            assert contents(one.inbox) == {}
            assert list((one.base / "staging").iterdir()) == []


async def test_a_folder_that_had_its_name_before_a_crash_is_served(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The archive did not hear that it landed: it is told again, once is enough, and others can have it."""
    folder = tmp_path / "project"
    folder.mkdir()
    for number in range(5):
        written(folder / f"{number}", MIB // 2 + number, number)
    async with office(tmp_path) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        offer = await ann.offer(folder)
        settle, bob.bulk.shelf.settle = bob.bulk.shelf.settle, never
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        bob.told.clear()
        bob.bulk.shelf.settle = settle  # type: ignore[method-assign]
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert sorted(path.name for path in bob.inbox.iterdir()) == ["project"]
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        house.part(ann, cyn)
        cyn.fetch(offer, ann, bob, root=root)
        cyn.bulk.chat_ended(ann.device)
        await cyn.until(lambda: cyn.landed(offer) is not None)
        assert contents(cyn.inbox / "project") == contents(folder)


async def never(_: bytes) -> None:
    """The machine went down before."""


async def test_who_has_no_right_gets_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nor does somebody who asks for what nobody offered."""
    async with office(tmp_path) as house:
        ann, eve = await house.add("ann"), await house.add("eve")
        offer = await ann.offer(written(tmp_path / "x", 2 * MIB))
        ann.denied[eve.device] = None
        eve.fetch(offer, ann)
        await trio.sleep(30)
        assert eve.landed(offer) is None
        assert given(ann, eve, offer) == 0


def done(machine: Machine, offer: Offer) -> int:
    """Bytes that are here of what a machine fetches."""
    moving = machine.bulk.moving(offer.id)
    return moving.bytes_done if moving is not None else 0


def given(machine: Machine, to: Machine, offer: Offer) -> int:
    """Bytes that one machine has given another."""
    giver = machine.bulk.shelf.get(offer.id)
    return giver.given.get(to.device, 0) if giver is not None else 0


async def test_what_comes_in_one_piece_with_the_handshake_is_heard(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The first question may arrive together with the last words of the handshake."""

    class Holding:
        """Keeps the last words of the handshake until more is said."""

        def __init__(self, stream: Stream) -> None:
            self._stream, self._said, self._held = stream, 0, b""

        def __getattr__(self, name: str) -> object:
            return getattr(self._stream, name)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            self._said += 1
            if self._said == 2:
                self._held = bytes(data)
                return
            held, self._held = self._held, b""
            await self._stream.send_all(held + bytes(data))

    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        house.wrap = lambda _a, _b, stream: cast(Stream, Holding(stream))
        offer = await ann.offer(written(tmp_path / "x", 2 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None, 10)


async def test_who_had_nothing_yet_is_asked_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A holder that does not know of the offer when it is asked, and does a little later."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 2 * MIB))
        row = ann.rows.pop(offer.id)
        bob.fetch(offer, ann)
        await trio.sleep(3)
        assert bob.bulk.moving(offer.id) is not None
        ann.rows[offer.id] = row
        await bob.until(lambda: bob.landed(offer) is not None, 30)
