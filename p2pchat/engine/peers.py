"""Who to dial.

Decides: when an address is dialled, how failures are paced, and what is remembered of where machines are
(docs/protocol.md, "Finding each other"). Does not know: sockets, mDNS, what is said on a link, or which of
two links stays (crossing).
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final

from p2pchat.engine import crossing, crowd, exchange, search, underway
from p2pchat.engine.context import Context, Link, Sight, Target
from p2pchat.engine.inputs import Dial, Reply, Sighted
from p2pchat.ids import DeviceId
from p2pchat.model import AddressRow
from p2pchat.wire.limits import (
    FIRST_PORT,
    LAST_PORT,
    MAX_ADDRESSES,
    MAX_DIALS_AT_ONCE,
    MAX_UNKNOWN_DIALS_PER_S,
    MAX_UNKNOWN_PEERS,
    SESSION_S,
    UNPACED_DIALS_AT_START,
)

SECOND_DIALLER_S: Final = 1.0
"""The greater label waits this long, so that two fresh machines do not cross."""
NEXT_ADDRESS_S: Final = 0.5
"""Another address of the same sighting is tried this much later."""
AFTER_TIMEOUT_S: Final = 0.1
FAST_RETRY_S: Final = 600.0
"""So long a lost peer is tried every few seconds: back within 5 s of the network."""
RENEW_AGAIN_S: Final = 600.0
"""A day-old link that could not be replaced is tried again this much later."""
LASTED_S: Final = 1.0
"""A link that ended sooner was not wanted over there: as good as a dial that failed."""
GIVE_UP_FAILURES: Final = 6
"""An address of which nothing is known is dropped after so many failures."""
LOOSE_SLACK: Final = 64
"""So many more addresses of strangers than MAX_UNKNOWN_PEERS before they are sorted out, all at once."""


def backoff(target: Target, now: float, jitter: float) -> float:
    """Seconds until an address that just failed is due again."""
    age = now - target.since
    if age < FAST_RETRY_S:
        return min(3.0, 0.5 * 2.0 ** min(target.failures, 8)) * (0.75 + 0.25 * jitter)
    return (15.0 if age < 3600.0 else 60.0) * (0.75 + 0.5 * jitter)


# -- learning addresses ----------------------------------------------------------------


def start(ctx: Context) -> None:
    """Remembered and given addresses are dialled when the daemon starts."""
    for row in ctx.cache.addresses.values():
        _aim(ctx, Target(row.host, row.port, "", row.device, 0, ctx.now.mono, ctx.now.mono))
    tick(ctx)


def sighted(ctx: Context, seen: Sighted) -> None:
    """Somebody announces himself."""
    live = ctx.live
    if seen.label == live.label:
        return
    known = live.sights.get(seen.label)
    if known is None and len(live.sights) >= MAX_UNKNOWN_PEERS and not _make_room(ctx):
        return
    hosts = tuple(host for host in seen.addresses if dialable(host, seen.port, live.addresses))[
        :MAX_ADDRESSES
    ]
    device = (known.device if known else None) or _met_there(ctx, hosts, seen.port)
    for old in known.addresses if known else ():
        gone = live.targets.get((old, known.port if known else 0))
        if gone is not None and old not in hosts and gone.device is None and gone.dialling is None:
            del live.targets[gone.host, gone.port]  # he has moved, or wants us to dial the whole world
    live.sights[seen.label] = Sight(seen.label, hosts, seen.port, ctx.now.mono, device)
    if device is not None and device in live.by_device:
        return
    # The smaller label dials at once; the other only if nothing came of that.
    first = 0.0 if live.label < seen.label else SECOND_DIALLER_S
    for place, host in enumerate(hosts):
        due = ctx.now.mono + first + place * NEXT_ADDRESS_S
        standing = live.targets.get((host, seen.port))
        since = standing.since if standing and standing.device else ctx.now.mono
        who = standing.device if standing else device
        _aim(ctx, Target(host, seen.port, seen.label, who, 0, due, since))
    tick(ctx)


def _met_there(ctx: Context, hosts: tuple[str, ...], port: int) -> DeviceId | None:
    """The machine that is linked to us and listens at one of these addresses: it connected before its
    announcement was read."""
    for host in hosts:
        target = ctx.live.targets.get((host, port))
        if target is not None and target.by is None and target.device in ctx.live.by_device:
            return target.device
    return None


def lost(ctx: Context, label: str) -> None:
    """An announcement was withdrawn: stop dialling it. Trust and links are untouched."""
    ctx.live.sights.pop(label, None)
    for key, target in list(ctx.live.targets.items()):
        if target.label == label and target.device is None and key not in ctx.cache.addresses:
            del ctx.live.targets[key]


def network_changed(ctx: Context, addresses: tuple[str, ...], networks: tuple[str, ...] = ()) -> None:
    """Other addresses, or awake again: everything is worth another try at once."""
    ctx.live.addresses, ctx.live.networks = addresses, networks
    for key, target in list(ctx.live.targets.items()):
        ctx.live.targets[key] = replace(target, failures=0, due=ctx.now.mono, since=ctx.now.mono)
    exchange.network_changed(ctx)
    search.network_changed(ctx)
    tick(ctx)


def dialable(host: str, port: int, own: tuple[str, ...]) -> bool:
    """Whether an announced address may be dialled at all: never a privileged port, and
    this machine's loopback only if it is what we use."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if not 1024 <= port <= 65535 or address.is_multicast or address.is_unspecified:
        return False
    return not address.is_loopback or any(_is_loopback(one) for one in own)


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


