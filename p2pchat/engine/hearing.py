"""Which part of the engine hears which frame.

Decides: that, and nothing else. Does not know: what a frame means there. A part of `node`, split for its
length.
"""

from __future__ import annotations

from p2pchat.engine import (
    consult,
    crossing,
    custody,
    exchange,
    file_words,
    handed,
    holders,
    keys,
    meet,
    outbox,
    own,
    presence_words,
    receive,
    sas,
    sync,
    wants,
)
from p2pchat.engine.context import Context, Link
from p2pchat.engine.inputs import (
    FromPeer,
    Send,
)
from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import devices, files, network, presence, registers
from p2pchat.wire.messages import holders as kept_wire
from p2pchat.wire.messages import link as wire


def from_peer(ctx: Context, event: FromPeer) -> None:
    """What came on a link. RemoteProtocolError ends it."""
    link = ctx.live.links.get(event.link)
    if link is None:
        return  # closed meanwhile
    if isinstance(event.message, wire.Events):
        receive.events(ctx, link, event.message.events, event.checked)
        if ctx.live.told_coming:
            wants.tell_all(ctx)
        return
    match event.message:
        case wire.Receipt(room, author, told, _):
            outbox.heard(ctx, link, link.device, registers.HAVE, room, author, told)
        case wire.ReadMark(room, author, told, _):
            outbox.heard(ctx, link, link.device, registers.READ, room, author, told)
        case wire.Reconcile():
            sync.heard(ctx, link, event.message)
        case wire.Want():
            sync.wanted(ctx, link, event.message)
        case wire.Given():
            sync.given(ctx, link, event.message)
        case wire.Pull():
            sync.pull(ctx, link, event.message)
        case wire.Announce():
            sync.announced(ctx, link, event.message)
        case wire.Statements(signed):
            meet.statements(ctx, link, signed)
        case wire.RegisterOffer(names):
            fresh = outbox.wanted(ctx, names)
            if fresh:
                ctx.out.append(Send(link.link, wire.RegisterWant(fresh)))
        case wire.RegisterWant(names):
            meet.give_registers(ctx, link, names)
        case wire.Registers(signed):
            meet.learn_registers(ctx, link, signed)
        case wire.KeyRequest():
            keys.give(ctx, link, event.message)
        case wire.Keys():
            receive.keys_came(ctx, link, event.message)
        case wire.SasCommit():
            sas.committed(ctx, link, event.message)
        case wire.SasReveal():
            sas.revealed(ctx, link, event.message)
        case files.FileState():
            file_words.heard(ctx, link, event.message)
        case files.FileHeard():
            file_words.heard_back(ctx, link, event.message)
        case devices.OwnDigest() | devices.OwnState() | devices.OwnChats():
            own.heard(ctx, link, event.message)
        case network.Around():
            exchange.asked(ctx, link, event.message)
        case network.Examine():
            consult.asked(ctx, link, event.message)
        case network.Findings():
            consult.answered(ctx, link, event.message)
        case network.Introductions():
            exchange.introduced(ctx, link, event.message)
        case files.Knock():
            file_words.knocked(ctx, link)
        case presence.Presence():
            presence_words.heard(ctx, link, event.message)
        case presence.Typing():
            presence_words.typing(ctx, link, event.message)
        case wire.Pong():
            meet.ready(ctx, crossing.older_answers(ctx, link))
        case _:
            _of_holders(ctx, link, event.message)


def _of_holders(ctx: Context, link: Link, message: Record) -> None:
    match message:
        case kept_wire.Deposit():
            holders.deposit(ctx, link, message)
        case kept_wire.Holding():
            custody.answered(ctx, link, message)
        case kept_wire.Withdraw():
            holders.withdraw(ctx, link, message)
        case kept_wire.Waiting():
            handed.waiting(ctx, link, message)
        case kept_wire.Claim():
            holders.claim(ctx, link, message)
        case kept_wire.Handed():
            handed.handed(ctx, link, message)
        case _:
            raise RemoteProtocolError("frame out of place")
