"""Machines introduce machines: who can be dialled where, where no announcement reaches.

Decides: what this machine says of its own addresses, when it asks others whom they are linked to, whom
it introduces, and which addresses it dials on somebody's word (docs/protocol.md, "Finding each other";
docs/decisions/0014). Does not know: sockets, or how a dial is paced (peers).

An introduction is a hint and never trust: only the handshake says who answers. What is bounded is whom
we can be made to dial. Each machine signs where it is itself, so nobody can point at a third one; the
address must be of a local kind; it is tried a few times and then rests; whoever introduces many that
do not answer is not heard for a while; and whoever was not asked introduces nobody.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

from p2pchat.crypto.primitives import ed25519_verify, tag_bytes
from p2pchat.engine import accounts, frames, people, presence
from p2pchat.engine.context import Context, Introducer, Link, Target
from p2pchat.engine.inputs import Send
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import DeviceId
from p2pchat.wire.codec import decode, encode, portions
from p2pchat.wire.limits import (
    FIRST_UNPRIVILEGED_PORT,
    MAX_ADDRESSES,
    MAX_INTRODUCED,
    MAX_LINKS,
    MAX_UNKNOWN_PEERS,
)
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.network import PREFIX, Around, Introduction, Introductions, Reach
from p2pchat.wire.messages.registers import Register, SignedRegister

STRANGE_S: Final = 0.5
"""Somebody not known by his announcement is asked so soon whom he knows: he may be of another network."""
FIRST_S: Final = 2.0
"""A newcomer asks when his first links have settled; also the least time between two questions."""
EVERY_S: Final = 60.0
"""One machine drawn by lot is asked this often, give or take a fifth."""
STRANGE_AT_ONCE: Final = 3
"""So many in a row that no announcement told of; the others know what these know, or are asked by lot."""
ANSWER_EVERY_S: Final = 1.0
"""To one machine at most one answer in this time."""
TRIES: Final = 3
"""An introduced address that answers never rests after so many dials."""
RESTS_S: Final = 600.0
MISLED: Final = 48
"""Addresses of one introducer that led nowhere, until his word counts nothing for RESTS_S."""
STATEMENTS: Final = 16
"""Who needs more to be proven is not introduced: he is met, or dials."""

_LOCAL: Final = tuple(
    ipaddress.ip_network(net)
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Private use (RFC 1918, RFC 4193) and what carriers and VPNs number with (RFC 6598)."""
_REGISTER_TAG: Final = tag_bytes(registers.TAG_REGISTER)


# -- where we are ---------------------------------------------------------------------------


def publish(ctx: Context) -> None:
    """Sign where this machine can be dialled, if it has said otherwise before, and tell who is linked."""
    live, me = ctx.live, ctx.me.device
    if not live.port:
        return
    hosts = told_of_us(ctx)
    known = people.own_register(ctx, registers.REACH, b"", b"")
    if known is None and not hosts:
        return
    value = Reach(hosts, live.port if hosts else 0)
    if known is None or known.value != encode(value):
        known = people.publish(ctx, registers.REACH, value)
    signed = people.signed_register(known)
    if live.reach.get(me) != signed:
        live.reach[me] = signed
        ctx.out.extend(Send(number, wire.Registers((signed,))) for number in live.by_device.values())


def told_of_us(ctx: Context) -> tuple[str, ...]:
    """Our addresses, as far as anybody is told of them."""
    if ctx.live.unlisted or presence.hidden_from_all(ctx):
        return ()
    return tuple(filter(_told, ctx.live.addresses))[:MAX_ADDRESSES]


def _told(host: str) -> bool:
    """Whether an address of ours means anything elsewhere."""
    if "%" in host:
        return False
    ip = ipaddress.ip_address(host)
    return not (ip.is_loopback or ip.is_link_local)


def heard(ctx: Context, device: DeviceId, signed: SignedRegister) -> None:
    """A machine says itself where it is; its signature holds."""
    before = ctx.live.reach.get(device)
    if before is None or decode(Register, before.register).n < decode(Register, signed.register).n:
        ctx.live.reach[device] = signed


def gone(ctx: Context, device: DeviceId) -> None:
    """A machine is not linked any more: nobody is told of it."""
    ctx.live.reach.pop(device, None)
    standing = ctx.live.introducers.pop(device, None)
    # Whoever misled us shall not come back with a clean slate; of others nothing is to be remembered.
    if standing is not None and (standing.misled or standing.deaf_until > ctx.now.mono):
        if len(ctx.live.introducers) < MAX_UNKNOWN_PEERS:
            ctx.live.introducers[device] = standing._replace(asked=0)
    ctx.live.asked_strange.pop(device, None)
    ctx.live.consulted.pop(device, None)


