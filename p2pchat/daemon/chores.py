"""What can wait: full text first, then making erased text unreadable.

Decides: when there is time for it, and how much of it is done before others have a turn and before
a commit. Does not know: where a slow commit runs (the runner).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2pchat.daemon.pace import let_others
from p2pchat.store.ledger import Ledger

INDEX_SLICE: Final = 400
"""Messages taken into the full text before others have a turn: about 5 ms."""
INDEX_COMMIT: Final = 2000
"""So many at most in one transaction."""
AFTER_S: Final = 0.25
"""So long nothing must have come before chores are done: chat first."""


class Leisure:
    """Says once nothing has come for a while.

    `done`: nothing is left to do. `due`: nothing has come for AFTER_S, until something does.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called when `due` becomes true."""
        self.done = False
        self.due = False
        self._wake = wake
        self._since = 0.0
        self._begun = trio.Event()

    def begin(self) -> None:
        """Nothing is to be done just now."""
        if not self.done:
            self._since = trio.current_time()
            self._begun.set()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self._begun.wait()
            wait = self._since + AFTER_S - trio.current_time()
            if wait > 0:  # a scope for each rest of the loop would cost each message more
                await trio.sleep(wait)
                continue
            self._begun = trio.Event()
            self.due = True
            self._wake()


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
