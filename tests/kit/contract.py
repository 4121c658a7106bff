"""What every Lan must do, as plain async functions; the fake and the real one both pass.

Decides: the behaviour the daemon may rely on. Does not know: which Lan it runs on; a
`Pair` hands in two machines of it and how patient to be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

import pytest
import trio

from p2pchat.errors import DialError, SettingsError
from p2pchat.net.lan import (
    PORTS,
    Address,
    Announcement,
    Gone,
    Lan,
    Listening,
    NetworkChanged,
    Notice,
    Sighting,
    Stream,
)


@dataclass(frozen=True)
class Pair:
    """Two machines; `bob_host` is where Alice dials Bob. On one real host both share its ports."""

    alice: Lan
    bob: Lan
    bob_host: str
    patience_s: float


def tags_at(_wall_ms: int) -> tuple[bytes, bytes, bytes]:
    """Office tags for a test: eight bytes each."""
    return b"today..8", b"yesterd8", b"tomorro8"


@asynccontextmanager
async def linked(pair: Pair) -> AsyncIterator[tuple[Stream, Stream]]:
    """A connection from Alice to Bob: (Alice's end, Bob's end)."""
    taken: list[Stream] = []
    arrived, done = trio.Event(), trio.Event()

    async def serve(stream: Stream, caller: Address) -> None:
        assert stream.remote_address == caller
        taken.append(stream)
        arrived.set()
        await done.wait()

    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(pair.bob.listen, 0, serve)
        stream = await pair.alice.dial(pair.bob_host, listening.port)
        assert stream.remote_address == Address(pair.bob_host, listening.port)
        await arrived.wait()
        try:
            yield stream, taken[0]
        finally:
            done.set()
            await stream.aclose()
            nursery.cancel_scope.cancel()


async def receive_exactly(stream: Stream, count: int) -> bytes:
    """`count` bytes, or fewer if the stream ends."""
    received = bytearray()
    while len(received) < count:
        part = await stream.receive_some(count - len(received))
        if not part:
            break
        received += part
    return bytes(received)


async def bytes_go_both_ways(pair: Pair) -> None:
    """What one sends the other receives, in order, and `max_bytes` is a ceiling."""
    async with linked(pair) as (alice, bob):
        await alice.send_all(b"hello ")
        await alice.send_all(bytearray(b"bob"))
        assert await receive_exactly(bob, 9) == b"hello bob"
        await bob.send_all(memoryview(b"hello alice"))
        assert len(await alice.receive_some(3)) <= 3
        await alice.send_all(b"")


async def one_half_closes(pair: Pair) -> None:
    """After send_eof the other side reads to the end and may still answer."""
    async with linked(pair) as (alice, bob):
        await alice.send_all(b"last words")
        await alice.send_eof()
        await alice.send_eof()
        assert await receive_exactly(bob, 100) == b"last words"
        assert await bob.receive_some() == b""
        await bob.send_all(b"answer")
        assert await receive_exactly(alice, 6) == b"answer"
        with pytest.raises(trio.ClosedResourceError):
            await alice.send_all(b"more")


async def a_slow_reader_holds_the_sender_up(pair: Pair) -> None:
    """Bounded buffers: who is not read waits; nothing is lost or mixed up."""
    size = 8 * 1024 * 1024
    data = bytes(range(256)) * (size // 256)
    sent_all = False

    async with linked(pair) as (alice, bob), trio.open_nursery() as nursery:

        async def send() -> None:
            nonlocal sent_all
            await alice.send_all(data)
            sent_all = True
            await alice.send_eof()

        nursery.start_soon(send)
        await trio.sleep(0.2)
        assert not sent_all, "8 MiB vanished into somebody's buffer"
        received = bytearray()
        while part := await bob.receive_some(100_000):
            received += part
        assert received == data


async def what_is_handed_over_at_once_arrives_in_its_place(pair: Pair) -> None:
    """`send_nowait` takes a first part, at most until the buffers are full, and never waits."""
    data = memoryview(bytes(range(256)) * 32_768)
    async with linked(pair) as (alice, bob):
        await alice.send_all(b"first ")
        taken = 0
        for _ in range(64):
            part = alice.send_nowait(data[taken:])
            assert 0 <= part <= len(data) - taken
            taken += part
        assert taken < len(data), "8 MiB vanished into somebody's buffer"
        received = await receive_exactly(bob, 6 + taken)
        assert received == b"first " + bytes(data[:taken])
        await alice.send_all(b" last")
        assert await receive_exactly(bob, 5) == b" last"
        await alice.aclose()
        assert alice.send_nowait(b"more") == 0


async def closing_wakes_everybody(pair: Pair) -> None:
    """A close ends the other side's reading, and later sends there fail."""
    async with linked(pair) as (alice, bob):
        await alice.aclose()
        await alice.aclose()
        assert await bob.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await alice.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await _send_for_ever(bob)


async def closing_here_wakes_our_own_tasks(pair: Pair) -> None:
    """A task that waits in a stream gets ClosedResourceError when another closes it."""
    async with linked(pair) as (alice, _bob), trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await alice.receive_some()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await alice.aclose()


