"""`service`: the files of three systems, read back by parsers, and what the systems are asked.

systemd's own checker reads the unit where it is installed; launchd and Windows are only as proven as
their formats are by Python's readers.
"""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from p2pchat_cli import services
from p2pchat_cli.services import launchd, shared, systemd, windows
from p2pchat_cli.services.shared import Job

from p2pchat.errors import CommandError
from p2pchat.paths import profile
from tests.cli import samples
from tests.cli.contract import told
from tests.cli.stage import daemon, run

AWKWARD = "/home/ann/my \"office\" 100% $HOME 'x' \\o/ ünï"
NS = "{" + windows.SCHEMA + "}"


def job(*more: str, environment: tuple[tuple[str, str], ...] = ()) -> Job:
    words = (sys.executable, "-m", "p2pchat", "--home", *more, "--foreground")
    return Job("p2pchat-test", words, environment, "p2pchat in a home", "/home/ann/p2pchat.log")


# -- what is started ------------------------------------------------------------------------------


def test_a_named_home_has_a_name_and_words_of_its_own(tmp_path: Path) -> None:
    one = shared.job(profile(tmp_path / "a"), {}, "p2pchat")
    other = shared.job(profile(tmp_path / "b"), {}, "p2pchat")
    assert one.name != other.name
    assert one.name.startswith("p2pchat-")
    assert one == shared.job(profile(tmp_path / "a"), {}, "p2pchat")
    assert one.words[1:] == ("-m", "p2pchat", "--home", str(tmp_path / "a"), "--foreground")
    default = shared.job(profile(None), {"XDG_DATA_HOME": "/d"}, "p2pchat")
    assert (default.name, "--home" in default.words) == ("p2pchat", False)
    assert ("XDG_DATA_HOME", "/d") in default.environment


def test_the_single_file_starts_itself(tmp_path: Path) -> None:
    file = tmp_path / "p2pchat.pyz"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("__main__.py", "")
    found = shared.job(profile(tmp_path / "home"), {}, str(file))
    assert found.words == (sys.executable, str(file), "--home", str(tmp_path / "home"), "up", "--foreground")
    assert found.environment == ()
    file.write_bytes(b"#!/usr/bin/python3\n" + file.read_bytes())
    assert shared.job(profile(tmp_path / "home"), {}, str(file)) == found
    file.write_bytes(b"#!/usr/bin/python3\nimport p2pchat_cli\n")  # the script that pip makes
    assert shared.job(profile(tmp_path / "home"), {}, str(file)).words[1:3] == ("-m", "p2pchat")


def test_a_folder_with_a_line_end_is_refused() -> None:
    with pytest.raises(CommandError, match="line end"):
        shared.job(profile("/tmp/a\nb"), {}, "p2pchat")


def test_another_system_is_told_so() -> None:
    with pytest.raises(CommandError, match="'plan9'"):
        services.here({}, "plan9")
    assert [services.here({}, name).system for name in ("linux", "darwin", "win32")] == [
        "systemd",
        "launchd",
        "windows",
    ]


# -- files ----------------------------------------------------------------------------------------


def _unit_words(line: str) -> list[str]:
    """A command line as systemd.service(5) reads it: words in double quotes, `\\`, `%%` and `$$`."""
    words, word, inside, escaped = [], "", False, False
    for letter in line:
        if escaped:
            word, escaped = word + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            if inside:
                words.append(word)
            inside, word = not inside, ""
        elif inside:
            word += letter
    return [one.replace("%%", "%").replace("$$", "$") for one in words]


def test_the_unit_says_what_was_meant_whatever_the_path() -> None:
    made = job(AWKWARD, environment=(("PYTHONPATH", AWKWARD),))
    lines = systemd.unit(made).decode().splitlines()
    (start,) = [line.partition("=")[2] for line in lines if line.startswith("ExecStart=")]
    assert _unit_words(start) == list(made.words)
    assert "%%" in start
    assert "$$HOME" in start
    (environment,) = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
    assert _unit_words(environment.replace("$", "$$")) == [f"PYTHONPATH={AWKWARD}"]
    assert "WantedBy=default.target" in lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_itself_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "p2pchat-test.service"
    file.write_bytes(systemd.unit(job(AWKWARD, environment=(("PYTHONPATH", AWKWARD),))))
    words = ["systemd-analyze", "--user", "verify", "--man=no", str(file)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "p2pchat-test" in line]
    assert ours == []
    file.write_bytes(systemd.unit(job(AWKWARD)).replace(b"Type=exec", b"Tipe=exec"))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert "Tipe" in done.stdout + done.stderr  # it does look


