"""systemd: a unit of the user's own manager, back after a reboot without log-in where he may linger.

Decides: the unit file (systemd.unit(5), systemd.service(5)) and which programs are asked. Does not
know: the daemon, or what is told to people.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Final

from p2pchat_cli.services.shared import Job, Stands, ask, holds, put, refuse

LINGER: Final = Path("/var/lib/systemd/linger")
"""systemd-logind keeps a file here for everybody whose services live without a session."""


ACTIVE: Final = {"active": True, "activating": True, "inactive": False, "failed": False}
"""Words of `systemctl is-active`; any other means that nobody could be asked."""


class Systemd:
    """The user's own systemd."""

    system = "systemd"

    def __init__(self, folder: Path, linger: Path = LINGER, user: str = "") -> None:
        """`folder` holds the user's units; tests hand in other places."""
        self._folder = folder
        self._linger = linger
        self._user = user or getpass.getuser()

    def install(self, job: Job, *, start: bool) -> Stands:
        """See Service.

        What `systemctl enable` does is a link, made here by hand: it works where no manager of the user
        runs yet, as on a server one reaches without a login of systemd's.
        """
        put(self._file(job), unit(job))
        self._wanted(job).parent.mkdir(parents=True, exist_ok=True)
        self._wanted(job).unlink(missing_ok=True)
        self._wanted(job).symlink_to(self._file(job))
        reached = ask("systemctl", "--user", "daemon-reload").code == 0
        if not self._lingers():
            ask("loginctl", "enable-linger", self._user)
        if start and reached:
            said = ask("systemctl", "--user", "restart", self._unit(job))
            if said.code:
                raise refuse("it does not start", said, f"journalctl --user -u {self._unit(job)}")
        return self.stands(job)

    def uninstall(self, job: Job) -> Stands:
        """See Service."""
        if self._file(job).exists():
            ask("systemctl", "--user", "stop", self._unit(job))
            self._wanted(job).unlink(missing_ok=True)
            self._file(job).unlink()
            ask("systemctl", "--user", "daemon-reload")
        return self.stands(job)

    def stands(self, job: Job) -> Stands:
        """See Service."""
        if not self._file(job).exists():
            return Stands(str(self._file(job)), False, False, False, False, "")
        active = ask("systemctl", "--user", "is-active", self._unit(job)).text.splitlines()
        boot = self._lingers()
        return Stands(
            str(self._file(job)),
            True,
            holds(self._file(job), unit(job)),
            self._wanted(job).is_symlink(),
            ACTIVE.get(active[-1]) if active else None,
            "boot" if boot else "login",
            "" if boot else f"sudo loginctl enable-linger {self._user}",
        )

    def _wanted(self, job: Job) -> Path:
        return self._folder / "default.target.wants" / self._unit(job)

    def _file(self, job: Job) -> Path:
        return self._folder / self._unit(job)

    def _unit(self, job: Job) -> str:
        return f"{job.name}.service"

    def _lingers(self) -> bool:
        return (self._linger / self._user).exists()


def unit(job: Job) -> bytes:
    """The unit file."""
    environment = "".join(f"Environment={_quote(f'{name}={value}')}\n" for name, value in job.environment)
    return f"""# written by p2pchat service install; it is replaced by the next one
[Unit]
Description={job.title.replace("%", "%%")}
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
ExecStart={" ".join(_quote(word).replace("$", "$$") for word in job.words)}
{environment}Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 9
TimeoutStopSec=20
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
""".encode()


def _quote(word: str) -> str:
    """A word as systemd reads it back: `%` begins a specifier, quotes and backslashes are its own."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
