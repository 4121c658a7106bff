"""`queue` and `queue cancel`: what waits, and taking it back.

Decides: how waiting messages are listed. Does not know: when they leave.
"""

from __future__ import annotations

from datetime import UTC, datetime

from p2pchat_cli.happened import machines, people
from p2pchat_cli.session import Context
from p2pchat_cli.when import ago, local


def run(ctx: Context) -> int:
    """List what waits."""
    answer = ctx.call("queue.list")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if not answer["queue"]:
        ctx.out.remark("nothing waits")
        return 0
    now = datetime.now(UTC)
    rows = []
    for entry in answer["queue"]:
        due = local(entry["at"])
        when = f"at {due:%Y-%m-%d %H:%M}" if due else ago(entry["since"], now)
        identifier = entry["id"] if entry["id"].startswith("draft-") else entry["id"][:12]
        held = machines(entry["held_by"]) or "-"
        rows.append((identifier, people(entry["to"]), entry["state"], held, when, entry["preview"]))
    ctx.out.table(("ID", "TO", "STATE", "HELD BY", "SINCE", "TEXT"), rows)
    return 0


def cancel(ctx: Context) -> int:
    """Take back what nobody has yet."""
    answer = ctx.call("queue.cancel", id=ctx.identifier("id"))
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(f"cancelled {answer['id']}")
    return 0
