"""Which of two links to one machine stays.

Decides: the link in use to each machine, and how crossing dials end (docs/protocol.md, "Crossing dials").
Does not know: why a link was made (peers), sockets, or what is said on it.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine.context import Context, Link, Live
from p2pchat.engine.inputs import CloseLink, Send
from p2pchat.ids import DeviceId
from p2pchat.wire.limits import CROSSING_PING_S
from p2pchat.wire.messages.link import Ping

CONTEST: Final = 1 << 32
"""Pings above this number are the engine's: their pongs come back as input."""
SPARE_LINKS: Final = 3
"""So many older links that a machine dialled may stand beside its newest, until it closes them."""


def use(live: Live, device: DeviceId, number: int | None) -> None:
    """This is the link to that machine from now on; None: there is none."""
    live.comings = object()
    if number is None:
        del live.by_device[device]
    else:
        live.by_device[device] = number


def links_to(ctx: Context, device: DeviceId) -> list[int]:
    """Every link to a machine: beside the one in use there may be others, that take its place."""
    return [link.link for link in ctx.live.links.values() if link.device == device]


def settle(ctx: Context, link: Link) -> bool:
    """A handshake is complete. True if this is now *the* link to that machine."""
    live = ctx.live
    older = live.links.get(live.by_device.get(link.device, -1))
    if older is None:
        use(live, link.device, link.link)
        return True
    if older.initiator == link.initiator:
        # Only who dialled closes: the two sides may see the links come up in another order, and
        # each would close the one the other keeps.
        use(live, link.device, link.link)
        spare = [one for one in live.links.values() if one.device == link.device and one.link != link.link]
        for one in spare if link.initiator else spare[:-SPARE_LINKS]:
            if one.initiator == link.initiator:
                ctx.out.append(CloseLink(one.link, "duplicate"))
        return True
    previous = live.contested.pop(older.link, None)
    if previous is not None and previous in live.links:
        ctx.out.append(CloseLink(previous, "duplicate"))
    live.contested[older.link] = link.link
    ctx.out.append(Send(older.link, Ping(CONTEST | link.link)))
    ctx.timer(f"contest:{older.link}", ctx.now.mono + CROSSING_PING_S)
    return False


def older_answers(ctx: Context, link: Link) -> int | None:
    """The older of two crossing links lives: the smaller device id's connection stays.

    Returns the number of the link that has just become the one to use, if it changed.
    """
    newer = ctx.live.contested.pop(link.link, None)
    if newer is None or newer not in ctx.live.links:
        return None
    by_us = ctx.me.device < link.device
    if link.initiator == by_us:
        ctx.out.append(CloseLink(newer, "duplicate"))
        return None
    return _replace(ctx, link, newer)


def older_silent(ctx: Context, number: int) -> int | None:
    """The older link did not answer in time: the newer one takes over."""
    newer = ctx.live.contested.pop(number, None)
    older = ctx.live.links.get(number)
    if newer is None or newer not in ctx.live.links or older is None:
        return None
    return _replace(ctx, older, newer)


def _replace(ctx: Context, older: Link, newer: int) -> int:
    use(ctx.live, older.device, newer)
    ctx.out.append(CloseLink(older.link, "duplicate"))
    return newer