# -- asking -----------------------------------------------------------------------------------


def met(ctx: Context, link: Link) -> None:
    """A link is ready: it may know others."""
    strange = _strange(ctx, link.device)
    if strange or ctx.live.asked_at == 0.0:
        ctx.timer("around", ctx.now.mono + (STRANGE_S if strange else FIRST_S))


def _strange(ctx: Context, device: DeviceId) -> bool:
    return device not in [sight.device for sight in ctx.live.sights.values()]


def due(ctx: Context) -> None:
    """Ask one machine whom it is linked to."""
    live, now = ctx.live, ctx.now.mono
    linked = sorted(live.by_device)
    if not linked:
        return  # the next link that is ready sets the timer
    new = [one for one in linked if one not in live.asked_strange and _strange(ctx, one)]
    chance = ctx.entropy.random()
    if new and live.strange_asked < STRANGE_AT_ONCE:
        chosen = new[int(chance * len(new))]
        live.strange_asked += 1
        live.asked_strange[chosen] = None
    else:
        chosen = linked[int(chance * len(linked))]
        live.strange_asked = 0
    live.asked_at = now
    live.introducers[chosen] = live.introducers.get(chosen, Introducer())._replace(asked=MAX_INTRODUCED)
    known = b"".join(device[:PREFIX] for device in linked if device != chosen)
    ctx.out.append(Send(live.by_device[chosen], Around(known)))
    soon = len(new) > 1 and live.strange_asked < STRANGE_AT_ONCE
    ctx.timer("around", now + (FIRST_S if soon else EVERY_S * (0.8 + 0.4 * ctx.entropy.random())))


