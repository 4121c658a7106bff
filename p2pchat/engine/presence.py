"""Availability: what I have chosen, what of it counts now, and who may see it.

Decides: whether a person sees me at all and as what (docs/presence.md, docs/decisions/0015).
Does not know: frames, links, or what is done about it (presence_words, presence_commands).
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import rooms
from p2pchat.engine.context import Context
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import DIRECT, LOBBY, Availability
from p2pchat.wire.messages.presence import AVAILABLE, AWAY, BUSY, INVISIBLE, OFFLINE, Chosen, Presence

IDLE_S: Final = 600.0
"""Away after this long without a key in a front end that tells: long enough for a telephone call."""

WITHHELD_S: Final = (2 * 3600.0, 6 * 3600.0)
"""Receipts for somebody I am hidden from leave after a time drawn between these: late enough to say
nothing of when I was there, early enough that he does not think his message lost."""

HIDDEN: Final = Presence(OFFLINE, "")
NOTHING_CHOSEN: Final = Chosen(AVAILABLE, "", 0, (), False, False)


def chosen(ctx: Context) -> Chosen:
    """What is set; state and message as if never set once their time is over."""
    said = ctx.cache.chosen
    if said is None:
        return NOTHING_CHOSEN
    if said.until_ms and said.until_ms <= ctx.now.wall_ms:
        return Chosen(AVAILABLE, "", 0, said.hide_from, said.hide_direct, said.hide_rooms)
    return said


def hidden_from_all(ctx: Context) -> bool:
    """Whether nobody at all sees me: then this machine does not show itself on the network either."""
    said = chosen(ctx)
    return said.state == INVISIBLE or (said.hide_direct and said.hide_rooms)


def visible_to(ctx: Context, account: AccountId) -> bool:
    """Whether this person sees that I am here.

    To whom I never wrote, and with whom I share no room, sees me only if I hide from neither kind;
    else one kind of chat that I do not hide in is enough.
    """
    said = chosen(ctx)
    if account == ctx.me.account:
        return True
    if said.state == INVISIBLE or account in said.hide_from:
        return False
    if not (said.hide_direct or said.hide_rooms):
        return True
    talked, shared = _talked(ctx, account), _shared(ctx, account)
    if not talked and not shared:
        return False
    return (talked and not said.hide_direct) or (shared and not said.hide_rooms)


def may_be_told(ctx: Context, author: DeviceId, bearer: AccountId) -> bool:
    """Whether somebody who would bring it to the author may hear what we have of him: it says when we
    were here, to both."""
    account = ctx.cache.owner.get(author)
    return account is not None and visible_to(ctx, account) and visible_to(ctx, bearer)


def _talked(ctx: Context, account: AccountId) -> bool:
    """Whether I have written to him: who only writes to me must not come to see me by that."""
    room_id = rooms.direct_id(ctx.me.account, account)
    if room_id not in ctx.cache.known_rooms:
        return False
    heads = rooms.room(ctx, room_id).heads
    return any(device in heads for device in ctx.cache.accounts[ctx.me.account].devices)


def _shared(ctx: Context, account: AccountId) -> bool:
    """Whether we are both in some room. The lobby is none: everybody is there; nor is one into which
    somebody brought me who is not verified, as long as I said nothing there."""
    ordinary = [row.id for row in ctx.cache.known_rooms.values() if row.kind not in (DIRECT, LOBBY)]
    for room_id in ordinary:
        room = rooms.room(ctx, room_id)
        members = room.graph.members
        if account in members and ctx.me.account in members and rooms.is_ours(ctx, room):
            return True
    return False


def state_now(ctx: Context) -> str:
    """What I am to those who see me, on this machine: busy in the hours of rest, away when idle."""
    said, live = chosen(ctx), ctx.live.presence
    if said.state != AVAILABLE:
        return said.state
    if live.do_not_disturb:
        return BUSY
    idle = live.active_at is not None and ctx.now.mono - live.active_at >= IDLE_S
    return AWAY if idle else AVAILABLE


def word_for(ctx: Context, account: AccountId) -> Presence:
    """What a person is told."""
    if not visible_to(ctx, account):
        return HIDDEN
    state = state_now(ctx)
    return Presence(AVAILABLE if state == INVISIBLE else state, chosen(ctx).message)  # own machines only


def mine(ctx: Context) -> Availability:
    """For whoever asks what I have set."""
    said = chosen(ctx)
    return Availability(
        said.state,
        OFFLINE if hidden_from_all(ctx) else state_now(ctx),
        said.message,
        said.until_ms or None,
        tuple(AccountId(one) for one in said.hide_from),
        said.hide_direct,
        said.hide_rooms,
        ctx.live.presence.do_not_disturb,
    )


def shown(ctx: Context, device: DeviceId) -> Presence:
    """How a machine of somebody is to be shown: not at all until it has said so on its link."""
    here = device in ctx.live.by_device
    return ctx.live.presence.seen.get(device, HIDDEN) if here else HIDDEN


def hides(ctx: Context, device: DeviceId) -> bool:
    """Whether a machine that is linked to us has said that its user is not to be seen by us."""
    return device in ctx.live.by_device and ctx.live.presence.seen.get(device) == HIDDEN


def withhold(ctx: Context, account: AccountId) -> None:
    """Somebody I am hidden from is owed a receipt: he gets it later, at a time that tells nothing."""
    if account not in ctx.live.presence.withheld:
        low, high = WITHHELD_S
        due = ctx.now.mono + low + (high - low) * ctx.entropy.random()
        ctx.live.presence.withheld[account] = due
        ctx.timer("withheld", due)
