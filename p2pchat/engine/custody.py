"""What waits for somebody who is away, and who keeps it until he comes: the author's side.

Decides: which own events wait for whom, which machines are asked to hold them and when, what
counts as held, and what is taken back (docs/protocol.md, "Holders"). Does not know: what a holder
takes (holders), or how it is handed over (handed).

Members and our own other machines hold what they have: nothing is sent to them for it. Others are
asked only if they are verified, and given no more than what one who is away needs to read it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from p2pchat.engine import deposits, kept, names, outbox, ranges, rooms, views
from p2pchat.engine.context import Context, Link, RoomCache, Waiter
from p2pchat.engine.holders import FULL, MAX_WITHDRAWN, REFUSED
from p2pchat.engine.inputs import HandOver, Reply, Send, Tell
from p2pchat.engine.kept import PATIENCE_S
from p2pchat.engine.ranges import Ranges
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import DIRECT, HELD, LOBBY, QUEUED
from p2pchat.wire.messages.holders import Holding, Kept, Withdraw
from p2pchat.wire.messages.registers import HAVE

TOLD: Final = 3
"""Members counted as holders of one event: more make nothing safer, and each is a row."""
ROOMS_AT_ONCE: Final = 8
"""Rooms looked at in one step: the first time each is read from the archive."""
LOOK_AGAIN_S: Final = 0.1
"""While somebody waits for us to stop."""


# -- when -----------------------------------------------------------------------------------


def start(ctx: Context) -> None:
    """Any room may have something that waits from the run before."""
    for room_id, row in ctx.cache.known_rooms.items():
        if row.kind != LOBBY:
            ctx.live.waits[room_id] = ctx.now.mono + PATIENCE_S
    _plan(ctx)


def watch(ctx: Context) -> None:
    """At the end of a batch: what we said in it may have to wait."""
    for room_id in ctx.batch.fresh:
        row = ctx.cache.known_rooms.get(room_id)
        if row is not None and row.kind != LOBBY:
            kept.look_soon(ctx, room_id)


def hurry(ctx: Context, room_id: RoomId) -> None:
    """Somebody waits for what is said now to be held."""
    ctx.live.waits[room_id] = ctx.now.mono + LOOK_AGAIN_S
    _plan(ctx)


def met(ctx: Context, link: Link) -> None:
    """A link has come up: its machine may hold, or have held, what waits."""
    wait = 0.0 if deposits.may_hold(ctx, link) else PATIENCE_S
    for room_id, due in list(ctx.live.waits.items()):
        if due > ctx.now.mono + wait:
            ctx.live.waits[room_id] = ctx.now.mono + wait
    _plan(ctx)


def look_at_all(ctx: Context) -> None:
    """Time has passed, or somebody is trusted otherwise: what is held may be so no longer, what is not
    may have a holder now."""
    for room_id in ctx.live.waits:
        ctx.live.waits[room_id] = ctx.now.mono
    _plan(ctx)


def link_gone(ctx: Context, number: int) -> None:
    """No answer will come on that link."""
    for place in [place for place in ctx.live.entrusted if place[0] == number]:
        del ctx.live.entrusted[place]
        ctx.live.waits[place[1]] = ctx.now.mono
    _plan(ctx)


def _plan(ctx: Context) -> None:
    due = min(ctx.live.waits.values(), default=math.inf)
    if due < math.inf:
        ctx.timer("hold", due)


def due(ctx: Context) -> None:
    """Look at rooms whose time has come, some at a time."""
    ready = [room_id for room_id, at in ctx.live.waits.items() if at <= ctx.now.mono]
    for room_id in ready[:ROOMS_AT_ONCE]:
        tend(ctx, room_id)
    _handed_over(ctx)
    _plan(ctx)


# -- before we go ---------------------------------------------------------------------------


def hand_over(ctx: Context, command: HandOver) -> None:
    """We are about to stop: entrust what lies only here, now. Answered when that is done."""
    ctx.live.waiters[command.request] = Waiter(command.request, "handover")
    ctx.timer(f"wait:{command.request}", ctx.now.mono + command.timeout_s)
    for room_id in list(ctx.live.waits):
        tend(ctx, room_id)
    _handed_over(ctx)
    _plan(ctx)


def _handed_over(ctx: Context) -> None:
    """Answer those who wait for that, or look again soon."""
    asked = [request for request, one in ctx.live.waiters.items() if one.kind == "handover"]
    if not asked:
        return
    unsettled = [room_id for room_id in ctx.live.waits if _on_the_way(ctx, room_id)]
    for room_id in unsettled:
        ctx.live.waits[room_id] = ctx.now.mono + LOOK_AGAIN_S
    for request in asked if not unsettled else ():
        del ctx.live.waiters[request]
        ctx.drop_timer(f"wait:{request}")
        ctx.out.append(Reply(request, {}))


def _on_the_way(ctx: Context, room_id: RoomId) -> bool:
    """Whether somebody who is here will soon have what lies only here."""
    if any(place[1] == room_id for place in ctx.live.entrusted):
        return True
    room = rooms.room(ctx, room_id)
    only_here = ranges.minus(_waiting(ctx, room), _kept_somewhere(room, ctx.me.device))
    return bool(only_here) and bool(rooms.links_of(ctx, room))


# -- what waits ------------------------------------------------------------------------------


def lacking(ctx: Context, room: RoomCache) -> dict[AccountId, Ranges]:
    """Own numbers that each person they are for has on no machine, as far as he said."""
    head = room.heads.get(ctx.me.device)
    if head is None or room.row.kind == LOBBY or ctx.me.account not in room.graph.members:
        return {}
    meant = room.awaited
    if room.row.kind == DIRECT:
        meant = {account: 1 for account in room.accounts if account != ctx.me.account}
    have = views.by_person(ctx, room, HAVE)
    found = {}
    for account, first in meant.items():
        lacks = ranges.minus(((first, head.seq),), have.get(account, ())) if first <= head.seq else ()
        if lacks and deposits.reachable(ctx, account):
            found[account] = lacks
    return found


def _waiting(ctx: Context, room: RoomCache) -> Ranges:
    found: Ranges = ()
    for lacks in lacking(ctx, room).values():
        found = ranges.union(found, lacks)
    return found


def _kept_somewhere(room: RoomCache, author: DeviceId) -> Ranges:
    found: Ranges = ()
    for (_, whose), held in room.custody.items():
        if whose == author:
            found = ranges.union(found, held)
    return found


def tend(ctx: Context, room_id: RoomId) -> None:
    """See to what waits in one room."""
    if room_id not in ctx.cache.known_rooms:
        ctx.live.waits.pop(room_id, None)
        return
    room = rooms.room(ctx, room_id)
    lacks = lacking(ctx, room)
    before = _kept_somewhere(room, ctx.me.device)
    _give_up(ctx, room, lacks)
    waiting = _waiting(ctx, room)
    if waiting or room.custody:
        ctx.live.waits[room_id] = math.inf  # until something happens
    else:
        ctx.live.waits.pop(room_id, None)
    if waiting:
        _count_members(ctx, room, waiting)
        deposits.entrust(ctx, room, lacks)
        ctx.live.waits[room_id] = deposits.again(ctx, room)
    _tell(ctx, room, before)


def _give_up(ctx: Context, room: RoomCache, lacks: dict[AccountId, Ranges]) -> None:
    """What is held by whom cannot hand it over, for too long, or for nobody, counts no more."""
    head, me = room.heads.get(ctx.me.device), ctx.me.device
    if not room.custody or head is None:
        return
    young = ranges.minus(((1, head.seq),), deposits.expired(ctx, room))
    needed = _lacking_machines(ctx, room, lacks)
    for holder, author in list(room.custody):
        held = kept.of(room, holder, author)
        owner = ctx.cache.owner.get(holder)
        machine = rooms.machine(ctx, holder)
        if owner is None or machine is None or machine.revoked or not deposits.reachable(ctx, owner):
            kept.put(ctx, room, holder, author, ())
        elif author != me:
            if not needed and (owner in room.accounts or _withdraw(ctx, room, holder, author, held)):
                kept.put(ctx, room, holder, author, ())
        elif owner not in room.accounts:
            spare = ranges.newest(ranges.minus(held, needed), MAX_WITHDRAWN)
            if spare and _withdraw(ctx, room, holder, author, spare):
                held = ranges.minus(held, spare)
            kept.put(ctx, room, holder, author, ranges.both(held, young))


def _withdraw(ctx: Context, room: RoomCache, holder: DeviceId, author: DeviceId, spare: Ranges) -> bool:
    """Say that these need not be held any more, if the holder is there to hear."""
    link = ctx.live.by_device.get(holder)
    if link is not None:
        said = Kept(author, ranges.newest(spare, MAX_WITHDRAWN))
        ctx.out.append(Send(link, Withdraw(room.row.id, (said,))))
    return link is not None


def _lacking_machines(ctx: Context, room: RoomCache, lacks: dict[AccountId, Ranges]) -> Ranges:
    """Own numbers that some machine lacks of anybody they are for: he may read there."""
    head = room.heads.get(ctx.me.device)
    if head is None:
        return ()
    found: Ranges = ()
    for account in room.accounts:
        if account == ctx.me.account:
            continue
        machines = ctx.cache.accounts[account].active() if account in ctx.cache.accounts else []
        for machine in machines:
            has = room.their_have.get((machine.id, ctx.me.device), ())
            found = ranges.union(found, ranges.minus(((1, head.seq),), has))
    for one in lacks.values():
        found = ranges.union(found, one)
    return found


def _count_members(ctx: Context, room: RoomCache, waiting: Ranges) -> None:
    """Members, and own other machines, hold what they have of it; who counts already comes first."""
    me = ctx.me.device
    have = {
        who: ranges.both(told, waiting)
        for (who, author), told in room.their_have.items()
        if author == me and ctx.cache.owner.get(who) in room.accounts
    }
    ranked = sorted(have, key=lambda who: (ctx.cache.owner[who] != ctx.me.account, who))
    counting = [who for who in ranked if (who, me) in room.custody]
    for who in [*counting, *(who for who in ranked if who not in counting)][:TOLD]:
        machine = rooms.machine(ctx, who)
        if machine is not None and not machine.revoked:
            kept.put(ctx, room, who, me, have[who])


def _tell(ctx: Context, room: RoomCache, before: Ranges) -> None:
    """Messages that are held now, or no longer, are told so."""
    me, room_id = ctx.me.device, room.row.id
    after = _kept_somewhere(room, me)
    moved = [(HELD, (QUEUED,), ranges.minus(after, before)), (QUEUED, (HELD,), ranges.minus(before, after))]
    for state, earlier, numbers in moved:
        changed: list[EventId] = []
        for low, high in reversed(numbers):
            changed += ctx.ledger.views.advance(room_id, me, low, high, earlier, state)
        for event in changed:
            ctx.feed("receipt", event, _by_whom(ctx, room, event, state))
        if changed:
            ctx.batch.wrote = True
            outbox.reached(ctx, dict.fromkeys(changed), state)


def _by_whom(ctx: Context, room: RoomCache, event: EventId, state: str) -> tuple[tuple[str, str], ...]:
    stored = ctx.ledger.events.get(event)
    by = kept.holders(room, ctx.me.device, stored.seq) if stored is not None else []
    if state != HELD or not by:
        return (("state", state),)
    return (("state", state), ("person", ctx.cache.owner[by[0]].hex()), ("device", by[0].hex()))


# -- answers -----------------------------------------------------------------------------------


def _took_nothing(ctx: Context, link: Link, room: RoomCache, why: str) -> None:
    """He is left in peace for a while; that he has no room left is told once as long as it is so."""
    refusals = ctx.live.took_nothing.items()
    told = any(device == link.device and reason == FULL for (device, _), (_, reason) in refusals)
    ctx.live.took_nothing[link.device, room.row.id] = (ctx.now.mono, FULL if why == FULL else REFUSED)
    if why == FULL and not told:
        text = f"{names.shown(ctx, link.account)} has no room for more of what you say to people who are away"
        ctx.out.append(Tell("warning", ("holder_full", text)))


def _has_room(ctx: Context, link: Link) -> None:
    """He takes something again: the rest is not kept from him."""
    for place in [place for place in ctx.live.took_nothing if place[0] == link.device]:
        if ctx.live.took_nothing[place][1] == FULL:
            del ctx.live.took_nothing[place]
            ctx.live.waits[place[1]] = ctx.now.mono


def answered(ctx: Context, link: Link, message: Holding) -> None:
    """A holder says what it keeps of what we gave it; more than that it cannot keep."""
    if len(message.room) != 32 or RoomId(message.room) not in ctx.cache.known_rooms:
        return
    if len(message.kept) > deposits.AT_ONCE:
        raise RemoteProtocolError("too much held")
    place = (link.link, RoomId(message.room))
    pending = ctx.live.entrusted.get(place)
    if pending is None:
        return
    room = rooms.room(ctx, place[1])
    before = _kept_somewhere(room, ctx.me.device)
    asked, took = dict(pending.asked), pending.took
    for one in message.kept:
        author = DeviceId(one.author)
        told = ranges.both(ranges.checked(one.ranges, len(one.ranges)), asked.get(author, ()))
        if told:
            took = True
            kept.put(ctx, room, link.device, author, ranges.union(kept.of(room, link.device, author), told))
    if pending.left > 1:
        ctx.live.entrusted[place] = replace(pending, left=pending.left - 1, took=took)
    else:
        del ctx.live.entrusted[place]
        if took:
            _has_room(ctx, link)
        else:
            _took_nothing(ctx, link, room, message.refused)
        ctx.live.waits[place[1]] = ctx.now.mono  # the rest, and another copy
    _tell(ctx, room, before)
    _handed_over(ctx)
    _plan(ctx)