def asked(ctx: Context, link: Link, question: Around) -> None:
    """Introduce those the other side does not know to it."""
    if len(question.known) % PREFIX or len(question.known) > PREFIX * MAX_LINKS:
        raise RemoteProtocolError("devices named out of range")
    standing = ctx.live.introducers.get(link.device, Introducer())
    if ctx.now.mono < standing.answered + ANSWER_EVERY_S:
        return
    ctx.live.introducers[link.device] = standing._replace(answered=ctx.now.mono)
    known = {question.known[at : at + PREFIX] for at in range(0, len(question.known), PREFIX)}
    found = []
    for device in sorted(ctx.live.by_device):
        signed = ctx.live.reach.get(device)
        if signed is None or device == link.device or device[:PREFIX] in known:
            continue
        if presence.shown(ctx, device) == presence.HIDDEN:
            continue  # to us he is not here, so we say nothing of him
        owner = ctx.cache.accounts[ctx.cache.owner[device]]
        trust = ctx.cache.trust.get(owner.id)
        if len(owner.signed) > STATEMENTS or (trust is not None and trust.blocked):
            continue
        if decode(Reach, decode(Register, signed.register).value).hosts:
            found.append(Introduction(owner.signed, signed))
    told = portions(found[:MAX_INTRODUCED], frames.FRAME_BYTES // 4)  # verified in one go over there
    ctx.out.extend(Send(link.link, Introductions(run)) for run in told)


# -- being introduced -------------------------------------------------------------------------


def introduced(ctx: Context, link: Link, said: Introductions) -> None:
    """Take in whom we asked for: their addresses are dialled as hints."""
    live, now = ctx.live, ctx.now.mono
    if len(said.people) > MAX_INTRODUCED:
        raise RemoteProtocolError("too many introductions")
    standing = live.introducers.get(link.device, Introducer())
    if not standing.asked or now < standing.deaf_until:
        return
    people = said.people[: standing.asked]  # each costs signatures to verify: no more than one answer has
    live.introducers[link.device] = standing._replace(asked=standing.asked - len(people))
    near = neighbourhood(ctx)
    for one in people:
        _introduce(ctx, link, one, near)
    ctx.timer("peers", now + 0.01)


def _introduce(ctx: Context, link: Link, one: Introduction, near: Near) -> None:
    found = _proven(one)
    if found is None:
        raise RemoteProtocolError("introduction that does not hold")
    device, reach = found
    live, now = ctx.live, ctx.now.mono
    if device == ctx.me.device or device in live.by_device or _unwanted(ctx, device, one):
        return
    hinted = sum(target.by is not None for target in live.targets.values())
    for place, host in enumerate(reach.hosts[:MAX_ADDRESSES]):
        key = (host, reach.port)
        if (
            not worth(ctx, host, reach.port, near)
            or key in live.targets
            or live.fruitless.get(key, now) > now
        ):
            continue
        if hinted >= MAX_UNKNOWN_PEERS:
            return
        hinted += 1
        # Both sides are introduced at about the same time: the smaller dials first.
        due_at = now + (0.0 if ctx.me.device < device else 1.0) + place * 0.5
        live.targets[key] = Target(host, reach.port, "", device, 0, due_at, now, by=link.device)


def _proven(one: Introduction) -> tuple[DeviceId, Reach] | None:
    """The machine that signed where it is, if it is one of the account of these statements."""
    if len(one.statements) > STATEMENTS:
        return None
    acts = [accounts.read_statement(signed) for signed in one.statements]
    if len({act.account for act in acts}) != 1:
        return None
    body = decode(Register, one.register.register)
    machine = accounts.fold(acts).devices.get(DeviceId(body.device))
    if machine is None or machine.revoked or (body.v, body.kind) != (1, registers.REACH):
        return None
    if not ed25519_verify(machine.signing, _REGISTER_TAG + one.register.register, one.register.signature):
        return None
    reach = decode(Reach, body.value)
    if len(reach.hosts) > MAX_ADDRESSES or any(len(host) > 45 for host in reach.hosts):
        return None
    return machine.id, reach


def _unwanted(ctx: Context, device: DeviceId, one: Introduction) -> bool:
    """Blocked, or revoked as far as is known here."""
    account = accounts.read_statement(one.statements[0]).account
    trust, known = ctx.cache.trust.get(account), ctx.cache.accounts.get(account)
    machine = known.devices.get(device) if known is not None else None
    return (trust is not None and trust.blocked) or (machine is not None and machine.revoked)


class Near(NamedTuple):
    """Where addresses that are not private may lie, to be dialled on somebody's word."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    around: frozenset[tuple[int, int]]
    """Version, and the number without its last bits, of addresses where somebody proved himself."""


def neighbourhood(ctx: Context) -> Near:
    """As it is now: put together once for many addresses, of which a stranger may name two thousand."""
    around = set()
    for row in ctx.cache.addresses.values():
        try:
            ip = ipaddress.ip_address(row.host)
        except ValueError:
            continue  # a name, or an address that means nothing without its interface
        around.add(_around(ip))
    own = tuple(ipaddress.ip_network(one, strict=False) for one in ctx.live.networks)
    return Near(own, frozenset(around))


def _around(ip: IPv4Address | IPv6Address) -> tuple[int, int]:
    """Its /24, or /64."""
    return ip.version, int(ip) >> (8 if ip.version == 4 else 64)


def worth(ctx: Context, host: str, port: int, near: Near) -> bool:
    """Whether an address may be dialled on the word of another: local, not ours, no privileged port.

    What is neither private nor on a network of ours is dialled only where somebody has already answered
    us close by: so nobody on the open internet is ever dialled because of what a stranger says.
    """
    if not FIRST_UNPRIVILEGED_PORT <= port <= 65535 or "%" in host:
        return False
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or str(ip) != host:
        return False
    if host in ctx.live.addresses:
        return False
    if any(ip.version == net.version and ip in net for net in (*_LOCAL, *near.networks)):
        return True
    return _around(ip) in near.around


def led_nowhere(ctx: Context, target: Target) -> None:
    """An introduced address has been tried often enough."""
    live, now = ctx.live, ctx.now.mono
    key = (target.host, target.port)
    live.targets.pop(key, None)
    live.fruitless.become({one: until for one, until in live.fruitless.items() if until > now})
    if len(live.fruitless) < 2 * MAX_UNKNOWN_PEERS:
        live.fruitless[key] = now + RESTS_S
    if target.by is None:
        return
    standing = live.introducers.get(target.by, Introducer())
    standing = standing._replace(misled=standing.misled + 1)
    if standing.misled >= MISLED:
        standing = standing._replace(misled=0, deaf_until=now + RESTS_S)
        for other, aimed in list(live.targets.items()):
            if aimed.by == target.by and aimed.dialling is None:
                del live.targets[other]
    live.introducers[target.by] = standing


def led_somewhere(ctx: Context, target: Target) -> None:
    """Somebody who proved who he is answered where another said so."""
    if target.by is not None and target.by in ctx.live.introducers:
        ctx.live.introducers[target.by] = ctx.live.introducers[target.by]._replace(misled=0)


def network_changed(ctx: Context) -> None:
    """What led nowhere may lead somewhere now; and others should hear where we are."""
    known = ctx.live.introducers
    ctx.live.fruitless.clear()
    known.become({device: _clean(one) for device, one in known.items() if one.asked})
    publish(ctx)


def _clean(one: Introducer) -> Introducer:
    """A clean slate, but for what we wait for."""
    return one._replace(misled=0, deaf_until=0.0)
