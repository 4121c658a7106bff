"""Options and fixtures of the whole suite.

Decides: which set runs (`--full`), how many seeds (`--seeds N`), where the public
vectors lie (`--vectors DIR`), and how Hypothesis draws: the gate repeats itself, so that
a landing never depends on luck; `--full` draws anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.budget"]  # the time of each layer, and its share

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_VECTORS = ROOT.parent / "shared" / "vectors"
GATE_SEEDS = 20
FULL_SEEDS = 200

settings.register_profile("gate", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("full", deadline=None, print_blob=True, max_examples=1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("p2pchat")
    group.addoption(
        "--vectors",
        type=Path,
        default=DEFAULT_VECTORS,
        metavar="DIR",
        help="folder of the public test vectors (default: ../shared/vectors)",
    )
    group.addoption("--full", action="store_true", help="the long set with new seeds, not the gate")
    group.addoption(
        "--seeds",
        type=int,
        default=None,
        metavar="N",
        help=f"seeds per simulated scenario (default {GATE_SEEDS}; with --full {FULL_SEEDS})",
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("full" if config.getoption("--full") else "gate")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    folder: Path = config.getoption("--vectors")
    if not folder.is_dir():  # said again where a quiet run still shows it
        terminalreporter.section("NOT PROVEN", red=True)
        terminalreporter.line(f"no public vectors at '{folder}': those tests did not run")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Run the long set?"""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def seeds(pytestconfig: pytest.Config, full: bool) -> int:
    """How many seeds a simulated scenario runs."""
    chosen: int | None = pytestconfig.getoption("--seeds")
    return chosen if chosen is not None else FULL_SEEDS if full else GATE_SEEDS


@pytest.fixture(scope="session")
def vectors(pytestconfig: pytest.Config) -> Path:
    """The folder of public vectors. Without it: a failure under CI, a loud skip elsewhere."""
    folder: Path = pytestconfig.getoption("--vectors")
    if not folder.is_dir():
        said = f"NO PUBLIC VECTORS at '{folder}': nothing was proven; give --vectors DIR"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return folder
