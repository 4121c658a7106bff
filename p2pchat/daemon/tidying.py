"""What an earlier run left in the staging folder, looked through once before anything new is put there.

Decides: which names there belong to a transfer, and that what the archive needs no more goes. Does not
know: which that is (`StillNeeded` is asked), or what lies under a name.

A daemon that is killed between two steps leaves what was piped in and offered to nobody, the notes on a
file whose message was never written, and what was taken back a moment before: nothing else would ever
remove them, and they may be as large as the disk.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from p2pchat.daemon.disk import Disk
from p2pchat.daemon.shelf import SPOOL, Shelf
from p2pchat.engine.file_inputs import StillNeeded
from p2pchat.engine.inputs import Command
from p2pchat.errors import CommandError

log = logging.getLogger(__name__)

AT_ONCE: Final = 1000
"""Transfers asked about in one question."""
_OURS: Final = re.compile(rf"(?:{SPOOL})?([0-9a-f]{{32}})(?:\.state|\.list)?")


async def tidy(disk: Disk, shelf: Shelf, ask: Callable[[Callable[[int], Command]], Awaitable[Any]]) -> None:
    """Remove what no transfer needs. A disk that refuses is logged, for the rest goes on without it."""
    try:
        found = await disk.slow(lambda: _named(disk))
        for start in range(0, len(found), AT_ONCE):
            some = tuple(found[start : start + AT_ONCE])
            needed = await ask(lambda number, some=some: StillNeeded(number, some))  # type: ignore[misc]
            for offer in some:
                if offer not in needed:
                    await shelf.remove(offer)
    except (CommandError, OSError) as error:
        log.warning("what an earlier run left of files stays for now: %s", error)


def _named(disk: Disk) -> list[bytes]:
    """Ids of offers of which anything is kept."""
    matches = (_OURS.fullmatch(name) for name, _ in disk.staging().list())
    return sorted({bytes.fromhex(match[1]) for match in matches if match is not None})