def _make_room(ctx: Context) -> bool:
    """Forget the oldest sighting of nobody, else of a stranger; whom we know is never pushed out."""
    sights = list(ctx.live.sights.values())
    strangers = [s for s in sights if s.device is None] or [s for s in sights if _stranger(ctx, s.device)]
    oldest = min(strangers, key=lambda sight: (sight.at, sight.label), default=None)
    if oldest is None:
        return False
    lost(ctx, oldest.label)
    return True


def _aim(ctx: Context, target: Target) -> None:
    standing = ctx.live.targets.get((target.host, target.port))
    if standing is not None and standing.dialling is not None:
        target = replace(target, dialling=standing.dialling)
    ctx.live.targets[target.host, target.port] = target


def remember(ctx: Context, host: str, port: int, device: DeviceId | None, *, static: bool) -> None:
    """Keep an address that worked, or was given by hand."""
    known = ctx.cache.addresses.get((host, port))
    fixed = static or (known is not None and known.static)
    row = AddressRow(host, port, device or (known.device if known else None), fixed, ctx.now.wall_ms)
    if known is not None and (known.device, known.static) == (row.device, row.static):
        if row.last_ok_ms - known.last_ok_ms < 3_600_000:
            return  # nothing worth a write
    ctx.cache.addresses[host, port] = row
    ctx.ledger.people.put_address(row)
    ctx.batch.wrote = True
    if row.device is not None and not fixed:
        _trim(ctx, row.device)


def _trim(ctx: Context, device: DeviceId) -> None:
    """Of one machine the newest addresses are kept, and of all strangers together a tableful."""
    every = ctx.cache.addresses.values()
    own = [row for row in every if row.device == device and not row.static]
    spare = sorted(own, key=_age)[:-MAX_ADDRESSES]
    if len(every) > MAX_UNKNOWN_PEERS + LOOSE_SLACK:
        rows = [row for row in every if not row.static and row.device is not None]
        loose = [row for row in rows if row.device != device and _stranger(ctx, row.device)]
        if len(rows) > MAX_UNKNOWN_PEERS + LOOSE_SLACK:
            spare += sorted(loose, key=_age)[: max(0, len(loose) - MAX_UNKNOWN_PEERS)]
    for row in spare:
        drop(ctx, row)


def _age(row: AddressRow) -> tuple[int, str, int]:
    return row.last_ok_ms, row.host, row.port


def _stranger(ctx: Context, device: DeviceId | None) -> bool:
    """Whether this machine is not here and belongs to nobody we know."""
    owner = None if device is None else ctx.cache.owner.get(device)
    return device not in ctx.live.by_device and (
        owner is None or crowd.standing(ctx, owner) == crowd.STRANGER
    )


def drop(ctx: Context, row: AddressRow) -> None:
    """Forget one address, and dial it no more."""
    key = (row.host, row.port)
    del ctx.cache.addresses[key]
    target = ctx.live.targets.get(key)
    if target is not None and target.dialling is None:
        del ctx.live.targets[key]
    ctx.ledger.people.drop_address(*key)
    ctx.batch.wrote = True


def forget(ctx: Context, devices: list[DeviceId]) -> None:
    """Drop what is remembered of where these machines are."""
    for row in list(ctx.cache.addresses.values()):
        if row.device in devices:
            ctx.live.targets.pop((row.host, row.port), None)
            drop(ctx, row)
    for key, target in list(ctx.live.targets.items()):
        if target.by is not None and target.device in devices:
            del ctx.live.targets[key]


# -- dialling ------------------------------------------------------------------------------


