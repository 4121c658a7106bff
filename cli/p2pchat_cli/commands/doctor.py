"""`doctor`: what is wrong on this machine, and what to do.

Decides: how the daemon's view and our own become one list. Does not know: what either
looks at.
"""

from __future__ import annotations

from typing import Final

from p2pchat.errors import CommandError
from p2pchat_cli import checks
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

ORDER: Final = ("daemon", "discovery", "address", "tcp_in", "clock", "strangers", "disk", "archive")


def run(ctx: Context) -> int:
    """Look, print, exit 1 if anything is wrong."""
    found = {}
    problem: CommandError | None = None
    try:
        ctx.client()
        running = True
    except CommandError as error:
        running, problem = False, error
    for one in checks.all_checks(ctx.profile, running=running):
        found[one["name"]] = one
    if running:
        pid = ctx.client().daemon.get("pid")
        found["daemon"] = checks.check("daemon", True, f"runs as pid {pid}")
        for one in ctx.call("doctor")["checks"]:
            found[one["name"]] = one
    else:
        assert problem is not None
        found["daemon"] = checks.check("daemon", False, problem.message, None, problem.hint)
    names = [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]
    listed = [found[name] for name in names]
    ok = all(one["ok"] for one in listed)
    if ctx.out.json:
        ctx.out.object({"ok": ok, "checks": listed})
        return 0 if ok else 1
    for one in listed:
        word = ctx.out.style("ok  ", "green") if one["ok"] else ctx.out.style("FAIL", "red")
        ctx.out.line(f"{word}  {one['name']:<9}  {field(one['detail'])}")
        if not one["ok"] and one["fix"]:
            ctx.out.line(f"                 fix: {field(ctx.out.hint(one['fix']))}")
    return 0 if ok else 1
