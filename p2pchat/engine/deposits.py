"""Who is asked to keep what waits for somebody, and what he is given: deposits.

Decides: which machines may hold, what is entrusted to which of them, and what goes along so that
whoever it is for can judge and read it (docs/protocol.md, "Holders"). Does not know: when (custody),
or what a holder takes (holders).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from p2pchat.engine import frames, kept, log, names, ranges, rooms
from p2pchat.engine.context import Context, Entrusted, Link, RoomCache
from p2pchat.engine.holders import FULL, REFUSED
from p2pchat.engine.inputs import Send
from p2pchat.engine.ranges import Ranges
from p2pchat.ids import AccountId, DeviceId, EpochId, EventId
from p2pchat.model import DIRECT, StoredEvent
from p2pchat.wire.codec import decode, portions
from p2pchat.wire.limits import HOLD_MS, MAX_HELD_FOR, MAX_HELD_MACHINES
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages.holders import Deposit, For

COPIES: Final = 2
"""Holders wanted of one event: one of them may lie, or not come back."""
PORTION: Final = 192 * 1024
"""Entrusted at once to one machine: inside a link's queue."""
AT_ONCE: Final = 512
"""And so many events: they are read from the archive in one step."""
ANSWER_S: Final = 15.0
"""No answer to a deposit within this time: it is made again."""
TRIES: Final = 2
"""So often without an answer; then he counts as one who took nothing: it is 192 KiB each time."""
REFUSED_S: Final = 600.0
"""Whoever took nothing of a room is not asked again before."""
ANOTHER: Final = "verify somebody who stays on: `p2pchat trust verify NAME`"
MARGIN_MS: Final = 3600 * 1000
"""What would be held for less than this is not entrusted any more."""


# -- who -------------------------------------------------------------------------------------


def reachable(ctx: Context, account: AccountId) -> bool:
    """Whether he will ever come: not if he is blocked, or no machine of his is left."""
    known, trust = ctx.cache.accounts.get(account), ctx.cache.trust.get(account)
    return known is not None and not known.revoked and not (trust is not None and trust.blocked)


def expired(ctx: Context, room: RoomCache) -> Ranges:
    """Own numbers too old to be held. A chain's clock does not go back, so they are its beginning."""
    limit = log.stamp(max(0, ctx.now.wall_ms - HOLD_MS + MARGIN_MS))
    head = room.heads[ctx.me.device]
    low, high = 1, head.seq + 1
    while low < high:
        middle = (low + high) // 2
        at = ctx.ledger.events.at(room.row.id, ctx.me.device, middle)
        if at and at[0].hlc >= limit:
            high = middle
        else:
            low = middle + 1
    return ((1, low - 1),) if low > 1 else ()


def may_hold(ctx: Context, link: Link) -> bool:
    """Only people whose key the user has convinced himself of, and at machines that will come back."""
    trust, machine = ctx.cache.trust.get(link.account), rooms.machine(ctx, link.device)
    if link.account == ctx.me.account or trust is None or not trust.verified:
        return False
    return reachable(ctx, link.account) and machine is not None and not machine.revoked


def _candidates(ctx: Context, room: RoomCache) -> list[Link]:
    """Verified people outside the room who are here, one machine of each, the longest here first."""
    found: dict[AccountId, Link] = {}
    links = (ctx.live.links[number] for number in ctx.live.by_device.values())
    for link in sorted(links, key=lambda one: (one.since, one.device)):
        if may_hold(ctx, link) and link.account not in room.accounts and not _refuses(ctx, link, room):
            found.setdefault(link.account, link)
    return list(found.values())


def _refuses(ctx: Context, link: Link, room: RoomCache) -> str:
    """Why he took nothing of that room a moment ago; empty if he did not refuse."""
    at, why = ctx.live.took_nothing.get((link.device, room.row.id), (-math.inf, ""))
    return why if ctx.now.mono - at < REFUSED_S else ""


