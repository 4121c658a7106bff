"""Looking for others without an announcement: every address of our own networks is dialled once.

Decides: which addresses, and how fast. Does not know: sockets, or who answers. Only where the user
has asked for it (`config set probe on`): in some offices whoever dials every address is taken for
an intruder.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from p2pchat.engine.context import Context
from p2pchat.engine.inputs import Dial, Reply, Search
from p2pchat.wire.limits import FIRST_PORT, MAX_DIALS_AT_ONCE, MAX_PROBED

PACE_S: Final = 0.1
"""Between two dials: 254 addresses in half a minute."""
AT_ONCE: Final = MAX_DIALS_AT_ONCE // 2
"""Half of all dials under way: whom we know is not kept waiting."""
WIDEST: Final = 24
"""Of a wider network the 254 addresses around our own."""


def command(ctx: Context, search: Search) -> None:
    """Switch it on or off."""
    changed, ctx.live.searching = ctx.live.searching != search.on, search.on
    if changed:
        begin(ctx)
    ctx.out.append(Reply(search.request, {}))


def begin(ctx: Context) -> None:
    """Start anew with the networks as they are."""
    live = ctx.live
    live.to_probe = tuple(around(live.addresses, live.networks)) if live.searching and live.port else ()
    if live.to_probe:
        ctx.timer("search", ctx.now.mono + PACE_S)
    else:
        ctx.drop_timer("search")


def network_changed(ctx: Context) -> None:
    """Other networks: others may be there."""
    if ctx.live.searching:
        begin(ctx)


def around(addresses: tuple[str, ...], networks: tuple[str, ...]) -> Iterator[str]:
    """The addresses of our IPv4 networks without our own, nearest networks first, at most MAX_PROBED.

    IPv6 networks are too large to be searched: 2**64 addresses.
    """
    seen = dict.fromkeys(addresses)
    left = MAX_PROBED
    for host, network in zip(addresses, networks, strict=False):
        if ":" in host or "%" in host or ipaddress.ip_address(host).is_loopback:
            continue
        net = ipaddress.ip_network(network, strict=False)
        if net.prefixlen < WIDEST:
            net = ipaddress.ip_network(f"{host}/{WIDEST}", strict=False)
        for one in net.hosts():
            if str(one) not in seen and left:
                seen[str(one)] = None
                left -= 1
                yield str(one)


def due(ctx: Context) -> None:
    """Dial the next address."""
    live = ctx.live
    if live.stopping or not live.to_probe:
        return
    if len(live.dials) < AT_ONCE:
        host, *rest = live.to_probe
        live.to_probe = tuple(rest)
        known = {(link.host, link.port) for link in live.links.values()}
        if (host, FIRST_PORT) not in known and (host, FIRST_PORT) not in live.targets:
            number = ctx.number()
            live.dials[number] = (host, FIRST_PORT)
            ctx.out.append(Dial(number, host, FIRST_PORT))
    ctx.timer("search", ctx.now.mono + PACE_S)
