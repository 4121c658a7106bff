"""Of a room, what the two ends of a link may compare: the set a reconciliation is about.

Decides: which items are in it, given who the two are and since when each may read (docs/protocol.md,
"Repair"); a week of it under a salt. Does not know: when sets are compared, or what follows from a
difference (sync).
"""

from __future__ import annotations

import functools
from typing import Final

from p2pchat.engine import log, rooms, salts
from p2pchat.engine.context import Context, Link, Recon, RoomCache, SaltKey
from p2pchat.engine.items import WEEK_MS, Both, Items, ItemsFrom, VectorItems, WeekItems, unpack, week_of
from p2pchat.engine.rooms import readable_from
from p2pchat.ids import AccountId
from p2pchat.wire.messages.link import Reconcile, Want

Sets = tuple[Items, dict[bytes, bytes]]
"""Items, and the way back to real ids where they are salted."""
MAX_WEEK: Final = 2**48 // WEEK_MS


def items_of(
    ctx: Context, link: Link, room: RoomCache, what: Recon | Reconcile | Want, *, asking: bool
) -> Sets:
    """The set a message is about: the whole one, or one week of it under a salt; of it what the
    two may have."""
    room_id, store = room.row.id, ctx.ledger.items
    control, salt, week = what.control, what.salt, what.week
    log.flush_items(ctx, room_id, control)
    access = rooms.access(ctx, link, room)
    out = out_of(ctx, link, room)
    if out is not None and not control:
        return VectorItems(_written_by(ctx, room, out, MAX_WEEK * WEEK_MS)), {}
    if access != rooms.ALL and not control:
        return WeekItems((), _nothing, ctx.cache.weeks, ()), {}
    if access == rooms.PAST:
        acts = [ctx.ledger.events.get(one) for one in room.graph.past(link.account)]
        items = sorted((act.hlc >> log.HLC_SHIFT, bytes(act.id)) for act in acts if act is not None)
        return VectorItems(items), {}
    since_ms, older = (0, []) if control else _before(ctx, link, room)
    if salt:

        def in_week() -> list[tuple[int, bytes]]:
            found = unpack(store.packed(room_id, control, week))
            said = [item for item in older if week_of(item[0]) == week]
            return [*said, *(item for item in found if item[0] >= since_ms)]

        made = salts.of(ctx, link, room_id, SaltKey(control, week, since_ms, salt), in_week, asking=asking)
        return made.items, made.real
    rows = store.weeks(room_id, control)
    load = functools.partial(store.packed, room_id, control)
    whole = WeekItems(rows, load, ctx.cache.weeks, (room_id, control))
    recent = ItemsFrom(whole, since_ms) if since_ms else whole
    return (Both(VectorItems(older), recent) if older else recent), {}


def affordable(ctx: Context, link: Link, room: RoomCache, what: Reconcile | Want) -> bool:
    """Whether a question may cost what it costs; else it has no answer, and the asker comes again."""
    if not what.salt:
        return True
    since_ms = 0 if what.control else _before(ctx, link, room)[0]
    key = SaltKey(what.control, what.week, since_ms, what.salt)
    return salts.may(ctx, link, room.row.id, key)


def _before(ctx: Context, link: Link, room: RoomCache) -> tuple[int, list[tuple[int, bytes]]]:
    """From which ms on both ends may have all content of a room; and what they may both have of
    the time before: what one of them wrote himself, for nobody else might ever hand it over, and
    what was written later than its date says."""
    ends = (link.account, ctx.me.account)
    theirs, ours = (-(-readable_from(ctx, room, one) >> log.HLC_SHIFT) for one in ends)
    since = max(theirs, ours)
    if not since:
        return 0, []
    author = ctx.me.account if theirs <= ours else link.account
    least = 0 if link.account == ctx.me.account else min(theirs, ours)
    found = {item for item in _written_by(ctx, room, author, since) if item[0] >= least}
    for event in rooms.late(ctx, room):
        item = (event.hlc >> log.HLC_SHIFT, bytes(event.id))
        if item[0] < since and all(rooms.may_read(ctx, room, one, event) for one in ends):
            found.add(item)
    return since, list(found)


def out_of(ctx: Context, link: Link, room: RoomCache) -> AccountId | None:
    """Which of the two ends was in the room and is out."""
    former = room.graph.former
    return next((account for account in (ctx.me.account, link.account) if account in former), None)


def _written_by(ctx: Context, room: RoomCache, account: AccountId, before: int) -> list[tuple[int, bytes]]:
    """What somebody said before that ms and counts, as items."""
    known = ctx.cache.accounts.get(account)
    devices = [device for device in (known.devices if known else ()) if device in room.heads]
    said = (ctx.ledger.items.said(room.row.id, device, before) for device in devices) if before else ()
    return [(ms, bytes(one)) for run in said for ms, one in run]


def _nothing(week: int) -> bytes:
    return b""