def why_not(ctx: Context, room: RoomCache) -> tuple[str, str]:
    """Why nobody holds what waits in a room, and what to do about it, for people; empty if nothing is
    known."""
    here = [ctx.live.links[number] for number in ctx.live.by_device.values()]
    able = [link for link in here if may_hold(ctx, link) and link.account not in room.accounts]
    if able:
        reasons = {_refuses(ctx, link, room): names.shown(ctx, link.account) for link in able}
        if FULL in reasons:
            return f"{reasons[FULL]} has no room for more of yours", ANOTHER
        for why, who in reasons.items():
            if why:
                return f"{who} does not hold it", ANOTHER
        return "", ""
    if any(link.account in room.accounts for link in here):
        return "", ""
    return "nobody is here whose key you have verified", ANOTHER


def entrust(ctx: Context, room: RoomCache, lacks: dict[AccountId, Ranges]) -> None:
    here = {ctx.live.links[number].account for number in ctx.live.by_device.values()}
    away = {account: lacks[account] for account in sorted(lacks) if account not in here}
    away = dict(list(away.items())[:MAX_HELD_FOR])
    candidates = _candidates(ctx, room) if away else []
    if not candidates:
        return
    copies = [held for (_, author), held in room.custody.items() if author == ctx.me.device]
    enough = ranges.union(_at_least(copies, COPIES), expired(ctx, room))
    wanted = _readable(ctx, room, {who: ranges.minus(lacks, enough) for who, lacks in away.items()})
    for link in candidates:
        place = (link.link, room.row.id)
        short = ranges.minus(wanted, _at_least(copies, COPIES))
        mine = kept.of(room, link.device, ctx.me.device)
        pending = ctx.live.entrusted.get(place)
        if pending is not None and ctx.now.mono - pending.at < ANSWER_S:
            copies.append(ranges.minus(wanted, mine))
            continue
        if pending is not None and pending.tries >= TRIES:
            del ctx.live.entrusted[place]
            ctx.live.took_nothing[link.device, room.row.id] = (ctx.now.mono, REFUSED)
            continue
        todo = ranges.minus(short, mine)
        if todo:
            _deposit(ctx, room, link, todo, [*away, *(one for one in lacks if one not in away)])
            copies.append(ranges.minus(todo, mine))


def again(ctx: Context, room: RoomCache) -> float:
    """When to see to it again if nothing happens: an answer does not come, or who took nothing may
    have room."""
    asked = [one.at + ANSWER_S for (_, where), one in ctx.live.entrusted.items() if where == room.row.id]
    refused = [
        at + REFUSED_S
        for (device, where), (at, _) in ctx.live.took_nothing.items()
        if where == room.row.id and device in ctx.live.by_device
    ]
    return min((at for at in (*asked, *refused) if at > ctx.now.mono), default=math.inf)


def _at_least(copies: Sequence[Ranges], count: int) -> Ranges:
    """Numbers that are in so many of `copies`."""
    reached: list[Ranges] = [()] * count
    for one in copies:
        for at in range(count - 1, 0, -1):
            reached[at] = ranges.union(reached[at], ranges.both(reached[at - 1], one))
        reached[0] = ranges.union(reached[0], one)
    return reached[-1]


def _readable(ctx: Context, room: RoomCache, away: dict[AccountId, Ranges]) -> Ranges:
    """Of what they lack all that one of them could read: a body whose key is sealed for none of a
    person's machines would lie with a holder for nothing."""
    sealed: dict[EpochId, set[DeviceId]] = {}
    for event in ctx.ledger.events.control(room.row.id):
        if event.kind == wire.SEAL and event.body is not None:
            body = decode(wire.Seal, event.body)
            sealed.setdefault(EpochId(body.epoch_id), set()).update(DeviceId(k.device) for k in body.keys)
    found: Ranges = ()
    for account, lacks in away.items():
        machines = {device.id for device in ctx.cache.accounts[account].active()}
        unread = {epoch for epoch in room.epochs if machines.isdisjoint(sealed.get(epoch, ()))}
        found = ranges.union(found, _not_under(ctx, room, unread, lacks) if unread else lacks)
    return found


def _not_under(ctx: Context, room: RoomCache, epochs: set[EpochId], numbers: Ranges) -> Ranges:
    """Those of our numbers that are not sealed under these epochs; of many the first."""
    found: Ranges = ()
    for low, high in reversed(numbers):
        for event in ctx.ledger.events.run(room.row.id, ctx.me.device, low, high, AT_ONCE):
            if event.epoch not in epochs:
                found = ranges.add(found, event.seq)
    return found


# -- deposits --------------------------------------------------------------------------------


