"""Bodies that are not here and should be: whom to ask for them, and when.

Decides: that each member is asked in turn, and all again after longer and longer pauses, until
nothing lacks (docs/protocol.md, "Repair"). Does not know: how an absence becomes lawful (views), or
what a body that comes changes (receive).

An author may hand over an event without its body to some of us only, and a delete that erased a body
may become void: without asking, these members would show another text than all others for ever.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.inputs import Send
from p2pchat.ids import EventId
from p2pchat.wire.messages.link import Want

AT_ONCE: Final = 256
"""Wanted at once, as in any repair."""
OF_ONE: Final = 16
"""Of one machine's chain: who withholds many hides few of others."""
ANSWER_S: Final = 2.0
"""A machine asked has this long before the next one is asked."""
LONGEST_PAUSE_S: Final = 600.0


def seek(ctx: Context, room: RoomCache) -> None:
    """A body lacks, or may lack, that somebody may have."""
    if ctx.live.bodies_sought.get(room.row.id) is None:
        ctx.live.bodies_sought[room.row.id] = (0, 2 * ANSWER_S)
        ctx.timer(_timer_of(room), ctx.now.mono + ANSWER_S)  # what makes it lawful may be on its way


def repaired(ctx: Context, room: RoomCache) -> None:
    """A repair is done: look once in a run what lacks, and go on where nobody was there to be asked."""
    if room.row.id not in ctx.live.bodies_sought:
        seek(ctx, room)
    elif ctx.live.bodies_sought[room.row.id] is not None:
        ctx.timer(_timer_of(room), ctx.now.mono + LONGEST_PAUSE_S)  # no timer runs if nobody was there


def due(ctx: Context, room: RoomCache) -> None:
    """Ask the next machine; after all of them there is a pause, longer each time."""
    place = room.row.id
    if ctx.me.account not in room.graph.members:
        ctx.live.bodies_sought.pop(place, None)  # nobody gives us any; once we are in again it is looked anew
        return
    lacking = _lacking(ctx, room)
    if not lacking:
        ctx.live.bodies_sought[place] = None
        return
    links = sorted(rooms.links_of(ctx, room), key=lambda link: link.device)
    if not links:
        return
    turn, pause = ctx.live.bodies_sought.get(place) or (0, 2 * ANSWER_S)
    want = Want(place, False, tuple(lacking), b"", 0)
    ctx.out.append(Send(links[turn % len(links)].link, want))
    wait = ANSWER_S
    if (turn + 1) % len(links) == 0:
        wait, pause = pause, min(2 * pause, LONGEST_PAUSE_S)
    ctx.live.bodies_sought[place] = (turn + 1, pause)
    ctx.timer(_timer_of(room), ctx.now.mono + wait)


def _lacking(ctx: Context, room: RoomCache) -> list[EventId]:
    """Some of what lacks: of each chain from a place drawn anew, so that what nobody has hides nothing."""
    found: list[EventId] = []
    for device, head in room.heads.items():
        owner = ctx.cache.owner[device]
        if ctx.ledger.events.bodiless(room.row.id, device, owner, 1, 1):
            start = 1 + int(ctx.entropy.random() * head.seq)
            found += ctx.ledger.events.bodiless(room.row.id, device, owner, start, OF_ONE)
    first = int(ctx.entropy.random() * len(found)) if len(found) > AT_ONCE else 0
    return (found[first:] + found[:first])[:AT_ONCE]


def _timer_of(room: RoomCache) -> str:
    return f"bodies:{room.row.id.hex()}"
