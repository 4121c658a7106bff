"""What can be asked of a node without changing anything.

Decides: how people, machines and trust are summed up for those who look. Does not
know: JSON, or who asks. Everything here reads the node's memory between two batches.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from p2pchat.crypto.identity import in_groups, safety_number
from p2pchat.engine import kept, keys, names, people, presence, ranges, rooms, targets, views
from p2pchat.engine.context import Context, RoomCache
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId, fingerprint
from p2pchat.model import (
    DELIVERED,
    DIRECT,
    HELD,
    JOINED,
    LOBBY,
    OPEN,
    QUEUED,
    READ,
    REMOVED,
    Acks,
    DeviceReceipt,
    MessageView,
    PeerView,
    Progress,
    RoomMember,
    RoomRow,
    RoomView,
)
from p2pchat.wire.codec import decode
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.events import Header
from p2pchat.wire.messages.link import Hello
from p2pchat.wire.messages.presence import OFFLINE
from p2pchat.wire.messages.rooms import ALL, CLOSED, NAME_FIELDS, OFFICE, OWNER, RANK
from p2pchat.wire.messages.statements import SignedStatement

DEFENCES: Final = 4
"""Statements in a handshake besides those that prove this machine: it has little room."""
MUTED: Final = "muted:"
"""In `value`, with the room's id: until when, and whether mentions come through."""


@dataclass(frozen=True, slots=True)
class TrustView:
    """A person's key, as `trust show` prints it."""

    account: AccountId
    name: str
    trust: str
    fingerprint: str
    safety_number: str  # twelve groups of five digits
    devices: tuple[tuple[DeviceId, bool], ...]  # (id, revoked)
    successor: AccountId | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a TARGET means to somebody who wants to read."""

    room: RoomId
    kind: str
    account: AccountId | None  # the other one of a direct chat
    name: str
    warning: str


def conversation(ctx: Context, target: str) -> Conversation:
    """The conversation a TARGET means; CommandError 4 if there is none."""
    found = targets.meaning(ctx, target)
    if isinstance(found, RoomRow):
        return Conversation(found.id, found.kind, None, rooms.name(ctx, found), "")
    known = rooms.direct_id(ctx.me.account, found.account)
    return Conversation(known, DIRECT, found.account, names.shown(ctx, found.account), found.warning)


# -- rooms -------------------------------------------------------------------------------


def room_view(ctx: Context, target: str) -> RoomView:
    """One room or direct chat; CommandError 4 if there is none."""
    said = conversation(ctx, target)
    if said.room in ctx.cache.known_rooms:
        return room_view_of(ctx, rooms.room(ctx, said.room))
    return RoomView(
        said.room, DIRECT, said.name, "", "", said.account, JOINED, 2, OWNER, CLOSED, False, ALL, 0, None
    )


def room_views(ctx: Context, everything: bool, member: AccountId | None) -> list[RoomView]:
    """Rooms and direct chats we are in, by kind and name; `everything`: open, left and removed too."""
    found = []
    for room_id in ctx.cache.known_rooms:
        room = rooms.room(ctx, room_id)
        view = room_view_of(ctx, room)
        if view.membership == OPEN and view.admission != OFFICE:
            continue  # it was open once, and is nobody else's business since
        if (everything or view.membership == JOINED) and (member is None or member in room.graph.members):
            found.append(view)
    return sorted(found, key=lambda view: (view.kind != LOBBY, view.kind == DIRECT, view.name, view.id))


def room_view_of(ctx: Context, room: RoomCache) -> RoomView:
    """How a room is shown."""
    row, graph, me = room.row, room.graph, ctx.me.account
    texts, settings = ctx.cache.texts, graph.settings
    topic, rules = (texts.get((row.id, field)) for field in ("topic", "rules"))
    mine = graph.members.get(me)
    until, mentions_only = muting(ctx, room.row.id)
    epoch = keys.fitting(ctx, room)
    return RoomView(
        id=row.id,
        kind=row.kind,
        name=names.shown(ctx, row.peer) if row.peer is not None else rooms.name(ctx, row),
        topic=topic.value if topic else "",
        rules=rules.value if rules else "",
        peer=row.peer,
        membership=JOINED if mine else graph.former.get(me, REMOVED if graph.ever(me) else OPEN),
        members=len(graph.members),
        role=mine.role if mine else "",
        admission=settings.admission,
        announce=settings.announce,
        history=settings.history,
        retention_days=settings.retention_days,
        epoch=epoch.epoch if epoch is not None else None,
        muted_until_ms=until,
        mentions_only=mentions_only,
        described=any((row.id, field) in texts for field in NAME_FIELDS),
    )


def muting(ctx: Context, room: RoomId) -> tuple[int | None, bool]:
    """Until when a conversation raises no notice (None: it does, -1: for good), and whether mentions do."""
    kept = ctx.ledger.people.value(MUTED + room.hex())
    if not kept:
        return None, False
    until, mentions_only = json.loads(kept)
    if until is not None and 0 <= until <= ctx.now.wall_ms:
        return None, False
    return until, bool(mentions_only)


def room_members(ctx: Context, target: str) -> list[RoomMember]:
    """Who is in a room, owners first."""
    said = conversation(ctx, target)
    room = rooms.room(ctx, said.room) if said.room in ctx.cache.known_rooms else None
    if room is None:
        pair = [one for one in (ctx.me.account, said.account) if one is not None]
        return [RoomMember(one, OWNER, _machines(ctx, one, {})) for one in pair]
    members = room.graph.members
    ranked = sorted(members, key=lambda a: (-RANK[members[a].role], names.fold(people.name(ctx, a)), a))
    return [RoomMember(a, members[a].role, _machines(ctx, a, room.graph.revoked)) for a in ranked]


def _machines(ctx: Context, account: AccountId, revoked: Container[DeviceId]) -> tuple[DeviceId, ...]:
    known = ctx.cache.accounts.get(account)
    return tuple(d.id for d in known.active() if d.id not in revoked) if known else ()


def progress(ctx: Context, view: MessageView) -> Progress | None:
    """How far an own message has come, in people; None for others' messages."""
    if not view.mine or view.room not in ctx.cache.known_rooms:
        return None
    room = rooms.room(ctx, view.room)
    if view.device != ctx.me.device and room.row.kind != DIRECT:
        return None
    meant = _meant(ctx, room, view.seq)
    have, read = (views.by_person(ctx, room, kind, view.device) for kind in (registers.HAVE, registers.READ))
    got = tuple(a for a in meant if ranges.contains(ranges.union(have.get(a, ()), read.get(a, ())), view.seq))
    seen = tuple(a for a in meant if ranges.contains(read.get(a, ()), view.seq))
    return Progress(got, seen, len(meant))


