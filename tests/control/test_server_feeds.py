"""Subscriptions, and many calls over one client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from p2pchat.control import framing
from p2pchat.control.client import MAX_WAITING_EVENTS
from p2pchat.control.client_trio import over
from p2pchat.control.endpoint import ClientInfo
from p2pchat.errors import CommandError
from tests.control.house import HELLO, House, MemoryListener, greeted, serving


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
