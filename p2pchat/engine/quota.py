"""How much strangers, and members of a room, may make us keep.

Decides: whether there is room for one more event of somebody who is neither verified nor
on a roster, or of a member of a room, and how many such people are remembered (docs/protocol.md,
"Limits"). Does
not know: disks. Refusal is local: the event stays with its author, who sees it as not
delivered, and the user is told once a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from p2pchat.engine import log, peers, rooms
from p2pchat.engine.context import Context, Quota, RoomCache
from p2pchat.engine.inputs import Tell
from p2pchat.engine.ranges import MAX_SEQ
from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.model import DIRECT
from p2pchat.wire.limits import (
    MAX_ACTS_PER_DAY,
    MAX_EVENTS_AT_ONCE,
    MAX_EVENTS_PER_MINUTE,
    MAX_MEMBER_PER_DAY,
    MAX_ROOM_PER_DAY,
    MAX_STRANGERS,
    MAX_UNVERIFIED,
    MAX_UNVERIFIED_PER_DAY,
    RECENT_MS,
)
from p2pchat.wire.messages.rooms import OFFICE

SHARES = 4
"""One stranger gets a quarter of the day's room, so that another one is still heard."""
SLACK = 100
"""So many more than MAX_STRANGERS are let in before they are sorted out, all at once."""
STATEMENTS_EACH = 4
"""On average over all of them: most people have a machine or two."""
DAY_MS = 24 * 3600 * 1000
_KEY = "quota"
_UNASKED: Final = RoomId(bytes(32))


def takes(ctx: Context, room: RoomCache, what: Load) -> bool:
    """Count in what somebody wrote, or say that there is no room for it: the verified have no bounds.

    Acts that others hand over are refused only where all that strangers may ever fill is full.
    """
    if not _is_stranger(ctx, what.account):
        return True
    fits = _strangers_fit(ctx, room, [what])
    if fits:
        _count_stranger(ctx, what)
    elif not _current(ctx).told:
        _current(ctx).told = True
        text = (
            "people you have not verified have sent more than is taken from strangers: verify them to go on"
        )
        ctx.out.append(Tell("warning", ("quota", text)))
    ctx.batch.counted = True
    return fits


def _is_stranger(ctx: Context, account: AccountId) -> bool:
    trust = ctx.cache.trust.get(account)
    return account != ctx.me.account and (trust is None or not trust.verified)


def _strangers_fit(ctx: Context, room: RoomCache, loads: Sequence[Load]) -> bool:
    """Whether there is place for all of these, of one person each."""
    quota = _current(ctx)
    own = sum(one.own for one in loads)
    return quota.total + sum(one.size for one in loads) <= MAX_UNVERIFIED and (
        not own
        or (
            quota.today + own <= MAX_UNVERIFIED_PER_DAY
            and all(
                _today(ctx.live.taken.get(one.account), quota.day) + one.own
                <= MAX_UNVERIFIED_PER_DAY // SHARES
                and not _one_too_many(ctx, room, one.account)
                for one in loads
            )
        )
    )


def _count_stranger(ctx: Context, what: Load) -> None:
    quota = _current(ctx)
    own = _today(ctx.live.taken.get(what.account), quota.day) + what.own
    ctx.live.taken[what.account] = (quota.day, own)
    quota.today += what.own
    quota.total += what.size
    ctx.batch.counted = True


class Weight(NamedTuple):
    """One event."""

    hlc: int
    size: int
    act: bool


class Load(NamedTuple):
    """What one machine's events of a frame come to."""

    account: AccountId
    device: DeviceId
    size: int
    own: int  # of it in the author's own share
    recent: int  # how many are dated within RECENT_MS of now, or ahead
    acts: int


def load_of(
    ctx: Context, account: AccountId, device: DeviceId, by: AccountId, events: Sequence[Weight]
) -> Load:
    """The load of one machine's events, handed over by `by`.

    Acts that another member hands over weigh on nobody but the room: what honest people write may
    link to them, and who was shown others instead could judge it no more.
    """
    since = log.stamp(max(0, ctx.now.wall_ms - RECENT_MS))
    size = own = recent = acts = 0
    for one in events:
        size += one.size
        if account == by or not one.act:
            own += one.size
            recent += one.hlc >= since
            acts += one.act
    return Load(account, device, size, own, recent, acts)


