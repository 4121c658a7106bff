"""Avahi on one machine of the network: what an mDNS implementation that is not ours sees.

Decides: how avahi-daemon and its private message bus are run in a namespace and ended.
Does not know: what is looked for.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kit.hosts import until
from tests.kit.netns import Host

START_S: Final = 10.0
SEEN_S: Final = 10.0

_BUS: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""
_AVAHI: Final = """[server]
host-name=observer
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
[publish]
disable-publishing=yes
[reflector]
[rlimits]
"""


@contextmanager
def avahi(host: Host, folder: Path) -> Iterator[dict[str, str]]:
    """avahi-daemon on `host`, its files in `folder`; yields the environment its clients need."""
    folder.mkdir(parents=True)
    socket = folder / "bus"
    (folder / "bus.conf").write_text(_BUS.format(socket=socket))
    (folder / "avahi.conf").write_text(_AVAHI)
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}"}
    started: list[subprocess.Popen[bytes]] = []
    with (folder / "log").open("wb") as log:
        try:
            bus = ("dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile")
            started.append(host.popen(*bus, env=env, stderr=log))
            until(socket.exists, START_S, "the message bus listens")
            # A /run of its own, seen by this process only: its pid file must not meet the system's.
            script = 'mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-chroot -f "$0"'
            words = ("sh", "-c", script, folder / "avahi.conf")
            started.append(host.popen(*words, env=env, stdout=log, stderr=log))
            until(lambda: _up(host, env), START_S, "avahi-daemon answers")
            yield env
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(10)


def browse(host: Host, folder: Path, service: str, *, services: int) -> str:
    """What `avahi-browse -rtp SERVICE` prints on `host`, asked until `services` labels are resolved."""
    with avahi(host, folder) as env:
        deadline = time.monotonic() + SEEN_S
        while True:
            done = host.run("avahi-browse", "-rtp", service, env=env)
            labels = {line.split(";")[3] for line in done.stdout.splitlines() if line.startswith("=;")}
            if len(labels) >= services:
                return done.stdout
            assert time.monotonic() < deadline, f"{done.stdout}{done.stderr}"


def _up(host: Host, env: dict[str, str]) -> bool:
    return host.run("avahi-browse", "-tp", "_none._tcp", env=env).returncode == 0