def device_receipts(ctx: Context, view: MessageView) -> list[DeviceReceipt] | None:
    """The same machine by machine, of those it is for that are known and not revoked."""
    known = progress(ctx, view)
    if known is None:
        return None
    room = rooms.room(ctx, view.room)
    found = []
    for account in _meant(ctx, room, view.seq):
        for device in _machines(ctx, account, room.graph.revoked):
            place = (device, ctx.me.device)
            read = ranges.contains(room.their_read.get(place, ()), view.seq)
            have = ranges.contains(room.their_have.get(place, ()), view.seq)
            found.append(DeviceReceipt(device, READ if read else DELIVERED if have else QUEUED))
    return found


def held_by(ctx: Context, view: MessageView) -> list[DeviceId]:
    """Machines that keep an own message for those who lack it."""
    if view.device != ctx.me.device or view.state != HELD or view.room not in ctx.cache.known_rooms:
        return []
    return kept.holders(rooms.room(ctx, view.room), view.device, view.seq)


def attempts(ctx: Context, whom: Container[AccountId]) -> int:
    """How often in a row these people's machines could not be reached, or were lost again at once, at the
    address that was tried most; 0 while they are linked."""
    owner, linked = ctx.cache.owner, ctx.live.by_device
    failures = (
        target.failures
        for target in ctx.live.targets.values()
        if target.device is not None and target.device not in linked and owner.get(target.device) in whom
    )
    return max(failures, default=0)


