"""Warnings of `status` and checks of `doctor`, from what the daemon knows of itself.

Decides: which fact is a trouble, its cause and its remedy. Does not know: how facts are
gathered, or how they are shown. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_high, median_low
from typing import Final, NamedTuple

from p2pchat.control.operations.fields import Json
from p2pchat.store.space import FLOOR_FILES, FLOOR_MESSAGES
from p2pchat.wire.limits import FUTURE_MS

SETTLE_S: Final = 3.0
"""So long after the start it is no trouble that no address is known yet."""

QUIET: Final = {
    "": "announced",
    "off": "not announced, as you wished",
    "silent": "not announced while nobody is to see you: `p2pchat presence`",
    "not started": "about to be announced",
    "starting": "about to be announced",
}
"""States of discovery that are no trouble, as `doctor` puts them."""


STRANGERS_FULL: Final = "people you have not verified have sent more today than is taken from strangers"
STRANGERS_FIX: Final = "`p2pchat trust verify NAME` whom you know, `p2pchat trust block NAME` whom you do not"


CLONE: Final = (
    "a copy of this profile is or was in use: it keeps the id this machine had, this one has a new one"
)
REVOKED: Final = "this machine was revoked: nobody takes anything from it any more"
REVOKED_FIX: Final = "it comes back only as a new machine, in a new folder"


class Facts(NamedTuple):
    """What the daemon knows of itself.

    `listen` are `host:port`; `addresses` those of this machine's interfaces in use;
    `discovery` is empty while mDNS works, else the reason it does not (one of QUIET where
    nothing is wrong); `clock_offsets_ms` how far the clock of each person who is linked is ahead of
    ours; `strangers_full`: something of people who are not verified was refused
    today; `revoked`: another machine of this person has cut this one off; `old_id`: of this machine,
    until a copy of its profile was noticed.
    """

    version: str
    uptime_s: float
    listen: tuple[str, ...]
    free_bytes: int
    addresses: tuple[str, ...] = ()
    discovery: str = ""
    sighted: int = 0
    clock_offsets_ms: tuple[int, ...] = ()
    strangers_full: bool = False
    revoked: bool = False
    old_id: str = ""


def warnings(facts: Facts, *, recovery_key_here: bool) -> list[Json]:
    """What `status` warns of: `[{"kind","message","fix"}]`."""
    found: list[Json] = []

    def warn(kind: str, message: str, fix: str = "") -> None:
        found.append({"kind": kind, "message": message, "fix": fix})

    if facts.revoked:
        warn("revoked", REVOKED, REVOKED_FIX)
    if facts.old_id:
        warn("clone", CLONE, f"is no copy in use any more? p2pchat device revoke {facts.old_id[:16]}")
    if facts.discovery not in QUIET:
        warn("no_multicast", f"nobody can be found by mDNS: {facts.discovery}", "p2pchat doctor")
    if not facts.addresses and facts.uptime_s > SETTLE_S:
        warn("no_network", "this machine has no address on a network", "p2pchat doctor")
    if not facts.listen:
        warn("port_closed", "nobody can connect to this machine: no port", "p2pchat doctor")
    if _clock_off(facts):
        warn("clock", _apart(facts), _set_clock(facts))
    if facts.free_bytes < FLOOR_FILES:
        warn("disk_full", f"only {facts.free_bytes // 1_000_000} MB free", "free some space")
    if facts.strangers_full:
        warn("strangers_full", STRANGERS_FULL, STRANGERS_FIX)
    if recovery_key_here:
        warn(
            "recovery_key",
            "the recovery key still lies on this machine and on no paper",
            "p2pchat device recovery-key",
        )
    warn("not_encrypted", "the archive lies unencrypted on this disk")
    return found


def checks(facts: Facts, archive_problems: Sequence[str]) -> list[Json]:
    """What `doctor` can say of this side: `[{"name","side","ok","detail","cause","fix"}]`."""
    return [
        _check(
            "discovery",
            facts.discovery in QUIET,
            f"{QUIET.get(facts.discovery, facts.discovery)}; {facts.sighted} others seen",
            "no_multicast",
            "connect to a network, or name the other machine: `p2pchat peers add HOST`",
        ),
        _check(
            "address",
            bool(facts.addresses),
            ", ".join(facts.addresses) or "no address but loopback",
            "wrong_interface",
            "join a network, or check --interface",
        ),
        _check(
            "tcp_in",
            bool(facts.listen),
            "listening on " + (", ".join(facts.listen) or "nothing"),
            "port_closed",
            "`p2pchat down`, then `p2pchat up --port N` with a free port",
        ),
        _check(
            "clock",
            not _clock_off(facts),
            _apart(facts) if _clock_off(facts) else _compared(facts),
            "clock",
            _set_clock(facts),
        ),
        *([_check("key", False, REVOKED, "revoked", REVOKED_FIX)] if facts.revoked else []),
        _check(
            "strangers",
            not facts.strangers_full,
            STRANGERS_FULL if facts.strangers_full else "there is room for what they send",
            "strangers_full",
            STRANGERS_FIX,
        ),
        _check(
            "disk", facts.free_bytes >= FLOOR_FILES, _room(facts.free_bytes), "disk_full", "free some space"
        ),
        _check(
            "archive",
            not archive_problems,
            "; ".join(archive_problems) or "sound",
            "archive_damaged",
            "keep the file, start with another --home, and bring a backup back",
        ),
    ]


def _check(name: str, ok: bool, detail: str, cause: str, fix: str) -> Json:
    return {
        "name": name,
        "side": "here",
        "ok": ok,
        "detail": detail,
        "cause": None if ok else cause,
        "fix": "" if ok else fix,
    }


def clock_offset(offsets_ms: Sequence[int]) -> int | None:
    """How far the others' clocks are ahead of ours, by the word of most of them; None if nobody was asked.

    Of two that say different things the one counts that is nearer to ours: one wrong clock in the office
    is not to be blamed on everybody who meets it.
    """
    if not offsets_ms:
        return None
    return min(median_low(offsets_ms), median_high(offsets_ms), key=abs)


def _clock_off(facts: Facts) -> bool:
    return abs(clock_offset(facts.clock_offsets_ms) or 0) > FUTURE_MS


def _apart(facts: Facts) -> str:
    minutes = abs(clock_offset(facts.clock_offsets_ms) or 0) // 60_000
    if len(facts.clock_offsets_ms) == 1:
        return f"this clock and that of the only other machine here are {minutes} min apart"
    return f"the clock is {minutes} min off that of the others"


def _set_clock(facts: Facts) -> str:
    if len(facts.clock_offsets_ms) == 1:
        return "compare both with a third clock, and set the one that is wrong"
    return "set the clock of this machine"


def _compared(facts: Facts) -> str:
    offset = clock_offset(facts.clock_offsets_ms)
    return "nobody to compare with" if offset is None else f"{offset} ms off"


def _room(free_bytes: int) -> str:
    said = f"{free_bytes // 1_000_000} MB free"
    if free_bytes < FLOOR_MESSAGES:
        return f"{said}: nothing that others send is taken"
    return f"{said}: no files are taken" if free_bytes < FLOOR_FILES else said
