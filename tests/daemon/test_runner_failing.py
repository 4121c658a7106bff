"""What fails in the runner: one poisoned input costs itself only, anything else starts over."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pchat.daemon import runner as loop
from p2pchat.daemon.lanes import LIVE_BATCH
from p2pchat.daemon.runner import Stop
from p2pchat.engine.context import Sight
from p2pchat.engine.inputs import LinkDown, LinkUp, SetTimer
from p2pchat.errors import ArchiveError, CommandError
from p2pchat.ids import AccountId, DeviceId
from tests.daemon.stagehands import Stage, ask, from_link, sends_after_commit

# -- one poisoned input --


@pytest.mark.parametrize("poison", ["remote", "local", "refuse"])
@pytest.mark.parametrize("place", range(6))
async def test_one_poisoned_input_spoils_nothing_else(poison: str, place: int) -> None:
    stage = Stage()
    names = [f"write {n}" for n in range(5)]
    names.insert(place, f"{poison} it")
    await stage.play(*names)
    assert stage.disk == ["0", "1", "2", "3", "4"]
    assert sends_after_commit(stage) == 5
    assert stage.node.seen == [f"write {n}" for n in range(5)]
    assert stage.node.forgotten == 2, "memory is dropped after each rollback"
    assert len(stage.nodes) == 1


async def test_what_fails_before_it_changed_anything_costs_no_memory() -> None:
    stage = Stage()
    await stage.play("no such thing")
    assert stage.node.forgotten == 0
    assert ("rollback", None) not in stage.story
    assert stage.node.seen == []
    assert not stage.ledger.open
    stage = Stage()
    await stage.play("write a", "no such thing", "write b")
    assert stage.disk == ["a", "b"]
    assert stage.node.seen == ["write a", "write b"]
    assert stage.node.forgotten == 1, "with the others it was undone, alone there was nothing to undo"


def _timers(stage: Stage) -> list[SetTimer]:
    return [effect for word, effect in stage.story if word == "effect" and isinstance(effect, SetTimer)]


async def test_a_timer_that_failed_fires_again() -> None:
    """What it would have set for next time was rolled back with it."""
    stage = Stage()
    await stage.play("write a", "local oops")
    (again,) = _timers(stage)
    assert again == SetTimer("local oops", stage.clock_s + loop.TIMER_AGAIN_S)
    assert stage.node.live.timers["local oops"] == again.at


async def test_a_peers_mistake_ends_its_link_and_no_other() -> None:
    stage = Stage()
    for link in range(1, 6):
        stage.runner.post(from_link(link, "remote nonsense" if link == 3 else f"write {link}"))
    await stage.play()
    assert stage.closed() == [(3, "nonsense")]
    assert stage.disk == ["1", "2", "4", "5"]
    assert sorted(stage.takes) == [1, 2, 3, 4, 5], "each place in the inbox is given back once"


async def test_a_frame_or_link_that_meets_our_own_mistake_does_not_stay_half_known() -> None:
    stage = Stage()
    stage.runner.post(from_link(4, "local oops"))
    await stage.play()
    assert stage.closed() == [(4, "internal")]


async def test_a_command_that_is_refused_or_breaks_is_answered() -> None:
    stage = Stage()
    answers: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        for text in ("write a", "refuse not you", "local oops", "write b"):
            nursery.start_soon(ask, stage, text, answers)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    kinds = sorted(one.kind if isinstance(one, CommandError) else one["said"] for one in answers)
    assert kinds == ["internal", "policy", "write a", "write b"]
    assert sorted(stage.disk) == ["a", "b"]


# -- starting over --


async def test_an_unexpected_exception_discards_node_and_handle() -> None:
    stage = Stage()
    stage.node.live.links[7] = None  # type: ignore[assignment]
    stage.node.live.port = 26703
    stage.node.live.addresses = ("10.0.0.1",)
    stage.node.live.counter = 55
    stage.node.live.sights["s"] = Sight("s", ("10.0.0.9",), 26700, 0.0)
    await stage.play("write a", "bug", "write b")
    assert len(stage.nodes) == 2
    assert stage.ledgers[0].closed
    assert stage.disk == [], "the batch is gone as a whole"
    assert stage.closed() == [(7, "restart")]
    begun = [what for word, what in stage.story if word == "begins"]
    assert begun == ["Started", "NetworkChanged", "s at 10.0.0.9:26700"], "addresses are dialled anew"
    assert stage.node.live.counter == 55, "dials under way keep numbers of their own"
    stage.clock_s += 61
    await stage.play("write c")
    assert stage.disk == ["c"]


async def test_a_failed_commit_says_nothing_and_starts_over() -> None:
    stage = Stage()
    stage.ledger.commit_fails = ArchiveError("the disk of 'x' is full")
    stage.runner.post(from_link(1, "write a"))
    await stage.play()
    assert [word for word, _ in stage.story if word == "effect"] == []
    assert stage.takes == [1]
    assert len(stage.ledgers) == 2


async def test_a_link_of_the_failed_batch_ends_and_its_end_is_not_forgotten() -> None:
    stage = Stage()
    up = LinkUp(9, DeviceId(bytes(32)), AccountId(bytes(32)), (), (), True, "10.0.0.1", 1, b"", 0)
    stage.runner.post(up)
    stage.runner.post(LinkDown(8, "closed"))
    await stage.play("bug")
    assert stage.closed() == [(9, "restart")]
    assert stage.node.seen == ["LinkDown"]


@pytest.mark.parametrize("how", ["bug", "archive no"])
async def test_twice_within_a_minute_stops(how: str) -> None:
    stage = Stage()
    await stage.play(how)
    stage.clock_s += 59
    with pytest.raises(Stop, match="twice"):
        await stage.play(how)
    stage = Stage()
    for _ in range(3):
        await stage.play(how)
        stage.clock_s += 61
    assert len(stage.nodes) == 4


async def test_an_archive_that_cannot_be_opened_again_stops() -> None:
    stage = Stage()
    stage.source_fails = ArchiveError("gone")
    with pytest.raises(Stop, match="gone"):
        await stage.play("bug")


async def test_a_rollback_that_fails_starts_over() -> None:
    stage = Stage()
    stage.ledger.rollback_fails = ArchiveError("stuck")
    await stage.play("write a", "remote x")
    assert len(stage.nodes) == 2


async def test_chores_that_fail_start_over(autojump_clock: MockClock) -> None:
    for error in (ArchiveError("no"), sqlite3.OperationalError("no")):
        stage = Stage()
        stage.ledger.index_fails = error
        with trio.move_on_after(5):
            await stage.runner.run()
        assert len(stage.nodes) == 2


async def test_who_waits_is_told_and_who_still_lies_in_the_inbox_is_served() -> None:
    stage = Stage()
    waited: list[Any] = []
    failed: list[Any] = []
    later: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.start_soon(ask, stage, "wait for it", waited)
        await wait_all_tasks_blocked()
        assert waited == []
        stage.tell(*(["read"] * (LIVE_BATCH - 1)))
        nursery.start_soon(ask, stage, "bug", failed)
        await trio.lowlevel.checkpoint()
        stage.tell("read")
        nursery.start_soon(ask, stage, "write later", later)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert failed[0].kind == "internal"
    assert waited[0].kind == "internal"
    assert "kept" in waited[0].message
    assert later == [{"said": "write later"}] or later[0].kind == "internal"
    assert ("later" in stage.disk) == (later == [{"said": "write later"}]), "what is denied is not done"


async def test_of_those_in_one_inbox_the_batch_of_the_failure_is_denied_and_the_rest_done() -> None:
    stage = Stage()
    answers: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, stage, "bug", answers)
        await wait_all_tasks_blocked()
        for number in range(LIVE_BATCH + 9):
            nursery.start_soon(ask, stage, f"write {number}", answers)
        await wait_all_tasks_blocked()
        nursery.start_soon(stage.runner.run)
        await stage.runner.idle.wait()
        stage.runner.stop()
    done = [one["said"] for one in answers if isinstance(one, dict)]
    assert len(answers) == LIVE_BATCH + 10
    assert len(done) == 10
    assert sorted(done) == sorted(f"write {said}" for said in stage.disk), "what is denied is not done"
