"""What a holder kept for us: claiming it, and taking it in.

Decides: what is claimed when, that nothing is taken which nobody claimed, and what is said back.
Does not know: whether an event may in (receive), or what the holder keeps.

A holder is believed nothing: what it hands over is judged like what anybody sends, and what does
not hold is passed over, for a holder cannot look at all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine import (
    crossing,
    hearsay,
    log,
    membership,
    outbox,
    people,
    presence,
    ranges,
    receive,
    revocations,
    rooms,
)
from p2pchat.engine.context import Claiming, Context, Link
from p2pchat.engine.inputs import CloseLink, Send, Tell
from p2pchat.engine.log import Read
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, DeviceId, EventId, RoomId
from p2pchat.wire.codec import portions
from p2pchat.wire.limits import MAX_PLAINTEXT, MAX_TOPS
from p2pchat.wire.messages.holders import Claim, Handed, Waiting
from p2pchat.wire.messages.link import Registers

REGISTER_BYTES: Final = MAX_PLAINTEXT - 4096
FIRST: Final = (True, 0)
LOST_S: Final = 10.0
"""A claim without an answer for so long was lost."""
LATER: Final = 64
"""So many events of a chain are remembered that a holder handed over and that wait for a key or an act."""
CHAINS: Final = 4 * MAX_TOPS
"""So many chains of which something waits, of all holders together: beyond it is said at the next meeting."""


def waiting(ctx: Context, link: Link, message: Waiting) -> None:
    """Something is held for us there. Of what we have we say so first: it need not be handed over."""
    if len(message.tops) > MAX_TOPS:
        raise RemoteProtocolError("too many chains")
    for top in message.tops:
        known = ctx.ledger.events.get(EventId(top.event)) if len(top.event) == ID_BYTES else None
        # Only who names an event of the chain hears of it: others could ask whom we hear from.
        if known is not None and (known.room, known.device) == (top.room, top.author):
            ctx.batch.handed[link.link, known.room, known.device] = None
    under_way = ctx.live.claims.get(link.link)
    if under_way is None or ctx.now.mono - under_way.at > LOST_S:
        _claim(ctx, link, FIRST)
    else:
        ctx.live.claims[link.link] = replace(under_way, again=True)


def _claim(ctx: Context, link: Link, place: tuple[bool, int], *, again: bool = False) -> None:
    ctx.live.claims[link.link] = Claiming(place, ctx.now.mono, again)
    ctx.out.append(Send(link.link, Claim(*place)))


def resume(ctx: Context, link: Link) -> None:
    """Frames for this link were dropped: a claim may have been among them."""
    if link.link in ctx.live.claims:
        _claim(ctx, link, FIRST)


def handed(ctx: Context, link: Link, message: Handed) -> None:
    """A holder hands over what we claimed."""
    under_way = ctx.live.claims.get(link.link)
    if under_way is None:
        return  # nobody claims it, or does no more: it was taken for lost, claimed again, and came twice
    for account in people.learn_statements(ctx, message.statements, None):
        membership.proofs_came(ctx, account)
        revocations.plan(ctx, account)
        for device in ctx.cache.accounts[account].devices.values():
            for number in crossing.links_to(ctx, device.id) if device.revoked else ():
                ctx.out.append(CloseLink(number, "refused"))
        ctx.out.append(Tell("peer", account))
    if message.statements:
        hearsay.sort_out(ctx, link.account)
    reads = [read for event in message.events if _holds(ctx, read := log.read_event(event))]
    for room_id, author in receive.handed(ctx, link, reads):
        ctx.batch.handed[link.link, room_id, author] = None
        _remember(ctx, (link.link, room_id, author), reads)
    if message.part:
        return
    following, before = (message.control, message.after), under_way.place
    if message.more and (not following[0], following[1]) > (not before[0], before[1]):
        _claim(ctx, link, following, again=under_way.again)
    elif under_way.again:
        _claim(ctx, link, FIRST)
    else:
        del ctx.live.claims[link.link]


def _holds(ctx: Context, read: Read) -> bool:
    """No wrong signature, as far as its machine is known: what was handed over with it is not to blame."""
    if not read.event.signature:
        return True
    machine = rooms.machine(ctx, DeviceId(read.header.device))
    return machine is not None and log.signature_holds(read, machine.signing)


def link_gone(ctx: Context, number: int) -> None:
    """Nothing more comes of what was claimed there."""
    ctx.live.claims.pop(number, None)
    for place in [one for one in ctx.live.not_had if one[0] == number]:
        del ctx.live.not_had[place]


def _remember(ctx: Context, place: tuple[int, RoomId, DeviceId], reads: Sequence[Read]) -> None:
    """What of this is not had yet is said to the holder when it is."""
    _, room_id, author = place
    mine = [read.header.seq for read in reads if (read.room, read.header.device) == (room_id, author)]
    seqs = dict.fromkeys((*ctx.live.not_had.get(place, ()), *mine))
    lacking = tuple(_lacking(ctx, room_id, author, seqs))[:LATER]
    if lacking and (place in ctx.live.not_had or len(ctx.live.not_had) < CHAINS):
        ctx.live.not_had[place] = lacking


def _lacking(ctx: Context, room_id: RoomId, author: DeviceId, seqs: Iterable[int]) -> Iterator[int]:
    have = rooms.room(ctx, room_id).have.get(author, ())
    return (seq for seq in seqs if not ranges.contains(have, seq))


def _had_at_last(ctx: Context) -> None:
    """What was handed over may have waited for a key: its holder keeps it until he hears that we have it."""
    for place, seqs in list(ctx.live.not_had.items()):
        number, room_id, author = place
        if (room_id, author) not in ctx.batch.have:
            continue
        lacking = tuple(_lacking(ctx, room_id, author, seqs))
        if len(lacking) == len(seqs):
            continue
        ctx.batch.handed[number, room_id, author] = None
        if lacking:
            ctx.live.not_had[place] = lacking
        else:
            del ctx.live.not_had[place]


def close(ctx: Context) -> None:
    """At the end of a batch: say, signed, what we have by now of chains of which something was held."""
    _had_at_last(ctx)
    by_link: dict[int, list[tuple[RoomId, DeviceId]]] = {}
    for number, room_id, author in ctx.batch.handed:
        by_link.setdefault(number, []).append((room_id, author))
    for number, chains in by_link.items():
        link = ctx.live.links.get(number)
        if link is None:
            continue
        said = [one for one in chains if presence.may_be_told(ctx, one[1], link.account)]
        rows = [outbox.stated_have(ctx, room_id, author) for room_id, author in said]
        signed = [people.signed_register(row) for row in rows if row is not None]
        ctx.out.extend(Send(number, Registers(run)) for run in portions(signed, REGISTER_BYTES))
