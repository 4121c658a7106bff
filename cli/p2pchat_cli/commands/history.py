"""`history`: a conversation, oldest first; marks nothing read.

Decides: how pages of the daemon become one answer. Does not know: where messages lie.
"""

from __future__ import annotations

from typing import Any, Final

from p2pchat.errors import CommandError
from p2pchat_cli import lines
from p2pchat_cli.happened import room_name
from p2pchat_cli.session import Context

PAGE: Final = 200
"""Messages asked for at once: at the longest texts the line stays below its ceiling."""


def run(ctx: Context) -> int:
    """Ask page by page and print."""
    page = fetch(ctx, ctx.word("target"), _tail(ctx))
    if ctx.out.json:
        ctx.out.object(page)
        return 0
    show(ctx, page)
    return 0


def show(ctx: Context, page: dict[str, Any]) -> None:
    """A page for people."""
    if not page["messages"] and not page["coming"]["count"]:
        where = room_name(page["room"])
        ctx.out.remark(f"nothing said yet {'with' if page['room']['kind'] == 'direct' else 'in'} {where}")
    lines.page(ctx.out, page)


def fetch(ctx: Context, target: str, tail: int | None) -> dict[str, Any]:
    """The newest `tail` messages of what was asked for, all for None."""
    asked: dict[str, Any] = {
        "target": target,
        "thread": ctx.text("thread") or "",
        "pinned": ctx.flag("pinned"),
        **_bound(ctx, "before"),
        **_bound(ctx, "after"),
    }
    found: list[dict[str, Any]] = []
    notices: list[dict[str, Any]] = []
    while True:
        left = PAGE if tail is None else min(PAGE, tail - len(found))
        page = ctx.call("history", tail=left, **asked)
        found[:0] = page["messages"]
        known = {notice["id"] for notice in notices}
        notices[:0] = [notice for notice in page["notices"] if notice["id"] not in known]
        if not page["has_more"] or not page["messages"] or (tail is not None and len(found) >= tail):
            return {**page, "messages": found, "notices": notices}
        asked = {**asked, "before_id": page["messages"][0]["id"], "before_ms": None}


def _tail(ctx: Context) -> int | None:
    given = ctx.text("tail")
    if given == "all":
        return None
    if given is None:
        return 50
    if not (given.isascii() and given.isdigit()) or not 0 < int(given) < 10**9:
        raise CommandError("usage", f"--tail cannot be {given!r}", "a number from 1, or all")
    return int(given)


def _bound(ctx: Context, name: str) -> dict[str, Any]:
    """`--before` or `--after` as an id or a time."""
    given = ctx.text(name)
    if given is None:
        return {}
    from datetime import datetime

    from p2pchat.ids import hex_prefix
    from p2pchat_cli import when

    if hex_prefix(given) is not None and not when.is_time(given):
        return {f"{name}_id": given}
    try:
        return {f"{name}_ms": when.parse(given, datetime.now().astimezone())}
    except CommandError as error:
        hint = f"an id of 6 or more digits, or a time: {when.HINT}"
        raise CommandError("usage", f"--{name} {given!r} is no id and no time", hint) from error
