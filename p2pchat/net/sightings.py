"""What is believed of other people's mDNS records.

Decides: which labels and records make a sighting. Does not know: zeroconf, packets or
sockets (mdns), or when it is asked (reader). All input here is written by strangers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from p2pchat.net.interfaces import LocalAddress, on_link
from p2pchat.net.lan import Sighting
from p2pchat.wire.limits import MAX_ADDRESSES

SERVICE: Final = "_p2pchat._tcp.local."

MAX_TAGS: Final = 8
TAG_BYTES: Final = 8

MIN_PORT: Final = 1024
"""Below it live other programs' services, which nobody may have us dial (DI2)."""

_LABEL = re.compile(r"[a-z0-9-]{1,63}\Z")
_TAG = re.compile(rb"[0-9a-f]{%d}\Z" % (2 * TAG_BYTES))


@dataclass(frozen=True, slots=True)
class Facts:
    """What one packet said about a name: SRV port, raw TXT, addresses as literals."""

    port: int | None
    text: bytes
    heard: tuple[str, ...]


Word = Facts | Literal["look", "gone"]
"""Heard about a name: everything at once, something worth looking up, or goodbye."""


def label_of(name: str) -> str | None:
    """The label of a full service name, or None if it is not one of ours."""
    lowered = name.lower()
    if not lowered.endswith("." + SERVICE):
        return None
    label = lowered[: -len(SERVICE) - 1]
    return label if _LABEL.match(label) else None


def sighting_of(label: str, facts: Facts, local: tuple[LocalAddress, ...]) -> Sighting | None:
    """The sighting these facts make, or None if they are malformed or lead elsewhere.

    TXT: `v` a decimal number, `o` office tags as hex of 8 bytes, several with commas.
    """
    text = _properties(facts.text)
    version = text.get(b"v", b"")
    if not (version.isdigit() and len(version) <= 5):
        return None
    tags: list[bytes] = []
    for part in text.get(b"o", b"").split(b",")[:MAX_TAGS]:
        if _TAG.match(part):
            tags.append(bytes.fromhex(part.decode()))
    if facts.port is None or not MIN_PORT <= facts.port <= 65535:
        return None
    near = (on_link(address, local) for address in facts.heard[: 4 * MAX_ADDRESSES])
    reachable = dict.fromkeys(filter(None, near))
    if not reachable:
        return None
    best_first = tuple(sorted(reachable, key=_header_bytes))[:MAX_ADDRESSES]
    return Sighting(label, best_first, facts.port, int(version), tuple(tags))


def _header_bytes(host: str) -> tuple[int, bool]:
    """What each packet to an address costs; an address that means nothing elsewhere comes last. A link that
    says nothing is three small packets every 7 s, so that half of its bytes are headers."""
    return (40 if ":" in host else 20, "%" in host)


def _properties(text: bytes) -> dict[bytes, bytes]:
    """The `key=value` strings of a TXT record; of equal keys the first counts (RFC 6763 section 6.4)."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        key, _, value = text[at + 1 : at + 1 + text[at]].partition(b"=")
        found.setdefault(key.lower(), value)
        at += 1 + text[at]
    return found
