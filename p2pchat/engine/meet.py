"""Two machines meet: what they exchange when a link comes up, and what its end means.

Decides: who is let in once the handshake has proven him, what each side tells the other,
and which statements and registers are taken in. Does not know: sockets, or which of two
links stays (crossing).
"""

from __future__ import annotations

from p2pchat.engine import (
    clones,
    crowd,
    custody,
    exchange,
    file_words,
    frames,
    gossip,
    handed,
    hearsay,
    holders,
    keys,
    machines,
    outbox,
    own,
    peers,
    people,
    presence,
    presence_words,
    quota,
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
from p2pchat.wire.messages.presence import Chosen
from p2pchat.wire.messages.statements import SignedStatement


def link_up(ctx: Context, up: LinkUp) -> None:
    """A handshake is complete: let the machine in, unless it is us, blocked, revoked or one too many."""
    if up.device == ctx.me.device:
        clones.met_ourselves(ctx, up)
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
    before = ctx.cache.accounts.get(up.account)
    if people.learn_statements(ctx, up.statements, (up.account,)):
        machines.changed(ctx, up.account)
        machines.pass_on(ctx, up.account, before, up.link)
    account = ctx.cache.accounts[up.account]
    blocked = known is not None and known.blocked
    if blocked or account.devices[up.device].revoked:
        if not blocked:  # it may not know
            machines.tell(ctx, up.account, (up.link,))
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
    if peers.link_up(ctx, link, up.dial):
        ready(ctx, up.link, begin=link.initiator)
        _of_yourself(ctx, up)


def _of_yourself(ctx: Context, up: LinkUp) -> None:
    """What is known here of the peer's own person and it did not say: a machine made with the recovery
    key hears its name so, and one restored from a copy that it was further once."""
    said = {(one.register, one.signature) for one in up.registers}
    known = [people.signed_register(row) for row in people.public_registers(ctx, up.account)]
    news = [one for one in known if (one.register, one.signature) not in said]
    ctx.out.extend(Send(up.link, wire.Registers(run)) for run in portions(news, frames.FRAME_BYTES))


def ready(ctx: Context, number: int | None, *, begin: bool = True) -> None:
    """A link is now the one to that machine: exchange what both should know.

    One side repairs on a new link, the other tells of rooms that may be new to it. Where a link
    takes over later, both repair: what was pushed into the one before it may be lost, and the other
    side may have repaired before that.
    """
    if number is None:
        return
    link = ctx.live.links[number]
    presence_words.met(ctx, link)
    known = (ctx.cache.accounts[account].signed for account in dict.fromkeys((ctx.me.account, link.account)))
    signed = tuple(one for statements in known for one in statements)
    if len(signed) > 2:  # more than the geneses, which both have from the handshake
        ctx.out.extend(Send(number, wire.Statements(run)) for run in portions(signed, frames.FRAME_BYTES))
    keys.prekey_seen(ctx)
    machines.take_leave(ctx, number)
    offer(ctx, link)
    own.met(ctx, link)
    if begin:
        sync.begin(ctx, link)
    else:
        sync.begin_unheard(ctx, link)
    for room in rooms.common(ctx, link):
        keys.ask_again(ctx, link, room)
    transfers.met(ctx, link)
    holders.met(ctx, link)
    custody.met(ctx, link)
    exchange.met(ctx, link)


def offer(ctx: Context, link: Link) -> None:
    """Offer our prekey: the hello may have left before it was made, and nobody could then seal anything
    to us. And what we have and have read of this peer's events, now or when it says nothing of us."""
    prekey = ctx.cache.prekeys.get(ctx.me.device)
    if prekey is not None:
        ctx.out.append(Send(link.link, wire.RegisterOffer((people.name_of(prekey),))))
    if presence.visible_to(ctx, link.account):
        outbox.offer(ctx, link)
    else:  # it would say that we are here
        presence.withhold(ctx, link.account)


def resume(ctx: Context, number: int) -> None:
    """A link had lost frames for lack of room: start again from the ledger."""
    link = ctx.live.links.get(number)
    if link is not None and ctx.live.by_device.get(link.device) == number:
        presence_words.met(ctx, link)
        offer(ctx, link)
        sync.begin_anew(ctx, link)
        transfers.met(ctx, link)
        handed.resume(ctx, link)
        holders.met(ctx, link)


def link_down(ctx: Context, number: int) -> None:
    """A link is gone: another one takes over, or the machine is gone."""
    link, successor = peers.link_down(ctx, number)
    sync.link_gone(ctx, number)
    own.gone(ctx, number)
    handed.link_gone(ctx, number)
    custody.link_gone(ctx, number)
    if link is None:
        return
    ctx.live.presence.told.pop(number, None)
    if successor is not None:
        ready(ctx, successor)
    elif link.device not in ctx.live.by_device:
        gossip.gone(ctx, link.device)
        file_words.gone(ctx, link.device)
        presence_words.gone(ctx, link)
        exchange.gone(ctx, link.device)


def statements(ctx: Context, link: Link, signed: tuple[SignedStatement, ...]) -> None:
    """Statements came, of the peer or of whom he shares a room with: close links to machines that
    they revoke, and revoke these in rooms."""
    known = link.account == ctx.me.account or rooms.shares_a_room(ctx, link)
    allowed = None if known else (link.account, ctx.me.account)
    before = dict(ctx.cache.accounts)
    moved = people.learn_statements(ctx, signed, allowed)
    for account in moved:
        machines.changed(ctx, account)
        machines.pass_on(ctx, account, before.get(account), link.link)
    if moved:
        hearsay.sort_out(ctx, link.account)


def learn_registers(ctx: Context, link: Link | None, signed: tuple[registers.SignedRegister, ...]) -> None:
    """Take in registers: prekeys and profiles of known machines, and what concerns us."""
    for one in signed:
        if people.is_known(ctx, one):
            continue
        read = people.read_register(ctx, one)
        if read is None:
            continue
        row, value = read
        if row.device == ctx.me.device:
            own = people.own_register(ctx, row.kind, row.room, row.author)
            if own is not None and row.n <= own.n:
                continue
            clones.noticed(ctx)
            if row.kind != registers.PROFILE:
                continue  # our name is what others know; it comes back from them
        if row.kind in (registers.PREKEY, registers.PROFILE):
            if people.learn_register(ctx, row, value) and row.kind == registers.PROFILE:
                ctx.out.append(Tell("peer", ctx.cache.owner[row.device]))
        elif row.kind == registers.REACH:
            exchange.heard(ctx, row.device, one)
        elif isinstance(value, Chosen):
            if link is not None:
                presence_words.learn(ctx, link, row, value)
        elif link is None or (row.kind == registers.HAVE and holders.had(ctx, row, outbox.seen_value(value))):
            continue
        elif row.kind == registers.HAVE and row.device != link.device:
            outbox.by_others(ctx, row, outbox.seen_value(value))
        elif outbox.concerns_us(ctx, link, row.room, row.author):
            known = ctx.ledger.people.register(row.device, row.kind, row.room, row.author)
            if known is None or known.n < row.n:
                ctx.ledger.people.put_register(row)
                ctx.batch.wrote = True
                told = outbox.seen_value(value)
                outbox.heard(ctx, link, row.device, row.kind, row.room, row.author, told)
        elif row.kind == registers.HAVE:
            holders.carry(ctx, link, row)


def give_registers(ctx: Context, link: Link, names: tuple[registers.RegisterName, ...]) -> None:
    """Ours that concern this peer, and nobody else's."""
    people.check_names(names)
    theirs = ctx.cache.accounts[link.account].devices
    found = []
    for name in dict.fromkeys(names[: outbox.GIVEN]):
        row = people.own_register(ctx, name.kind, name.room, name.author)
        about_them = DeviceId(name.author) in theirs or name.kind in (registers.PREKEY, registers.PROFILE)
        if row is not None and name.device == ctx.me.device and about_them:
            found.append(people.signed_register(row))
        elif name.kind == registers.HAVE and DeviceId(name.author) in theirs:
            said = ctx.ledger.people.register(DeviceId(name.device), name.kind, name.room, name.author)
            if said is not None:
                found.append(people.signed_register(said))
    ctx.out.extend(Send(link.link, wire.Registers(run)) for run in portions(found, frames.FRAME_BYTES))
