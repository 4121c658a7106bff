"""`inbox`: what did I miss.

Decides: how it reads. Does not know: what counts as unread, or as asked of me.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from p2pchat.amounts import amount
from p2pchat_cli.session import Context
from p2pchat_cli.text import ends
from p2pchat_cli.transfers import FILE_WIDTH, ID_DIGITS, other
from p2pchat_cli.when import local


def run(ctx: Context) -> int:
    """List unread messages, rooms a stranger added me to, files offered, and what to take note of."""
    answer = ctx.call("inbox")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if not any(answer[kind] for kind in ("unread", "requests", "files", "acks")):
        ctx.out.remark("nothing missed")
        return 0
    if answer["unread"]:
        _unread(ctx, answer["unread"])
    if answer["requests"]:
        _requests(ctx, answer["requests"])
    if answer["files"]:
        _files(ctx, answer["files"])
    if answer["acks"]:
        _acks(ctx, answer["acks"])
    return 0


def _unread(ctx: Context, entries: Sequence[dict[str, Any]]) -> None:
    rows = [(entry["name"], str(entry["count"]), str(entry["mentions"] or "-")) for entry in entries]
    ctx.out.table(("FROM", "UNREAD", "MENTIONS"), rows)
    ctx.out.remark(ctx.out.hint("read them: `p2pchat read NAME`"))


def _requests(ctx: Context, entries: Sequence[dict[str, Any]]) -> None:
    rows = [(f"#{entry['name']}", entry["by"]["name"], _shown(entry["at"])) for entry in entries]
    ctx.out.table(("ADDED TO", "BY UNVERIFIED", "AT"), rows)
    ctx.out.remark(
        ctx.out.hint("compare the key: `p2pchat trust show PERSON`; or go: `p2pchat room leave ROOM`")
    )


def _files(ctx: Context, entries: Sequence[dict[str, Any]]) -> None:
    rows = [
        (entry["id"][:ID_DIGITS], other(entry), amount(entry["size"]), ends(entry["name"], FILE_WIDTH))
        for entry in entries
    ]
    ctx.out.table(("OFFERED", "WHO", "SIZE", "NAME"), rows)
    ctx.out.remark(ctx.out.hint("take it: `p2pchat file accept ID`; or not: `p2pchat file decline ID`"))


def _acks(ctx: Context, entries: Sequence[dict[str, Any]]) -> None:
    rows = [
        (entry["id"][:12], entry["author"]["name"], _shown(entry["by_time"]), entry["preview"])
        for entry in entries
    ]
    ctx.out.table(("TAKE NOTE", "FROM", "UNTIL", "TEXT"), rows)
    ctx.out.remark(ctx.out.hint("take note: `p2pchat ack ID`"))


def _shown(at: str | None) -> str:
    moment = local(at)
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
