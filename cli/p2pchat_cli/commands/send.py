"""`send`: say something.

Decides: where the text comes from, and what happens when the daemon vanishes in the
middle. Does not know: how a message travels.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from p2pchat.control.operations.files import MAX_FILES
from p2pchat.errors import CommandError
from p2pchat_cli.given import absolute
from p2pchat_cli.session import Context, check_text, message_text
from p2pchat_cli.text import field

WAIT_S: Final = 30.0
AGAIN_S: Final = 5.0
"""How long a restarting daemon may be away before a send that it did not answer fails."""


def run(ctx: Context) -> int:
    """Send, print the id; exit 5 with the same answer if it is not there in time."""
    paths = absolute(ctx.words("file"))
    if len(paths) > MAX_FILES:
        raise CommandError(
            "usage",
            f"{len(paths)} files are too many for one message of {MAX_FILES}",
            "p2pchat file send TARGET PATH... sends any number",
        )
    if paths and ctx.text("at") is not None:
        raise CommandError("usage", "--file with --at", "files are offered at once: leave --at out")
    given = "" if paths and ctx.text("text") is None else message_text(ctx.text("text"))
    text = check_text(given, empty=bool(paths))
    timeout = ctx.number("timeout")
    try:
        answer = say(
            ctx,
            ctx.word("target"),
            text,
            files=paths,
            reply_to=ctx.text("reply_to") or "",
            thread=ctx.text("thread") or "",
            urgent=ctx.flag("urgent"),
            at_ms=due(ctx),
            ack=ctx.flag("ack"),
            ack_by_ms=ack_by(ctx),
            wait=ctx.text("wait") or "",
            timeout_s=WAIT_S if timeout is None else timeout,
            key=ctx.text("key") or "",
        )
    except CommandError as error:
        if isinstance(error.result, dict) and not ctx.out.json:
            ctx.out.line(str(error.result.get("id")))
        raise
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    ctx.out.line(answer["id"])
    if answer.get("warning"):
        ctx.out.remark(f"warning: {field(ctx.out.hint(answer['warning']))}")
    if paths:
        from p2pchat_cli.transfers import warn_left

        warn_left(ctx, answer)
    return 0


def say(ctx: Context, target: str, text: str, *, key: str = "", **rest: Any) -> dict[str, Any]:
    """Send under a key, so that asking twice cannot send twice; once more if the daemon vanished."""
    params = {**rest, "target": target, "text": text, "key": key or os.urandom(16).hex()}
    wait_s = float(rest.get("timeout_s", 0.0)) if rest.get("wait") else 0.0
    return call_again(ctx, "send", wait_s, params)


def call_again(ctx: Context, method: str, wait_s: float, params: dict[str, Any]) -> dict[str, Any]:
    """Ask for what has a key, and once more if the daemon vanished before it answered."""
    from p2pchat.control.client import DaemonGone

    try:
        return ctx.call(method, wait_s=wait_s, **params)
    except DaemonGone:
        ctx.close()
    deadline = time.monotonic() + AGAIN_S
    while not ctx.running() and time.monotonic() < deadline:
        time.sleep(0.1)
    return ctx.call(method, wait_s=wait_s, **params)


def due(ctx: Context) -> int | None:
    """`--at` in ms since 1970."""
    given = ctx.text("at")
    return None if given is None else _ahead(given)


def ack_by(ctx: Context) -> int | None:
    """`--by` in ms since 1970; CommandError `usage` without `--ack`, or if it has passed."""
    given = ctx.text("by")
    if given is None:
        return None
    if not ctx.flag("ack"):
        raise CommandError("usage", "--by without --ack", "say --ack --by TIME")
    found = _ahead(given)
    if found <= time.time() * 1000:
        raise CommandError("usage", f"--by {given!r} has passed", "a time to come, as 2h or 17:00")
    return found


def _ahead(given: str) -> int:
    from datetime import datetime

    from p2pchat_cli import when

    return when.parse(given, datetime.now().astimezone(), ahead=True)
