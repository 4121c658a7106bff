"""Rooms: which there are, and what a peer may have of one.

Decides: the ids of direct chats and of the lobby, what the machine at the other end of a link
may be given and may tell, and how a room's cache is filled from the ledger (docs/protocol.md,
"Rooms"). Does not know: who may what (control_graph), chains, keys, or what anybody says there.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from p2pchat.crypto.primitives import hash_tagged
from p2pchat.engine import acts, kept
from p2pchat.engine.accounts import Device
from p2pchat.engine.context import Context, Link, Linked, RoomCache
from p2pchat.engine.ranges import Ranges
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId, RoomId
from p2pchat.model import DIRECT, LOBBY, ROOM, RoomRow, StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.messages.events import Header
from p2pchat.wire.messages.registers import HAVE
from p2pchat.wire.messages.rooms import JOINED, OFFICE

DIRECT_TAG: Final = "p2pchat/direct/1"
LOBBY_TAG: Final = "p2pchat/lobby/1"
LOBBY_NAME: Final = "lobby"

ALL: Final = "all"
CONTROL: Final = "control"
PAST: Final = "past"
NOTHING: Final = ""
"""What a peer may have of a room: all of it · the acts of a room open to the office · the acts up to
his own end in it · nothing."""

HLC_SHIFT: Final = 16
MAX_LATE: Final = 4096
MAX_LEAPS: Final = 1024
"""Of content dated before the add of somebody it is for: what is compared at a time."""
MAX_HEARD_OF: Final = 64
"""Rooms of which peers have spoken and whose `create` is not here: memory they can take."""
MAX_HEARD_EACH: Final = 8
"""The same of one link to somebody who is not verified."""


def direct_id(one: AccountId, other: AccountId) -> RoomId:
    """BLAKE2b-256(tag ‖ smaller account ‖ greater account)."""
    return RoomId(hash_tagged(DIRECT_TAG, min(one, other), max(one, other)))


def lobby_id(office_key: bytes) -> RoomId:
    """BLAKE2b-256(tag ‖ key of the open office)."""
    return RoomId(hash_tagged(LOBBY_TAG, office_key))


def direct(ctx: Context, peer: AccountId) -> RoomCache:
    """The direct chat with `peer`; it needs no creation, so it is always there."""
    room_id = direct_id(ctx.me.account, peer)
    if room_id not in ctx.cache.known_rooms:
        know(ctx, RoomRow(room_id, DIRECT, "", peer))
    return room(ctx, room_id)


def know(ctx: Context, row: RoomRow) -> None:
    """This room is known from now on."""
    ctx.ledger.rooms.put_room(row)
    ctx.cache.known_rooms[row.id] = row
    ctx.live.heard_of.pop(row.id, None)
    ctx.live.heard_by.pop(row.id, None)
    cached = ctx.cache.rooms.get(row.id)
    if cached is not None and cached.row != row:
        del ctx.cache.rooms[row.id]  # it was heard of as something else
    ctx.cache.meant.clear()  # an id or a name may now mean two
    ctx.batch.wrote = True


def room(ctx: Context, room_id: RoomId) -> RoomCache:
    """A known room, or one that was heard of; read from the ledger once."""
    cached = ctx.cache.rooms.get(room_id)
    if cached is None:
        row = ctx.cache.known_rooms.get(room_id) or ctx.live.heard_of[room_id]
        cached = ctx.cache.rooms[room_id] = _load(ctx, row)
    return cached


def access(ctx: Context, link: Link, cached: RoomCache) -> str:
    """What the machine at the other end may have: ALL, CONTROL, PAST or NOTHING."""
    graph = cached.graph
    if link.account == ctx.me.account or link.account in graph.members:
        return ALL
    if cached.row.kind == DIRECT:
        return NOTHING
    # Who may come in by himself hears all acts, also if he was in before: he may have come in again, and
    # knows no more of us than we of him. Of a room only heard of there is nothing here to give.
    open_to_all = cached.row.id in ctx.live.heard_of or graph.settings.admission == OFFICE
    if open_to_all and graph.former.get(link.account) != "removed":
        return CONTROL
    if link.account in graph.former or (graph.ever(link.account) and graph.past(link.account)):
        return PAST
    return PAST if graph.ever_open else NOTHING  # he may have joined before he hears that it is closed


def room_with(ctx: Context, link: Link, room_id: bytes, *, hear: bool = False) -> RoomCache | None:
    """The room of that id if the peer of `link` has any business with it, else None.

    `hear`: take note of a room nobody here knows yet.
    """
    identity = RoomId(room_id)
    row = ctx.cache.known_rooms.get(identity)
    if (
        (row is None or row.kind == DIRECT)
        and room_id == direct_id(ctx.me.account, link.account)
        and link.account != ctx.me.account
    ):
        return direct(ctx, link.account)
    if row is not None or identity in ctx.live.heard_of:
        cached = room(ctx, identity)
        return cached if access(ctx, link, cached) != NOTHING else None
    if hear and len(room_id) == ID_BYTES and _place_for_one_more(ctx, link):
        ctx.live.heard_of[identity] = RoomRow(identity, ROOM, "", None)
        ctx.live.heard_by[identity] = link.link
        return room(ctx, identity)
    return None


def _place_for_one_more(ctx: Context, link: Link) -> bool:
    """Whether that link may tell of one more room, for which an older one may be forgotten: of a
    link that has its share one of its own with which nothing is under way; where all places are
    taken, one of the link with the most."""
    by = ctx.live.heard_by
    trust = ctx.cache.trust.get(link.account)
    share = MAX_HEARD_OF if trust is not None and trust.verified else MAX_HEARD_EACH
    told = Counter(by.values())
    if told[link.link] < share and len(by) < MAX_HEARD_OF:
        return True
    whose = link.link if told[link.link] >= share else max(told, key=lambda number: told[number])
    theirs = [one for one, number in by.items() if number == whose and not room(ctx, one).heads]
    busy = {recon.room for recon in ctx.live.recons.values()}
    idle = [one for one in theirs if one not in busy] or (theirs if whose != link.link else [])
    if not idle:
        return False
    _unhear(ctx, idle[0])
    return True


def _unhear(ctx: Context, room_id: RoomId) -> None:
    """Forget a room that was only heard of. What waits for its acts stays in the ledger's pool,
    and is looked at when somebody tells of the room again."""
    del ctx.live.heard_of[room_id], ctx.live.heard_by[room_id]
    ctx.cache.rooms.pop(room_id, None)
    for session in [number for number, recon in ctx.live.recons.items() if recon.room == room_id]:
        del ctx.live.recons[session]
    for place in [place for place in ctx.batch.unjudged if place[1] == room_id]:
        del ctx.batch.unjudged[place]


def link_gone(ctx: Context, number: int) -> None:
    """Rooms that were heard of on that link: another one that is being asked keeps them."""
    for room_id in [one for one, told in ctx.live.heard_by.items() if told == number]:
        asked = [r.link for r in ctx.live.recons.values() if r.room == room_id and r.link != number]
        if asked:
            ctx.live.heard_by[room_id] = asked[0]
        elif not room(ctx, room_id).heads:
            _unhear(ctx, room_id)


def common(ctx: Context, link: Link) -> list[RoomCache]:
    """Rooms of which the peer of `link` may have something, and the direct chat with him."""
    found = [] if link.account == ctx.me.account else [direct(ctx, link.account)]
    own = link.account == ctx.me.account  # else of direct chats, of which there may be hundreds, only his
    for room_id in sorted(row.id for row in ctx.cache.known_rooms.values() if own or row.kind != DIRECT):
        cached = room(ctx, room_id)
        if access(ctx, link, cached) != NOTHING:
            found.append(cached)
    return found


def shares_a_room(ctx: Context, link: Link) -> bool:
    """Whether the peer may introduce others: whoever shares a room with us, or tells us of one."""
    ids = [row.id for row in ctx.cache.known_rooms.values() if row.kind != DIRECT]
    return any(access(ctx, link, room(ctx, one)) != NOTHING for one in (*ctx.live.heard_of, *ids))


def linked(ctx: Context, cached: RoomCache) -> Linked:
    """Live links to machines of this room's members, one for each machine. In a room of hundreds it is
    asked for with every word, and looked for only if somebody has come, gone or entered."""
    live, known = ctx.live, cached.linked
    if known is None or known.comings is not live.comings or known.accounts is not cached.accounts:
        members, links = cached.graph.members, live.links
        here = [link for number in live.by_device.values() if (link := links[number]).account in members]
        by_device = {link.device: link.link for link in here}
        known = cached.linked = Linked(live.comings, cached.accounts, tuple(here), by_device)
    return known


def links_of(ctx: Context, cached: RoomCache) -> tuple[Link, ...]:
    """The links alone."""
    return linked(ctx, cached).links


def author(ctx: Context, event: EventId) -> AccountId | None:
    """Who wrote an act, remembered: it is asked for with every event of a room."""
    known = ctx.cache.author.get(event)
    if known is None:
        stored = ctx.ledger.events.get(event)
        if stored is not None:
            known = ctx.cache.author[event] = ctx.cache.owner[stored.device]
    return known


def is_ours(ctx: Context, cached: RoomCache) -> bool:
    """Whether we are in a room by our own doing, or by that of somebody verified: into a room of his making
    anybody can bring us."""
    if not cached.heads.keys().isdisjoint(ctx.cache.accounts[ctx.me.account].devices):
        return True
    added_by = cached.graph.members[ctx.me.account].added_by
    adder = author(ctx, added_by) if added_by is not None else None
    trust = ctx.cache.trust.get(adder) if adder is not None else None
    return trust is not None and trust.verified


def machine(ctx: Context, device: DeviceId) -> Device | None:
    """A machine of anybody known, revoked or not."""
    owner = ctx.cache.owner.get(device)
    return None if owner is None else ctx.cache.accounts[owner].devices.get(device)


def devices(ctx: Context, cached: RoomCache) -> list[DeviceId]:
    """Every unrevoked machine of the members, ordered by account, then add."""
    revoked = cached.graph.revoked
    return [
        device.id
        for account in cached.accounts
        if account in ctx.cache.accounts
        for device in ctx.cache.accounts[account].active()
        if device.id not in revoked
    ]


def readable_from(ctx: Context, cached: RoomCache, account: AccountId) -> int:
    """The hlc from which on `account` may have content: 0, or that of his latest add in a room whose
    newcomers do not see what was before."""
    if cached.graph.settings.history != JOINED:
        return 0
    member = cached.graph.members.get(account)
    if member is None or member.added_by is None:
        return 0
    event = ctx.ledger.events.get(member.added_by)
    return event.hlc if event is not None else 0


def may_read(ctx: Context, cached: RoomCache, account: AccountId, event: StoredEvent) -> bool:
    """Whether a member may have that content where newcomers do not see what was before: it is dated
    from his add on, or its author knew of the add though his clock did not, or he wrote it."""
    if event.hlc >= readable_from(ctx, cached, account) or ctx.cache.owner[event.device] == account:
        return True
    member = cached.graph.members.get(account)
    return member is not None and _knew(cached, event, member.added_by)


def _knew(cached: RoomCache, event: StoredEvent, act: EventId | None) -> bool:
    auth = tuple(EventId(one) for one in decode(Header, event.header).auth)
    graph = cached.graph
    return act is not None and all(graph.knows(one) for one in (act, *auth)) and graph.follows(auth, act)


def late(ctx: Context, cached: RoomCache) -> list[StoredEvent]:
    """Content that somebody may have though it is dated before his add: its author's clock is behind.

    Of each chain it is the end before the newest add; where that end is not such content, it may still be
    the end before an older add which it links to, for the clock may have been set right between the two.
    """
    if cached.late is None:
        cached.late = []
        since = {one: readable_from(ctx, cached, one) for one in cached.graph.members}
        cached.late_before = max(since.values(), default=0)
        leaps = MAX_LEAPS
        for device in cached.heads if cached.late_before else ():
            before: int | None = _ms_after(cached.late_before)
            while before is not None:
                before = _late_of(ctx, cached, device, before, since)
                leaps -= before is not None
                before = before if leaps > 0 else None
    return cached.late


def _ms_after(hlc: int) -> int:
    """The first ms that begins at that hlc or later."""
    return -(-hlc >> HLC_SHIFT)


def _late_of(
    ctx: Context, cached: RoomCache, device: DeviceId, before: int, since: dict[AccountId, int]
) -> int | None:
    """Take what is late at the end of a chain before that ms; before which older ms there may be more."""
    assert cached.late is not None
    members = cached.graph.members
    for _, one in ctx.ledger.items.said(cached.row.id, device, before):
        event = ctx.ledger.events.get(one)
        if event is None or len(cached.late) >= MAX_LATE:
            return None
        if _late_for(cached, event, since):
            if event not in cached.late[-1:]:
                cached.late.append(event)
            continue
        older = sorted(
            {hlc: who for who, hlc in since.items() if _ms_after(hlc) < before}.items(), reverse=True
        )
        # Who links to an add is dated after it, if his clock was right: one add back is as far as it goes.
        known = (hlc for hlc, who in older if hlc and _knew(cached, event, members[who].added_by))
        hlc = next(known, 0)
        return _ms_after(hlc) if hlc else None
    return None


def _late_for(cached: RoomCache, event: StoredEvent, since: dict[AccountId, int]) -> bool:
    members = cached.graph.members
    return any(event.hlc < hlc and _knew(cached, event, members[one].added_by) for one, hlc in since.items())


def name(ctx: Context, row: RoomRow) -> str:
    """What a room is called, without #; "" for a direct chat or while nobody told."""
    if row.kind == LOBBY:
        return LOBBY_NAME
    text = ctx.cache.texts.get((row.id, "name"))
    if text is not None:
        return text.value
    return row.name if row.kind == DIRECT else room(ctx, row.id).graph.settings.title


