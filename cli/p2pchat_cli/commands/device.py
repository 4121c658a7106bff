"""`device list` and `device recovery-key`: my machines and the key that outranks them.

Decides: that the recovery key is erased only after it was shown. Does not know: where
it lies.
"""

from __future__ import annotations

from datetime import UTC, datetime

from p2pchat_cli.session import Context
from p2pchat_cli.when import ago


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
