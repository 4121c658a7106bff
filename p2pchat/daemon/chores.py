"""What can wait: full text first, then making erased text unreadable.

Decides: how much of it is done before others have a turn, and before a commit. Does not know:
when there is time for it, or where a slow commit runs (the runner).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from p2pchat.daemon.pace import let_others
from p2pchat.store.ledger import Ledger

INDEX_SLICE: Final = 400
"""Messages taken into the full text before others have a turn: about 5 ms."""
INDEX_COMMIT: Final = 2000
"""So many at most in one transaction."""


async def do_some(
    ledger: Ledger, called_away: Callable[[], bool], commit: Callable[[], Awaitable[None]]
) -> bool:
    """One transaction's worth, less if `called_away`; whether nothing is left to do.

    Whatever it raises leaves the transaction open: the handle is finished then.
    """
    ledger.begin()
    indexed = 0
    while more := ledger.views.index_some(INDEX_SLICE):
        indexed += more
        await let_others()
        if indexed >= INDEX_COMMIT or called_away():
            break
    await commit()
    return not indexed and ledger.scrub()
