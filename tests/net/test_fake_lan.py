"""What the fake LAN promises beyond the contract: cables, deaths, half-open links, repeatability."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2pchat.errors import DialError
from p2pchat.net.lan import Announcement, Gone, NetworkChanged, Notice, Sighting, Stream
from tests.kit.contract import Pair, labels, linked, receive_exactly, tags_at
from tests.kit.fake_lan import FakeLan


def office(*names: str, seed: int = 1, jitter_s: float = 0.0) -> FakeLan:
    hub = FakeLan(random.Random(seed), jitter_s=jitter_s)
    for n, name in enumerate(names):
        hub.host(name, f"10.0.0.{n + 1}")
    return hub


def pair(hub: FakeLan) -> Pair:
    return Pair(hub.hosts["alice"], hub.hosts["bob"], "10.0.0.2", 5)


async def nothing_comes(stream: Stream, seconds: float = 100) -> None:
    with trio.move_on_after(seconds) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught


async def test_a_cut_stalls_silently_and_a_join_delivers(autojump_clock: trio.testing.MockClock) -> None:
    hub = office("alice", "bob")
    async with linked(pair(hub)) as (alice, bob):
        await alice.send_all(b"one ")
        hub.cut("alice", "bob")
        await alice.send_all(b"two")
        await nothing_comes(bob)
        hub.join("bob", "alice")
        assert await receive_exactly(bob, 7) == b"one two"


async def test_a_sender_across_a_cut_fills_its_buffer_and_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hub = office("alice", "bob")
    async with linked(pair(hub)) as (alice, bob):
        hub.cut("alice", "bob")
        with trio.move_on_after(1000) as scope:
            await alice.send_all(bytes(10 * hub.buffer_bytes))
        assert scope.cancelled_caught
        hub.join("alice", "bob")
        assert len(await receive_exactly(bob, hub.buffer_bytes)) == hub.buffer_bytes


async def test_a_one_way_cut_holds_back_acknowledgements_too(autojump_clock: trio.testing.MockClock) -> None:
    hub = office("alice", "bob")
    async with linked(pair(hub)) as (alice, bob):
        hub.cut("bob", "alice", one_way=True)
        await alice.send_all(b"heard")
        assert await receive_exactly(bob, 5) == b"heard"
        await bob.send_all(b"lost for now")
        await nothing_comes(alice)

        async def read() -> None:
            await receive_exactly(bob, 10 * hub.buffer_bytes)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            with trio.move_on_after(100) as scope:
                await alice.send_all(bytes(10 * hub.buffer_bytes))
            assert scope.cancelled_caught
            nursery.cancel_scope.cancel()
        with pytest.raises(DialError, match="timeout"):
            await hub.hosts["alice"].dial("10.0.0.2", 26700)
        hub.join("alice", "bob")
        assert await receive_exactly(alice, 12) == b"lost for now"


@pytest.mark.parametrize(
    ("host", "reason", "seconds"),
    [("10.0.0.2", "timeout", 5), ("10.0.0.77", "host_down", 3), ("carol", "port_closed", 0.002)],
)
async def test_dials_fail_in_their_own_time(
    host: str, reason: str, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    hub = office("alice", "bob", "carol")
    hub.cut("alice", "bob")
    began = trio.current_time()
    with pytest.raises(DialError) as failed:
        await hub.hosts["alice"].dial(host, 26700)
    assert failed.value.reason == reason
    assert trio.current_time() - began == pytest.approx(seconds)


async def test_a_killed_program_resets_its_links_and_says_no_goodbye(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hub = office("alice", "bob")
    async with linked(pair(hub)) as (alice, bob):
        hub.kill_host("bob")
        with pytest.raises(trio.BrokenResourceError):
            await alice.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await alice.send_all(b"bob?")
        with pytest.raises(trio.ClosedResourceError):
            await bob.receive_some()
        with pytest.raises(DialError, match="port_closed"):
            await hub.hosts["alice"].dial("10.0.0.2", 26700)


async def test_a_dead_machine_leaves_half_open_links_until_it_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hub = office("alice", "bob")
    async with linked(pair(hub)) as (alice, _bob):
        hub.power_off("bob")
        await alice.send_all(b"bob?")
        await nothing_comes(alice)
        with pytest.raises(DialError, match="host_down"):
            await hub.hosts["alice"].dial("10.0.0.2", 26700)
        hub.host("bob", "10.0.0.2")
        with pytest.raises(trio.BrokenResourceError):
            await alice.receive_some()


async def test_a_moved_host_is_found_anew_and_its_old_links_are_dead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hub = office("alice", "bob")
    seen = _watching(hub, "alice", "bob")
    async with linked(pair(hub)) as (alice, _bob):
        async with seen as notices:
            await trio.sleep(1)
            hub.move("bob", "10.0.0.99")
            await trio.sleep(1)
        await nothing_comes(alice)
    assert [n.addresses for n in notices["alice"] if isinstance(n, Sighting)] == [
        ("10.0.0.2",),
        ("10.0.0.99",),
    ]
    assert NetworkChanged(("10.0.0.99",)) in notices["bob"]


async def test_sightings_cross_no_cut_and_come_with_the_join(autojump_clock: trio.testing.MockClock) -> None:
    hub = office("alice", "bob")
    hub.cut("alice", "bob")
    async with _watching(hub, "alice", "bob") as notices:
        await trio.sleep(60)
        assert labels(notices["alice"]) == []
        hub.join("alice", "bob")
        await trio.sleep(1)
        hub.cut("alice", "bob")
        hub.join("alice", "bob")
        await trio.sleep(1)
    assert labels(notices["alice"]) == ["label-bob"]


async def test_a_pulled_cable_is_noticed_by_its_owner_only(autojump_clock: trio.testing.MockClock) -> None:
    hub = office("alice", "bob", "carol")
    async with _watching(hub, "alice", "bob", "carol") as notices:
        await trio.sleep(1)
        hub.unplug("bob")
        await trio.sleep(30)
        assert notices["bob"][-1] == NetworkChanged(())
        assert Gone("label-bob") not in notices["alice"]
        hub.replug("bob")
        await trio.sleep(1)
    assert notices["bob"].count(NetworkChanged(("10.0.0.2",))) == 2
    # hosts seen at the same moment come in the scheduler's order
    assert sorted(labels(notices["bob"])) == ["label-alice"] * 2 + ["label-carol"] * 2
    assert sorted(labels(notices["alice"])) == ["label-bob"] * 2 + ["label-carol"]


async def _story(seed: int) -> list[tuple[float, int]]:
    hub = office("alice", "bob", seed=seed, jitter_s=0.01)
    trace: list[tuple[float, int]] = []
    began = trio.current_time()
    async with linked(pair(hub)) as (alice, bob), trio.open_nursery() as nursery:

        async def send() -> None:
            for n in range(50):
                await alice.send_all(bytes(1000 + n))
                await trio.sleep(0.003)
            await alice.send_eof()

        nursery.start_soon(send)
        while part := await bob.receive_some(700):
            trace.append((round(trio.current_time() - began, 9), len(part)))
    return trace


async def test_the_same_seed_gives_the_same_trace(autojump_clock: trio.testing.MockClock) -> None:
    first, again, other = await _story(7), await _story(7), await _story(8)
    assert first == again
    assert first != other


@asynccontextmanager
async def _watching(hub: FakeLan, *names: str) -> AsyncIterator[dict[str, list[Notice]]]:
    """Runs `discover` on these hosts and keeps what each saw."""
    notices: dict[str, list[Notice]] = {name: [] for name in names}

    async def look(name: str, receive: trio.MemoryReceiveChannel[Notice]) -> None:
        async for notice in receive:
            notices[name].append(notice)

    async with trio.open_nursery() as nursery:
        for name in names:
            send, receive = trio.open_memory_channel[Notice](0)
            nursery.start_soon(look, name, receive)
            announcement = Announcement(f"label-{name}", 26700, 1, tags_at)
            nursery.start_soon(hub.hosts[name].discover, send, announcement)
        yield notices
        nursery.cancel_scope.cancel()
