"""Comparing six digits live, so that two people know that nobody sits between them.

Decides: the moves of the comparison on one link (docs/protocol.md, "Verifying a
person"): both commit, each reveals once it has the other's commitment. Does not know:
what follows from a match (trust).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2pchat.crypto import codes
from p2pchat.engine import names
from p2pchat.engine.context import Context, Link, Sas, Waiter
from p2pchat.engine.inputs import Reply, Send, Tell
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId
from p2pchat.wire.messages.link import SasCommit, SasReveal

VALID_S: Final = 120.0


def start(ctx: Context, request: int, account: AccountId, timeout_s: float) -> None:
    """The user asks to compare; answered with the digits when both sides have."""
    link = _link_to(ctx, account)
    if link is None:
        name = names.shown(ctx, account)
        raise CommandError(
            "timeout",
            f"{name!r} is not connected",
            f"wait for him: `p2pchat peers --wait {names.typed(ctx, account)}`",
        )
    current = _current(ctx, link)
    if not current.started or current.digits:
        # One attempt each: digits once shown are never computed again from the same nonces.
        theirs = current.theirs if not current.digits else b""
        nonce = ctx.entropy.bytes(codes.SAS_NONCE_BYTES)
        current = Sas(link.link, nonce, True, theirs, b"", False, "", ctx.now.mono + VALID_S)
        ctx.out.append(Send(link.link, SasCommit(codes.commitment(_role(link), nonce))))
    ctx.live.sas[account] = current
    ctx.live.waiters[request] = Waiter(request, "sas", account=account)
    ctx.timer(f"wait:{request}", ctx.now.mono + timeout_s)
    _reveal_if_due(ctx, link)


def committed(ctx: Context, link: Link, message: SasCommit) -> None:
    """Their side is bound to a nonce."""
    current = _current(ctx, link)
    if current.theirs and not current.digits:
        return  # one commitment for each comparison: a second one would be a second guess
    if current.digits:
        current = _fresh(ctx, link)
    ctx.live.sas[link.account] = replace(current, theirs=message.commitment)
    if not current.started:
        name, typed = names.shown(ctx, link.account), names.typed(ctx, link.account)
        ctx.out.append(
            Tell(
                "warning",
                (
                    "sas",
                    f"{name} wants to compare digits: `p2pchat trust verify {typed} --sas`",
                ),
            )
        )
    _reveal_if_due(ctx, link)


def revealed(ctx: Context, link: Link, message: SasReveal) -> None:
    """Their nonce: RemoteProtocolError unless it is the one they were bound to."""
    current = _current(ctx, link)
    if not current.theirs or not current.started or current.digits:
        return
    codes.check_reveal(current.theirs, 1 - _role(link), message.nonce)
    pair = (current.nonce, message.nonce) if link.initiator else (message.nonce, current.nonce)
    digits = codes.sas(link.handshake_hash, *pair)
    ctx.live.sas[link.account] = replace(current, their_nonce=message.nonce, digits=digits)
    for request, waiter in list(ctx.live.waiters.items()):
        if waiter.kind == "sas" and waiter.account == link.account:
            del ctx.live.waiters[request]
            ctx.out.append(Reply(request, {"sas": digits}))


def confirm(ctx: Context, account: AccountId, digits: str) -> CommandError | None:
    """The user names the digits the other side shows; None if they match.

    What is wrong is returned and not raised, because a refusal that is raised undoes the
    transaction and with it the one attempt that was just used up.
    """
    current = ctx.live.sas.pop(account, None)
    name = names.shown(ctx, account)
    if current is None or not current.digits or current.until < ctx.now.mono:
        hint = f"start one: `p2pchat trust verify {names.typed(ctx, account)} --sas`"
        return CommandError("timeout", f"no comparison with {name!r} is under way", hint)
    if "".join(digits.split()) != current.digits:
        text = f"the digits {digits!r} do not match: somebody may sit between you and {name!r}"
        return CommandError("key_mismatch", text, "nothing was changed; compare the safety number in person")
    return None


def _current(ctx: Context, link: Link) -> Sas:
    current = ctx.live.sas.get(link.account)
    if current is None or current.link != link.link or current.until < ctx.now.mono:
        return _fresh(ctx, link)
    return current


def _fresh(ctx: Context, link: Link) -> Sas:
    return Sas(link.link, b"", False, b"", b"", False, "", ctx.now.mono + VALID_S)


def _reveal_if_due(ctx: Context, link: Link) -> None:
    current = ctx.live.sas[link.account]
    if current.started and current.theirs and not current.revealed:
        ctx.live.sas[link.account] = replace(current, revealed=True)
        ctx.out.append(Send(link.link, SasReveal(current.nonce)))


def _link_to(ctx: Context, account: AccountId) -> Link | None:
    links = (ctx.live.links[number] for number in ctx.live.by_device.values())
    return next((link for link in links if link.account == account), None)


def _role(link: Link) -> int:
    return codes.INITIATOR if link.initiator else codes.RESPONDER
