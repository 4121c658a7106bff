"""Clients of every temper, over memory streams: no operating system, no real time."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from p2pchat.control import framing, server
from p2pchat.control.client import MAX_WAITING_EVENTS
from p2pchat.control.client_trio import over
from p2pchat.control.endpoint import Admission, ClientInfo, Refused
from p2pchat.control.server import serve_control
from p2pchat.errors import CommandError
from tests.control.house import VERSION, House, Line, MemoryListener, serving

HELLO = {"p2pchat": 1, "pid": os.getpid(), "version": VERSION}


async def greeted(listener: MemoryListener) -> Line:
    line = Line(listener.dial())
    assert await line.read() == HELLO
    return line


async def test_the_daemon_says_hello_first() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        await greeted(listener)


async def test_answers_leave_as_they_are_ready_each_under_its_id() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        line = await greeted(listener)
        await line.ask("slow", "wait", door="a")
        await line.ask(2, "echo", text="grüße")
        assert await line.read() == {"jsonrpc": "2.0", "id": 2, "result": {"text": "grüße"}}
        house.door("a").set()
        assert await line.read() == {"jsonrpc": "2.0", "id": "slow", "result": "a"}


async def test_an_id_still_running_is_not_taken_again() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        line = await greeted(listener)
        await line.ask(1, "wait", door="a")
        await line.ask(1, "echo")
        answer = await line.read()
        assert answer is not None
        assert answer["error"]["code"] == framing.INVALID_REQUEST
        house.door("a").set()
        assert await line.read() == {"jsonrpc": "2.0", "id": 1, "result": "a"}
        await line.ask(1, "echo")
        assert await line.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_a_failure_carries_exit_code_kind_and_hint() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.ask(1, "fail")
        assert await line.read() == {
            "jsonrpc": "2.0",
            "id": 1,
            "error": {
                "code": 4,
                "message": "nobody is called 'bob'",
                "data": {"kind": "no_such_target", "hint": "p2pchat peers"},
            },
        }


@pytest.mark.parametrize("method", ["crash", "unsayable"])
async def test_a_handler_that_breaks_is_answered_and_logged_and_all_goes_on(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        with caplog.at_level(logging.ERROR):
            await line.ask(1, method)
            answer = await line.read()
        assert answer is not None
        assert answer["error"]["code"] == 1
        assert answer["error"]["data"]["kind"] == "internal"
        assert "secret detail" not in str(answer)
        assert caplog.records[0].exc_info is not None
        await line.ask(2, "echo")
        assert await line.read() == {"jsonrpc": "2.0", "id": 2, "result": {}}


async def test_an_unknown_method_is_answered() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.ask(5, "brew")
        answer = await line.read()
        assert answer is not None
        assert (answer["id"], answer["error"]["code"]) == (5, framing.METHOD_NOT_FOUND)


async def test_an_answer_too_long_for_a_line_says_so() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.ask(1, "huge", size=framing.MAX_REPLY)
        answer = await line.read()
        assert answer is not None
        assert answer["error"]["data"]["kind"] == "too_long"


@pytest.mark.parametrize(
    ("junk", "code"),
    [(b"\n", -32700), (b"{]\n", -32700), (b"\xff\xfe\n", -32700), (b"[]\n", -32600), (b"{}\n", -32600)],
)
async def test_a_malformed_line_is_answered_and_the_connection_goes_on(junk: bytes, code: int) -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.say(junk)
        answer = await line.read()
        assert answer is not None
        assert (answer["id"], answer["error"]["code"]) == (None, code)
        await line.ask(1, "echo")
        assert await line.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_a_line_over_the_limit_ends_that_connection_only() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        wordy, other = await greeted(listener), await greeted(listener)
        await wordy.say(b"x" * (framing.MAX_REQUEST + 1))
        answer = await wordy.read()
        assert answer is not None
        assert "longer than" in answer["error"]["message"]
        assert await wordy.read() is None
        await other.ask(1, "echo")
        assert await other.read() is not None


async def test_a_line_of_exactly_the_limit_is_taken() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        room = framing.MAX_REQUEST - len(framing.request(1, "echo", {"text": ""})) + 1
        await line.ask(1, "echo", text="x" * room)
        answer = await line.read()
        assert answer is not None
        assert len(answer["result"]["text"]) == room


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


async def test_a_feed_that_breaks_while_closing_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Brittle(House):
        def subscribe(self, params: dict[str, Any], client: ClientInfo) -> AsyncIterator[dict[str, Any]]:
            return self._break()

        async def _break(self) -> AsyncIterator[dict[str, Any]]:
            try:
                yield {"n": 0}
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError

    listener = MemoryListener()
    async with serving(listener, Brittle()):
        client = await over(listener.dial())
        feed = await client.subscribe()
        assert await anext(feed) == {"n": 0}
        await feed.aclose()
        assert await client.call("echo") == {}
    assert "ZeroDivisionError" in caplog.text


async def test_what_the_daemon_says_of_the_connection_reaches_who_waits() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    refusal = framing.ControlProtocolError(framing.INVALID_REQUEST, "a line is longer than 7 bytes")
    await theirs.send_all(framing.encode(HELLO) + framing.encode(framing.refusal(refusal)))
    client = await over(ours)
    with pytest.raises(CommandError, match="longer than 7"):
        await client.call("echo")


async def test_a_call_cancelled_while_half_sent_ends_the_connection() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, framing.encode(HELLO))
        client = await over(ours)
    with trio.move_on_after(0.01):
        await client.call("echo")
    with pytest.raises(CommandError) as caught:
        await client.call("echo")
    assert caught.value.kind == "no_daemon"


async def test_a_subscription_answers_then_feeds_then_ends() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.ask(1, "subscribe", count=2)
        assert await line.read() == {"jsonrpc": "2.0", "id": 1, "result": {"subscription": 1}}
        for number in range(2):
            assert await line.read() == {
                "jsonrpc": "2.0",
                "method": "event",
                "params": {"subscription": 1, "event": {"n": number, "pad": ""}},
            }
        assert await line.read() == {"jsonrpc": "2.0", "method": "end", "params": {"subscription": 1}}


@pytest.mark.parametrize(("flaw", "kind"), [("refuse", "usage"), ("crash", "internal"), ("wrong", "usage")])
async def test_a_subscription_refused_at_once_is_the_answer(flaw: str, kind: str) -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.ask(1, "subscribe", **{flaw: True})
        answer = await line.read()
        assert answer is not None
        assert (answer["id"], answer["error"]["data"]["kind"]) == (1, kind)
        await line.ask(1, "echo")
        assert await line.read() is not None


@pytest.mark.parametrize(("then", "kind"), [("fail", "archive"), ("crash", "internal"), ("wrong", "usage")])
async def test_a_subscription_that_breaks_later_says_why(then: str, kind: str) -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        client = await over(listener.dial())
        feed = await client.subscribe({"count": 1, "then": then})
        assert await anext(feed) == {"n": 0, "pad": ""}
        with pytest.raises(CommandError) as caught:
            await anext(feed)
        assert caught.value.kind == kind
        assert await client.call("echo") == {}


async def test_a_slow_client_holds_back_its_own_feed_only() -> None:
    listener, house = MemoryListener(lockstep=True), House()
    async with serving(listener, house):
        slow, quick = await greeted(listener), await greeted(listener)
        await slow.ask(1, "subscribe")
        await trio.testing.wait_all_tasks_blocked()
        assert house.pulled <= 1, "one item in flight, no more are fetched"
        for number in range(20):
            await quick.ask(number, "echo")
            assert (await quick.read() or {})["id"] == number
        assert (await slow.read() or {})["id"] == 1
        assert (await slow.read() or {})["params"]["event"]["n"] == 0


async def test_unsubscribing_closes_the_feed_and_leaves_the_connection() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        client = await over(listener.dial())
        feed = await client.subscribe({"count": 1, "then": "wait"})
        assert await anext(feed)
        await feed.aclose()
        assert house.closed_feeds == 1
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        for number in (1, 99, "1", None, True):
            with pytest.raises(CommandError, match="no subscription"):
                await client.call("unsubscribe", {"subscription": number})


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


async def test_concurrent_calls_and_feeds_share_one_client() -> None:
    listener, house = MemoryListener(), House()
    got: list[str] = []
    async with serving(listener, house):
        client = await over(listener.dial())
        assert client.daemon == HELLO

        async def ask(name: str) -> None:
            got.append(await client.call("wait", {"door": name}))

        async def listen(count: int) -> None:
            feed = await client.subscribe({"count": count})
            numbers = [event["n"] async for event in feed]
            assert numbers == [*range(count)]
            got.append(f"feed {count}")

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(ask, name)
            nursery.start_soon(listen, 30)
            nursery.start_soon(listen, 7)
            await trio.testing.wait_all_tasks_blocked()
            for name in "cab":
                house.door(name).set()
                await trio.testing.wait_all_tasks_blocked()
    assert [name for name in got if len(name) == 1] == ["c", "a", "b"]
    assert {"feed 30", "feed 7"} <= {*got}


async def test_a_cancelled_wait_loses_nothing_for_the_others() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        client = await over(listener.dial())
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def wait_in_vain() -> None:
                with scope:
                    await client.call("wait", {"door": "b"})

            nursery.start_soon(wait_in_vain)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
        house.door("b").set()
        assert await client.call("echo", {"x": 1}) == {"x": 1}


async def test_a_feed_nobody_takes_is_ended_with_a_reason() -> None:
    listener, house = MemoryListener(), House()
    async with serving(listener, house):
        client = await over(listener.dial())
        feed = await client.subscribe({"count": MAX_WAITING_EVENTS + 50, "then": "wait"})
        while house.pulled < MAX_WAITING_EVENTS + 50:
            await client.call("echo")
        for _ in range(5):
            await client.call("echo")
        for number in range(MAX_WAITING_EVENTS):
            assert (await anext(feed))["n"] == number
        with pytest.raises(CommandError, match="faster than they were taken"):
            await anext(feed)


async def test_a_daemon_that_goes_is_told_to_every_waiter() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(framing.encode(HELLO))
    client = await over(ours)
    feed_answer = framing.encode(framing.result(1, {"subscription": 1}))
    await theirs.send_all(feed_answer)
    feed = await client.subscribe()
    kinds: list[str] = []

    async def wait(what: str) -> None:
        try:
            await (anext(feed) if what == "feed" else client.call("echo"))
        except CommandError as error:
            kinds.append(error.kind)

    async with trio.open_nursery() as nursery:
        for what in ("feed", "call", "call"):
            nursery.start_soon(wait, what)
        await trio.testing.wait_all_tasks_blocked()
        await theirs.aclose()
    assert kinds == ["no_daemon"] * 3
    await client.aclose()
    with pytest.raises(CommandError):
        await client.call("echo")
