"""Who was let into a room while others are away brings them the word of it.

Decides: that a newcomer keeps the acts by which he came in for the other members, as a holder keeps what
others deposit (docs/protocol.md, "Holders"). Does not know: how they are handed over or dropped (holders).

A member who has not heard of him takes nothing from him as from one who is in the room. But what a holder
hands over is judged by what it says, whoever he is; and when it is known there, repair brings the rest.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import frames, holders, log, rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.model import ROOM, HeldEvent, StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import HOLD_MS
from p2pchat.wire.messages.events import Event, Header

ACTS: Final = 64
"""The act that let us in and those next behind it: who lacks more asks for that."""
MEMBERS: Final = 64
"""So many are told; of more some will have heard, and tell the others."""
AT_ONCE: Final = 24
"""In a room of so many those who are here are told now and not when they come again."""


def close(ctx: Context) -> None:
    """At the end of a batch: rooms into which somebody else has let us."""
    for room_id in ctx.batch.entered:
        room = rooms.room(ctx, room_id)
        member = room.graph.members.get(ctx.me.account)
        if room.row.kind != ROOM or member is None or member.added_by is None:
            continue
        adder = rooms.author(ctx, member.added_by)
        others = [one for one in room.accounts if one not in (ctx.me.account, adder)]
        if adder is not None and adder != ctx.me.account and others:
            _keep(ctx, room, member.added_by, others[:MEMBERS])


def _keep(ctx: Context, room: RoomCache, added_by: EventId, others: list[AccountId]) -> None:
    now = ctx.now.wall_ms
    left = holders.own_left(ctx)
    for act in frames.with_covers(ctx, _acts_behind(ctx, added_by)):
        held = HeldEvent(
            act.id, ctx.me.account, ctx.me.device, room.row.id, act.device, act.seq, True, now, now + HOLD_MS,
            act.header, act.signature, act.body,
        )  # fmt: skip
        to = [(account, DeviceId(b"")) for account in others if account != ctx.cache.owner[act.device]]
        size = log.size(Event(act.header, act.signature, act.body))
        left -= holders.ROW_BYTES + holders.NAME_BYTES * len(to) + size
        if left < 0:
            break  # for others' sake nobody keeps more of one person and day; the nearest come first
        if to:  # what he wrote himself he has, and says to nobody that he has it
            ctx.ledger.holdings.hold(held, to)
    ctx.batch.wrote = True
    for number in ctx.live.by_device.values() if len(room.accounts) <= AT_ONCE else ():
        link = ctx.live.links[number]
        if link.account in others:
            holders.tell_waiting(ctx, link)


def _acts_behind(ctx: Context, added_by: EventId) -> list[StoredEvent]:
    """That act and what it builds on, the nearest first."""
    found: dict[EventId, StoredEvent] = {}
    ahead = [added_by]
    while ahead and len(found) < ACTS:
        following: list[EventId] = []
        for identity in ahead:
            act = ctx.ledger.events.get(identity) if identity not in found and len(found) < ACTS else None
            if act is not None:
                found[identity] = act
                following += [EventId(one) for one in decode(Header, act.header).auth]
        ahead = following
    return list(found.values())
