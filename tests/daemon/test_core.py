"""Whole daemons meet on a fake LAN."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.daemon.house import house


async def test_two_daemons_meet_and_talk(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.up("ann")
        await h.up("bob")
        took = await h.until(lambda: h.connected("ann") == 1 and h.connected("bob") == 1)
        assert took < 2
        answer = await h.say("ann", "bob", "hello", wait="delivered")
        assert answer["state"] == "delivered"
        view = h.view("bob", answer["id"])
        assert view is not None
        assert view.text == "hello"


async def test_a_silent_peer_is_gone_within_15_s_and_back_within_5(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.up("ann")
        await h.up("bob")
        await h.until(lambda: h.connected("ann") == 1 and h.connected("bob") == 1)
        h.lan.cut("ann", "bob")
        gone = await h.until(lambda: h.connected("ann") == 0)
        assert gone <= 15
        answer = await h.say("ann", "bob", "while away")
        assert answer["state"] == "queued"
        await trio.sleep(60)
        h.lan.join("ann", "bob")
        back = await h.until(
            lambda: (v := h.view("ann", answer["id"])) is not None and v.state == "delivered"
        )
        assert back <= 5


async def test_a_daemon_stops_in_good_order(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        await h.up("bob")
        await h.until(lambda: h.connected("bob") == 1)
        ann.stop()
        await h.until(lambda: h.connected("bob") == 0, 3)
