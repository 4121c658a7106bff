"""What a failure costs: one input, one batch, node and archive, or the daemon."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pchat.daemon.runner import LIVE_BATCH, Stop
from p2pchat.engine.context import Sight
from p2pchat.engine.inputs import (
    ConfirmShown,
    Effect,
    Forgotten,
    Lost,
    Reply,
    Send,
    Sighted,
    Started,
    TimerFired,
)
from p2pchat.errors import ArchiveError, CommandError, RemoteProtocolError
from p2pchat.wire.messages.link import Ping
from tests.daemon.false_parts import FakeNode, Play, raises, running, said, shown, timer, up

# -- one poisoned input --------------------------------------------------------------


@pytest.mark.parametrize("k", range(5))
async def test_a_peers_mistake_undoes_that_input_and_ends_that_link(
    autojump_clock: MockClock, k: int
) -> None:
    play = Play()
    events = [said(n, Ping(n)) for n in range(5)]
    for event in events:
        play.acts[event] = lambda node: [Send(99, Ping(0))]
        play.runner.post(event)
    play.acts[events[k]] = raises(RemoteProtocolError("nonsense"))
    async with running(play):
        await play.settle()
    assert play.disk == [event for event in events if event is not events[k]]
    assert play.trace.count("Send 99") == 4, "what was rolled back has not spoken"
    assert play.trace.count(f"CloseLink {k}") == 1
    assert sorted(play.taken_of) == [0, 1, 2, 3, 4]
    assert play.made == 1


async def test_a_refused_command_is_answered_and_the_others_are_done(autojump_clock: MockClock) -> None:
    play = Play()
    answers: list[object] = []

    def act(event: ConfirmShown) -> Callable[[FakeNode], list[Effect]]:
        if event.request == 2:
            return raises(CommandError("no_such_target", "nobody is called 'x'"))
        return lambda node: [Reply(event.request, event.request)]

    async def ask(number: int) -> None:
        def make(request: int) -> ConfirmShown:
            command = shown(request)
            play.acts[command] = act(command)
            return command

        try:
            answers.append(await play.runner.ask(make))
        except CommandError as error:
            answers.append(error.kind)

    async with running(play), trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(ask, n)
    assert sorted(map(str, answers)) == ["1", "3", "no_such_target"]
    assert len(play.disk) == 2


async def test_an_answered_command_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[ConfirmShown] = lambda node: [Reply(1, "done")]
    async with running(play):
        assert await play.runner.ask(shown) == "done"
        await play.settle()
    assert [type(event) for event in play.handled] == [ConfirmShown]


async def test_whoever_gives_up_waiting_is_forgotten(autojump_clock: MockClock) -> None:
    play = Play()
    async with running(play):
        with trio.move_on_after(5):
            await play.runner.ask(shown)
        await play.settle()
    assert play.handled[-1] == Forgotten(1)


# -- starting over -------------------------------------------------------------------


async def test_a_bug_rebuilds_node_and_archive_and_tells_who_waits(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[ConfirmShown] = raises(ZeroDivisionError("a bug"))
    async with running(play):
        play.runner.post(up(5))
        await play.settle()
        first = play.ledger
        with pytest.raises(CommandError) as refusal:
            await play.runner.ask(shown)
        assert refusal.value.kind == "internal"
        await play.settle()
        assert play.made == 2
        assert first.closed
        assert "CloseLink 5" in play.trace
        assert any(isinstance(event, Started) for event in play.handled), "the new node must start"
    assert not any(isinstance(row, ConfirmShown) for row in play.disk)


async def test_a_failed_commit_is_final_for_its_handle(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[TimerFired] = lambda node: [Send(1, Ping(0))]
    async with running(play):
        await play.settle()
        failed = play.ledger
        failed.fail_commit = ArchiveError("the archive 'x' failed: disk I/O error")
        play.runner.post(timer("x"))
        await play.settle()
        assert play.ledger is not failed
        assert "Send 1" not in play.trace
        play.runner.post(timer("y"))
        await play.settle()
        assert "Send 1" in play.trace


async def test_twice_within_a_minute_stops_the_daemon(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[Lost] = raises(ZeroDivisionError("a bug"))
    play.runner.post(Lost("1"))
    play.runner.post(timer("x"))
    stopped: list[Stop] = []

    async def run() -> None:
        try:
            await play.runner.run()
        except Stop as stop:
            stopped.append(stop)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(30)
        assert not stopped
        play.runner.post(Lost("2"))
    assert "twice" in str(stopped[0])


async def test_once_a_minute_goes_on(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[Lost] = raises(ZeroDivisionError("a bug"))
    async with running(play):
        for n in range(4):
            play.runner.post(Lost(str(n)))
            await trio.sleep(61)
        play.runner.post(timer("x"))
        await play.settle()
    assert play.made == 5
    assert timer("x") in play.disk


async def test_an_archive_that_cannot_be_opened_again_stops_the_daemon(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[Lost] = raises(ZeroDivisionError("a bug"))
    play.fail_open = ArchiveError("the archive 'x' is damaged")
    play.runner.post(Lost("1"))
    with pytest.raises(Stop):
        await play.runner.run()


async def test_what_still_lies_in_the_inbox_is_done_and_answered_after_starting_over(
    autojump_clock: MockClock,
) -> None:
    """Only those are told that nothing was done of whom it is true."""
    play = Play()
    answers: dict[int, object] = {}

    def act(request: int) -> Callable[[FakeNode], list[Effect]]:
        if request == 1:
            return raises(ZeroDivisionError("a bug"))
        return lambda node: [Reply(request, "done")]

    async def ask(number: int) -> None:
        def make(request: int) -> ConfirmShown:
            command = shown(request)
            play.acts[command] = act(request)
            return command

        try:
            answers[number] = await play.runner.ask(make)
        except CommandError as error:
            answers[number] = error.kind

    async with trio.open_nursery() as nursery:
        for n in range(LIVE_BATCH + 10):
            nursery.start_soon(ask, n)
        await wait_all_tasks_blocked()
        nursery.start_soon(play.runner.run)
        await play.settle()
        play.runner.stop()
    done = sum(answer == "done" for answer in answers.values())
    assert len([row for row in play.disk if isinstance(row, ConfirmShown)]) == done
    assert done == 10
    assert len(answers) == LIVE_BATCH + 10


async def test_numbers_of_dials_under_way_are_not_given_out_again(autojump_clock: MockClock) -> None:
    play = Play()
    play.acts[Lost] = raises(ZeroDivisionError("a bug"))
    async with running(play):
        play.node.live.counter = 41
        play.node.live.addresses = ("192.0.2.7",)
        play.node.live.sights["s"] = Sight("s", ("192.0.2.9",), 26700, 0.0)
        play.runner.post(Lost("1"))
        await play.settle()
        assert play.node.live.counter >= 41
        assert [event for event in play.handled if isinstance(event, Sighted)] == [
            Sighted("s", ("192.0.2.9",), 26700, ())
        ]
