"""Commands that read: pages, confirmations, the stream, and the plain chat."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from p2pchat.control.operations import fields
from p2pchat.control.operations.missing_fields import backfill_fields
from p2pchat.ids import EventId
from p2pchat.model import Acks, Gap, Progress
from tests.cli import samples
from tests.cli.contract import FIELDS, told
from tests.cli.stage import daemon, run

# -- reading ----------------------------------------------------------------------------------


def test_history(tmp_path: Path) -> None:
    page = samples.page(
        samples.view(1, "shall we say ten?\nor eleven"),
        samples.view(2, "ten", mine=True, edited=True, reactions=(("👍", (samples.BOB,)),)),
        samples.view(3, None, deleted=True),
        samples.view(4, "and then?", mine=True, state="queued"),
    )
    with daemon(tmp_path, history=page) as fake:
        found = told(run(tmp_path, "history", "bob", "--json"))
        assert FIELDS["page"] <= set(found)
        assert FIELDS["message"] <= set(found["messages"][0])
        assert set(found["messages"][1]["reactions"][0]["by"][0]) == FIELDS["person"]
        assert found["messages"][2]["text"] is None
        assert fake.asked("history")["tail"] == 50
        ran = run(tmp_path, "history", "bob", env={"TZ": "UTC"})
    shown = [line for line in ran.out.splitlines() if not line.startswith("──")]
    assert [line[6:] for line in shown] == [
        "Bob  shall we say ten?  00010001",
        "   │ or eleven",
        "Ann  ten  00020002",
        "   ╰ edited · 👍 Bob",
        "Bob    00030003",
        "   ╰ deleted",
        "Ann  and then?  00040004",
        "   ╰ queued",
    ]


def test_a_message_dated_ahead_stands_under_the_day_it_came(tmp_path: Path) -> None:
    year = 365 * 86_400_000
    page = samples.page(
        samples.view(1, "before"),
        samples.view(2, "ahead", written_ms=samples.NOON + year, flags=("future",)),
        samples.view(3, "after"),
    )
    with daemon(tmp_path, history=page):
        ran = run(tmp_path, "history", "bob")
    noon, ahead = (datetime.fromtimestamp(ms / 1000) for ms in (samples.NOON, samples.NOON + year))
    assert ran.out.splitlines() == [
        f"── {noon:%a %Y-%m-%d} ──",
        f"{noon:%H}:01 Bob  before  00010001",
        f"{noon:%H}:02 Bob  ahead  00020002",
        f"         ╰ dated ahead: {ahead:%Y-%m-%d %H:%M}",
        f"{noon:%H}:03 Bob  after  00030003",
    ]


def test_history_asks_page_by_page(tmp_path: Path) -> None:
    everything = [samples.view(number, str(number)) for number in range(1, 901)]

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        known = [view for view in everything if params["before_id"] in ("", None) or view.id < _id(params)]
        return samples.page(*known[-params["tail"] :], has_more=len(known) > params["tail"])

    def _id(params: dict[str, Any]) -> EventId:
        return EventId(bytes.fromhex(params["before_id"]))

    with daemon(tmp_path, history=answer):
        found = told(run(tmp_path, "history", "bob", "--tail", "all", "--json"))
        assert [message["text"] for message in found["messages"]] == [str(n) for n in range(1, 901)]
        assert found["has_more"] is False
        found = told(run(tmp_path, "history", "bob", "--tail", "450", "--json"))
        assert [message["text"] for message in found["messages"]] == [str(n) for n in range(451, 901)]
        assert found["has_more"] is True


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--before", "abcdef12"], {"before_id": "abcdef12", "before_ms": None}),
        (["--after", "2026-03-01T00:00:00Z"], {"after_ms": 1_772_323_200_000}),
        (["--since", "2026-03-01T00:00:00Z"], {"after_ms": 1_772_323_200_000}),
        (["--thread", "abcdef", "--pinned", "--tail", "3"], {"thread": "abcdef", "pinned": True, "tail": 3}),
    ],
    ids=str,
)
def test_history_bounds(words: list[str], asked: dict[str, Any], tmp_path: Path) -> None:
    with daemon(tmp_path, history=samples.page()) as fake:
        assert run(tmp_path, "history", "bob", *words).code == 0
        assert asked.items() <= fake.asked("history").items()


@pytest.mark.parametrize(
    "words", [["--tail", "0"], ["--tail", "-1"], ["--tail", "some"], ["--before", "soon"]]
)
def test_history_refuses_bounds_without_sense(words: list[str], tmp_path: Path) -> None:
    with daemon(tmp_path, history=samples.page()) as fake:
        ran = run(tmp_path, "history", "bob", *words, "--json")
        assert not fake.calls
    assert ran.code == 2
    assert words[1] in told(ran)["error"]["message"]


def test_read_confirms_what_it_printed(tmp_path: Path) -> None:
    pages = [
        samples.page(samples.view(1), samples.view(2), has_more=True),
        samples.page(samples.view(3)),
        samples.page(),
    ]
    confirmed = {"room": "c0" * 32, "read": 1}
    with daemon(tmp_path, read__open=lambda _: pages.pop(0), read__confirm=confirmed) as fake:
        ran = run(tmp_path, "read", "bob")
        assert ran.out.count("hello") == 3
        assert [len(p["ids"]) for method, p in fake.calls if method == "read.confirm"] == [2, 1]
        assert fake.asked("read.confirm")["room"] == "c0" * 32
        fake.calls.clear()
        ran = run(tmp_path, "read", "bob")
        assert ran.err == "nothing unread from Bob\n"
        assert [method for method, _ in fake.calls] == ["read.open"]


def test_read_json_is_one_page(tmp_path: Path) -> None:
    page = samples.page(samples.view(1), has_more=True)
    with daemon(tmp_path, read__open=page, read__confirm={"room": "", "read": 1}) as fake:
        found = told(run(tmp_path, "read", "bob", "--json"))
        assert FIELDS["page"] <= set(found)
        assert fake.asked("read.confirm")["ids"] == [found["messages"][0]["id"]]


def test_what_could_not_be_printed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pchat_cli.output import Output

    def full(_: Output) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Output, "flush", full)
    with daemon(tmp_path, read__open=samples.page(samples.view(1)), read__confirm={}) as fake:
        assert run(tmp_path, "read", "bob").code != 0
        assert [method for method, _ in fake.calls] == ["read.open"]


def test_inbox(tmp_path: Path) -> None:
    unread = [{"room": "c0" * 32, "name": "Bob", "count": 3, "mentions": 1}]
    answer: dict[str, Any] = {"unread": unread, "requests": [], "files": [], "acks": []}
    with daemon(tmp_path, inbox=lambda _: answer):
        assert set(told(run(tmp_path, "inbox", "--json"))) == {"schema", *FIELDS["inbox"]}
        assert run(tmp_path, "inbox").out.splitlines()[1].split() == ["Bob", "3", "1"]
        answer["unread"] = []
        assert run(tmp_path, "inbox").err == "nothing missed\n"
        bob = {"account": samples.BOB.hex(), "device": None, "name": "Bob"}
        answer["requests"] = [
            {"kind": "room", "room": "1a", "name": "launch", "by": bob, "at": "2026-11-23T12:00:00.000Z"}
        ]
        answer["acks"] = [
            {
                "id": "ab" * 32,
                "room": "1a",
                "name": "launch",
                "author": bob,
                "by_time": None,
                "preview": "stop",
            }
        ]
        ran = run(tmp_path, "inbox", env={"TZ": "UTC"})
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[1] == ["#launch", "Bob", "2026-11-23", "12:00"]
    assert rows[3] == ["abababababab", "Bob", "-", "stop"]
    assert "take note: " in ran.err


def test_search(tmp_path: Path) -> None:
    answer = {
        "results": [{**samples.message(1, "the green folder"), "snippet": "green folder"}],
        "has_more": True,
        "incomplete": [{"room": "Bob", "why": "messages missing"}],
    }
    with daemon(tmp_path, search=answer) as fake:
        found = told(run(tmp_path, "search", "green", "folder", "--in", "bob", "--limit", "1", "--json"))
        assert {"results", "has_more", "incomplete"} <= set(found)
        assert {"snippet", *FIELDS["message"]} <= set(found["results"][0])
        asked = fake.asked("search")
        assert (asked["query"], asked["target"], asked["limit"]) == ("green folder", "bob", 1)
        ran = run(tmp_path, "search", 'quo"te', "--after", "3d", "--from", "bob")
        assert "the green folder" in ran.out
        assert "not all of Bob was searched" in ran.err
        assert run(tmp_path, "search", "x", "--limit", "0").code == 2


# -- rooms ------------------------------------------------------------------------------------


def in_room(number: int, text: str = "hello", **changes: Any) -> Any:
    return samples.view(number, text, room=samples.LAUNCH, **changes)


def test_a_machine_cut_off_is_told_of_once(tmp_path: Path) -> None:
    """Each member that heard of it passes the act on; two machines are two."""
    cut = [("aa" * 32, 1), ("aa" * 32, 2), ("bb" * 32, 3), ("", 4), ("", 5)]
    found = samples.page(
        samples.view(9),
        notices=tuple(
            samples.notice(number, "revoked", who=samples.BOB, detail=which) for which, number in cut
        ),
    )
    with daemon(tmp_path, history=found):
        shown = run(tmp_path, "history", "bob").out.count("was cut off")
        assert shown == 4, "who does not say which may mean another"
        assert len(told(run(tmp_path, "history", "bob", "--json"))["notices"]) == 5


def test_what_may_be_from_before_one_came_in_is_told_where_all_begins(tmp_path: Path) -> None:
    """And not with every later page, for no repair will ever bring it."""
    gaps = (Gap(samples.BOB_BOX, 1, 1, (samples.ANN_BOX,), earlier=True), Gap(samples.BOB_BOX, 3, 3))
    said = "1 from Bob: from before you came in, or missing"
    for has_more in (False, True):
        found = samples.page(in_room(4, "hello"), room=samples.LAUNCH, gaps=gaps, has_more=has_more)
        with daemon(tmp_path, history=found):
            out = run(tmp_path, "history", "#launch").out
        assert out.count(said) == (not has_more)
        assert out.count("missing 1 from Bob; nobody here holds them") == 1


def test_history_of_a_room_shows_what_happened_and_what_is_missing(tmp_path: Path) -> None:
    page = samples.page(
        in_room(2, "who is in?"),
        in_room(6, "all of us"),
        in_room(9, "good", mine=True),
        room=samples.LAUNCH,
        notices=(
            samples.notice(1, "created"),
            samples.notice(5, "added", who=samples.CARL),
            samples.notice(7, "role", who=samples.BOB, detail="moderator"),
            samples.notice(9, "left", by=samples.CARL),
            samples.notice(8, "settings", detail="history=joined"),
            samples.notice(20, "voided", by=samples.CARL),
        ),
        gaps=(
            Gap(samples.BOB_BOX, 3, 5, (samples.ANN_BOX,)),
            Gap(samples.BOB_BOX, 12, 12),
        ),
    )
    with daemon(tmp_path, history=page):
        found = told(run(tmp_path, "history", "launch", "--json"))
        assert FIELDS["notice"] <= set(found["notices"][0])
        assert FIELDS["gap"] <= set(found["gaps"][0])
        ran = run(tmp_path, "history", "#launch", env={"TZ": "UTC"})
    assert [re.sub("  [0-9a-f]{8}$", "", line) for line in ran.out.splitlines()] == [
        "── Mon 2026-11-23 ──",
        "      · 12:01 Ann created the room",
        "12:02 Bob  who is in?",
        "      · 12:05 Ann added Carl",
        "      · missing 3 from Bob; held by Ann",
        "12:06 Bob  all of us",
        "      · 12:07 Ann made Bob moderator",
        "      · 12:08 Ann changed the history policy: a newcomer reads what is said from then on",
        "      · 12:09 Carl left",
        "12:09 Ann  good",
        "         ╰ delivered 1/1",
        "      · 12:20 what Carl did counts no more: it was not allowed, as became known since",
        "      · missing 1 from Bob; nobody here holds them",
    ]
    assert ran.err == ""


def test_history_puts_the_notices_of_its_pages_together(tmp_path: Path) -> None:
    first = samples.page(in_room(1), room=samples.LAUNCH, notices=(samples.notice(0, "created"),))
    both = (samples.notice(0, "created"), samples.notice(3, "left", by=samples.BOB))
    second = samples.page(in_room(2), room=samples.LAUNCH, notices=both[1:], has_more=True)
    with daemon(tmp_path, history=lambda p: first if p["before_id"] else second):
        found = told(run(tmp_path, "history", "launch", "--tail", "all", "--json"))
    assert [one["type"] for one in found["notices"]] == ["created", "left"]
    assert [one["seq"] for one in found["messages"]] == [1, 2]


def test_an_own_message_in_a_room_counts_people(tmp_path: Path) -> None:
    waiting = samples.rendered(
        in_room(1, "first", mine=True, state="queued"), samples.Names(), Progress((samples.BOB,), (), 2)
    )
    read = samples.rendered(
        in_room(2, "second", mine=True, state="delivered", ack_by_ms=samples.NOON),
        samples.Names(),
        Progress((samples.BOB, samples.CARL), (samples.CARL,), 2),
        Acks(samples.NOON, (samples.CARL,), (samples.BOB,)),
    )
    page = {**samples.page(room=samples.LAUNCH), "messages": [waiting, read]}
    with daemon(tmp_path, history=page):
        found = told(run(tmp_path, "history", "launch", "--json"))["messages"]
        assert set(found[0]["progress"]) == FIELDS["progress"]
        assert set(found[1]["ack"]) == FIELDS["ack"]
        ran = run(tmp_path, "history", "launch", env={"TZ": "UTC"})
    marks = [line.strip() for line in ran.out.splitlines() if "╰" in line]
    assert marks == [
        "╰ queued, delivered 1/2",
        "╰ delivered 2/2, read 1/2 · noted by 1 of 2 until Mon 2026-11-23 12:00",
    ]


def test_a_quiet_room_says_where_nothing_was_said(tmp_path: Path) -> None:
    empty = samples.page(room=samples.LAUNCH, notices=(samples.notice(1, "created"),))
    with daemon(tmp_path, history=empty, read__open=empty):
        ran = run(tmp_path, "history", "launch")
        assert (ran.code, ran.err) == (0, "nothing said yet in #launch\n")
        assert "Ann created the room" in ran.out
        assert run(tmp_path, "read", "launch").err == "nothing unread in #launch\n"


def test_gaps_are_told_once_however_many_pages_are_read(tmp_path: Path) -> None:
    gap = Gap(samples.BOB_BOX, 90, 91)
    pages = [
        samples.page(in_room(1), room=samples.LAUNCH, gaps=(gap,), has_more=True),
        samples.page(in_room(2), room=samples.LAUNCH, gaps=(gap,)),
    ]
    with daemon(tmp_path, read__open=lambda _: pages.pop(0), read__confirm={"room": "", "read": 1}):
        assert run(tmp_path, "read", "launch").out.count("missing 2 from Bob") == 1


def test_what_is_on_its_way_is_told_once_and_is_not_called_nothing(tmp_path: Path) -> None:
    coming = (54_321, samples.BOB_BOX)
    pages = [
        samples.page(in_room(2), room=samples.LAUNCH, coming=coming, has_more=True),
        samples.page(in_room(3), room=samples.LAUNCH, coming=coming),
    ]
    said = "54,321 earlier messages are on their way from Bob\n"
    empty = samples.page(room=samples.LAUNCH, coming=(1, None))
    with daemon(
        tmp_path, history=empty, read__open=lambda _: pages.pop(0), read__confirm={"room": "", "read": 1}
    ):
        found = told(run(tmp_path, "history", "launch", "--json"))["coming"]
        assert found == {"count": 1, "from": []}
        assert run(tmp_path, "history", "launch").err == "1 earlier message is on its way\n"
        assert run(tmp_path, "read", "launch").err == said


def test_listen_tells_how_much_is_to_come(tmp_path: Path) -> None:
    lines = [
        fields.line_fields(7, "history", backfill_fields(samples.LAUNCH, coming, samples.Names()))
        for coming in ((2000, samples.BOB_BOX), (0, None))
    ]
    with daemon(tmp_path, feed=lines):
        out = run(tmp_path, "listen", "--types", "history", "--count", "2").out
    assert out.splitlines() == [
        "· #launch: 2,000 earlier messages are on their way from Bob",
        "· #launch: no earlier messages are on their way any more",
    ]


def test_search_names_the_room(tmp_path: Path) -> None:
    result = {**samples.rendered(in_room(1, "green"), samples.Names()), "snippet": "green"}
    answer = {"results": [result], "has_more": False, "incomplete": []}
    with daemon(tmp_path, search=answer) as fake:
        assert "Bob → #launch  green" in run(tmp_path, "search", "green", "--in", "#launch").out
        assert fake.asked("search")["target"] == "#launch"


def test_who_holds_a_message_is_a_machine_of_mine_or_a_person(tmp_path: Path) -> None:
    """Two machines of one person are two; mine has the name I gave it."""
    page = samples.page(samples.view(1, "hold this", mine=True))
    bob = {"account": "bb" * 32, "device": "12345678" + "00" * 28, "name": "Bob", "machine": ""}
    mine = {"account": "aa" * 32, "device": "cc" * 32, "name": "Ann", "machine": "reception-pc"}
    other = bob | {"device": "9abcdef0" + "00" * 28}
    told = {
        "reception-pc": [mine],
        "Bob": [bob],
        "Bob, reception-pc": [bob, mine],
        "Bob (12345678), Bob (9abcdef0)": [bob, other],
        "reception-pc (cccccccc), reception-pc (dddddddd)": [mine, mine | {"device": "dd" * 32}],
    }
    for said, held_by in told.items():
        page["messages"][0] |= {"state": "held", "held_by": held_by}
        with daemon(tmp_path, history=page):
            assert f"╰ held by {said}\n" in run(tmp_path, "history", "bob").out
