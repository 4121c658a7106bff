"""How far files have come, as bars on a terminal and as lines of JSON."""

from __future__ import annotations

from typing import Any

import pytest
from p2pchat_cli.progress import bar
from p2pchat_cli.text import columns, ends

from tests.cli import samples
from tests.cli.samples import Motion
from tests.cli.test_files import FAILED

# -- bars -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (
            samples.transfer(state="active", motion=Motion(600_000, 10_000)),
            "report.pdf                 [##########          ]  50 %  10.0 kB/s, 1 min left",
        ),
        (samples.transfer(), "report.pdf                 [                    ]   0 %  offered"),
        (
            samples.transfer(state="done", path="/x"),
            "report.pdf                 [####################] 100 %  done",
        ),
        (
            samples.transfer(state="active", **FAILED),
            "report.pdf                 [                    ]   0 %  waiting: no space left",
        ),
        (
            samples.transfer(state="active", motion=Motion(600_000)),
            "report.pdf                 [##########          ]  50 %  active",
        ),
        (samples.transfer(size=0), "report.pdf                 [                    ]   0 %  offered"),
    ],
    ids=range(6),
)
def test_a_bar(one: dict[str, Any], line: str) -> None:
    assert bar(one, 79) == line


@pytest.mark.parametrize("wide", [20, 40, 59, 60, 79, 200])
def test_a_bar_fits_its_terminal(wide: int) -> None:
    for name in ("x", "宽" * 100, "a" * 300 + ".pdf.exe"):
        one = samples.transfer(name=name, state="active", motion=Motion(1, 10))
        assert columns(bar(one, wide)) <= wide


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("report.pdf", 20, "report.pdf"),
        ("invoice 2026 of the house at the lake.pdf.exe", 20, "invoice 2…ke.pdf.exe"),
        ("宽" * 20 + ".exe", 13, "宽宽宽…宽.exe"),
        ("a\u202eb" * 10, 20, "a\\u202eba…ba\\u202eb"),
    ],
)
def test_the_ending_of_a_long_name_stays(text: str, width: int, shown: str) -> None:
    assert ends(text, width) == shown
    assert columns(ends(text, width)) <= width
    assert "\u202e" not in ends(text, width)
