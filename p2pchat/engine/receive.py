"""May this in? Events that other machines hand us.

Decides: which received events are taken into the log, which wait, and which end the
link; then lets them take effect in the right order: control before content, keys
before what they open (docs/protocol.md, "Authentic", "Allowed"). Does not know: how
events are asked for or pushed (sync), or what receipts are sent when (outbox).
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pchat.engine import keys, log, quota, rooms, views
from p2pchat.engine.context import Context, Link, RoomCache
from p2pchat.engine.inputs import Tell
from p2pchat.engine.log import Read
from p2pchat.ids import DeviceId, EpochId, EventId
from p2pchat.model import StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.limits import MAX_PENDING, MAX_UNSIGNED_RUN
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
    good = {reads[i].id for i in checked if 0 <= i < len(reads)} if checked is not None else set()
    missing = dict.fromkeys(ctx.ledger.events.missing([read.id for read in reads]))
    by_room: dict[bytes, list[Read]] = {}
    for read in reads:
        by_room.setdefault(read.header.room, []).append(read)
    for room_id, group in by_room.items():
        room = rooms.room_with(ctx, link, room_id)
        if room is None:
            continue  # of a room we do not share with this peer: nothing to judge it by
        _again(ctx, room, [read for read in group if read.id not in missing])
        fresh = [read for read in _unique(group) if read.id in missing]
        if fresh:
            _room_events(ctx, link, room, fresh, good)


def _unique(reads: Sequence[Read]) -> list[Read]:
    return list({read.id: read for read in reads}.values())


def _again(ctx: Context, room: RoomCache, known: Sequence[Read]) -> None:
    """Events that are here already: say so again, for our receipt may have been lost."""
    for read in known:
        device = DeviceId(read.header.device)
        if device == ctx.me.device:
            continue
        stored = ctx.ledger.events.get(read.id)
        if stored is not None and stored.body is None and read.event.body is not None:
            _body_after_all(ctx, room, stored, read)
        ctx.batch.receipts[room.row.id, device] = None


def _body_after_all(ctx: Context, room: RoomCache, stored: StoredEvent, read: Read) -> None:
    """A body that had never come, unless its author took it back meanwhile."""
    if stored.flags & StoredEvent.SHOWN or views.lawfully_absent(ctx, stored):
        return
    flags = stored.flags & ~StoredEvent.ERASED
    if keys.open_plain(room, log.stored_event(read, stored.received_ms, flags), read.header) is None:
        flags |= StoredEvent.KEYLESS  # or nobody would come back to it when the key is here
    ctx.ledger.events.put_body(stored.id, read.event.body, flags)
    ctx.batch.wrote = True
    _take_effect(ctx, room, log.stored_event(read, stored.received_ms, flags), read.header)


def _room_events(ctx: Context, link: Link, room: RoomCache, fresh: list[Read], good: set[EventId]) -> None:
    parked = _parked(ctx, room, fresh)
    counted = {read.id for read in parked}  # towards the quota, when they came
    fresh = [*parked, *fresh]
    machines = {
        read.header.device: rooms.member_device(ctx, room, DeviceId(read.header.device)) for read in fresh
    }
    # An author whose statement we lack cannot be judged; repair brings the event again.
    fresh = [read for read in fresh if machines[read.header.device] is not None]

    before = _covers(ctx, room, fresh)
    here = {read.id for read in before}

    def holds(read: Read) -> bool:
        if read.id in here:
            return True
        machine = machines[read.header.device]
        return machine is not None and (read.id in good or log.signature_holds(read, machine.signing))

    authentic = log.covered([*fresh, *before], holds, lambda _: False)
    wanted_keys: list[EpochId] = []
    arrived: set[bytes] = set()
    for read in fresh:
        machine = machines[read.header.device]
        if machine is None:
            continue
        known_auth = all(a in arrived or _is_control_here(ctx, room, EventId(a)) for a in read.header.auth)
        if not rooms.may_send(room, machine, read.header.kind):
            continue
        if read.id not in counted and not quota.takes(ctx, ctx.cache.owner[machine.id], log.size(read.event)):
            continue
        if not authentic[read.id] or not known_auth:
            _park(ctx, read)
            continue
        arrived.add(read.id)
        if ctx.cache.parked.get((room.row.id, DeviceId(read.header.device))):
            ctx.ledger.events.unpark(read.id)
        _take(ctx, room, read, wanted_keys)
    if wanted_keys:
        keys.ask(ctx, link, room, wanted_keys)


def _is_control_here(ctx: Context, room: RoomCache, event: EventId) -> bool:
    """Whether this is a control event of this room, which is all that `auth` may name."""
    if event in room.control_heads:
        return True
    known = ctx.ledger.events.get(event)
    return known is not None and known.room == room.row.id and wire.is_control(known.kind)


def _parked(ctx: Context, room: RoomCache, fresh: list[Read]) -> list[Read]:
    """Parked events of the same chains: this frame may bring what they wait for."""
    new = {read.id for read in fresh}
    found = []
    for device in dict.fromkeys(DeviceId(read.header.device) for read in fresh):
        place = (room.row.id, device)
        if ctx.cache.parked.get(place) is False:
            continue  # looked up before: nothing waits
        waiting = ctx.ledger.events.parked(*place)
        ctx.cache.parked[place] = bool(waiting)
        for stored in waiting:
            if stored.id not in new:
                found.append(log.read_event(Event(stored.header, stored.signature, stored.body)))
    return found


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
                found.append(log.read_event(Event(later.header, later.signature, later.body)))
    return found


def _park(ctx: Context, read: Read) -> None:
    """Keep what cannot be judged yet, within the device's share of the pool."""
    stored = log.stored_event(read, ctx.now.wall_ms)
    if ctx.ledger.events.park(stored, MAX_PENDING):
        ctx.cache.parked[stored.room, stored.device] = True
        ctx.batch.wrote = True


