"""Connections that will soon say whose they are: nobody is dialled twice meanwhile.

Decides: whether a dial is to wait for one that is under way, ours or somebody else's. Does not know:
sockets, or when an address is due (peers).

Where machines are slow, fifty that start together above all, a handshake takes longer than the pauses
between the addresses of one machine. Each address would then be dialled from both sides, for links of
which all but one are closed again at once. A wait has an end, for behind an address that takes
connections there may be nobody who ever says a word.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2pchat.engine.context import Context, Target

PROVES_S: Final = 3.0
"""So long a connection may take to say whose it is, before another address is tried."""
EACH_S: Final = 0.1
CROWD_S: Final = 5.0
"""Where many are to be met at once each takes longer. A failure is known sooner, so that what waits is
only who gives no answer at all."""


def answered(ctx: Context, dial: int) -> None:
    """The connection of a dial stands."""
    key = ctx.live.dials.get(dial)
    target = ctx.live.targets.get(key) if key is not None else None
    if key is not None and target is not None and target.dialling == dial:
        ctx.live.targets[key] = replace(target, answered=True)


def at_the_door(ctx: Context, host: str, *, over: bool) -> None:
    """Somebody connects from `host`, or one who did is gone or has proven who he is."""
    count, since = ctx.live.at_the_door.pop(host, (0, 0.0))
    count += -1 if over else 1
    if count > 0:
        ctx.live.at_the_door[host] = (count, since if over else ctx.now.mono)


def crowd_s(ctx: Context) -> float:
    """What every pause between dials is longer by, while so many who were sighted are not met."""
    linked = ctx.live.by_device
    met = sum([sight.device in linked for sight in ctx.live.sights.values()])
    return min((len(ctx.live.sights) - met) * EACH_S, CROWD_S)


def waits_until(ctx: Context, target: Target, crowd_s: float) -> float:
    """Until when a target that is due is not to be dialled all the same: another dials it first, or is
    at the door already. The present, or less, if it need not wait."""
    live = ctx.live
    until = target.due
    if live.label > target.label and not target.failures and target.device is None:
        until += crowd_s
    doors = live.at_the_door
    if doors:
        sight = live.sights.get(target.label)
        hosts = (target.host, *(sight.addresses if sight is not None else ()))
        since = max((doors[host][1] for host in hosts if host in doors), default=None)
        if since is not None:  # and who knocks without end keeps nobody from being dialled
            until = max(until, min(since, target.due) + PROVES_S)
    return until


def patience(target: Target, crowd_s: float, otherwise: float) -> float:
    """How long a dial under way keeps other addresses of its machine waiting."""
    return max(otherwise + crowd_s, PROVES_S if target.answered else 0.0)
