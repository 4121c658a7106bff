"""The gate itself, with stand-ins for all it runs: no failure is swallowed, nothing is left running.

Decides: how `.ci/run` deals with the rooms it plays beside the tests. Does not know: what either does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kit.needs import needs_tool

pytestmark = needs_tool("ps")

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 20.0
PASS: Final = """echo '{"session_s": 0, "layers_s": {}}' > "$P2PCHAT_BUDGET_REPORT" """
INSTALL: Final = """
mkdir -p .venv/lib/python3/site-packages/p2pchat-1.dist-info
echo > .venv/lib/python3/site-packages/p2pchat-1.dist-info/RECORD
"""
UNTIL_PLAYED: Final = "until [[ -e played ]]; do sleep 0.05; done\n"
REFUSED: Final = "echo 'chrt: failed to set the policy: Operation not permitted' >&2; exit 1"


class Gate:
    """A checkout in which nothing is real but the gate."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.tmp, self.tools = folder / "checkout", folder / "tmp", folder / "tools"
        for one in (self.checkout / ".ci", self.checkout / ".venv/bin", self.tmp, self.tools):
            one.mkdir(parents=True)
        (folder / "shared" / "vectors").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/run", self.checkout / ".ci/run")
        (self.checkout / ".ci/readme_command.py").write_text("print('. ./tests')\n")
        self._tool(self.tools / "dpkg-query", "echo -n installed")
        for name in ("ruff", "mypy"):
            self._tool(self.checkout / ".venv/bin" / name, "")
        self.process: subprocess.Popen[str] | None = None

    def _tool(self, path: Path, text: str) -> None:
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def begin(self, tests: str, rooms: str, chrt: str = 'shift 2; exec "$@"') -> None:
        """Start it in a session of its own; `rooms` is what plays them."""
        (self.checkout / "tests").write_text(tests)
        self._tool(self.tools / "chrt", chrt)
        self._tool(self.checkout / ".venv/bin/python", f'echo "$*" >> played\n{rooms}')
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", self.checkout / ".ci/run"],
            env={**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}", "TMPDIR": str(self.tmp)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str]:
        """Its exit code and what it printed; AssertionError if it leaves anything behind."""
        assert self.process is not None
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        assert list(self.tmp.iterdir()) == [], said
        deadline = time.monotonic() + PATIENCE_S
        while left := _session(self.process.pid):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        return self.process.returncode, said

    def play(self, tests: str, rooms: str, **more: str) -> tuple[int, str]:
        """From begin to end."""
        self.begin(tests, rooms, **more)
        return self.end()


def _session(leader: int) -> list[str]:
    """What runs in the session of a process, itself not counted."""
    told = subprocess.run(
        ["ps", "-o", "pid=,stat=,args=", "-s", str(leader)], capture_output=True, text=True, check=False
    )
    return [line for line in told.stdout.splitlines() if line.split()[1][0] != "Z"]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    if made.process is not None:
        for line in _session(made.process.pid):
            os.kill(int(line.split()[0]), signal.SIGKILL)
        made.process.wait(PATIENCE_S)
        assert made.process.stdout is not None
        made.process.stdout.close()


def test_the_rooms_are_played_beside_the_tests_and_told(gate: Gate) -> None:
    code, said = gate.play(INSTALL + UNTIL_PLAYED + PASS, "echo room of 50: fine")
    assert code == 0, said
    assert "room of 50: fine" in said
    assert (gate.checkout / "played").read_text() == "-m tests.sim.big 50 200 500\n"


def test_what_an_earlier_gate_installed_is_not_played(gate: Gate) -> None:
    """Its packages may be of another version, and pip changes them while the rooms would load them."""
    subprocess.run(["bash", "-c", INSTALL], cwd=gate.checkout, check=True)
    time.sleep(0.01)
    code, said = gate.play("sleep 1.5; [[ ! -e played ]]\n" + INSTALL + UNTIL_PLAYED + PASS, "")
    assert code == 0, said


@pytest.mark.parametrize("tests", [INSTALL + UNTIL_PLAYED, ""])
def test_rooms_that_fail_fail_the_gate_and_say_why(gate: Gate, tests: str) -> None:
    """Also such as could not begin, for pip was never seen to end."""
    code, said = gate.play(tests + PASS, "echo 'no full mesh: 3 machines lack links' >&2; exit 7")
    assert code == 1
    assert "no full mesh: 3 machines lack links" in said


def test_rooms_that_hang_do_not_hang_the_gate(gate: Gate) -> None:
    run = gate.checkout / ".ci/run"
    text = run.read_text()
    assert text.count("LIMIT_S=1500 ") == 1
    run.write_text(text.replace("LIMIT_S=1500 ", "LIMIT_S=2 "))
    code, said = gate.play(INSTALL + UNTIL_PLAYED + PASS, "echo room of 50: fine; exec sleep 600")
    assert code == 1
    assert "room of 50: fine" in said
    assert "the rooms have not ended after 2 s" in said


def test_where_nothing_may_run_idly_the_rooms_are_played_all_the_same(gate: Gate) -> None:
    code, said = gate.play(INSTALL + UNTIL_PLAYED + PASS, "echo room of 50: fine", chrt=REFUSED)
    assert code == 0, said
    assert "room of 50: fine" in said


@pytest.mark.parametrize("rooms", ["exec sleep 600", "exit 7"])
def test_tests_that_fail_leave_nothing_running(gate: Gate, rooms: str) -> None:
    """Rooms that have ended are no more to be killed: that is no reason to leave the rest."""
    code, said = gate.play(INSTALL + UNTIL_PLAYED + "sleep 0.3; echo 1 failed; false", rooms)
    assert code == 1
    assert "readme command 2: tests failed" in said


@pytest.mark.parametrize("tests", ["touch there; sleep 600", INSTALL + UNTIL_PLAYED + PASS + "; touch there"])
def test_who_breaks_it_off_leaves_nothing_running(gate: Gate, tests: str) -> None:
    """Ctrl-C, which a terminal sends to all: before anything is installed, and while the rooms are waited
    for."""
    gate.begin(tests, "exec sleep 600")
    assert gate.process is not None
    deadline = time.monotonic() + PATIENCE_S
    while not (gate.checkout / "there").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # until it waits: nothing tells that it does
    os.killpg(gate.process.pid, signal.SIGINT)
    code, _ = gate.end()
    assert code == -signal.SIGINT
