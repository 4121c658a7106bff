"""Keeping for others: the holder's side.

Decides: what is taken into custody and of whom, to whom it is handed over, and when it is given
up (docs/protocol.md, "Holders"). Does not know: what the bodies say, who is in the room, or
whether an act has right behind it: signatures are looked at here, rights by whoever it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pchat.engine import acts, frames, hearsay, log, people, ranges, rooms
from p2pchat.engine.context import Context, Link
from p2pchat.engine.inputs import Send
from p2pchat.engine.log import Read
from p2pchat.engine.ranges import Ranges
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EventId, RoomId
from p2pchat.model import ROOM, HeldEvent, RegisterRow
from p2pchat.wire.codec import portions
from p2pchat.wire.limits import (
    HOLD_MS,
    MAX_HAVE_RANGES,
    MAX_HELD,
    MAX_HELD_FOR,
    MAX_HELD_MACHINES,
    MAX_HELD_PER_DAY,
    MAX_HELD_STRANGERS,
    MAX_TOPS,
)
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages.events import Event
from p2pchat.wire.messages.holders import (
    Claim,
    Deposit,
    For,
    Handed,
    Holding,
    Kept,
    Top,
    Waiting,
    Withdraw,
)
from p2pchat.wire.messages.link import RegisterOffer, Registers
from p2pchat.wire.messages.registers import HAVE

FULL: Final = "full"
REFUSED: Final = "refused"
STRANGER: Final = "stranger"
UNKNOWN: Final = "unknown"
"""Why something is not held: there is no room · it is for somebody blocked here, or for us · its
author is not known here · neither it is for whom."""
CLAIMED: Final = 64
"""Events looked up for one claim; what does not fit one frame comes with the next."""
MAX_WITHDRAWN: Final = 64
"""Ranges in one frame: each is looked up in the archive."""
ROW_BYTES: Final = 200
NAME_BYTES: Final = 100
"""What an event held, and each name by it, counts beside its own bytes."""
DAY_MS: Final = 24 * 3600 * 1000
EXPIRY_S: Final = 3600.0
COUNTED_S: Final = 60.0
"""So long the sum of what is held of strangers is gone by."""

Taken = dict[DeviceId, list[tuple[int, EventId]]]
"""Of a deposit, by author: number and id of each event that is held."""


# -- deposits -------------------------------------------------------------------------------


def deposit(ctx: Context, link: Link, message: Deposit) -> None:
    """Somebody asks us to keep events of his for people who are away."""
    to, refused = _for_whom(ctx, link, message)
    taken: Taken = {}
    if not refused:
        if message.statements and _is_verified(ctx, link.account):
            people.learn_statements(ctx, message.statements, None)
            hearsay.sort_out(ctx, link.account)
        taken, refused = _take(ctx, link, message, to)
    answer = tuple(Kept(bytes(author), _numbers(tops)) for author, tops in sorted(taken.items()))
    ctx.out.append(Send(link.link, Holding(message.room, answer, refused)))
    people_meant = {account for account, _ in to} if taken else set()
    # Of this alone: what else is held for them they were told, and looking for it walks over all of that.
    newest = {author: max(events)[1] for author, events in taken.items()}
    for number in ctx.live.by_device.values():
        other = ctx.live.links[number]
        if other.account in people_meant and other.link != link.link:
            tops = [Top(message.room, bytes(a), event) for a, event in newest.items() if a != other.device]
            if tops:
                ctx.out.append(Send(other.link, Waiting(tuple(tops[:MAX_TOPS]))))


def _numbers(events: list[tuple[int, EventId]]) -> Ranges:
    found: Ranges = ()
    for seq, _ in events:
        found = ranges.add(found, seq)
    return found


def _for_whom(ctx: Context, link: Link, message: Deposit) -> tuple[list[tuple[AccountId, DeviceId]], str]:
    """People and machines it would be held for; why it will not be. RemoteProtocolError if it has no form."""
    _check_form(message.to, message.pair)
    pair = sorted(AccountId(one) for one in message.pair)
    if len(message.room) != ID_BYTES:
        raise RemoteProtocolError("deposit for no room")
    if pair and (
        bytes(rooms.direct_id(pair[0], pair[1])) != message.room
        or link.account not in pair
        or any(one.account not in message.pair for one in message.to)
    ):
        raise RemoteProtocolError("deposit for a chat of others")
    if RoomId(message.room) in ctx.cache.known_rooms or ctx.me.account in pair:
        return [], REFUSED  # who is in the room has what is said there
    found: list[tuple[AccountId, DeviceId]] = []
    unknown = False
    for one in message.to:
        account = AccountId(one.account)
        trust = ctx.cache.trust.get(account)
        if account == ctx.me.account or (trust is not None and trust.blocked):
            continue
        if account not in ctx.cache.accounts and not _is_verified(ctx, link.account):
            unknown = True  # he may never come here, and nobody here vouches for who says he will
            continue
        found.append((account, DeviceId(b"")))
        found += [(account, DeviceId(device)) for device in one.devices]
    if all(account == link.account for account, _ in found):
        return [], UNKNOWN if unknown else REFUSED
    return found, ""


def _check_form(to: Sequence[For], pair: Sequence[bytes]) -> None:
    machines = [device for one in to for device in one.devices]
    if not 0 < len(to) <= MAX_HELD_FOR or len(machines) > MAX_HELD_MACHINES or len(pair) not in (0, 2):
        raise RemoteProtocolError("deposit for nobody, or too many")
    if {len(one) for one in (*machines, *pair, *(one.account for one in to))} != {ID_BYTES}:
        raise RemoteProtocolError("deposit with wrong lengths")


def _is_verified(ctx: Context, account: AccountId) -> bool:
    trust = ctx.cache.trust.get(account)
    return trust is not None and trust.verified and not trust.blocked


def _take(
    ctx: Context, link: Link, message: Deposit, to: list[tuple[AccountId, DeviceId]]
) -> tuple[Taken, str]:
    """Keep what is the depositor's own, or an act whose signature holds; and why not all of it."""
    reads = [log.read_event(event) for event in message.events]
    for read in reads:
        acts.checked_body(read)
        if read.room != message.room:
            raise RemoteProtocolError("deposit of another room's event")
    good = [read for read in reads if _is_his(ctx, link, read)]

    def holds(read: Read) -> bool:
        machine = rooms.machine(ctx, DeviceId(read.header.device))
        return machine is not None and log.signature_holds(read, machine.signing)

    authentic = log.covered(good, holds, lambda read: False)
    good = [read for read in good if authentic[read.id]]
    already = ctx.ledger.holdings.held_already(link.account, [read.id for read in good]) if good else set()
    taken: Taken = {}
    refused = STRANGER if len(good) < len(reads) else ""
    sizes = {
        read.id: NAME_BYTES * len(to) + (0 if read.id in already else ROW_BYTES + log.size(read.event))
        for read in good
    }
    fitting, total = 0, 0
    room = _room_left(ctx, link) if good else 0
    while fitting < len(good) and total + sizes[good[fitting].id] <= room:
        total += sizes[good[fitting].id]
        fitting += 1
    if fitting < len(good):
        refused = FULL
        while fitting and not good[fitting - 1].event.signature:
            fitting -= 1  # without its cover nobody could judge it
    for read in good[:fitting]:
        _count(ctx, link, sizes[read.id])
        author = DeviceId(read.header.device)
        ctx.ledger.holdings.hold(_held(ctx, link, read), [one for one in to if one[1] != author])
        ctx.batch.wrote = True
        taken.setdefault(author, []).append((read.header.seq, read.id))
    return taken, refused


