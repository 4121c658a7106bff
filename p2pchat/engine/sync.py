"""What to ask for, and what to hand over.

Decides: when and with whom sets are reconciled, which events are pushed, wanted or
given, and in what order (docs/protocol.md, "Live" and "Repair"). Does not know:
whether an event may in (receive) or what a view is.

One side asks: it learns what either side lacks, pushes a little of what the other
lacks and wants what it lacks itself, piece by piece. Where the other lacks much, it is
told to pull at its own pace, so that nobody is sent more than his queue holds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine import bodies, gossip, keys, log, people, rooms, salts
from p2pchat.engine.context import Context, Link, Recon, RoomCache, SaltKey
from p2pchat.engine.frames import FRAME_BYTES, in_frames, with_covers
from p2pchat.engine.inputs import Send
from p2pchat.engine.items import (
    WEEK_MS,
    Both,
    Items,
    ItemsFrom,
    VectorItems,
    WeekItems,
    unpack,
    week_of,
)
from p2pchat.engine.reconcile import Reconciler
from p2pchat.engine.rooms import readable_from
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.model import DIRECT, StoredEvent
from p2pchat.wire.codec import decode, portions
from p2pchat.wire.limits import MAX_RECONCILE_FRAME
from p2pchat.wire.messages.events import REVOKE, is_control
from p2pchat.wire.messages.link import Announce, Given, Pull, Reconcile, Registers, Statements, Want
from p2pchat.wire.messages.rooms import Revoke

PUSH: Final = 256
"""Pushed at most, unasked, after a reconciliation; more is pulled by the other side."""
CHUNK: Final = 256
"""Wanted at once: an answer is about 150 KiB, well inside a link's queue."""
WANTS: Final = 5
"""Wants under way at a time: checking, taking and giving go on side by side, and a transaction is filled
by what the others hold ready. Six would no longer be inside the queue."""
LISTED: Final = 64
"""Ranges of fewer items are listed: 2 KiB at most, where the last round would else have said half of it."""
_Sets = tuple[Items, dict[bytes, bytes]]
"""Items, and the way back to real ids where they are salted."""
MAX_NEED: Final = 65_536
"""Ids a run may find lacking here before it fetches them: 2 MiB that a liar can make us hold."""
SAMPLE: Final = 16
"""Of what a run found lacking: if nothing of it came, the peer does not have what it says."""
MAX_ROUNDS: Final = 256
MAX_WEEK: Final = 2**48 // WEEK_MS
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
        hand_over(ctx, link, room, ids)


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
    """Once a minute, with one random peer; every 16th time under a salt."""
    spread = REPAIR_S * (0.8 + 0.4 * ctx.entropy.random())
    ctx.timer("repair", ctx.now.mono + spread)
    numbers = sorted(ctx.live.by_device.values())
    if not numbers:
        return
    link = ctx.live.links[numbers[int(ctx.entropy.random() * len(numbers))]]
    turn = ctx.number()
    for room in rooms.common(ctx, link):
        keys.prepare_soon(ctx, room)
        if turn % SALT_EVERY == 0 and rooms.access(ctx, link, room) == rooms.ALL:
            _ask_salted(ctx, link, room)
        else:
            _ask(ctx, link, room, control=True)


def _items(
    ctx: Context, link: Link, room: RoomCache, what: Recon | Reconcile | Want, *, asking: bool
) -> _Sets:
    """The set a message is about: the whole one, or one week of it under a salt; of it what the
    two may have."""
    room_id, store = room.row.id, ctx.ledger.items
    control, salt, week = what.control, what.salt, what.week
    log.flush_items(ctx, room_id, control)
    access = rooms.access(ctx, link, room)
    out = _out(ctx, link, room)
    if out is not None and not control:
        return VectorItems(_written_by(ctx, room, out, MAX_WEEK * WEEK_MS)), {}
    if access != rooms.ALL and not control:
        return WeekItems((), _nothing, ctx.cache.weeks, ()), {}
    if access == rooms.PAST:
        acts = [ctx.ledger.events.get(one) for one in room.graph.past(link.account)]
        items = sorted((act.hlc >> log.HLC_SHIFT, bytes(act.id)) for act in acts if act is not None)
        return VectorItems(items), {}
    since_ms, older = (0, []) if control else _before(ctx, link, room)
    if salt:

        def in_week() -> list[tuple[int, bytes]]:
            found = unpack(store.packed(room_id, control, week))
            said = [item for item in older if week_of(item[0]) == week]
            return [*said, *(item for item in found if item[0] >= since_ms)]

        made = salts.of(ctx, link, room_id, SaltKey(control, week, since_ms, salt), in_week, asking=asking)
        return made.items, made.real
    rows = store.weeks(room_id, control)
    load = functools.partial(store.packed, room_id, control)
    whole = WeekItems(rows, load, ctx.cache.weeks, (room_id, control))
    recent = ItemsFrom(whole, since_ms) if since_ms else whole
    return (Both(VectorItems(older), recent) if older else recent), {}


