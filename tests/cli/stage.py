"""A scripted daemon on a real control socket, and a way to run commands against it.

Decides: that every call is checked against the tables of operations, so that a command
which asks wrongly fails here. Does not know: any command. Imported by tests only.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import trio
from p2pchat_cli.main import main

from p2pchat import paths
from p2pchat.control.endpoint import ClientInfo, ControlListener, open_control
from p2pchat.control.operations import all_operations
from p2pchat.control.operations.table import check
from p2pchat.control.server import serve_control
from p2pchat.errors import CommandError

Answer = Any
"""A result, an exception to raise, or a function of the params that gives either."""

HANG = object()
"""An answer that never comes."""

ROOT = Path(__file__).resolve().parent.parent.parent


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


class FakeDaemon:
    """Answers as scripted; `calls` holds (method, checked params) in order."""

    def __init__(self, home: Path, answers: Mapping[str, Answer], feed: list[dict[str, Any]] | None = None):
        self.profile = paths.profile(home)
        self.answers = dict(answers)
        self.feed = feed or []
        self.feed_ends = False
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._listener: ControlListener | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._serve,))

    def __enter__(self) -> FakeDaemon:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """As a daemon killed: connections end in the middle."""
        if self._thread.is_alive():
            self._token.run_sync_soon(self._scope.cancel)
            self._thread.join(10)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            listener = open_control(self.profile)
            self._started.set()
            await serve_control(listener, self, version="test")

    async def call(self, method: str, params: dict[str, Any], client: ClientInfo) -> object:
        """One call, checked as the real daemon checks it."""
        checked = check(all_operations()[method], params)
        self.calls.append((method, checked))
        answer = self.answers[method]
        if callable(answer):
            answer = answer(checked)
        if isinstance(answer, BaseException):
            raise answer
        if answer is HANG:
            await trio.sleep_forever()
        return answer

    async def subscribe(self, params: dict[str, Any], client: ClientInfo) -> AsyncIterator[Mapping[str, Any]]:
        """The scripted lines after `since`; then silence, or the end."""
        checked = check(all_operations()["listen"], params)
        self.calls.append(("listen", checked))
        since = checked["since"]
        yield {"cursor": str(since if since is not None else 0), "type": "ready"}
        for line in self.feed:
            if since is None or int(line["cursor"]) > int(str(since)):
                yield line
        if not self.feed_ends:
            await trio.sleep_forever()

    def asked(self, method: str) -> dict[str, Any]:
        """The params of the last call of `method`."""
        return next(params for name, params in reversed(self.calls) if name == method)


def run(
    home: Path | str, *argv: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> Ran:
    """One command in this process, off a terminal; `stdin` None is an empty one."""
    out, err = io.StringIO(), io.StringIO()
    source = io.TextIOWrapper(io.BytesIO(stdin or b""), encoding="utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("P2PCHAT_")}
    with (
        patch.dict(os.environ, {**clean, **(env or {})}, clear=True),
        patch.object(sys, "stdin", source),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = main(["--home", os.fspath(home), *argv])
    return Ran(code, out.getvalue(), err.getvalue())


@contextmanager
def daemon(home: Path, feed: list[dict[str, Any]] | None = None, **answers: Answer) -> Iterator[FakeDaemon]:
    """A fake daemon; method names with `__` for the dot: `peers__list={…}`."""
    with FakeDaemon(home, {name.replace("__", "."): value for name, value in answers.items()}, feed) as fake:
        yield fake


def refusing(kind: str, message: str = "no", hint: str = "do this", result: object = None) -> CommandError:
    """A failure for a script."""
    return CommandError(kind, message, hint, result)


def subprocess_environment() -> dict[str, str]:
    """The environment in which `python -m p2pchat_cli` is found from a checkout."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("P2PCHAT_")}
    return {**clean, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli")))}


Script = Callable[[dict[str, Any]], Answer]
