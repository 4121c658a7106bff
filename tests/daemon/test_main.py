"""The daemon as a process: how it starts, what stops it, and with which exit code."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pchat.control.client import PlainClient, connect
from p2pchat.daemon import main as under_test
from p2pchat.daemon.main import arguments, leaves, settle, start_log
from p2pchat.daemon.runner import Stop
from p2pchat.errors import CommandError, SettingsError
from p2pchat.paths import profile
from tests.cli.stage import subprocess_environment

READY_S = 20.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def command(home: Path, *argv: str) -> list[str]:
    return [sys.executable, "-m", "p2pchat", "--home", os.fspath(home), "--no-announce", *argv]


def failing(home: Path, *argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A daemon that cannot start: it must end by itself, with a sentence and no traceback."""
    done = subprocess.run(
        command(home, "--foreground", *argv),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**subprocess_environment(), **(env or {})},
        timeout=READY_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    return done


@contextmanager
def daemon(home: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that said `ready`; killed at the end if it still lives."""
    process = subprocess.Popen(
        command(home, "--foreground", *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=subprocess_environment(),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def client(home: Path) -> PlainClient:
    return connect(profile(home))


# -- life ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_good_order(home: Path, how: signal.Signals) -> None:
    with daemon(home, "--name", "Ann") as process:
        with client(home) as asking:
            assert asking.call("status")["me"]["name"] == "Ann"
        process.send_signal(how)
        assert process.wait(READY_S) == 0
    log = Path(f"{profile(home).archive}-wal")
    assert not log.exists() or log.stat().st_size == 0, "what was erased may still stand in the log"
    assert home.stat().st_mode & 0o077 == 0


def test_the_same_person_comes_back_under_the_same_name(home: Path) -> None:
    seen = []
    for argv in (("--name", "Ann"), (), ("--name", "Anna")):
        with daemon(home, *argv) as process, client(home) as asking:
            seen.append(asking.call("status")["me"])
            process.terminate()
            process.wait(READY_S)
    assert len({me["account"] for me in seen}) == 1
    assert [me["name"] for me in seen] == ["Ann", "Ann", "Anna"]


def test_the_first_name_is_that_of_the_system_user(home: Path) -> None:
    with daemon(home), client(home) as asking:
        assert asking.call("status")["me"]["name"] == under_test.system_name()


def test_a_second_daemon_of_the_profile_is_refused(home: Path) -> None:
    with daemon(home) as process:
        done = failing(home)
        assert done.returncode not in (0, 2)
        assert done.stderr.startswith("error: ")
        assert process.poll() is None


def test_the_log_tells_nothing_that_was_said(home: Path) -> None:
    with daemon(home, "--name", "Ann") as process, client(home) as asking:
        with pytest.raises(CommandError):
            asking.call("send", {"target": "bob", "text": "open sesame"})
        process.terminate()
        assert process.wait(READY_S) == 0
    log = Path(profile(home).log).read_text()
    assert "ready" in log
    assert "sesame" not in log
    assert "Ann" not in log


# -- what cannot be ------------------------------------------------------------------------------


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = failing(home, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: port {port} is in use")


@pytest.mark.parametrize(
    ("argv", "env", "quoted"),
    [
        (("--port", "none"), {}, "none"),
        (("--port", "70000"), {}, "70000"),
        (("--peer", "host:x"), {}, "'x' (--peer)"),
        ((), {"P2PCHAT_PORT": "eighty"}, "P2PCHAT_PORT"),
    ],
)
def test_a_setting_that_makes_no_sense_is_quoted(
    home: Path, argv: tuple[str, ...], env: dict[str, str], quoted: str
) -> None:
    done = failing(home, *argv, env=env)
    assert done.returncode == 2
    assert quoted in done.stderr


def test_a_foreign_file_in_place_of_the_archive_is_left_alone(home: Path) -> None:
    home.mkdir(mode=0o700)
    Path(profile(home).archive).write_bytes(b"my novel\n" * 100)
    done = failing(home)
    assert done.returncode == 9
    assert "hint: " in done.stderr
    assert Path(profile(home).archive).read_bytes() == b"my novel\n" * 100


def test_a_damaged_identity_is_never_replaced_by_a_new_person(home: Path) -> None:
    home.mkdir(mode=0o700)
    identity = Path(profile(home).identity)
    identity.write_bytes(b"damaged")
    identity.chmod(0o600)
    done = failing(home)
    assert done.returncode == 9
    assert identity.read_bytes() == b"damaged"


def test_an_archive_that_cannot_be_written_ends_it_with_9(home: Path) -> None:
    """A file that may not grow: each commit fails, and so does the one after starting over."""
    with daemon(home, "--name", "Ann") as process, client(home) as asking:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8192, 8192))  # its log is longer than that
        until = time.monotonic() + READY_S
        while process.poll() is None and time.monotonic() < until:
            try:
                asking.call("config.set", {"key": "name", "value": f"Ann {time.monotonic_ns()}"[:40]}, 5)
            except CommandError:
                continue
        assert process.wait(READY_S) == 9


# -- settings ---------------------------------------------------------------------------------------


def test_flag_beats_environment_beats_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(mode=0o700)
    where = profile(home)
    Path(where.config).parent.mkdir(parents=True, exist_ok=True)
    Path(where.config).write_text('name = "File"\nport = 26705\n')
    monkeypatch.setenv("P2PCHAT_NAME", "Twin")
    monkeypatch.delenv("P2PCHAT_PORT", raising=False)

    def found(*argv: str) -> dict[str, tuple[object, str]]:
        args = arguments().parse_args(list(argv))
        return {one.key: (one.value, one.origin) for one in settle(args, where)}

    assert found()["name"] == ("Twin", "environment")
    assert found()["port"][1] == "user"
    assert found("--name", "Flag", "--port", "26706")["name"] == ("Flag", "flag")
    Path(where.config).write_text("name = \n")
    with pytest.raises(SettingsError, match=str(where.config)):
        found()


def test_an_option_must_be_spelled_out() -> None:
    with pytest.raises(SystemExit) as usage:
        arguments().parse_args(["--fore"])
    assert usage.value.code == 2
    assert arguments().parse_args([]) == argparse.Namespace(
        home=None,
        name=None,
        interface=[],
        port=None,
        peer=[],
        no_announce=False,
        join=False,
        replace=False,
        recover=False,
        look=False,
        foreground=False,
    )


def test_a_failure_is_found_however_many_nurseries_have_wrapped_it() -> None:
    one, two = Stop("one"), Stop("two")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ExceptionGroup("core", [one])]), two])
    assert list(leaves(group)) == [one, two]


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setattr(under_test, "LOG_BYTES", 10_000)
    try:
        start_log(tmp_path / "log", also_stderr=False)
        for n in range(2000):
            logging.getLogger("p2pchat.test").info("line %d", n)
    finally:
        for handler in [one for one in root.handlers if one not in before]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 20_000
