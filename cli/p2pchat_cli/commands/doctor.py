"""`doctor`: what is wrong on this machine, and what to do.

Decides: how the daemon's view and our own become one list. Does not know: what either
looks at.
"""

from __future__ import annotations

from typing import Any, Final

from p2pchat.control.operations.daemon import CHECKS
from p2pchat.errors import CommandError
from p2pchat_cli import checks
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

LOOK_S: Final = 120.0
"""The other end dials too, and third machines are asked: seconds mostly. Of somebody who vanished within
the last minute the system says only after that minute that he is gone."""


def run(ctx: Context) -> int:
    """Look, print, exit 1 if anything is wrong."""
    listed = look(ctx, ctx.text("target"))
    ok = all(one["ok"] for one in listed)
    if ctx.out.json:
        ctx.out.object({"ok": ok, "checks": listed})
        return 0 if ok else 1
    for one in listed:
        word = ctx.out.style("ok  ", "green") if one["ok"] else ctx.out.style("FAIL", "red")
        side = "there " if one["side"] == "there" else ""
        ctx.out.line(f"{word}  {side + one['name']:<15}  {field(one['detail'])}")
        if not one["ok"]:
            if one["cause"]:
                ctx.out.line(f"                       cause: {field(one['cause'])}")
            if one["fix"]:
                ctx.out.line(f"                       fix: {field(ctx.out.hint(one['fix']))}")
    return 0 if ok else 1


def look(ctx: Context, target: str | None) -> list[dict[str, Any]]:
    """Every check, ours and the daemon's, in the order of the contract."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    problem: CommandError | None = None
    try:
        ctx.client()
        running = True
    except CommandError as error:
        running, problem = False, error
    told: list[dict[str, Any]] = []
    if running:
        pid = ctx.client().daemon.get("pid")
        told.append(checks.check("daemon", True, f"runs as pid {pid}"))
        asked = {} if target is None else {"target": target}
        try:
            told += ctx.call("doctor", wait_s=LOOK_S, **asked)["checks"]
        except CommandError as error:
            if error.kind != "no_daemon":
                raise
            running, problem = False, error  # it went away over the question: that is what is wrong
    if problem is not None:
        told = [checks.check("daemon", False, problem.message, None, problem.hint)]
    for one in (*checks.all_checks(ctx.profile, running=running), *told):
        found[one["side"], one["name"]] = one

    def place(key: tuple[str, str]) -> tuple[bool, int]:
        side, name = key
        return side == "there", CHECKS.index(name) if name in CHECKS else len(CHECKS)

    return [found[key] for key in sorted(found, key=place)]
