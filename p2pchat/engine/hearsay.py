"""People known because another one brought their statements: how many of these are kept.

Decides: whom of them to forget, and when that is looked at (docs/protocol.md, "Limits"). Does not know:
those who were met (quota).

Whoever shares a room with us, or keeps something for us, brings statements of people whom we never met,
so that what they wrote can be judged. Keys cost nothing, so anybody can bring as many as he likes.
"""

from __future__ import annotations

from p2pchat.engine import quota, stating
from p2pchat.engine.context import Context
from p2pchat.ids import AccountId
from p2pchat.wire.limits import MAX_STRANGERS


def sort_out(ctx: Context, newest: AccountId) -> None:
    """Statements came: forget of those known by hearsay who wrote nothing that is here the first heard,
    down to as many as strangers are kept, and to what so many people state."""
    quota.sort_out(ctx, newest)
    cache = ctx.cache
    most = MAX_STRANGERS + quota.SLACK
    heard = len(cache.accounts) - len(cache.trust)
    weight = sum(len(known.acts) for known in cache.accounts.values())
    if heard <= max(most, cache.hearsay[0] + quota.SLACK) and weight <= max(
        most * quota.STATEMENTS_EACH, cache.hearsay[1] + quota.SLACK * quota.STATEMENTS_EACH
    ):
        return
    wanted = quota.members(ctx) | {link.account for link in ctx.live.links.values()} | _decided(ctx)
    loose = [one for one in cache.accounts if one not in cache.trust and one not in wanted and one != newest]
    machines_of = {one: list(cache.accounts[one].devices) for one in loose}
    named = ctx.ledger.people.named([device for each in machines_of.values() for device in each])
    loose = [one for one in loose if named.isdisjoint(machines_of[one])]
    gone, left = [], sum(len(cache.accounts[one].acts) for one in loose)
    for place, account in enumerate(loose):
        enough = left <= MAX_STRANGERS * quota.STATEMENTS_EACH
        if len(loose) - place <= MAX_STRANGERS and enough:
            break
        left -= len(cache.accounts[account].acts)
        gone.append(account)
    if gone:
        quota.forget(ctx, gone)
    cache.hearsay = (
        len(cache.accounts) - len(cache.trust),
        sum(len(known.acts) for known in cache.accounts.values()),
    )


def _decided(ctx: Context) -> set[AccountId]:
    """Ourselves, whom we were before, and who follows somebody. About whom more is decided is pinned."""
    former = ctx.ledger.people.value(stating.FORMER)
    successors = {known.successor for known in ctx.cache.accounts.values() if known.successor is not None}
    return successors | {ctx.me.account} | ({AccountId(former)} if former is not None else set())
