"""Events that cannot be judged yet: where they wait, and which of them can be at last.

Decides: what is kept for later and how much of it, and in which order the waiting are looked at
again. Does not know: how an event is judged (receive). What waits promises nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pchat.engine import acts, log
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.log import Read
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import DeviceId, EventId
from p2pchat.model import StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import MAX_PENDING, MAX_UNSIGNED_RUN
from p2pchat.wire.messages.events import Event, Header

AWAKEN_AT_ONCE: Final = 128
"""So many of those that wait are judged in one step: the loop's time. The others follow in later ones."""


def park(ctx: Context, room: RoomCache, read: Read) -> None:
    """Keep what cannot be judged yet, within the device's share of the pool."""
    stored = log.stored_event(read, ctx.now.wall_ms)
    if ctx.ledger.events.park(stored, MAX_PENDING):
        ctx.cache.parked[room.row.id, stored.device] = True
        ctx.batch.wrote = True


def unpark(ctx: Context, room: RoomCache, read: Read) -> None:
    """It waits no more."""
    device = DeviceId(read.header.device)
    ctx.ledger.events.unpark(read.id)
    ctx.cache.parked[room.row.id, device] = ctx.ledger.events.waits(room.row.id, device)
    ctx.batch.wrote = True


def neighbours(ctx: Context, room: RoomCache, fresh: Sequence[Read]) -> tuple[list[Read], set[EventId]]:
    """Parked events of the same chains and near: this frame may bring the cover they wait for.
    Those that have not just come again, and the ids of all."""
    if len(fresh) == 1 and ctx.cache.parked.get((room.row.id, DeviceId(fresh[0].header.device))) is False:
        return [], set()  # chat: one event, and nothing waits
    new = {read.id for read in fresh}
    spans: dict[DeviceId, tuple[int, int]] = {}
    for read in fresh:
        device, seq = DeviceId(read.header.device), read.header.seq
        low, high = spans.get(device, (seq, seq))
        spans[device] = (min(low, seq), max(high, seq))
    found = []
    parked: set[EventId] = set()
    for device, (low, high) in spans.items():
        place = (room.row.id, device)
        if ctx.cache.parked.get(place) is False:
            continue  # looked up before: nothing waits
        near = ctx.ledger.events.parked(*place, low - MAX_UNSIGNED_RUN, high + MAX_UNSIGNED_RUN)
        if place not in ctx.cache.parked:
            ctx.cache.parked[place] = bool(near) or ctx.ledger.events.waits(*place)
        found += [read_again(stored) for stored in near if stored.id not in new]
        parked.update(stored.id for stored in near)
    return found, parked


def awakened(ctx: Context, room: RoomCache) -> tuple[list[Read], bool]:
    """Parked events of a room whose acts are all known by now, or are among these before them; at
    most AWAKEN_AT_ONCE, and whether there are more. Only their headers are read to find out."""
    waiting = any(waits and place[0] == room.row.id for place, waits in ctx.cache.parked.items())
    if room.pool_seen and not waiting:
        return [], False
    room.pool_seen = True
    lacking: dict[EventId, set[EventId]] = {}
    follow: dict[EventId, list[EventId]] = {}
    for one, raw in ctx.ledger.events.parked_headers(room.row.id):
        header = decode(Header, raw)
        ctx.cache.parked[room.row.id, DeviceId(header.device)] = True
        lacks = {act for act in map(EventId, header.auth) if not room.graph.knows(act)}
        if header.auth:
            lacking[one] = lacks
        for act in lacks:
            follow.setdefault(act, []).append(one)
    ready = [one for one, lacks in lacking.items() if not lacks]
    for one in ready:  # grows: what comes later may follow what comes before
        for later in follow.get(one, ()):
            lacking[later].discard(one)
            if not lacking[later]:
                ready.append(later)
    chosen = ready[:AWAKEN_AT_ONCE]
    found = {stored.id: stored for stored in ctx.ledger.events.parked_some(chosen)}
    return [read_again(found[one]) for one in chosen if one in found], len(ready) > len(chosen)


def read_again(stored: StoredEvent) -> Read:
    """Of an event that had due form when it was stored."""
    return Read(stored.id, decode(Header, stored.header), Event(stored.header, stored.signature, stored.body))


def well_formed(ctx: Context, room: RoomCache, reads: Sequence[Read]) -> list[Read]:
    """Those of the pool whose acts have a form: an earlier version kept others too, and whoever
    hands over what they waited for is not to blame."""
    fine = []
    for read in reads:
        try:
            acts.checked_body(read)
        except RemoteProtocolError:
            unpark(ctx, room, read)
        else:
            fine.append(read)
    return fine
