"""`service install|uninstall|status`: the daemon is there after every login, or every boot.

Decides: what is said. Does not know: how a system starts things (services). Works without a daemon.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from p2pchat.errors import CommandError
from p2pchat_cli import services
from p2pchat_cli.services.shared import Job, Service, Stands, job
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

READY_S: Final = 30.0


def _at_hand(ctx: Context) -> tuple[Service, Job]:
    return services.here(ctx.environ), job(ctx.profile, ctx.environ, sys.argv[0])


def install(ctx: Context) -> int:
    """Have it started from now on, and now too unless it runs already."""
    service, job = _at_hand(ctx)
    by_hand = ctx.running() and not service.stands(job).running
    stands = service.install(job, start=not by_hand)
    if not by_hand and stands.running:
        _wait(ctx, job)
        stands = service.stands(job)
    _tell(ctx, service, stands)
    if by_hand:
        ctx.out.remark(f"one started by hand runs now: the service takes over at the next {stands.at}")
    elif not stands.running:
        ctx.out.remark(ctx.out.hint(f"from the next {stands.at} on; until then: `p2pchat up`"))
    return 0


def _wait(ctx: Context, job: Job) -> None:
    """Until the daemon that was just started answers."""
    deadline = time.monotonic() + READY_S
    ctx.close()
    while not ctx.running():
        if time.monotonic() > deadline:
            hint = "p2pchat logs"
            raise CommandError("timeout", f"installed, but no answer within {READY_S:.0f} s", hint)
        time.sleep(0.1)


def uninstall(ctx: Context) -> int:
    """Start it no more, and stop what the service started. Nothing of the profile is touched."""
    service, job = _at_hand(ctx)
    _tell(ctx, service, service.uninstall(job))
    return 0


def status(ctx: Context) -> int:
    """How it stands."""
    service, job = _at_hand(ctx)
    _tell(ctx, service, service.stands(job))
    return 0


def _tell(ctx: Context, service: Service, stands: Stands) -> None:
    out = ctx.out
    if out.json:
        out.object({"service": {"system": service.system, **stands._asdict(), "fix": stands.fix or None}})
        return
    if not stands.installed:
        out.line(f"not installed ({service.system})")
        return
    when = {"boot": "starts at boot", "login": "starts when you log in"}[stands.at]
    state = {True: ", runs", False: ", does not run", None: ""}[stands.running]
    off = ", but is switched off" if stands.enabled is False else ""
    out.line(f"{when}{off}{state}: {field(stands.file)}")
    if not stands.current:
        out.remark(out.hint("its file is of another version or place: `p2pchat service install` again"))
    if stands.fix:
        out.remark(f"to have it start at boot, without a login: {field(stands.fix)}")
