"""A daemon that gives wrong pieces, well sealed: `python -m tests.hostile.liar`, options as the daemon's.

Decides: that of everything it gives one byte is another. Does not know: who asks. A tampered file in its
inbox would not do: the real daemon checks what it gives.
"""

from __future__ import annotations

import sys

from p2pchat.daemon.bulk import Bulk
from p2pchat.daemon.bulk_link import BulkLink
from p2pchat.daemon.main import main
from p2pchat.wire.codec import Record


class Liar(Bulk):
    """What it seals is never what it read."""

    async def give(self, link: BulkLink, offer: bytes, number: int, into: memoryview) -> tuple[Record, ...]:
        """See Bulk."""
        said = await super().give(link, offer, number, into)
        into[5] ^= 1
        return said


if __name__ == "__main__":
    from p2pchat.daemon import core

    core.Bulk = Liar  # type: ignore[misc]
    sys.exit(main())