def takes_all(ctx: Context, room: RoomCache, loads: Sequence[Load]) -> bool:
    """Count all of a frame in at once where the room has place for it; False: ask for each event."""
    if room.row.kind == DIRECT or ctx.me.account not in room.graph.members:
        return False
    today, place = _current(ctx).day, _counted_as(ctx, room)
    whole = _today(ctx.live.taken_in.get(place), today)  # the room must have place for all of them together
    fits = len(loads) == 1 or len({one.account for one in loads}) == len(loads)
    for one in loads:
        whole += one.size
        fits = fits and _in_share(ctx, room, place, today, one)
    fits = fits and whole <= MAX_ROOM_PER_DAY
    strangers = [one for one in loads if _is_stranger(ctx, one.account)] if _is_public(room) else []
    fits = fits and (not strangers or _strangers_fit(ctx, room, strangers))
    for one in loads if fits else ():
        _count(ctx, room, place, today, one)
    for one in strangers if fits else ():
        _count_stranger(ctx, one)
    return fits


def takes_in(ctx: Context, room: RoomCache, what: Load) -> bool:
    """The same for an event of a room we are in: its members have the room's share of a day, or
    nobody could come into a long room; none of them all of it, nor more than his pace. Where
    anybody may come in, and in a direct chat, strangers have what is taken from strangers."""
    if room.row.kind == DIRECT or ctx.me.account not in room.graph.members:
        return takes(ctx, room, what)
    today, place = _current(ctx).day, _counted_as(ctx, room)
    in_room = _today(ctx.live.taken_in.get(place), today) + what.size <= MAX_ROOM_PER_DAY
    if not in_room or not _in_share(ctx, room, place, today, what):
        _tell_flood(ctx, room, what.device)
        return False
    if _is_public(room) and not takes(ctx, room, what):
        return False
    _count(ctx, room, place, today, what)
    return True


def _is_public(room: RoomCache) -> bool:
    """The lobby and open rooms: one person can come in as many."""
    return room.graph.settings.admission == OFFICE


def _tell_flood(ctx: Context, room: RoomCache, device: DeviceId) -> None:
    """Once a day for each."""
    today, place = _current(ctx).day, (room.row.id, device)
    if ctx.live.flooded.get(place) != today:
        ctx.live.flooded[place] = today
        machine, where = device.hex()[:12], room.row.id.hex()[:12]
        text = f"machine {machine} writes more in room {where} than is taken: the rest is left out for now"
        ctx.out.append(Tell("warning", ("quota", text)))


def _in_share(ctx: Context, room: RoomCache, place: RoomId, today: int, what: Load) -> bool:
    """Whether it is within a member's share of the room's day, and his machine's pace."""
    live, member = ctx.live, (place, what.account)
    if what.account == ctx.me.account:
        return True
    return (
        _today(live.taken_by.get(member), today) + what.own <= MAX_MEMBER_PER_DAY
        and (not what.acts or _today(live.acts_by.get(member), today) + what.acts <= MAX_ACTS_PER_DAY)
        and what.recent <= _spare(ctx, room, what.device)
    )


def _count(ctx: Context, room: RoomCache, place: RoomId, today: int, what: Load) -> None:
    live, member = ctx.live, (place, what.account)
    live.taken_in[place] = (today, _today(live.taken_in.get(place), today) + what.size)
    live.taken_by[member] = (today, _today(live.taken_by.get(member), today) + what.own)
    if what.acts:
        live.acts_by[member] = (today, _today(live.acts_by.get(member), today) + what.acts)
    if what.recent:
        left = max(0.0, _spare(ctx, room, what.device) - what.recent)
        live.pace[room.row.id, what.device] = (left, ctx.now.mono)


def _today(counted: tuple[int, int] | None, today: int) -> int:
    return counted[1] if counted is not None and counted[0] == today else 0


def _spare(ctx: Context, room: RoomCache, device: DeviceId) -> float:
    left, since = ctx.live.pace.get((room.row.id, device), (float(MAX_EVENTS_AT_ONCE), ctx.now.mono))
    return min(MAX_EVENTS_AT_ONCE, left + (ctx.now.mono - since) * MAX_EVENTS_PER_MINUTE / 60)


def _counted_as(ctx: Context, room: RoomCache) -> RoomId:
    """The room itself; all together those in which we never wrote and into which somebody not
    verified brought us: he could make as many as he likes."""
    return room.row.id if rooms.is_ours(ctx, room) else _UNASKED


def _one_too_many(ctx: Context, room: RoomCache, account: AccountId) -> bool:
    """Whether this would be the first word of somebody new, where too many are known already."""
    if len(ctx.cache.trust) <= 2 * MAX_STRANGERS or account in ctx.live.taken:
        return False
    known = ctx.cache.accounts.get(account)
    spoke = any(device in room.heads for device in (known.devices if known else ()))
    return not spoke and not ctx.ledger.events.heads(rooms.direct_id(ctx.me.account, account))


