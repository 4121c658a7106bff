"""What to ask for, and what to hand over.

Decides: when and with whom sets are reconciled, and which events are pushed (docs/protocol.md,
"Live" and "Repair"). Does not know: what is in a set (shares), who may have what of it (handing),
whether an event may in (receive) or what a view is.

One side asks: it learns what either side lacks, pushes a little of what the other
lacks and wants what it lacks itself, piece by piece (wants). Where the other lacks much, it is
told to pull at its own pace, so that nobody is sent more than his queue holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine import bodies, gossip, handing, keys, rooms, salts, shares, wants
from p2pchat.engine.context import Context, Link, Recon, RoomCache
from p2pchat.engine.frames import in_frames, with_covers
from p2pchat.engine.inputs import Send
from p2pchat.engine.items import WEEK_MS, Items
from p2pchat.engine.reconcile import Reconciler
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import EventId, RoomId
from p2pchat.model import DIRECT
from p2pchat.wire.limits import MAX_RECONCILE_FRAME
from p2pchat.wire.messages.events import is_control
from p2pchat.wire.messages.link import Announce, Given, Pull, Reconcile, Want

PUSH: Final = 256
"""Pushed at most, unasked, after a reconciliation; more is pulled by the other side."""
LISTED: Final = 64
"""Ranges of fewer items are listed: 2 KiB at most, where the last round would else have said half of it."""
COLD: Final = 32
"""Whose content of a room is less has not been there: its keys may be here, and what was just said."""
MAX_ROUNDS: Final = 1024
"""Of one run: 1.9 million ids, the newest of which it then wants."""
REPAIR_S: Final = 60.0
REPAIRS_AT_ONCE: Final = 16
"""Repairs of one room begun in one step: 7 ms where it has 500 members."""
SALT_EVERY: Final = 16


# -- live ------------------------------------------------------------------------------------


def push_fresh(ctx: Context) -> None:
    """At the end of a batch: own new events to every live machine of their rooms, of crowded ones to
    the neighbours."""
    for room_id, fresh in ctx.batch.fresh.items():
        room = rooms.room(ctx, room_id)
        links = gossip.audience(ctx, room, fresh)
        if links:
            frames = list(in_frames(fresh))
            ctx.out += [Send(link.link, frame) for link in links for frame in frames]


def push_on(ctx: Context) -> None:
    """At the end of a batch: what others said in crowded rooms, to those neighbours who may lack it."""
    for link, room, ids in gossip.onward(ctx):
        found = [event for event in map(ctx.ledger.events.get, ids) if event is not None]
        since = rooms.readable_from(ctx, room, link.account)
        found = [event for event in found if event.hlc >= since or is_control(event.kind)]
        found = with_covers(ctx, found)
        ctx.out.extend(Send(link.link, frame) for frame in in_frames(found))


def announced(ctx: Context, link: Link, message: Announce) -> None:
    """A peer tells what it has, or asks for what we told of."""
    asked = gossip.heard(ctx, link, message)
    if asked is not None:
        room, ids = asked
        handing.hand_over(ctx, link, room, ids)


# -- repair ------------------------------------------------------------------------------------


def begin(ctx: Context, link: Link) -> None:
    """A link has come up: repair every room we share, control first."""
    for room in rooms.common(ctx, link):
        _ask(ctx, link, room, control=True)


def begin_with(ctx: Context, link: Link, room: RoomCache) -> None:
    """A room has become known to us of which the peer has told."""
    _ask(ctx, link, room, control=True)


def begin_unheard(ctx: Context, link: Link) -> None:
    """The other side repairs what it knows of: a room it gives no sign of knowing we begin with."""
    for room in rooms.common(ctx, link):
        heard = link.device in room.heads or (link.device, ctx.me.device) in room.their_have
        if room.row.kind != DIRECT and not heard and rooms.access(ctx, link, room) != rooms.PAST:
            _ask(ctx, link, room, control=True)


def periodic(ctx: Context) -> None:
    """Once a minute, with one random peer; every 16th time under a salt. Not of a room that it is giving
    just now: that would be listed anew, and of other weeks than that under the salt no more would come."""
    spread = REPAIR_S * (0.8 + 0.4 * ctx.entropy.random())
    ctx.timer("repair", ctx.now.mono + spread)
    numbers = sorted(ctx.live.by_device.values())
    if not numbers:
        return
    link = ctx.live.links[numbers[int(ctx.entropy.random() * len(numbers))]]
    turn = ctx.number()
    for room in rooms.common(ctx, link):
        keys.prepare_soon(ctx, room)
        if wants.is_giving(ctx, link, room.row.id):
            continue
        if turn % SALT_EVERY == 0 and rooms.access(ctx, link, room) == rooms.ALL:
            _ask_salted(ctx, link, room)
        else:
            _ask(ctx, link, room, control=True)


def asks_past(ctx: Context, link: Link, room: RoomCache) -> bool:
    """Whether what one of the two said while he was in is still to be compared on this link."""
    both = {ctx.me.account, link.account}
    place = (link.link, room.row.id)
    one_is_in = not both.isdisjoint(room.graph.members)
    if room.row.kind == DIRECT or shares.out_of(ctx, link, room) is None or not one_is_in:
        return False
    asked = place in ctx.live.asked_past
    ctx.live.asked_past[place] = None
    return not asked


def _ask(ctx: Context, link: Link, room: RoomCache, *, control: bool) -> None:
    """Compare the whole of a set; of a room of which next to nothing is here the newest week first, unless
    it was compared in that week."""
    week_ago, since_ms = max(0, ctx.now.wall_ms - WEEK_MS), 0
    if not control and ctx.live.repaired.get(room.row.id, 0) <= week_ago:
        held = sum(row.count for row in ctx.ledger.items.weeks(room.row.id, False))
        since_ms = week_ago if held < COLD else 0
    _open(ctx, link, room, Recon(link.link, room.row.id, control, since_ms=since_ms))


def _ask_salted(ctx: Context, link: Link, room: RoomCache) -> None:
    weeks = ctx.ledger.items.weeks(room.row.id, False)
    if weeks:
        week = weeks[int(ctx.entropy.random() * len(weeks))].week
        _open(ctx, link, room, Recon(link.link, room.row.id, False, ctx.entropy.bytes(32), week))


def _open(ctx: Context, link: Link, room: RoomCache, recon: Recon) -> None:
    for number, other in list(ctx.live.recons.items()):
        if (other.link, other.room, other.control) == (recon.link, recon.room, recon.control):
            del ctx.live.recons[number]  # the newer question replaces the one under way
    if not recon.control:
        ctx.live.put_off.pop((recon.link, recon.room), None)
    session = ctx.number()
    ctx.live.recons[session] = recon
    items, _ = shares.items_of(ctx, link, room, recon, asking=True)
    first = _reconciler(items, asking=True).initiate(recon.since_ms)
    _say(ctx, recon, session, first)


def _reconciler(items: Items, *, asking: bool) -> Reconciler:
    return Reconciler(items, MAX_RECONCILE_FRAME, initiator=asking, list_below=LISTED)


def _say(ctx: Context, recon: Recon, session: int, message: bytes) -> None:
    said = Reconcile(recon.room, recon.control, session, True, recon.salt, recon.week, message)
    ctx.out.append(Send(recon.link, said))


def heard(ctx: Context, link: Link, message: Reconcile) -> None:
    """A negentropy message: a question to answer, or an answer to ours."""
    room = rooms.room_with(ctx, link, message.room, hear=message.control)
    if room is None:
        return
    if not 0 <= message.week <= shares.MAX_WEEK or len(message.salt) > 64:
        raise RemoteProtocolError("reconciliation out of range")
    if message.asking:
        _answer(ctx, link, room, message)
        return
    recon = ctx.live.recons.get(message.session)
    if recon is None or recon.listed or (recon.link, recon.room) != (link.link, message.room):
        return
    items, real = shares.items_of(ctx, link, room, recon, asking=True)
    step = _reconciler(items, asking=True).reconcile(message.message)
    give = [EventId(real.get(one, one)) for one in dict.fromkeys(step.have)]
    if recon.salt:
        lacked: Sequence[bytes] = [one for one in step.need if one not in real]
    else:
        lacked = ctx.ledger.events.missing([EventId(one) for one in step.need])
    recon = replace(recon, lacking=recon.lacking + len(give), rounds=recon.rounds + 1)
    if give and recon.lacking <= PUSH:
        handing.hand_over(ctx, link, room, give)
    recon = ctx.live.recons[message.session] = wants.found(ctx, recon, lacked)
    if wants.must_wait(ctx, recon):
        del ctx.live.recons[message.session]
        wants.put_off(ctx, recon)
    elif step.reply is not None and recon.rounds < MAX_ROUNDS:
        _say(ctx, recon, message.session, step.reply)
        return
    else:  # if there is more, another run finds the rest
        ctx.live.recons[message.session] = wants.listed(recon, whole=step.reply is None)
    if recon.lacking > PUSH:
        ctx.out.append(Send(link.link, Pull(message.room)))
    _go_on(ctx, link, message.session)
    wants.tell(ctx, recon.room)


def _answer(ctx: Context, link: Link, room: RoomCache, message: Reconcile) -> None:
    if not shares.affordable(ctx, link, room, message):
        return
    items, _ = shares.items_of(ctx, link, room, message, asking=False)
    reply = _reconciler(items, asking=False).respond(message.message)
    answer = Reconcile(
        message.room, message.control, message.session, False, message.salt, message.week, reply
    )
    ctx.out.append(Send(link.link, answer))


def _go_on(ctx: Context, link: Link, session: int, *, beside: bool = False) -> None:
    """Want more, or be done."""
    if session in ctx.live.recons and not wants.go_on(ctx, session, beside=beside):
        _finished(ctx, link, session)


def given(ctx: Context, link: Link, message: Given) -> None:
    """All of one want has come: want the next piece, and of others what they were not asked for meanwhile."""
    said = (link.link, message.room, message.control)
    answered = [
        session
        for session, recon in ctx.live.recons.items()
        if (recon.link, recon.room, recon.control) == said and recon.out
    ]  # else it answers a want of the run that this one replaced
    for session in answered:
        wants.given(ctx, session)
        _go_on(ctx, link, session)
    if answered and not message.control:
        _stir(ctx, RoomId(message.room))
        wants.tell(ctx, RoomId(message.room))


def _stir(ctx: Context, room_id: RoomId) -> None:
    """Runs that waited for what others give go on, and one that was put off begins, if it is their turn."""
    for session, beside in wants.awake(ctx, room_id):
        if session in ctx.live.recons:
            _go_on(ctx, ctx.live.links[ctx.live.recons[session].link], session, beside=beside)
    number = wants.due_of(ctx, room_id)
    if number is not None:
        link, room = ctx.live.links[number], rooms.room(ctx, room_id)
        if rooms.access(ctx, link, room) != rooms.NOTHING:
            _open(ctx, link, room, Recon(number, room_id, False, beside=True))


def stir_all(ctx: Context) -> None:
    """After a pause: somebody may have given nothing all the while."""
    for room_id in wants.rooms_waiting(ctx):
        _stir(ctx, room_id)
        wants.tell_end(ctx, room_id)


def _finished(ctx: Context, link: Link, session: int) -> None:
    recon = ctx.live.recons.pop(session)
    room = rooms.room(ctx, recon.room)
    if recon.control and rooms.access(ctx, link, room) == rooms.ALL and ctx.me.account in room.graph.members:
        keys.ask_ahead(ctx, link, room)
        _ask(ctx, link, room, control=False)
        return
    if recon.since_ms:
        _open(ctx, link, room, Recon(link.link, recon.room, False, beside=recon.beside))
        return
    some = [EventId(one) for one in recon.more]
    if some and not recon.salt and len(ctx.ledger.events.missing(some)) < len(some):  # it was no lie
        _open(ctx, link, room, Recon(link.link, recon.room, recon.control, beside=recon.beside))
        return
    if recon.control and asks_past(ctx, link, room):
        _ask(ctx, link, room, control=False)
        return
    ctx.live.repaired[recon.room] = ctx.now.wall_ms
    bodies.repaired(ctx, room)
    keys.ask_again(ctx, link, room)


def wanted(ctx: Context, link: Link, message: Want) -> None:
    """Give what a member asks for."""
    room = rooms.room_with(ctx, link, message.room)
    if room is None:
        return
    ids = [bytes(one) for one in message.ids[: wants.CHUNK]]
    if not 0 <= message.week <= shares.MAX_WEEK or len(message.salt) > 64:
        raise RemoteProtocolError("want out of range")
    if not shares.affordable(ctx, link, room, message):
        return
    if message.salt:
        _, real = shares.items_of(ctx, link, room, message, asking=False)
        ids = [real[one] for one in ids if one in real]
    handing.hand_over(ctx, link, room, [EventId(one) for one in ids])
    ctx.out.append(Send(link.link, Given(message.room, message.control)))


def moved(ctx: Context) -> None:
    """At the end of a batch: rooms whose members changed are repaired with whom that concerns."""
    for room_id in (*ctx.batch.entered, *ctx.batch.moved):
        room = rooms.room(ctx, room_id)
        keys.prepare_soon(ctx, room)
        if room_id in ctx.batch.entered:
            for place in [one for one in ctx.live.repairing if one[1] == room_id]:
                del ctx.live.repairing[place]
        for link in gossip.to_repair_with(ctx, room) if room.row.kind != DIRECT else ():
            if link.account != ctx.me.account:
                ctx.live.repairing.setdefault((link.link, room_id), False)
        repair_some(ctx, room)


def repair_some(ctx: Context, room: RoomCache) -> None:
    """Begin with some of those with whom a room is to be repaired; with the others in later steps."""
    room_id, begun = room.row.id, 0
    for number, _ in [one for one, asked in ctx.live.repairing.items() if one[1] == room_id and not asked]:
        link = ctx.live.links.get(number)
        if link is None or rooms.access(ctx, link, room) == rooms.NOTHING:
            del ctx.live.repairing[number, room_id]
            continue
        if begun == REPAIRS_AT_ONCE:
            ctx.timer(f"moved:{room_id.hex()}", ctx.now.mono)
            return
        begun += 1
        ctx.live.repairing[number, room_id] = True
        _ask(ctx, link, room, control=True)


def seek_acts(ctx: Context) -> None:
    """At the end of a batch: who handed over what links to acts that are not here has these acts,
    and is asked at once; whoever shows his acts to some only holds up nobody."""
    for number, room_id in ctx.batch.unjudged:
        link = ctx.live.links.get(number)
        asking = any(
            recon.control and (recon.link, recon.room) == (number, room_id)
            for recon in ctx.live.recons.values()
        )
        if link is None or asking or ctx.live.by_device.get(link.device) != number:
            continue
        room = rooms.room(ctx, room_id)
        if rooms.access(ctx, link, room) != rooms.NOTHING:  # the batch may have told who is in
            _ask(ctx, link, room, control=True)


def pull(ctx: Context, link: Link, message: Pull) -> None:
    """The other side has much for us, or lost its answers: ask, anew if we are asking already."""
    room = rooms.room_with(ctx, link, message.room, hear=True)
    if room is None:
        return
    for session, recon in list(ctx.live.recons.items()):
        if (recon.link, recon.room) == (link.link, message.room):
            del ctx.live.recons[session]
    _ask(ctx, link, room, control=True)


def begin_anew(ctx: Context, link: Link) -> None:
    """Frames for this link were dropped: what we asked, what we answered, and what we pushed."""
    link_gone(ctx, link.link)
    begin(ctx, link)
    ctx.out.extend(Send(link.link, Pull(room.row.id)) for room in rooms.common(ctx, link))


def link_gone(ctx: Context, number: int) -> None:
    """Nothing more will come of what was under way on that link."""
    for session, recon in list(ctx.live.recons.items()):
        if recon.link == number:
            del ctx.live.recons[session]
    for put_off in [key for key in ctx.live.put_off if key[0] == number]:
        del ctx.live.put_off[put_off]
    wants.tell_all(ctx)
    for asked in [key for key in ctx.live.asked_keys if key[0] == number]:
        del ctx.live.asked_keys[asked]
        ctx.live.asked_now.pop(asked, None)
    for repaired in [key for key in ctx.live.repairing if key[0] == number]:
        del ctx.live.repairing[repaired]
    for asked_past in [key for key in ctx.live.asked_past if key[0] == number]:
        del ctx.live.asked_past[asked_past]
    for passed_on in [key for key in ctx.live.passed_on if key[0] == number]:
        del ctx.live.passed_on[passed_on]
    rooms.link_gone(ctx, number)
    salts.link_gone(ctx, number)
    for told in [key for key in ctx.cache.told if key[0] == number]:
        del ctx.cache.told[told]
