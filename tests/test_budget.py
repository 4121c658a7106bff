"""The timer of the gate: it files tests by folder, and it really fails a session.

Decides: nothing. Does not know: how long the real layers take.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.budget import LAYER_OF_FOLDER, SHARES_MIN, beyond, layer_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("nodeid", "layer"),
    [
        ("tests/wire/test_codec.py::test_a", "floors"),
        ("tests/test_architecture.py::test_b[x/y]", "floors"),
        ("tests/vectors/test_noise.py::test_c", "floors"),
        ("tests/sim/test_swarm.py::test_d[seed/3]", "simulators"),
        ("tests/cli/test_send.py::TestSend::test_e", "hostile and cli"),
        ("tests/packaging/test_wheel.py::test_f", "packaging"),
    ],
)
def test_a_folder_is_a_layer(nodeid: str, layer: str) -> None:
    assert layer_of(nodeid) == layer


def test_the_shares_fit_into_the_gate() -> None:
    assert set(LAYER_OF_FOLDER.values()) <= set(SHARES_MIN)
    assert sum(SHARES_MIN.values()) - SHARES_MIN["packaging"] + 3 == 30


def test_only_the_layer_beyond_its_share_is_named() -> None:
    assert beyond({"floors": 224.0, "lan": 541.0}) == ["layer 'lan' took 541.0 s, its share is 540.0 s"]
    assert beyond({"floors": 226.0}, scale=2) == []


@pytest.mark.parametrize(
    ("ci", "arguments", "code"),
    [
        ("true", ["--budget-scale=1e-9"], 1),
        ("true", [], 0),
        ("true", ["--budget-scale=1e-9", "--full"], 0),
        ("", ["--budget-scale=1e-9"], 0),
    ],
)
def test_a_session_beyond_its_share_fails_in_ci(
    tmp_path: Path, ci: str, arguments: list[str], code: int
) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--full', action='store_true')\n"
    )
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n")
    report = tmp_path / "budget.json"
    env = os.environ | {"CI": ci, "P2PCHAT_BUDGET_REPORT": str(report), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "tests.budget", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run([*command, str(tmp_path)], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("its share is" in done.stdout) == ("--budget-scale=1e-9" in arguments)
    assert set(json.loads(report.read_text())["layers_s"]) == {"floors"}
