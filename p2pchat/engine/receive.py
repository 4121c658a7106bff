"""May this in? Events that other machines hand us.

Decides: which received events are taken into the log, which wait, and which end the
link; then lets them take effect in the right order: control before content, keys
before what they open (docs/protocol.md, "Authentic", "Allowed"). Does not know: how
events are asked for or pushed (sync), or what receipts are sent when (outbox).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from p2pchat.engine import (
    acts,
    bodies,
    clones,
    content,
    gossip,
    keys,
    log,
    membership,
    pool,
    quota,
    rooms,
    views,
)
from p2pchat.engine.context import Context, Link, RoomCache
from p2pchat.engine.control_graph import Act
from p2pchat.engine.inputs import Tell
from p2pchat.engine.log import Read
from p2pchat.ids import AccountId, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import LOBBY, ROOM, StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import MAX_UNSIGNED_RUN
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages.events import Event, Header
from p2pchat.wire.messages.link import Keys

MAX_COVERS_SOUGHT = 4
"""Runs read from the log for one frame, up to 4 MiB each; an honest frame ends in one or two."""


def events(ctx: Context, link: Link, received: Sequence[Event], checked: tuple[int, ...] | None) -> None:
    """Take in what a peer sent; RemoteProtocolError if any of it breaks the rules.

    `checked`: indexes whose own signature was verified before the inbox, or None.
    """
    reads = [log.read_event(event) for event in received]
    for read in reads:
        if wire.is_control(read.header.kind):
            acts.checked_body(read)  # whoever hands on what has no form is to blame, and nobody later
    good = {reads[i].id for i in checked if 0 <= i < len(reads)} if checked is not None else set()
    by_room: dict[RoomId, list[Read]] = {}
    for read in reads:
        by_room.setdefault(read.room, []).append(read)
    for room_id, group in by_room.items():
        room = rooms.room_with(ctx, link, room_id, hear=True)
        if room is None:
            continue  # of a room this peer has no business with: nothing to judge it by
        missing = _missing(ctx, room, group)
        access = rooms.access(ctx, link, room)
        if access != rooms.ALL:
            group = [
                r for r in group if wire.is_control(r.header.kind) or _own_past(ctx, link, room, access, r)
            ]
        known = [read for read in group if read.id not in missing]
        if known:
            _again(ctx, room, known)
        fresh = [read for read in _unique(group) if read.id in missing] if len(group) > 1 or known else group
        if fresh:
            _room_events(ctx, link, room, fresh, good)
            if access != rooms.ALL:
                gossip.spoken_by_former(ctx, link, room, fresh)
            for chain in {(room_id, DeviceId(read.header.device)): None for read in fresh}:
                if chain in ctx.batch.receipts:
                    ctx.batch.receipts[chain] = link.link
        gossip.arrived(ctx, link, room, fresh, [read.id for read in known])


def _missing(ctx: Context, room: RoomCache, reads: Sequence[Read]) -> dict[EventId, None]:
    """Which of these are not in the log; what lies beyond the head of its chain, or in a hole of it,
    cannot be."""
    beyond: dict[EventId, None] = {}
    doubtful: list[EventId] = []
    holes: dict[bytes, tuple[int, int]] = {}
    for read in reads:
        device, seq = read.header.device, read.header.seq
        head = room.heads.get(DeviceId(device))
        if head is None or seq > head.seq:
            beyond[read.id] = None
            continue
        low, high = holes.get(device, (1, 0))
        if not low <= seq <= high:
            hole = ctx.ledger.events.hole(room.row.id, DeviceId(device), seq)
            low, high = holes[device] = hole or (1, 0)
        if low <= seq <= high:
            beyond[read.id] = None
        else:
            doubtful.append(read.id)
    return {**beyond, **dict.fromkeys(ctx.ledger.events.missing(doubtful))} if doubtful else beyond


def handed(ctx: Context, link: Link, reads: Sequence[Read]) -> list[tuple[RoomId, DeviceId]]:
    """Take in what a holder kept for us; the chains of which something was in it.

    Whoever it is, it is judged by what it says: the holder need not be in the room, and is not asked
    for anything of it.
    """
    for read in reads:
        acts.checked_body(read)
    missing = dict.fromkeys(ctx.ledger.events.missing([read.id for read in reads]))
    by_room: dict[RoomId, list[Read]] = {}
    for read in reads:
        by_room.setdefault(read.room, []).append(read)
    chains: dict[tuple[RoomId, DeviceId], None] = {}
    for room_id, group in by_room.items():
        room = _room_of(ctx, link, room_id, group)
        if room is None:
            continue
        _again(ctx, room, [read for read in group if read.id not in missing])
        fresh = [read for read in _unique(group) if read.id in missing]
        if fresh:
            _room_events(ctx, None, room, fresh, {read.id for read in fresh if read.event.signature})
        chains |= dict.fromkeys((room_id, DeviceId(read.header.device)) for read in group)
    return list(chains)


def _room_of(ctx: Context, link: Link, room_id: RoomId, group: Sequence[Read]) -> RoomCache | None:
    """The room these are of, if it can be one of ours: a chat with who wrote there, or one that
    whoever handed it over may tell us of."""
    owners = {ctx.cache.owner.get(DeviceId(read.header.device)): None for read in group}
    for owner in owners:
        if owner is None or owner == ctx.me.account:
            continue
        trust = ctx.cache.trust.get(owner)
        if room_id == rooms.direct_id(ctx.me.account, owner):
            return None if trust is not None and trust.blocked else rooms.direct(ctx, owner)
    if room_id in ctx.cache.known_rooms:
        room = rooms.room(ctx, room_id)
        return room if room.row.kind != LOBBY else None
    return rooms.room_with(ctx, link, room_id, hear=True)


def _own_past(ctx: Context, link: Link, room: RoomCache, access: str, read: Read) -> bool:
    """Whether somebody who is out says what he wrote while he was in: nobody else may have it."""
    own = ctx.cache.owner.get(DeviceId(read.header.device)) == link.account
    return own and (access == rooms.PAST or room.graph.ever(link.account))


def _unique(reads: Sequence[Read]) -> list[Read]:
    return list({read.id: read for read in reads}.values())


def _again(ctx: Context, room: RoomCache, known: Sequence[Read]) -> None:
    """Events that are here already: say so again, for our receipt may have been lost."""
    for read in known:
        device = DeviceId(read.header.device)
        stored = ctx.ledger.events.get(read.id)
        if stored is not None and stored.body is None and read.event.body is not None:
            _body_after_all(ctx, room, stored, read)
        if device != ctx.me.device:
            ctx.batch.receipts[room.row.id, device] = None


def _body_after_all(ctx: Context, room: RoomCache, stored: StoredEvent, read: Read) -> None:
    """A body that had never come, or that was erased by a delete which is void by now; unless its
    author took it back meanwhile."""
    if views.lawfully_absent(ctx, stored):
        return
    flags = stored.flags & ~(StoredEvent.ERASED | StoredEvent.SHOWN)
    if keys.open_plain(room, log.stored_event(read, stored.received_ms, flags), read.header) is None:
        flags |= StoredEvent.KEYLESS  # or nobody would come back to it when the key is here
        keys.seek(ctx, room)
    ctx.ledger.events.put_body(stored.id, read.event.body, flags)
    ctx.batch.wrote = True
    whole = log.stored_event(read, stored.received_ms, flags)
    if stored.flags & StoredEvent.SHOWN and stored.kind == wire.MESSAGE:
        views.standing_moved(ctx, room, whole)  # nothing new: the feed told of it when it first came
        return
    _take_effect(ctx, room, whole, read.header)


def _room_events(
    ctx: Context, link: Link | None, room: RoomCache, fresh: list[Read], good: set[EventId]
) -> None:
    """Judge and take, and again what an act among them lets us judge at last."""
    waiting, parked = pool.neighbours(ctx, room, fresh)
    waiting = pool.well_formed(ctx, room, waiting)
    wanted_keys: list[EpochId] = []
    if _judge(ctx, link, room, [*waiting, *fresh], good, parked, wanted_keys):
        _awaken(ctx, room, wanted_keys)
    chains = (
        dict.fromkeys([DeviceId(read.header.device) for read in (*waiting, *fresh)]) if room.forks else ()
    )
    for device in chains:
        low = room.forks.get(device)
        if low is not None and membership.is_cut(ctx, room, device):
            membership.judge_chain(ctx, room, device, low)  # an event's branch may show only now
    if wanted_keys and link is not None:
        keys.ask(ctx, link, room, wanted_keys)
    elif wanted_keys:
        keys.seek(ctx, room)


def awake(ctx: Context, room: RoomCache) -> None:
    """Of what waits in a room there was more to be judged than in one step."""
    wanted_keys: list[EpochId] = []
    _awaken(ctx, room, wanted_keys)
    if wanted_keys:
        keys.ask_next(ctx, room)


def _awaken(ctx: Context, room: RoomCache, wanted_keys: list[EpochId]) -> None:
    """An act has come: judge what waited for it, and what waited for that."""
    waiting, more = pool.awakened(ctx, room)
    work = pool.well_formed(ctx, room, waiting)
    took = bool(work) and _judge(ctx, None, room, work, set(), {read.id for read in work}, wanted_keys)
    if took or (more and len(work) < len(waiting)):
        ctx.timer(f"awake:{room.row.id.hex()}", ctx.now.mono)


def _judge(
    ctx: Context,
    link: Link | None,
    room: RoomCache,
    reads: list[Read],
    good: set[EventId],
    pooled: set[EventId],
    wanted_keys: list[EpochId],
) -> bool:
    """Take what is authentic and allowed, keep what cannot be judged yet; whether an act was taken."""
    # An author whose statement we lack cannot be judged; repair brings the event again.
    machines = {
        one: rooms.machine(ctx, DeviceId(one)) for one in {read.header.device: None for read in reads}
    }
    reads = [read for read in reads if machines[read.header.device] is not None]
    before = [] if all([read.event.signature for read in reads]) else _covers(ctx, room, reads)
    here = {read.id for read in before}

    def holds(read: Read) -> bool:
        if read.id in here or read.id in good:
            return True
        machine = machines.get(read.header.device)
        return machine is not None and log.signature_holds(read, machine.signing)

    def named(read: Read) -> bool:
        return room.graph.cut_names(read.id, ctx.cache.owner[DeviceId(read.header.device)])

    authentic = log.covered([*reads, *before], holds, named)
    took_act = False
    known: tuple[EventId, ...] = ()
    knows = True
    # One look for all of a room's frame, where there is room for all of it.
    fresh: dict[DeviceId, list[quota.Weight]] = {}
    for read in reads:
        if read.id not in pooled:
            fresh.setdefault(DeviceId(read.header.device), []).append(_weight(read))
    by = link.account if link is not None else ctx.me.account
    loads = [
        quota.load_of(ctx, ctx.cache.owner[device], device, by, weights) for device, weights in fresh.items()
    ]
    paid = quota.takes_all(ctx, room, loads)
    views.look_ahead(ctx, [read.id for read in reads if read.header.kind == wire.MESSAGE])
    for read in reads:
        machine = machines[read.header.device]
        if machine is None:
            continue
        device, owner = machine.id, ctx.cache.owner[machine.id]
        if machine.revoked and device not in room.graph.revoked:
            continue  # until members have said how much of its chain stands
        auth = cast("tuple[EventId, ...]", read.header.auth)
        if auth != known or not knows:  # what is known stays so, and most link to the same acts
            known, knows = auth, all([room.graph.knows(one) for one in auth])
        judgeable = authentic[read.id] and knows
        standing = _standing(room, read, device, owner, auth) if judgeable else ""
        if standing == "never":
            continue
        if not paid and read.id not in pooled:
            load = quota.load_of(ctx, owner, device, by, [_weight(read)])
            if not quota.takes_in(ctx, room, load):
                continue
        if not judgeable:
            if authentic[read.id] and link is not None:
                ctx.batch.unjudged[link.link, room.row.id] = None
            pool.park(ctx, room, read)
            continue
        if read.id in pooled:
            pool.unpark(ctx, room, read)
        took_act |= _take(ctx, room, read, auth, standing == "allowed", wanted_keys)
    return took_act


def _weight(read: Read) -> quota.Weight:
    return quota.Weight(read.header.hlc, log.size(read.event), wire.is_control(read.header.kind))


def _standing(
    room: RoomCache, read: Read, device: DeviceId, owner: AccountId, auth: tuple[EventId, ...]
) -> str:
    """How an event stands; all are kept, but for those that never will: even void ones may count again."""
    kind = read.header.kind
    if kind == wire.CREATE:
        return "allowed" if room.row.kind == ROOM and not room.graph.heads else "never"
    return room.graph.judge(device, owner, read.header.seq, read.id, auth, kind).standing


def _covers(ctx: Context, room: RoomCache, fresh: list[Read]) -> list[Read]:
    """Events of the log that follow an unsigned one: its cover may have come before it."""
    followed = {read.header.prev for read in fresh}
    found: list[Read] = []
    looked = 0
    for read in fresh:
        if not read.event.signature and read.id not in followed and looked < MAX_COVERS_SOUGHT:
            looked += 1
            device, seq = DeviceId(read.header.device), read.header.seq
            for later in ctx.ledger.events.run(
                room.row.id, device, seq + 1, seq + MAX_UNSIGNED_RUN, 2 * MAX_UNSIGNED_RUN
            ):
                found.append(pool.read_again(later))
    return found


def _take(
    ctx: Context,
    room: RoomCache,
    read: Read,
    auth: tuple[EventId, ...],
    allowed: bool,
    wanted_keys: list[EpochId],
) -> bool:
    """Write one authentic event and let it take effect; whether it was an act."""
    header = read.header
    device = DeviceId(header.device)
    control = wire.is_control(header.kind)
    act = None
    if control and read.event.body is not None and header.kind in wire.BODIES:
        body = acts.checked_body(read)
        assert body is not None
        owner = ctx.cache.owner[device]
        act = Act(read.id, device, owner, header.seq, header.hlc, auth, header.kind, body)
    flags = _twins(ctx, room, read)
    stored = log.stored_event(read, ctx.now.wall_ms, flags)
    plain = None
    if not control:
        if not allowed:
            flags |= StoredEvent.VOID
        if stored.body is not None:
            plain = keys.open_plain(room, stored, header)
            if plain is None:
                flags |= StoredEvent.KEYLESS
                if not flags & StoredEvent.VOID:  # who wrote it knew us to be out, it may be
                    wanted_keys.append(stored.epoch)
        if flags != stored.flags:
            stored = log.stored_event(read, ctx.now.wall_ms, flags)
    if header.kind == wire.CREATE and room.row.id not in ctx.cache.known_rooms:
        rooms.know(ctx, room.row)
    log.record(ctx, room, stored)
    if device == ctx.me.device:
        clones.noticed(ctx)
    if act is not None:
        views.note_have(ctx, room, stored)
        membership.took(ctx, room, stored, act)
        _keys_of(ctx, room, stored, act)
    else:
        _take_effect(ctx, room, stored, header, plain)
    return act is not None


def _twins(ctx: Context, room: RoomCache, read: Read) -> int:
    """FORKED if this event shows that its chain forks at it; others of which it shows that are marked.

    A chain forks at an event if another stands in its place, or if the next one here follows another.
    """
    device, seq, prev = DeviceId(read.header.device), read.header.seq, EventId(read.header.prev)
    head, follows = room.heads.get(device), room.newest.get(device) == (seq - 1, prev)
    room.newest[device] = (seq, read.id)
    forked = device in room.forks
    if head is None or (not forked and (seq, prev) == (head.seq + 1, head.id)):
        return 0  # what almost every event is
    if follows and not forked:  # what comes in order, into a hole that goes on
        hole = ctx.ledger.events.hole(room.row.id, device, seq)
        if hole is not None and seq < hole[1]:
            return 0
    marked = [*_at(ctx, room, device, seq, head.seq)]
    mine = bool(marked) or any(e.prev != read.id for e in _at(ctx, room, device, seq + 1, head.seq))
    if forked or not follows:
        marked += [e for e in _at(ctx, room, device, seq - 1, head.seq) if e.id != prev]
    for twin in marked:
        if not twin.flags & StoredEvent.FORKED:
            ctx.ledger.events.put_flags(twin.id, twin.flags | StoredEvent.FORKED)
            again = ctx.ledger.events.get(twin.id)
            if again is not None and again.kind == wire.MESSAGE:
                views.refresh(ctx, room, content.said(ctx, room, again))
    if not mine and not marked:
        return 0
    lowest = min([seq] * mine + [twin.seq for twin in marked])
    if device not in room.forks:
        _tell_fork(ctx, room, device, read.id)
    if lowest < room.forks.get(device, lowest + 1):
        room.forks[device] = lowest
    return StoredEvent.FORKED if mine else 0


def _at(ctx: Context, room: RoomCache, device: DeviceId, seq: int, top: int) -> list[StoredEvent]:
    """What stands at a number of a chain whose head is `top`."""
    if not 0 < seq <= top or ctx.ledger.events.hole(room.row.id, device, seq) is not None:
        return []
    return ctx.ledger.events.at(room.row.id, device, seq)


def _take_effect(
    ctx: Context, room: RoomCache, event: StoredEvent, header: Header, plain: bytes | None = None
) -> None:
    if event.body is None:
        if views.lawfully_absent(ctx, event):
            views.note_have(ctx, room, event)
        elif not event.flags & StoredEvent.VOID:
            bodies.seek(ctx, room)
        views.apply(ctx, room, content.Said(event, ctx.cache.owner[event.device], None))
        return
    if plain is None:
        plain = keys.open_plain(room, event, header)
    if plain is None:  # waits for its key; not in `have` until then, unless it is not waited for
        if event.kind == wire.MESSAGE:
            views.apply_unread(ctx, room, event)
        return
    views.note_have(ctx, room, event)
    body = content.body_in(room, event.kind, plain)
    views.apply(ctx, room, content.Said(event, ctx.cache.owner[event.device], body))


def _keys_of(ctx: Context, room: RoomCache, event: StoredEvent, act: Act) -> None:
    """Acts that bring keys."""
    # Of void ones too: what was said under them may count (keys.current never sends under them).
    if isinstance(act.body, wire.Epoch):
        keys.heard_epoch(ctx, room, event, act.body)
    elif isinstance(act.body, wire.Seal):
        epoch = keys.heard_seal(ctx, room, act.body)
        if epoch is not None:
            opened(ctx, room, [epoch])


def keys_came(ctx: Context, link: Link, message: Keys) -> None:
    """An answer to our request for keys."""
    room = rooms.room_with(ctx, link, message.room)
    if room is not None:
        opened(ctx, room, keys.take(ctx, link, room, message))


def opened(ctx: Context, room: RoomCache, epochs: Sequence[EpochId]) -> None:
    """Keys have come: events that waited for them take effect now."""
    for epoch in epochs:
        for event in ctx.ledger.events.keyless(room.row.id, epoch):
            flags = event.flags & ~StoredEvent.KEYLESS
            ctx.ledger.events.put_body(event.id, event.body, flags)
            ctx.batch.wrote = True
            current = ctx.ledger.events.get(event.id)
            if current is not None:
                _take_effect(ctx, room, current, decode(Header, event.header))


def _tell_fork(ctx: Context, room: RoomCache, device: DeviceId, event: EventId) -> None:
    """Once for each chain, however long both branches are."""
    by = ctx.cache.owner[device].hex()
    ctx.feed("room", room.row.id, (("change", "fork"), ("by", by), ("event", event.hex())))
    text = f"machine {device.hex()[:12]} wrote two different events in one place: both are kept and marked"
    ctx.out.append(Tell("warning", ("fork", text)))
