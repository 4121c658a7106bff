"""`down`: stop the daemon and wait until it is gone.

Decides: how long to wait, and what is said about what still waits. Does not know: how
the daemon hands over what only lies here.
"""

from __future__ import annotations

import time
from typing import Final

from p2pchat.errors import CommandError
from p2pchat_cli.session import Context

GONE_S: Final = 30.0
"""Handing over takes 5 s, the last commits and the checkpoint of a large archive the rest."""


def run(ctx: Context) -> int:
    """Ask it to stop; return when it has."""
    answer = ctx.call("down", wait_s=10.0, now=ctx.flag("now"))
    ctx.close()
    wait_gone(ctx)
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    ctx.out.line("stopped")
    queue = answer["queue"]
    if queue["waiting"]:
        count = f"{queue['waiting']} message{'s' if queue['waiting'] != 1 else ''}"
        kept = f", {queue['only_here']} only here" if queue["only_here"] else ""
        ctx.out.remark(f"{count} still waiting{kept}: delivered once you are both up again")
    return 0


def wait_gone(ctx: Context) -> None:
    """Until nothing answers any more; CommandError `timeout` if it will not go."""
    deadline = time.monotonic() + GONE_S
    while ctx.running():
        ctx.close()
        if time.monotonic() > deadline:
            raise CommandError("timeout", f"the daemon has not stopped within {GONE_S:.0f} s", "p2pchat logs")
        time.sleep(0.05)
