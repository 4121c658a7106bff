"""`up`: start the daemon; the first time also makes an identity.

Decides: what is said when it is up, or was already. Does not know: how it is started
(launch), or what a daemon does.
"""

from __future__ import annotations

import time
from typing import Final

from p2pchat.control.operations import settings
from p2pchat_cli import launch
from p2pchat_cli.commands import peers, status
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

MEET_S: Final = 1.0
"""How long a person at a terminal is kept, so that the last line can say who is here."""

LATER: Final = ("interface", "port", "peer", "no_announce")
"""Options that count from the next start."""


def run(ctx: Context) -> int:
    """Start it unless it runs; print the status either way."""
    words = options(ctx)
    if ctx.running():
        return _already(ctx)
    if ctx.flag("foreground"):
        return launch.in_foreground(ctx, words)
    launch.detached(ctx, words)
    return tell(ctx)


def tell(ctx: Context) -> int:
    """Say how it came up, and who is here."""
    answer = ctx.call("status")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    me = answer["me"]
    listening = ", ".join(answer["daemon"]["listen"]) or "nowhere"
    ctx.out.line(f"up as {ctx.out.style(field(me['name']), 'bold')}, listening on {field(listening)}")
    ctx.out.flush()
    status.warn(ctx, answer)
    _who_is_here(ctx)
    return 0


def options(ctx: Context) -> list[str]:
    """The daemon's own options, checked here so that a mistake is told before anything starts.

    What came from the environment is left there: the daemon reads it itself, and
    `config show --origin` tells the truth.
    """
    words: list[str] = []
    name = ctx.text("name") if "name" in ctx.values else None
    if name is not None:
        words += _given(ctx, "name", "--name", str(settings.parse("name", name, "--name")))
    for interface in ctx.words("interface"):
        settings.parse("interface", interface, "--interface")
        words += _given(ctx, "interface", "--interface", interface)
    port = ctx.values["port"]
    if port is not None:
        words += _given(ctx, "port", "--port", str(settings.parse("port", str(port), "--port")))
    for peer in ctx.words("peer"):
        settings.split_address(peer, "--peer")
        words += _given(ctx, "peer", "--peer", peer)
    return words + (_given(ctx, "no_announce", "--no-announce") if ctx.flag("no_announce") else [])


def _given(ctx: Context, dest: str, *words: str) -> list[str]:
    return [] if dest in ctx.twins else list(words)


def _already(ctx: Context) -> int:
    name = None if "name" in ctx.twins else ctx.text("name")
    if name is not None and ctx.call("status")["me"]["name"] != name:
        ctx.call("config.set", key="name", value=name)
    answer = {**ctx.call("status"), "already_running": True}
    later = [f"--{word.replace('_', '-')}" for word in LATER if ctx.values[word] and word not in ctx.twins]
    if ctx.out.json:
        ctx.out.object(answer)
    else:
        pid = answer["daemon"]["pid"]
        ctx.out.line(f"already up as {ctx.out.style(field(answer['me']['name']), 'bold')} (pid {pid})")
        ctx.out.flush()
        status.warn(ctx, answer)
    if later:
        told = f"{' '.join(later)} counts from the next start: `p2pchat down`, then `p2pchat up`"
        ctx.out.remark(ctx.out.hint(told))
    if ctx.flag("foreground"):
        ctx.out.remark("--foreground has no effect on a daemon that runs already")
    return 0


def _who_is_here(ctx: Context) -> None:
    deadline = time.monotonic() + (MEET_S if ctx.out.tty else 0.0)
    while True:
        here = [peer for peer in ctx.call("peers.list", all=False)["peers"] if peer["connected"]]
        if here:
            peers.show(ctx, here)
            return
        if time.monotonic() >= deadline:
            ctx.out.line(ctx.out.hint("nobody seen yet: `p2pchat doctor`"))
            return
        time.sleep(0.1)
