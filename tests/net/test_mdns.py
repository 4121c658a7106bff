"""Real mDNS, on loopback only: what is announced, followed and survived."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import zeroconf

from p2pchat.net import interfaces, mdns, reader
from p2pchat.net.interfaces import LocalAddress
from p2pchat.net.lan import Announcement, Gone, NetworkChanged, Notice, NoticeBox, Sighting
from p2pchat.net.mdns import MdnsDiscovery
from p2pchat.net.reader import MAX_NAMES
from p2pchat.net.sightings import SERVICE
from tests.kit.contract import labels, tags_at, until

LO1 = LocalAddress("lo", 1, "127.0.0.1", 8)
LO2 = LocalAddress("lo", 1, "127.0.0.2", 8)
PATIENCE_S = 15


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """No system tells of changes that a test makes."""
    monkeypatch.setattr(interfaces, "POLL_S", 1.0)


@dataclass
class Machine:
    """A MdnsDiscovery whose network and clocks the test moves."""

    local: tuple[LocalAddress, ...] = (LO1,)
    slept_s: float = 0.0
    day: int = 0
    notices: list[Notice] = field(default_factory=list)

    def discovery(self) -> MdnsDiscovery:
        return MdnsDiscovery(
            (),
            lambda: self.local,
            wall_s=lambda: trio.current_time() + self.slept_s,
            steady_s=trio.current_time,
        )

    def tags(self, _wall_ms: int) -> tuple[bytes, bytes, bytes]:
        return b"day%5d" % self.day, bytes(8), bytes(8)

    def sightings(self) -> list[Sighting]:
        return [n for n in self.notices if isinstance(n, Sighting)]


@asynccontextmanager
async def running(machine: Machine, label: str | None) -> AsyncIterator[MdnsDiscovery]:
    discovery = machine.discovery()
    announcement = Announcement(label, 26700, 1, machine.tags) if label else None
    send, receive = trio.open_memory_channel[Notice](0)

    async def collect() -> None:
        async for notice in receive:
            machine.notices.append(notice)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        await nursery.start(
            lambda *, task_status: discovery.discover(send, announcement, task_status=task_status)
        )
        yield discovery
        nursery.cancel_scope.cancel()


async def soon(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        await until(condition)


async def test_nothing_personal_is_announced() -> None:
    """All a stranger can learn: a random label, a version, a tag of the day, port and addresses."""
    seen = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    try:
        async with running(Machine(), "0123abcd") as discovery:
            await soon(lambda: discovery.discovery_state().heard_self)
            info = await trio.to_thread.run_sync(seen.get_service_info, SERVICE, f"0123abcd.{SERVICE}", 3000)
        assert info is not None
        assert info.server == f"0123abcd.{SERVICE}"
        assert info.properties == {b"v": b"1", b"o": b"day    0".hex().encode()}
        assert info.parsed_addresses() == ["127.0.0.1"]
        assert (info.port, info.priority, info.weight) == (26700, 0, 0)
    finally:
        await trio.to_thread.run_sync(seen.close)


async def test_the_tag_follows_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "TAG_CHECK_S", 0.2)
    alice, bob = Machine(), Machine()
    async with running(alice, None), running(bob, "bob"):
        await soon(lambda: bool(alice.sightings()))
        bob.day = 1
        await soon(lambda: len(alice.sightings()) == 2)
    assert [s.office_tags for s in alice.sightings()] == [(b"day    0",), (b"day    1",)]


async def test_a_daemon_that_starts_before_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = Machine(local=()), Machine()
    async with running(alice, "alice") as discovery, running(bob, "bob"):
        await soon(lambda: alice.notices == [NetworkChanged(())])
        await soon(lambda: discovery.discovery_state().trouble != "starting")
        assert not discovery.discovery_state().running
        assert "no network" in discovery.discovery_state().trouble
        alice.local = (LO1,)
        await soon(lambda: labels(alice.notices) == ["bob"] and labels(bob.notices) == ["alice"])
        assert alice.notices[:2] == [NetworkChanged(()), NetworkChanged(("127.0.0.1",), ("127.0.0.1/8",))]
        assert discovery.discovery_state().running


async def test_a_new_address_is_told_and_everybody_is_sighted_anew() -> None:
    alice, bob = Machine(), Machine()
    async with running(alice, "alice"), running(bob, "bob"):
        await soon(lambda: bool(alice.sightings() and bob.sightings()))
        alice.local = (LO2,)
        await soon(lambda: labels(alice.notices) == ["bob", "bob"])
        await soon(lambda: bob.sightings()[-1].addresses == ("127.0.0.2",))
    assert NetworkChanged(("127.0.0.2",), ("127.0.0.2/8",)) in alice.notices


async def test_waking_up_looks_around_again() -> None:
    alice, bob = Machine(), Machine()
    async with running(alice, "alice"), running(bob, "bob"):
        await soon(lambda: bool(alice.sightings()))
        alice.slept_s = 3600
        await soon(lambda: labels(alice.notices) == ["bob", "bob"])
    assert alice.notices.count(NetworkChanged(("127.0.0.1",), ("127.0.0.1/8",))) == 2


async def test_a_library_that_fails_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = Machine(), Machine()
    real = zeroconf.Zeroconf
    failures = iter([OSError("address in use"), RuntimeError("no interfaces")])

    def fragile(*args: object, **kwargs: object) -> zeroconf.Zeroconf:
        for failure in failures:
            raise failure
        return real(*args, **kwargs)  # type: ignore[arg-type]

    async with running(bob, "bob"):
        await soon(lambda: bool(bob.notices))
        monkeypatch.setattr(mdns, "AGAIN_S", 0.1)
        monkeypatch.setattr(zeroconf, "Zeroconf", fragile)
        async with running(alice, "alice") as discovery:
            await soon(lambda: "in use" in discovery.discovery_state().trouble)
            await soon(lambda: labels(alice.notices) == ["bob"])


async def test_refresh_asks_and_announces_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch joined two halves of an office; nobody's interface changed."""
    monkeypatch.setattr(mdns, "REFRESH_S", 0.1)
    monkeypatch.setattr(reader, "REPEAT_S", 0.0)
    alice, bob = Machine(), Machine()
    async with running(alice, None) as asking, running(bob, "bob") as announcing:
        await soon(lambda: bool(alice.sightings()))
        await trio.sleep(1)  # the rest of bob's first announcement
        before = len(alice.sightings())
        announcing.refresh()
        await soon(lambda: len(alice.sightings()) > before)
        await trio.sleep(1)
        before = len(alice.sightings())
        session = asking._session
        assert session is not None
        zc = session._zc
        assert zc is not None
        assert zc.loop is not None
        # as if bob had never been heard, else he is among the known answers and stays silent
        zc.loop.call_soon_threadsafe(zc.cache.async_remove_records, zc.cache.entries_with_name(SERVICE))
        for _ in range(100):
            asking.refresh()
        await soon(lambda: len(alice.sightings()) > before)


