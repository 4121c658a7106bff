"""How commands fail, and that no text of others reaches a terminal raw."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli import samples
from tests.cli.contract import SENT, told
from tests.cli.hostile import STRINGS
from tests.cli.stage import daemon, refusing, run

# -- failures ---------------------------------------------------------------------------------

NEEDS_DAEMON = (
    "status|whoami|down|peers|peers add h|peers forget b|send b x|edit abcdef x|delete abcdef|react abcdef +|"
    "pin abcdef|queue|queue cancel abcdef|history b|read b|inbox|listen|search x|chat b|trust show b|"
    "trust verify b|trust accept b|trust block b|trust unblock b|device list|device recovery-key --yes"
).split("|")


@pytest.mark.parametrize("words", NEEDS_DAEMON)
def test_without_a_daemon_every_such_command_ends_at_once_with_3(words: str, tmp_path: Path) -> None:
    argv = words.split()
    ran = run(tmp_path, *argv)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.endswith("hint: p2pchat up\n")
    ran = run(tmp_path, *argv, "--json")
    assert ran.code == 3
    assert ran.err == ""
    assert told(ran)["error"]["kind"] == "no_daemon"
    assert told(ran)["error"]["hint"] == "p2pchat up"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        *(("internal", 1), ("failed", 1), ("usage", 2), ("too_long", 2), ("no_daemon", 3)),
        *(("no_such_target", 4), ("ambiguous_target", 4), ("timeout", 5), ("key_changed", 6)),
        *(("key_revoked", 6), ("key_mismatch", 6), ("policy", 7), ("no_right", 7), ("already_delivered", 7)),
        *(("declined", 8), ("disk_full", 9), ("exists", 9), ("source_changed", 9)),
    ],
)
def test_exit_codes_are_those_of_the_contract(kind: str, code: int, tmp_path: Path) -> None:
    with daemon(tmp_path, history=refusing(kind, "because 'x'", "try y")):
        ran = run(tmp_path, "history", "bob", "--json")
        assert ran.code == code
        assert told(ran)["error"] == {"code": code, "kind": kind, "message": "because 'x'", "hint": "try y"}
        ran = run(tmp_path, "history", "bob")
        assert (ran.code, ran.out, ran.err) == (code, "", "error: because 'x'\nhint: try y\n")


def test_a_bug_of_ours_is_told_like_any_failure(tmp_path: Path) -> None:
    with daemon(tmp_path, status={"me": 1}):
        ran = run(tmp_path, "status")
    assert ran.code == 1
    assert "error: " in ran.err
    assert "Traceback" not in ran.err


# -- other people's text ----------------------------------------------------------------------

PLACES: list[tuple[list[str], Callable[[str], dict[str, Any]]]] = [
    (["history", "b"], lambda t: {"history": samples.page(samples.view(1, t))}),
    (["history", "b"], lambda t: {"history": _renamed(samples.page(samples.view(1)), t)}),
    (["search", "x"], lambda t: {"search": _found(t)}),
    (["peers"], lambda t: {"peers__list": {"peers": [samples.peer(t)]}}),
    (["queue"], lambda t: {"queue__list": {"queue": [samples.queue_entry(t)]}}),
    (["trust", "show", "b"], lambda t: {"trust__show": {**samples.TRUST, "name": t}}),
    (["inbox"], lambda t: {"inbox": {"unread": [{"room": "c0", "name": t, "count": 1, "mentions": 0}]}}),
    (["delete", "abcdef"], lambda t: {"delete": refusing("failed", t, t)}),
    (["send", "b", "x"], lambda t: {"send": {**SENT, "warning": t}}),
    (["status"], lambda t: {"status": samples.status(warnings=[{"kind": "x", "message": t, "fix": t}])}),
    (["peers", "forget", "b"], lambda t: {"peers__forget": {"account": "ab", "name": t}}),
]


def _renamed(page: dict[str, Any], name: str) -> dict[str, Any]:
    page["messages"][0]["author_name"] = name
    page["messages"][0]["reactions"] = [
        {"emoji": name, "by": [{"account": "", "device": None, "name": name}]}
    ]
    page["room"]["name"] = name
    return page


def _found(text: str) -> dict[str, Any]:
    result = {**samples.message(1, text, bob=text), "snippet": text}
    return {"results": [result], "has_more": False, "incomplete": [{"room": text, "why": text}]}


@pytest.mark.parametrize(("argv", "script"), PLACES, ids=[f"{p[0][0]}{n}" for n, p in enumerate(PLACES)])
def test_hostile_text_reaches_no_stream_raw(
    argv: list[str], script: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    sendable = [text for text in STRINGS if text.encode("utf-8", "replace").decode() == text]
    queue = iter(sendable)
    (method,) = script("x")
    with daemon(tmp_path, **{method: lambda _: script(next(queue))[method]}) as fake:
        for text in sendable:
            ran = run(tmp_path, *argv)
            for shown in (ran.out, ran.err):
                bad = [
                    c
                    for c in shown
                    if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")
                ]
                assert not bad, (text, shown)
            if argv[0] == "history":
                for row in ran.out.splitlines():
                    assert row[:1] in ("─", " ") or row[2:3] == ":", (text, row)
        assert len(fake.calls) == len(sendable)
