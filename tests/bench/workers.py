"""Processes that measure something and tell it in lines of JSON.

Decides: how they are started on a machine of the network, told what to do, listened to
within bounded time, and ended. Does not know: what they measure.

A worker prints one JSON object per line on stdout and reads one per line on stdin.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bench.report import ROOT
from tests.kit.netns import Host

START_S = 60.0


class WorkerFailed(Exception):
    """A worker ended, was silent for too long or said what nobody expected."""


class Worker:
    """One such process; a context manager that ends it."""

    def __init__(
        self, host: Host | None, argv: list[str], folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start `argv` on `host` (None: right here); its stderr goes to a file in `folder`."""
        self.said = folder / f"worker-{time.monotonic_ns()}.txt"
        self.argv = argv
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli")))}
        with self.said.open("wb") as errors:
            self.process = subprocess.Popen(
                argv if host is None else host.command(*argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env={**environment, **(env or {})},
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, **message: Any) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise self._failed("is gone") from None

    def hear(self, key: str, timeout_s: float = START_S) -> Any:
        """The value of `key` in the next line that has it; other lines are dropped."""
        return self.hear_all(key, timeout_s)[key]

    def hear_all(self, key: str, timeout_s: float = START_S) -> dict[str, Any]:
        """The next line that has `key`, whole; lines before it are dropped."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._next(deadline, f"{key!r} within {timeout_s:g} s")
            if key in message:
                return message

    def find(self, key: str, value: object, timeout_s: float = START_S) -> dict[str, Any]:
        """The line that says `key` is `value`, in whatever order lines come; others are kept for later."""
        for message in self._kept:
            if message.get(key) == value:
                return message
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._next(deadline, f"{key!r} {value!r} within {timeout_s:g} s")
            if message.get(key) == value:
                return message
            self._kept.append(message)

    def _next(self, deadline: float, wanted: str) -> dict[str, Any]:
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failed(f"did not say {wanted}") from None
            if line is None:
                self._lines.put(None)  # whoever asks again hears the same
                raise self._failed(f"ended before it said {wanted}")
            with suppress(json.JSONDecodeError):  # a library's own words on stdout
                message = json.loads(line)
                if isinstance(message, dict):
                    return message

    def end(self, wait_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL to its group; twice is harmless."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not flushed has no reader
                    pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _failed(self, what: str) -> WorkerFailed:
        said = self.said.read_text("utf-8", "replace")[-1500:]
        return WorkerFailed(f"{' '.join(self.argv)[:200]} {what}\n{said}")


@contextmanager
def workers() -> Iterator[ExitStack]:
    """A stack on which workers are entered; all are ended, the last first."""
    with ExitStack() as stack:
        yield stack


@contextmanager
def compiled(name: str) -> Iterator[dict[str, str]]:
    """The environment in which `python -m NAME` finds its bytecode, as a user's does after pip has installed
    it, though whoever runs this may have told Python to write none (PYTHONDONTWRITEBYTECODE)."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        path = os.pathsep.join((str(ROOT), str(ROOT / "cli")))
        environment = {**os.environ, "PYTHONPATH": path, **found}
        argv = python_module(name, "--help")
        subprocess.run(
            argv, stdout=subprocess.DEVNULL, check=True, cwd=ROOT, env=environment, timeout=START_S
        )
        yield found


def python_module(name: str, *arguments: object) -> list[str]:
    """`python -m NAME ARGUMENTS…` with this interpreter."""
    return [sys.executable, "-m", name, *(str(argument) for argument in arguments)]


def say(**message: Any) -> None:
    """The worker's side of `hear`: one line of JSON on stdout."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
