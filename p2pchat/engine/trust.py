"""What the user decides about a person's key.

Decides: the effects of verify, accept, block, unblock, forget and rename on trust
records and links (docs/protocol.md, "People and machines"). Does not know: how digits
are compared live (sas), or how names are found (names).
"""

from __future__ import annotations

from dataclasses import replace

from p2pchat.crypto.identity import safety_number
from p2pchat.engine import custody, names, own, peers, people, presence_words
from p2pchat.engine.context import Context
from p2pchat.engine.inputs import CloseLink, ForgetPeer, Rename, Reply, Send, SetTrust, Tell
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, fingerprint
from p2pchat.model import TrustRow
from p2pchat.wire.limits import MAX_NAME
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.link import Registers
from p2pchat.wire.messages.registers import Profile


def row(ctx: Context, account: AccountId) -> TrustRow:
    """The trust record of a known person."""
    people.pin(ctx, account)
    return ctx.cache.trust[account]


def decide(ctx: Context, command: SetTrust) -> None:
    """Carry out one of the verbs of `trust`."""
    account = names.resolve(ctx, command.target).account
    match command.verb:
        case "verify":
            _check_proof(ctx, account, command)
            mark_verified(ctx, account)
        case "accept":
            account = _accept(ctx, account)
            own.decided(ctx, account)
        case "block":
            people.put_trust(ctx, replace(row(ctx, account), blocked=True))
            own.decided(ctx, account)
            close_links(ctx, account, "refused")
        case _:
            people.put_trust(ctx, replace(row(ctx, account), blocked=False))
            own.decided(ctx, account)
            peers.tick(ctx)
    presence_words.changed(ctx)  # who is verified may have brought us into rooms that we hide in or not
    custody.look_at_all(ctx)  # whoever is verified now may hold, whoever is blocked does not
    ctx.out.append(Tell("peer", account))
    ctx.out.append(
        Reply(command.request, {"account": account.hex(), "trust": names.trust_word(ctx, account)})
    )


def mark_verified(ctx: Context, account: AccountId) -> None:
    """The user has convinced himself that this key is this person's."""
    people.put_trust(ctx, replace(row(ctx, account), verified=True))
    own.decided(ctx, account)


def close_links(ctx: Context, account: AccountId, reason: str) -> None:
    """End every link to a person."""
    for link in list(ctx.live.links.values()):
        if link.account == account:
            ctx.out.append(CloseLink(link.link, reason))


def _check_proof(ctx: Context, account: AccountId, command: SetTrust) -> None:
    if not command.kind:
        return  # the caller vouches for it; the control socket always asks for a proof
    plain = "".join(c for c in command.proof.lower() if c.isalnum())
    wanted = {
        "fingerprint": (fingerprint(account), account.hex()),
        "safety-number": (safety_number(ctx.me.account, account),),
    }.get(command.kind, ())
    if plain not in wanted:
        word = command.kind.replace("-", " ")
        raise CommandError(
            "key_mismatch",
            f"{command.proof!r} is not the {word} of {names.shown(ctx, account)!r}: nothing was changed",
            f"look again: `p2pchat trust show {names.typed(ctx, account)}`",
        )


def _accept(ctx: Context, account: AccountId) -> AccountId:
    known = ctx.cache.accounts[account]
    if not known.revoked or known.successor is None:
        raise CommandError(
            "usage",
            f"the key of {command_name(ctx, account)!r} has not been replaced",
            "there is nothing to accept",
        )
    new = known.successor
    old = row(ctx, account)
    carried = ctx.cache.trust.get(new)
    base = carried or people.first_met(ctx, new, old.name)
    name = base.name or old.name
    people.put_trust(ctx, replace(base, verified=False, name=name, successor_of=account))
    return new


def command_name(ctx: Context, account: AccountId) -> str:
    """The name as a person may type it."""
    return names.shown(ctx, account)


def forget(ctx: Context, command: ForgetPeer) -> None:
    """Drop remembered addresses, and what was pinned of somebody unverified."""
    account = names.resolve(ctx, command.target).account
    known = ctx.cache.accounts[account]
    peers.forget(ctx, list(known.devices))
    standing = ctx.cache.trust.get(account)
    if standing is not None and not standing.verified and not standing.blocked:
        ctx.cache.trust.pop(account, None)
        ctx.cache.names_changed()
        ctx.ledger.people.drop_trust(account)
        ctx.batch.wrote = True
    ctx.out.append(Reply(command.request, {"account": account.hex()}))


def clean_name(name: str) -> str:
    """`name` as it may be published; CommandError if it cannot be one."""
    tidy = " ".join(name.split()).lstrip("@#")
    if not tidy or len(tidy) > MAX_NAME or not tidy.isprintable():
        raise CommandError("usage", f"{name!r} cannot be a name", f"use 1 to {MAX_NAME} printable characters")
    return tidy


def rename(ctx: Context, command: Rename) -> None:
    """The person wants another name: everybody who is there hears it now."""
    name = clean_name(command.name)
    publish_name(ctx, name)
    ctx.out.append(Reply(command.request, {"name": name}))


def publish_name(ctx: Context, name: str) -> None:
    """Sign and send a profile unless it says so already."""
    if ctx.me.account in ctx.cache.profiles and people.name(ctx, ctx.me.account) == name:
        return
    signed = people.signed_register(people.publish(ctx, registers.PROFILE, Profile(name)))
    for number in ctx.live.by_device.values():
        ctx.out.append(Send(number, Registers((signed,))))
