"""The running daemon, as the operations of the control socket see it.

Decides: how facts about this machine are gathered, and that questions to the archive run
beside the writer, one at a time, in a thread of their own. Does not know: JSON, or what
is asked (queries).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import trio

from p2pchat import __version__
from p2pchat.control.operations.settings import Setting
from p2pchat.crypto.identity import SigningKey, print_bound_recovery
from p2pchat.daemon.core import Daemon
from p2pchat.daemon.examiner import Examiner
from p2pchat.daemon.health import Facts
from p2pchat.daemon.identity import forget_recovery
from p2pchat.daemon.looks import Looks, NodeLooks
from p2pchat.daemon.moving import Bulk
from p2pchat.daemon.queries import Sources
from p2pchat.engine import clones, machines, presence, quota
from p2pchat.engine.inputs import Command, Tell
from p2pchat.paths import Profile
from p2pchat.store.ledger import Ledger
from p2pchat.store.reader import Reader, open_reader
from p2pchat.store.space import free_bytes

T = TypeVar("T")


class DaemonHost:
    """Fits queries.Host."""

    def __init__(self, daemon: Daemon, where: Profile, flags: Mapping[str, Setting]) -> None:
        self._daemon = daemon
        self._where = where
        self._limit = trio.CapacityLimiter(1)
        self._reader: Reader | None = None
        self._reader_of: Ledger | None = None
        self._sources = Sources(where.config, flags, dict(os.environ))
        self._looks = NodeLooks(lambda: daemon.runner.node, daemon.parts.clock)
        self._recovery = daemon.identity.recovery
        daemon.before_close.append(self.close)

    @property
    def looks(self) -> Looks:
        """The node's memory."""
        return self._looks

    @property
    def bulk(self) -> Bulk | None:
        """Who moves the bytes of files; None where nobody does."""
        return self._daemon.bulk

    @property
    def inbox(self) -> str:
        """Where received files land if no other folder was named."""
        disk = self._daemon.parts.disk
        return os.path.abspath(disk.inbox()) if disk is not None else ""

    @property
    def sources(self) -> Sources:
        """Where settings come from."""
        return self._sources

    @property
    def feed_changed(self) -> trio.Event:
        """Set when rows are added to the feed; another one takes its place then."""
        return self._daemon.runner.feed_changed

    @property
    def tells(self) -> dict[object, Callable[[Tell], None]]:
        """Those who want to hear what is not kept."""
        return self._daemon.runner.tells

    async def ask(self, make: Callable[[int], Command]) -> Any:
        """Post a command and wait for its answer."""
        return await self._daemon.runner.ask(make)

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Put a question to the archive beside the writer."""

        def answer() -> T:
            return question(self._open())

        if not self._daemon.parts.threads:
            return answer()
        return await trio.to_thread.run_sync(answer, limiter=self._limit)

    def _open(self) -> Reader:
        ledger = self._daemon.runner.ledger
        if self._reader is None or self._reader_of is not ledger:
            self.close()
            self._reader, self._reader_of = open_reader(ledger), ledger
        return self._reader

    def close(self) -> None:
        """Give the reading connection back."""
        if self._reader is not None:
            self._reader.close()
            self._reader = self._reader_of = None

    def facts(self) -> Facts:
        """What the daemon knows of itself and its surroundings."""
        daemon = self._daemon
        state = daemon.parts.lan.discovery_state()
        live = daemon.runner.node.live
        offsets = {live.links[number].account: live.links[number] for number in live.by_device.values()}
        now = daemon.parts.clock()
        hidden = presence.hidden_from_all(daemon.look())
        return Facts(
            version=__version__,
            uptime_s=(now.wall_ms - daemon.started_ms) / 1000,
            listen=tuple(str(address) for address in daemon.listening.addresses),
            free_bytes=free_bytes(self._where.home),
            addresses=state.addresses,
            discovery=state.trouble if not state.running else "silent" if hidden else "",
            sighted=len(live.sights),
            clock_offsets_ms=tuple(link.clock_offset_ms for link in offsets.values()),
            strangers_full=quota.used_up(daemon.look()),
            revoked=machines.revoked(daemon.look()),
            old_id=(clones.left_behind(daemon.look()) or b"").hex(),
        )

    def quiet_hours(self, hours: str) -> None:
        """These are the hours in which I am not to be disturbed."""
        self._daemon.quiet.set(hours)

    @property
    def doctor(self) -> Examiner:
        """Who looks at the network."""
        return self._daemon.examiner

    def stop(self, now: bool) -> None:
        """Begin to stop."""
        self._daemon.stop(now=now)

    def show_code(self) -> tuple[str, int]:
        """A code by which another machine of mine is linked, and until when (ms since 1970)."""
        machines.refuse_if_revoked(self._daemon.look())
        linking = self._daemon.pairings.show()
        now = self._daemon.parts.clock()
        return linking.shown.code.text, now.wall_ms + round(1000 * (linking.shown.until - now.mono))

    async def code_used(self, code: str) -> str:
        """Wait until it was; the new machine's id. CommandError if it was in vain."""
        return await self._daemon.pairings.wait(code)

    def recovery_key(self) -> str | None:
        """The recovery key as people write it down; None once it has been erased."""
        account = self._daemon.identity.me.account
        return print_bound_recovery(SigningKey(self._recovery), account) if self._recovery else None

    def erase_recovery_key(self) -> None:
        """Take the recovery key off this machine for good."""
        forget_recovery(self._daemon.identity)
        self._recovery = b""
