"""A file over a socket and nothing else: the ruler for everything that moves an archive.

    python -m tests.bench.raw_copy give FILE HOST            says {"port"}
    python -m tests.bench.raw_copy take FILE HOST PORT       says {"seconds", "bytes"}

Decides: that the copy is complete once it is synced to disk. Does not know: what is in the file.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

from tests.bench.workers import say

PIECE = 1024 * 1024


def give(file: Path, host: str) -> None:
    """Send the file to whoever connects first."""
    with socket.create_server((host, 0)) as server:
        say(port=server.getsockname()[1])
        connection, _ = server.accept()
    with connection, file.open("rb") as source:
        connection.sendfile(source)


def take(file: Path, host: str, port: int) -> None:
    """Say how long it took from the connect until all of it is on disk."""
    start = time.perf_counter()
    size = 0
    with socket.create_connection((host, port)) as connection, file.open("wb", buffering=0) as copy:
        while piece := connection.recv(PIECE):
            size += copy.write(piece)
        os.fsync(copy.fileno())
    say(seconds=time.perf_counter() - start, bytes=size)


if __name__ == "__main__":
    verb, name, address, *rest = sys.argv[1:]
    if verb == "give":
        give(Path(name), address)
    else:
        take(Path(name), address, int(rest[0]))
