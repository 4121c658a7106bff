"""What the server answers to one client: lines, calls and failures. No operating system, no real time."""

from __future__ import annotations

import logging

import pytest

from p2pchat.control import framing
from tests.control.house import House, MemoryListener, greeted, serving


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


async def test_an_archive_that_cannot_be_read_is_called_so() -> None:
    listener = MemoryListener()
    async with serving(listener, House()):
        line = await greeted(listener)
        await line.ask(1, "torn")
        answer = await line.read()
        assert answer is not None
        assert answer["error"] == {
            "code": 9,
            "message": "the archive cannot be read: malformed",
            "data": {"kind": "archive", "hint": "p2pchat doctor"},
        }


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
