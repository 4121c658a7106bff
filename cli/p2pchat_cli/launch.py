"""Start a daemon as a process of its own, and wait until it answers.

Decides: what the daemon inherits from the command (nothing but its environment), and
what is told when it does not come up. Does not know: what a daemon does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from p2pchat.errors import EXIT_CODES, CommandError
from p2pchat.paths import Profile
from p2pchat_cli.session import Context

READY_S: Final = 30.0
"""Opening a million messages takes a second; a cold, busy disk may take many."""

TAIL_BYTES: Final = 8192


def command(profile: Profile, options: Sequence[str]) -> list[str]:
    """The daemon's command line. No secret is in it."""
    home = [] if profile.is_default else ["--home", os.fspath(profile.home)]
    return [sys.executable, "-m", "p2pchat", *home, *options]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the daemon: ours, made to work from another folder.

    Installed, a package is found from everywhere. Run from a checkout or unpacked from a
    single file, it is found by our own search path, which is handed on.
    """
    import p2pchat

    found = dict(environ)
    installed = any(part in ("site-packages", "dist-packages") for part in Path(p2pchat.__file__).parts)
    if not installed:
        found["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    elif found.get("PYTHONPATH"):
        entries = found["PYTHONPATH"].split(os.pathsep)
        found["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries if entry)
    return found


def in_foreground(ctx: Context, options: Sequence[str]) -> int:
    """Become the daemon: same process, same terminal. Returns only on systems without exec."""
    words = [*command(ctx.profile, options), "--foreground"]
    ctx.out.flush()
    if os.name == "nt":
        return subprocess.call(words, env=environment(ctx.environ))  # noqa: S603 - our own interpreter
    os.execve(words[0], words, environment(ctx.environ))  # noqa: S606 - replaces us on purpose


def detached(ctx: Context, options: Sequence[str], *, secret: str = "", patience_s: float = READY_S) -> None:
    """Start a daemon that outlives us; returns once its control socket answers. `secret` is what it
    reads first, on its standard input.

    CommandError with the daemon's own words if it gives up, `timeout` if it never answers.
    """
    log = ctx.profile.log
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise CommandError(
            "archive", f"{os.fspath(log)!r} cannot be written: {error.strerror}", "name a folder: --home DIR"
        ) from error
    try:
        begin = os.fstat(handle).st_size
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            command(ctx.profile, options),
            stdin=subprocess.PIPE if secret else subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            cwd=Path(sys.prefix).anchor or "/",
            env=environment(ctx.environ),
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(handle)
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError), child.stdin:  # it has ended, and says why
            child.stdin.write(f"{secret}\n".encode())
    deadline = time.monotonic() + patience_s
    while not ctx.running():
        code = child.poll()
        if code is not None and not ctx.running():
            raise _gave_up(log, begin, code)
        if time.monotonic() > deadline:
            raise CommandError(
                "timeout", f"the daemon does not answer after {patience_s:.0f} s", "p2pchat logs"
            )
        time.sleep(0.01)
    child.returncode = 0  # it lives on; without this Python would warn about a child left behind


def _gave_up(log: Path, begin: int, code: int) -> CommandError:
    """Why the daemon ended at once: the last `error:` and `hint:` it wrote, under its exit code."""
    with log.open("rb") as stream:
        stream.seek(max(begin, log.stat().st_size - TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    message = next((line[7:] for line in reversed(lines) if line.startswith("error: ")), "")
    told = next((line[6:] for line in reversed(lines) if line.startswith("kind: ")), "")
    hint = next((line[6:] for line in reversed(lines) if line.startswith("hint: ")), "p2pchat logs")
    if not message:
        last = next((line for line in reversed(lines) if line.strip()), "")
        message = f"the daemon ended at once with exit code {code}" + (f": {last}" if last else "")
    kind = next((kind for kind, number in EXIT_CODES.items() if number == code and number > 1), "failed")
    if EXIT_CODES.get(told) == code:
        return CommandError(told, message, hint)
    return CommandError("archive" if code == EXIT_CODES["archive"] else kind, message, hint)
