"""`paths`: where everything lies. Works without a daemon.

Decides: what is listed. Does not know: what lies there.
"""

from __future__ import annotations

import os

from p2pchat.control.operations import settings_file
from p2pchat_cli.session import Context
from p2pchat_cli.text import field


def run(ctx: Context) -> int:
    """Print the paths of this profile."""
    profile = ctx.profile
    inbox = settings_file.load(profile.config).get("inbox") or os.fspath(profile.inbox)
    found = {
        "home": os.fspath(profile.home),
        "inbox": os.path.abspath(os.path.expanduser(str(inbox))),
        "socket": os.fspath(profile.socket),
        "log": os.fspath(profile.log),
        "config": os.fspath(profile.config),
    }
    if ctx.out.json:
        ctx.out.object(found)
    else:
        for name, path in found.items():
            ctx.out.line(f"{name:<7} {field(path)}")
    return 0
