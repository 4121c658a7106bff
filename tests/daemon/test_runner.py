"""The loop: what is committed together, what follows when, and what a failure costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pchat.daemon import pace
from p2pchat.daemon.lanes import LIVE_BATCH
from p2pchat.daemon.runner import LINGER_S
from p2pchat.errors import ArchiveError
from tests.daemon.stagehands import Stage, ask, from_link, receipt, sends_after_commit

# -- write, then speak --


async def test_effects_come_after_the_commit_of_their_batch() -> None:
    stage = Stage()
    await stage.play("write a", "write b", "read", "write c")
    assert stage.committed() == [True]
    assert sends_after_commit(stage) == 3
    assert stage.disk == ["a", "b", "c"]


async def test_who_waits_for_the_feed_hears_once_that_it_grew_however_many_wait() -> None:
    stage = Stage()
    first = stage.runner.feed_changed
    assert stage.runner.feed_changed is first
    await stage.play("feed")
    assert first.is_set()
    assert not stage.runner.feed_changed.is_set()


async def test_a_live_batch_ends_at_64_inputs() -> None:
    stage = Stage()
    await stage.play(*(f"write {n}" for n in range(150)))
    assert len(stage.committed()) == 3
    assert stage.runner.batches == 3
    assert stage.disk == [str(n) for n in range(150)]
    assert LIVE_BATCH == 64


async def test_a_live_batch_ends_after_10_ms_and_the_rest_follows_in_order() -> None:
    stage = Stage()
    await stage.play("write a", "slow 0.011", "write b", "write c")
    assert stage.node.seen == ["write a", "slow 0.011", "write b", "write c"]
    assert stage.committed() == [True, True]


async def test_a_batch_that_wrote_nothing_touches_no_disk() -> None:
    stage = Stage()
    stage.ledger.commit_fails = AssertionError("asked to write")  # the fake asks only if `wrote`
    await stage.play("read a", "read b")
    assert stage.committed() == [False]
    assert not stage.runner.pace.seconds


async def test_receipts_share_the_commit_of_what_comes_next(mock_clock: MockClock) -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await wait_all_tasks_blocked()
        stage.runner.post(receipt(1, "write a"))
        await wait_all_tasks_blocked()
        stage.runner.post(receipt(2, "write b"))
        await wait_all_tasks_blocked()
        assert stage.committed() == []
        assert stage.ledger.open
        stage.tell("write c")
        await wait_all_tasks_blocked()
        assert stage.committed() == [True]
        assert stage.disk == ["a", "b", "c"]
        assert stage.takes == [1, 2]
        assert sends_after_commit(stage) == 3
        stage.runner.stop()


async def test_receipts_alone_are_committed_after_2_ms(mock_clock: MockClock) -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        stage.runner.post(receipt(1, "write a"))
        await wait_all_tasks_blocked()
        assert stage.committed() == []
        mock_clock.jump(LINGER_S + 1e-6)
        await wait_all_tasks_blocked()
        assert stage.committed() == [True]
        assert stage.disk == ["a"]
        stage.runner.stop()
    assert LINGER_S == 0.002


async def test_who_waits_for_a_receipt_is_answered_before_its_commit(mock_clock: MockClock) -> None:
    stage = Stage()
    got: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.start_soon(ask, stage, "wait", got)
        await wait_all_tasks_blocked()
        before = stage.committed()
        stage.runner.post(receipt(1, "answer 1"))
        await wait_all_tasks_blocked()
        assert got == ["answer 1"]
        assert stage.committed() == before
        stage.runner.stop()
    assert stage.disk == ["answer 1"]


async def test_what_joins_receipts_and_fails_costs_only_itself(mock_clock: MockClock) -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        stage.runner.post(receipt(1, "write a"))
        await wait_all_tasks_blocked()
        stage.runner.post(from_link(2, "remote bad manners"))
        stage.runner.stop()
    assert stage.disk == ["a"]
    assert stage.closed() == [(2, "bad manners")]


async def test_what_is_posted_by_an_effect_is_handled_too() -> None:
    stage = Stage()
    perform, once = stage.perform, []

    def echo(effect: Any) -> None:
        perform(effect)
        if not once:
            once.append(effect)
            stage.tell("write again")

    stage.perform = echo  # type: ignore[method-assign]
    await stage.play("write first")
    assert stage.disk == ["first", "again"]


async def test_many_links_do_not_keep_the_loop_from_other_tasks() -> None:
    stage = Stage()
    turns = []

    async def other() -> None:
        while len(stage.disk) < 640:
            turns.append(len(stage.disk))
            await trio.lowlevel.checkpoint()

    stage.tell(*(f"write {n}" for n in range(640)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        stage.runner.stop()
        await stage.runner.run()
    assert len(turns) >= 8


# -- slow disks --


async def test_a_quick_disk_is_committed_to_at_once_a_slow_one_in_a_thread() -> None:
    went: list[str] = []

    async def in_thread(work: Callable[[], None]) -> None:
        went.append("thread")
        await trio.lowlevel.checkpoint()
        work()

    stage = Stage(in_thread)
    takes = [pace.QUICK_COMMIT_S / 2]

    def commit_takes() -> None:
        stage.clock_s += takes[0]

    stage.ledger.commit_takes = commit_takes
    for n in range(40):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._lanes.take_live())
    assert went == []
    takes[0] = pace.QUICK_COMMIT_S * 1.5
    for n in range(pace.SLOW_OF_LAST):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._lanes.take_live())
    assert went == [], "a few slow commits come with every disk"
    stage.tell("write one more")
    await stage.runner._batch(stage.runner._lanes.take_live())
    assert went == ["thread"], "four of the last 32 are no accident"
    takes[0] = 0.0001
    for n in range(pace.COMMITS_REMEMBERED + 5):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._lanes.take_live())
    before = len(went)
    takes[0] = 0.030
    for n in range(2):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._lanes.take_live())
    assert len(went) == before + 1, "one that nearly stops the loop is enough"
    takes[0] = 0.0001
    for n in range(pace.COMMITS_REMEMBERED + 5):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._lanes.take_live())
    before = len(went)
    stage.tell("write last")
    await stage.runner._batch(stage.runner._lanes.take_live())
    assert len(went) == before, "quick again"


async def test_a_commit_in_a_thread_is_waited_for_even_when_cancelled(autojump_clock: MockClock) -> None:
    async def in_thread(work: Callable[[], None]) -> None:
        await trio.sleep(1)
        work()

    stage = Stage(in_thread)
    for _ in range(pace.COMMITS_REMEMBERED):
        stage.runner.pace.took(0.1)
    stage.tell("write a")
    with trio.move_on_after(0.5):
        await stage.runner.run()
    assert stage.disk == ["a"]
    assert sends_after_commit(stage) == 1, "what was committed is also done"


async def test_a_commit_that_fails_in_a_thread_is_noticed() -> None:
    async def in_thread(work: Callable[[], None]) -> None:
        await trio.lowlevel.checkpoint()
        work()

    stage = Stage(in_thread)
    for _ in range(pace.COMMITS_REMEMBERED):
        stage.runner.pace.took(0.1)
    stage.ledger.commit_fails = ArchiveError("no")
    await stage.play("write a")
    assert len(stage.nodes) == 2
    assert stage.disk == []


async def test_between_many_frames_others_get_their_turn() -> None:
    """Sealing one frame for 500 links takes 30 ms."""
    stage, turns = Stage(), []
    perform = stage.perform

    def slow(effect: Any) -> None:
        stage.clock_s += 0.001
        perform(effect)

    async def other() -> None:
        while stage.disk == [] or sends_after_commit(stage) < 60:
            turns.append(sends_after_commit(stage))
            await trio.lowlevel.checkpoint()

    stage.perform = slow  # type: ignore[method-assign]
    stage.tell(*(f"write {n}" for n in range(60)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.start_soon(other)
        await wait_all_tasks_blocked()
        stage.runner.stop()
    steps = [later - sooner for sooner, later in itertools.pairwise([*dict.fromkeys(turns), 60])]
    assert max(steps) <= 12, "of 1 ms each: two slices, as trio shuffles who goes first"
    assert stage.committed() == [True]


# -- asking --


async def test_whoever_gives_up_asking_is_forgotten() -> None:
    stage = Stage()
    answers: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.start_soon(ask, stage, "read it", answers)
        await wait_all_tasks_blocked()
        assert stage.node.seen == ["read it"], "an answered question leaves nothing to forget"
        async with trio.open_nursery() as asking:
            asking.start_soon(ask, stage, "wait for ever", answers)
            await wait_all_tasks_blocked()
            asking.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert stage.node.seen == ["read it", "wait for ever", "Forgotten"]
        assert not stage.runner._answers
        nursery.cancel_scope.cancel()
    assert answers == [{"said": "read it"}, "cancelled"]
