"""Marks for tests that need root, a tool or a network namespace.

Decides: skip by name with what is missing, or fail. With CI set nothing is skipped:
a gate that silently tests less is no gate (docs, "One command each"). Does not know
any test. Used as `@needs_root` or `pytestmark = [needs_root, needs_tool("strace")]`.

The condition is a string that pytest evaluates when the test is about to run, so
importing a test module costs nothing and a missing tool fails that test alone.
"""

from __future__ import annotations

import ctypes.util
import functools
import os
import shutil
import subprocess
from collections.abc import Callable

import pytest


class MissingInCI(Exception):
    """CI is set and something a test needs is not there."""


def lacks(what: str) -> bool:
    """Whether to skip for lack of `what`: "root", "netns", "fuse" or "tool:<name>".

    Raises MissingInCI instead of saying yes when the variable CI is set.
    """
    kind, _, name = what.partition(":")
    checks: dict[str, Callable[[], bool]] = {
        "root": _is_root,
        "netns": _has_netns,
        "fuse": _has_fuse,
        "tool": lambda: shutil.which(name) is not None,
    }
    if checks[kind]():
        return False
    if os.environ.get("CI"):
        raise MissingInCI(f"with CI set nothing is skipped, and this machine lacks {name or kind}")
    return True


def _is_root() -> bool:
    return os.geteuid() == 0


@functools.cache
def _has_netns() -> bool:
    """Root alone does not tell: containers often forbid namespaces, so one is tried."""
    if not _is_root() or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return done.returncode == 0


def _has_fuse() -> bool:
    """Containers often have the library and not the device."""
    found = ctypes.util.find_library("fuse") or ctypes.util.find_library("fuse3")
    return _is_root() and found is not None and os.access("/dev/fuse", os.R_OK | os.W_OK)


def _mark(what: str, reason: str) -> pytest.MarkDecorator:
    condition = f"__import__('tests.kit.needs', fromlist=['lacks']).lacks({what!r})"
    return pytest.mark.skipif(condition, reason=reason)


needs_root = _mark("root", "needs root: run the tests as root (sudo)")
needs_netns = _mark(
    "netns", "needs network namespaces: root, iproute2, util-linux and a kernel that allows them"
)

needs_fuse = _mark("fuse", "needs FUSE: root, libfuse and the device /dev/fuse")


def needs_tool(name: str) -> pytest.MarkDecorator:
    """For tests that run the program `name`."""
    return _mark(f"tool:{name}", f"needs the tool {name!r} on PATH")
