"""Sets under a salt, kept for as long as a run lasts.

Decides: how often what lies in a week is hashed anew for a peer. He draws the salt, a question
costs him a hundred bytes, and the whole week is hashed to answer it: so a set is remembered, and
each machine has what it may cost in ten seconds. Does not know: what is in a set (sync), or what a
salt is good for (items).

A remembered set may lack what came since. That is no harm: such events were pushed, and each
message of a run stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from p2pchat.engine.context import Context, Link, Salted, SaltKey
from p2pchat.engine.items import Item, salted
from p2pchat.ids import RoomId

SPAN_S: Final = 10.0
MAX_HASHED: Final = 50_000
"""Items hashed for one machine in SPAN_S, beyond which no other set is made for it: 0.2 s. An honest
one asks for a week of each common room once in a quarter of an hour."""
MAX_KEPT: Final = 200_000
"""Items of all sets that are remembered, about 60 MiB; the newest set stays, however large."""


def may(ctx: Context, link: Link, room: RoomId, key: SaltKey) -> bool:
    """Whether a question of that machine is answered: its set is here, or may be made."""
    kept = ctx.cache.salted.get((link.link, room, False))
    return (kept is not None and kept.key == key) or _spent(ctx, link) < MAX_HASHED


def of(
    ctx: Context,
    link: Link,
    room: RoomId,
    key: SaltKey,
    load: Callable[[], Iterable[Item]],
    *,
    asking: bool,
) -> Salted:
    """The set for `key`; what this side asks costs the peer nothing."""
    place, memory = (link.link, room, asking), ctx.cache.salted
    kept = memory.get(place)
    if kept is not None and kept.key == key:
        return kept
    made = Salted(key, *salted(load(), key.salt))
    memory.pop(place, None)
    while memory and sum(len(one.real) for one in memory.values()) + len(made.real) > MAX_KEPT:
        del memory[next(iter(memory))]
    memory[place] = made
    if not asking:
        spent, since = ctx.live.salting.get(link.device, (0, 0.0))
        if ctx.now.mono >= since + SPAN_S:
            for device in [one for one, (_, at) in ctx.live.salting.items() if ctx.now.mono >= at + SPAN_S]:
                del ctx.live.salting[device]
            spent, since = 0, ctx.now.mono
        ctx.live.salting[link.device] = (spent + len(made.real), since)
    return made


def link_gone(ctx: Context, number: int) -> None:
    """Its runs are over."""
    for place in [one for one in ctx.cache.salted if one[0] == number]:
        del ctx.cache.salted[place]


def _spent(ctx: Context, link: Link) -> int:
    spent, since = ctx.live.salting.get(link.device, (0, 0.0))
    return spent if ctx.now.mono < since + SPAN_S else 0
