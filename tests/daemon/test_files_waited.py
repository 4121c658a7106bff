"""Waiting for files, and what the stream tells of them, against a false mover and a false archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from p2pchat.daemon.file_queries import LOOK_AGAIN_S
from p2pchat.daemon.listening import STOPPED_S
from p2pchat.ids import EventId
from p2pchat.model import FeedRow
from tests.cli import samples
from tests.cli.contract import FIELDS
from tests.cli.samples import ANN, BOB, LAUNCH, NOON
from tests.daemon.desk import ME, Desk, desk
from tests.daemon.test_files_asked import REPORT

__all__ = ["desk"]

# -- waiting ---------------------------------------------------------------------------------


async def test_waiting_ends_when_all_are_settled(desk: Desk, autojump_clock: trio.abc.Clock) -> None:
    desk.host.reader.offers = [
        samples.transfer_view(1, state="active"),
        samples.transfer_view(2, state="done"),
    ]

    async def end() -> None:
        await trio.sleep(5)
        desk.host.reader.offers[0] = samples.transfer_view(1, state="failed", error="no space left")
        desk.host.feed_changed.set()
        desk.host.feed_changed = trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        found = (await desk.call("files.wait", ids=["f1f1f1", "f2" * 16], timeout_s=60))["transfers"]
    assert [one["state"] for one in found] == ["failed", "done"]
    assert trio.current_time() % 1000 == pytest.approx(5, abs=0.01)


async def test_waiting_ends_with_its_time_and_tells_how_it_stands(
    desk: Desk, autojump_clock: trio.abc.Clock
) -> None:
    desk.host.reader.offers = [samples.transfer_view(1, state="active")]
    began = trio.current_time()
    (one,) = (await desk.call("files.wait", ids=["f1f1f1"], timeout_s=3))["transfers"]
    assert (one["state"], trio.current_time() - began) == ("waiting", 3)
    (one,) = (await desk.call("files.wait", ids=["f1f1f1"], timeout_s=0))["transfers"]
    assert trio.current_time() - began == 3


async def test_what_is_told_by_no_line_is_noticed_all_the_same(
    desk: Desk, autojump_clock: trio.abc.Clock
) -> None:
    desk.host.reader.offers = [samples.transfer_view(1, incoming=False)]
    began = trio.current_time()

    async def end() -> None:
        await trio.sleep(10)
        desk.host.reader.offers[0] = samples.transfer_view(1, incoming=False, state="done", have=(BOB,))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        (one,) = (await desk.call("files.wait", ids=["f1f1f1"], timeout_s=60))["transfers"]
    assert one["state"] == "done"
    assert 10 <= trio.current_time() - began <= 10 + LOOK_AGAIN_S


@pytest.mark.parametrize(("ident", "kind"), [("abcdef", "no_such_target"), ("x", "no_such_target")])
async def test_waiting_for_what_is_not_there(ident: str, kind: str, desk: Desk) -> None:
    assert (await desk.refused("files.wait", ids=[ident])).kind == kind


async def test_two_that_begin_alike_are_told_apart_by_more_digits(desk: Desk) -> None:
    desk.host.reader.offers = [
        samples.transfer_view(1, id=bytes.fromhex("abcdef" + 13 * end)) for end in ("01", "02")
    ]
    error = await desk.refused("files.wait", ids=["abcdef"])
    assert error.kind == "ambiguous_target"
    assert error.message == "'abcdef' could be any of: abcdef0101010101, abcdef0202020202"


# -- the stream ------------------------------------------------------------------------------


class Stream:
    """Lines of one `listen`, each within a second of the mock clock."""

    def __init__(self, lines: AsyncIterator[Any]) -> None:
        self._lines = lines

    async def next(self) -> Any:
        with trio.fail_after(1):
            return await anext(self._lines)

    async def silent(self) -> bool:
        with trio.move_on_after(1):
            await anext(self._lines)
            return False
        return True


@asynccontextmanager
async def listening(desk: Desk, **params: Any) -> AsyncIterator[Stream]:
    lines = desk.queries.subscribe(params, ME)
    stream = Stream(lines)
    assert (await stream.next())["type"] == "ready"
    try:
        yield stream
    finally:
        await lines.aclose()  # type: ignore[attr-defined]


def happened(desk: Desk, *views: Any) -> None:
    """The feed says that these changed."""
    for view in views:
        desk.host.reader.offers = [one for one in desk.host.reader.offers if one.row.id != view.row.id] + [
            view
        ]
        cursor = 8 + len(desk.host.reader.rows)
        desk.host.reader.rows.append(FeedRow(cursor, "file", view.row.id, NOON))
    desk.host.feed_changed.set()
    desk.host.feed_changed = trio.Event()


async def test_a_change_of_a_transfer_is_a_durable_line(desk: Desk, autojump_clock: trio.abc.Clock) -> None:
    async with listening(desk) as stream:
        happened(desk, samples.transfer_view(1))
        line = await stream.next()
    assert (line["cursor"], line["type"], line["file"]["state"]) == ("8", "file", "offered")
    assert FIELDS["transfer"] <= set(line["file"])


async def test_what_moves_is_told_as_it_moves_and_not_kept(
    desk: Desk, autojump_clock: trio.abc.Clock
) -> None:
    async with listening(desk, types=["file"]) as stream:
        happened(desk, samples.transfer_view(1, state="active"))
        assert (await stream.next())["file"]["state"] == "waiting"
        assert await stream.silent() is True
    desk.host.reader.rows.clear()
    async with listening(desk, types=["file"]) as stream:  # it was on its way before
        for done in (400_000, 800_000):
            desk.host.bulk.move(REPORT, done)
            line = await stream.next()
            assert (line["cursor"], line["file"]["state"], line["file"]["bytes_done"]) == (
                "7",
                "active",
                done,
            )
        desk.host.bulk.move(REPORT, 800_000)  # the same again
        happened(desk, samples.transfer_view(1, state="done", path="/in/report.pdf"))
        line = await stream.next()
        assert (line["file"]["state"], line["file"]["path"]) == ("done", "/in/report.pdf")
        desk.host.bulk.move(REPORT, 900_000)
        happened(desk, samples.transfer_view(2))
        assert (await stream.next())["file"]["id"] == "f2" * 16, "what is settled moves no more"


async def test_what_stops_for_a_moment_is_told_by_its_end(desk: Desk, autojump_clock: trio.abc.Clock) -> None:
    desk.host.reader.offers = [samples.transfer_view(1, state="active")]
    desk.host.bulk.move(REPORT, 400_000)
    async with listening(desk) as stream:
        desk.host.bulk.stop(REPORT)
        with trio.move_on_after(STOPPED_S / 2):
            await stream.next()
            raise AssertionError("told too early")
    desk.host.reader.offers = [samples.transfer_view(1, state="active")]
    desk.host.bulk.move(REPORT, 400_000)
    async with listening(desk) as stream:
        desk.host.bulk.stop(REPORT)
        assert (await stream.next())["file"]["state"] == "waiting"
        assert await stream.silent() is True
    desk.host.bulk.move(REPORT, 400_000)
    async with listening(desk) as stream:
        desk.host.bulk.stop(REPORT)
        happened(desk, samples.transfer_view(1, state="done"))
        assert (await stream.next())["file"]["state"] == "done"
        assert await stream.silent() is True


@pytest.mark.parametrize(
    "params", [{"types": ["message"]}, {"mentions": True}, {"targets": ["launch"]}], ids=str
)
async def test_who_did_not_ask_for_files_hears_none(
    params: dict[str, Any], desk: Desk, autojump_clock: trio.abc.Clock
) -> None:
    desk.host.reader.offers = [samples.transfer_view(1, state="active")]
    async with listening(desk, **params) as stream:
        happened(desk, samples.transfer_view(1, state="active"))
        desk.host.bulk.move(REPORT, 400_000)
        assert await stream.silent() is True


async def test_a_room_hears_of_its_own_files(desk: Desk, autojump_clock: trio.abc.Clock) -> None:
    async with listening(desk, targets=["launch"]) as stream:
        happened(desk, samples.transfer_view(1), samples.transfer_view(2, room=LAUNCH, author=ANN))
        assert (await stream.next())["file"]["id"] == "f2" * 16


async def test_a_transfer_that_is_gone_is_passed_over(desk: Desk, autojump_clock: trio.abc.Clock) -> None:
    desk.host.reader.rows = [
        FeedRow(8, "file", b"\0" * 16, NOON),
        FeedRow(9, "message", EventId(b"\1" * 32), NOON),
    ]
    async with listening(desk) as stream:
        happened(desk, samples.transfer_view(1))
        assert (await stream.next())["file"]["id"] == "f1" * 16


async def test_where_nobody_moves_files_all_else_is_answered(
    desk: Desk, autojump_clock: trio.abc.Clock
) -> None:
    desk.host.reader.offers = [samples.transfer_view(1, state="active")]
    desk.host.bulk = None
    assert (await desk.refused("files.send", target="bob", paths=["/a"])).kind == "policy"
    assert (await desk.refused("files.spool")).kind == "policy"
    assert (await desk.call("files.list"))["transfers"][0]["state"] == "waiting"
    assert (await desk.call("inbox"))["files"] == []
    async with listening(desk) as stream:
        happened(desk, samples.transfer_view(1, state="active"))
        assert (await stream.next())["file"]["state"] == "waiting"
