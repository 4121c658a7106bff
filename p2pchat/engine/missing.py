"""What a room's history lacks here, as a person is told: whose, who has it, and what is not ours to have.

Decides: which holes of the log are worth a word, and whose machines are named for them. Does not know:
how holes are found (store), mended (sync), or shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from p2pchat.engine import ranges, rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.ids import DeviceId, RoomId
from p2pchat.model import Gap


def told(ctx: Context, room_id: RoomId, gaps: Iterable[Gap]) -> list[Gap]:
    """`gaps` of a room without those that are all from before we came in, where newcomers do not see
    what was before; `earlier` is set on one that may be. With who is known to have any of it."""
    if room_id not in ctx.cache.known_rooms:
        return list(gaps)
    room = rooms.room(ctx, room_id)
    found = []
    for gap in gaps:
        if not _ours(ctx, room, gap.device, gap.high + 1):
            continue  # what follows is from before, and so is this
        earlier = not _ours(ctx, room, gap.device, gap.low - 1)
        found.append(replace(gap, holders=_holders(ctx, room, gap), earlier=earlier))
    return found


def _ours(ctx: Context, room: RoomCache, device: DeviceId, seq: int) -> bool:
    """Whether that event of a chain is from a time whose content we may have; before the first, or where
    it is not here: only if all times are."""
    if not rooms.readable_from(ctx, room, ctx.me.account):
        return True
    let_in = room.graph.members[ctx.me.account].added_by  # behind which lies what was before
    events = ctx.ledger.events.at(room.row.id, device, seq)
    return any(e.id != let_in and rooms.may_read(ctx, room, ctx.me.account, e) for e in events)


def _holders(ctx: Context, room: RoomCache, gap: Gap) -> tuple[DeviceId, ...]:
    """Machines known to have some of it: who most of it first, then who gives us what we lack just now,
    and the one that wrote it, if it is here. Only members', for others give nothing."""
    shares: dict[DeviceId, int] = {}
    for known in (room.their_have, room.custody):
        for (who, author), held in known.items():
            if author == gap.device:
                share = sum(high - low + 1 for low, high in ranges.both(held, ((gap.low, gap.high),)))
                shares[who] = max(share, shares.get(who, 0))
    found = sorted((who for who, share in shares.items() if share), key=lambda who: (-shares[who], who))
    giving = (
        ctx.live.links[recon.link].device
        for recon in ctx.live.recons.values()
        if recon.room == room.row.id and not recon.control and (recon.need or recon.out)
    )
    here = (gap.device,) if gap.device in ctx.live.by_device else ()
    members = room.graph.members
    return tuple(
        who for who in dict.fromkeys((*found, *giving, *here)) if ctx.cache.owner.get(who) in members
    )
