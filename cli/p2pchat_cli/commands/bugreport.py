"""`bugreport`: what a developer needs, and nothing that says who or where anybody is. Needs no daemon.

Decides: what goes into the report. Does not know: how a text is made anonymous (redact), or what any
check looks at.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any, Final

from p2pchat import __version__
from p2pchat.control.operations import settings, settings_file
from p2pchat.errors import CommandError, SettingsError
from p2pchat_cli.commands.doctor import look
from p2pchat_cli.output import SCHEMA
from p2pchat_cli.redact import Redactor
from p2pchat_cli.session import Context
from p2pchat_cli.text import field

LINES: Final = 400
"""Of the log, the newest."""
TAIL_BYTES: Final = 256 * 1024
SHOWN: Final = ("switch", "size", "port")
"""Types of settings whose values say nothing about anybody."""


def run(ctx: Context) -> int:
    """Collect, make anonymous, print or write."""
    report = collect(ctx)
    where = ctx.text("out")
    if where is None:
        if ctx.out.json:
            ctx.out.object(report)
        else:
            for line in as_text(report):
                ctx.out.line(field(line))
        return 0
    try:
        with open(where, "x", encoding="utf-8") as stream:
            stream.write("\n".join(as_text(report)) + "\n")
    except FileExistsError as error:
        taken = f"{where!r} is there already"
        raise CommandError("exists", taken, f"p2pchat bugreport --out {quote(where + '.2')}") from error
    if ctx.out.json:
        ctx.out.object({"path": os.path.abspath(where)})
    else:
        ctx.out.line(f"written to {field(where)}; read it before you send it")
    return 0


def collect(ctx: Context) -> dict[str, Any]:
    """The report as fields, all of them anonymous."""
    status, names = _asked(ctx)
    mask = Redactor(os.urandom(16), (*names, *_own_words(ctx)))
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "daemon": status,
        # details quote names and addresses: what was found is in name, side and cause
        "checks": [{key: one[key] for key in ("name", "side", "ok", "cause")} for one in look(ctx, None)],
        "settings": _settings(ctx),
        "log": [mask.text(line) for line in _log(ctx)],
    }


def _asked(ctx: Context) -> tuple[dict[str, Any] | None, list[str]]:
    """Numbers of the running daemon, and every name that must not appear; without one, nothing."""
    try:
        status = ctx.call("status")
        peers = ctx.call("peers.list", all=True)["peers"]
        rooms = ctx.call("rooms.list", all=True)["rooms"]
    except CommandError as error:
        if error.kind != "no_daemon":
            raise
        return None, []
    names = [status["me"]["name"], *(one["name"] for one in peers), *(one["name"] for one in rooms)]
    told = {
        "version": status["daemon"]["version"],
        "uptime_s": status["daemon"]["uptime_s"],
        "listens": len(status["daemon"]["listen"]),
        "peers": status["peers"],
        "trust": sorted(str(one["trust"]) for one in peers),
        "rooms": len(rooms),
        "unread": status["unread"],
        "queue": status["queue"],
        "free_bytes": status["free_bytes"],
        "warnings": [one["kind"] for one in status["warnings"]],
    }
    return told, [str(name) for name in names if name]


def _own_words(ctx: Context) -> Iterator[str]:
    yield os.fspath(ctx.profile.home)
    yield os.path.expanduser("~")
    yield socket.gethostname()
    for variable in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        yield ctx.environ.get(variable, "")
    try:
        held: Mapping[str, settings.Setting] = settings_file.load(ctx.profile.config)
    except SettingsError:
        return
    yield str(held.get("name", ""))


def _settings(ctx: Context) -> list[dict[str, Any]]:
    try:
        held = settings_file.load(ctx.profile.config)
        found = settings_file.resolve({}, ctx.environ, held, {})
    except SettingsError as error:
        return [{"error": type(error).__name__}]
    return [
        {
            "key": one.key,
            "origin": one.origin,
            "value": one.value if settings.BY_NAME[one.key].type in SHOWN else "set" if one.value else "",
        }
        for one in found
    ]


def _log(ctx: Context) -> list[str]:
    try:
        with ctx.profile.log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            text = stream.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-LINES:]


def as_text(report: Mapping[str, Any]) -> Iterator[str]:
    """The report in lines."""
    yield f"p2pchat bug report, schema {SCHEMA}"
    yield f"p2pchat {report['version']}, python {report['python']}, {report['system']}, {sys.platform}"
    yield ""
    daemon = report["daemon"]
    yield "daemon: not running" if daemon is None else "daemon:"
    for key, value in (daemon or {}).items():
        yield f"  {key}: {value}"
    yield "checks:"
    for one in report["checks"]:
        trouble = "ok" if one["ok"] else f"FAIL {one['cause']}"
        yield f"  {one['side']:<5} {one['name']:<10} {trouble}"
    yield "settings:"
    for one in report["settings"]:
        yield f"  {one.get('key', '?')}: {one.get('value', '')} ({one.get('origin', one.get('error'))})"
    yield f"log, the newest {len(report['log'])} lines:"
    yield from (f"  {line}" for line in report["log"])
