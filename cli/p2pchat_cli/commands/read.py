"""`read`: unread messages, marked read once they have been printed.

Decides: that nothing counts as read before it left this process. Does not know: what
is unread.
"""

from __future__ import annotations

from typing import Any

from p2pchat_cli import lines
from p2pchat_cli.session import Context
from p2pchat_cli.text import field


def run(ctx: Context) -> int:
    """Print, flush, then confirm; with JSON one page, `has_more` says that more is unread."""
    target = ctx.word("target")
    page = ctx.call("read.open", target=target)
    if ctx.out.json:
        ctx.out.object(page)
        confirm(ctx, page)
        return 0
    if not page["messages"]:
        ctx.out.remark(f"nothing unread from {field(page['room']['name'])}")
    while page["messages"]:
        lines.conversation(ctx.out, page["messages"])
        ctx.out.flush()
        confirm(ctx, page)
        if not page["has_more"]:
            break
        page = ctx.call("read.open", target=target)
    return 0


def confirm(ctx: Context, page: dict[str, Any]) -> None:
    """These were put before the user's eyes."""
    shown = [message["id"] for message in page["messages"]]
    if shown:
        ctx.call("read.confirm", room=page["room"]["id"], ids=shown)
