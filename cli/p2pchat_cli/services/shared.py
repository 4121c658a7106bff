"""Starting the daemon at login or boot: what is common to all systems.

Decides: what is started, under which name, and what a system must be able to answer. Does not know:
any system's files or programs (systemd, launchd, windows).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from p2pchat.errors import CommandError
from p2pchat.paths import Profile
from p2pchat_cli import launch

PATIENCE_S: Final = 30.0
"""For one answer of the system's own program."""

_LINE_ENDS: Final = "\n\r\0"
_ENDS, _TAIL = b"PK\x05\x06", 22 + 0xFFFF  # of a zip archive: its last record, and where that may begin


class Job(NamedTuple):
    """What is to be started."""

    name: str
    """`p2pchat`, for another profile than the default one with digits of its folder's name behind."""
    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    title: str
    log: str


class Stands(NamedTuple):
    """How a service stands. None where the system does not say."""

    file: str
    installed: bool
    current: bool
    enabled: bool | None
    running: bool | None
    at: str
    """`boot` or `login`, or `` where it is not installed."""
    fix: str = ""
    """What to do, if something is less than it could be."""


class Service(Protocol):
    """One system's way to start a daemon."""

    system: str

    def install(self, job: Job, *, start: bool) -> Stands:
        """Write its file, have it started at boot or login, and now too with `start`.

        CommandError if the system refuses; OSError for files.
        """

    def uninstall(self, job: Job) -> Stands:
        """Stop what was started by it and take its file away; nothing there is no mistake."""

    def stands(self, job: Job) -> Stands:
        """How it is now."""


class Said(NamedTuple):
    """What a program of the system answered; `code` 127 if there is none."""

    code: int
    text: str


def ask(*words: str) -> Said:
    """Run one of the system's own programs; never raises for what it says."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and a name of our own making
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        return Said(127, f"there is no {words[0]!r} here")
    except subprocess.TimeoutExpired:
        return Said(124, f"{words[0]!r} did not answer within {PATIENCE_S:.0f} s")
    return Said(done.returncode, done.stdout.decode("utf-8", "replace").strip())


def refuse(what: str, said: Said, hint: str) -> CommandError:
    """The failure when a program of the system would not do it; quotes its last line."""
    lines = said.text.splitlines() or [f"exit code {said.code}"]
    return CommandError("failed", f"{what}: {lines[-1]}", hint)


def job(profile: Profile, environ: Mapping[str, str], argv0: str) -> Job:
    """What to start for this profile. CommandError for a folder no such file can name."""
    name, home = "p2pchat", [] if profile.is_default else ["--home", os.fspath(profile.home)]
    if not profile.is_default:
        from hashlib import blake2b

        name += "-" + blake2b(os.fsencode(os.path.realpath(profile.home)), digest_size=4).hexdigest()
    environment: tuple[tuple[str, str], ...] = ()
    if _is_single_file(argv0):  # the single file: it unpacks itself, wherever its cache is by then
        words = [sys.executable, os.path.abspath(argv0), *home, "up", "--foreground"]
    else:
        words = [*launch.command(profile, ()), "--foreground"]
        path = launch.environment({}).get("PYTHONPATH")
        environment = (("PYTHONPATH", path),) if path else ()
    for kept in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        if profile.is_default and environ.get(kept):  # else it would start on another profile
            environment += ((kept, environ[kept]),)
    title = "p2pchat" if profile.is_default else f"p2pchat in {os.fspath(profile.home)}"
    made = Job(name, tuple(words), environment, title, os.fspath(profile.log))
    for text in (*words, *(value for _, value in environment), title):
        if any(end in text for end in _LINE_ENDS):
            raise CommandError("usage", f"{text!r} holds a line end", "a service needs a plain path")
    return made


def _is_single_file(path: str) -> bool:
    """Whether we were started from one file that carries everything: a script with an archive behind it."""
    try:
        with open(path, "rb") as file:
            begins = file.read(2)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return begins in (b"#!", b"PK") and _ENDS in file.read()
    except OSError:
        return False


def put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    os.replace(beside, path)


def holds(path: Path, data: bytes) -> bool:
    """Whether a file is there and holds exactly this."""
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
