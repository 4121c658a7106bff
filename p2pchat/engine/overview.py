"""What can be asked of a node without changing anything.

Decides: how people, machines and trust are summed up for those who look. Does not
know: JSON, or who asks. Everything here reads the node's memory between two batches.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pchat.crypto.identity import in_groups, safety_number
from p2pchat.engine import names, people, rooms
from p2pchat.engine.context import Context
from p2pchat.engine.names import Person
from p2pchat.ids import AccountId, DeviceId, RoomId, fingerprint
from p2pchat.model import PeerView
from p2pchat.wire.messages.link import Hello


@dataclass(frozen=True, slots=True)
class TrustView:
    """A person's key, as `trust show` prints it."""

    account: AccountId
    name: str
    trust: str
    fingerprint: str
    safety_number: str  # twelve groups of five digits
    devices: tuple[tuple[DeviceId, bool], ...]  # (id, revoked)
    successor: AccountId | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a TARGET means to somebody who wants to read."""

    room: RoomId
    kind: str
    account: AccountId
    name: str
    warning: str


def conversation(ctx: Context, target: str) -> Conversation:
    """The direct chat a TARGET means; CommandError 4 if there is none."""
    person: Person = names.resolve(ctx, target)
    room = rooms.direct_id(ctx.me.account, person.account)
    return Conversation(room, "direct", person.account, names.shown(ctx, person.account), person.warning)


def person_names(ctx: Context) -> dict[AccountId, str]:
    """Everybody's name as it is shown, our own included."""
    return {account: names.shown(ctx, account) for account in ctx.cache.accounts}


def peer_views(ctx: Context) -> list[PeerView]:
    """Every machine of everybody known, connected ones first."""
    found = []
    for account in names.everybody(ctx):
        standing = ctx.cache.trust.get(account)
        for device in ctx.cache.accounts[account].devices.values():
            if device.revoked and not ctx.cache.accounts[account].revoked:
                continue
            found.append(_peer(ctx, account, device.id, standing.last_seen_ms if standing else None))
    return sorted(found, key=lambda peer: (not peer.connected, names.fold(peer.name), peer.device))


def _peer(ctx: Context, account: AccountId, device: DeviceId, last_seen: int | None) -> PeerView:
    number = ctx.live.by_device.get(device)
    link = ctx.live.links.get(number) if number is not None else None
    seen = ctx.now.wall_ms if link else ctx.live.last_seen.get(device, last_seen)
    host = f"[{link.host}]" if link and ":" in link.host else (link.host if link else "")
    address = None
    if link is not None:
        address = f"{host}:{link.port}" if link.port else host
    return PeerView(
        account=account,
        device=device,
        name=people.name(ctx, account),
        shown_name=names.shown(ctx, account),
        room=rooms.direct_id(ctx.me.account, account),
        connected=link is not None,
        address=address,
        trust=names.trust_word(ctx, account),
        last_seen_ms=seen,
    )


def peers_of(ctx: Context, account: AccountId) -> list[PeerView]:
    """The machines of one person."""
    return [peer for peer in peer_views(ctx) if peer.account == account]


def trust_view(ctx: Context, target: str) -> TrustView:
    """What is known of the key a TARGET means."""
    account = names.resolve(ctx, target).account
    known = ctx.cache.accounts[account]
    return TrustView(
        account=account,
        name=names.shown(ctx, account),
        trust=names.trust_word(ctx, account),
        fingerprint=fingerprint(account),
        safety_number=in_groups(safety_number(ctx.me.account, account)),
        devices=tuple((device.id, device.revoked) for device in known.devices.values()),
        successor=known.successor,
    )


def hello(ctx: Context) -> Hello:
    """What a handshake says of this machine."""
    own = [ctx.cache.prekeys.get(ctx.me.device), ctx.cache.profiles.get(ctx.me.account)]
    registers = tuple(people.signed_register(row) for row in own if row is not None)
    # The clock as it is, not as others corrected it: else a wrong one is passed on as agreement.
    system_ms = ctx.now.wall_ms - ctx.shift_ms
    return Hello(1, ctx.me.device, ctx.me.statements, registers, ctx.live.port, system_ms)
