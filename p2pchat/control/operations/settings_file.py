"""The user's config file, and which source wins.

Decides: how `config.toml` is read and changed without losing what a person wrote in it,
and the order flag > environment > user > machine > default. Does not know: what a
setting does, or who asks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from p2pchat.control.operations import settings
from p2pchat.control.operations.settings import Setting
from p2pchat.errors import SettingsError

MAX_BYTES: Final = 256 * 1024


class Effective(NamedTuple):
    """The value that counts, and where it comes from (one of settings.ORIGINS)."""

    key: str
    value: Setting
    origin: str
    locked: bool = False


def load(path: Path) -> dict[str, Setting]:
    """What the file says; empty if there is none. SettingsError names file, key and value."""
    return _read(_text(path), path)


def write(path: Path, key: str, value: Setting) -> None:
    """Set one key, keeping every other line. The file is replaced as a whole or not at all.

    Raises SettingsError if the file as it stands cannot be understood, OSError if it
    cannot be written.
    """
    text = _text(path)
    wanted = {**_read(text, path), key: value}
    line = settings.to_toml({key: value}).splitlines()[-1]
    edited, count = re.subn(rf"(?m)^[ \t]*{re.escape(key)}[ \t]*=.*$", lambda _: line, text, count=1)
    if not count:
        edited = text + ("\n" if text and not text.endswith("\n") else "") + line + "\n"
    if not _says(edited, wanted, path):  # a list over several lines, or a table above: write it anew
        edited = settings.to_toml(wanted)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(edited)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def resolve(
    flags: Mapping[str, Setting],
    environ: Mapping[str, str],
    user: Mapping[str, Setting],
    machine: Mapping[str, Setting],
) -> list[Effective]:
    """Every setting with the value that counts. SettingsError for a twin that makes no sense."""
    found = []
    for key in settings.KEYS:
        twin = environ.get(key.env, "") if key.env else ""
        if key.name in flags:
            found.append(Effective(key.name, flags[key.name], "flag"))
        elif twin:
            found.append(Effective(key.name, settings.parse(key.name, twin, key.env), "environment"))
        elif key.name in user:
            found.append(Effective(key.name, user[key.name], "user"))
        elif key.name in machine:
            found.append(Effective(key.name, machine[key.name], "machine"))
        else:
            found.append(Effective(key.name, key.default, "default"))
    return found


def fields(found: list[Effective]) -> list[dict[str, Any]]:
    """`[{"key","value","origin","locked"}]`."""
    return [
        {"key": one.key, "value": settings.shown(one.value), "origin": one.origin, "locked": one.locked}
        for one in found
    ]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{os.fspath(path)!r} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise SettingsError(f"{os.fspath(path)!r} is longer than {MAX_BYTES} bytes: no settings file of ours")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{os.fspath(path)!r} is not UTF-8") from None


def _read(text: str, path: Path) -> dict[str, Setting]:
    if not text.strip():
        return {}
    import tomllib  # 10 ms, and most profiles have no file

    source = os.fspath(path)
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source!r} is not TOML: {str(error).lower()}") from None
    return {name: settings.from_toml(name, value, source) for name, value in held.items()}


def _says(text: str, wanted: Mapping[str, Setting], path: Path) -> bool:
    try:
        return _read(text, path) == wanted
    except SettingsError:
        return False
