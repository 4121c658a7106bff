"""`logs`: the daemon's log. Works without a daemon.

Decides: how the file is followed when it grows, is cut or replaced. Does not know: what
is logged.
"""

from __future__ import annotations

import os
import time
from io import BufferedReader
from typing import Final

from p2pchat.errors import CommandError
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

LOOK_S: Final = 0.2


def run(ctx: Context) -> int:
    """Print the log; with --follow go on until Ctrl-C."""
    path = ctx.profile.log
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise CommandError("failed", f"no log at {os.fspath(path)!r} yet", "p2pchat up") from None
    except OSError as error:
        raise CommandError(
            "archive", f"{os.fspath(path)!r} cannot be read: {error.strerror}", "p2pchat paths"
        ) from error
    while True:
        with stream:
            _print(ctx, stream)
            while ctx.flag("follow") and _same(stream, ctx):
                time.sleep(LOOK_S)
                _print(ctx, stream)
        if not ctx.flag("follow"):
            return 0
        while not path.exists():
            time.sleep(LOOK_S)
        stream = path.open("rb")


def _print(ctx: Context, stream: BufferedReader) -> None:
    while line := stream.readline():
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if ctx.out.json:
            ctx.out.object({"line": text})
        else:
            ctx.out.line(field(text))
    ctx.out.flush()


def _same(stream: BufferedReader, ctx: Context) -> bool:
    """Whether the open file is still the log, and not shorter than what was read."""
    held = os.fstat(stream.fileno())
    try:
        now = os.stat(ctx.profile.log)
    except FileNotFoundError:
        return False
    return os.path.samestat(held, now) and now.st_size >= stream.tell()
