"""Rooms: who is in one, and what is known of it.

Decides: the id and members of a direct chat, which links a room's events go to, and
how a room's cache is filled from the ledger (docs/protocol.md, "Rooms"). Does not
know: chains, keys, or what anybody says there.
"""

from __future__ import annotations

from typing import Final

from p2pchat.crypto.primitives import hash_tagged
from p2pchat.engine.accounts import Device
from p2pchat.engine.context import Context, Link, RoomCache
from p2pchat.engine.ranges import Ranges
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import DIRECT, RoomRow
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import MAX_AUTH
from p2pchat.wire.messages.events import EPOCH, REVOKE, SEAL, SETTINGS, Header, is_control
from p2pchat.wire.messages.registers import HAVE

DIRECT_TAG: Final = "p2pchat/direct/1"
DIRECT_CONTROL: Final = (SETTINGS, REVOKE, EPOCH, SEAL)
"""The control events a direct chat knows: its membership is fixed."""


def direct_id(one: AccountId, other: AccountId) -> RoomId:
    """BLAKE2b-256(tag ‖ smaller account ‖ greater account)."""
    return RoomId(hash_tagged(DIRECT_TAG, min(one, other), max(one, other)))


def direct(ctx: Context, peer: AccountId) -> RoomCache:
    """The direct chat with `peer`; it needs no creation, so it is always there."""
    room_id = direct_id(ctx.me.account, peer)
    if room_id not in ctx.cache.known_rooms:
        row = RoomRow(room_id, DIRECT, "", peer)
        ctx.ledger.rooms.put_room(row)
        ctx.cache.known_rooms[room_id] = row
        ctx.cache.meant.clear()  # an id may now mean two
        ctx.batch.wrote = True
    return room(ctx, room_id)


def room(ctx: Context, room_id: RoomId) -> RoomCache:
    """A known room, read from the ledger once."""
    cached = ctx.cache.rooms.get(room_id)
    if cached is None:
        cached = ctx.cache.rooms[room_id] = _load(ctx, ctx.cache.known_rooms[room_id])
    return cached


def room_with(ctx: Context, link: Link, room_id: bytes) -> RoomCache | None:
    """The room of that id if the peer of `link` is in it, else None."""
    if link.account == ctx.me.account:
        known = ctx.cache.known_rooms.get(RoomId(room_id))
        return room(ctx, known.id) if known else None
    if room_id == direct_id(ctx.me.account, link.account):
        return direct(ctx, link.account)
    return None


def common(ctx: Context, link: Link) -> list[RoomCache]:
    """Rooms in which the peer of `link` is too."""
    if link.account == ctx.me.account:
        return [room(ctx, room_id) for room_id in sorted(ctx.cache.known_rooms)]
    return [direct(ctx, link.account)]


def links_of(ctx: Context, cached: RoomCache) -> list[Link]:
    """Live links to machines of this room's members, one for each machine."""
    links = (ctx.live.links[number] for number in ctx.live.by_device.values())
    return [link for link in links if link.account in cached.accounts]


def member_device(ctx: Context, cached: RoomCache, device: DeviceId) -> Device | None:
    """The machine if it is a member's, revoked or not."""
    owner = ctx.cache.owner.get(device)
    if owner is None or owner not in cached.accounts:
        return None
    return ctx.cache.accounts[owner].devices.get(device)


def devices(ctx: Context, cached: RoomCache) -> list[DeviceId]:
    """Every unrevoked machine of the members, ordered by account, then add."""
    return [
        device.id
        for account in cached.accounts
        if account in ctx.cache.accounts
        for device in ctx.cache.accounts[account].active()
    ]


def may_send(cached: RoomCache, device: Device, kind: int) -> bool:
    """Whether a new event of this kind from this machine is allowed now."""
    if device.revoked:
        return False
    return not is_control(kind) or kind in DIRECT_CONTROL


def _load(ctx: Context, row: RoomRow) -> RoomCache:
    accounts: tuple[AccountId, ...] = (ctx.me.account,)
    if row.peer is not None:
        accounts = tuple(sorted({ctx.me.account, row.peer}))
    heads: dict[EventId, None] = {}
    for event in ctx.ledger.events.control(row.id):
        for parent in decode(Header, event.header).auth:
            heads.pop(EventId(parent), None)
        heads[event.id] = None
    have: dict[DeviceId, Ranges] = {}
    read: dict[DeviceId, Ranges] = {}
    their_have: dict[tuple[DeviceId, DeviceId], Ranges] = {}
    their_read: dict[tuple[DeviceId, DeviceId], Ranges] = {}
    for device, author, kind, ranges in ctx.ledger.seen.seen(row.id):
        if device == ctx.me.device:
            (have if kind == HAVE else read)[author] = ranges
        else:
            (their_have if kind == HAVE else their_read)[device, author] = ranges
    return RoomCache(
        row=row,
        accounts=accounts,
        heads=ctx.ledger.events.heads(row.id),
        epochs={epoch.epoch: epoch for epoch in ctx.ledger.rooms.epochs(row.id)},
        control_heads=tuple(sorted(heads))[:MAX_AUTH],
        have=have,
        read=read,
        their_have=their_have,
        their_read=their_read,
    )
