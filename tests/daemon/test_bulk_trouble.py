"""Files between machines when something of our own is in the way: disks, descriptors, silence, haste."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon import shelf
from p2pchat.daemon.bulk_link import BulkLink
from p2pchat.daemon.reaching import Reaching, Wires
from p2pchat.engine.file_inputs import FileRead, FileSource, FileTrouble, StopFetch, Withdraw
from p2pchat.engine.inputs import Command
from p2pchat.engine.links import Established, LinkMachine
from p2pchat.errors import CommandError
from p2pchat.files import source
from p2pchat.files.staging import Staging
from p2pchat.files.state import StateLog
from p2pchat.files.tree import Tree
from p2pchat.files.trouble import told_of
from p2pchat.ids import DeviceId
from p2pchat.model import CANCELLED, OFFERED, TransferRow
from p2pchat.net.lan import Stream
from p2pchat.platform.folders import Folder, Room
from p2pchat.wire.messages import bulk as wire
from p2pchat.wire.messages.files import Offer
from tests.kit.bulks import office, row_of
from tests.kit.transfers import contents, pattern

MIB = 1 << 20


def written(path: Path, size: int, seed: int = 0) -> Path:
    """A file of that many bytes."""
    path.write_bytes(pattern(size, seed))
    return path


async def test_the_givers_own_disk_is_full_for_a_while(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hashes of what is read can not be noted: that is no changed source, and it goes on by itself."""
    full: dict[str, bool] = {}
    append = StateLog.append

    def refusing(log: StateLog, kind: int, body: bytes) -> None:
        if full and tmp_path / "ann" in Path(log._path).parents:
            raise told_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "write", log._path)
        append(log, kind, body)

    monkeypatch.setattr(StateLog, "append", refusing)
    async with office(tmp_path, latency_s=0.02) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        full["now"] = True
        for one in (bob, cyn):
            one.fetch(offer, ann)
        await ann.until(lambda: bool(ann.troubles()))
        await trio.sleep(20)
        assert {(one.kind, one.final) for one in ann.troubles()} == {("disk_full", False)}
        assert bob.troubles() == cyn.troubles() == []
        full.clear()
        for one in (bob, cyn):
            await one.until(lambda one=one: one.landed(offer) is not None, 90)
            assert (one.inbox / "x").read_bytes() == pattern(20 * MIB)
        assert FileTrouble(offer.id, "", "", False) in ann.told, "and it is told that it goes on"


