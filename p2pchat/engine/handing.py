"""Handing over events of a room that somebody asked for, or lacks.

Decides: which of them the peer may have, and what goes ahead of them so that he can judge each.
Does not know: what anybody lacks (sync), or how events are packed (frames).
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pchat.engine import people, rooms
from p2pchat.engine.context import Context, Link, RoomCache
from p2pchat.engine.frames import FRAME_BYTES, in_frames, with_covers
from p2pchat.engine.inputs import Send
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.model import StoredEvent
from p2pchat.wire.codec import decode, portions
from p2pchat.wire.messages.events import REVOKE, is_control
from p2pchat.wire.messages.link import Registers, Statements
from p2pchat.wire.messages.rooms import Revoke


def hand_over(ctx: Context, link: Link, room: RoomCache, ids: Sequence[EventId]) -> None:
    """Send these events of a room, as far as the peer may have them, each with what it takes to
    judge it: the statements of people, then acts, each behind those it names, then content."""
    found = [event for event in ctx.ledger.events.some(ids) if event.room == room.row.id]
    access = rooms.access(ctx, link, room)
    if access == rooms.PAST:
        past = room.graph.past(link.account)
        found = [event for event in found if event.id in past]
    elif access != rooms.ALL:
        found = [event for event in found if is_control(event.kind)]
    if rooms.readable_from(ctx, room, link.account):
        found = [e for e in found if is_control(e.kind) or rooms.may_read(ctx, room, link.account, e)]
    introduce(ctx, link, room, found)
    ctx.out.extend(Send(link.link, frame) for frame in in_frames(with_covers(ctx, found)))


def introduce(ctx: Context, link: Link, room: RoomCache, events: Sequence[StoredEvent]) -> None:
    """Before events whoever they are by, or about: statements and newest registers the peer may lack."""
    accounts: dict[AccountId, None] = {}
    for event in events:
        accounts[ctx.cache.owner[event.device]] = None
        if is_control(event.kind):
            accounts.update(dict.fromkeys(room.graph.named_in(event.id)))
            accounts.update(dict.fromkeys(_proved_of(ctx, event)))
    fresh = [
        account
        for account in accounts
        if account not in (ctx.me.account, link.account)
        and account in ctx.cache.accounts
        and ctx.cache.told.get((link.link, account)) != len(ctx.cache.accounts[account].signed)
    ]
    signed = [one for account in fresh for one in ctx.cache.accounts[account].signed]
    ctx.out.extend(Send(link.link, Statements(run)) for run in portions(signed, FRAME_BYTES))
    rows = [row for account in fresh for row in people.public_registers(ctx, account)]
    told = [people.signed_register(row) for row in rows]
    ctx.out.extend(Send(link.link, Registers(run)) for run in portions(told, FRAME_BYTES))
    for account in fresh:
        ctx.cache.told[link.link, account] = len(ctx.cache.accounts[account].signed)


def _proved_of(ctx: Context, event: StoredEvent) -> list[AccountId]:
    """Whose statements it takes to see that the proof of a `revoke` holds."""
    if event.kind != REVOKE or event.body is None:
        return []
    owner = ctx.cache.owner.get(DeviceId(decode(Revoke, event.body).device))
    return [] if owner is None else [owner]
