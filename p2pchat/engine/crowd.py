"""Which link ends when there are too many.

Decides: how well a person is known here, and that nobody unknown keeps out who is known
better (docs/protocol.md, "Links"). Does not know: sockets, or what two links of one
machine mean (peers).

Identities cost nothing: without this five hundred throw-away ones would take every place.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import clock, rooms
from p2pchat.engine.context import Context
from p2pchat.engine.inputs import LinkUp
from p2pchat.ids import AccountId
from p2pchat.wire.limits import MAX_LINKS, MAX_STRANGER_LINKS_PER_ADDRESS

STRANGER: Final = 0
MET: Final = 1
SPOKEN_TO: Final = 2
TRUSTED: Final = 3


def standing(ctx: Context, account: AccountId) -> int:
    """How well a person is known. What he says himself counts nothing: he decides about that alone."""
    trust = ctx.cache.trust.get(account)
    if account == ctx.me.account or (trust is not None and (trust.verified or trust.successor_of)):
        return TRUSTED
    if trust is None:
        return STRANGER
    room = rooms.direct_id(ctx.me.account, account)
    if room in ctx.cache.known_rooms:
        cached = ctx.cache.rooms.get(room)
        heads = cached.heads if cached is not None else ctx.ledger.events.heads(room)
        if any(ctx.cache.owner.get(device) == ctx.me.account for device in heads):
            return SPOKEN_TO
    return MET if clock.long_known(trust, ctx.now.wall_ms - ctx.shift_ms) else STRANGER


def leaving(ctx: Context, up: LinkUp) -> int | None:
    """The link that has to end now that `up` has come: itself, another, or None.

    The least known go first; among them those whose address has the most links, then the
    newest, so that whoever is turned away and comes back turns nobody else away.
    """
    links = list(ctx.live.links.values())
    new = standing(ctx, up.account)
    if new == STRANGER:
        near = [link for link in links if link.host == up.host and link.device != up.device]
        strangers = sum(standing(ctx, link.account) == STRANGER for link in near)
        if strangers >= MAX_STRANGER_LINKS_PER_ADDRESS:
            return up.link
    if len(links) < MAX_LINKS:
        return None
    at: dict[str, int] = {up.host: 1}
    for link in links:
        at[link.host] = at.get(link.host, 0) + 1
    worst = min((standing(ctx, link.account), -at[link.host], -link.since, -link.link) for link in links)
    newcomer = (new, -at[up.host], -ctx.now.mono, -up.link)
    return -min(worst, newcomer)[3]
