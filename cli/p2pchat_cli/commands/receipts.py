"""`receipts`: how far an own message has come, machine by machine.

Decides: how that reads. Does not know: who it is for.
"""

from __future__ import annotations

from p2pchat_cli.happened import NAME_WIDTH
from p2pchat_cli.session import Context
from p2pchat_cli.text import field


def run(ctx: Context) -> int:
    """Print the list."""
    answer = ctx.call("receipts", id=ctx.identifier("id"), target=ctx.text("in") or "")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    progress = answer["progress"]
    for one in answer["devices"]:
        name = field(one["name"], NAME_WIDTH)
        ctx.out.line(f"{field(one['state']):<9}  {name}  {field(one['device'][:12])}")
    ctx.out.remark(
        f"{field(answer['state'])}: delivered to {progress['delivered']} of {progress['of']},"
        f" read by {progress['read']}"
    )
    return 0
