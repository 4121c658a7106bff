"""Where rivals are, and what this machine lacks to run them.

Decides: by which ordinary package names they are installed, and into which folder. Does
not know: how they are measured. Nothing of theirs is installed by measuring: without this
step a script says "not available" and goes on.

    python -m tests.bench rivals        # root, Debian: apt-get, pip and npm
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEBIAN = ("prosody", "mosquitto", "openssl", "avahi-daemon", "avahi-utils", "dbus")
DEBIAN_FILES = ("openssh-server", "openssh-client", "nginx-light", "curl", "rsync", "syncthing")
DEBIAN_NODE = ("nodejs", "npm")
"""Only where there is no npm: beside one from elsewhere they do not install."""
PYTHON = ("slixmpp", "paho-mqtt", "libp2p", "zeroconf", "magic-wormhole")
PYTHON_SERVERS = ("magic-wormhole-mailbox-server", "magic-wormhole-transit-relay")
NODE = ("secret-stack@6", "ssb-db2", "ssb-ebt", "ssb-caps", "ssb-keys")
TYPER = "typer==0.28.*"


class Rivals:
    """What is there to measure against. Each question answers "" or why not."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or default_folder()
        self.python = self.folder / "venv" / "bin" / "python"
        self.node_folder = self.folder / "ssb"
        self.typer_python = self.folder / "typer" / "bin" / "python"

    def lacks(self, *needs: str) -> str:
        """Why something of `needs` is missing: "tool:NAME", "python:MODULE", "node", "typer"."""
        for need in needs:
            kind, _, name = need.partition(":")
            if not self._has(kind, name):
                return f"no {name or kind}: python -m tests.bench rivals"
        return ""

    def _has(self, kind: str, name: str) -> bool:
        if kind == "tool":
            return shutil.which(name) is not None
        if kind == "node":
            return shutil.which("node") is not None and (self.node_folder / "node_modules/ssb-db2").is_dir()
        if kind == "typer":
            return self.typer_python.exists()
        libraries = self.python.parent.parent / "lib"
        return self.python.exists() and any(libraries.glob(f"python3*/site-packages/{name}"))

    def program(self, name: str) -> str:
        """Where a program of a Python rival is."""
        return str(self.python.parent / name)


def default_folder() -> Path:
    """Below the folder for temporary files, by user."""
    return Path(tempfile.gettempdir()) / f"p2pchat-bench-rivals-{os.getuid()}"


def install(folder: Path | None) -> None:
    """Install every rival; what cannot be had is said and left out."""
    rivals = Rivals(folder)
    rivals.folder.mkdir(mode=0o700, exist_ok=True)
    if shutil.which("apt-get") and os.geteuid() == 0:
        _debian()
    else:
        print(f"install these Debian packages as root: {' '.join(DEBIAN + DEBIAN_FILES)}", file=sys.stderr)
    for name, wanted in (("venv", PYTHON + PYTHON_SERVERS), ("typer", (TYPER,))):
        place = rivals.folder / name
        _try(sys.executable, "-m", "venv", str(place))
        for package in wanted:  # one by one: a rival that does not install hinders no other
            _try(str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", package)
    if shutil.which("npm"):
        rivals.node_folder.mkdir(exist_ok=True)
        _try("npm", "install", "--no-audit", "--no-fund", "--prefix", str(rivals.node_folder), *NODE)


def _debian() -> None:
    """No server may start by itself: what is measured is started in a namespace."""
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        _try("apt-get", "update", "-q", env=quiet)
        wanted = DEBIAN if shutil.which("npm") else (*DEBIAN, *DEBIAN_NODE)
        for some in (wanted, DEBIAN_FILES):
            _try("apt-get", "install", "-qy", "--no-install-recommends", *some, env=quiet)
    finally:
        if made:
            policy.unlink()


def _try(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        tail = (done.stderr or done.stdout).strip().splitlines()[-1:]
        print(f"not installed: {' '.join(command)[:100]}: {' '.join(tail)}", file=sys.stderr)
