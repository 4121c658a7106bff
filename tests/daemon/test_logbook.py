"""Nothing that somebody said reaches the log, in whatever exception it travels."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from p2pchat.daemon.logbook import plain, told
from p2pchat.daemon.main import start_log
from p2pchat.errors import ArchiveError, CommandError, RemoteProtocolError
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.events import Message
from tests.cli.stage import subprocess_environment
from tests.daemon.stagehands import Stage

SAID = "meet me at the bridge"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The log of a daemon, which takes whatever is logged in this process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    start_log(tmp_path / "p2pchat.log", also_stderr=False)
    yield tmp_path / "p2pchat.log"
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


def caught(act: object) -> BaseException:
    """What `act` raises."""
    try:
        act()  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raising(error: BaseException) -> BaseException:
    def act() -> None:
        text = SAID
        assert text
        raise error

    return caught(act)


def wrapped() -> BaseException:
    def act() -> None:
        try:
            {}[SAID]
        except KeyError as error:
            error.add_note(SAID)
            raise ValueError(SAID) from error

    return caught(act)


def searched() -> BaseException:
    conn = sqlite3.connect(":memory:")
    return caught(lambda: conn.execute(f'SELECT "{SAID}'))


FAILURES = {
    "ours by mistake": raising(CommandError("failed", f"{SAID!r} is no id", SAID)),
    "key and value": wrapped(),
    "sqlite": searched(),
    "unicode": raising(UnicodeEncodeError("utf-8", SAID + "\ud800", 21, 22, "surrogates")),
    "msgspec": raising(msgspec.ValidationError(f"Invalid value {SAID!r}")),
    "group": raising(ExceptionGroup(SAID, [wrapped(), ExceptionGroup("inner", [RuntimeError(SAID)])])),
    "two lines": raising(AssertionError(f"\n{SAID}\n")),
}


@pytest.mark.parametrize("name", FAILURES)
def test_types_and_places_are_kept_and_words_are_not(name: str, log: Path) -> None:
    error = FAILURES[name]
    logger = logging.getLogger("p2pchat.test")
    logger.error("starting over: %s", error)
    logger.error("it failed", exc_info=error)
    text = log.read_text("utf-8")
    assert "bridge" not in text
    assert text.count(type(error).__name__) >= 2
    assert "test_logbook.py" in text, "the place is told"


def test_causes_and_groups_are_followed_to_the_end() -> None:
    text = told(FAILURES["group"])
    for kind in ("KeyError", "ValueError", "RuntimeError", "which led to:", "2 of 2:"):
        assert kind in text
    circle = ValueError("a")
    circle.__cause__ = KeyError("b")
    circle.__cause__.__cause__ = circle
    assert told(circle).count("ValueError") == 1


def test_what_is_ours_or_the_systems_is_said() -> None:
    assert plain(ArchiveError("the archive\n'x' is locked")) == "ArchiveError: the archive 'x' is locked"
    assert plain(RemoteProtocolError("frame out of place")) == "RemoteProtocolError: frame out of place"
    assert plain(OSError(28, "No space left on device", SAID)) == "OSError: No space left on device"
    locked = caught(lambda: sqlite3.connect("/nowhere/at/all.db"))
    assert plain(locked) == "OperationalError: SQLITE_CANTOPEN"


def test_bytes_of_others_end_as_a_reason_without_them() -> None:
    error = caught(lambda: decode(Message, SAID.encode()))
    assert plain(error) == "RemoteProtocolError: malformed Message"
    assert "bridge" not in told(error)


async def test_a_bug_met_while_a_message_is_handled(log: Path) -> None:
    stage = Stage()
    with trio.fail_after(5):
        await stage.play(f"bug {SAID}")
    text = log.read_text("utf-8")
    assert "an input could not be handled" in text
    assert "starting over from the archive: ZeroDivisionError" in text
    assert "bridge" not in text


@pytest.mark.parametrize(
    "act",
    [
        "raise ValueError(said)",
        "import trio\nasync def f():\n async with trio.open_nursery():\n  raise KeyError(said)\ntrio.run(f)",
        "import threading\ndef f(): raise ValueError(said)\nthreading.Thread(target=f).start()",
        "class C:\n def __del__(self): raise ValueError(said)\nC()",
    ],
)
def test_what_nobody_catches_is_as_discreet(act: str) -> None:
    code = (
        "import sys\nfrom p2pchat.daemon.logbook import keep_uncaught\nkeep_uncaught()\nsaid = sys.argv[1]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + act, SAID],
        capture_output=True,
        text=True,
        env=subprocess_environment(),
        check=False,
    )
    assert "Error" in done.stderr
    assert "bridge" not in done.stderr
