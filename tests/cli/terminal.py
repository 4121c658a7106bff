"""A command on a real pseudo-terminal, typed at and read like a person would.

Decides: nothing about commands. Imported by tests only.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cli.stage import subprocess_environment

PATIENCE_S = 20.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """The other end of the pty. `seen` is every byte the command wrote, decoded."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self._end = end
        self._data = b""

    @property
    def seen(self) -> str:
        return self._data.decode("utf-8", "replace")

    def expect(self, text: str) -> None:
        """Wait until `text` has been written."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert self._more(deadline), f"{text!r} did not come: {self.seen!r}"

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def finish(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._more(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def lines(self) -> list[str]:
        """What was written, without colours."""
        return COLOUR.sub("", self.seen).replace("\r\n", "\n").splitlines()

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # EIO: the command closed its side
            return False
        self._data += data
        return bool(data)


@contextmanager
def terminal(
    home: Path, *argv: str, columns: int = 80, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run `p2pchat --home HOME ARGV` with a terminal as all three streams."""
    end, tty = pty.openpty()
    fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "p2pchat_cli", "--home", os.fspath(home), *argv],
        stdin=tty,
        stdout=tty,
        stderr=tty,
        env={**subprocess_environment(), "TERM": "xterm-256color", "TZ": "UTC", **(env or {})},
        start_new_session=True,
    )
    os.close(tty)
    try:
        yield Terminal(process, end)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
        os.close(end)
