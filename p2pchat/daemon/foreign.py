"""Who announces the program on this network and is none of ours: another version, another office.

Decides: how many of them are remembered, and for how long. Does not know: what a doctor makes of it. An
announcement is a hint by anyone who can send a packet: nothing but advice follows from it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from p2pchat.net.lan import Sighting

VERSION: Final = "version"
OFFICE: Final = "other_office"
MAX_FOREIGN: Final = 256
"""More announcements than that are somebody's game; the oldest are forgotten."""


class _Seen(NamedTuple):
    cause: str
    addresses: tuple[str, ...]
    port: int


class Foreign:
    """Those who are announced at the moment."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def saw(self, sighting: Sighting, cause: str) -> None:
        """One of them announces himself; `cause` is VERSION or OFFICE."""
        self._seen.pop(sighting.label, None)
        self._seen[sighting.label] = _Seen(cause, sighting.addresses, sighting.port)
        if len(self._seen) > MAX_FOREIGN:
            del self._seen[next(iter(self._seen))]

    def gone(self, label: str) -> None:
        """Whoever used this label has said goodbye."""
        self._seen.pop(label, None)

    def count(self, cause: str) -> int:
        """How many there are of one kind."""
        return sum(one.cause == cause for one in self._seen.values())

    def at(self, host: str, port: int) -> str:
        """What the newest announcement of that address says: VERSION, OFFICE, or nothing."""
        found = [one.cause for one in self._seen.values() if one.port == port and host in one.addresses]
        return found[-1] if found else ""