def _is_his(ctx: Context, link: Link, read: Read) -> bool:
    """What somebody said only he deposits; acts behind it are whoever's, if he is known here."""
    owner = ctx.cache.owner.get(DeviceId(read.header.device))
    return owner == link.account or (owner is not None and wire.is_control(read.header.kind))


def _held(ctx: Context, link: Link, read: Read) -> HeldEvent:
    control = wire.is_control(read.header.kind)
    now = ctx.now.wall_ms
    since = now if control else min(now, read.header.hlc >> log.HLC_SHIFT)
    return HeldEvent(
        read.id, link.account, link.device, read.room, DeviceId(read.header.device), read.header.seq,
        control, now, since + HOLD_MS, read.event.header, read.event.signature, read.event.body,
    )  # fmt: skip


def own_left(ctx: Context) -> int:
    """How many bytes more we may keep of ourselves for others today."""
    day = max(0, ctx.now.wall_ms) // DAY_MS * DAY_MS
    return MAX_HELD_PER_DAY - ctx.ledger.holdings.taken_since(ctx.me.account, day)


def _room_left(ctx: Context, link: Link) -> int:
    """How many bytes more there is room for of this person."""
    holdings, day = ctx.ledger.holdings, max(0, ctx.now.wall_ms) // DAY_MS
    since, taken = ctx.live.held_of.get(link.account, (day, 0))
    if since != day or link.account not in ctx.live.held_of:
        taken = holdings.taken_since(link.account, day * DAY_MS)
        ctx.live.held_of[link.account] = (day, taken)
    left = min(MAX_HELD_PER_DAY - taken, MAX_HELD - holdings.held_bytes())
    return left if _is_verified(ctx, link.account) else min(left, MAX_HELD_STRANGERS - _of_strangers(ctx))


