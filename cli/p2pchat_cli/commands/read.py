"""`read`: unread messages, marked read once they have been printed.

Decides: that nothing counts as read before it left this process. Does not know: what
is unread.
"""

from __future__ import annotations

from typing import Any, Final

from p2pchat_cli import lines
from p2pchat_cli.happened import room_name
from p2pchat_cli.session import Context

NOTHING: Final = {"count": 0, "from": ()}
"""Nothing is on its way."""


def run(ctx: Context) -> int:
    """Print, flush, then confirm; with JSON one page, `has_more` says that more is unread."""
    target = ctx.word("target")
    page = ctx.call("read.open", target=target)
    if ctx.out.json:
        ctx.out.object(page)
        confirm(ctx, page)
        return 0
    if not page["messages"]:
        where = "from" if page["room"]["kind"] == "direct" else "in"
        ctx.out.remark(f"nothing unread {where} {room_name(page['room'])}")
    while page["messages"]:
        lines.page(ctx.out, page)
        ctx.out.flush()
        confirm(ctx, page)
        if not page["has_more"]:
            break
        # What is missing or on its way was told with the first page.
        page = {**ctx.call("read.open", target=target), "gaps": [], "coming": NOTHING}
    return 0


def confirm(ctx: Context, page: dict[str, Any]) -> None:
    """These were put before the user's eyes."""
    shown = [message["id"] for message in page["messages"]]
    if shown:
        ctx.call("read.confirm", room=page["room"]["id"], ids=shown)
