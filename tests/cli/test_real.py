"""The command line with real daemons: start, stop, failures at the start, and the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.contract import FIELDS
from tests.cli.stage import subprocess_environment
from tests.cli.terminal import terminal


def p2pchat(home: Path, *argv: str, code: int | None = 0, **more: Any) -> subprocess.CompletedProcess[str]:
    """One command as a process; its pipes end with it, or this would wait for the daemon."""
    done = subprocess.run(
        [sys.executable, "-m", "p2pchat_cli", "--home", os.fspath(home), *argv],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**subprocess_environment(), **more.pop("env", {})},
        timeout=60,
        check=False,
        **more,
    )
    assert code is None or done.returncode == code, (argv, done.stdout, done.stderr)
    return done


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    p2pchat(folder, "down", "--now", code=None)


def test_up_and_down(home: Path, tmp_path: Path) -> None:
    (tmp_path / "somewhere").mkdir()
    found = json.loads(p2pchat(home, "up", "--name", "Ann", "--json", cwd=tmp_path / "somewhere").stdout)
    assert FIELDS["status"] <= set(found)
    assert (found["me"]["name"], found["already_running"]) == ("Ann", False)
    pid = found["daemon"]["pid"]
    if sys.platform == "linux":
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        links = {os.readlink(f"/proc/{pid}/fd/{n}") for n in (0, 1, 2)}
        assert links == {"/dev/null", os.fspath(home / "p2pchat.log")}
        assert os.getsid(pid) == pid
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert words[1:3] == [b"-m", b"p2pchat"]
    assert home.stat().st_mode & 0o077 == 0
    again = json.loads(p2pchat(home, "up", "--json").stdout)
    assert (again["already_running"], again["daemon"]["pid"]) == (True, pid)
    assert p2pchat(home, "whoami").stdout.splitlines()[0] == "Ann"
    doctor = json.loads(p2pchat(home, "doctor", "--json", code=None).stdout)
    assert {one["name"]: one["ok"] for one in doctor["checks"]}["archive"] is True
    assert json.loads(p2pchat(home, "down", "--json").stdout)["me"]["name"] == "Ann"
    with pytest.raises(ProcessLookupError):
        _signal_unless_zombie(pid)
    assert p2pchat(home, "status", code=3).stderr.endswith(f"hint: p2pchat up --home {home}\n")
    assert "ready" in p2pchat(home, "logs").stdout


def _signal_unless_zombie(pid: int) -> None:
    """ProcessLookupError if the process has ended, collected by somebody or not."""
    os.kill(pid, 0)
    if Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z":
        raise ProcessLookupError


def test_a_lock_left_by_a_killed_daemon_is_taken_over(home: Path) -> None:
    pid = json.loads(p2pchat(home, "up", "--name", "Ann", "--json").stdout)["daemon"]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert p2pchat(home, "status", code=None).returncode == 3
    found = json.loads(p2pchat(home, "up", "--json").stdout)
    assert found["daemon"]["pid"] != pid
    assert found["already_running"] is False


def test_another_name_later_renames(home: Path) -> None:
    p2pchat(home, "up", "--name", "Ann")
    assert "already up as Anna" in p2pchat(home, "up", "--name", "Anna").stdout
    shown = json.loads(p2pchat(home, "config", "show", "--json").stdout)["settings"]
    assert next(one for one in shown if one["key"] == "name")["value"] == "Anna"


def test_a_name_given_once_stays(home: Path) -> None:
    p2pchat(home, "up", "--name", "Ann")
    p2pchat(home, "down")
    p2pchat(home, "up")
    assert p2pchat(home, "whoami").stdout.splitlines()[0] == "Ann"


def test_settings_of_a_daemon_know_their_source(home: Path) -> None:
    """The environment of `up` is read by the daemon itself; a flag wins over it."""
    env = {"P2PCHAT_NAME": "Eve", "P2PCHAT_NO_ANNOUNCE": "1", "P2PCHAT_PEER": "127.0.0.1:9"}
    p2pchat(home, "up", "--peer", "127.0.0.1:10", env=env)
    found = {
        one["key"]: one for one in json.loads(p2pchat(home, "config", "show", "--json").stdout)["settings"]
    }
    assert (found["name"]["value"], found["name"]["origin"]) == ("Eve", "environment")
    assert (found["peers"]["value"], found["peers"]["origin"]) == (["127.0.0.1:10"], "flag")
    again = p2pchat(home, "up", env=env)
    assert "counts from the next start" not in again.stderr


def test_a_foreign_file_in_place_of_the_archive_is_told(home: Path) -> None:
    p2pchat(home, "up", "--name", "Ann")
    p2pchat(home, "down")
    for extra in home.glob("archive.db*"):
        extra.unlink()
    (home / "archive.db").write_bytes(b"GIF89a" + b"\0" * 5000)
    done = p2pchat(home, "up", "--json", code=9)
    error = json.loads(done.stdout)["error"]
    assert "archive.db" in error["message"]
    assert (home / "archive.db").read_bytes().startswith(b"GIF89a")


def test_a_home_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = p2pchat(tmp_path / "file" / "home", "up", "--json", code=9)
    assert json.loads(done.stdout)["error"]["hint"]


def test_foreground_prints_ready_and_ends_on_sigterm(home: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "p2pchat_cli",
            "--home",
            os.fspath(home),
            "up",
            "--name",
            "Ann",
            "--foreground",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=subprocess_environment(),
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "ready\n"
        assert json.loads(p2pchat(home, "status", "--json").stdout)["daemon"]["pid"] == process.pid
        process.terminate()
        assert process.wait(20) == 0


def test_up_on_a_terminal_tells_who_is_here(home: Path) -> None:
    with terminal(home, "up", "--name", "Ann", "--no-announce") as screen:
        assert screen.finish() == 0
    assert screen.lines()[0].startswith("up as Ann, listening on ")


def test_two_people_talk(tmp_path: Path) -> None:
    """Ann and Bob on one host, found by address: the whole conversation by commands."""
    ann, bob = tmp_path / "ann", tmp_path / "bob"
    mark = os.urandom(2).hex()
    names = {ann: f"Ann-{mark}", bob: f"Bob-{mark}"}
    try:
        for folder, name in names.items():
            p2pchat(folder, "up", "--name", name, "--no-announce")
        listen = json.loads(p2pchat(bob, "status", "--json").stdout)["daemon"]["listen"][0]
        added = p2pchat(ann, "peers", "add", "127.0.0.1:" + listen.rpartition(":")[2], "--json")
        assert json.loads(added.stdout)["connected"] is True
        p2pchat(bob, "peers", "--wait", names[ann], "--timeout", "10")
        sent = json.loads(p2pchat(ann, "send", names[bob], "hello", "--wait", "delivered", "--json").stdout)
        assert sent["state"] == "delivered"
        again = p2pchat(ann, "send", names[bob], "once", "--key", "k1").stdout
        assert p2pchat(ann, "send", names[bob], "once", "--key", "k1").stdout == again
        assert json.loads(p2pchat(bob, "inbox", "--json").stdout)["unread"][0]["count"] == 2
        page = json.loads(p2pchat(bob, "read", names[ann], "--json").stdout)
        assert [message["text"] for message in page["messages"]] == ["hello", "once"]
        assert FIELDS["message"] <= set(page["messages"][0])
        assert json.loads(p2pchat(bob, "inbox", "--json").stdout)["unread"] == []
        p2pchat(ann, "edit", "last", "twice", "--in", names[bob])
        first = next(
            line for line in p2pchat(bob, "history", names[ann]).stdout.splitlines() if "hello" in line
        )
        p2pchat(bob, "react", first.split()[-1], "👍")
        stream = p2pchat(
            bob, "listen", names[ann], "--since", "0", "--count", "4", "--timeout", "10", "--json"
        ).stdout
        kinds = [json.loads(line)["type"] for line in stream.splitlines()]
        assert kinds == ["ready", "message", "message", "edit", "reaction"]
        (hit,) = json.loads(p2pchat(bob, "search", "twice", "--json").stdout)["results"]
        assert hit["edited"] is True
        shown = json.loads(p2pchat(ann, "trust", "show", names[bob], "--json").stdout)
        theirs = json.loads(p2pchat(bob, "trust", "show", names[ann], "--json").stdout)
        assert shown["safety_number"] == theirs["safety_number"]
        p2pchat(ann, "trust", "verify", names[bob], "--safety-number", "0" * 60, code=6)
        p2pchat(ann, "trust", "verify", names[bob], "--safety-number", shown["safety_number"])
        p2pchat(bob, "down")
        waiting = json.loads(p2pchat(ann, "send", names[bob], "later", "--json").stdout)
        assert waiting["state"] == "queued"
        late = p2pchat(
            ann, "send", names[bob], "too", "--wait", "delivered", "--timeout", "0.2", "--json", code=5
        )
        assert set(json.loads(late.stdout)) >= {"id", "room", "state", "error"}
        p2pchat(ann, "queue", "cancel", waiting["id"])
        (left,) = json.loads(p2pchat(ann, "queue", "--json").stdout)["queue"]
        assert left["preview"] == "too"
        assert "1 message still waiting" in p2pchat(ann, "down").stderr
    finally:
        for folder in names:
            p2pchat(folder, "down", "--now", code=None)


def test_the_demo_plays_and_cleans_up(tmp_path: Path) -> None:
    done = p2pchat(tmp_path / "unused", "demo", env={"TMPDIR": os.fspath(tmp_path)})
    assert "\u2026" not in done.stdout
    assert "Three is fine. I bring the green folder." in done.stdout
    assert done.stdout.count("Good. The green folder is on my desk.") >= 2  # said in the room, and read there
    assert "/bob/inbox/floor-plan.txt" in done.stdout
    assert done.stdout.count("floor-plan.txt") >= 5, "offered, in the inbox, taken, listed, in the history"
    assert done.stdout.rstrip().endswith("p2pchat up")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_can_be_kept(tmp_path: Path) -> None:
    done = p2pchat(tmp_path / "unused", "demo", "--keep", "--json", env={"TMPDIR": os.fspath(tmp_path)})
    found = json.loads(done.stdout)
    assert found["ok"] is True
    for home in found["kept"].values():
        p2pchat(Path(home), "status")
        p2pchat(Path(home), "down", "--now")


def test_log_can_be_followed(tmp_path: Path) -> None:
    log = tmp_path / "p2pchat.log"
    log.write_text("first\n")
    with terminal(tmp_path, "logs", "-f") as screen:
        screen.expect("first")
        with log.open("a") as stream:
            stream.write("second\n")
        screen.expect("second")
        log.rename(tmp_path / "old")
        log.write_text("third\n")
        screen.expect("third")
        began = time.monotonic()
        screen.process.send_signal(signal.SIGINT)
        assert screen.finish() == 130
        assert time.monotonic() - began < 5