def _of_strangers(ctx: Context) -> int:
    """Bytes held of all who are not verified: added up once in a while, for it takes a look at each row of
    theirs. What was given up since counts until then."""
    at, held = ctx.live.held_strange
    if ctx.now.mono >= at + COUNTED_S:
        known = ctx.ledger.holdings.depositors()
        strangers = [one for one in known if one != ctx.me.account and not _is_verified(ctx, one)]
        held = ctx.ledger.holdings.held_bytes(strangers)
        ctx.live.held_strange = (ctx.now.mono, held)
    return held


def _count(ctx: Context, link: Link, size: int) -> None:
    day, taken = ctx.live.held_of[link.account]
    ctx.live.held_of[link.account] = (day, taken + size)
    at, held = ctx.live.held_strange
    if not _is_verified(ctx, link.account):
        ctx.live.held_strange = (at, held + size)


def withdraw(ctx: Context, link: Link, message: Withdraw) -> None:
    """Who deposited something needs it held no longer."""
    if sum(len(one.ranges) for one in message.kept) > MAX_WITHDRAWN:
        raise RemoteProtocolError("too much withdrawn")
    for one in message.kept:
        said = ranges.checked(one.ranges, MAX_WITHDRAWN)
        ctx.ledger.holdings.withdraw(link.account, message.room, one.author, said)
        ctx.batch.wrote = True


# -- handing over -----------------------------------------------------------------------------


def met(ctx: Context, link: Link) -> None:
    """A link has come up: what is held for this person, and what others said of what he deposited."""
    tell_waiting(ctx, link)
    known = ctx.cache.accounts[link.account]
    rows = []
    for author in known.devices:
        for room, device in ctx.ledger.holdings.owed_words(author):
            row = ctx.ledger.people.register(device, HAVE, room, author)
            if row is not None:
                rows.append(people.name_of(row))
    for at in range(0, len(rows), MAX_TOPS):
        ctx.out.append(Send(link.link, RegisterOffer(tuple(rows[at : at + MAX_TOPS]))))


def tell_waiting(ctx: Context, link: Link) -> None:
    """Say that something is held for him, if so."""
    tops = ctx.ledger.holdings.tops(link.account, link.device, MAX_TOPS)
    if tops:
        ctx.out.append(
            Send(link.link, Waiting(tuple(Top(room, author, event) for room, author, event in tops)))
        )


def claim(ctx: Context, link: Link, message: Claim) -> None:
    """Hand over a frame of what is held for the person at the other end."""
    if not 0 <= message.after < 2**63:
        raise RemoteProtocolError("claim out of range")
    control, after = message.control, message.after
    found = ctx.ledger.holdings.claimed(link.account, link.device, control, after, CLAIMED)
    if not found and control:
        control, after = False, 0
        found = ctx.ledger.holdings.claimed(link.account, link.device, control, after, CLAIMED)
    fitting: list[HeldEvent] = []
    size = 0
    for held in found:
        size += len(held.header) + len(held.signature) + len(held.body or b"") + 16
        if fitting and size > frames.FRAME_BYTES:
            break
        fitting.append(held)
    more = control or len(fitting) < len(found) or len(found) == CLAIMED
    place = fitting[-1].place if fitting else after
    _introduce(ctx, link, fitting, control, after)
    events = tuple(Event(one.header, one.signature, one.body) for one in fitting)
    ctx.out.append(Send(link.link, Handed((), events, control, place, False, more)))


