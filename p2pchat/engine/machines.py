"""Machines of one person: added, revoked, named, replaced.

Decides: which statements are written for that, on which others they build, and who hears of them
at once (docs/protocol.md, "People and machines"). Does not know: how a new machine proved that
it is meant (daemon/pairing), or what a revocation does in rooms (revocations).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import KEY_BYTES, x25519_usable
from p2pchat.engine import accounts, crossing, frames, membership, names, own, people, revocations, stating
from p2pchat.engine.context import Context
from p2pchat.engine.device_inputs import (
    AddDevice,
    DeviceCommand,
    Farewell,
    OwnSetting,
    RenameDevice,
    Renew,
    RevokeDevice,
    SettingTaken,
)
from p2pchat.engine.inputs import Change, CloseLink, CreateRoom, Input, Post, Reply, RoomAct, Send, Tell
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId, hex_prefix
from p2pchat.wire.codec import portions
from p2pchat.wire.limits import MAX_NAME
from p2pchat.wire.messages import statements as wire
from p2pchat.wire.messages.link import Statements
from p2pchat.wire.messages.statements import SignedStatement

_WRITING: Final = (Post, Change, CreateRoom, RoomAct, DeviceCommand)
BEFORE: Final = " (before)"
"""Behind the name of a machine that goes on under another id."""
PASSED_ON: Final = 50
"""Links on which a revocation is passed on by who hears of it."""
LIST: Final = "list machines: `p2pchat device list`"


def handle(ctx: Context, event: Input) -> None:
    """Carry out one command about own machines."""
    match event:
        case AddDevice():
            _add(ctx, event)
        case RevokeDevice():
            _revoke(ctx, event)
        case RenameDevice():
            _rename(ctx, event)
        case Farewell():
            _farewell(ctx, event)
        case Renew():
            _renew(ctx, event)
        case SettingTaken():
            own.written_down(ctx, event.key, event.value.encode())
            ctx.out.append(Reply(event.request, {}))
        case OwnSetting():
            own.put(ctx, own.SETTING + event.key, event.value.encode())
            ctx.out.append(Reply(event.request, {}))


def _add(ctx: Context, command: AddDevice) -> None:
    if (
        len(command.signing) != KEY_BYTES
        or len(command.noise) != KEY_BYTES
        or command.signing == command.noise
    ):
        raise CommandError("usage", "keys of another form", "")
    if not x25519_usable(command.noise):
        raise CommandError("usage", "a key that cannot be used", "")
    new = device_id(ctx.me.account, command.signing)
    if new in ctx.cache.owner:
        raise CommandError("usage", "that machine is known already", LIST)
    _add_keys(ctx, command.signing, command.noise)
    signed = ctx.cache.accounts[ctx.me.account].signed
    told = (*accounts.leading(signed, new), *signed)  # these first: the rest may not fit a frame
    run = next(portions(dict.fromkeys(told), frames.FRAME_BYTES))
    ctx.out.append(Reply(command.request, {"device": new.hex(), "statements": run}))


def _revoke(ctx: Context, command: RevokeDevice) -> None:
    device = mine(ctx, command.ref)
    if device == ctx.me.device:
        raise CommandError(
            "usage",
            f"{command.ref!r} is this machine",
            "revoke it from another one of yours, or from a new one, made there: `p2pchat device recover`",
        )
    if not ctx.cache.accounts[ctx.me.account].devices[device].revoked:
        heard = {raw + sign: place for place, (_, raw, sign) in enumerate(ctx.ledger.people.statements())}
        known = ctx.cache.accounts[ctx.me.account].acts
        acts = sorted(known, key=lambda act: heard[act.signed.statement + act.signed.signature])
        _state(ctx, stating.revoking(ctx.me, acts, device, fighting=revoked(ctx)))
    ctx.out.append(Reply(command.request, {"device": device.hex()}))


def _rename(ctx: Context, command: RenameDevice) -> None:
    device = mine(ctx, command.ref)
    name = " ".join(command.name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        hint = f"use 1 to {MAX_NAME} printable characters"
        raise CommandError("usage", f"{command.name!r} cannot be a name", hint)
    own.put(ctx, own.NAME + device.hex(), name.encode())
    ctx.out.append(Reply(command.request, {"device": device.hex()}))


def _renew(ctx: Context, command: Renew) -> None:
    new = device_id(ctx.me.account, command.signing)
    if new not in ctx.cache.owner:  # else it was stated before, and could not be written down
        _add_keys(ctx, command.signing, command.noise)
    name = own.device_name(ctx, ctx.me.device)
    if name:
        own.put(ctx, own.NAME + new.hex(), name.encode())
        own.put(ctx, own.NAME + ctx.me.device.hex(), f"{name[: MAX_NAME - len(BEFORE)]}{BEFORE}".encode())
    signed = accounts.leading(ctx.cache.accounts[ctx.me.account].signed, new)
    ctx.out.append(Reply(command.request, {"statements": signed}))


def _farewell(ctx: Context, command: Farewell) -> None:
    account = accounts.read_statement(command.statements[0]).account
    people.learn_statements(ctx, command.statements, (account,))
    ctx.ledger.people.put_value(stating.FORMER, account)
    ctx.batch.wrote = True
    ctx.out.append(Reply(command.request, {}))


def take_leave(ctx: Context, link: int) -> None:
    """Somebody is met: if this profile was another person once, he hears who that goes on as."""
    former = ctx.ledger.people.value(stating.FORMER)
    if former is not None and AccountId(former) in ctx.cache.accounts:
        tell(ctx, AccountId(former), (link,))


def mine(ctx: Context, ref: str) -> DeviceId:
    """The machine of ours that `ref` means: an id, a prefix of one, or a name; CommandError 4."""
    devices = list(ctx.cache.accounts[ctx.me.account].devices)
    wanted = names.fold(ref)
    found = [one for one in devices if wanted and names.fold(own.device_name(ctx, one)) == wanted]
    prefix = hex_prefix(ref)
    if not found and prefix is not None:
        found = [one for one in devices if one.hex().startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.hex()[:16] for one in found)
        raise CommandError("ambiguous_target", f"{ref!r} could be any of: {ids}", "use one of these ids")
    raise CommandError("no_such_target", f"no machine of yours is {ref!r}", LIST)


# -- statements ----------------------------------------------------------------------------


def _add_keys(ctx: Context, signing: bytes, noise: bytes) -> None:
    known = ctx.cache.accounts[ctx.me.account].acts
    _state(ctx, [stating.adding(ctx.me, known, wire.DeviceKeys(signing, noise))])


def _state(ctx: Context, signed: Sequence[SignedStatement]) -> None:
    """Take statements of ours in and tell everybody who is there."""
    try:
        people.learn_statements(ctx, signed, (ctx.me.account,))
    except RemoteProtocolError as error:
        raise CommandError(
            "usage", f"{error.reason} of your machines", f"revoke those you lost; {LIST}"
        ) from error
    tell(ctx, ctx.me.account, list(ctx.live.by_device.values()))
    changed(ctx, ctx.me.account, at_once=True)


def tell(ctx: Context, account: AccountId, links: Sequence[int]) -> None:
    """Somebody's statements, all of them: who lacks an ancestor of one could make nothing of it."""
    runs = list(portions(ctx.cache.accounts[account].signed, frames.FRAME_BYTES))
    ctx.out.extend(Send(number, Statements(run)) for number in links for run in runs)


