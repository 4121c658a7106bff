"""The commands that follow what is said: listen, and chat line by line."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from p2pchat_cli import happened

from tests.cli import samples
from tests.cli.contract import FIELDS, SENT
from tests.cli.stage import FakeDaemon, daemon, refusing, run
from tests.cli.terminal import terminal
from tests.cli.test_reading import in_room

# -- listen -----------------------------------------------------------------------------------


def line(cursor: int, type: str = "message", **subject: Any) -> dict[str, Any]:
    return {"cursor": str(cursor), "type": type, type: subject or samples.message(cursor, f"number {cursor}")}


def test_listen_prints_a_stream(tmp_path: Path) -> None:
    feed = [
        line(1),
        line(2, "receipt", id="ab" * 32, room="c0", state="read", person={"name": "Bob"}),
        line(3),
    ]
    with daemon(tmp_path, feed) as fake:
        ran = run(
            tmp_path, "listen", "bob", "--json", "--count", "3", "--types", "message,receipt", "--since", "0"
        )
        assert fake.asked("listen") == {
            "targets": ["bob"], "since": 0, "types": ["message", "receipt"], "mentions": False,
        }  # fmt: skip
        assert [json.loads(text)["type"] for text in ran.out.splitlines()] == [
            "ready", "message", "receipt", "message",
        ]  # fmt: skip
        assert all(json.loads(text)["schema"] == 1 for text in ran.out.splitlines())
        ran = run(tmp_path, "listen", "--count", "3")
    assert [text[6:] if text[2] == ":" else text for text in ran.out.splitlines()] == [
        "Bob  number 1", "· abababababab read (Bob)", "Bob  number 3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "person", "sentence"),
    [
        ("held", {"name": "Carol"}, "held by Carol"),
        ("delivered", {"name": "Bob"}, "delivered (Bob)"),
        ("delivered", None, "delivered (you)"),
        ("queued", {"name": "Bob"}, "has reached Bob"),
        ("queued", None, "is held by nobody any more: it waits here"),
    ],
)
def test_listen_says_how_far_a_message_has_come(
    state: str, person: dict[str, str] | None, sentence: str, tmp_path: Path
) -> None:
    feed = [line(1, "receipt", id="ab" * 32, room="c0", state=state, person=person)]
    with daemon(tmp_path, feed):
        ran = run(tmp_path, "listen", "--count", "1")
    assert ran.out == f"· abababababab {sentence}\n"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("created", "Ann created the room"),
        ("added", "Ann added Carl"),
        ("joined", "Carl joined"),
        ("left", "Carl left"),
        ("removed", "Ann removed Carl"),
        ("role", "Ann gave Carl another role"),
        ("settings", "Ann changed the settings"),
        ("topic", "Ann changed the topic"),
        ("fork", "a machine of Carl signed two histories: both are kept as proof"),
        ("later-invention", "later-invention Ann Carl"),
    ],
)
def test_every_change_of_a_room_is_a_sentence(change: str, sentence: str) -> None:
    assert happened.change(samples.changed_room(change, by=samples.ANN, who=samples.CARL)) == sentence


LOOK = "p2pchat room show launch"
JOINED = "Ann changed the history policy: a newcomer reads what is said from then on"
NOT_ALLOWED = "this counts no more: it was not allowed, as became known since"
AT_ONCE = "another change at the same time stands"


@pytest.mark.parametrize(
    ("type", "detail", "before", "sentence"),
    [
        ("created", "admission=invite announce=0 history=all", "", "Ann created the room"),
        (
            "created",
            "admission=office announce=1 history=joined",
            "",
            "Ann created the room: anybody may join, only owners and moderators write,"
            " a newcomer reads what is said from then on",
        ),
        ("topic", "quarterly numbers", "", "Ann set the topic: quarterly numbers"),
        ("topic", "new", "old", "Ann set the topic: new (it was: old)"),
        ("topic", "new", "o" * 61, "Ann set the topic: new"),
        ("topic", "", "old", "Ann removed the topic (it was: old)"),
        ("topic", "a\nb", "", "Ann set the topic: a\\nb"),
        ("name", "landing", "launch", 'Ann renamed the room from "launch" to "landing"'),
        ("name", "launch", "", 'Ann named the room "launch"'),
        ("rules", "be kind", "", f"Ann set the rules: `{LOOK}`"),
        ("rules", "be kind", "be quick", f"Ann changed the rules: `{LOOK}`"),
        ("rules", "", "be quick", "Ann removed the rules"),
        ("settings", "history=joined", "history=all", JOINED),
        ("settings", "history=all", "", "Ann changed the history policy: a newcomer reads everything"),
        ("settings", "announce=1", "announce=0", "Ann let only owners and moderators write"),
        ("settings", "announce=0", "announce=1", "Ann let every member write"),
        (
            "settings",
            "admission=office title=two words",
            "admission=invite",
            "Ann opened the room: anybody may join",
        ),
        ("settings", "admission=closed", "", "Ann closed the room: nobody comes in any more"),
        ("settings", "title=two words a=b", "title=one", 'Ann named the room "two words a=b"'),
        (
            "settings",
            "retention=30",
            "retention=0",
            "Ann set that files are kept for 30 days (it was: for ever)",
        ),
        ("settings", "retention=1", "", "Ann set that files are kept for 1 day"),
        ("settings", "announce=0 history=joined", "announce=0 history=all", JOINED),
        ("settings", "later=x", "", "Ann changed later to x"),
        ("voided topic", "", "", f"Ann changed the topic: {NOT_ALLOWED}"),
        ("voided settings", "history=joined", "", f"{JOINED}: {NOT_ALLOWED}"),
        ("voided added", "", "", f"Ann added Carl: {NOT_ALLOWED}"),
        ("voided", "", "", "what Ann did counts no more: it was not allowed, as became known since"),
        ("overruled topic", "mine", "hers", f"Ann set the topic: mine: {AT_ONCE}"),
    ],
)
def test_what_was_changed_is_said_in_words(type: str, detail: str, before: str, sentence: str) -> None:
    people = samples.changed_room("x", by=samples.ANN, who=samples.CARL)
    kind, _, act = type.partition(" ")
    told = {**people, "type": kind, "detail": detail, "before": before, "act": act}
    assert happened.notice(told, LOOK) == sentence
    assert happened.change({**told, "change": kind}, happened.look(told)) == sentence


def test_listen_tells_of_rooms(tmp_path: Path) -> None:
    subject = samples.changed_room("added", by=samples.ANN, who=samples.CARL)
    with daemon(tmp_path, [line(1, "room", **subject)]):
        ran = run(tmp_path, "listen", "--json", "--count", "1", "--since", "0")
        room = json.loads(ran.out.splitlines()[1])["room"]
        assert {*FIELDS["room"], "change"} <= set(room)
        ran = run(tmp_path, "listen", "--count", "1", "--since", "0")
    assert ran.out == "· #launch: Ann added Carl\n"


def test_listen_ends_in_time(tmp_path: Path) -> None:
    with daemon(tmp_path, [line(1)]):
        assert run(tmp_path, "listen", "--json", "--timeout", "0.2").code == 0
        ran = run(tmp_path, "listen", "--json", "--timeout", "0.2", "--count", "2")
    assert ran.code == 5
    assert json.loads(ran.out.splitlines()[-1])["error"]["kind"] == "timeout"


def test_listen_comes_back_after_a_restart_without_losing_or_doubling(tmp_path: Path) -> None:
    feed = [line(number) for number in range(1, 7)]
    first = FakeDaemon(tmp_path, {}, feed[:3])
    first.feed_ends = True
    second = FakeDaemon(tmp_path, {}, feed)
    with first:
        restart = threading.Timer(0.5, lambda: (first.stop(), second.__enter__()))
        restart.start()
        ran = run(tmp_path, "listen", "--json", "--since", "0", "--count", "6", "--timeout", "20")
    restart.join()
    second.stop()
    seen = [json.loads(text)["cursor"] for text in ran.out.splitlines()]
    assert seen == ["0", "1", "2", "3", "4", "5", "6"]
    assert second.calls[0][1]["since"] == 3


@pytest.mark.parametrize(
    "words", [["--since", "x"], ["--since", "-1"], ["--types", "bogus"], ["--count", "0"]]
)
def test_listen_refuses_what_makes_no_sense(words: list[str], tmp_path: Path) -> None:
    with daemon(tmp_path):
        assert run(tmp_path, "listen", *words).code == 2


# -- chat -------------------------------------------------------------------------------------


def test_chat_sends_the_lines_of_its_input(tmp_path: Path) -> None:
    sent = (f"{number:064x}" for number in range(1, 99))
    with daemon(
        tmp_path,
        history=samples.page(samples.view(1, "earlier")),
        read__open=samples.page(samples.view(2, "unread")),
        read__confirm={"room": "", "read": 1},
        send=lambda _: {**SENT, "id": next(sent)},
    ) as fake:
        ran = run(tmp_path, "chat", "bob", "--plain", stdin="one\n\n  \ntwo ü\nlast".encode())
        assert ran.code == 0
        assert [p["text"] for method, p in fake.calls if method == "send"] == ["one", "two ü", "last"]
        keys = [p["key"] for method, p in fake.calls if method == "send"]
        assert len(set(keys)) == 3
        confirmed = [i for method, p in fake.calls if method == "read.confirm" for i in p["ids"]]
        assert confirmed == [samples.view(1).id.hex(), samples.view(2).id.hex()]
    assert "earlier" in ran.out
    assert "unread" in ran.out


def test_chat_in_a_room_shows_who_speaks_and_what_happens(tmp_path: Path) -> None:
    said = samples.rendered(in_room(3, "hello all"), samples.Names())
    joined = samples.changed_room("joined", by=samples.CARL)
    feed = [line(1, "room", **joined), {"cursor": "2", "type": "message", "message": said}]
    with (
        daemon(
            tmp_path,
            feed,
            history=samples.page(in_room(1, "earlier"), room=samples.LAUNCH),
            read__open=samples.page(room=samples.LAUNCH),
            read__confirm={"room": "", "read": 1},
            presence__active={},
            send=SENT,
        ) as fake,
        terminal(tmp_path, "chat", "launch", "--plain") as screen,
    ):
        screen.expect("hello all")
        screen.type("\x04")
        assert screen.finish() == 0
        assert fake.asked("listen")["types"] == ["message", "room", "typing", "presence", "warning"]
    shown = screen.lines()
    assert "12:01 Bob  earlier" in shown
    assert "chatting in #launch; ctrl-d ends" in shown
    assert "      · Carl joined" in shown
    assert "12:03 Bob  hello all" in shown


def test_chat_with_nobody_fails_at_once(tmp_path: Path) -> None:
    with daemon(tmp_path, history=refusing("no_such_target")):
        assert run(tmp_path, "chat", "nobody", stdin=b"x\n").code == 4


def test_chat_tells_of_a_line_it_cannot_send_and_goes_on(tmp_path: Path) -> None:
    with daemon(
        tmp_path, history=samples.page(), read__open=samples.page(), read__confirm={}, send=SENT
    ) as fake:
        ran = run(tmp_path, "chat", "bob", stdin=b"\xff\xfe\n" + b"x" * 20_000 + b"\ngood\n")
        assert [p["text"] for method, p in fake.calls if method == "send"] == ["good"]
    assert "not UTF-8" in ran.err
    assert ran.code == 2
