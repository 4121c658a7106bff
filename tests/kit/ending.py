"""A session that is told to end still takes down what it put up.

Decides: SIGTERM (a gate's time limit) ends the tests the way ctrl-c does, so that fixtures
are torn down: namespaces, daemons and mounts must not outlive the tests that made them.
Imported by the conftest of each folder whose tests make such things.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


@pytest.fixture(scope="session", autouse=True)
def ends_well() -> Iterator[None]:
    """While these tests run, SIGTERM is an interruption."""
    if threading.current_thread() is not threading.main_thread():  # where Python forbids handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    yield
    signal.signal(signal.SIGTERM, before)
