"""Operations about rooms against a false node and a false archive: what is asked, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from p2pchat.daemon.room_queries import DESCRIBED_WITHIN_S
from p2pchat.engine import inputs
from p2pchat.engine.inputs import Tell
from p2pchat.ids import EventId, RoomId
from p2pchat.model import (
    FeedRow,
    Gap,
    Progress,
    QueueRow,
)
from tests.cli import samples
from tests.cli.contract import FIELDS
from tests.cli.samples import ANN, ANN_BOX, BOB, BOB_BOX, CARL, CARL_BOX, CHAT, LAUNCH, NOON
from tests.daemon.desk import ME, STRANGER, Desk, desk, said

__all__ = ["desk"]


# -- rooms --------------------------------------------------------------------------------


async def test_rooms_are_listed_with_every_field(desk: Desk) -> None:
    desk.host.reader.unread_of = {LAUNCH: 4}
    (room,) = (await desk.call("rooms.list"))["rooms"]
    assert FIELDS["room"] <= set(room)
    assert (room["name"], room["kind"], room["unread"], room["peer"]) == ("launch", "room", 4, None)
    assert (room["role"], room["history"], room["retention"]) == ("owner", "all", 0)
    assert (room["epoch"], room["mute"]) == ("e0" * 16, None)
    assert desk.host.looks.asked == [("room_views", False, None)]
    await desk.call("rooms.list", all=True, member="bob")
    assert desk.host.looks.asked[-1] == ("room_views", True, BOB)
    await desk.call("rooms.list", member="ann")
    assert desk.host.looks.asked[-1] == ("room_views", False, ANN)
    assert (await desk.refused("rooms.list", member="nobody")).code == 4


async def test_a_direct_chat_is_told_as_one(desk: Desk) -> None:
    desk.host.looks.rooms_known = [
        samples.room_view(id=CHAT, kind="direct", name="", peer=BOB, role="", epoch=None, muted_until_ms=-1)
    ]
    (chat,) = (await desk.call("rooms.list"))["rooms"]
    assert (chat["name"], chat["kind"], chat["peer"]["name"]) == ("Bob", "direct", "Bob")
    assert (chat["role"], chat["epoch"]) == (None, None)
    assert chat["mute"] == {"until": None, "mentions_only": False}


async def test_members_are_told_with_their_machines(desk: Desk) -> None:
    found = await desk.call("rooms.members", room="launch")
    assert found["room"] == {"id": LAUNCH.hex(), "name": "launch", "kind": "room"}
    ann, bob, carl = found["members"]
    assert set(ann) == FIELDS["member"]
    assert [one["this"] for one in ann["devices"]] == [True]
    assert bob["devices"][0]["last_seen"] == "2026-11-23T12:00:00.000Z"
    assert (carl["name"], carl["role"], carl["devices"]) == ("Carl", "member", [])
    assert (await desk.refused("rooms.members", room="nowhere")).kind == "no_such_target"


@pytest.mark.parametrize("after_s", [0.5, None])
async def test_who_joins_waits_a_little_for_topic_and_rules(
    after_s: float | None, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    bare = replace(samples.room_view(), topic="", rules="", described=False)
    desk.host.answer = {"room": bare}
    desk.host.looks.rooms_known = [bare]

    async def come() -> None:
        if after_s is not None:
            await trio.sleep(after_s)
            desk.host.looks.rooms_known = [samples.room_view()]

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        room = (await desk.call("rooms.join", room="launch"))["room"]
    came = after_s is not None
    assert room["topic"] == ("the first of May" if came else "")
    assert trio.current_time() - began == pytest.approx(after_s or DESCRIBED_WITHIN_S, abs=0.1)


ACTS: list[tuple[str, dict[str, Any], Any]] = [
    (
        "rooms.create",
        {"name": "launch", "topic": "t", "admission": "office", "announce": True, "rules": "be kind"},
        inputs.CreateRoom(1, "launch", "t", "office", True, "all", "be kind"),
    ),
    ("rooms.join", {"room": "launch"}, inputs.RoomAct(1, "join", "launch")),
    ("rooms.leave", {"room": "launch"}, inputs.RoomAct(1, "leave", "launch")),
    (
        "rooms.remove",
        {"room": "launch", "person": "bob"},
        inputs.RoomAct(1, "remove", "launch", ("bob",)),
    ),
    (
        "rooms.role",
        {"room": "launch", "person": "bob", "role": "moderator"},
        inputs.RoomAct(1, "role", "launch", ("bob",), "moderator"),
    ),
    (
        "rooms.set",
        {"room": "launch", "topic": "", "announce": False, "retention": 30, "admission": "closed"},
        inputs.RoomAct(
            1,
            "set",
            "launch",
            changes=(("topic", ""), ("admission", "closed"), ("announce", "0"), ("retention", "30")),
        ),
    ),
    ("rooms.mute", {"room": "bob", "until_ms": NOON}, inputs.Mute(1, "bob", NOON)),
    ("rooms.mute", {"room": "bob", "mentions_only": True}, inputs.Mute(1, "bob", None, True)),
    ("rooms.mute", {"room": "bob", "off": True}, inputs.Mute(1, "bob", off=True)),
]


@pytest.mark.parametrize(
    ("method", "params", "posted"), ACTS, ids=lambda one: one if isinstance(one, str) else ""
)
async def test_acts_become_one_command_and_answer_the_room(
    method: str, params: dict[str, Any], posted: Any, desk: Desk
) -> None:
    answer = await desk.call(method, **params)
    assert desk.host.posted == [posted]
    assert FIELDS["room"] <= set(answer["room"])
    assert set(answer) == {"room"}


async def test_a_crowd_is_invited_in_portions_after_a_look_at_all(desk: Desk) -> None:
    people = [f"p{n:02d}" for n in range(40)]
    fresh = tuple(f"{n:064x}" for n in range(39))
    desk.host.answer.update(people=fresh, added=(BOB,))
    answer = await desk.call("rooms.invite", room="launch", people=people)
    assert FIELDS["room"] <= set(answer["room"])
    assert [one["name"] for one in answer["added"]] == ["Bob"] * 3, "those of every portion"
    assert desk.host.posted == [
        inputs.RoomAct(1, "invitable", "launch", tuple(people)),
        inputs.RoomAct(1, "invite", "launch", fresh[:16], more=True),
        inputs.RoomAct(1, "invite", "launch", fresh[16:32], more=True),
        inputs.RoomAct(1, "invite", "launch", fresh[32:]),
    ]
    desk.host.posted.clear()
    desk.host.answer["people"] = ()
    await desk.call("rooms.invite", room="launch", people=people)
    assert desk.host.posted[1:] == [inputs.RoomAct(1, "invite", "launch", ("p00",))], "all are in already"


async def test_who_came_in_by_an_invitation_is_told_and_nobody_else(desk: Desk) -> None:
    desk.host.answer["added"] = (CARL,)
    answer = await desk.call("rooms.invite", room="launch", people=["bob", "carl"])
    assert desk.host.posted == [inputs.RoomAct(1, "invite", "launch", ("bob", "carl"))]
    assert answer["added"] == [{"account": CARL.hex(), "device": None, "name": "Carl"}]


async def test_a_warning_of_the_engine_is_passed_on(desk: Desk) -> None:
    desk.host.answer = {"room": samples.room_view(), "added": (), "warning": "another key uses the name"}
    assert (await desk.call("rooms.invite", room="launch", people=["bob"]))["warning"]


async def test_removing_everywhere_answers_every_room(desk: Desk) -> None:
    desk.host.answer = {"rooms": (samples.room_view(), samples.room_view(name="other"))}
    found = await desk.call("rooms.remove", person="bob")
    assert desk.host.posted == [inputs.RoomAct(1, "remove", "", ("bob",))]
    assert [room["name"] for room in found["rooms"]] == ["launch", "other"]


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("rooms.invite", {"room": "launch", "people": []}, "usage"),
        ("rooms.set", {"room": "launch"}, "usage"),
        ("rooms.set", {"room": "launch", "retention": -1}, "usage"),
        ("rooms.set", {"room": "launch", "retention": 40_000}, "usage"),
        ("rooms.set", {"room": "launch", "history": "some"}, "usage"),
        ("rooms.set", {"room": "launch", "rules": "ü" * 8193}, "too_long"),
        ("rooms.create", {"name": "x", "rules": "x" * 16_385}, "too_long"),
        ("rooms.create", {"name": "x", "admission": "closed"}, "usage"),
        ("rooms.role", {"room": "launch", "person": "bob", "role": "king"}, "usage"),
        ("rooms.mute", {"room": "launch", "off": True, "until_ms": 3}, "usage"),
        ("rooms.mute", {"room": "launch", "off": True, "mentions_only": True}, "usage"),
        ("send", {"target": "launch", "text": "x", "ack_by_ms": NOON}, "usage"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_the_engine(
    method: str, params: dict[str, Any], kind: str, desk: Desk
) -> None:
    error = await desk.refused(method, **params)
    assert (error.kind, bool(error.hint)) == (kind, True)
    assert desk.host.posted == []


# -- messages in rooms ----------------------------------------------------------------------


async def test_an_own_message_tells_how_far_it_has_come(desk: Desk) -> None:
    desk.host.reader.views = [said(1), said(2, mine=True, state="queued")]
    desk.host.looks.progress_now = Progress((BOB, CARL), (BOB,), 5)
    other, own = (await desk.call("history", target="#launch"))["messages"]
    assert (other["progress"], other["delivered_to"], other["ack"]) == (None, [], None)
    assert own["progress"] == {"delivered": 2, "read": 1, "of": 5}
    assert [one["name"] for one in own["delivered_to"]] == ["Bob", "Carl"]
    assert [one["account"] for one in own["read_by"]] == [BOB.hex()]
    assert (own["kind"], own["room_name"]) == ("room", "launch")
    assert desk.host.reader.asked == []  # nobody is asked to take note: nothing to look up


async def test_who_has_taken_note_is_told_with_the_message_and_alone(desk: Desk) -> None:
    desk.host.reader.views = [said(1, mine=True, ack_by_ms=NOON), said(2, ack_by_ms=0), said(3)]
    desk.host.reader.noted = (CARL,)
    first, second, third = (await desk.call("history", target="launch"))["messages"]
    assert set(first["ack"]) == FIELDS["ack"]
    assert first["ack"]["by_time"] == "2026-11-23T12:00:00.000Z"
    assert [one["name"] for one in first["ack"]["missing"]] == ["Bob"]
    assert second["ack"]["by_time"] is None
    assert third["ack"] is None
    found = await desk.call("acks", id=first["id"][:12])
    assert found == {"id": first["id"], "room": LAUNCH.hex(), **first["ack"]}
    assert (await desk.call("acks", id="last", target="launch"))["id"] == first["id"]
    assert (await desk.refused("acks", id=third["id"])).kind == "usage"
    assert (await desk.refused("acks", id="last")).kind == "usage"
    assert (await desk.refused("acks", id="last", target="bob")).kind == "no_such_target"
    assert (await desk.refused("acks", id="ffffff")).kind == "no_such_target"


async def test_asking_and_taking_note_reach_the_engine(desk: Desk) -> None:
    desk.host.answer = {"id": "ab", "room": "cd", "state": "queued"}
    await desk.call("send", target="launch", text="read this", ack=True, ack_by_ms=NOON)
    (post,) = desk.host.posted
    assert (post.ack, post.ack_by_ms) == (True, NOON)
    desk.host.answer = {"id": "ab", "target": "cd", "room": "ef", "state": "received"}
    assert await desk.call("ack", id="abcdef") == desk.host.answer
    assert desk.host.posted[-1] == inputs.Change(1, "ack", "abcdef")


async def test_notices_and_gaps_stand_in_a_page(desk: Desk) -> None:
    desk.host.reader.notices_of = [samples.notice(1, "created"), samples.notice(2, "added", who=BOB)]
    desk.host.reader.gaps_of = [Gap(BOB_BOX, 3, 5), Gap(CARL_BOX, 1, 9)]
    desk.host.looks.holders = (
        ANN_BOX,
    )  # who knows the node, which also says that Carl's are not ours to have
    page = await desk.call("history", target="launch")
    created, added = page["notices"]
    assert FIELDS["notice"] <= set(created)
    assert (created["type"], created["by"]["name"], created["who"]) == ("created", "Ann", None)
    assert (added["who"]["name"], added["at"]) == ("Bob", "2026-11-23T12:02:00.000Z")
    (gap,) = page["gaps"]
    assert FIELDS["gap"] <= set(gap)
    assert (gap["name"], gap["holders"][0]["name"]) == ("Bob", "Ann")
    assert page["messages"] == []
    assert (await desk.call("history", target="launch", pinned=True))["notices"] == []


async def test_unread_messages_come_with_what_happened_since(desk: Desk) -> None:
    reader = desk.host.reader
    reader.notices_of = [samples.notice(n, "joined", by=CARL) for n in (1, 3, 5)]
    assert (await desk.call("read.open", target="launch"))["notices"] == []
    reader.views = [said(2), said(4)]
    page = await desk.call("read.open", target="launch")
    assert [notice["at"][11:16] for notice in page["notices"]] == ["12:03", "12:05"]
    page = await desk.call("read.open", target="launch", limit=1)
    assert ([n["at"][11:16] for n in page["notices"]], page["has_more"]) == (["12:03"], True)


async def test_what_waits_in_a_room_waits_for_those_who_have_it_not(desk: Desk) -> None:
    waiting = said(1, mine=True, state="queued")
    desk.host.reader.views = [waiting]
    desk.host.reader.waiting = [
        QueueRow(waiting.id, LAUNCH, (), "queued", NOON, "hello"),
        QueueRow(EventId(b"draft-0123"), LAUNCH, (), "scheduled", NOON, "later", at_ms=NOON + 1),
        QueueRow(EventId(bytes(32)), RoomId(bytes([9]) * 32), (), "queued", NOON, "gone"),
        QueueRow(EventId(bytes(32)), CHAT, (BOB,), "queued", NOON, "direct"),
    ]
    told = (await desk.call("queue.list"))["queue"]
    assert [[one["name"] for one in row["to"]] for row in told] == [["Carl"], ["Bob", "Carl"], [], ["Bob"]]
    assert [row["held_by"] for row in told] == [[], [], [], []]
    assert [row["attempts"] for row in told] == [1, 0, 0, 1], "of these people; a draft is not tried"
    desk.host.reader.views = [said(1, mine=True, state="held")]
    first = (await desk.call("queue.list"))["queue"][0]
    assert [one["name"] for one in first["held_by"]] == ["Bob"]


# -- the inbox ------------------------------------------------------------------------------


async def test_the_inbox_shows_rooms_a_stranger_added_me_to(desk: Desk) -> None:
    reader = desk.host.reader
    reader.notices_of = [
        samples.notice(0, "created", by=BOB),
        samples.notice(1, "added", by=BOB, who=CARL),
        samples.notice(2, "added", by=BOB, who=ANN),
    ]
    (request,) = (await desk.call("inbox"))["requests"]
    assert request == {
        "kind": "room", "room": LAUNCH.hex(), "name": "launch", "at": "2026-11-23T12:02:00.000Z",
        "by": {"account": BOB.hex(), "device": samples.BOB_BOX.hex(), "name": "Bob"},
    }  # fmt: skip
    reader.views = [said(1, mine=True)]  # said before I was added (again): changes nothing
    assert (await desk.call("inbox"))["requests"] == [request]
    reader.views = [said(3, mine=True)]
    assert (await desk.call("inbox"))["requests"] == []
    reader.views = []
    desk.host.looks.peers = [replace(STRANGER, trust="verified")]
    assert (await desk.call("inbox"))["requests"] == []


async def test_the_inbox_shows_what_waits_for_my_note(desk: Desk) -> None:
    desk.host.reader.views = [said(1, "read  this\n" + "x" * 200, ack_by_ms=NOON), said(2)]
    desk.host.reader.unread_of = {LAUNCH: 2}
    found = await desk.call("inbox")
    (entry,) = found["acks"]
    assert (entry["name"], entry["author"]["name"], entry["room"]) == ("launch", "Bob", LAUNCH.hex())
    assert entry["by_time"] == "2026-11-23T12:00:00.000Z"
    assert (entry["preview"][:11], len(entry["preview"])) == ("read this x", 80)
    assert found["unread"] == [{"room": LAUNCH.hex(), "name": "launch", "count": 2, "mentions": 0}]


# -- listen ---------------------------------------------------------------------------------


async def heard(desk: Desk, count: int, **params: Any) -> list[dict[str, Any]]:
    lines = desk.queries.subscribe({"since": 0, **params}, ME)
    with trio.fail_after(5):
        found = [await anext(lines) for _ in range(count + 1)]
    await lines.aclose()  # type: ignore[attr-defined]
    return [dict(line) for line in found[1:]]


def row(cursor: int, type: str, ref: bytes, **detail: str) -> FeedRow:
    return FeedRow(cursor, type, ref, NOON, tuple(detail.items()))


async def test_listen_tells_what_happened_to_a_room(desk: Desk) -> None:
    message = said(1)
    desk.host.reader.views = [message]
    desk.host.reader.unread_of = {LAUNCH: 1}
    desk.host.reader.rows = [
        row(1, "room", LAUNCH, change="added", by=ANN.hex(), who=BOB.hex()),
        row(2, "room", RoomId(bytes([9]) * 32), change="joined", by=BOB.hex()),  # not known any more
        row(3, "message", message.id),
        row(4, "room", LAUNCH, change="settings", by=ANN.hex(), who="", detail="history"),
    ]
    added, told, changed = await heard(desk, 3)
    assert (added["cursor"], added["type"]) == ("1", "room")
    assert {*FIELDS["room"], "change"} <= set(added["room"])
    assert (added["room"]["change"], added["room"]["unread"]) == ("added", 1)
    assert (added["room"]["by"]["name"], added["room"]["who"]["name"]) == ("Ann", "Bob")
    assert told["message"]["text"] == "hello"
    assert (changed["room"]["who"], changed["room"]["detail"]) == (None, "history")
    (told,) = await heard(desk, 1, types=["message"])
    assert told["cursor"] == "3"
    first, second = await heard(desk, 2, types=["room"], targets=["launch"])
    assert (first["cursor"], second["cursor"]) == ("1", "4")


async def test_a_room_as_target_hears_of_no_peers_and_no_other_room(desk: Desk) -> None:
    desk.host.reader.rows = [
        row(1, "room", LAUNCH, change="joined", by=BOB.hex()),
        row(2, "message", said(2).id),
    ]
    desk.host.reader.views = [said(2)]
    lines = desk.queries.subscribe({"since": 0, "targets": ["bob"]}, ME)
    with trio.fail_after(5):
        assert (await anext(lines))["type"] == "ready"
        for listener in desk.host.tells.values():
            listener(Tell("peer", BOB))
        assert (await anext(lines))["type"] == "peer"
    await lines.aclose()  # type: ignore[attr-defined]
    lines = desk.queries.subscribe({"since": 0, "targets": ["launch"]}, ME)
    with trio.fail_after(5):
        assert (await anext(lines))["type"] == "ready"
        for listener in desk.host.tells.values():
            listener(Tell("peer", BOB))
            listener(Tell("warning", ("disk", "nearly full")))
        assert [(await anext(lines))["type"] for _ in range(3)] == ["room", "message", "warning"]
    await lines.aclose()  # type: ignore[attr-defined]


async def test_people_are_meant_where_only_people_can_be(desk: Desk) -> None:
    assert (await desk.refused("peers.forget", target="launch")).code == 4
    assert desk.host.posted == []
    assert await desk.call("peers.forget", target="bob") == {"account": BOB.hex(), "name": "Bob"}
