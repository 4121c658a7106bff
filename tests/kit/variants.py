"""Programs that are not this one, run as real daemons: another version, another office, another clock.

Decides: how a copy of the program is changed, and how a machine of an office runs it. Does not know: any
test. Every change names text that must stand once in the file, so that none is silently without effect.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.kit.hosts import ROOT
from tests.kit.netns import Host

Changes = Mapping[str, tuple[tuple[str, str], ...]]
"""By file below the root of the checkout: what stands there, and what stands in its place."""

OTHER_VERSION: Final[Changes] = {
    "p2pchat/daemon/core.py": (("PROTOCOL_VERSION: Final = 1\n", "PROTOCOL_VERSION: Final = 2\n"),),
    "p2pchat/engine/links.py": (
        ("encode(Preface(1, self.purpose", "encode(Preface(2, self.purpose"),
        ("if preface.v != 1 or preface.purpose", "if preface.v != 2 or preface.purpose"),
    ),
}
"""A program that announces, and speaks, version 2 of the protocol only."""

OTHER_OFFICE: Final[Changes] = {
    "p2pchat/engine/links.py": (
        ('hash_tagged("p2pchat/open-office/1")', 'hash_tagged("p2pchat/other-office/1")'),
    ),
}
"""A program that belongs to an office with a key of its own."""

_CLOCK: Final = """import os
import time

_ahead = int(os.environ["TEST_CLOCK_AHEAD_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _ahead
time.time_ns = lambda: _time_ns() + _ahead * 10**9
"""


class Altered(NamedTuple):
    """A place (hosts.Place) where Python finds other files first. `folder` is where commands run, too:
    what lies there is found before anything else."""

    host: Host
    folder: Path
    variables: tuple[str, ...]

    def command(self, *argv: str | os.PathLike[str]) -> list[str]:
        """`argv` on that machine."""
        return self.host.command("env", "-C", self.folder, *self.variables, *argv)


def _path(*first: Path) -> str:
    return "PYTHONPATH=" + os.pathsep.join(map(os.fspath, first))


def built(host: Host, folder: Path, changes: Changes) -> Altered:
    """`host` with a changed copy of the program, which is made in `folder`."""
    for package in ("p2pchat", "cli"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, pairs in changes.items():
        text = (folder / name).read_text("utf-8")
        for old, new in pairs:
            assert text.count(old) == 1, f"{old!r} does not stand once in {name}"
            text = text.replace(old, new)
        (folder / name).write_text(text, "utf-8")
    return Altered(host, folder, (_path(folder, folder / "cli"),))


def clocked(host: Host, folder: Path, ahead_s: int) -> Altered:
    """`host` with a clock that is `ahead_s` off: no namespace has a wall clock of its own, so every
    process that is started there by Python is told another time. What measures intervals is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_CLOCK, "utf-8")
    return Altered(host, folder, (f"TEST_CLOCK_AHEAD_S={ahead_s}", _path(folder, ROOT, ROOT / "cli")))