def sort_out(ctx: Context, newest: AccountId) -> None:
    """Forget whom nobody exchanged a word with, longest unseen first, down to MAX_STRANGERS people
    and what so many people state.

    They are pinned anew when they come again. Kept are those with a link, a draft, a place
    in a room, an address given by hand, or events of theirs that wait.
    """
    most = MAX_STRANGERS + SLACK
    weight = sum([len(known.signed) for known in ctx.cache.accounts.values()])
    if len(ctx.cache.trust) <= most and weight <= most * STATEMENTS_EACH:
        return
    idle = ctx.ledger.people.idle()
    spare = max(len(idle) - MAX_STRANGERS, 0) if len(idle) > most else 0
    weight = _weight(ctx, idle[spare:])
    if weight > most * STATEMENTS_EACH:
        while spare < len(idle) and weight > MAX_STRANGERS * STATEMENTS_EACH:
            weight -= _weight(ctx, idle[spare : spare + 1])
            spare += 1
    here = {link.account for link in ctx.live.links.values()} | {newest, ctx.me.account}
    drafts = {draft.room for draft in ctx.ledger.outbox.drafts()}
    inside = members(ctx)
    wanted = {row.device for row in ctx.cache.addresses.values() if row.static}
    gone: list[AccountId] = []
    for account in idle[:spare]:
        room = rooms.direct_id(ctx.me.account, account)
        machines = ctx.cache.accounts[account].devices if account in ctx.cache.accounts else {}
        waits = any(
            device in wanted or ctx.ledger.events.parked(room, device, 0, MAX_SEQ) for device in machines
        )
        if account not in here and account not in inside and room not in drafts and not waits:
            gone.append(account)
    if gone:
        forget(ctx, gone)


def members(ctx: Context) -> set[AccountId]:
    """Everybody who is or was in a room known here, or of which somebody has told."""
    ids = [row.id for row in ctx.cache.known_rooms.values() if row.peer is None]
    return {account for one in (*ids, *ctx.live.heard_of) for account in _of_room(ctx, rooms.room(ctx, one))}


def _of_room(ctx: Context, room: RoomCache) -> Iterable[AccountId]:
    """Who is in a room, or wrote in it: his statements are needed as long as his words."""
    yield from room.accounts
    yield from room.graph.former
    yield from (ctx.cache.owner[device] for device in room.heads)


def _weight(ctx: Context, accounts: Iterable[AccountId]) -> int:
    """How many statements these people have."""
    known = (ctx.cache.accounts.get(account) for account in accounts)
    return sum(len(account.signed) for account in known if account is not None)


def forget(ctx: Context, gone: list[AccountId]) -> None:
    """These people as if never met or heard of."""
    cache, live = ctx.cache, ctx.live
    devices = [
        device for account in gone if account in cache.accounts for device in cache.accounts[account].devices
    ]
    peers.forget(ctx, devices)
    for device in devices:
        cache.owner.pop(device, None)
        cache.prekeys.pop(device, None)
        live.last_seen.pop(device, None)
        live.introducers.pop(device, None)
        live.reach.pop(device, None)
    for account in gone:
        live.held_of.pop(account, None)
        live.presence.withheld.pop(account, None)
        room = rooms.direct_id(ctx.me.account, account)
        cache.known_rooms.pop(room, None)
        cache.rooms.pop(room, None)
        live.repaired.pop(room, None)
        cache.accounts.pop(account, None)
        cache.profiles.pop(account, None)
        cache.trust.pop(account, None)
    cache.names_changed()
    ctx.ledger.people.drop_people(gone, devices)
    ctx.batch.wrote = True


def used_up(ctx: Context) -> bool:
    """Whether something was refused today for lack of room."""
    return _current(ctx).told


def close(ctx: Context) -> None:
    """At the end of a batch: what was counted is part of it."""
    quota = ctx.cache.quota
    if ctx.batch.counted and quota is not None:
        numbers = (quota.day, quota.today, quota.total, int(quota.told))
        ctx.ledger.people.put_value(_KEY, b"".join(n.to_bytes(8, "big") for n in numbers))
        ctx.batch.wrote = True


def load(ctx: Context) -> None:
    """Read what has been counted so far."""
    kept = ctx.ledger.people.value(_KEY) or bytes(32)
    numbers = [int.from_bytes(kept[at : at + 8], "big") for at in range(0, 32, 8)]
    ctx.cache.quota = Quota(numbers[0], numbers[1], numbers[2], bool(numbers[3]))


def _current(ctx: Context) -> Quota:
    day = max(0, ctx.now.wall_ms) // DAY_MS
    quota = ctx.cache.quota
    if quota is None:
        quota = ctx.cache.quota = Quota(day, 0, 0, False)
    if quota.day != day:
        ctx.live.taken.clear()
        ctx.live.taken_by.clear()
        ctx.live.acts_by.clear()
        quota = ctx.cache.quota = Quota(day, 0, quota.total, False)
    return quota