def _load(ctx: Context, row: RoomRow) -> RoomCache:
    have: dict[DeviceId, Ranges] = {}
    read: dict[DeviceId, Ranges] = {}
    their_have: dict[tuple[DeviceId, DeviceId], Ranges] = {}
    their_read: dict[tuple[DeviceId, DeviceId], Ranges] = {}
    custody: dict[tuple[DeviceId, DeviceId], Ranges] = {}
    for device, author, kind, ranges in ctx.ledger.seen.seen(row.id):
        if kind == kept.HOLDS:
            if ranges:
                custody[device, author] = ranges
        elif device == ctx.me.device:
            (have if kind == HAVE else read)[author] = ranges
        else:
            (their_have if kind == HAVE else their_read)[device, author] = ranges
    forks = ctx.ledger.events.forks(row.id)
    awaited = ctx.ledger.rooms.awaited(row.id)
    cached = RoomCache(
        row=row,
        graph=acts.graph_of(ctx, row, forks),
        accounts=(),
        heads=ctx.ledger.events.heads(row.id),
        epochs={epoch.epoch: epoch for epoch in ctx.ledger.rooms.epochs(row.id)},
        have=have,
        read=read,
        their_have=their_have,
        their_read=their_read,
        custody=custody,
        awaited={account: seq for account, seq in awaited.items() if seq},
        forks=forks,
    )
    acts.load(ctx, cached, ctx.ledger.events.control(row.id))
    return cached
