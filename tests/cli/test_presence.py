"""`presence`: what is asked of the daemon and how the answer reads; presence in `peers` and `listen`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from p2pchat_cli.text import visible

from p2pchat.model import Availability
from tests.cli import samples
from tests.cli.contract import FIELDS, told
from tests.cli.hostile import STRINGS
from tests.cli.samples import BOB
from tests.cli.stage import daemon, run
from tests.cli.terminal import terminal


def test_without_words_it_shows_what_is_set(tmp_path: Path) -> None:
    with daemon(tmp_path, presence__show=samples.presence()) as fake:
        found = told(run(tmp_path, "presence", "--json"))
        assert set(found) >= FIELDS["presence"]
        assert run(tmp_path, "presence").out == "available\n"
        assert {method for method, _ in fake.calls} == {"presence.show"}


def test_everything_given_is_asked_for(tmp_path: Path) -> None:
    with daemon(tmp_path, presence__set=samples.presence()) as fake:
        before = time.time()
        words = (
            "--hide-from bob --hide-from carl --hide-direct --hide-rooms --quiet-hours 18:00-08:00".split()
        )
        assert run(tmp_path, "presence", "busy", "--message", "", "--for", "2h", *words).code == 0
        asked = fake.asked("presence.set")
        until = asked.pop("until_ms")
        assert 7199 <= until / 1000 - before <= 7210
        assert asked == {
            "state": "busy",
            "message": "",
            "hide_from": ["bob", "carl"],
            "hide_direct": True,
            "hide_rooms": True,
            "show_all": False,
            "quiet_hours": "18:00-08:00",
        }
        run(tmp_path, "presence", "--show-all")
        assert fake.asked("presence.set")["show_all"] is True
        assert fake.asked("presence.set")["message"] is None


def test_a_time_that_is_over(tmp_path: Path) -> None:
    with daemon(tmp_path) as fake:
        ran = run(tmp_path, "presence", "busy", "--for", "2020-01-01")
        assert fake.calls == []
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: '2020-01-01' is over already")


def test_no_state_of_that_name(tmp_path: Path) -> None:
    ran = run(tmp_path, "presence", "asleep", "--json")
    assert (ran.code, told(ran)["error"]["kind"]) == (2, "usage")
    assert "'asleep'" in told(ran)["error"]["message"]
    assert run(tmp_path, "presence", "busy", "--for", "later").code == 2
    assert run(tmp_path, "presence").code == 3


@pytest.mark.parametrize(
    ("mine", "hours", "lines"),
    [
        (("busy", "busy", "in a meeting", None, (), False, False, False), "", ["busy  in a meeting"]),
        (
            ("available", "busy", "", None, (BOB,), True, False, True),
            "18:00-08:00",
            [
                "available",
                "shown as     busy: quiet hours",
                "hidden from  Bob; those you share no room with",
                "quiet hours  18:00-08:00",
            ],
        ),
        (
            ("invisible", "offline", "", None, (BOB,), False, False, False),
            "",
            [
                "invisible",
                "hidden from  everybody; you can still write, and who reads it knows that you are here",
            ],
        ),
        (
            ("available", "away", "", None, (), False, True, False),
            "",
            [
                "available",
                "shown as     away: nothing done here for a while",
                "hidden from  those you never wrote to directly",
            ],
        ),
    ],
)
def test_how_it_reads(mine: tuple[object, ...], hours: str, lines: list[str], tmp_path: Path) -> None:
    answer = samples.presence(Availability(*mine), hours)  # type: ignore[arg-type]
    with daemon(tmp_path, presence__show=answer):
        assert run(tmp_path, "presence").out.splitlines() == lines


def test_the_end_of_it_is_told(tmp_path: Path) -> None:
    mine = Availability("away", "away", "lunch", 1_700_000_000_000, (), False, False, False)
    with daemon(tmp_path, presence__show=samples.presence(mine)):
        assert "away  lunch  (until 2023-11-" in run(tmp_path, "presence").out
        assert told(run(tmp_path, "presence", "--json"))["until"] == "2023-11-14T22:13:20.000Z"


def test_peers_show_what_is_said_beside_it(tmp_path: Path) -> None:
    busy = {
        **samples.peer(),
        "presence": "busy",
        "status_message": "in a meeting until the afternoon is over",
    }
    with daemon(tmp_path, peers__list={"peers": [busy]}):
        shown = run(tmp_path, "peers").out.splitlines()[1]
    assert shown.startswith("Bob   busy: in a meeting until the aftern…  10.0.0.2:26700")


def test_listen_tells_presence_and_typing(tmp_path: Path) -> None:
    busy = {**samples.peer(), "presence": "busy", "status_message": "in a meeting"}
    typing = {"room": samples.CHAT.hex(), "person": {"account": "b0", "device": None, "name": "Bob"}}
    feed = [
        {"cursor": "8", "type": "presence", "presence": busy},
        {"cursor": "9", "type": "presence", "presence": {**busy, "presence": "away", "status_message": ""}},
        {"cursor": "10", "type": "typing", "typing": {**typing, "typing": True}},
        {"cursor": "11", "type": "typing", "typing": {**typing, "typing": False}},
    ]
    with daemon(tmp_path, feed):
        ran = run(tmp_path, "listen", "--count", "4", "--timeout", "5")
    assert ran.out.splitlines() == [
        "· Bob is busy: in a meeting",
        "· Bob is away",
        "· Bob is typing",
        "· Bob has stopped typing",
    ]


def test_no_message_of_others_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    said = [{**samples.peer(), "presence": "busy", "status_message": text} for text in _sendable()]
    feed = [{"cursor": str(n + 8), "type": "presence", "presence": one} for n, one in enumerate(said)]
    count = str(len(said))
    with daemon(tmp_path, feed, peers__list={"peers": said}):
        listed = run(tmp_path, "peers").out
        heard = run(tmp_path, "listen", "--count", count, "--timeout", "9").out
    assert (listed.count("\n"), heard.count("\n")) == (len(said) + 1, len(said))
    for shown in (listed, heard):
        assert all(visible(character) == character for character in shown if character != "\n")


def _sendable() -> list[str]:
    """Those that can be written in UTF-8: others no daemon has ever heard."""
    return [text for text in STRINGS if not any("\ud800" <= letter <= "\udfff" for letter in text)]


def test_chat_shows_who_types_and_who_is_there(tmp_path: Path) -> None:
    busy = {**samples.peer(), "presence": "busy", "status_message": "in a meeting"}
    typing = {"room": samples.CHAT.hex(), "person": {"account": "b0", "device": None, "name": "Bob"}}
    feed = [
        {"cursor": "8", "type": "typing", "typing": {**typing, "typing": True}},
        {"cursor": "9", "type": "typing", "typing": {**typing, "typing": False}},
        {"cursor": "10", "type": "presence", "presence": busy},
    ]
    answers = {"history": samples.page(), "read__open": samples.page(), "presence__active": {}}
    with daemon(tmp_path, feed, **answers), terminal(tmp_path, "chat", "bob") as screen:
        screen.expect("Bob is busy: in a meeting")
        screen.type("\x04")
        assert screen.finish() == 0
    shown = [line.strip() for line in screen.lines()]
    assert [line for line in shown if "typing" in line] == ["· Bob is typing"]
