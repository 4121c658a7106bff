"""`peers`, `peers add`, `peers forget`: who is there and how reached.

Decides: how people and their machines are listed. Does not know: how they are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from p2pchat_cli.session import Context
from p2pchat_cli.text import field
from p2pchat_cli.when import ago

WAIT_S: Final = 30.0
STATUS_COLUMNS: Final = 30
"""Of what somebody says beside his presence; all of it is in the JSON."""

WHY: Final = {
    "name": "no machine of that name is known",
    "host_down": "nobody has that address on this network",
    "port_closed": "the machine is there, but p2pchat does not run on it",
    "timeout": "no answer: a firewall in between, or a pulled cable",
    "unreachable": "this machine has no way to that network",
    "refused": "the other side does not want to talk to us, or we blocked it",
    "crowded": "there is no place left for people not known there yet, or not known here",
    "self": "that is this machine itself",
}
"""Words of the daemon for why nobody answered a dial, as sentences."""


def run(ctx: Context) -> int:
    """List people, or wait for one."""
    name = ctx.text("wait")
    if name is None:
        answer = ctx.call("peers.list", all=ctx.flag("all"))
    else:
        timeout = ctx.number("timeout")
        patience = WAIT_S if timeout is None else timeout
        answer = ctx.call("peers.wait", wait_s=patience, name=name, timeout_s=patience)
    if ctx.out.json:
        ctx.out.object(answer)
    elif answer["peers"]:
        show(ctx, answer["peers"])
    else:
        ctx.out.remark(ctx.out.hint("nobody seen yet: `p2pchat doctor` says why"))
    return 0


def show(ctx: Context, peers: Sequence[Mapping[str, Any]]) -> None:
    """The table of people."""
    now = datetime.now(UTC)
    rows = []
    for peer in peers:
        seen = "now" if peer["connected"] else ago(peer["last_seen"], now)
        rows.append(
            (peer["name"], _is(peer), peer["address"] or "-", peer["trust"], seen, peer["device"][:8])
        )
    ctx.out.table(("NAME", "PRESENCE", "ADDRESS", "TRUST", "SEEN", "DEVICE"), rows)


def _is(peer: Mapping[str, Any]) -> str:
    """`busy`; `busy: in a meeting`."""
    said = peer["status_message"]
    return f"{peer['presence']}: {field(said, STATUS_COLUMNS)}" if said else str(peer["presence"])


def add(ctx: Context) -> int:
    """Dial an address; it is remembered either way."""
    address = ctx.word("address")
    answer = ctx.call("peers.add", wait_s=20.0, address=address)
    if ctx.out.json:
        ctx.out.object(answer)
    elif answer["connected"]:
        peer = answer["peer"]
        ctx.out.line(f"connected to {field(peer['name']) if peer else field(address)}")
    else:
        reason = str(answer["reason"])
        ctx.out.line(f"not connected: {field(WHY.get(reason, reason))}")
        if reason != "self":
            ctx.out.remark(f"{field(address)} is remembered and tried again")
    return 0


def forget(ctx: Context) -> int:
    """Drop what is remembered of a person's addresses, or one that was added."""
    answer = ctx.call("peers.forget", target=ctx.word("target"))
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        ctx.out.line(f"forgot {field(str(answer['name']))}")
    return 0
