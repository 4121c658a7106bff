"""Operations about availability on a real engine, what `listen` tells, and hours of rest."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2pchat.daemon import health
from p2pchat.daemon.health import Facts
from p2pchat.daemon.quiet import LOOK_S, QuietHours, within
from p2pchat.engine import overview
from p2pchat.engine.presence_inputs import DoNotDisturb, SetPresence, TypeIn
from p2pchat.errors import CommandError
from tests.daemon.house import House, house
from tests.daemon.test_queries import Scene
from tests.daemon.test_queries import scene as scene


async def test_what_is_chosen_is_shown_and_kept(scene: Scene) -> None:
    assert await scene.call("presence.show") == {
        "state": "available",
        "shown": "available",
        "message": "",
        "until": None,
        "hidden_from": [],
        "hide_direct": False,
        "hide_rooms": False,
        "quiet_hours": "off",
        "do_not_disturb": False,
    }
    until = scene.ann.now().wall_ms + 60_000
    mine = await scene.call("presence.set", state="busy", message="back soon", until_ms=until)
    assert (mine["state"], mine["message"]) == ("busy", "back soon")
    assert mine["until"] == "2023-11-14T22:31:00.000Z"
    mine = await scene.call("presence.set", hide_from=["Bob"])
    assert mine["hidden_from"] == [{"account": scene.bob.account.hex(), "device": None, "name": "Bob"}]
    assert mine["message"] == "back soon"
    assert (await scene.call("status"))["presence"] == "busy"
    await scene.call("presence.set", state="invisible")
    assert (await scene.call("status"))["presence"] == "invisible"
    assert (await scene.refused("presence.set", state="asleep")).kind == "usage"
    assert (await scene.refused("presence.set", hide_from=["Nobody"])).kind == "no_such_target"


async def test_hours_of_rest_are_a_setting_and_reach_the_daemon(scene: Scene) -> None:
    assert (await scene.call("presence.set", quiet_hours="18:00-08:00"))["quiet_hours"] == "18:00-08:00"
    assert scene.host.hours == "18:00-08:00"
    await scene.call("config.set", key="quiet_hours", value="off")
    assert scene.host.hours == ""
    assert (await scene.refused("presence.set", state="busy", quiet_hours="late")).kind == "usage"
    assert (await scene.call("presence.show"))["state"] == "available"  # nothing of it was done


async def test_peers_and_listen_tell_of_others(scene: Scene) -> None:
    lines = scene.queries.subscribe({"types": ["peer", "presence", "typing"]}, None)  # type: ignore[arg-type]
    assert (await anext(lines))["type"] == "ready"

    async def told() -> tuple[str, Any]:
        scene.host.poke()
        with trio.fail_after(5):
            line = await anext(lines)
        return line["type"], line[line["type"]]

    scene.bob.ask(lambda r: SetPresence(r, "busy", message="in a meeting"))
    kind, bob = await told()
    assert (kind, bob["presence"], bob["status_message"]) == ("presence", "busy", "in a meeting")
    assert (await scene.call("peers.list"))["peers"] == [bob]
    scene.bob.ask(lambda r: TypeIn(r, "Ann", on=True))
    person = {"account": scene.bob.account.hex(), "device": None, "name": "Bob"}
    assert await told() == ("typing", {"room": bob["room"], "person": person, "typing": True})
    scene.bob.ask(lambda r: SetPresence(r, "invisible"))
    assert await told() == ("typing", {"room": bob["room"], "person": person, "typing": False})
    kind, bob = await told()
    assert (kind, bob["connected"], bob["address"], bob["presence"]) == ("peer", False, None, "offline")
    assert bob["last_seen"] == "2023-11-14T22:30:00.000Z"
    assert (await scene.call("status"))["peers"] == {"connected": 0, "known": 1}
    late = await scene.refused("peers.wait", name="Bob", timeout_s=0.01)
    assert late.kind == "timeout"
    await lines.aclose()  # type: ignore[attr-defined]


async def test_activity_and_typing_reach_the_others(scene: Scene) -> None:
    assert await scene.call("presence.active") == {}
    assert await scene.call("typing", target="Bob") == {}
    assert [tell.type for tell in scene.bob.told if tell.type == "typing"] == ["typing"]
    assert (await scene.refused("typing", target="Nobody")).kind == "no_such_target"


def test_doctor_says_why_nothing_is_announced() -> None:
    facts = Facts("0.1.0", 60.0, ("10.0.0.1:26700",), 10**10, ("10.0.0.1",), discovery="silent")
    found = next(one for one in health.checks(facts, []) if one["name"] == "discovery")
    assert found["ok"]
    assert "nobody is to see you" in found["detail"]
    assert "no_multicast" not in [one["kind"] for one in health.warnings(facts, recovery_key_here=False)]


# -- hours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("18:00-08:00", ("18:00", "23:59", "00:00", "07:59"), ("08:00", "12:00", "17:59")),
        ("12:30-13:15", ("12:30", "13:14"), ("12:29", "13:15", "00:00")),
        ("08:00-08:00", ("07:59", "08:00"), ()),
        ("", (), ("00:00", "12:00")),
    ],
)
def test_hours_go_over_midnight(hours: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    assert all(within(hours, minute(text)) for text in inside)
    assert not any(within(hours, minute(text)) for text in outside)


async def test_hours_begin_end_and_change(autojump_clock: MockClock) -> None:
    asked: list[tuple[float, bool]] = []

    async def ask(make: Any) -> None:
        await trio.lowlevel.checkpoint()
        command = make(1)
        assert isinstance(command, DoNotDisturb)
        if next(failures, False):
            raise CommandError("internal", "it starts over", "")
        if not asked or asked[-1][1] != command.on:
            asked.append((trio.current_time() - began, command.on))

    def minute(wall_ms: int) -> int:
        return wall_ms // 60_000 % 1440

    failures = iter([True])
    began = trio.current_time()
    hours = QuietHours("00:05-00:10", lambda: int((trio.current_time() - began) * 1000), ask, minute)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hours.run)
        await trio.sleep(720)
        hours.set("00:00-23:00")
        await trio.sleep(1)
        hours.set("")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [on for _, on in asked] == [True, False, True, False]
    times = [at for at, _ in asked]
    assert 300 <= times[0] <= 300 + 2 * LOOK_S  # the first time nobody listened
    assert 600 <= times[1] <= 600 + LOOK_S
    assert times[2:] == [720, 721]


# -- whole daemons -------------------------------------------------------------------------------


def _seen(built: House, who: str, whom: str) -> str:
    device = built.identities[whom].me.device
    peers = overview.peer_views(built.daemons[who].look())
    return next((peer.presence for peer in peers if peer.device == device), "unknown")


async def test_who_hides_from_all_announces_nothing_and_reaches_newcomers(autojump_clock: MockClock) -> None:
    async with house() as built:
        await built.up("ann")
        await built.up("bob")
        await built.until(lambda: _seen(built, "bob", "ann") == "available")
        await built.daemons["ann"].runner.ask(lambda r: SetPresence(r, "invisible"))
        await built.until(lambda: _seen(built, "bob", "ann") == "offline")
        await trio.sleep(1)
        ann = built.lan.hosts["ann"]
        assert ann.sighting() is None
        await built.up("carl")  # he cannot see her, but she hears him
        await built.until(lambda: built.connected("carl") == 2)
        assert _seen(built, "carl", "ann") == "offline"
        assert _seen(built, "ann", "carl") == "available"
        await built.say("ann", "carl", "psst")
        await built.daemons["ann"].runner.ask(lambda r: SetPresence(r, "available"))
        await built.until(lambda: _seen(built, "carl", "ann") == "available")
        await built.until(lambda: ann.sighting() is not None)