def tick(ctx: Context) -> None:
    """Dial what is due, within the limits; set the timer for what is due next."""
    if ctx.live.stopping:
        return
    now = ctx.now.mono
    recent = tuple(at for at in ctx.live.dial_times if now - at < 1.0)
    ctx.live.dial_times = recent
    upcoming: float | None = None
    targets, linked = ctx.live.targets, ctx.live.by_device
    waiting = [
        one
        for one in targets.items()
        if one[1].dialling is None and one[1].device not in linked and not _reached(ctx, one[1])
    ]
    if not waiting:
        return
    crowd_s = underway.crowd_s(ctx)
    # One address of a machine at a time: dialled together, its links would replace each other.
    busy = {
        _whose(target)
        for target in map(targets.get, ctx.live.dials.values())
        if target is not None
        and target.dialling is not None
        and now < target.began + underway.patience(target, crowd_s, NEXT_ADDRESS_S)
    }
    for key, target in sorted(waiting, key=lambda item: item[1].due):
        if target.due > now + 0.001:
            upcoming = target.due if upcoming is None else min(upcoming, target.due)
            continue
        if _whose(target) in busy:
            upcoming = now + NEXT_ADDRESS_S if upcoming is None else min(upcoming, now + NEXT_ADDRESS_S)
            continue
        until = underway.waits_until(ctx, target, crowd_s)
        if until > now:
            upcoming = until if upcoming is None else min(upcoming, until)
            continue
        unknown = (target.device is None or target.by is not None) and key not in ctx.cache.addresses
        paced = unknown and ctx.live.strangers_dialled >= UNPACED_DIALS_AT_START
        if len(ctx.live.dials) >= MAX_DIALS_AT_ONCE or (
            paced and len(ctx.live.dial_times) >= MAX_UNKNOWN_DIALS_PER_S
        ):
            upcoming = now + 0.2 if upcoming is None else min(upcoming, now + 0.2)
            continue
        ctx.live.strangers_dialled += unknown
        busy.add(_whose(target))
        dial(ctx, target)
    if upcoming is not None:
        ctx.timer("peers", max(upcoming, now + 0.01))


def _whose(target: Target) -> bytes | str | tuple[str, int]:
    """What two addresses of one machine have in common, as far as is known."""
    return target.device or target.label or (target.host, target.port)


def dial(ctx: Context, target: Target) -> int:
    """Ask for one connection."""
    number = ctx.number()
    key = (target.host, target.port)
    ctx.live.dials[number] = key
    ctx.live.dial_times = (*ctx.live.dial_times, ctx.now.mono)
    ctx.live.targets[key] = replace(target, dialling=number, began=ctx.now.mono, answered=False)
    ctx.out.append(Dial(number, target.host, target.port))
    return number


def _reached(ctx: Context, target: Target) -> bool:
    if target.device is not None:
        return target.device in ctx.live.by_device or target.device == ctx.me.device
    sight = ctx.live.sights.get(target.label)
    return sight is not None and sight.device is not None and sight.device in ctx.live.by_device


def dial_failed(ctx: Context, number: int, reason: str) -> None:
    """Nothing came of a dial."""
    key = ctx.live.dials.pop(number, None)
    target = ctx.live.targets.get(key) if key else None
    given = ctx.cache.addresses.get(key) if key else None
    if reason == "self" and given is not None and given.device is None:
        drop(ctx, given)  # nobody else will ever be met there
    if key is not None and target is not None:
        failed = replace(target, dialling=None, answered=False, failures=target.failures + 1)
        known = (
            (failed.device is not None and failed.by is None)
            or key in ctx.cache.addresses
            or failed.label in ctx.live.sights
        )
        if failed.by is not None and failed.failures >= exchange.TRIES:
            exchange.led_nowhere(ctx, failed)
        elif not known and failed.failures >= GIVE_UP_FAILURES:
            del ctx.live.targets[key]
        else:
            wait = backoff(failed, ctx.now.mono, ctx.entropy.random())
            if reason == "timeout" and ctx.now.mono - failed.since < FAST_RETRY_S:
                wait = min(wait, AFTER_TIMEOUT_S)  # it has paced itself, and the network may be back
            ctx.live.targets[key] = replace(failed, due=ctx.now.mono + wait)
    _answer_add(ctx, number, None, reason)
    tick(ctx)


