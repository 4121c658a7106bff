"""What goes first in the runner: chat before backfill, both before what can wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pchat.daemon import chores
from p2pchat.daemon.lanes import BULK_EVENTS, BULK_RUN, Lanes
from p2pchat.daemon.runner import MUCH
from p2pchat.engine.door_inputs import Answered, AtTheDoor
from p2pchat.engine.inputs import Effect, FromPeer, Input, TimerFired
from p2pchat.model import Now
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Events
from tests.daemon.stagehands import Stage, from_link

# -- two lanes --


def run_of(link: int, count: int) -> FromPeer:
    event = Event(b"h", b"", b"b")
    return FromPeer(link, Events((event,) * count))


def test_who_is_here_goes_before_what_was_said_and_behind_what_is_no_word_of_a_peer() -> None:
    lanes = Lanes()
    said, timer = run_of(1, 1), TimerFired("peers")
    knocks = [AtTheDoor("192.0.2.7", over=False), Answered(3), AtTheDoor("192.0.2.7", over=True)]
    for event in (timer, said, *knocks, said):
        lanes.put(event)
    assert lanes.take_live() == [timer, *knocks, said, said]


async def test_chat_goes_before_backfill() -> None:
    stage = Stage()
    for _ in range(30):
        stage.runner.post(run_of(1, 200))
    stage.runner.post(run_of(2, 1))
    stage.tell("write chat")
    await stage.play()
    order = [link for word, link in stage.story if word == "handled"]
    assert order == [2, *[1] * 30]
    assert stage.story[1][0] == "commit"
    assert stage.disk == ["chat"]


async def test_a_bulk_transaction_takes_so_many_events_and_looks_for_chat_between() -> None:
    stage = Stage()
    for _ in range(30):
        stage.runner.post(run_of(1, 200))
    stage.runner.stop()
    arrived: list[int] = []

    async def chat() -> None:
        await trio.lowlevel.checkpoint()
        stage.tell("write chat")
        arrived.append(len([1 for word, _ in stage.story if word == "handled"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat)
        await stage.runner.run()
    words = [word for word, what in stage.story if word == "handled" or what is True]
    waited = words.index("commit") - arrived[0]
    assert waited * 200 <= BULK_EVENTS + 200, "at most one bulk transaction stands between"


async def test_what_has_come_meanwhile_shares_the_transaction_of_a_quick_batch() -> None:
    stage = Stage()
    handle = stage.runner.node.handle

    def more_comes(event: Input, now: Now) -> list[Effect]:
        if [word for word, _ in stage.story] == ["handled"]:
            stage.runner.post(run_of(1, 200))
        return handle(event, now)

    stage.runner.node.handle = more_comes  # type: ignore[method-assign]
    stage.runner.post(run_of(1, 200))
    stage.runner.post(from_link(1, "read given"))
    await stage.play()
    assert [word for word, _ in stage.story] == ["handled", "handled", "handled", "commit"]


async def test_what_follows_backfill_on_its_link_does_not_overtake_it() -> None:
    stage = Stage()
    stage.runner.post(run_of(1, BULK_RUN + 1))
    stage.runner.post(run_of(1, 1))  # small, and its cover lies in the run before
    stage.runner.post(from_link(1, "read given"))
    stage.runner.post(from_link(2, "read given"))
    stage.runner.post(run_of(2, 1))
    await stage.play()
    assert [link for word, link in stage.story if word == "handled"] == [2, 2, 1, 1, 1]
    assert stage.runner._lanes.links_behind == ()


# -- rest --


async def test_text_is_indexed_when_nothing_else_is_there(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.ledger.unindexed = chores.INDEX_SLICE * 2 + 5
    stage.runner._leisure.done = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await trio.sleep(chores.AFTER_S / 2)
        stage.tell("read")
        await trio.sleep(chores.AFTER_S * 0.9)
        assert stage.ledger.unindexed == chores.INDEX_SLICE * 2 + 5, "not while somebody speaks"
        await trio.sleep(2)
        assert stage.ledger.unindexed == 0
        batches = len(stage.story)
        await trio.sleep(600)
        assert len(stage.story) == batches, "and then there is rest"
        nursery.cancel_scope.cancel()


async def test_indexing_gives_way_to_who_speaks(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.ledger.unindexed = chores.INDEX_SLICE * 8
    stage.runner._leisure.done = False
    left: list[int] = []

    def heard() -> None:
        if stage.ledger.unindexed <= chores.INDEX_SLICE * 6 and not left:
            left.append(stage.ledger.unindexed)
            stage.tell("write chat")
        elif stage.disk and len(left) == 1:
            left.append(stage.ledger.unindexed)

    stage.ledger.on_index = heard
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert left == [chores.INDEX_SLICE * 6, chores.INDEX_SLICE * 5], (
        "written after this slice, before the next"
    )
    assert stage.ledger.unindexed == 0


async def test_stop_handles_what_lies_there_and_idle_says_when_all_is_done() -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await wait_all_tasks_blocked()
        assert stage.runner.idle.is_set()
        stage.tell("write a")
        assert not stage.runner.idle.is_set()
        await stage.runner.idle.wait()
        assert stage.disk == ["a"]
        stage.tell("write b")
        stage.runner.stop()
        await stage.runner.idle.wait()
        assert stage.disk == ["a", "b"]


# -- commits of backfill --


@pytest.mark.parametrize(("frames", "went"), [(1, []), (5, ["thread"])])
async def test_a_commit_of_much_backfill_takes_its_milliseconds_elsewhere(
    frames: int, went: list[str]
) -> None:
    """However quick the disk is: a thousand events are 10 ms of SQLite's own work."""
    seen: list[str] = []

    async def in_thread(work: Callable[[], None]) -> None:
        seen.append("thread")
        await trio.lowlevel.checkpoint()
        work()

    stage = Stage(in_thread)
    handle = stage.node.handle

    def written(event: Input, now: Now) -> list[Effect]:
        stage.ledger.wrote = True
        return handle(event, now)

    stage.node.handle = written  # type: ignore[method-assign]
    for _ in range(frames):
        stage.runner.post(run_of(1, 60))
    assert 60 < MUCH <= 300
    stage.runner.stop()
    await stage.runner.run()
    assert stage.committed() == [True]
    assert seen == went
