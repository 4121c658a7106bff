"""Whole daemons where something at the edge goes wrong: one link, one dial, one stranger, one end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon.core import Daemon
from p2pchat.engine.context import Context
from p2pchat.engine.inputs import AddPeer, Effect, Input, LinkDown
from p2pchat.errors import ArchiveError, LocalProtocolError
from p2pchat.model import Now
from p2pchat.wire.limits import HANDSHAKE_S, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_ADDRESS
from p2pchat.wire.messages.link import Pull
from tests.daemon.house import House, house


def ends(daemon: Daemon) -> list[str]:
    """Why links of `daemon` end from now on."""
    found: list[str] = []
    post = daemon.runner.post

    def heard(event: Input) -> None:
        if isinstance(event, LinkDown):
            found.append(event.reason)
        post(event)

    daemon.runner.post = daemon._inbox.post = heard  # type: ignore[method-assign]
    return found


async def meet(h: House, *names: str) -> None:
    """Bring these up and wait until each sees all others."""
    for name in names:
        await h.up(name)
    await h.until(lambda: all(h.connected(name) == len(names) - 1 for name in names))


@pytest.mark.parametrize("leaver", ["ann", "bob"])
async def test_who_stops_says_so_to_those_who_called_and_those_called(
    leaver: str, autojump_clock: MockClock
) -> None:
    async with house() as h:
        await meet(h, "ann", "bob", "cyn")
        heard = {name: ends(h.daemons[name]) for name in ("ann", "bob", "cyn") if name != leaver}
        h.daemons[leaver].stop()
        await h.until(lambda: all(heard.values()), 3)
        assert all(reasons == ["stopping"] for reasons in heard.values())


async def test_a_bug_met_on_one_link_ends_that_link_only(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as h:
        await meet(h, "ann", "bob", "cyn")
        ann = h.daemons["ann"]
        bobs = h.daemons["bob"].parts.identity.me.device
        number = ann.runner.node.live.by_device[bobs]

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("a bug of ours")

        ann.pumps[number]._machine.receive_data = broken  # type: ignore[method-assign]
        heard = ends(ann)
        await h.say("bob", "ann", "something")
        await h.until(lambda: bool(heard))
        assert heard == ["internal"]
        assert "a bug of ours" in caplog.text
        await h.until(lambda: h.connected("ann") == 2)
        answer = await h.say("bob", "ann", "again", wait="delivered")
        assert answer["state"] == "delivered"
        assert len(ann.pumps) == 2


async def test_a_record_that_fits_no_frame_ends_one_link(autojump_clock: MockClock) -> None:
    async with house() as h:
        await meet(h, "ann", "bob", "cyn")
        ann = h.daemons["ann"]
        number = ann.runner.node.live.by_device[h.daemons["bob"].parts.identity.me.device]
        heard = ends(h.daemons["bob"])
        ann.pumps[number].send(Pull(bytes(70_000)))
        await h.until(lambda: bool(heard))
        assert heard == ["internal"]
        await h.until(lambda: h.connected("ann") == 2)


async def test_an_archive_that_fails_while_a_link_is_made_costs_that_dial(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        honest: Callable[[], Context] = ann.look
        failed: list[int] = []

        def look() -> Context:
            if len(failed) < 3:
                failed.append(1)
                raise ArchiveError("a read failed")
            return honest()

        ann.look = look  # type: ignore[method-assign]
        await h.up("bob")
        await h.until(lambda: h.connected("ann") == 1 and h.connected("bob") == 1)
        assert len(failed) == 3


async def test_a_peer_named_at_the_start_that_cannot_be_added_ends_nothing(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        handle = ann.runner.node.handle

        def broken(event: Input, now: Now) -> list[Effect]:
            if isinstance(event, AddPeer):
                raise LocalProtocolError("a bug of ours")
            return handle(event, now)

        ann.runner.node.handle = broken  # type: ignore[method-assign]
        await ann._add_peer("10.0.0.99", None)
        await meet(h, "bob")
        await h.until(lambda: h.connected("ann") == 1)


async def test_own_statements_are_in_the_archive_before_anybody_can_connect(
    autojump_clock: MockClock,
) -> None:
    async with house() as h:
        await h.up("bob")  # so that the house has a LAN to look at
        seen: list[int] = []
        listen = type(h.lan.host("cyn", "10.0.0.77")).listen

        async def looked(lan: object, *args: object, **more: object) -> None:
            for daemon in h.daemons.values():
                if daemon.parts.lan is lan:
                    seen.append(len(list(daemon.runner.ledger.people.statements())))
            await listen(lan, *args, **more)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(h.lan.host("dan", "10.0.0.78")), "listen", looked)
            await h.up("ann")
        assert seen == [1]


async def test_a_stop_does_not_wait_for_a_dial_into_nowhere(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        answer: list[object] = []

        async def add() -> None:
            try:
                answer.append(await ann.runner.ask(lambda request: AddPeer(request, "10.0.0.99", 26700)))
            except Exception as error:  # kept, to be looked at
                answer.append(error)

        assert h.nursery is not None
        h.nursery.start_soon(add)
        await trio.sleep(0.5)
        began = trio.current_time()
        ann.stop()
        await ann._no_links.wait()
        with trio.fail_after(10):
            while ann.runner.idle.is_set() is False:
                await trio.sleep(0.1)
        assert trio.current_time() - began <= 6


async def test_strangers_in_the_door_are_bounded_and_sent_away_in_time(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        port = ann.listening.port
        where = next(iter(ann.listening.addresses)).host
        strangers = [h.lan.host(f"stranger{n}", f"10.0.9.{n + 1}") for n in range(12)]
        streams = []
        for stranger in strangers:
            for _ in range(20):
                streams.append(await stranger.dial(where, port))
        await trio.sleep(0.5)
        assert ann.gate.half_open == MAX_HALF_OPEN
        assert len(ann.pumps) == MAX_HALF_OPEN
        assert max(ann.gate._by_host.values()) == MAX_HALF_OPEN_PER_ADDRESS
        await h.up("bob")
        took = await h.until(lambda: h.connected("ann") == 1 and h.connected("bob") == 1)
        assert took <= 5, "Ann calls those she hears of herself"
        await trio.sleep(HANDSHAKE_S + 1)
        assert ann.gate.half_open == 0
        assert ann.gate._by_host == {}
        assert len(ann.pumps) == 1
        answer = await h.say("bob", "ann", "hello", wait="delivered")
        assert answer["state"] == "delivered"