def _affordable(ctx: Context, link: Link, room: RoomCache, what: Reconcile | Want) -> bool:
    """Whether a question may cost what it costs; else it has no answer, and the asker comes again."""
    if not what.salt:
        return True
    since_ms = 0 if what.control else _before(ctx, link, room)[0]
    key = SaltKey(what.control, what.week, since_ms, what.salt)
    return salts.may(ctx, link, room.row.id, key)


def _before(ctx: Context, link: Link, room: RoomCache) -> tuple[int, list[tuple[int, bytes]]]:
    """From which ms on both ends may have all content of a room; and what they may both have of
    the time before: what one of them wrote himself, for nobody else might ever hand it over, and
    what was written later than its date says."""
    ends = (link.account, ctx.me.account)
    theirs, ours = (-(-readable_from(ctx, room, one) >> log.HLC_SHIFT) for one in ends)
    since = max(theirs, ours)
    if not since:
        return 0, []
    author = ctx.me.account if theirs <= ours else link.account
    least = 0 if link.account == ctx.me.account else min(theirs, ours)
    found = {item for item in _written_by(ctx, room, author, since) if item[0] >= least}
    for event in rooms.late(ctx, room):
        item = (event.hlc >> log.HLC_SHIFT, bytes(event.id))
        if item[0] < since and all(rooms.may_read(ctx, room, one, event) for one in ends):
            found.add(item)
    return since, list(found)


def _out(ctx: Context, link: Link, room: RoomCache) -> AccountId | None:
    """Which of the two ends was in the room and is out."""
    former = room.graph.former
    return next((account for account in (ctx.me.account, link.account) if account in former), None)


def _written_by(ctx: Context, room: RoomCache, account: AccountId, before: int) -> list[tuple[int, bytes]]:
    """What somebody said before that ms and counts, as items."""
    known = ctx.cache.accounts.get(account)
    devices = [device for device in (known.devices if known else ()) if device in room.heads]
    said = (ctx.ledger.items.said(room.row.id, device, before) for device in devices) if before else ()
    return [(ms, bytes(one)) for run in said for ms, one in run]


def asks_past(ctx: Context, link: Link, room: RoomCache) -> bool:
    """Whether what one of the two said while he was in is still to be compared on this link."""
    both = {ctx.me.account, link.account}
    place = (link.link, room.row.id)
    one_is_in = not both.isdisjoint(room.graph.members)
    if room.row.kind == DIRECT or _out(ctx, link, room) is None or not one_is_in:
        return False
    asked = place in ctx.live.asked_past
    ctx.live.asked_past[place] = None
    return not asked


def _nothing(week: int) -> bytes:
    return b""


def _ask(ctx: Context, link: Link, room: RoomCache, *, control: bool) -> None:
    _open(ctx, link, room, Recon(link.link, room.row.id, control))


def _ask_salted(ctx: Context, link: Link, room: RoomCache) -> None:
    weeks = ctx.ledger.items.weeks(room.row.id, False)
    if weeks:
        week = weeks[int(ctx.entropy.random() * len(weeks))].week
        _open(ctx, link, room, Recon(link.link, room.row.id, False, ctx.entropy.bytes(32), week))