def _take(ctx: Context, room: RoomCache, read: Read, wanted_keys: list[EpochId]) -> None:
    """Write one authentic, allowed event and let it take effect."""
    header = read.header
    device = DeviceId(header.device)
    flags = 0
    head = room.heads.get(device)
    if head is not None and header.seq <= head.seq:
        twins = ctx.ledger.events.at(room.row.id, device, header.seq)
        if twins:
            flags |= StoredEvent.FORKED
            for twin in twins:
                ctx.ledger.events.put_body(twin.id, twin.body, twin.flags | StoredEvent.FORKED)
            _warn_fork(ctx, device)
    stored = log.stored_event(read, ctx.now.wall_ms, flags)
    plain = None
    if stored.body is not None and not wire.is_control(stored.kind):
        plain = keys.open_plain(room, stored, header)
        if plain is None:
            stored = log.stored_event(read, ctx.now.wall_ms, flags | StoredEvent.KEYLESS)
            wanted_keys.append(stored.epoch)
    log.record(ctx, room, stored)
    if device == ctx.me.device:
        _warn_clone(ctx)
    _take_effect(ctx, room, stored, header, plain)


def _take_effect(
    ctx: Context, room: RoomCache, event: StoredEvent, header: Header, plain: bytes | None = None
) -> None:
    if wire.is_control(event.kind):
        views.note_have(ctx, room, event)
        _control(ctx, room, event)
        return
    if event.body is None:
        if views.lawfully_absent(ctx, event):
            views.note_have(ctx, room, event)
        views.apply(ctx, room, views.Said(event, ctx.cache.owner[event.device], None))
        return
    if plain is None:
        plain = keys.open_plain(room, event, header)
    if plain is None:
        return  # waits for its key; not in `have` until then
    views.note_have(ctx, room, event)
    body = views.read_body(event.kind, plain)
    views.apply(ctx, room, views.Said(event, ctx.cache.owner[event.device], body))


def _control(ctx: Context, room: RoomCache, event: StoredEvent) -> None:
    kind = wire.BODIES.get(event.kind)
    if kind is None or event.body is None:
        return
    body = decode(kind, event.body)
    if isinstance(body, wire.Epoch):
        keys.heard_epoch(ctx, room, event, body)
    elif isinstance(body, wire.Seal):
        epoch = keys.heard_seal(ctx, room, body)
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


def _warn_fork(ctx: Context, device: DeviceId) -> None:
    text = f"machine {device.hex()[:12]} wrote two different events in one place: both are kept and marked"
    ctx.out.append(Tell("warning", ("fork", text)))


def _warn_clone(ctx: Context) -> None:
    text = "another copy of this profile is or was in use: what it wrote has been taken in"
    ctx.out.append(Tell("warning", ("clone", text)))
