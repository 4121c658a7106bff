"""`inbox`: what did I miss.

Decides: how it reads. Does not know: what counts as unread.
"""

from __future__ import annotations

from p2pchat_cli.session import Context


def run(ctx: Context) -> int:
    """List conversations with unread messages."""
    answer = ctx.call("inbox")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if not answer["unread"]:
        ctx.out.remark("nothing missed")
        return 0
    rows = [(entry["name"], str(entry["count"]), str(entry["mentions"] or "-")) for entry in answer["unread"]]
    ctx.out.table(("FROM", "UNREAD", "MENTIONS"), rows)
    ctx.out.remark(ctx.out.hint("read them: `p2pchat read NAME`"))
    return 0