def _open(ctx: Context, link: Link, room: RoomCache, recon: Recon) -> None:
    for number, other in list(ctx.live.recons.items()):
        if (other.link, other.room, other.control) == (recon.link, recon.room, recon.control):
            del ctx.live.recons[number]  # the newer question replaces the one under way
    session = ctx.number()
    ctx.live.recons[session] = recon
    items, _ = _items(ctx, link, room, recon, asking=True)
    first = _reconciler(items, asking=True).initiate()
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
    if not 0 <= message.week <= MAX_WEEK or len(message.salt) > 64:
        raise RemoteProtocolError("reconciliation out of range")
    if message.asking:
        _answer(ctx, link, room, message)
        return
    recon = ctx.live.recons.get(message.session)
    if recon is None or recon.link != link.link or recon.room != message.room:
        return
    items, real = _items(ctx, link, room, recon, asking=True)
    step = _reconciler(items, asking=True).reconcile(message.message)
    give = [EventId(real.get(one, one)) for one in dict.fromkeys(step.have)]
    if recon.salt:
        lacked: Sequence[bytes] = [one for one in step.need if one not in real]
    else:
        lacked = ctx.ledger.events.missing([EventId(one) for one in step.need])
    need = dict.fromkeys((*recon.need, *lacked))
    recon = replace(recon, need=tuple(need), lacking=recon.lacking + len(give), rounds=recon.rounds + 1)
    if give and recon.lacking <= PUSH:
        hand_over(ctx, link, room, give)
    ctx.live.recons[message.session] = recon
    enough = len(need) >= MAX_NEED or recon.rounds >= MAX_ROUNDS  # another run finds the rest
    if step.reply is not None and enough:
        recon = ctx.live.recons[message.session] = replace(recon, more=recon.need[-SAMPLE:])
    if step.reply is not None and not enough:
        _say(ctx, recon, message.session, step.reply)
        return
    if recon.lacking > PUSH:
        ctx.out.append(Send(link.link, Pull(message.room)))
    _next_want(ctx, link, message.session)


def _answer(ctx: Context, link: Link, room: RoomCache, message: Reconcile) -> None:
    if not _affordable(ctx, link, room, message):
        return
    items, _ = _items(ctx, link, room, message, asking=False)
    reply = _reconciler(items, asking=False).respond(message.message)
    answer = Reconcile(
        message.room, message.control, message.session, False, message.salt, message.week, reply
    )
    ctx.out.append(Send(link.link, answer))


def _next_want(ctx: Context, link: Link, session: int) -> None:
    recon = ctx.live.recons[session]
    if not recon.need and not recon.wanting:
        _finished(ctx, link, session)
        return
    need, wanting = recon.need, recon.wanting
    while need and wanting < WANTS:
        chunk, need = need[:CHUNK], need[CHUNK:]
        wanting += 1
        want = Want(recon.room, recon.control, chunk, recon.salt, recon.week)
        ctx.out.append(Send(link.link, want, early=True))
    ctx.live.recons[session] = replace(recon, need=need, wanting=wanting)


def given(ctx: Context, link: Link, message: Given) -> None:
    """All of one want has come: want the next piece, or be done."""
    for session, recon in list(ctx.live.recons.items()):
        same = (recon.link, recon.room, recon.control) == (link.link, message.room, message.control)
        if same and recon.wanting:  # else it answers a want of the run that this one replaced
            ctx.live.recons[session] = replace(recon, wanting=recon.wanting - 1)
            _next_want(ctx, link, session)


def _finished(ctx: Context, link: Link, session: int) -> None:
    recon = ctx.live.recons.pop(session)
    room = rooms.room(ctx, recon.room)
    if recon.control and rooms.access(ctx, link, room) == rooms.ALL and ctx.me.account in room.graph.members:
        keys.ask_ahead(ctx, link, room)
        _ask(ctx, link, room, control=False)
        return
    some = [EventId(one) for one in recon.more]
    if some and not recon.salt and len(ctx.ledger.events.missing(some)) < len(some):  # it was no lie
        _ask(ctx, link, room, control=recon.control)
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
    ids = [bytes(one) for one in message.ids[:CHUNK]]
    if not 0 <= message.week <= MAX_WEEK or len(message.salt) > 64:
        raise RemoteProtocolError("want out of range")
    if not _affordable(ctx, link, room, message):
        return
    if message.salt:
        _, real = _items(ctx, link, room, message, asking=False)
        ids = [real[one] for one in ids if one in real]
    hand_over(ctx, link, room, [EventId(one) for one in ids])
    ctx.out.append(Send(link.link, Given(message.room, message.control)))


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
