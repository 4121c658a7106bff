"""Addresses that were given by hand and are taken back.

Decides: which of those remembered an address means. Does not know: who is there, or when it is dialled.
"""

from __future__ import annotations

from p2pchat.engine import peers
from p2pchat.engine.context import Context
from p2pchat.engine.inputs import ForgetAddress, Reply


def forget(ctx: Context, command: ForgetAddress) -> None:
    """Dial it no more, without a port none of the host's; answered with how many were remembered."""
    host, port = command.host, command.port
    rows = [row for row in ctx.cache.addresses.values() if row.host == host and port in (None, row.port)]
    for row in rows:
        peers.drop(ctx, row)
    for key, target in list(ctx.live.targets.items()):
        if key[0] == host and port in (None, key[1]) and not target.label and target.dialling is None:
            del ctx.live.targets[key]
    ctx.out.append(Reply(command.request, {"dropped": len(rows)}))
