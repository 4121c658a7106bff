"""Whole daemons keep for each other, and one that stops hands over what lies only with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from trio.testing import MockClock

from p2pchat.engine import inputs as happened
from p2pchat.model import DELIVERED, HELD
from p2pchat.store.ledger import open_ledger
from tests.daemon.house import House, house

GIVEN_UP_S = 10.0
"""5 s for handing over, then a goodbye on every link."""


async def up(h: House, folder: Path, *names: str) -> None:
    for name in names:
        await h.up(name, partial(open_ledger, folder / f"{name}.db"))


async def down(h: House, name: str) -> float:
    """Stop a daemon; how long it took."""
    assert h.nursery is not None
    running = len(h.nursery.child_tasks)
    h.daemons.pop(name).stop()
    return await h.until(lambda: h.nursery is not None and len(h.nursery.child_tasks) < running)


async def met(h: House, folder: Path) -> None:
    """Ann, Bob and Cem have met, Ann has verified Cem, Bob is off."""
    await up(h, folder, "ann", "bob", "cem")
    await h.until(lambda: [h.connected(one) for one in ("ann", "bob", "cem")] == [2, 2, 2])
    account = h.identities["cem"].me.account.hex()
    await h.daemons["ann"].runner.ask(lambda r: happened.SetTrust(r, "verify", account))
    await down(h, "bob")
    await h.until(lambda: h.connected("ann") == 1)


async def test_ann_goes_home_and_bob_who_was_off_reads_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with house() as h:
        await met(h, tmp_path)
        said = (await h.say("ann", "bob", "read this"))["id"]
        assert await down(h, "ann") < 2
        await up(h, tmp_path, "bob")
        await h.until(lambda: (view := h.view("bob", said)) is not None and view.text == "read this")
        await down(h, "bob")
        await up(h, tmp_path, "ann")
        await h.until(lambda: (view := h.view("ann", said)) is not None and view.state == DELIVERED)


async def test_who_is_silent_does_not_keep_ann_from_going_home(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with house() as h:
        await met(h, tmp_path)
        h.lan.cut("ann", "cem")
        said = (await h.say("ann", "bob", "it waits here"))["id"]
        assert await down(h, "ann") < GIVEN_UP_S
        h.lan.join("ann", "cem")
        await up(h, tmp_path, "ann")
        view = h.view("ann", said)
        assert view is not None
        assert (view.state, view.text) == ("queued", "it waits here"), "it is not lost, and nobody claims it"
        await h.until(lambda: (view := h.view("ann", said)) is not None and view.state == HELD)