def test_the_agent_is_a_property_list() -> None:
    made = job(AWKWARD, environment=(("PYTHONPATH", AWKWARD),))
    found = plistlib.loads(launchd.agent(made))
    assert found["ProgramArguments"] == list(made.words)
    assert found["EnvironmentVariables"] == {"PYTHONPATH": AWKWARD}
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert (found["RunAtLoad"], found["Umask"], found["Label"]) == (True, 63, "p2pchat-test")


def _windows_words(line: str) -> list[str]:
    """A command line as CommandLineToArgvW reads it: backslashes count before a quote only."""
    words, word, quoted, slashes, begun = [], "", False, 0, False
    for letter in line + " ":
        if letter == "\\":
            slashes += 1
            continue
        if letter == '"':
            word += "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            else:
                quoted, begun = not quoted, True
            slashes = 0
            continue
        word += "\\" * slashes
        slashes = 0
        if letter == " " and not quoted:
            if word or begun:
                words.append(word)
            word, begun = "", False
        else:
            word += letter
    return words


def test_the_task_is_xml_in_the_order_of_its_schema() -> None:
    made = job('C:\\Users\\Ann\\my <office> & "co" \\')
    raw = windows.task(made, "OFFICE\\ann")
    assert raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    root = Xml.fromstring(raw)
    assert root.tag == NS + "Task"
    parts = [child.tag.removeprefix(NS) for child in root]
    assert parts == ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"]
    action = root.find(f"{NS}Actions/{NS}Exec")
    assert action is not None
    assert action.findtext(f"{NS}Command") == made.words[0]
    assert _windows_words(action.findtext(f"{NS}Arguments") or "") == list(made.words[1:])
    assert root.findtext(f"{NS}Settings/{NS}ExecutionTimeLimit") == "PT0S"
    assert root.findtext(f"{NS}Triggers/{NS}LogonTrigger/{NS}UserId") == "OFFICE\\ann"


def test_a_task_with_an_environment_goes_by_the_interpreter() -> None:
    root = Xml.fromstring(windows.task(job("C:\\x", environment=(("PYTHONPATH", "C:\\lib"),)), "ann"))
    action = root.find(f"{NS}Actions/{NS}Exec")
    assert action is not None
    assert action.findtext(f"{NS}Command") == "cmd.exe"
    assert 'set "PYTHONPATH=C:\\lib" && ' in (action.findtext(f"{NS}Arguments") or "")


# -- what the systems are asked -------------------------------------------------------------------