def _meant(ctx: Context, room: RoomCache, seq: int) -> list[AccountId]:
    """Whom an own message is for."""
    first = room.awaited if room.row.kind != DIRECT else {a: 1 for a in room.accounts if a != ctx.me.account}
    return [account for account, since in first.items() if since <= seq]


def acks(ctx: Context, view: MessageView, acked: tuple[AccountId, ...]) -> Acks | None:
    """Who has taken note of a message that asks for it; None if it asks nobody."""
    if view.ack_by_ms is None or view.room not in ctx.cache.known_rooms:
        return None
    event = ctx.ledger.events.get(view.id)
    room = rooms.room(ctx, view.room)
    auth = tuple(EventId(one) for one in decode(Header, event.header).auth) if event is not None else ()
    asked = [a for a in room.graph.members_at(auth) if a in room.graph.members and a != view.account]
    done = tuple(account for account in acked if account in asked)
    return Acks(view.ack_by_ms or None, done, tuple(sorted(a for a in asked if a not in done)))


def person_names(ctx: Context) -> dict[AccountId, str]:
    """Everybody's name as it is shown, our own included."""
    return {account: names.shown(ctx, account) for account in ctx.cache.accounts}


def peer_views(ctx: Context) -> list[PeerView]:
    """Every machine of everybody known, connected ones first."""
    found = []
    for account in names.everybody(ctx):
        standing = ctx.cache.trust.get(account)
        for device in ctx.cache.accounts[account].devices.values():
            if device.revoked and not ctx.cache.accounts[account].revoked:
                continue
            found.append(_peer(ctx, account, device.id, standing.last_seen_ms if standing else None))
    return sorted(found, key=lambda peer: (not peer.connected, names.fold(peer.name), peer.device))


def _peer(ctx: Context, account: AccountId, device: DeviceId, last_seen: int | None) -> PeerView:
    number = ctx.live.by_device.get(device)
    said = presence.shown(ctx, device)
    hidden = said.state == OFFLINE  # he may be here, and does not want to be seen
    link = ctx.live.links.get(number) if number is not None and not hidden else None
    seen = ctx.now.wall_ms if link else ctx.live.last_seen.get(device, last_seen)
    host = f"[{link.host}]" if link and ":" in link.host else (link.host if link else "")
    address = None
    if link is not None:
        address = f"{host}:{link.port}" if link.port else host
    return PeerView(
        account=account,
        device=device,
        name=people.name(ctx, account),
        shown_name=names.shown(ctx, account),
        room=rooms.direct_id(ctx.me.account, account),
        connected=link is not None,
        address=address,
        trust=names.trust_word(ctx, account),
        last_seen_ms=seen,
        presence=said.state,
        status_message=said.message,
    )


def trust_view(ctx: Context, target: str) -> TrustView:
    """What is known of the key a TARGET means."""
    account = names.resolve(ctx, target).account
    known = ctx.cache.accounts[account]
    return TrustView(
        account=account,
        name=names.shown(ctx, account),
        trust=names.trust_word(ctx, account),
        fingerprint=fingerprint(account),
        safety_number=in_groups(safety_number(ctx.me.account, account)),
        devices=tuple((device.id, device.revoked) for device in known.devices.values()),
        successor=known.successor,
    )


def hello(ctx: Context) -> Hello:
    """What a handshake says of this machine."""
    own = [ctx.cache.prekeys.get(ctx.me.device), ctx.cache.profiles.get(ctx.me.account)]
    registers = [people.signed_register(row) for row in own if row is not None]
    if ctx.me.device in ctx.live.reach:
        registers.append(ctx.live.reach[ctx.me.device])
    # The clock as it is, not as others corrected it: else a wrong one is passed on as agreement.
    system_ms = ctx.now.wall_ms - ctx.shift_ms
    statements = (*ctx.me.statements, *_defences(ctx))
    return Hello(1, ctx.me.device, statements, tuple(registers), ctx.live.port, system_ms)


def _defences(ctx: Context) -> tuple[SignedStatement, ...]:
    """Whom we revoked who had revoked us: who has heard him alone would not let us in to say so."""
    account = ctx.cache.accounts[ctx.me.account]
    ours = account.devices[ctx.me.device].signing
    return tuple(act.signed for act in account.defences if act.by == ours)[:DEFENCES]
