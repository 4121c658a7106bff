"""In a crowded room: who is pushed to, and who only hears that there is something.

Decides: who our neighbours in a room are, what is passed on to them, what is announced to the
rest, and when something announced is asked for (docs/protocol.md, "Crowded rooms"). Does not
know: how events are packed and what a peer may have of them (sync), or whether one may in (receive).

Links stay a full mesh; a view only says over which of them events travel unasked. Neighbours agree:
whoever brings twice is told to hold, and becomes one who only announces, so that what is left of
the pushes is a tree; who misses something that was announced makes the announcer push again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine import log, rooms
from p2pchat.engine.context import Context, Link, RoomCache, Sought, View, ViewSizes
from p2pchat.engine.inputs import Send
from p2pchat.engine.log import Read
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, DeviceId, EventId, RoomId
from p2pchat.model import DIRECT, StoredEvent
from p2pchat.wire.limits import MAX_ANNOUNCED, MAX_ANNOUNCERS, MAX_SOUGHT
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages.link import GIVE, HAVE, HOLD, PART, PUSH, Announce

WAIT_S: Final = 0.5
"""So long something announced may take to come by push: ten hops of 10 ms to commit, and slow machines."""
AGAIN_S: Final = 0.5
"""The next who announced it is asked so much later: whoever announces and does not give costs no more."""
SLOW_S: Final = 0.05
"""What a neighbour pushes so long after another has announced it comes by a detour: these two change
places (as in Plumtree's optimisation, with time where that counts hops)."""
REFILL_S: Final = 30.0
"""Candidates are drawn anew at most so often: where all refuse, nobody is asked without end."""
ENTER_WITH: Final = 2
"""So many machines, and the inviter's, are asked for a crowded room by who comes in."""
PASS_ON_S: Final = 3.0
"""So long after the first of what somebody who is out said while he was in it is passed on, with the rest."""
LIVE_MS: Final = 30_000
"""What is dated further off than this was not said just now: it comes by repair, to others as to us."""


# -- what goes out ---------------------------------------------------------------------------


def audience(ctx: Context, room: RoomCache, fresh: Sequence[StoredEvent]) -> Sequence[Link]:
    """Whom own new events are pushed to; all others are told of them. Without neighbours it is all.
    Who leaves tells his other machines too: there may be nobody else to tell them."""
    links = rooms.links_of(ctx, room)
    if ctx.me.account not in room.graph.members:
        linked = (ctx.live.links[number] for number in ctx.live.by_device.values())
        links += tuple(link for link in linked if link.account == ctx.me.account)
    view = tend(ctx, room, links)
    if view is None or not view.active:
        return links
    eager = [device for device, pushed in view.active if pushed]
    rest = [link.link for link in links if link.device not in eager]
    _announce(ctx, rest, room, HAVE, [event.id for event in fresh])
    return [link for link in links if link.device in eager]


def to_repair_with(ctx: Context, room: RoomCache) -> list[Link]:
    """At the end of a batch that changed who is in: with whom the room is repaired, as far as that
    concerns them. In a crowded one whoever acted tells all, who came in asks a few, and all others
    ask their neighbours: else each would ask each, and a newcomer be given all by everybody."""
    links = [ctx.live.links[number] for number in ctx.live.by_device.values()]
    view = tend(ctx, room)
    if view is None:
        return links
    if room.row.id in ctx.batch.entered:
        member = room.graph.members.get(ctx.me.account)
        add = member and member.added_by and ctx.ledger.events.get(member.added_by)
        few = _draw(ctx, [link.device for link in rooms.links_of(ctx, room)], ENTER_WITH)
        return [link for link in links if link.device in few or (add and link.device == add.device)]
    if room.row.id in ctx.batch.fresh:
        return links
    return [link for link in links if any(link.device == device for device, _ in view.active)]


def spoken_by_former(ctx: Context, link: Link, room: RoomCache, fresh: Sequence[Read]) -> None:
    """Somebody who is out hands what he said while he was in to those he knows to be in: the others have
    it from these, who repair with them once he has had time to say all. Once for each link: whoever is
    out makes nobody work by saying one thing after the other."""
    place = (link.link, room.row.id)
    said = [read.id for read in fresh if not wire.is_control(read.header.kind)]
    if place in ctx.live.passed_on or ctx.me.account not in room.graph.members:
        return
    if len(ctx.ledger.events.missing(said)) == len(said):
        return
    ctx.live.passed_on[place] = None
    members = {one.link for one in rooms.links_of(ctx, room)}
    for one in to_repair_with(ctx, room):
        if one.link in members:
            ctx.live.repairing[one.link, room.row.id] = False
    ctx.timer(f"moved:{room.row.id.hex()}", ctx.now.mono + PASS_ON_S)


def onward(ctx: Context) -> Iterator[tuple[Link, RoomCache, list[EventId]]]:
    """At the end of a batch: what it brought goes to the neighbours who are not known to have it."""
    for room_id, heard in ctx.batch.onward.items():
        room = rooms.room(ctx, room_id)
        view = tend(ctx, room)
        for device, pushed in view.active if view is not None else ():
            ids = [one for one, knowing in heard.items() if device not in knowing]
            link = ctx.live.links[ctx.live.by_device[device]]
            if ids and pushed:
                yield link, room, ids
            elif ids:
                _announce(ctx, [link.link], room, HAVE, ids)


def _announce(
    ctx: Context, links: Iterable[int], room: RoomCache, kind: int, ids: Sequence[EventId] = ()
) -> None:
    pieces = [tuple(ids[at : at + MAX_ANNOUNCED]) for at in range(0, len(ids), MAX_ANNOUNCED)] or [()]
    said = [Announce(room.row.id, kind, piece) for piece in pieces]
    ctx.out.extend(Send(link, one) for link in links for one in said)


# -- what comes in ---------------------------------------------------------------------------


def arrived(
    ctx: Context, link: Link, room: RoomCache, fresh: Sequence[Read], known: Sequence[EventId]
) -> None:
    """A peer handed over events: of what was taken the new goes on; who pushes what is here holds."""
    if not ctx.live.sought and len(ctx.live.by_device) < _floor(ctx.sizes):
        return
    room_id, sought = room.row.id, ctx.live.sought
    gone = frozenset(ctx.ledger.events.missing([read.id for read in fresh]))
    taken = [read for read in fresh if read.id not in gone]
    knowing = {read.id: {link.device, *_told(sought.get((room_id, read.id)))} for read in taken}
    quicker = _quicker(ctx, room_id, taken)
    for read in taken:
        one = sought.get((room_id, read.id))
        if one is not None and not one.asked:
            _found(ctx, (room_id, read.id))
    view = tend(ctx, room)
    if view is None or _repairing(ctx, link, room_id):
        return
    neighbours = dict(view.active)
    if not fresh:
        eager = sum(neighbours.values())
        if known and neighbours.get(link.device) and eager > 1 and not _pulled(ctx, room_id, known):
            _announce(ctx, [link.link], room, HOLD)
            _set(ctx, room_id, view, link.device, pushed=False)
        return
    if quicker and neighbours.get(link.device) and neighbours.get(quicker) is False:
        _announce(ctx, [ctx.live.by_device[quicker]], room, PUSH)
        _announce(ctx, [link.link], room, HOLD)
        _set(ctx, room_id, view, quicker, pushed=True)
        _set(ctx, room_id, ctx.live.views[room_id], link.device, pushed=False)
    passed_on = all(read.header.device != link.device for read in taken)
    if (
        taken
        and passed_on
        and link.device not in neighbours
        and not _pulled(ctx, room_id, [read.id for read in taken])
    ):
        _befriend(ctx, link, room)  # he takes us for a neighbour: he asked before we knew that he is in
    for read in taken:
        author = DeviceId(read.header.device)
        late = abs((read.header.hlc >> log.HLC_SHIFT) - ctx.now.wall_ms) > LIVE_MS
        # An author who is no neighbour and pushes all the same does so to everybody.
        if not late and (
            _pulled(ctx, room_id, [read.id]) or author != link.device or link.device in neighbours
        ):
            who = frozenset((author, *knowing[read.id]))
            ctx.batch.onward.setdefault(room_id, {})[read.id] = who


def heard(ctx: Context, link: Link, message: Announce) -> tuple[RoomCache, tuple[EventId, ...]] | None:
    """An announcement came; what is to be handed over for it, if anything.

    RemoteProtocolError if it is out of form.
    """
    wrong = any(len(one) != ID_BYTES for one in message.ids)
    if wrong or len(message.ids) > MAX_ANNOUNCED or not HAVE <= message.kind <= PART:
        raise RemoteProtocolError("announcement out of range")
    room = rooms.room_with(ctx, link, message.room)
    if room is None or room.row.kind == DIRECT or not _both_in(ctx, link, room):
        return None
    ids = tuple(EventId(one) for one in message.ids)
    match message.kind:
        case kind if kind == HAVE:
            tend(ctx, room)  # whoever has just come finds neighbours now
            _seek(ctx, link.device, room, ids)
            return None
        case kind if kind == PUSH:
            _befriend(ctx, link, room)
        case kind if kind in (HOLD, PART):
            _let_go(ctx, link, room, wholly=kind == PART)
            return None
    return (room, ids) if ids else None


def _both_in(ctx: Context, link: Link, room: RoomCache) -> bool:
    members = room.graph.members
    return ctx.me.account in members and link.account in members


def _repairing(ctx: Context, link: Link, room: RoomId) -> bool:
    return any((recon.link, recon.room) == (link.link, room) for recon in ctx.live.recons.values())


# -- views -----------------------------------------------------------------------------------


def tend(ctx: Context, room: RoomCache, links: Sequence[Link] | None = None) -> View | None:
    """The view of a room as it should be now: made, mended or given up; None if it needs none."""
    standing, sizes = ctx.live.views.get(room.row.id), ctx.sizes
    if room.row.kind == DIRECT or (standing is None and len(ctx.live.by_device) < sizes.above):
        return None
    here = rooms.linked(ctx, room).by_device if links is None else {link.device: link.link for link in links}
    bound = sizes.above if standing is None else _floor(sizes)
    if len(here) < bound or ctx.me.account not in room.graph.members:
        if standing is not None:
            del ctx.live.views[room.row.id]
            _announce(ctx, [here[d] for d, _ in standing.active if d in here], room, PART)
        return None
    view = standing or View((), (), ctx.now.mono - REFILL_S)
    active = [(device, pushed) for device, pushed in view.active if device in here]
    passive = [device for device in view.passive if device in here]
    drawn, lacking = view.drawn, sizes.active - len(active)
    if lacking > 0:
        if len(passive) < lacking and ctx.now.mono >= drawn + REFILL_S:
            used = {*passive, *(device for device, _ in active)}
            passive += _draw(ctx, [one for one in here if one not in used], sizes.passive + lacking)
            drawn = ctx.now.mono
        promoted, passive = passive[:lacking], passive[lacking:]
        active += [(device, True) for device in promoted]
        _announce(ctx, [here[device] for device in promoted], room, PUSH)
    if active and not any(pushed for _, pushed in active):
        active = [(device, True) for device, _ in active]  # all held back at once: begin anew
        _announce(ctx, [here[device] for device, _ in active], room, PUSH)
    now = View(tuple(active), tuple(passive), drawn)
    if now != standing:
        ctx.live.views[room.row.id] = now
    return now


def _is_neighbour(ctx: Context, room: RoomId, device: DeviceId) -> bool:
    view = ctx.live.views.get(room)
    return view is not None and any(one == device for one, _ in view.active)


def gone(ctx: Context, device: DeviceId) -> None:
    """That machine is not linked any more: a candidate takes its place at once."""
    for room_id in list(ctx.live.views):
        if _is_neighbour(ctx, room_id, device):
            tend(ctx, rooms.room(ctx, room_id))


def _floor(sizes: ViewSizes) -> int:
    """Links below which no view is kept: less than makes one, or it would come and go with one machine."""
    return sizes.above * 9 // 10


def _draw(ctx: Context, devices: list[DeviceId], count: int) -> list[DeviceId]:
    """So many of them at random."""
    for at in range(min(count, len(devices))):
        other = at + int(ctx.entropy.random() * (len(devices) - at))
        devices[at], devices[other] = devices[other], devices[at]
    return devices[:count]


def _set(ctx: Context, room: RoomId, view: View, device: DeviceId, *, pushed: bool) -> None:
    active = tuple((one, pushed if one == device else was) for one, was in view.active)
    ctx.live.views[room] = replace(view, active=active)


def _befriend(ctx: Context, link: Link, room: RoomCache) -> None:
    """Somebody wants to be pushed to: a neighbour, or one who becomes one, or there is no place."""
    view = tend(ctx, room)
    if view is not None and any(device == link.device for device, _ in view.active):
        _set(ctx, room.row.id, view, link.device, pushed=True)
    elif view is not None and len(view.active) < ctx.sizes.most:
        passive = tuple(device for device in view.passive if device != link.device)
        active = (*view.active, (link.device, True))
        ctx.live.views[room.row.id] = replace(view, active=active, passive=passive)
    else:
        _announce(ctx, [link.link], room, PART)


def _let_go(ctx: Context, link: Link, room: RoomCache, *, wholly: bool) -> None:
    """A neighbour wants to be told only, or not to be one."""
    view = ctx.live.views.get(room.row.id)
    if view is None or all(device != link.device for device, _ in view.active):
        return
    if wholly:
        active = tuple(one for one in view.active if one[0] != link.device)
        ctx.live.views[room.row.id] = replace(view, active=active)
    else:
        _set(ctx, room.row.id, view, link.device, pushed=False)
    tend(ctx, room)


# -- what was announced and has not come -------------------------------------------------------


def _told(sought: Sought | None) -> tuple[DeviceId, ...]:
    return sought.told if sought is not None else ()


def _quicker(ctx: Context, room: RoomId, reads: Sequence[Read]) -> DeviceId | None:
    """A neighbour who had told of one of these long before it was pushed, and was not asked."""
    for read in reads:
        one = ctx.live.sought.get((room, read.id))
        if one is not None and one.near and not one.asked and ctx.now.mono >= one.near[1] + SLOW_S:
            return one.near[0]
    return None


def _pulled(ctx: Context, room: RoomId, ids: Sequence[EventId]) -> bool:
    """Whether any of them was asked for, so that nobody pushed it for reasons of his own."""
    return any((room, one) in ctx.live.sought and ctx.live.sought[room, one].asked for one in ids)


def _seek(ctx: Context, device: DeviceId, room: RoomCache, ids: Sequence[EventId]) -> None:
    """Remember who has what is not here; each announcer has his own share of that memory."""
    for one in ctx.ledger.events.missing(list(dict.fromkeys(ids))):
        key = (room.row.id, one)
        sought = ctx.live.sought.get(key)
        near = (device, ctx.now.mono) if _is_neighbour(ctx, room.row.id, device) else None
        if sought is not None:
            if sought.near is None and near is not None:
                sought = ctx.live.sought[key] = replace(sought, near=near)
            if device not in sought.told and len(sought.told) < MAX_ANNOUNCERS:
                ctx.live.sought[key] = replace(sought, told=(*sought.told, device))
            continue
        share = ctx.live.sought_of.get(device, 0)
        if share < MAX_SOUGHT:
            ctx.live.sought_of[device] = share + 1
            ctx.live.sought[key] = Sought(device, (device,), ctx.now.mono + WAIT_S, near=near)
            ctx.timer("gossip", ctx.now.mono + WAIT_S)


def _found(ctx: Context, key: tuple[RoomId, EventId]) -> None:
    first = ctx.live.sought.pop(key).share
    share = ctx.live.sought_of.pop(first) - 1
    if share:
        ctx.live.sought_of[first] = share


def due(ctx: Context) -> None:
    """What was announced and has not been pushed is asked for: a neighbour first, who shall push
    from now on, else whoever announced it; each is asked once."""
    ripe = [key for key, sought in ctx.live.sought.items() if sought.due <= ctx.now.mono]
    lacking = frozenset(ctx.ledger.events.missing([one for _, one in ripe]))
    asking: dict[tuple[RoomId, DeviceId], list[EventId]] = {}
    for room_id, one in ripe:
        key = (room_id, one)
        whom = _next_to_ask(ctx, key) if one in lacking else None
        if whom is None:
            _found(ctx, key)
        else:
            asking.setdefault((room_id, whom), []).append(one)
    for (room_id, device), ids in asking.items():
        room, view = rooms.room(ctx, room_id), ctx.live.views.get(room_id)
        neighbour = _is_neighbour(ctx, room_id, device)
        if view is not None and neighbour:
            _set(ctx, room_id, view, device, pushed=True)
        _announce(ctx, [ctx.live.by_device[device]], room, PUSH if neighbour else GIVE, ids)
    following = min((sought.due for sought in ctx.live.sought.values()), default=None)
    if following is not None:
        ctx.timer("gossip", following)


def _next_to_ask(ctx: Context, key: tuple[RoomId, EventId]) -> DeviceId | None:
    """The next announcer of it who is still there, noted as asked."""
    sought, view = ctx.live.sought[key], ctx.live.views.get(key[0])
    room = rooms.room(ctx, key[0])
    neighbours = [device for device, _ in view.active] if view is not None else []
    waiting = sorted(sought.told[sought.asked :], key=lambda device: device not in neighbours)
    for device in waiting:
        number = ctx.live.by_device.get(device)
        if number is not None and _both_in(ctx, ctx.live.links[number], room):
            rest = [one for one in waiting if one != device]
            told = (*sought.told[: sought.asked], device, *rest)
            ctx.live.sought[key] = replace(
                sought, told=told, asked=sought.asked + 1, due=ctx.now.mono + AGAIN_S
            )
            return device
    return None
