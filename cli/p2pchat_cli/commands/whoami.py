"""`whoami`: who I am to others.

Decides: how that reads. Does not know: how it is found out.
"""

from __future__ import annotations

from p2pchat_cli.session import Context
from p2pchat_cli.text import field


def run(ctx: Context) -> int:
    """Ask and print."""
    answer = ctx.call("whoami")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    me = answer["me"]
    ctx.out.line(ctx.out.style(field(me["name"]), "bold"))
    ctx.out.line(f"fingerprint  {me['fingerprint']}")
    ctx.out.line(f"account      {me['account']}")
    ctx.out.line(f"device       {me['device']}")
    return 0
