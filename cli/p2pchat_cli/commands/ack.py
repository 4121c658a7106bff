"""`ack`: take note of a message that asks for it, or see who has.

Decides: how that reads. Does not know: who was asked.
"""

from __future__ import annotations

from p2pchat_cli.happened import people
from p2pchat_cli.session import Context
from p2pchat_cli.when import local


def run(ctx: Context) -> int:
    """Take note; with --list only look."""
    listed = ctx.flag("list")
    answer = ctx.call("acks" if listed else "ack", id=ctx.identifier("id"), target=ctx.text("in") or "")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if not listed:
        ctx.out.line(f"taken note of {answer['target']}")
        return 0
    due = local(answer["by_time"])
    if due:
        ctx.out.line(f"until    {due:%a %Y-%m-%d %H:%M}")
    ctx.out.line(f"noted    {people(answer['acked']) or '-'}")
    ctx.out.line(f"missing  {people(answer['missing']) or '-'}")
    return 0
