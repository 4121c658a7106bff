"""Two machines meet: what they exchange when a link comes up, and what its end means.

Decides: who is let in once the handshake has proven him, what each side tells the other,
and which statements and registers are taken in. Does not know: sockets, or which of two
links stays (peers).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2pchat.engine import (
    crowd,
    exchange,
    file_words,
    frames,
    gossip,
    keys,
    membership,
    outbox,
    peers,
    people,
    quota,
    revocations,
    rooms,
    sync,
    transfers,
)
from p2pchat.engine.context import Context, Link
from p2pchat.engine.inputs import CloseLink, LinkUp, Send, Tell
from p2pchat.ids import DeviceId
from p2pchat.wire.codec import portions
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.statements import SignedStatement

GIVEN: Final = 256
"""Registers offered at once, and given for one want."""


def link_up(ctx: Context, up: LinkUp) -> None:
    """A handshake is complete: let the machine in, unless it is us, blocked, revoked or one too many."""
    if up.device == ctx.me.device:
        if up.dial is not None:
            peers.dial_failed(ctx, up.dial, "self")
        ctx.out.append(CloseLink(up.link, "self"))
        return
    crowded = crowd.leaving(ctx, up)
    if crowded is not None:
        ctx.out.append(CloseLink(crowded, "crowded"))
        if crowded == up.link:
            if up.dial is not None:
                peers.dial_failed(ctx, up.dial, "crowded")
            return
        link_down(ctx, crowded)  # its place is free at once; what still comes on it is not heard
    known = ctx.cache.trust.get(up.account)
    if people.learn_statements(ctx, up.statements, (up.account,)):
        membership.proofs_came(ctx, up.account)
        revocations.plan(ctx, up.account)
    account = ctx.cache.accounts[up.account]
    blocked = known is not None and known.blocked
    if blocked or account.devices[up.device].revoked:
        if up.dial is not None:
            peers.dial_failed(ctx, up.dial, "refused")
        ctx.out.append(CloseLink(up.link, "refused"))
        return
    learn_registers(ctx, None, up.registers)
    if people.pin(ctx, up.account):
        quota.sort_out(ctx, up.account)
    link = Link(
        up.link,
        up.device,
        up.account,
        up.initiator,
        up.host,
        up.port,
        up.handshake_hash,
        ctx.now.mono,
        up.peer_wall_ms - (ctx.now.wall_ms - ctx.shift_ms),
    )
    ctx.live.last_seen[up.device] = ctx.now.wall_ms
    if peers.link_up(ctx, link, up.dial):
        ready(ctx, up.link, begin=link.initiator)


def ready(ctx: Context, number: int | None, *, begin: bool = True) -> None:
    """A link is now the one to that machine: exchange what both should know.

    One side repairs on a new link, the other tells of rooms that may be new to it. Where a link
    takes over later, both repair: what was pushed into the one before it may be lost, and the other
    side may have repaired before that.
    """
    if number is None:
        return
    link = ctx.live.links[number]
    known = (ctx.cache.accounts[account].signed for account in dict.fromkeys((ctx.me.account, link.account)))
    signed = tuple(one for statements in known for one in statements)
    if len(signed) > 2:  # more than the geneses, which both have from the handshake
        ctx.out.extend(Send(number, wire.Statements(run)) for run in portions(signed, frames.FRAME_BYTES))
    keys.prekey_seen(ctx)
    offer(ctx, link)
    if begin:
        sync.begin(ctx, link)
    else:
        sync.begin_unheard(ctx, link)
    for room in rooms.common(ctx, link):
        keys.ask_again(ctx, link, room)
    transfers.met(ctx, link)
    exchange.met(ctx, link)
    ctx.out.append(Tell("peer", link.account))


def offer(ctx: Context, link: Link) -> None:
    """Offer what we have and have read of this peer's events."""
    concerning = outbox.concerning(ctx, link)
    names = [people.name_of(row) for row in concerning]
    for at in range(0, len(names), GIVEN):
        ctx.out.append(Send(link.link, wire.RegisterOffer(tuple(names[at : at + GIVEN]))))