async def test_what_was_just_opened_is_not_let_go_before_it_is_used(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several ask for different files at once, and few stay open that nobody fetches: not these."""
    monkeypatch.setattr(shelf, "IDLE_GIVERS", 1)
    async with office(tmp_path) as house:
        ann = await house.add("ann")
        rows = [ann.rows[(await ann.offer(written(tmp_path / str(n), MIB, n))).id] for n in range(8)]
        opened: dict[bytes, bool] = {}

        async def ask(row: TransferRow) -> None:
            giver = await ann.bulk.shelf.open(row)
            opened[row.id] = ann.bulk.shelf.get(row.id) is giver

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(ask, row)
        assert opened == {row.id: True for row in rows}


async def test_what_is_taken_back_while_it_is_opened_is_not_given(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """To open a large folder again takes its time, in which its owner may change his mind."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 2 * MIB))
        giver = ann.bulk.shelf.pop(offer.id)
        assert giver is not None
        await giver.close()
        slow = ann.disk.slow

        async def slower(work: Callable[[], object]) -> object:
            await trio.sleep(1)
            return await slow(work)

        ann.disk.slow = slower  # type: ignore[method-assign, assignment]
        bob.fetch(offer, ann)
        await trio.sleep(1.5)
        ann.rows[offer.id] = replace(ann.rows[offer.id], state=CANCELLED)
        ann.bulk.perform(Withdraw(offer.id))
        await trio.sleep(60)
        assert bob.landed(offer) is None
        assert ann.bulk.shelf.get(offer.id) is None
        assert list((ann.base / "staging").iterdir()) == []


async def test_what_can_not_be_offered_leaves_nothing_open(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has no room for the log of an offer: the file to be offered is closed again."""

    def full(folder: Folder, name: str, offer: Offer, origin: str = "") -> StateLog:
        raise CommandError("disk_full", "no space left", "free some space")

    async with office(tmp_path) as house:
        ann = await house.add("ann")
        written(tmp_path / "x", MIB)
        ann.disk.staging()
        monkeypatch.setattr(StateLog, "create", full)
        closed: list[str] = []
        close = source.FileSource.close
        monkeypatch.setattr(source.FileSource, "close", lambda one: (closed.append(one.name), close(one)))
        with pytest.raises(CommandError, match="no space left"):
            await ann.offer(tmp_path / "x")
        assert closed == ["x"]


@pytest.mark.parametrize("how", ["silent", "refuses", "forges", "leaves"])
async def test_one_holder_gives_no_list_and_another_does(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    """The author is off; who is asked for the hashes first does not give them, the other is asked then."""
    async with office(tmp_path) as house:
        ann, eve, bob, cyn = [await house.add(name) for name in ("ann", "eve", "bob", "cyn")]
        offer = await ann.offer(written(tmp_path / "x", 5 * MIB))
        for one in (eve, bob):
            one.fetch(offer, ann)
            await one.until(lambda one=one: one.landed(offer) is not None)
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        house.part(ann, cyn)
        theirs = await eve.bulk.shelf.open(eve.rows[offer.id])

        async def hashes(link: BulkLink, first: int, count: int) -> None:
            asked.append(link)
            await trio.sleep(2)
            match how:
                case "refuses":
                    link.say(wire.Cannot(offer.id, -1, "busy"))
                case "forges":
                    link.say(wire.Hashes(offer.id, 0, bytes(32 * count)))
                case "leaves":
                    house.part(eve, cyn)

        asked: list[BulkLink] = []
        theirs.hashes = hashes  # type: ignore[method-assign]
        cyn.fetch(offer, ann, eve, root=root)
        await cyn.until(lambda: bool(asked))
        cyn.bulk.perform(FileSource(offer.id, bob.device, False))
        await cyn.until(lambda: cyn.landed(offer) is not None, 60)
        assert (cyn.inbox / "x").read_bytes() == pattern(5 * MIB)


async def test_the_only_holder_may_give_its_list_later(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It landed there just as its list was asked for: refused once, it is asked again."""
    async with office(tmp_path) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        offer = await ann.offer(written(tmp_path / "x", 5 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        root = next(one.root for one in ann.told if isinstance(one, FileRead))
        house.part(ann, cyn)
        theirs = await bob.bulk.shelf.open(bob.rows[offer.id])
        give = theirs.hashes

        async def hashes(link: BulkLink, first: int, count: int) -> None:
            theirs.hashes = give  # type: ignore[method-assign]
            link.say(wire.Cannot(offer.id, -1, "busy"))

        theirs.hashes = hashes  # type: ignore[method-assign]
        cyn.fetch(offer, ann, bob, root=root)
        await cyn.until(lambda: cyn.landed(offer) is not None, 30)
        assert (cyn.inbox / "x").read_bytes() == pattern(5 * MIB)


@pytest.mark.parametrize("where", ["sync", "manifest"])
async def test_a_disk_that_refuses_ends_no_link(
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    """What comes after a sync that failed has no place any more: it is let go, and the link stays."""
    refusals: list[str] = []

    def refuse(tree: Tree) -> None:
        if not refusals and tree.touched_bytes():
            refusals.append("sync")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(tree)

    def refuse_spread(staging: Staging, start: int, view: memoryview) -> None:
        if not refusals:
            refusals.append("spread")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        spread(staging, start, view)

    sync, spread = Tree.sync, Staging._spread
    if where == "sync":
        monkeypatch.setattr(Tree, "sync", refuse)
    else:
        monkeypatch.setattr(Staging, "_spread", refuse_spread)
    folder = tmp_path / "project"
    folder.mkdir()
    for number in range(20):
        written(folder / str(number), 2 * MIB, number)
    async with office(tmp_path, latency_s=0.3) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(folder)
        bob.fetch(offer, ann)
        await bob.until(lambda: bob.landed(offer) is not None)
        assert contents(bob.inbox / "project") == contents(folder)
        assert [(one.kind, one.final) for one in bob.troubles()] == [("disk_full", False)]
    assert refusals
    assert "error of our own" not in caplog.text


async def test_what_is_passed_on_can_not_be_read(
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A member gives what he has so far, and his disk does not read it: who asked goes to somebody else."""
    async with office(tmp_path, latency_s=0.02) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        offer = await ann.offer(written(tmp_path / "x", 30 * MIB))

        def unreadable(staging: Staging, number: int, into: memoryview) -> int:
            asked.append(number)
            raise CommandError("unsafe_path", "cannot read 'x': input/output error", "")

        asked: list[int] = []
        monkeypatch.setattr(Staging, "read", unreadable)
        bob.fetch(offer, ann, cyn)
        cyn.fetch(offer, ann, bob)
        for one in (bob, cyn):
            await one.until(lambda one=one: one.landed(offer) is not None)
        assert asked
    assert "error of our own" not in caplog.text


async def test_only_a_full_disk_is_called_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The folder in which it shall land is gone for a while: that is no lack of room."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 2 * MIB))
        bob.fetch(offer, ann, to=str(tmp_path / "stick"))
        await trio.sleep(20)
        assert {(one.kind, one.final) for one in bob.troubles()} == {("unsafe_path", False)}
        (tmp_path / "stick").mkdir()
        await bob.until(lambda: bob.landed(offer) is not None, 90)
        assert contents(tmp_path / "stick") == {"x": pattern(2 * MIB)}
        assert ann.troubles() == []


async def test_a_machine_that_is_back_before_its_link_has_ended_is_reached(autojump_clock: MockClock) -> None:
    """The chat link went and came in one moment; to let go of the bulk link took longer."""
    dialled: list[float] = []

    async def dial(_: DeviceId) -> tuple[LinkMachine, Stream, Established]:
        dialled.append(trio.current_time())
        return cast(tuple[LinkMachine, Stream, Established], (None, None, None))

    async def run(*_: object) -> int:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    async def ask(_: Callable[[int], Command]) -> object:
        raise AssertionError

    bob = DeviceId(b"b" * 32)
    wires = Wires(lambda _: True, dial, lambda _: None, ask, lambda _: "bob")
    reaching = Reaching(wires, here=lambda _: False, wanted=lambda _: True, run=run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reaching.reach, bob, False)
        await trio.sleep(1)
        reaching.chat_ended(bob)
        nursery.start_soon(reaching.reach, bob, False)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len(dialled) == 2


@pytest.mark.parametrize("forget", [False, True])
async def test_what_was_piped_in_stays_while_its_message_does_not_count(
    tmp_path: Path, autojump_clock: MockClock, forget: bool
) -> None:
    """It may count again, and then it is given from the only place where it is; taken back it goes."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        spool = await ann.bulk.spool()
        await ann.bulk.spool_add(spool, pattern(3 * MIB))
        offer, path = await ann.bulk.prepare_spool(spool, "build.log")
        house.offers[offer.id] = offer
        ann.bulk.perform(Withdraw(offer.id, forget=forget))
        await trio.sleep(1)
        assert ann.bulk.shelf.get(offer.id) is None
        assert Path(path).exists() is not forget
        if not forget:
            ann.rows[offer.id] = row_of(offer, ann, path, incoming=False, state=OFFERED)
            bob.fetch(offer, ann)
            await bob.until(lambda: bob.landed(offer) is not None)
            assert contents(bob.inbox) == {"build.log": pattern(3 * MIB)}


async def test_given_up_while_the_disk_is_full_it_takes_no_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """To make room is why people give it up: what was there already goes at once."""
    async with office(tmp_path, latency_s=0.05) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 60 * MIB))
        bob.fetch(offer, ann)
        await bob.until(lambda: (moving := bob.bulk.moving(offer.id)) is not None and moving.pieces_here > 5)
        bob.disk.keep_free = lambda: 1 << 60  # type: ignore[method-assign]
        await bob.until(lambda: bool(bob.troubles()))
        await trio.sleep(1)
        staging = bob.base / "staging"
        assert (staging / offer.id.hex() / "data").stat().st_size > 5 * MIB
        bob.bulk.perform(StopFetch(offer.id, discard=True))
        await trio.sleep(1)
        assert list(staging.iterdir()) == []


async def test_what_is_to_be_skipped_is_not_fetched(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Something else bears its name: that is seen before a byte of it travels, and nothing of it stays."""
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        bob.inbox.mkdir(exist_ok=True)
        (bob.inbox / "x").write_bytes(b"mine")
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        bob.fetch(offer, ann, conflict="skip")
        await bob.until(lambda: bob.landed(offer) is not None)
        landed = bob.landed(offer)
        assert landed is not None
        assert (landed.how, landed.path) == ("skipped", str(bob.inbox / "x"))
        await trio.sleep(1)
        giver = ann.bulk.shelf.get(offer.id)
        assert giver is not None
        assert not giver.given
        assert (bob.inbox / "x").read_bytes() == b"mine"
        assert list((bob.base / "staging").iterdir()) == []


async def test_no_room_on_the_other_disk_is_told_before_it_is_fetched(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inbox on a small stick: nothing travels, nothing is filled, and it goes on once there is room."""
    stick = tmp_path / "stick"
    stick.mkdir()
    free = [5 * MIB]
    stat, room = os.stat, Folder.room

    def elsewhere(path: object, **how: object) -> os.stat_result:
        found = stat(path, **how)  # type: ignore[arg-type,call-overload]
        if os.fspath(path) == str(stick):  # type: ignore[call-overload]
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))
        return cast(os.stat_result, found)

    monkeypatch.setattr(os, "stat", elsewhere)
    monkeypatch.setattr(
        Folder, "room", lambda one: Room(free[0], 10 * MIB) if str(one.path) == str(stick) else room(one)
    )
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        bob.fetch(offer, ann, to=str(stick))
        await bob.until(lambda: bool(bob.troubles()))
        await trio.sleep(30)
        assert {(one.kind, one.final) for one in bob.troubles()} == {("disk_full", False)}
        giver = ann.bulk.shelf.get(offer.id)
        assert giver is None or not giver.given
        assert list(stick.iterdir()) == []
        free[0] = 25 * MIB
        await bob.until(lambda: bob.landed(offer) is not None, 120)
        assert (stick / "x").read_bytes() == pattern(20 * MIB)


async def test_no_descriptor_left_is_no_changed_source(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The giver has too much open for a while: the file is what it was, and goes on by itself."""
    out = [True]
    read_at = source.read_at

    def refusing(descriptor: int, into: memoryview, offset: int) -> int:
        if out[0] and offset > 3 * MIB:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return read_at(descriptor, into, offset)

    monkeypatch.setattr(source, "read_at", refusing)
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        offer = await ann.offer(written(tmp_path / "x", 20 * MIB))
        bob.fetch(offer, ann)
        await ann.until(lambda: bool(ann.troubles()))
        assert not any(one.final for one in ann.troubles())
        out[0] = False
        await bob.until(lambda: bob.landed(offer) is not None, 120)
        assert (bob.inbox / "x").read_bytes() == pattern(20 * MIB)
