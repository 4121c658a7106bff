"""What operations need of the daemon.

Decides: nothing. It is the shape of the daemon as seen from the control socket, small
enough for a test to fake. Does not know: operations, or how the daemon is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from p2pchat.control.operations.settings import Setting
from p2pchat.daemon.health import Facts
from p2pchat.daemon.listening import Source
from p2pchat.daemon.moving import Bulk as Bulk
from p2pchat.daemon.moving import Moving as Moving
from p2pchat.daemon.sights import Case, Own
from p2pchat.engine.inputs import Command
from p2pchat.ids import AccountId

Params = dict[str, Any]
"""Parameters of one call, checked and complete."""


class Sources(NamedTuple):
    """Where settings come from, besides the user's file."""

    config: Path
    flags: Mapping[str, Setting]
    environ: Mapping[str, str]


class Looker(Protocol):
    """Who looks at the network (daemon/examiner)."""

    async def own(self) -> Own: ...
    async def person(self, account: AccountId) -> Case: ...
    async def place(self, host: str, port: int | None) -> Case: ...


class Host(Source, Protocol):
    """The daemon, as operations see it."""

    async def ask(self, make: Callable[[int], Command]) -> Any:
        """Post a command and wait; CommandError if refused, its `result` what was done all the same."""

    def facts(self) -> Facts:
        """What the daemon knows of itself and its surroundings."""

    def quiet_hours(self, hours: str) -> None:
        """These are the hours in which I am not to be disturbed; empty: none."""

    @property
    def doctor(self) -> Looker:
        """Who looks at the network."""

    def stop(self, now: bool) -> None:
        """Begin to stop; returns at once."""

    @property
    def sources(self) -> Sources: ...
    def recovery_key(self) -> str | None:
        """The key as people write it down; None once it has been erased."""

    def erase_recovery_key(self) -> None: ...
    def show_code(self) -> tuple[str, int]:
        """A code by which another machine of mine is linked, and until when (ms since 1970)."""

    async def code_used(self, code: str) -> str:
        """Wait until it was; the new machine's id. CommandError if it was in vain."""