def _introduce(ctx: Context, link: Link, found: list[HeldEvent], control: bool, after: int) -> None:
    """Statements of the authors he may not know, once on a link."""
    owners = dict.fromkeys(ctx.cache.owner[one.author] for one in found if one.author in ctx.cache.owner)
    fresh = [
        owner
        for owner in owners
        if owner != link.account
        and ctx.cache.told.get((link.link, owner)) != len(ctx.cache.accounts[owner].signed)
    ]
    signed = [one for owner in fresh for one in ctx.cache.accounts[owner].signed]
    for run in portions(signed, frames.FRAME_BYTES):
        ctx.out.append(Send(link.link, Handed(run, (), control, after, True, True)))
    for owner in fresh:
        ctx.cache.told[link.link, owner] = len(ctx.cache.accounts[owner].signed)


# -- giving up --------------------------------------------------------------------------------


def had(ctx: Context, row: RegisterRow, told: Ranges) -> bool:
    """A signed `have` about a chain of which we hold something for its writer: what all its machines
    have is dropped, and the author is told. Whether it was about that."""
    owner, holdings = ctx.cache.owner[row.device], ctx.ledger.holdings
    if not holdings.concerns(owner, row.room, row.author):
        return False
    said = ranges.checked(told, MAX_HAVE_RANGES)
    known = ctx.ledger.people.register(row.device, HAVE, row.room, row.author)
    if known is not None and known.n > row.n:
        return True
    fresh = known is None or known.n < row.n  # else said again, of what was given to us since
    if fresh:
        ctx.ledger.people.put_register(row)
    holdings.owe_word(row.author, row.room, row.device, ctx.now.wall_ms)
    ctx.batch.wrote = True
    holdings.had(owner, row.device, row.room, row.author, said)
    awaited = holdings.lacking(owner, row.room, row.author)
    holdings.drop_had(owner, row.room, row.author, said, [one for one in awaited if _is_gone(ctx, one)])
    author = ctx.live.by_device.get(DeviceId(row.author))
    if author is not None and fresh:
        ctx.out.append(Send(author, Registers((people.signed_register(row),))))
    return True


def carry(ctx: Context, link: Link, row: RegisterRow) -> None:
    """What a member has of the words of another one who is away: that one is told when he comes."""
    room = rooms.room_with(ctx, link, row.room)
    if (
        room is None
        or room.row.kind != ROOM
        or ctx.cache.owner.get(DeviceId(row.author)) not in room.accounts
    ):
        return
    known = ctx.ledger.people.register(row.device, HAVE, row.room, row.author)
    if known is not None and known.n >= row.n:
        return
    ctx.ledger.people.put_register(row)
    ctx.ledger.holdings.owe_word(row.author, row.room, row.device, ctx.now.wall_ms)
    ctx.batch.wrote = True
    author = ctx.live.by_device.get(DeviceId(row.author))
    if author is not None:
        ctx.out.append(Send(author, Registers((people.signed_register(row),))))


def _is_gone(ctx: Context, device: DeviceId) -> bool:
    machine = rooms.machine(ctx, device)
    return machine is not None and machine.revoked


def start(ctx: Context) -> None:
    """From now on what is held long enough is given up."""
    ctx.timer("holdings", ctx.now.mono + EXPIRY_S)


def expire(ctx: Context) -> None:
    """Give up what nobody came for, and what is of people who are blocked or gone by now."""
    holdings = ctx.ledger.holdings
    if holdings.expire(ctx.now.wall_ms):
        ctx.batch.wrote = True
    for depositor in holdings.depositors():
        trust, known = ctx.cache.trust.get(depositor), ctx.cache.accounts.get(depositor)
        if known is None or known.revoked or (trust is not None and trust.blocked):
            holdings.drop_of(depositor)
            ctx.batch.wrote = True
    start(ctx)
