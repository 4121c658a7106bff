"""What a doctor has seen, as plain records.

Decides: nothing. It is what the examiner gathers and verdicts judge, so that every judgement can be tried
without a network.
"""

from __future__ import annotations

from typing import NamedTuple

from p2pchat.daemon.probing import Probed
from p2pchat.engine.context import Link
from p2pchat.ids import AccountId, DeviceId
from p2pchat.net.interfaces import Left
from p2pchat.wire.messages.network import Findings


class Dialled(NamedTuple):
    """A bare connection that was tried: `reason` is empty if it came about."""

    where: str
    reason: str
    detail: str = ""


class Word(NamedTuple):
    """What came of asking a machine that is linked to us, and of dialling it."""

    name: str
    host: str
    port: int
    near: bool  # on a network of ours
    out: Dialled | None
    found: Findings | None  # None: it did not answer
    sighted: bool  # its announcement was heard here

    @property
    def back(self) -> str | None:
        """Why it did not reach us; "" if it did, None if it did not try."""
        return self.found.dialled[0][1] if self.found is not None and self.found.dialled else None


class Own(NamedTuple):
    """This machine and its surroundings."""

    announcing: bool
    deaf: bool  # our own announcement does not come back
    returns: bool | None  # multicast on another port does
    words: tuple[Word, ...]
    missed: tuple[Dialled, ...]  # nobody is linked: those known on our network
    alone: bool | None  # nobody but the router answers on our network
    router: bool | None  # TCP from here comes as far as the router
    used: tuple[str, ...]
    unused: tuple[Left, ...]
    chosen: tuple[str, ...]  # --interface
    firewalls: tuple[str, ...]
    port: int
    other_versions: int = 0
    other_offices: int = 0
    silent: bool = False
    """Not announced because nobody is to see its user."""
    listening: bool = True
    """Somebody could come in; else that is the trouble, and no firewall."""


class Case(NamedTuple):
    """The way between this machine and one other."""

    name: str
    account: AccountId | None
    device: DeviceId | None
    linked: Link | None
    probed: tuple[Probed, ...]
    through: str  # by whom the other end was asked; "itself" on its own link, empty if nobody could
    findings: Findings | None
    near: bool
    sighted: bool
    alone: bool | None
    elsewhere: str
    own: Own
    now_ms: int
    foreign: str = ""
    """What that address announces and is none of ours: another version, another office."""
    heir: str = ""
    """Who uses that person's name since he was last seen, with another key."""
