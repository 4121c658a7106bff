"""`status`: me, the daemon, links, unread, what waits, warnings.

Decides: how the status reads. Does not know: how it is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pchat.amounts import amount
from p2pchat_cli.session import Context
from p2pchat_cli.text import field
from p2pchat_cli.when import span


def run(ctx: Context) -> int:
    """Ask and print."""
    answer = ctx.call("status")
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        show(ctx, answer)
    return 0


def show(ctx: Context, answer: Mapping[str, Any]) -> None:
    """The status for people; warnings go to stderr with what to do about each."""
    out = ctx.out
    me, daemon, queue = answer["me"], answer["daemon"], answer["queue"]
    peers, office = answer["peers"], answer["office"]
    out.line(f"me        {out.style(field(me['name']), 'bold')}  {me['fingerprint']}")
    if answer["presence"] != "available":
        out.line(f"presence  {answer['presence']}")
    where = field(office["name"]) or "open office: everyone on this network may talk"
    out.line(f"office    {where}{' (managed)' if office['managed'] else ''}")
    listening = ", ".join(daemon["listen"]) or "nowhere"
    out.line(
        f"daemon    pid {daemon['pid']}, up {span(daemon['uptime_s'])}, "
        f"version {field(daemon['version'])}, listening on {field(listening)}"
    )
    out.line(f"peers     {peers['connected']} connected, {peers['known']} known")
    out.line(f"unread    {answer['unread']}")
    only = f", {queue['only_here']} of them only here" if queue["only_here"] else ""
    out.line(f"queue     {queue['waiting']} waiting{only}")
    if answer["free_bytes"] is not None:
        out.line(f"disk      {amount(answer['free_bytes'])} free")
    out.flush()
    warn(ctx, answer)


def warn(ctx: Context, answer: Mapping[str, Any]) -> None:
    """Each warning with its remedy."""
    for warning in answer["warnings"]:
        fix = f" ({field(ctx.out.hint(warning['fix']))})" if warning["fix"] else ""
        ctx.out.remark(f"warning: {field(warning['message'])}{fix}")