async def serving_ends_the_stream(pair: Pair) -> None:
    """When `serve` returns, the stream is closed for both."""

    async def serve(stream: Stream, caller: Address) -> None:
        await stream.send_all(b"bye")

    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(pair.bob.listen, 0, serve)
        stream = await pair.alice.dial(pair.bob_host, listening.port)
        assert await receive_exactly(stream, 100) == b"bye"
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def dial_says_why_not(pair: Pair) -> None:
    """No listener: `port_closed`; no such name: `name`."""
    async with trio.open_nursery() as nursery:
        listening: Listening = await nursery.start(pair.bob.listen, 0, _hang_up)
        nursery.cancel_scope.cancel()
    with pytest.raises(DialError) as closed:
        await pair.alice.dial(pair.bob_host, listening.port)
    assert closed.value.reason == "port_closed"
    assert closed.value.detail
    for host, port in (("no such name", 26700), ("", 26700), (pair.bob_host, 0), (pair.bob_host, 70000)):
        with pytest.raises(DialError) as unknown:
            await pair.alice.dial(host, port)
        assert unknown.value.reason == "name"


async def a_busy_port_moves_on(pair: Pair) -> None:
    """Two daemons on one machine get different ports; a port asked for is taken or refused."""
    async with trio.open_nursery() as nursery:
        first: Listening = await nursery.start(pair.bob.listen, None, _hang_up)
        second: Listening = await nursery.start(pair.bob.listen, None, _hang_up)
        assert first.port in PORTS
        assert second.port in PORTS
        assert first.port < second.port
        with pytest.raises(BaseExceptionGroup) as refused:
            async with trio.open_nursery() as other:
                await other.start(pair.bob.listen, first.port, _hang_up)
        assert refused.group_contains(SettingsError, match=f"port {first.port} is in use")
        with pytest.raises(SettingsError, match="port 70000 is not a port"):
            await pair.bob.listen(70000, _hang_up)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        again: Listening = await nursery.start(pair.bob.listen, first.port, _hang_up)
        assert again.port == first.port
        nursery.cancel_scope.cancel()


async def two_hosts_sight_each_other(pair: Pair) -> None:
    """Each sees the other, nobody himself, and a goodbye; NetworkChanged comes first."""
    alice_seen: list[Notice] = []
    bob_seen: list[Notice] = []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_look, pair.alice, Announcement("alice-label", 26700, 1, tags_at), alice_seen)
        bobs = trio.CancelScope()

        async def bob_looks() -> None:
            with bobs:
                await _look(pair.bob, Announcement("bob-label", 26701, 1, tags_at), bob_seen)

        nursery.start_soon(bob_looks)
        with trio.fail_after(pair.patience_s):
            await until(lambda: len(labels(alice_seen)) == len(labels(bob_seen)) == 1)
        assert pair.bob.discovery_state().running
        bobs.cancel()
        with trio.fail_after(pair.patience_s):
            await until(lambda: Gone("bob-label") in alice_seen)
        nursery.cancel_scope.cancel()
    assert isinstance(alice_seen[0], NetworkChanged)
    assert alice_seen[0].addresses
    seen = next(notice for notice in alice_seen if isinstance(notice, Sighting))
    assert seen == Sighting("bob-label", (pair.bob_host,), 26701, 1, (b"today..8",))
    assert labels(alice_seen) == ["bob-label"]
    assert labels(bob_seen) == ["alice-label"]
    assert not pair.alice.discovery_state().running


async def browsing_announces_nothing(pair: Pair) -> None:
    """`--no-announce`: sees, is not seen."""
    alice_seen: list[Notice] = []
    bob_seen: list[Notice] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_look, pair.alice, None, alice_seen)
        nursery.start_soon(_look, pair.bob, Announcement("bob-label", 26701, 1, tags_at), bob_seen)
        with trio.fail_after(pair.patience_s):
            await until(lambda: labels(alice_seen) == ["bob-label"])
        await trio.sleep(0.3)
        nursery.cancel_scope.cancel()
    assert labels(bob_seen) == []


async def a_slow_reader_of_notices_is_not_waited_for(pair: Pair) -> None:
    """Nobody reads Alice's notices for a while; Bob comes and goes; the last word counts."""
    send, receive = trio.open_memory_channel[Notice](0)
    bob_seen: list[Notice] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.alice.discover, send, None)
        for _ in range(2):
            with trio.move_on_after(1):
                await _look(pair.bob, Announcement("bob-label", 26701, 1, tags_at), bob_seen)
        await trio.sleep(0.2)
        waiting: list[Notice] = []
        with trio.move_on_after(0.5):
            async for notice in receive:
                waiting.append(notice)
        nursery.cancel_scope.cancel()
    assert isinstance(waiting[0], NetworkChanged)
    # one may have been on its way to the reader when the next came
    assert waiting[-1] == Gone("bob-label")
    assert len(waiting) <= 3


CONTRACT: tuple[Callable[[Pair], Awaitable[None]], ...] = (
    bytes_go_both_ways,
    one_half_closes,
    a_slow_reader_holds_the_sender_up,
    what_is_handed_over_at_once_arrives_in_its_place,
    closing_wakes_everybody,
    closing_here_wakes_our_own_tasks,
    serving_ends_the_stream,
    dial_says_why_not,
    a_busy_port_moves_on,
    two_hosts_sight_each_other,
    browsing_announces_nothing,
    a_slow_reader_of_notices_is_not_waited_for,
)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, on whichever clock runs."""
    while not condition():
        await trio.sleep(0.01)


def labels(notices: list[Notice]) -> list[str]:
    """The labels sighted, in order."""
    return [notice.label for notice in notices if isinstance(notice, Sighting)]


async def _look(lan: Lan, announcement: Announcement | None, into: list[Notice]) -> None:
    send, receive = trio.open_memory_channel[Notice](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lan.discover, send, announcement)
        async for notice in receive:
            into.append(notice)


async def _send_for_ever(stream: Stream) -> NoReturn:
    while True:
        await stream.send_all(b"anybody there?")
        await trio.sleep(0.02)


async def _hang_up(stream: Stream, caller: Address) -> None:
    await stream.aclose()
