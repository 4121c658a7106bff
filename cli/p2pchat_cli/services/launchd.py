"""launchd: an agent of the user, started when he logs in. Never run on a Mac by its authors.

Decides: the property list (launchd.plist(5)) and what launchctl is asked. Does not know: the daemon.
"""

from __future__ import annotations

import plistlib
from pathlib import Path

from p2pchat_cli.services.shared import Job, Stands, ask, holds, put, refuse


class Launchd:
    """The user's launchd."""

    system = "launchd"

    def __init__(self, folder: Path, uid: int) -> None:
        self._folder = folder
        self._domain = f"gui/{uid}"

    def install(self, job: Job, *, start: bool) -> Stands:
        """See Service. An agent that is loaded runs, so without `start` it waits for the next login."""
        put(self._file(job), agent(job))
        ask("launchctl", "enable", f"{self._domain}/{job.name}")
        if start:
            ask("launchctl", "bootout", f"{self._domain}/{job.name}")
            said = ask("launchctl", "bootstrap", self._domain, str(self._file(job)))
            if said.code:
                raise refuse("launchd does not take it", said, "it starts at your next login")
        return self.stands(job)

    def uninstall(self, job: Job) -> Stands:
        """See Service."""
        if self._file(job).exists():
            ask("launchctl", "bootout", f"{self._domain}/{job.name}")
            self._file(job).unlink()
        return self.stands(job)

    def stands(self, job: Job) -> Stands:
        """See Service."""
        installed = self._file(job).exists()
        said = ask("launchctl", "print", f"{self._domain}/{job.name}")
        running = None if said.code == 127 else not said.code and "state = running" in said.text
        current = holds(self._file(job), agent(job))
        return Stands(
            str(self._file(job)), installed, current, installed, running, "login" if installed else ""
        )

    def _file(self, job: Job) -> Path:
        return self._folder / f"{job.name}.plist"


def agent(job: Job) -> bytes:
    """The property list. A daemon that was told to stop (exit 0) stays stopped."""
    return plistlib.dumps(
        {
            "Label": job.name,
            "ProgramArguments": list(job.words),
            "EnvironmentVariables": dict(job.environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ProcessType": "Interactive",  # else its timers are held back, and messages with them
            "Umask": 0o077,
            "StandardErrorPath": f"{job.log}.launchd",
        }
    )
