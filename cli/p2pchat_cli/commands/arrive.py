"""`device join` and `device recover`: a fresh profile becomes a machine of somebody who is.

Decides: where the code or the key comes from, and what is said when it is done. Does not know: what
either proves, or where the person is found (the daemon looks, before it is anybody).
"""

from __future__ import annotations

import time
from typing import Final

from p2pchat.errors import CommandError
from p2pchat_cli import launch
from p2pchat_cli.commands import down, up
from p2pchat_cli.session import Context

ARRIVE_S: Final = 75.0
"""The search takes half a minute at most, and then there is a start."""
NAMED_S: Final = 3.0
"""The machine that was asked is dialled at once, and says what its person is called."""
MAX_KEY: Final = 4096


def join(ctx: Context) -> int:
    """Become a machine of whoever shows the code; needs no `up`."""
    code = _secret(ctx, "code", "the code that `p2pchat device link` shows on the other machine:", "CODE")
    return _arrive(ctx, "--join", code)


def recover(ctx: Context) -> int:
    """Become a machine of whom the recovery key belongs to."""
    given = ctx.text("file")
    if given is not None and given != "-":
        try:
            with open(given, encoding="utf-8") as file:
                key = " ".join(file.read(MAX_KEY).split())
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                "usage", f"{given!r} cannot be read: {error}", "give '-' and type the key"
            ) from error
    else:
        key = _secret(ctx, "file", "the recovery key:", "- or FILE")
    done = _arrive(ctx, "--recover", key)
    ctx.out.remark("revoke what is lost: p2pchat device list, then p2pchat device revoke DEVICE")
    return done


def _secret(ctx: Context, name: str, question: str, flag: str) -> str:
    given = ctx.text(name)
    found = ctx.ask(question, flag) if given is None else ctx.secret(given)
    if not found:
        raise CommandError("usage", "nothing was given", f"answer with {flag}")
    return found


def _arrive(ctx: Context, how: str, secret: str) -> int:
    words = [*up.options(ctx), how]
    if ctx.flag("replace"):
        words.append("--replace")
    if ctx.running():
        if not ctx.flag("replace"):
            raise CommandError(
                "policy",
                "this profile is somebody already",
                "name another folder with --home, or give this person up with --replace",
            )
        pid = ctx.client().daemon.get("pid")
        ctx.call("down", wait_s=10.0, now=False)
        ctx.close()
        down.wait_gone(ctx, pid if isinstance(pid, int) else 0)
    launch.detached(ctx, words, secret=secret, patience_s=ARRIVE_S)
    until = time.monotonic() + NAMED_S
    while _nameless(ctx.call("status")["me"]) and time.monotonic() < until:
        time.sleep(0.05)
    return up.tell(ctx)


def _nameless(me: dict[str, str]) -> bool:
    """Whether this machine has not heard yet what its person is called."""
    return me["account"].startswith(me["name"])
