"""How much strangers may make us keep.

Decides: whether there is room for one more event of somebody who is neither verified nor
on a roster (docs/protocol.md, "Limits"). Does not know: disks. Refusal is local: the
event stays with its author, who sees it as not delivered, and the user is told once a day.
"""

from __future__ import annotations

from p2pchat.engine.context import Context, Quota
from p2pchat.engine.inputs import Tell
from p2pchat.ids import AccountId
from p2pchat.wire.limits import MAX_UNVERIFIED, MAX_UNVERIFIED_PER_DAY

SHARES = 4
"""One stranger gets a quarter of the day's room, so that another one is still heard."""
DAY_MS = 24 * 3600 * 1000
_KEY = "quota"


def takes(ctx: Context, account: AccountId, size: int) -> bool:
    """Count `size` bytes from `account` in, or say that there is no room for them."""
    trust = ctx.cache.trust.get(account)
    if account == ctx.me.account or (trust is not None and trust.verified):
        return True
    quota = _current(ctx)
    day, before = ctx.live.taken.get(account, (quota.day, 0))
    own = before if day == quota.day else 0
    fits = (
        own + size <= MAX_UNVERIFIED_PER_DAY // SHARES
        and quota.today + size <= MAX_UNVERIFIED_PER_DAY
        and quota.total + size <= MAX_UNVERIFIED
    )
    if fits:
        ctx.live.taken[account] = (quota.day, own + size)
        ctx.cache.quota = Quota(quota.day, quota.today + size, quota.total + size, quota.told)
    elif not quota.told:
        ctx.cache.quota = Quota(quota.day, quota.today, quota.total, True)
        text = (
            "people you have not verified have sent more than is taken from strangers: verify them to go on"
        )
        ctx.out.append(Tell("warning", ("quota", text)))
    ctx.batch.counted = True
    return fits


def used_up(ctx: Context) -> bool:
    """Whether something was refused today for lack of room."""
    return _current(ctx).told


def close(ctx: Context) -> None:
    """At the end of a batch: what was counted is part of it."""
    quota = ctx.cache.quota
    if ctx.batch.counted and quota is not None:
        numbers = (quota.day, quota.today, quota.total, int(quota.told))
        ctx.ledger.people.put_value(_KEY, b"".join(n.to_bytes(8, "big") for n in numbers))
        ctx.batch.wrote = True


def load(ctx: Context) -> None:
    """Read what has been counted so far."""
    kept = ctx.ledger.people.value(_KEY) or bytes(32)
    numbers = [int.from_bytes(kept[at : at + 8], "big") for at in range(0, 32, 8)]
    ctx.cache.quota = Quota(numbers[0], numbers[1], numbers[2], bool(numbers[3]))


def _current(ctx: Context) -> Quota:
    day = max(0, ctx.now.wall_ms) // DAY_MS
    quota = ctx.cache.quota or Quota(day, 0, 0, False)
    return quota if quota.day == day else Quota(day, 0, quota.total, False)
