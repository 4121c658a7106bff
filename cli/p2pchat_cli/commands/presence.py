"""`presence`: how I am available, and who does not see it.

Decides: how that reads. Does not know: what others are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from p2pchat.errors import CommandError
from p2pchat_cli import when
from p2pchat_cli.happened import people
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

STATES: Final = ("available", "away", "busy", "invisible")


def run(ctx: Context) -> int:
    """Change what was given, and show what is set."""
    state, message, until = ctx.text("state"), ctx.text("message"), ctx.text("for")
    if state is not None and state not in STATES:
        raise CommandError("usage", f"no state {state!r}", "of: " + " ".join(STATES))
    now = datetime.now().astimezone()
    until_ms = None if until is None else when.parse(until, now, ahead=True)
    if until_ms is not None and until_ms <= now.timestamp() * 1000:
        raise CommandError("usage", f"{until!r} is over already", "give a time ahead: --for 2h")
    given: dict[str, Any] = {
        "state": state,
        "message": message,
        "until_ms": until_ms,
        "hide_from": ctx.words("hide_from"),
        "hide_direct": ctx.flag("hide_direct"),
        "hide_rooms": ctx.flag("hide_rooms"),
        "show_all": ctx.flag("show_all"),
        "quiet_hours": ctx.text("quiet_hours"),
    }
    given = {name: value for name, value in given.items() if value not in (None, False, [])}
    answer = ctx.call("presence.set", **given) if given else ctx.call("presence.show")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    _show(ctx, answer)
    return 0


def _show(ctx: Context, mine: Mapping[str, Any]) -> None:
    until = when.local(mine["until"])
    words = [ctx.out.style(mine["state"], "bold")]
    if mine["message"]:
        words.append(field(mine["message"]))
    if until:
        words.append(f"(until {until:%Y-%m-%d %H:%M})")
    ctx.out.line("  ".join(words))
    if mine["shown"] not in (mine["state"], "offline"):
        why = "quiet hours" if mine["do_not_disturb"] else "nothing done here for a while"
        ctx.out.line(f"shown as     {mine['shown']}: {why}")
    if mine["shown"] == "offline":
        ctx.out.line("hidden from  everybody; you can still write, and who reads it knows that you are here")
    elif hidden := _hidden(mine):
        ctx.out.line(f"hidden from  {hidden}")
    if mine["quiet_hours"] != "off":
        ctx.out.line(f"quiet hours  {field(mine['quiet_hours'])}")


def _hidden(mine: Mapping[str, Any]) -> str:
    kinds = [
        words
        for on, words in (
            (mine["hide_direct"], "those you share no room with"),
            (mine["hide_rooms"], "those you never wrote to directly"),
        )
        if on
    ]
    return "; ".join([*([people(mine["hidden_from"])] if mine["hidden_from"] else []), *kinds])