async def test_ten_thousand_fake_names_cost_bounded_memory_and_hide_nobody() -> None:
    """The flood enters where zeroconf's callback does; the one real peer is found."""
    alice, bob = Machine(), Machine()
    async with running(alice, "alice") as discovery:
        await soon(lambda: discovery.discovery_state().heard_self)
        session = discovery._session
        assert session is not None
        for n in range(10_000):
            session.reader.note(f"fake-{n}.{SERVICE}", "look")
        assert len(session.reader.names) == MAX_NAMES
        async with running(bob, "bob"):
            await soon(lambda: labels(alice.notices) == ["bob"])
            assert len(session.reader._incomplete) <= MAX_NAMES
            for n in range(10_000):
                session.reader.note(f"fake-{n}.{SERVICE}", "gone")
            await soon(lambda: len(session.reader.names) == 0)
        await soon(lambda: Gone("bob") in alice.notices)


async def test_the_librarys_warnings_are_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    mdns._quieten_zeroconf()
    mdns._quieten_zeroconf()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("zeroconf").warning("interface went away")
    assert [r.levelname for r in caplog.records if "went away" in r.message] == ["DEBUG"]


async def test_a_label_that_is_not_random_text_is_our_bug() -> None:
    send, _ = trio.open_memory_channel[Notice](0)
    with pytest.raises(ValueError, match="Ann's Laptop"):
        await MdnsDiscovery().discover(send, Announcement("Ann's Laptop", 26700, 1, tags_at))


async def test_a_session_cancelled_while_it_opens_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[zeroconf.Zeroconf] = []
    real = zeroconf.Zeroconf
    may_go_on = threading.Event()

    def slow(*args: object, **kwargs: object) -> zeroconf.Zeroconf:
        may_go_on.wait(PATIENCE_S)
        opened.append(real(*args, **kwargs))  # type: ignore[arg-type]
        return opened[0]

    monkeypatch.setattr(zeroconf, "Zeroconf", slow)
    session = mdns._Session((LO1,), None, NoticeBox(), trio.current_time)
    with trio.move_on_after(0.1):
        await session.open()
    await session.close()
    assert not opened
    may_go_on.set()
    await soon(lambda: bool(opened) and opened[0].loop is not None and opened[0].loop.is_closed())


@pytest.mark.parametrize(
    ("pause", "names", "expected"),
    [(30.0, 1, 30.0), (30.0, 12, 144.0), (240.0, 12, 240.0), (30.0, 50, 600.0), (600.0, MAX_NAMES, 600.0)],
)
def test_in_a_crowd_each_asks_the_more_rarely(pause: float, names: int, expected: float) -> None:
    assert mdns.patience(pause, names) == expected
