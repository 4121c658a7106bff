"""Operations about settings, and the settings themselves.

Decides: which keys exist, what each may hold, where a value may come from. Does not
know: what a setting does, or where the file lies (paths).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from p2pchat.control.operations.table import Operation, Param
from p2pchat.errors import SettingsError

ORIGINS: Final = ("flag", "environment", "user", "machine", "default")
"""Where a value comes from, strongest first."""

Setting = str | int | bool | tuple[str, ...]


class Key(NamedTuple):
    """One setting. `type` is one of `text switch size port names addresses hours`.

    `live`: heeded at once when set while the daemon runs; otherwise at its next start.
    `env`: the twin in the environment, or "".
    """

    name: str
    type: str
    default: Setting
    doc: str
    live: bool
    env: str = ""


KEYS: Final = (
    Key("name", "text", "", "what others call me; empty: the system user's full name", True, "P2PCHAT_NAME"),
    Key("inbox", "text", "", "folder for received files; empty: the platform's own place", True),
    Key("read_receipts", "switch", False, "tell others what I have read", True),
    Key("quiet_hours", "hours", "", "HH:MM-HH:MM in which I am not to be disturbed, or off", True),
    Key("file_auto_max", "size", 0, "take files up to this many bytes without asking", True),
    Key("port", "port", 0, "TCP port; 0: 26700, else the next free one to 26709", False, "P2PCHAT_PORT"),
    Key("interface", "names", (), "only these network interfaces; empty: all", False, "P2PCHAT_INTERFACE"),
    Key("probe", "switch", False, "look for others by dialling every address of our networks", True),
    Key("peers", "addresses", (), "HOST[:PORT] to dial at every start", False, "P2PCHAT_PEER"),
)
"""Every setting."""

BY_NAME: Final[Mapping[str, Key]] = {key.name: key for key in KEYS}

OPERATIONS: Final = (
    Operation(
        "config.show",
        "Every setting, its value and where it comes from.",
        (),
        '`{"settings":[{"key","value","origin":"flag|environment|user|machine|default","locked"}]}`',
    ),
    Operation(
        "config.set",
        "Write one setting into the user's file; what can be heeded at once is.",
        (
            Param("key", "str", "one of " + " ".join(key.name for key in KEYS)),
            Param("value", "str", "lists with commas; switches on or off; sizes as 10MB"),
        ),
        'as `config.show`, only this setting, and `"restart"`: true if it counts from the next start',
    ),
)

NAME_MAX: Final = 64
"""Longest name in characters; the profile register holds no longer one."""

_SIZE = re.compile(r"(\d{1,15})\s*([kKmMgGtT]?)(?:i?[bB])?")
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")
_INTERFACE = re.compile(r"[^\s/\0]{1,64}")
_ON: Final = ("on", "true", "yes", "1")
_OFF: Final = ("off", "false", "no", "0")


def parse(name: str, text: str, source: str) -> Setting:
    """The value that `text` means for the setting `name`.

    `source` says where it stands (`--port`, `config set`, a file). Raises SettingsError
    naming value and source.
    """
    key = BY_NAME.get(name)
    if key is None:
        raise SettingsError(f"no setting {_brief(name)} ({source}); there are: " + " ".join(BY_NAME))
    text = text.strip()
    match key.type:
        case "text":
            return _text(name, text, source)
        case "switch":
            return _switch(name, text, source)
        case "size":
            return _size(name, text, source)
        case "port":
            return _port(name, text, source)
        case "hours":
            return _hours(name, text, source)
        case _:
            return _names(key, text, source)


def from_toml(name: str, value: object, source: str) -> Setting:
    """As `parse`, for a value read from a TOML file: typed values are taken as they are."""
    if isinstance(value, bool):
        return parse(name, "on" if value else "off", source)
    if isinstance(value, int | str):
        return parse(name, str(value), source)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return parse(name, ",".join(value), source)
    raise SettingsError(f"{name} cannot be {_brief(str(value))} ({source})")


def to_toml(values: Mapping[str, Setting]) -> str:
    """The text of a user's config file with these values; known keys in table order."""
    lines = ["# written by p2pchat config set; edit by hand if you like\n"]
    for key in KEYS:
        if key.name in values:
            lines.append(f"{key.name} = {_literal(values[key.name])}\n")
    return "".join(lines)


def shown(value: Setting) -> str | int | bool | list[str]:
    """`value` as JSON shows it."""
    return list(value) if isinstance(value, tuple) else value


def _text(name: str, text: str, source: str) -> str:
    limit = NAME_MAX if name == "name" else 4096
    if len(text) > limit or any(ord(c) < 32 or c == "\x7f" for c in text):
        raise SettingsError(f"{name} {_brief(text)} is too long or holds control characters ({source})")
    return text


def _switch(name: str, text: str, source: str) -> bool:
    lowered = text.lower()
    if lowered not in _ON + _OFF:
        raise SettingsError(f"{name} is on or off, not {_brief(text)} ({source})")
    return lowered in _ON


def _size(name: str, text: str, source: str) -> int:
    if text.lower() == "off":
        return 0
    found = _SIZE.fullmatch(text)
    if found is None:
        raise SettingsError(f"{name} is a size like 10MB, not {_brief(text)} ({source})")
    factor: int = 1000 ** " kmgt".index(found[2].lower() or " ")
    return int(found[1]) * factor


def _port(name: str, text: str, source: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise SettingsError(f"{name} is a number from 0 to 65535, not {_brief(text)} ({source})")
    return int(text)


def _hours(name: str, text: str, source: str) -> str:
    if text.lower() in ("", "off"):
        return ""
    if _HOURS.fullmatch(text) is None:
        raise SettingsError(f"{name} is HH:MM-HH:MM or off, not {_brief(text)} ({source})")
    return text


def _names(key: Key, text: str, source: str) -> tuple[str, ...]:
    entries = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for entry in entries:
        if key.type == "addresses":
            split_address(entry, source)
        elif _INTERFACE.fullmatch(entry) is None:
            raise SettingsError(f"{key.name} {_brief(entry)} is no interface name ({source})")
    return entries


def split_address(text: str, source: str = "peers add") -> tuple[str, int | None]:
    """HOST, HOST:PORT, IPV6 or [IPV6]:PORT as (host, port or None). Raises SettingsError."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or rest == ":":
            raise SettingsError(f"{_brief(text)} is no HOST[:PORT] ({source})")
        port = rest[1:]
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        if not port:
            raise SettingsError(f"{_brief(text)} is no HOST[:PORT] ({source})")
    if not host or len(host) > 253 or re.fullmatch(r"[\w.:%-]+", host) is None:
        raise SettingsError(f"{_brief(text)} is no HOST[:PORT] ({source})")
    if ":" in host and not _is_ipv6(host):
        raise SettingsError(
            f"{_brief(text)} is no address: a port goes as [{host.rpartition(':')[0]}]:PORT ({source})"
        )
    if not port:
        return host, None
    number = _port("port", port, source)
    if number == 0:
        raise SettingsError(f"{_brief(text)} names port 0 ({source})")
    return host, number


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def may_be_address(text: str) -> bool:
    """Whether a TARGET that is nobody's name may be HOST[:PORT]: it has a dot or a colon, or is localhost."""
    return "." in text or ":" in text or text == "localhost"


def _literal(value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    # A TOML basic string takes the escapes of JSON for everything `_text` lets through.
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _brief(text: str) -> str:
    quoted = ascii(text)
    return quoted if len(quoted) <= 60 else quoted[:57] + "..."