def resume(ctx: Context, number: int) -> None:
    """A link had lost frames for lack of room: start again from the ledger."""
    link = ctx.live.links.get(number)
    if link is not None and ctx.live.by_device.get(link.device) == number:
        offer(ctx, link)
        sync.begin_anew(ctx, link)
        transfers.met(ctx, link)


def link_down(ctx: Context, number: int) -> None:
    """A link is gone: another one takes over, or the machine is gone."""
    link, successor = peers.link_down(ctx, number)
    sync.link_gone(ctx, number)
    if link is None:
        return
    ctx.live.last_seen[link.device] = ctx.now.wall_ms
    if successor is not None:
        ready(ctx, successor)
    elif link.device not in ctx.live.by_device:
        gossip.gone(ctx, link.device)
        file_words.gone(ctx, link.device)
        exchange.gone(ctx, link.device)
        standing = ctx.cache.trust.get(link.account)
        if standing is not None:
            people.put_trust(ctx, replace(standing, last_seen_ms=ctx.now.wall_ms))
        ctx.out.append(Tell("peer", link.account))


def statements(ctx: Context, link: Link, signed: tuple[SignedStatement, ...]) -> None:
    """Statements came, of the peer or of whom he shares a room with: close links to machines that
    they revoke, and revoke these in rooms."""
    allowed = None if rooms.shares_a_room(ctx, link) else (link.account, ctx.me.account)
    for account in people.learn_statements(ctx, signed, allowed):
        membership.proofs_came(ctx, account)
        revocations.plan(ctx, account)
        for device in ctx.cache.accounts[account].devices.values():
            number = ctx.live.by_device.get(device.id)
            if device.revoked and number is not None:
                ctx.out.append(CloseLink(number, "refused"))
        ctx.out.append(Tell("peer", account))
        quota.sort_out(ctx, link.account)


def learn_registers(ctx: Context, link: Link | None, signed: tuple[registers.SignedRegister, ...]) -> None:
    """Take in registers: prekeys and profiles of known machines, and what concerns us."""
    for one in signed:
        read = people.read_register(ctx, one)
        if read is None:
            continue
        row, value = read
        if row.device == ctx.me.device:
            own = people.own_register(ctx, row.kind, row.room, row.author)
            if own is None or row.n > own.n:
                text = "another copy of this profile is or was in use: stop one of the two"
                ctx.out.append(Tell("warning", ("clone", text)))
            continue
        if row.kind in (registers.PREKEY, registers.PROFILE):
            if people.learn_register(ctx, row, value) and row.kind == registers.PROFILE:
                ctx.out.append(Tell("peer", ctx.cache.owner[row.device]))
        elif row.kind == registers.REACH:
            exchange.heard(ctx, row.device, one)
        elif link is not None and outbox.concerns_us(ctx, link, row.room, row.author):
            known = ctx.ledger.people.register(row.device, row.kind, row.room, row.author)
            if known is None or known.n < row.n:
                ctx.ledger.people.put_register(row)
                ctx.batch.wrote = True
                told = outbox.seen_value(value)
                outbox.heard(ctx, link, row.device, row.kind, row.room, row.author, told)


def give_registers(ctx: Context, link: Link, names: tuple[registers.RegisterName, ...]) -> None:
    """Ours that concern this peer, and nobody else's."""
    people.check_names(names)
    theirs = ctx.cache.accounts[link.account].devices
    found = []
    for name in dict.fromkeys(names[:GIVEN]):
        row = people.own_register(ctx, name.kind, name.room, name.author)
        about_them = DeviceId(name.author) in theirs or name.kind in (registers.PREKEY, registers.PROFILE)
        if row is not None and name.device == ctx.me.device and about_them:
            found.append(people.signed_register(row))
    ctx.out.extend(Send(link.link, wire.Registers(run)) for run in portions(found, frames.FRAME_BYTES))
