"""A decoder with a bug, to see that fuzzing finds one. Not among the targets."""

from __future__ import annotations

from p2pchat.errors import RemoteProtocolError


def seeds() -> list[bytes]:
    return [b"an innocent start"]


def one_input(data: bytes) -> None:
    if len(data) < 3:
        raise RemoteProtocolError("too short")
    if data[0] > 0x7F:
        raise KeyError(data[0])
