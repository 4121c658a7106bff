"""Files between real daemons: offered, taken, looked at, waited for.

Decides: how a test speaks of transfers over the control socket, through kills. Does not know: any test.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from p2pchat.control.client import connect
from p2pchat.errors import CommandError
from tests.kit.hosts import COMMAND_S, Machine, until

FINAL: Final = ("done", "declined", "cancelled", "failed")
HEARD_S: Final = 20.0
BLOCK: Final = 1 << 20


def offered(sender: Machine, to: Machine | str, *paths: Path) -> list[str]:
    """Offer these in one message; the ids of the transfers."""
    target = to if isinstance(to, str) else to.name
    answer = sender.ask("files.send", target=target, paths=[os.fspath(path) for path in paths])
    return [one["id"] for one in answer["transfers"]]


def offer(sender: Machine, to: Machine | str, path: Path) -> str:
    """Offer one; its id."""
    (ident,) = offered(sender, to, path)
    return ident


def shown(machine: Machine, ident: str) -> dict[str, Any]:
    """How a transfer stands there; {} if it is not known, or no daemon answers just now."""
    try:
        with connect(machine.profile) as client:
            (found,) = client.call("files.wait", {"ids": [ident], "timeout_s": 0}, COMMAND_S)["transfers"]
    except CommandError as error:
        if error.kind not in ("no_such_target", "no_daemon", "internal", "timeout"):
            raise
        return {}
    assert isinstance(found, dict)
    return found


def take(machine: Machine, ident: str, **how: str) -> None:
    """Accept it, as soon as it is heard of."""
    until(lambda: shown(machine, ident), HEARD_S, f"{machine.name} hears of {ident[:8]}")
    machine.ask("files.accept", id=ident, **how)


def moved(machine: Machine, ident: str) -> int:
    """Bytes that are here of it, or that were given of it."""
    return int(shown(machine, ident).get("bytes_done", 0))


def settled(machine: Machine, ident: str, timeout_s: float) -> dict[str, Any]:
    """The transfer once nothing more happens to it by itself."""

    def final() -> dict[str, Any]:
        found = shown(machine, ident)
        return found if found.get("state") in FINAL else {}

    try:
        return until(final, timeout_s, f"{ident[:8]} is over at {machine.name}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{shown(machine, ident)}\n{machine.log()}") from None


def landed(machine: Machine, ident: str, timeout_s: float) -> Path:
    """Where it is, once it is."""
    found = settled(machine, ident, timeout_s)
    assert found["state"] == "done", f"{found}\n{machine.log()}"
    return Path(found["path"])


def inbox(machine: Machine) -> Path:
    """Where received files land."""
    return machine.home / "inbox"


def staging(machine: Machine) -> Path:
    """Where what is being received is kept."""
    return machine.home / "staging"


def noise(path: Path, size: int) -> Path:
    """A file of that many random bytes, written in one go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size, BLOCK):
            file.write(os.urandom(min(BLOCK, size - start)))
    return path


def same(one: Path, other: Path) -> bool:
    """Byte-equal?"""
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            mine, theirs = first.read(BLOCK), second.read(BLOCK)
            if mine != theirs:
                return False
            if not mine:
                return True


def equal_or_absent(machine: Machine, source: Path) -> bool:
    """Whether everything under a name in the inbox is the source's bytes; True with nothing there."""
    there = [path for path in inbox(machine).glob("*") if path.is_file()]
    assert all(same(path, source) for path in there), f"half a file has a name: {there}"
    return bool(there)