def _deposit(ctx: Context, room: RoomCache, link: Link, todo: Ranges, people: list[AccountId]) -> None:
    """Entrust these own events, or the first of them, with the acts they are judged by."""
    chosen: dict[EventId, StoredEvent] = {}
    size = 0
    for low, high in reversed(todo):
        for event in ctx.ledger.events.run(room.row.id, ctx.me.device, low, high, AT_ONCE):
            if size > PORTION or len(chosen) >= AT_ONCE:
                break
            chosen[event.id] = event
            size += len(event.header) + len(event.body or b"") + 80
    own = frames.with_covers(ctx, list(chosen.values()))
    people = people[: MAX_HELD_FOR - 1]
    before = ctx.live.named.get((link.device, room.row.id), frozenset())
    ctx.live.named[link.device, room.row.id] = before | set(people)
    others = _acts_behind(ctx, room, link, own, people, anew=not before.issuperset(people))
    events = frames.behind_what_they_name((*others, *own))
    to = _named(ctx, room, people)
    pair = tuple(sorted(room.accounts)) if room.row.kind == DIRECT else ()
    known = {ctx.cache.owner[event.device]: None for event in others}
    signed = [
        one
        for account in known
        if account not in (ctx.me.account, link.account)
        for one in ctx.cache.accounts[account].signed
    ]
    room_id, said = bytes(room.row.id), 0
    for run in portions(signed, frames.FRAME_BYTES):
        ctx.out.append(Send(link.link, Deposit(room_id, pair, to, run, ())))
        said += 1
    for frame in frames.in_frames(events):
        ctx.out.append(Send(link.link, Deposit(room_id, pair, to, (), frame.events)))
        said += 1
    asked: dict[DeviceId, Ranges] = {}
    for event in events:
        asked[event.device] = ranges.add(asked.get(event.device, ()), event.seq)
    place = (link.link, room.row.id)
    unanswered = ctx.live.entrusted.get(place)
    tries = 1 if unanswered is None else unanswered.tries + 1
    ctx.live.entrusted[place] = Entrusted(ctx.now.mono, tuple(asked.items()), said, False, tries)


def _named(ctx: Context, room: RoomCache, people: list[AccountId]) -> tuple[For, ...]:
    """For whom: those who are away, and ourselves, whose other machines may have it too."""
    found, left = [For(ctx.me.account, ())], MAX_HELD_MACHINES - 1
    for account in people:
        active = ctx.cache.accounts[account].active()
        machines = tuple(bytes(d.id) for d in active if d.id not in room.graph.revoked)[:left]
        left -= len(machines) + 1
        if machines:
            found.append(For(account, machines))
    return tuple(found)


def _acts_behind(
    ctx: Context,
    room: RoomCache,
    link: Link,
    own: Sequence[StoredEvent],
    people: Sequence[AccountId],
    *,
    anew: bool,
) -> list[StoredEvent]:
    """Acts behind these events but for those that this holder has, unless he is to hold them `anew` for
    more people, and for those that every machine of these people has: of ours what it said so of, and
    in a direct chat what somebody wrote at his only machine."""
    machines = [machine.id for one in people for machine in ctx.cache.accounts[one].active()]
    alone = room.row.kind == DIRECT and len(machines) == len(people)

    def is_there(act: StoredEvent) -> bool:
        if act.device == ctx.me.device:
            told = [room.their_have.get((one, ctx.me.device), ()) for one in machines]
            return all(ranges.contains(said, act.seq) for said in told)
        return alone and ctx.cache.owner[act.device] != ctx.me.account

    found: dict[EventId, StoredEvent] = {}
    seen: set[EventId] = set()
    ahead = [EventId(one) for event in own for one in decode(wire.Header, event.header).auth]
    while ahead:
        identity = ahead.pop()
        if identity in seen:
            continue
        seen.add(identity)
        act = ctx.ledger.events.get(identity)
        if act is None:
            continue
        given = ranges.contains(kept.of(room, link.device, act.device), act.seq)
        if given and not anew:
            continue
        if not is_there(act):
            found[identity] = act
        ahead += [EventId(one) for one in decode(wire.Header, act.header).auth]
    chosen = {event.id for event in own}
    return [act for identity, act in found.items() if identity not in chosen]