class Bench:
    """Programs of a system that write down what they are asked and answer as told."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "asked"
        patch.setenv("PATH", str(self.folder))

    def program(self, name: str, script: str = "") -> None:
        file = self.folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def asked(self) -> list[str]:
        found = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


IS_ACTIVE = 'case "$2" in is-active) echo active;; esac'


def test_systemd_starts_it_at_boot_where_lingering_is_allowed(bench: Bench, tmp_path: Path) -> None:
    linger = tmp_path / "linger"
    linger.mkdir()
    service = systemd.Systemd(tmp_path / "user", linger, "ann")
    bench.program("systemctl", IS_ACTIVE)
    bench.program("loginctl", f": > {linger}/ann")
    found = service.install(job("/h"), start=True)
    assert (found.installed, found.current, found.enabled, found.running) == (True, True, True, True)
    assert (found.at, found.fix) == ("boot", "")
    assert bench.asked() == [
        "systemctl --user daemon-reload",
        "loginctl enable-linger ann",
        "systemctl --user restart p2pchat-test.service",
        "systemctl --user is-active p2pchat-test.service",
    ]
    link = tmp_path / "user" / "default.target.wants" / "p2pchat-test.service"
    assert link.resolve() == tmp_path / "user" / "p2pchat-test.service"
    assert service.stands(job("/moved")).current is False
    bench.program("systemctl", 'case "$2" in is-active) echo inactive; exit 3;; esac')
    found = service.uninstall(job("/h"))
    assert (found.installed, found.enabled, found.running, found.at) == (False, False, False, "")
    assert list((tmp_path / "user").rglob("*.service")) == []
    assert service.uninstall(job("/h")) == found  # again is no mistake


def test_systemd_says_what_lingering_needs(bench: Bench, tmp_path: Path) -> None:
    service = systemd.Systemd(tmp_path / "user", tmp_path / "linger", "ann")
    bench.program("systemctl", IS_ACTIVE)
    bench.program("loginctl", "echo Access denied >&2; exit 1")
    found = service.install(job("/h"), start=True)
    assert (found.at, found.fix) == ("login", "sudo loginctl enable-linger ann")


def test_systemd_without_a_manager_is_left_a_link(bench: Bench, tmp_path: Path) -> None:
    service = systemd.Systemd(tmp_path / "user", tmp_path / "linger", "ann")
    bench.program("systemctl", "echo Failed to connect to bus: No medium found >&2; exit 1")
    found = service.install(job("/h"), start=True)
    assert (found.enabled, found.running, found.at) == (True, None, "login")
    assert "systemctl --user restart p2pchat-test.service" not in bench.asked()


def test_what_systemd_will_not_start_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.program("systemctl", 'case "$2" in restart) echo Job failed >&2; exit 1;; esac')
    with pytest.raises(CommandError, match="Job failed") as caught:
        systemd.Systemd(tmp_path / "user", tmp_path, "ann").install(job("/h"), start=True)
    assert "journalctl --user -u p2pchat-test.service" in caught.value.hint


def test_launchd_and_the_scheduler_are_asked_in_their_words(bench: Bench, tmp_path: Path) -> None:
    bench.program("launchctl", 'case "$1" in print) echo "  state = running";; esac')
    bench.program("schtasks")
    mac = launchd.Launchd(tmp_path / "agents", 501)
    found = mac.install(job("/h"), start=True)
    assert (found.running, found.at, found.current) == (True, "login", True)
    file = tmp_path / "agents" / "p2pchat-test.plist"
    assert f"launchctl bootstrap gui/501 {file}" in bench.asked()
    assert mac.uninstall(job("/h")).installed is False
    assert not file.exists()
    pc = windows.Scheduler(tmp_path / "tasks", {"USERNAME": "ann"})
    found = pc.install(job("/h"), start=False)
    assert (found.enabled, found.running) == (True, None)
    task = tmp_path / "tasks" / "p2pchat-test-task.xml"
    assert bench.asked()[-2:] == [
        f"schtasks /Create /TN p2pchat-test /XML {task} /F",
        "schtasks /Query /TN p2pchat-test",
    ]
    assert pc.uninstall(job("/h")).installed is False
    assert "schtasks /Delete /TN p2pchat-test /F" in bench.asked()
    bench.program("launchctl", "echo Bootstrap failed: 5 >&2; exit 5")
    with pytest.raises(CommandError, match="Bootstrap failed"):
        mac.install(job("/h"), start=True)


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
def test_the_command_from_nothing_to_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    bench.program("systemctl", "echo Failed to connect to bus >&2; exit 1")
    home = tmp_path / "home"
    before = told(run(home, "service", "status", "--json"))["service"]
    assert before == {
        "system": "systemd",
        "file": before["file"],
        "installed": False,
        "current": False,
        "enabled": False,
        "running": False,
        "at": "",
        "fix": None,
    }
    assert before["file"].startswith(str(tmp_path / "config" / "systemd" / "user" / "p2pchat-"))
    ran = run(home, "service", "install")
    assert (ran.code, ran.out) == (0, f"starts when you log in: {before['file']}\n")
    assert "until then: `p2pchat up" in ran.err
    assert "sudo loginctl enable-linger" in ran.err
    assert json.loads(run(home, "service", "status", "--json").out)["service"]["enabled"] is True
    Path(before["file"]).write_text("[Unit]\n")
    assert "`p2pchat service install" in run(home, "service", "status").err
    assert run(home, "service", "uninstall").out == "not installed (systemd)\n"
    assert run(home, "service", "uninstall").code == 0
    assert not home.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
def test_a_daemon_started_by_hand_is_left_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    bench.program("systemctl", 'case "$2" in is-active) echo inactive; exit 3;; esac')
    with daemon(tmp_path, status=samples.status()):
        ran = run(tmp_path, "service", "install")
    assert ran.code == 0
    assert "the service takes over at the next login" in ran.err
    assert not [line for line in bench.asked() if "restart" in line]
