"""Which other machines keep what of a room's chains until everybody has it.

Decides: how custody is remembered, beside what members have: by holder and author, as ranges.
Does not know: who is asked to hold (custody), or how a view follows.
"""

from __future__ import annotations

import math
from typing import Final

from p2pchat.engine import ranges
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.ranges import Ranges
from p2pchat.ids import DeviceId, RoomId
from p2pchat.model import StoredEvent

PATIENCE_S: Final = 10.0
"""Whoever is here has an event by then; for the others it is entrusted to somebody."""
HOLDS: Final = 64
"""Kind of a row in `seen`: this machine told us that it keeps these. Never on the wire."""


def of(room: RoomCache, holder: DeviceId, author: DeviceId) -> Ranges:
    """What a machine keeps of a chain."""
    return room.custody.get((holder, author), ())


def put(ctx: Context, room: RoomCache, holder: DeviceId, author: DeviceId, after: Ranges) -> None:
    """That is what it keeps now."""
    if after == of(room, holder, author):
        return
    if after:
        room.custody[holder, author] = after
    else:
        room.custody.pop((holder, author), None)
    ctx.ledger.seen.put_seen(room.row.id, holder, author, HOLDS, after)
    ctx.batch.wrote = True


def holders(room: RoomCache, author: DeviceId, seq: int) -> list[DeviceId]:
    """Machines that keep one event, in order."""
    return sorted(
        holder
        for (holder, whose), held in room.custody.items()
        if whose == author and ranges.contains(held, seq)
    )


def is_held(room: RoomCache, author: DeviceId, seq: int) -> bool:
    """Whether any machine keeps it."""
    return any(whose == author and ranges.contains(held, seq) for (_, whose), held in room.custody.items())


def look_soon(ctx: Context, room_id: RoomId) -> None:
    """What is kept of a room may be needed no longer."""
    due = ctx.now.mono + PATIENCE_S
    if due < ctx.live.waits.get(room_id, math.inf):
        ctx.live.waits[room_id] = due
        ctx.timer("hold", due)


def erased(ctx: Context, event: StoredEvent) -> None:
    """The body of an own event is gone: whoever keeps it is to be told, so it counts as not kept."""
    room = ctx.cache.rooms.get(event.room)
    if room is None or event.device != ctx.me.device:
        return
    for holder, author in list(room.custody):
        if author == event.device:
            held = of(room, holder, author)
            put(ctx, room, holder, author, ranges.minus(held, ((event.seq, event.seq),)))
