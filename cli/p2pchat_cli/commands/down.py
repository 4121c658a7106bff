"""`down`: stop the daemon and wait until it is gone.

Decides: how long to wait, and what is said about what still waits. Does not know: how
the daemon hands over what only lies here.
"""

from __future__ import annotations

import os
import time
from typing import Final

from p2pchat.errors import CommandError
from p2pchat_cli.session import Context

GONE_S: Final = 30.0
"""Handing over takes 5 s, the last commits and the checkpoint of a large archive the rest."""


def run(ctx: Context) -> int:
    """Ask it to stop; return when it has."""
    pid = ctx.client().daemon.get("pid")
    answer = ctx.call("down", wait_s=10.0, now=ctx.flag("now"))
    ctx.close()
    wait_gone(ctx, pid if isinstance(pid, int) else 0)
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    ctx.out.line("stopped")
    queue = answer["queue"]
    if queue["waiting"]:
        count = f"{queue['waiting']} message{'s' if queue['waiting'] != 1 else ''}"
        if queue["only_here"]:
            only = f"{queue['only_here']} only here"
            ctx.out.remark(f"{count} still waiting, {only}: delivered once you are both up again")
        else:
            ctx.out.remark(f"{count} still waiting, held by others: delivered without you")
    return 0


def wait_gone(ctx: Context, pid: int) -> None:
    """Until nothing answers and the process is over; CommandError `timeout` if it will not go.

    The socket goes first, then the archive is closed: who removes or copies the folder
    next must not come in between.
    """
    deadline = time.monotonic() + GONE_S
    while ctx.running() or _alive(pid):
        ctx.close()
        if time.monotonic() > deadline:
            raise CommandError("timeout", f"the daemon has not stopped within {GONE_S:.0f} s", "p2pchat logs")
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """Whether the process runs. One that ended and whom nobody has collected yet does not."""
    if pid <= 0 or pid == os.getpid() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's: the number has been given away already
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[:1] != [b"Z"]
    except OSError:
        return True  # no /proc here: the signal's word counts
