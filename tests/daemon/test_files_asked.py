"""Operations about files against a false mover and a false archive: what is asked, and how it is told."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2pchat.daemon.moving import Moving
from p2pchat.engine.file_inputs import FileAct, FileAuto
from p2pchat.engine.inputs import Post
from p2pchat.errors import CommandError
from p2pchat.files.source import Left
from p2pchat.model import FileBrief
from p2pchat.wire.limits import MAX_FILES
from tests.cli import samples
from tests.cli.contract import FIELDS
from tests.cli.samples import ANN, BOB, CARL, LAUNCH, NOON
from tests.daemon.desk import Desk, desk
from tests.daemon.false_bulk import offer

__all__ = ["desk"]

REPORT = samples.transfer_view(1).row.id


def posted(desk: Desk, *numbers: int) -> str:
    """The engine takes the next message, and these transfers are in it; its id."""
    message = samples.view(
        9, "", mine=True, files=tuple(FileBrief(bytes([0xF0 + n]) * 16, "report.pdf", 1) for n in numbers)
    )
    desk.host.reader.views.append(message)
    desk.host.reader.offers += [samples.transfer_view(n, incoming=False) for n in numbers]
    desk.host.answer = {"id": message.id.hex(), "room": message.room.hex(), "state": "queued"}
    return message.id.hex()


# -- offering -------------------------------------------------------------------------------


async def test_files_are_prepared_and_offered_in_one_message(desk: Desk) -> None:
    message = posted(desk, 1, 2)
    answer = await desk.call("files.send", target="bob", paths=["/a/report.pdf", "/b"], text="look", key="k")
    assert desk.host.bulk.prepared == [("/a/report.pdf", 0), ("/b", 0)]
    offers = ((offer("report.pdf", 1), "/a/report.pdf"), (offer("b", 2), "/b"))
    assert desk.host.posted == [Post(1, "bob", "look", key="k", files=offers)]
    assert (answer["id"], answer["state"]) == (message, "queued")
    assert [one["id"] for one in answer["transfers"]] == ["f1" * 16, "f2" * 16]
    assert FIELDS["transfer"] <= set(answer["transfers"][0])
    assert desk.host.bulk.dropped == []


async def test_files_are_offered_for_as_long_as_the_room_keeps_them(desk: Desk) -> None:
    posted(desk, 1)
    desk.host.looks.rooms_known = [samples.room_view(retention_days=30)]
    await desk.call("files.send", target="launch", paths=["/a"])
    assert desk.host.bulk.prepared == [("/a", 30 * 86_400)]
    spool = (await desk.call("files.spool"))["spool"]
    await desk.call("files.send", target="launch", spool=spool, name="x")
    assert desk.host.posted[-1].files[0][0].ttl_s == 30 * 86_400


async def test_what_of_a_folder_does_not_go_along_is_told_once(desk: Desk) -> None:
    posted(desk, 1, 2)
    for method, params in (("files.send", {"paths": ["/a"]}), ("send", {"text": "", "files": ["/a"]})):
        desk.host.bulk.left_out = {offer("a", n).id: Left(links=2, special=1) for n in (1, 2)}
        answer = await desk.call(method, target="bob", **params)
        assert answer["left"] == [{"path": "/a", "links": 2, "special": 1, "closed": 0}]
        assert len(desk.host.bulk.left_out) == 1
    desk.host.bulk.left_out = {offer("a", 3).id: Left(links=2)}
    assert "left" not in await desk.call("files.send", target="bob", paths=["/a"], key="used before")
    assert desk.host.bulk.left_out == {}


async def test_what_no_message_offers_is_let_go(desk: Desk) -> None:
    desk.host.refusal = CommandError("no_right", "only owners and moderators write here")
    assert (await desk.refused("files.send", target="launch", paths=["/a", "/b"])).kind == "no_right"
    assert desk.host.bulk.dropped == [offer("a", 1).id, offer("b", 2).id]


async def test_a_key_used_before_gives_the_first_message_and_lets_the_second_look_go(desk: Desk) -> None:
    posted(desk, 7)
    answer = await desk.call("files.send", target="bob", paths=["/a"], key="k")
    assert [one["id"] for one in answer["transfers"]] == ["f7" * 16]
    assert desk.host.bulk.dropped == [offer("a", 1).id]


async def test_one_file_that_is_not_there_offers_nothing(desk: Desk) -> None:
    desk.host.bulk.missing = {"/c"}
    error = await desk.refused("files.send", target="bob", paths=["/a", "/b", "/c"])
    assert (error.kind, error.message) == ("no_such_target", "no file '/c'")
    assert desk.host.posted == []
    assert desk.host.bulk.dropped == [offer("a", 1).id, offer("b", 2).id]


async def test_nobody_of_that_name_is_told_before_a_folder_is_looked_through(desk: Desk) -> None:
    assert (await desk.refused("files.send", target="nobody", paths=["/a"])).code == 4
    assert desk.host.bulk.prepared == []


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"paths": ["/a"], "spool": "spool-1", "name": "x"},
        {"paths": ["/a"], "name": "x"},
        {"spool": "spool-1"},
        {"paths": ["a"]},
        {"paths": ["/a\0b"]},
        {"paths": ["/a"] * (MAX_FILES + 1)},
    ],
    ids=str,
)
async def test_what_cannot_be_offered_is_usage(params: dict[str, Any], desk: Desk) -> None:
    desk.host.bulk.spools["spool-1"] = b""
    error = await desk.refused("files.send", target="bob", **params)
    assert (error.kind, bool(error.hint)) == ("usage", True)
    assert (desk.host.posted, desk.host.bulk.prepared) == ([], [])


async def test_what_is_piped_in_is_kept_and_offered_by_its_name(desk: Desk) -> None:
    spool = (await desk.call("files.spool"))["spool"]
    for part in (b"one ", b"two"):
        data = base64.b64encode(part).decode()
        assert await desk.call("files.spool_add", spool=spool, data=data) == {"bytes": len(part)}
    assert desk.host.bulk.spools == {spool: b"one two"}
    posted(desk, 1)
    await desk.call("files.send", target="bob", spool=spool, name="build.log")
    assert desk.host.posted[0].files == ((offer("build.log", 1), f"/staging/{spool}"),)
    assert await desk.call("files.spool_drop", spool=spool) == {"spool": spool}
    assert desk.host.bulk.spools == {}


async def test_a_piece_of_what_is_piped_in_is_base64_of_at_most_48_KiB(desk: Desk) -> None:
    spool = (await desk.call("files.spool"))["spool"]
    most = base64.b64encode(b"x" * 49152).decode()
    assert await desk.call("files.spool_add", spool=spool, data=most) == {"bytes": 49152}
    for bad in (most + "AAAA", "a", "äöü=", "AA AA"):
        assert (await desk.refused("files.spool_add", spool=spool, data=bad)).kind == "usage"


async def test_send_offers_files_beside_a_text(desk: Desk) -> None:
    posted(desk, 1)
    answer = await desk.call("send", target="bob", text="look", files=["/a/report.pdf"], urgent=True)
    (post,) = desk.host.posted
    assert (post.text, post.urgent) == ("look", True)
    assert post.files == ((offer("report.pdf", 1), "/a/report.pdf"),)
    assert [one["direction"] for one in answer["transfers"]] == ["out"]
    posted(desk)
    assert "transfers" not in await desk.call("send", target="bob", text="hi")
    assert (await desk.refused("send", target="bob", text="x", files=["/a"], at_ms=NOON)).kind == "usage"


async def test_waiting_in_vain_for_delivery_keeps_what_was_offered(desk: Desk) -> None:
    message = posted(desk, 1)
    desk.host.refusal = CommandError("timeout", "not yet", "", {"id": message, "state": "queued"})
    error = await desk.refused("send", target="bob", text="x", files=["/a"], wait="delivered")
    assert error.kind == "timeout"
    assert desk.host.bulk.dropped == []


# -- looking ---------------------------------------------------------------------------------


async def test_transfers_are_listed_newest_first_a_page_at_a_time(desk: Desk) -> None:
    desk.host.reader.offers = [samples.transfer_view(n, have=(BOB, CARL)) for n in (2, 1, 3)]
    found = await desk.call("files.list")
    assert [one["id"][:2] for one in found["transfers"]] == ["f3", "f2", "f1"]
    assert (found["has_more"], found["transfers"][0]["have"]) == (False, [])
    first = await desk.call("files.list", limit=2, have=True)
    assert [one["id"][:2] for one in first["transfers"]] == ["f3", "f2"]
    assert first["has_more"] is True
    assert [one["name"] for one in first["transfers"][0]["have"]] == ["Bob", "Carl"]
    rest = await desk.call("files.list", limit=2, before="f2f2f2")
    assert [one["id"][:2] for one in rest["transfers"]] == ["f1"]
    assert rest["has_more"] is False
    assert (await desk.refused("files.list", limit=0)).kind == "usage"
    assert (await desk.refused("files.list", before="abcdef")).code == 4


async def test_a_page_ends_where_it_would_name_too_many_people(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pchat.daemon.file_queries.MAX_PEOPLE", 3)
    desk.host.reader.offers = [samples.transfer_view(n, have=(BOB, CARL)) for n in (1, 2, 3)]
    found = await desk.call("files.list", have=True)
    assert ([one["id"][:2] for one in found["transfers"]], found["has_more"]) == (["f3"], True)
    assert len((await desk.call("files.list"))["transfers"]) == 3


async def test_every_field_of_what_comes_in(desk: Desk) -> None:
    view = samples.transfer_view(1, state="active", name="invoice.pdf.exe", expires_ms=NOON, to="/srv")
    desk.host.reader.offers = [view]
    (waiting,) = (await desk.call("files.list"))["transfers"]
    assert waiting == {
        "id": "f1" * 16,
        "name": "invoice.pdf.exe",
        "size": 1_200_000,
        "files": 1,
        "direction": "in",
        "peer": {"account": "b0" * 32, "device": "b2" * 32, "name": "Bob"},
        "room": "c0" * 32,
        "room_name": "Bob",
        "kind": "direct",
        "message": "e1" * 32,
        "state": "waiting",
        "bytes_done": 0,
        "rate_bps": 0,
        "pieces": None,
        "pieces_here": None,
        "path": None,
        "folder": "/srv",
        "sources": 0,
        "have": [],
        "declined": [],
        "flags": ["double_extension", "executable"],
        "error": None,
        "offered_at": "2026-11-23T12:01:00.000Z",
        "expires": "2026-11-23T12:00:00.000Z",
    }
    desk.host.bulk.move(REPORT, 600_000, 1234.6)
    (moving,) = (await desk.call("files.list"))["transfers"]
    assert (moving["state"], moving["bytes_done"], moving["rate_bps"]) == ("active", 600_000, 1235)
    assert (moving["sources"], moving["pieces"], moving["pieces_here"]) == (1, 2, 0)


async def test_a_path_is_told_when_it_is_done_and_not_before(desk: Desk) -> None:
    told = []
    for state in ("offered", "active", "paused", "failed", "done"):
        desk.host.reader.offers = [samples.transfer_view(1, state=state, path="/in/report.pdf")]
        (one,) = (await desk.call("files.list"))["transfers"]
        told.append((one["path"], one["folder"], one["bytes_done"]))
    assert told == [(None, "/home/ann/inbox", 0)] * 4 + [("/in/report.pdf", "/home/ann/inbox", 1_200_000)]


async def test_what_is_paused_tells_how_far_it_is(desk: Desk) -> None:
    """From what is kept of it; a log that can not be read spoils nothing else."""
    desk.host.reader.offers = [samples.transfer_view(n, state="paused") for n in (1, 2)]
    desk.host.bulk.at_rest[REPORT] = Moving(600_000, 0.0, 0, 1, 2, "waiting")
    unread, paused = (await desk.call("files.list"))["transfers"]
    assert (paused["state"], paused["bytes_done"], paused["pieces_here"]) == ("paused", 600_000, 1)
    assert (paused["rate_bps"], paused["sources"]) == (0, 0)
    assert (unread["state"], unread["bytes_done"], unread["pieces_here"]) == ("paused", 0, None)


async def test_what_goes_out_names_whom_it_is_for(desk: Desk) -> None:
    desk.host.reader.offers = [
        samples.transfer_view(1, incoming=False, state="declined", declined=(BOB,), name="run.exe"),
        samples.transfer_view(
            2,
            incoming=False,
            state="failed",
            room=LAUNCH,
            error_kind="source_changed",
            error="it was changed",
        ),
    ]
    room, direct = (await desk.call("files.list"))["transfers"]
    assert (direct["direction"], direct["peer"]["name"]) == ("out", "Bob")
    assert [one["name"] for one in direct["declined"]] == ["Bob"]
    assert (direct["flags"], direct["folder"]) == ([], None), "what is mine warns nobody"
    assert (room["peer"], room["room_name"], room["kind"]) == (None, "launch", "room")
    assert room["error"] == {"kind": "source_changed", "message": "it was changed"}


async def test_the_inbox_tells_what_is_offered_to_me(desk: Desk) -> None:
    desk.host.reader.offers = [
        samples.transfer_view(1),
        samples.transfer_view(2, state="declined"),
        samples.transfer_view(3, incoming=False),
        samples.transfer_view(4, state="active"),
        samples.transfer_view(5, author=ANN),  # from another machine of mine
    ]
    found = await desk.call("inbox")
    assert [(one["id"][:2], one["state"]) for one in found["files"]] == [("f1", "offered")]


async def test_a_message_names_its_files(desk: Desk) -> None:
    posted(desk, 1)
    (message,) = (await desk.call("history", target="bob"))["messages"]
    assert message["files"] == [{"id": "f1" * 16, "name": "report.pdf", "size": 1}]


# -- deciding --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "act"),
    [
        ("files.accept", {}, FileAct(1, "accept", "f1f1f1")),
        (
            "files.accept",
            {"to": "/", "conflict": "skip"},
            FileAct(1, "accept", "f1f1f1", "/", "skip"),
        ),
        ("files.decline", {}, FileAct(1, "decline", "f1f1f1")),
        ("files.pause", {}, FileAct(1, "pause", "f1f1f1")),
        ("files.resume", {}, FileAct(1, "resume", "f1f1f1")),
        ("files.cancel", {}, FileAct(1, "cancel", "f1f1f1")),
    ],
    ids=str,
)
async def test_acts_become_one_command_and_answer_the_transfer(
    method: str, params: dict[str, Any], act: FileAct, desk: Desk
) -> None:
    desk.host.answer = {"transfer": samples.transfer_view(1, state="paused")}
    answer = await desk.call(method, id="f1f1f1", **params)
    assert desk.host.posted == [act]
    assert (set(answer), answer["transfer"]["state"]) == ({"transfer"}, "paused")
    assert FIELDS["transfer"] <= set(answer["transfer"])


@pytest.mark.parametrize("served", [True, False])
async def test_what_others_can_have_of_what_i_received(desk: Desk, served: bool) -> None:
    """`file list --have` says of it whether it is still given: `file cancel` ends that."""
    view = samples.transfer_view(1, state="done")
    desk.host.reader.offers = [replace(view, row=replace(view.row, served=served))]
    (found,) = (await desk.call("files.list", have=True))["transfers"]
    assert [one["account"] for one in found["have"]] == (
        [desk.host.looks.me().account.hex()] if served else []
    )
    (found,) = (await desk.call("files.list"))["transfers"]
    assert found["have"] == [], "only where it was asked for"


async def test_accepting_needs_an_absolute_folder(desk: Desk) -> None:
    assert (await desk.refused("files.accept", id="f1f1f1", to="in")).kind == "usage"
    assert (await desk.refused("files.accept", id="f1f1f1", conflict="ask")).kind == "usage"
    assert desk.host.posted == []


async def test_accepting_needs_a_folder_that_is_there_and_open(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait for one, and nobody would know."""
    missing = await desk.refused("files.accept", id="f1f1f1", to=str(tmp_path / "gone"))
    assert (missing.kind, missing.message) == ("no_such_target", f"no folder '{tmp_path}/gone'")
    (tmp_path / "file").touch()
    assert (await desk.refused("files.accept", id="f1f1f1", to=str(tmp_path / "file"))).code == missing.code
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))
    closed = await desk.refused("files.accept", id="f1f1f1", to=str(tmp_path))
    assert (closed.kind, str(tmp_path) in closed.message) == ("unsafe_path", True)
    assert desk.host.posted == []


async def test_taking_without_being_asked_says_up_to_what_size(desk: Desk) -> None:
    desk.host.answer = {"account": BOB.hex(), "auto": True}
    answer = await desk.call("files.auto", person="bob", on=True)
    assert answer == {"account": BOB.hex(), "name": "Bob", "auto": True, "max_bytes": 5_000_000}
    assert desk.host.posted == [FileAuto(1, "bob", True)]
    assert (await desk.refused("files.auto", person="nobody", on=True)).code == 4
