"""How many transfers are received at once, and that nobody's many keep out another's few."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon.berths import IDLE_S, STUCK_S, Berths, MakesWay, Stay
from p2pchat.engine.file_inputs import StopFetch
from p2pchat.wire.messages.files import Offer
from tests.kit.bulks import Machine, office


class One(NamedTuple):
    """A transfer that waits."""

    offered_by: str
    number: int


class Line:
    """Those that wait for berths, and in which order they had one."""

    def __init__(self, nursery: trio.Nursery, most: int) -> None:
        self.berths = Berths(most)
        self.had: list[One] = []
        self._nursery = nursery

    async def come(self, *ones: One, ready: bool, fresh: bool = True) -> None:
        for one in ones:
            self._nursery.start_soon(self._take, one, ready, fresh)
            await trio.testing.wait_all_tasks_blocked()

    async def _take(self, one: One, ready: bool, fresh: bool) -> None:
        await self.berths.take(one, ready=ready, fresh=fresh)
        self.had.append(one)

    async def go(self, *ones: One) -> None:
        for one in ones:
            self.berths.leave(one)
            await trio.testing.wait_all_tasks_blocked()


MANY = [One("eve", number) for number in range(6)]
FEW = [One("ann", number) for number in range(2)]


async def test_who_offers_many_is_not_before_who_offers_few() -> None:
    async with trio.open_nursery() as nursery:
        line = Line(nursery, 2)
        await line.come(*MANY, *FEW, ready=True)
        assert line.had == MANY[:2]
        await line.go(MANY[0], MANY[1])
        assert line.had == [*MANY[:2], FEW[0], MANY[2]]
        await line.go(FEW[0], FEW[0])  # the second time is nothing
        assert line.had[4:] == [FEW[1]]
        assert line.berths.open == 2
        nursery.cancel_scope.cancel()


async def test_who_can_be_had_comes_first_and_everybody_once() -> None:
    async with trio.open_nursery() as nursery:
        line = Line(nursery, 1)
        await line.come(MANY[0], ready=True)
        assert not line.berths.crowded(idle=True)
        await line.come(MANY[1], ready=False, fresh=False)
        assert not line.berths.crowded(idle=True), "who had his turn and can not be had drives nobody out"
        await line.come(MANY[2], ready=False)
        assert (line.berths.crowded(idle=True), line.berths.crowded(idle=False)) == (True, False)
        await line.come(MANY[3], ready=False)
        line.berths.ready(MANY[3], True)
        assert line.berths.crowded(idle=False)
        line.berths.ready(MANY[5], True)  # does not wait
        await line.go(MANY[0], MANY[3], MANY[2])
        assert line.had == [MANY[0], MANY[3], MANY[2], MANY[1]]
        assert not line.berths.crowded(idle=True)
        nursery.cancel_scope.cancel()


async def test_who_waits_no_more_takes_no_berth() -> None:
    async with trio.open_nursery() as nursery:
        line = Line(nursery, 1)
        await line.come(MANY[0], ready=True)
        with trio.move_on_after(0.01):
            await line.berths.take(MANY[1], ready=True, fresh=True)
        await line.come(MANY[2], ready=True)
        await line.go(MANY[0])
        assert (line.had, line.berths.open) == ([MANY[0], MANY[2]], 1)
        await line.go(MANY[2])
        assert line.berths.open == 0


async def test_who_is_given_nothing_makes_way_after_a_while() -> None:
    """With a source later than without, and only for somebody who can be had."""
    now = 0.0
    async with trio.open_nursery() as nursery:
        line = Line(nursery, 1)
        await line.come(MANY[0], ready=True)
        stay = Stay(line.berths, lambda: now)
        stay.begin()
        now = 1000.0
        stay.check(links=0, sources=0)  # nobody waits
        await line.come(FEW[0], ready=True)
        stay.begin()
        now += STUCK_S - 1
        stay.check(links=1, sources=1)
        stay.moved()
        now += STUCK_S - 1
        stay.check(links=1, sources=1)
        now += 1
        with pytest.raises(MakesWay):
            stay.check(links=1, sources=1)
        stay.begin()
        now += IDLE_S - 1
        stay.check(links=1, sources=0)
        now += 1
        with pytest.raises(MakesWay):
            stay.check(links=1, sources=0)
        stay.begin()
        with pytest.raises(MakesWay):
            stay.check(links=0, sources=0)
        nursery.cancel_scope.cancel()


# -- with transfers ---------------------------------------------------------------------------------


async def offered(machine: Machine, count: int, folder: Path) -> list[Offer]:
    """So many small files."""
    folder.mkdir()
    made = []
    for number in range(count):
        path = folder / f"{folder.name}{number}"
        path.write_bytes(b"%d" % number)
        made.append(await machine.offer(path))
    return made


def standing(machine: Machine) -> int:
    """Transfers of which files are open in staging."""
    return sum(one.partial.staging is not None for one in machine.bulk._fetchings.values())


async def test_only_so_many_are_open_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with office(tmp_path) as house:
        ann, bob = await house.add("ann"), await house.add("bob")
        bob.bulk.berths = Berths(5)
        offers = await offered(ann, 40, tmp_path / "a")
        for one in offers:
            bob.fetch(one, ann)
        most = 0

        def all_here() -> bool:
            nonlocal most
            most = max(most, standing(bob))
            return all(bob.landed(one) is not None for one in offers)

        await bob.until(all_here)
        assert most == 5
        await trio.sleep(1)
        assert bob.bulk.berths.open == 0
        assert len(list(bob.inbox.iterdir())) == 40


async def test_what_nobody_has_just_now_keeps_nothing_out(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Cyn is off, and many of hers are wanted; one of Ann's comes all the same, and hers when she is back."""
    async with office(tmp_path) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        bob.bulk.berths = Berths(3)
        many = await offered(cyn, 12, tmp_path / "c")
        (one,) = await offered(ann, 1, tmp_path / "a")
        house.part(bob, cyn)
        for offer in many:
            bob.fetch(offer, cyn)
        await trio.sleep(60)
        assert standing(bob) == 3
        bob.fetch(one, ann)
        await bob.until(lambda: bob.landed(one) is not None, 10)
        house.rejoin(bob, cyn, *many)
        await bob.until(lambda: all(bob.landed(offer) is not None for offer in many), 60)


async def test_what_waits_is_given_up_and_leaves_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A half that was here from before goes too, though its turn had not come."""
    async with office(tmp_path) as house:
        ann, bob, cyn = [await house.add(name) for name in ("ann", "bob", "cyn")]
        bob.bulk.berths = Berths(1)
        first, half = await offered(cyn, 2, tmp_path / "c")
        house.part(bob, cyn)
        bob.fetch(first, cyn)
        bob.fetch(half, cyn)
        await trio.sleep(10)
        assert len(list((bob.base / "staging").glob("*.state"))) == 2, "each has its turn once"
        assert standing(bob) == 1
        for offer in first, half:
            bob.bulk.perform(StopFetch(offer.id, discard=True))
        await trio.sleep(1)
        assert list((bob.base / "staging").iterdir()) == []
        assert bob.bulk.berths.open == 0
        (one,) = await offered(ann, 1, tmp_path / "a")
        bob.fetch(one, ann)
        await bob.until(lambda: bob.landed(one) is not None, 10)
