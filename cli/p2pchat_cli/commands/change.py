"""`edit`, `delete`, `react`, `pin`: later changes to a message.

Decides: what is printed about a change. Does not know: who may change what.
"""

from __future__ import annotations

from typing import Any

from p2pchat_cli.session import Context, check_text, message_text


def edit(ctx: Context) -> int:
    """Replace the text of an own message."""
    text = check_text(message_text(ctx.text("text")))
    return _done(ctx, "edited", ctx.call("edit", text=text, **_which(ctx)))


def delete(ctx: Context) -> int:
    """Delete an own message."""
    return _done(ctx, "deleted", ctx.call("delete", **_which(ctx)))


def react(ctx: Context) -> int:
    """Add a reaction or take it back."""
    remove = ctx.flag("remove")
    answer = ctx.call("react", emoji=ctx.word("emoji"), remove=remove, **_which(ctx))
    return _done(ctx, "taken back" if remove else "reacted", answer)


def pin(ctx: Context) -> int:
    """Pin a message or unpin it."""
    remove = ctx.flag("remove")
    return _done(ctx, "unpinned" if remove else "pinned", ctx.call("pin", remove=remove, **_which(ctx)))


def _which(ctx: Context) -> dict[str, Any]:
    return {"id": ctx.identifier("id"), "target": ctx.text("in") or ""}


def _done(ctx: Context, verb: str, answer: dict[str, Any]) -> int:
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(f"{verb} {answer['target']}")
    return 0