def revoked_of(account: accounts.Account | None) -> frozenset[DeviceId]:
    """Machines of somebody that are revoked."""
    return frozenset(d.id for d in account.devices.values() if d.revoked) if account else frozenset()


def pass_on(ctx: Context, account: AccountId, before: accounts.Account | None, came_on: int) -> None:
    """A revocation has come, and not everybody need have a link to who said it: tell it once more, to all
    where they are few, else to some."""
    if before is None or revoked_of(ctx.cache.accounts[account]) <= revoked_of(before):
        return
    links = [number for number in ctx.live.by_device.values() if number != came_on]
    while len(links) > PASSED_ON:
        del links[int(ctx.entropy.random() * len(links))]
    tell(ctx, account, links)


def changed(ctx: Context, account: AccountId, *, at_once: bool = False) -> None:
    """Somebody's statements have changed: links to machines that they revoke end, and rooms hear of it;
    `at_once` from us, whoever we are there."""
    membership.proofs_came(ctx, account)
    revocations.plan(ctx, account, at_once=at_once)
    known = ctx.cache.accounts[account]
    for device in known.devices.values():
        for number in crossing.links_to(ctx, device.id) if device.revoked else ():
            tell(ctx, account, (number,))
            ctx.out.append(CloseLink(number, "refused"))
    if account == ctx.me.account and revoked(ctx):
        ctx.out.append(Tell("warning", ("revoked", REVOKED)))
    ctx.out.append(Tell("peer", account))


def revoked(ctx: Context) -> bool:
    """Whether another machine of ours, or the recovery key, has cut this one off."""
    return ctx.cache.accounts[ctx.me.account].devices[ctx.me.device].revoked


def check_may(ctx: Context, event: Input) -> None:
    """CommandError `key_revoked` for a command that others are to believe, where nobody would. Whoever
    outranks the machine that revoked this one may revoke it in turn, and stays."""
    if isinstance(event, _WRITING) and not _may_fight(ctx, event):
        refuse_if_revoked(ctx)


def refuse_if_revoked(ctx: Context) -> None:
    """CommandError `key_revoked` on a machine that nobody believes any more."""
    if revoked(ctx):
        raise CommandError(
            "key_revoked",
            "this machine was revoked: nobody takes anything from it any more",
            "it comes back only as a new machine, in a new folder: see docs/devices.md",
        )


def _may_fight(ctx: Context, event: Input) -> bool:
    if not isinstance(event, RevokeDevice) or not revoked(ctx):
        return False
    device, account = mine(ctx, event.ref), ctx.cache.accounts[ctx.me.account]
    tried = stating.revoking(ctx.me, account.acts, device, fighting=True)
    after = accounts.fold((*account.acts, *(accounts.read_statement(one) for one in tried)))
    return not after.devices[ctx.me.device].revoked


REVOKED: Final = (
    "this machine was revoked by another of yours: nobody takes anything from it any more; "
    "what it has stays readable here"
)
