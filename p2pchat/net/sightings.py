"""What is believed of other people's mDNS records, and how many of them.

Decides: which labels and records make a sighting, and what is kept of names that arrive
faster than they are read. Does not know: zeroconf, packets or sockets (mdns). All input
here is written by strangers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from p2pchat.net.interfaces import LocalAddress, on_link
from p2pchat.net.lan import Sighting

SERVICE: Final = "_p2pchat._tcp.local."

MAX_NAMES: Final = 1024
"""Names waiting to be read, and as many waiting to be asked for: 50,000 fake ones cost 200 KB."""

MAX_ADDRESSES: Final = 8
"""Addresses announced, and taken from one sighting: more than one machine has on one LAN."""

MAX_TAGS: Final = 8
TAG_BYTES: Final = 8

MIN_PORT: Final = 1024
"""Below it live other programs' services, which nobody may have us dial (DI2)."""

_LABEL = re.compile(r"[a-z0-9-]{1,63}\Z")


class Names:
    """Names between zeroconf's threads and trio: bounded, the newest word about each.

    `note` may be called from any thread. When full the oldest name goes and `lost` says
    so, until `recover` is called with all names of the cache.
    """

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: dict[str, bool] = {}
        self.lost = False

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, name: str, gone: bool) -> None:
        """Remember that `name` appeared or changed, or said goodbye."""
        with self._lock:
            self._waiting.pop(name, None)
            if len(self._waiting) >= self._limit:
                del self._waiting[next(iter(self._waiting))]
                self.lost = True
            self._waiting[name] = gone

    def take(self, most: int) -> list[tuple[str, bool]]:
        """Up to `most` names with whether they are gone, the oldest first."""
        with self._lock:
            names = list(islice(self._waiting, most))
            return [(name, self._waiting.pop(name)) for name in names]


def label_of(name: str) -> str | None:
    """The label of a full service name, or None if it is not one of ours."""
    lowered = name.lower()
    if not lowered.endswith("." + SERVICE):
        return None
    label = lowered[: -len(SERVICE) - 1]
    return label if _LABEL.match(label) else None


def sighting_of(
    label: str,
    port: int | None,
    heard: Sequence[str],
    text: Mapping[bytes, bytes | None],
    local: tuple[LocalAddress, ...],
) -> Sighting | None:
    """The sighting these records make, or None if they are malformed or lead elsewhere.

    TXT: `v` a decimal number, `o` office tags as hex of 8 bytes, several with commas.
    """
    version = text.get(b"v") or b""
    if not (version.isdigit() and len(version) <= 5):
        return None
    tags: list[bytes] = []
    for part in (text.get(b"o") or b"").split(b",")[:MAX_TAGS]:
        if re.fullmatch(rb"[0-9a-f]{%d}" % (2 * TAG_BYTES), part):
            tags.append(bytes.fromhex(part.decode()))
    if port is None or not MIN_PORT <= port <= 65535:
        return None
    reachable = dict.fromkeys(
        filter(None, (on_link(address, local) for address in heard[: 4 * MAX_ADDRESSES]))
    )
    if not reachable:
        return None
    return Sighting(label, tuple(reachable)[:MAX_ADDRESSES], port, int(version), tuple(tags))
