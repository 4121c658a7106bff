"""Two copies of one machine: a backup that was restored, or a profile that was copied.

Decides: what proves that another copy of this machine is or was in use, what a link to ourselves is,
and that this copy goes on under another id (docs/protocol.md, "People and machines"). Does not
know: how new keys are made and kept (daemon/renewing).

Only what our own keys have signed is proof: a peer who merely says that he has events of ours
that are not here may lie, and could else make us change our id for ever.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import peers
from p2pchat.engine.context import Context
from p2pchat.engine.inputs import CloseLink, LinkUp, Tell
from p2pchat.ids import DeviceId

NOTICED: Final = "clone"
"""In `value`: the device id that is used twice. Ours no more, once we have another."""
BECAME: Final = "became"
"""In `value`: the id as which this archive has gone on."""
PROVEN_S: Final = 5.0
"""After a link from ourselves: our own end of it comes within milliseconds, if there is one."""
RENEW: Final = "renew"

TEXT: Final = (
    "another copy of this profile is or was in use: what it wrote is taken in, and this machine goes on "
    "under a new id; the other copy keeps the old one"
)


def noticed(ctx: Context) -> None:
    """Our own keys have signed what is not here: somebody else uses them. Told once."""
    device = ctx.me.device
    if ctx.ledger.people.value(NOTICED) == device:
        return
    ctx.ledger.people.put_value(NOTICED, device)
    ctx.batch.wrote = True
    ctx.out.append(Tell("warning", ("clone", TEXT)))
    ctx.out.append(Tell(RENEW, device))


def started(ctx: Context) -> None:
    """It was noticed in an earlier life: there was no time to do anything about it, or this is the first
    start under the new id."""
    old = ctx.ledger.people.value(NOTICED)
    if old is None:
        return
    if old == ctx.me.device:
        ctx.out.append(Tell(RENEW, ctx.me.device))
    elif ctx.ledger.people.value(BECAME) != ctx.me.device:
        ctx.ledger.people.become(DeviceId(old), ctx.me.device)
        ctx.ledger.people.put_value(BECAME, ctx.me.device)
        ctx.batch.wrote = True
        ctx.cache.own_prekeys.clear()
        ctx.cache.rooms.clear()


def left_behind(ctx: Context) -> DeviceId | None:
    """The id this machine had before a copy of it was noticed, unless it is revoked by now."""
    devices = ctx.cache.accounts[ctx.me.account].devices
    if len(devices) == 1:
        return None  # nothing to look up: while a large commit runs the archive makes whoever asks wait
    old = ctx.ledger.people.value(NOTICED)
    device = None if old is None or old == ctx.me.device else DeviceId(old)
    known = devices.get(device) if device is not None else None
    return None if known is None or known.revoked else device


def met_ourselves(ctx: Context, up: LinkUp) -> None:
    """The machine at the other end has our keys: it is us, or a copy of us.

    Who dials cannot tell: somebody may lead his link back to us and lose the last message of the
    handshake. Who was dialled can: with that message our keys have answered, here or elsewhere.
    """
    if up.dial is not None:
        peers.dial_failed(ctx, up.dial, "self")
    ctx.out.append(CloseLink(up.link, "self"))
    name = up.handshake_hash.hex()
    if up.initiator:
        ctx.live.own_dials[up.handshake_hash] = ctx.now.mono
        ctx.drop_timer(f"copy:{name}")
    elif up.handshake_hash not in ctx.live.own_dials:
        ctx.timer(f"copy:{name}", ctx.now.mono + PROVEN_S)
    for old in [one for one, at in ctx.live.own_dials.items() if at + 10 * PROVEN_S < ctx.now.mono]:
        del ctx.live.own_dials[old]


def due(ctx: Context, handshake: str) -> None:
    """Nobody here dialled that link."""
    if bytes.fromhex(handshake) not in ctx.live.own_dials:
        noticed(ctx)