def add(ctx: Context, request: int, host: str, port: int | None) -> tuple[int, ...]:
    """Dial an address given by hand, remembered either way; the dials under way."""
    remember(ctx, host, port or FIRST_PORT, None, static=True)
    numbers = []
    for one in (port,) if port else range(FIRST_PORT, LAST_PORT + 1):
        standing = ctx.live.targets.get((host, one))
        if standing is not None and standing.dialling is not None:
            numbers.append(standing.dialling)
            continue
        fresh = Target(host, one, "", standing.device if standing else None, 0, ctx.now.mono, ctx.now.mono)
        numbers.append(dial(ctx, fresh))
    return tuple(numbers)


def _answer_add(ctx: Context, number: int, link: Link | None, reason: str) -> None:
    for request, waiter in list(ctx.live.waiters.items()):
        if waiter.kind != "dial" or number not in waiter.dials:
            continue
        rest = tuple(one for one in waiter.dials if one != number)
        if link is None and rest:
            ctx.live.waiters[request] = replace(waiter, dials=rest, want=_worse(waiter.want, reason))
            continue
        del ctx.live.waiters[request]
        told = reason if link else _worse(waiter.want, reason)
        ctx.out.append(Reply(request, {"connected": link is not None, "reason": told, "link": link}))


def _worse(before: str, reason: str) -> str:
    """Of several dials' reasons the one that says most: a closed port proves a host."""
    order = ("", "timeout", "unreachable", "host_down", "name", "port_closed")
    ranked = {word: place for place, word in enumerate(order)}
    return max(before, reason, key=lambda word: ranked.get(word, len(order)))


# -- links come and go ------------------------------------------------------------------------


def link_up(ctx: Context, link: Link, dialled: int | None) -> bool:
    """A handshake is complete. True if this is now *the* link to that machine."""
    live = ctx.live
    live.links[link.link] = link
    key = live.dials.pop(dialled, None) if dialled is not None else None
    if key is not None:
        target = live.targets.get(key)
        if target is not None:
            exchange.led_somewhere(ctx, target)
            live.targets[key] = replace(target, dialling=None, device=link.device, by=None)
            sight = live.sights.get(target.label)
            if sight is not None:
                live.sights[target.label] = replace(sight, device=link.device)
    if link.port:
        where = key if key is not None else (link.host, link.port)
        if link.device != ctx.me.device:
            remember(ctx, *where, link.device, static=False)
            standing = live.targets.get(where)
            if standing is None:
                standing = Target(*where, "", link.device, 0, ctx.now.mono, ctx.now.mono)
            live.targets[where] = replace(standing, device=link.device, by=None)
            seen = live.sights.get(standing.label)
            if seen is not None:
                live.sights[standing.label] = replace(seen, device=link.device)
    if dialled is not None:
        _answer_add(ctx, dialled, link, "")
    if link.initiator:
        ctx.timer("renew", ctx.now.mono + SESSION_S)
    return crossing.settle(ctx, link)


def renew(ctx: Context) -> None:
    """Links that are a day old: their initiator dials anew, and the new one replaces them."""
    for number in list(ctx.live.by_device.values()):
        link = ctx.live.links[number]
        if not link.initiator or not link.port:
            continue
        if ctx.now.mono < link.since + SESSION_S:
            ctx.timer("renew", link.since + SESSION_S)
            continue
        known = ctx.live.targets.get((link.host, link.port))
        fresh = Target(link.host, link.port, "", link.device, 0, ctx.now.mono, ctx.now.mono)
        dial(ctx, known or fresh)
        ctx.timer("renew", ctx.now.mono + RENEW_AGAIN_S)  # in case nothing comes of it


def link_down(ctx: Context, number: int) -> tuple[Link | None, int | None]:
    """A link is gone: (the link, the one that has taken its place, if any)."""
    live = ctx.live
    link = live.links.pop(number, None)
    newer = live.contested.pop(number, None)
    for older, contender in list(live.contested.items()):
        if contender == number:
            del live.contested[older]
    if link is None or live.by_device.get(link.device) != number:
        return link, None
    crossing.use(live, link.device, None)
    spare = [one.link for one in live.links.values() if one.device == link.device]
    if newer is None and spare:
        newer = max(spare)
    if newer is not None and newer in live.links:
        crossing.use(live, link.device, newer)
        return link, newer
    now, chance = ctx.now.mono, ctx.entropy.random()
    for key, target in list(live.targets.items()):
        if target.device != link.device:
            continue
        if now - link.since < LASTED_S:
            failed = replace(target, failures=target.failures + 1)
            live.targets[key] = replace(failed, due=now + backoff(failed, now, chance))
        else:
            live.targets[key] = replace(target, failures=0, due=now + 0.2 + 0.3 * chance, since=now)
    tick(ctx)
    return link, None
