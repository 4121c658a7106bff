"""How long each layer of the gate took, and whether it kept its share.

Decides: which test belongs to which layer (by its folder) and what share of the gate each layer
has. Does not know: what the tests do, nor what install, lint and types cost; `.ci/run` adds those.

A share is wall time of setup, call and teardown together. With CI=true a layer beyond its share
fails the session, unless `--full` runs the long set. With xdist the sum is that of all workers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

# Minutes of the gate on 2 cores, which takes at most 25 in all (.ci/run). Shares are ceilings, not reached
# all at once: with install, lint and types they add up to 30.
SHARES_MIN: dict[str, float] = {
    "floors": 3.75,
    "simulators": 4.25,
    "lan": 9,
    "crash": 2.25,
    "fuzz": 1.5,
    "hostile and cli": 4,
    "bench smoke": 2.25,
    "packaging": 1,  # part of the 3 minutes for install, lint and types
}
# folder below tests/ → layer; every other folder mirrors a floor of the package
LAYER_OF_FOLDER = {
    "sim": "simulators",
    "lan": "lan",
    "crash": "crash",
    "fuzz": "fuzz",
    "hostile": "hostile and cli",
    "cli": "hostile and cli",
    "bench": "bench smoke",
    "packaging": "packaging",
}


def layer_of(nodeid: str) -> str:
    """The layer of a test by its node id, which starts with its path below the root."""
    parts = nodeid.split("::")[0].split("/")
    folder = parts[1] if len(parts) > 2 else ""
    return LAYER_OF_FOLDER.get(folder, "floors")


def beyond(spent_s: Mapping[str, float], scale: float = 1.0) -> list[str]:
    """One sentence for each layer that took more than its share; scale stretches all shares."""
    found = []
    for layer, minutes in SHARES_MIN.items():
        share_s = minutes * 60 * scale
        spent = spent_s.get(layer, 0.0)
        if spent > share_s:
            found.append(f"layer '{layer}' took {spent:.1f} s, its share is {share_s:.1f} s")
    return found


class Budget:
    """Sums the time of every report by layer and judges at the end of the session."""

    def __init__(self, strict: bool, scale: float, report: Path | None) -> None:
        self.strict = strict
        self.scale = scale
        self.report = report
        self.spent_s: dict[str, float] = {}
        self.tests: dict[str, int] = {}
        self.started = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        layer = layer_of(report.nodeid)
        self.spent_s[layer] = self.spent_s.get(layer, 0.0) + report.duration
        if report.when == "call":
            self.tests[layer] = self.tests.get(layer, 0) + 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.strict and beyond(self.spent_s, self.scale) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.report is not None:
            took_s = time.monotonic() - self.started
            self.report.write_text(json.dumps({"session_s": took_s, "layers_s": self.spent_s}), "utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.spent_s:
            return
        terminalreporter.section("time by layer")
        for layer, minutes in SHARES_MIN.items():
            if layer in self.spent_s:
                terminalreporter.write_line(
                    f"{layer:<16} {self.spent_s[layer]:8.1f} s of {minutes * 60 * self.scale:6.1f} s"
                    f"  {self.tests.get(layer, 0):6d} tests"
                )
        for sentence in beyond(self.spent_s, self.scale):
            terminalreporter.write_line(sentence, red=self.strict, yellow=not self.strict)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("p2pchat").addoption(
        "--budget-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="stretch every layer's share of the gate by this factor, for a slower machine",
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # a worker of xdist: the session that started it sums up
    strict = bool(os.environ.get("CI")) and not config.getoption("--full", default=False)
    where = os.environ.get("P2PCHAT_BUDGET_REPORT")
    report = Path(where) if where else None
    config.pluginmanager.register(Budget(strict, config.getoption("--budget-scale"), report), "budget")
