"""Nothing is skipped silently, and nothing at all with CI set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import needs


def test_what_is_there_is_not_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert not needs.lacks("tool:sh")


def test_what_is_missing_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert needs.lacks("tool:no-such-tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(needs.MissingInCI, match="no-such-tool"):
        needs.lacks("tool:no-such-tool")


def test_root_is_judged_by_the_effective_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    assert needs.lacks("root")
    monkeypatch.setattr(needs.os, "geteuid", lambda: 0)
    assert not needs.lacks("root")


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_the_mark_skips_by_name_or_fails_in_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "test_play.py").write_text(
        "from tests.kit.needs import needs_tool\n"
        "pytestmark = [needs_tool('no-such-tool')]\n"
        "def test_it():\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-c", str(root / "pyproject.toml"), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert "no-such-tool" in done.stdout
