"""The loop: what is committed together, what follows when, and what a failure costs."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pchat.daemon import chores, pace
from p2pchat.daemon import runner as loop
from p2pchat.daemon.runner import BULK_EVENTS, BULK_RUN, LINGER_S, LIVE_BATCH, Stop
from p2pchat.engine.context import Sight
from p2pchat.engine.inputs import FromPeer, LinkDown, LinkUp, Send, SetTimer
from p2pchat.errors import ArchiveError, CommandError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.link import Events
from tests.daemon.stagehands import Stage, ask, from_link, receipt


def sends_after_commit(stage: Stage) -> int:
    """How many frames left; each must follow the commit of what it tells of."""
    count = 0
    last = ""
    for word, what in stage.story:
        if word == "effect" and isinstance(what, Send):
            assert last == "commit"
            count += 1
        elif word in ("commit", "rollback"):
            last = word
    return count


# -- write, then speak --


async def test_effects_come_after_the_commit_of_their_batch() -> None:
    stage = Stage()
    await stage.play("write a", "write b", "read", "write c")
    assert stage.committed() == [True]
    assert sends_after_commit(stage) == 3
    assert stage.disk == ["a", "b", "c"]


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
        await stage.runner._batch(stage.runner._take_live())
    assert went == []
    takes[0] = pace.QUICK_COMMIT_S * 1.5
    for n in range(pace.SLOW_OF_LAST):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._take_live())
    assert went == [], "a few slow commits come with every disk"
    stage.tell("write one more")
    await stage.runner._batch(stage.runner._take_live())
    assert went == ["thread"], "four of the last 32 are no accident"
    takes[0] = 0.0001
    for n in range(pace.COMMITS_REMEMBERED + 5):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._take_live())
    before = len(went)
    takes[0] = 0.030
    for n in range(2):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._take_live())
    assert len(went) == before + 1, "one that nearly stops the loop is enough"
    takes[0] = 0.0001
    for n in range(pace.COMMITS_REMEMBERED + 5):
        stage.tell(f"write {n}")
        await stage.runner._batch(stage.runner._take_live())
    before = len(went)
    stage.tell("write last")
    await stage.runner._batch(stage.runner._take_live())
    assert len(went) == before, "quick again"


async def test_a_commit_in_a_thread_is_waited_for_even_when_cancelled(autojump_clock: MockClock) -> None:
    async def in_thread(work: Callable[[], None]) -> None:
        await trio.sleep(1)
        work()

    stage = Stage(in_thread)
    stage.runner.pace.seconds.extend([0.1] * pace.COMMITS_REMEMBERED)
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
    stage.runner.pace.seconds.extend([0.1] * pace.COMMITS_REMEMBERED)
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


# -- two lanes --


def run_of(link: int, count: int) -> FromPeer:
    event = Event(b"h", b"", b"b")
    return FromPeer(link, Events((event,) * count))


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


async def test_what_follows_backfill_on_its_link_does_not_overtake_it() -> None:
    stage = Stage()
    stage.runner.post(run_of(1, BULK_RUN + 1))
    stage.runner.post(run_of(1, 1))  # small, and its cover lies in the run before
    stage.runner.post(from_link(1, "read given"))
    stage.runner.post(from_link(2, "read given"))
    stage.runner.post(run_of(2, 1))
    await stage.play()
    assert [link for word, link in stage.story if word == "handled"] == [2, 2, 1, 1, 1]
    assert stage.runner._bulk_of == {}


# -- rest --


async def test_text_is_indexed_when_nothing_else_is_there(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.ledger.unindexed = chores.INDEX_SLICE * 2 + 5
    stage.runner._rested = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await trio.sleep(loop.CHORES_AFTER_S / 2)
        stage.tell("read")
        await trio.sleep(loop.CHORES_AFTER_S * 0.9)
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
    stage.runner._rested = False
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
