"""Clients that come, crowd, stall and go, and a server that closes."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pchat.control import framing, server
from p2pchat.control.client_trio import over
from p2pchat.control.endpoint import Admission, Refused
from p2pchat.control.server import serve_control
from p2pchat.errors import CommandError
from tests.control.house import VERSION, House, Line, MemoryListener, greeted, serving


async def test_a_client_that_goes_takes_its_calls_and_feeds_with_it() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        line = await greeted(listener)
        await line.ask(1, "wait", door="a")
        await line.ask(2, "subscribe", count=1, then="wait")
        for _ in range(2):
            assert await line.read() is not None
        await line.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert house.cancelled == ["a"]
        assert house.closed_feeds == 1
        await greeted(listener)


async def test_more_calls_than_one_client_may_have_are_refused_not_queued() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        line = await greeted(listener)
        for number in range(server.MAX_CALLS + 1):
            await line.ask(number, "wait", door="a")
        answer = await line.read()
        assert answer is not None
        assert answer["id"] == server.MAX_CALLS
        assert "already running" in answer["error"]["message"]
        house.door("a").set()
        assert {(await line.read() or {})["id"] for _ in range(server.MAX_CALLS)} == {
            *range(server.MAX_CALLS)
        }


async def test_one_client_too_many_is_told_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        lines = [await greeted(listener) for _ in range(server.MAX_CLIENTS)]
        start = trio.current_time()
        with pytest.raises(CommandError, match="already talking"):
            await over(listener.dial())
        assert trio.current_time() - start == pytest.approx(server.PATIENCE_S)
        await lines[0].stream.aclose()
        await greeted(listener)


async def test_a_burst_of_short_commands_all_get_their_turn(autojump_clock: trio.testing.MockClock) -> None:
    listener, house = MemoryListener(), House()
    served = 0

    async def command() -> None:
        nonlocal served
        client = await over(listener.dial())
        await client.call("echo")
        await trio.sleep(0.1)
        await client.aclose()
        served += 1

    async with serving(listener, house):
        async with trio.open_nursery() as nursery:
            for _ in range(10 * server.MAX_CLIENTS):
                nursery.start_soon(command)
    assert served == 10 * server.MAX_CLIENTS


async def test_a_crowd_that_proves_nothing_keeps_no_place_of_the_served(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Strict(MemoryListener):
        proving = 0

        async def admit(self, stream: trio.abc.Stream) -> Admission:
            self.proving += 1
            assert self.proving <= server.MAX_ARRIVALS
            try:
                await trio.sleep(5)
            finally:
                self.proving -= 1
            raise Refused("does not know the token")

    listener = Strict()
    async with serving(listener, House()):
        crowd = [Line(listener.dial()) for _ in range(3 * server.MAX_ARRIVALS)]
        for line in crowd:
            assert await line.read() is None


async def test_a_client_that_goes_while_it_is_sent_to_takes_all_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    listener, house = MemoryListener(lockstep=True), House()
    async with serving(listener, house):
        line, other = await greeted(listener), await greeted(listener)
        await line.ask(1, "wait", door="a")
        await line.ask(2, "subscribe")
        assert (await line.read() or {})["id"] == 2
        await trio.testing.wait_all_tasks_blocked()
        await line.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert house.cancelled == ["a"]
        assert house.closed_feeds == 1
        await other.ask(1, "echo")
        assert (await other.read() or {})["id"] == 1


async def test_a_client_that_cannot_be_sent_to_is_gone_even_if_it_could_still_speak() -> None:
    class Deaf(trio.abc.SendStream):
        alive = True

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()
            if b"event" in bytes(data):
                raise trio.BrokenResourceError

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            self.alive = False
            await trio.lowlevel.checkpoint()

    listener, house, deaf = MemoryListener(), House(), Deaf()
    says, hears = trio.testing.memory_stream_one_way_pair()
    listener.arrive(trio.StapledStream(deaf, hears))
    async with serving(listener, house):
        await says.send_all(framing.request(1, "wait", {"door": "a"}) + framing.request(2, "subscribe", {}))
        await trio.testing.wait_all_tasks_blocked()
        assert not deaf.alive
        assert house.cancelled == ["a"]
        assert house.closed_feeds == 1


async def test_closing_the_listener_lets_what_runs_end_and_nothing_new_begin() -> None:
    listener, house = MemoryListener(), House()
    done = trio.Event()

    async def serve() -> None:
        await serve_control(listener, house, version=VERSION)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        busy, idle = await greeted(listener), await greeted(listener)
        await busy.ask(1, "wait", door="a")
        await busy.ask(2, "subscribe", count=1)
        assert (await busy.read() or {})["id"] == 2
        await trio.testing.wait_all_tasks_blocked()

        await listener.aclose()
        assert await idle.read() is None, "an idle client is let go at once"
        await busy.ask(3, "echo")
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()

        house.door("a").set()
        rest = []
        while (message := await busy.read()) is not None:
            rest.append(message.get("id", message.get("method")))
        assert rest == ["event", "end", 1], "and 3 was not taken"
        await done.wait()


async def test_the_listener_is_closed_when_the_daemon_cancels() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        pass
    assert listener.closed


async def test_running_out_of_descriptors_pauses_and_goes_on(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Scarce(MemoryListener):
        refusals = 3

        async def accept(self) -> trio.abc.Stream:
            if self.refusals:
                self.refusals -= 1
                raise OSError(24, "Too many open files")
            return await super().accept()

    listener = Scarce()
    async with serving(listener, House()):
        await greeted(listener)
    assert "Too many open files" in caplog.text
