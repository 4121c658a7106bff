"""Starting the daemon at login or boot: which system's way is taken.

Decides: that. Does not know: what is started (shared), or any system's files or programs (systemd, launchd,
windows).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from p2pchat.errors import CommandError
from p2pchat_cli.services.shared import Service


def here(environ: Mapping[str, str], platform: str = sys.platform) -> Service:
    """This system's way. CommandError where there is none we know."""
    if platform == "darwin":
        from p2pchat_cli.services.launchd import Launchd

        return Launchd(Path(os.path.expanduser("~/Library/LaunchAgents")), os.getuid())
    if platform == "win32":
        from p2pchat_cli.services.windows import Scheduler

        return Scheduler(Path(environ.get("LOCALAPPDATA", os.path.expanduser("~"))) / "p2pchat", environ)
    if platform.startswith("linux"):
        from p2pchat_cli.services.systemd import Systemd

        base = environ.get("XDG_CONFIG_HOME", "")
        config = Path(base if os.path.isabs(base) else os.path.expanduser("~/.config"))
        return Systemd(config / "systemd" / "user")
    raise CommandError(
        "failed", f"no service is known for {platform!r}", "start it from your session: `p2pchat up`"
    )
