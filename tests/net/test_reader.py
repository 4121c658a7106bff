"""Names become notices: bounded, paced, each piece of news once."""

from __future__ import annotations

import pytest
import trio

from p2pchat.net.interfaces import LocalAddress
from p2pchat.net.lan import Gone, Notice, NoticeBox, Sighting
from p2pchat.net.reader import MAX_NAMES, MAX_SEEN, REPEAT_S, Names, Reader
from p2pchat.net.sightings import SERVICE, Facts

LOCAL = (LocalAddress("eth0", 2, "192.168.1.2", 24),)
FACTS = Facts(26700, b"\x03v=1", ("192.168.1.3",))


def name(label: str) -> str:
    return f"{label}.{SERVICE}"


class Desk:
    """A reader at work, with a cache the test fills."""

    def __init__(self) -> None:
        self.cache: dict[str, Facts] = {}
        self.told: list[Notice] = []
        self.box = NoticeBox()
        self.reader = Reader(LOCAL, "own", self.box)

    async def work(self, seconds: float) -> None:
        send, receive = trio.open_memory_channel[Notice](0)

        async def collect() -> None:
            async for notice in receive:
                self.told.append(notice)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            nursery.start_soon(self.box.pump, send)
            nursery.start_soon(self.reader.run, self.cache.get, lambda: list(self.cache))
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

    def labels(self) -> list[str]:
        return [n.label for n in self.told if isinstance(n, Sighting)]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_news_is_told_once_and_changes_again(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.reader.note(name("bob"), FACTS)
    await desk.work(1)
    desk.reader.note(name("bob"), FACTS)
    await desk.work(1)
    desk.reader.note(name("bob"), Facts(26701, FACTS.text, FACTS.heard))
    await desk.work(1)
    desk.reader.note(name("bob"), "gone")
    desk.reader.note(name("own"), FACTS)
    await desk.work(1)
    assert [n.port for n in desk.told if isinstance(n, Sighting)] == [26700, 26701]
    assert desk.told[-1] == Gone("bob")
    assert desk.labels() == ["bob", "bob"]
    assert desk.reader.heard_self


async def test_who_announces_himself_again_is_told_again(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    for _ in range(3):
        desk.cache[name("bob")] = FACTS
        desk.reader.note(name("bob"), FACTS)
        await desk.work(0.2)
    assert desk.labels() == ["bob"]
    await trio.sleep(REPEAT_S)
    desk.reader.note(name("bob"), "look")  # our own question, not his announcement
    await desk.work(0.2)
    assert desk.labels() == ["bob"]
    desk.reader.note(name("bob"), FACTS)
    await desk.work(0.2)
    assert desk.labels() == ["bob", "bob"]


async def test_records_that_are_missing_are_asked_for(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.cache[name("bob")] = FACTS
    desk.reader.note(name("bob"), "look")
    desk.reader.note(name("carol"), "look")
    await desk.work(1)
    assert desk.labels() == ["bob"]
    asked = await desk.reader.next_incomplete()
    assert asked == name("carol")
    desk.reader.tell(asked, FACTS)
    await desk.work(1)
    assert desk.labels() == ["bob", "carol"]
    with trio.move_on_after(5) as scope:
        await desk.reader.next_incomplete()
    assert scope.cancelled_caught


async def test_a_flood_loses_nobody_the_cache_still_has(desk: Desk) -> None:
    desk.cache[name("bob")] = FACTS
    desk.reader.note(name("bob"), "look")
    for n in range(10_000):
        desk.reader.note(name(f"fake-{n}"), "look")
    assert len(desk.reader.names) == MAX_NAMES
    await desk.work(2)  # real seconds: an autojump clock does not see the thread that reads the cache
    assert desk.labels() == ["bob"]
    for n in range(2 * MAX_SEEN):
        desk.reader.tell(name(f"liar-{n}"), FACTS)
    assert len(desk.reader._seen) == MAX_SEEN


def test_names_are_bounded_and_say_when_one_was_lost() -> None:
    names = Names(limit=10)
    for n in range(10):
        names.note(f"n{n}", "look")
    names.note("n0", "gone")
    assert not names.lost
    assert len(names) == 10
    names.note("new", "look")
    assert names.lost
    assert len(names) == 10
    assert names.take(2) == [("n2", "look"), ("n3", "look")]
    assert names.take(100)[-2:] == [("n0", "gone"), ("new", "look")]
    assert names.take(5) == []


def test_facts_are_not_lost_to_a_mere_mention() -> None:
    names, facts = Names(), Facts(1, b"", ())
    names.note("a", "look")
    names.note("a", facts)
    names.note("a", "look")
    assert names.take(1) == [("a", facts)]
    names.note("a", facts)
    names.note("a", "gone")
    assert names.take(1) == [("a", "gone")]
