"""`search`: full text, newest first.

Decides: how results read. Does not know: how words are found.
"""

from __future__ import annotations

from datetime import datetime

from p2pchat_cli import lines, when
from p2pchat_cli.session import Context
from p2pchat_cli.text import field


def run(ctx: Context) -> int:
    """Ask and print."""
    now = datetime.now().astimezone()
    after, before = ctx.text("after"), ctx.text("before")
    answer = ctx.call(
        "search",
        query=" ".join(ctx.words("query")),
        target=ctx.text("in") or "",
        person=ctx.text("from") or "",
        after_ms=None if after is None else when.parse(after, now),
        before_ms=None if before is None else when.parse(before, now),
        limit=ctx.count("limit", 1, 50),
        offset=ctx.count("offset", 0, 0),
    )
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if not answer["results"]:
        ctx.out.remark("nothing found")
    lines.conversation(ctx.out, answer["results"], rooms=True)
    for missing in answer["incomplete"]:
        where = field(missing.get("name") or missing["room"])
        ctx.out.remark(f"not all of {where} was searched: {field(missing['why'])}")
    if answer["has_more"]:
        seen = len(answer["results"]) + (ctx.count("offset", 0, 0) or 0)
        ctx.out.remark(f"there is more: --offset {seen}")
    return 0
