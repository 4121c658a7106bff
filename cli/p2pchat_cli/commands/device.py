"""`device …`: my machines, how another becomes mine, and the key that outranks them.

Decides: what is asked and said, and that the recovery key is erased only after it was shown. Does
not know: what a code proves, or where a key lies.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from p2pchat_cli.session import Context
from p2pchat_cli.text import field
from p2pchat_cli.when import ago

CODE_S: Final = 610.0
"""A code is shown for ten minutes; the daemon says when it is over."""


def run(ctx: Context) -> int:
    """List my machines."""
    answer = ctx.call("device.list")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    now = datetime.now(UTC)
    rows = []
    for device in answer["devices"]:
        state = "this machine" if device["this"] else "revoked" if device["revoked"] else ""
        rows.append((device["device"][:16], device["name"], ago(device["last_seen"], now), state))
    ctx.out.table(("DEVICE", "NAME", "SEEN", ""), rows)
    return 0


def recovery_key(ctx: Context) -> int:
    """Print the key, ask whether it is written down, erase it here."""
    asked = not ctx.flag("yes")
    if asked and not ctx.interactive():
        ctx.ask("is the key written down, so that it can be erased here?", "--yes")
    answer = ctx.call("device.recovery_key")
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(answer["recovery_key"])
        ctx.out.flush()
    if asked:
        ctx.out.remark("write it down and keep it apart from this machine: it can replace every lost one")
        if ctx.ask("is it written down? then it is erased here [yes/no]", "--yes").lower() not in (
            "y",
            "yes",
        ):
            ctx.out.remark("not erased: run this again when you have written it down")
            return 0
    ctx.call("device.recovery_erase")
    if not ctx.out.json:
        ctx.out.remark("erased here")
    return 0


def link(ctx: Context) -> int:
    """Show a code, then wait until it was used."""
    answer = ctx.call("device.link")
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(ctx.out.style(answer["code"], "bold"))
        ctx.out.remark("on the new machine, within 10 minutes: p2pchat device join")
    ctx.out.flush()
    done = ctx.call("device.link_wait", wait_s=CODE_S, code=answer["code"])
    if ctx.out.json:
        ctx.out.object(done)
    else:
        ctx.out.line(f"linked: {done['device'][:16]}")
    return 0


def revoke(ctx: Context) -> int:
    """Cut one of my machines off."""
    device = ctx.word("device")
    if not ctx.flag("yes") and ctx.interactive():
        question = f"{device!r} will be cut off everywhere and for good; revoke it? [yes/no]"
        if ctx.ask(question, "--yes").lower() not in ("y", "yes"):
            ctx.out.remark("nothing was changed")
            return 0
    return _told(ctx, ctx.call("device.revoke", device=device), "revoked")


def rename(ctx: Context) -> int:
    """Call one of my machines otherwise."""
    answer = ctx.call("device.rename", device=ctx.word("device"), name=ctx.word("name"))
    return _told(ctx, answer, f"now called {field(answer['name'])}")


def _told(ctx: Context, answer: dict[str, Any], what: str) -> int:
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(f"{answer['device'][:16]} {what}")
    return 0
