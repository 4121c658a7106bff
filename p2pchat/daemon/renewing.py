"""This machine goes on under another id, because a copy of it uses the one it has.

Decides: in which order keys are made, stated, written down and used, so that a crash at any line leaves
a machine that works. Does not know: what proves that there is a copy (engine/clones).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.daemon.identity import Identity, next_keys, renewed
from p2pchat.engine import clones
from p2pchat.engine.device_inputs import Renew
from p2pchat.engine.inputs import Command, Tell
from p2pchat.engine.ports import Entropy
from p2pchat.errors import CommandError

log = logging.getLogger(__name__)

T = TypeVar("T")

AGAIN_S: Final = 60.0
"""After a failure, a full disk say: until then the old id goes on."""


class Renewing:
    """Listens for the word, and carries it out."""

    def __init__(
        self,
        entropy: Entropy,
        ask: Callable[[Callable[[int], Command]], Awaitable[Any]],
        identity: Callable[[], Identity],
        use: Callable[[Identity], None],
        *,
        threads: bool,
    ) -> None:
        """`identity` is the one in use; `use` goes on with another."""
        self._threads = threads
        self._entropy, self._ask = entropy, ask
        self._identity, self._use = identity, use
        self._wanted = trio.Event()

    def heard(self, tell: Tell) -> None:
        """For the runner's listeners."""
        if tell.type == clones.RENEW:
            self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self._renew()
            except CommandError as error:
                log.error("this machine could not take a new id: %s", error.message)
                await trio.sleep(AGAIN_S)
                self._wanted.set()

    async def _renew(self) -> None:
        before = self._identity()
        seed, noise = await self._elsewhere(lambda: next_keys(before, self._entropy.bytes))
        public, _ = ed25519_keypair(seed)
        told = await self._ask(lambda n: Renew(n, public, x25519_public(noise)))
        # From here on the statement is known; only who has the file speaks for the new machine.
        after = await self._elsewhere(lambda: renewed(before, seed, noise, told["statements"]))
        log.warning("a copy of this profile is in use: this machine has a new id from now on")
        self._use(after)

    async def _elsewhere(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work) if self._threads else work()
