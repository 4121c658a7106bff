"""What is handled in the very step in which it came, when the runner rests; and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2pchat.daemon import pace
from p2pchat.daemon.runner import TOGETHER_S, Stop
from p2pchat.engine.inputs import Effect, Send, TimerFired
from p2pchat.errors import ArchiveError
from tests.daemon.stagehands import Stage, from_link, receipt, sends_after_commit


@asynccontextmanager
async def resting(stage: Stage) -> AsyncIterator[None]:
    """The runner goes, and has nothing to do."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await wait_all_tasks_blocked()
        yield
        stage.runner.stop()


async def test_whoever_finds_the_runner_at_rest_need_not_wait_for_its_turn() -> None:
    stage = Stage()
    async with resting(stage):
        stage.runner.at_once(from_link(7, "write a"))
        assert stage.disk == ["a"]
        assert sends_after_commit(stage) == 1
        assert stage.takes == [7]
        stage.clock_s += TOGETHER_S
        stage.runner.at_once(TimerFired("write b"))
        assert stage.disk == ["a", "b"]


async def test_what_comes_right_after_shares_a_transaction() -> None:
    stage = Stage()
    async with resting(stage):
        for n in range(5):
            stage.runner.at_once(TimerFired(f"write {n}"))
        assert stage.disk == ["0"]
        await wait_all_tasks_blocked()
        assert stage.disk == ["0", "1", "2", "3", "4"]
        assert stage.committed() == [True, True]


async def _before_it_runs(stage: Stage) -> None:
    stage.tell("write first")


async def _behind_others(stage: Stage) -> None:
    await wait_all_tasks_blocked()
    stage.tell("write first")


async def _on_a_slow_disk(stage: Stage) -> None:
    await wait_all_tasks_blocked()
    for _ in range(pace.COMMITS_REMEMBERED):
        stage.runner.pace.took(0.1)


@pytest.mark.parametrize("when", [_before_it_runs, _behind_others, _on_a_slow_disk])
async def test_else_it_waits_in_its_place(when: Callable[[Stage], object]) -> None:
    async def in_thread(work: Callable[[], None]) -> None:
        await trio.lowlevel.checkpoint()
        work()

    stage = Stage(in_thread)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await when(stage)  # type: ignore[misc]
        stage.runner.at_once(TimerFired("write a"))
        assert "a" not in stage.disk
        await wait_all_tasks_blocked()
        assert stage.disk[-1] == "a"
        stage.runner.stop()


async def test_receipts_wait_for_a_commit_to_share_all_the_same() -> None:
    stage = Stage()
    async with resting(stage):
        stage.runner.at_once(receipt(1, "write heard"))
        assert stage.disk == []


async def test_one_that_fails_spoils_nothing() -> None:
    stage = Stage()
    async with resting(stage):
        stage.runner.at_once(from_link(3, "remote bad form"))
        assert stage.closed() == [(3, "bad form")]
        assert not stage.ledger.open
        stage.clock_s += TOGETHER_S
        stage.runner.at_once(from_link(4, "bug of ours"))
        assert len(stage.nodes) == 2, "begun anew from the archive"
        await wait_all_tasks_blocked()
        stage.clock_s += TOGETHER_S
        stage.runner.at_once(TimerFired("write a"))
    assert stage.disk == ["a"]


async def test_whoever_posts_does_not_end_with_the_runner() -> None:
    stage = Stage()
    ended: list[Stop] = []

    async def run() -> None:
        with pytest.raises(Stop) as caught:
            await stage.runner.run()
        ended.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_all_tasks_blocked()
        for _ in range(2):
            stage.ledger.commit_fails = ArchiveError("disk gone")
            stage.runner.at_once(TimerFired("write a"))
            stage.clock_s += TOGETHER_S
            await wait_all_tasks_blocked()
    assert "disk gone" in str(ended[0])
    assert stage.disk == []


async def test_many_frames_are_said_in_slices_and_nothing_overtakes_them() -> None:
    stage, perform = Stage(), Stage.perform

    def slow(effect: Effect) -> None:
        stage.clock_s += 0.001
        perform(stage, effect)

    stage.perform = slow  # type: ignore[method-assign]
    handle = stage.node.handle

    def many(event: object, now: object) -> list[Effect]:
        return [effect for effect in handle(event, now) for _ in range(30)]  # type: ignore[arg-type]

    stage.node.handle = many  # type: ignore[assignment, method-assign]
    async with resting(stage):
        stage.runner.at_once(TimerFired("write a"))
        assert sends_after_commit(stage) < 10
        assert not stage.runner.idle.is_set()
        stage.runner.at_once(TimerFired("write b"))
        assert stage.disk == ["a"]
    links = [what.link for word, what in stage.story if word == "effect" and isinstance(what, Send)]
    assert links == [1] * 30 + [2] * 30
    assert stage.disk == ["a", "b"]
