"""What a repair wants of a peer: the newest first, and not what somebody else is giving just now.

Decides: in which order that is asked for which a run has found lacking, and how much of it at a time; which
of several long runs of a room waits for another; how much is still to come. Does not know: how it was
found, or when a run begins (sync), or who may have what (handing).

Acts are wanted oldest first, for they can be judged only behind those they name. Content comes from its
newest end: whoever opens a room while years of it are still on their way sees what was said today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine.context import Context, Recon
from p2pchat.engine.inputs import Send, Tell
from p2pchat.ids import DeviceId, EventId, RoomId
from p2pchat.wire.messages.link import Want

CHUNK: Final = 256
"""Wanted at once: an answer is about 150 KiB, well inside a link's queue."""
WANTS: Final = 5
"""Wants under way at a time: checking, taking and giving go on side by side, and a transaction is filled
by what the others hold ready. Six would no longer be inside the queue."""
LARGE: Final = CHUNK * WANTS
"""Where a run finds more than that lacking, another one of its room waits for it."""
MAX_NEED: Final = 65_536
"""Ids of what is lacking that a run remembers: 2 MiB that a liar can make us hold. Of more the newest."""
SAMPLE: Final = 16
"""Of what a run found lacking: if nothing of it came, the peer does not have what it says."""
PATIENCE_S: Final = 2.0
"""A peer that has given nothing for so long keeps nobody from being asked for the same."""
BESIDE_S: Final = 10.0
"""After so long a long run no longer waits for another: a slow peer, or one that holds back, is passed by."""
TELL_EVERY_S: Final = 1.0
_LOOKED_AT: Final = 16
"""Chunks looked through in one step for something that has not come meanwhile: some 8 ms."""


def found(ctx: Context, recon: Recon, lacked: Sequence[bytes]) -> Recon:
    """A run that has found some more to be lacking here; items come from the oldest to the newest."""
    need = (*recon.need, *lacked)
    return replace(recon, need=need[-MAX_NEED:], cut=recon.cut or len(need) > MAX_NEED, at=ctx.now.mono)


def listed(recon: Recon, *, whole: bool) -> Recon:
    """A run that is to find no more; `whole` if there is no more to be found."""
    return replace(recon, listed=True, more=() if whole and not recon.cut else recon.need[-SAMPLE:])


def go_on(ctx: Context, session: int) -> bool:
    """Want as much as may be under way; False where nothing is lacking any more."""
    recon = ctx.live.recons[session]
    while len(recon.out) < WANTS:
        recon, chunk = _take(ctx, recon)
        if not chunk:
            break
        recon = replace(recon, out=(*recon.out, tuple(chunk)), at=ctx.now.mono)
        want = Want(recon.room, recon.control, tuple(chunk), recon.salt, recon.week)
        ctx.out.append(Send(recon.link, want, early=True))
    ctx.live.recons[session] = recon
    if not recon.out and (recon.need or recon.later):
        ctx.timer("runs", ctx.now.mono + (0.0 if recon.need else PATIENCE_S))
    return bool(recon.out or recon.need or recon.later)


def _take(ctx: Context, recon: Recon) -> tuple[Recon, Sequence[bytes]]:
    """The next to be wanted of a run."""
    if recon.control:
        return replace(recon, need=recon.need[CHUNK:]), recon.need[:CHUNK]
    if recon.salt:  # ids of which only the peer knows whose they are
        return replace(recon, need=recon.need[:-CHUNK]), recon.need[-CHUNK:]
    if not recon.need and not recon.out:
        recon = replace(recon, need=recon.later, later=())
    busy = _under_way(ctx, recon)
    chunk: list[bytes] = []
    for _ in range(_LOOKED_AT):
        if not recon.need or len(chunk) == CHUNK:
            break
        some = recon.need[len(chunk) - CHUNK :]
        lacked = ctx.ledger.events.missing([EventId(one) for one in some])
        chunk = [one for one in lacked if one not in busy] + chunk
        later = tuple(one for one in lacked if one in busy)
        recon = replace(recon, need=recon.need[: -len(some)], later=(*later, *recon.later))
    return recon, chunk


def _under_way(ctx: Context, recon: Recon) -> dict[bytes, None]:
    """What this run has asked for, and what others are giving."""
    return {
        one: None
        for other in ctx.live.recons.values()
        if _alike(other, recon.room)
        for chunk in other.out
        if other.link == recon.link or _lively(ctx, other)
        for one in chunk
    }


def _alike(recon: Recon, room: RoomId) -> bool:
    """Whether a run is about the content of that room, by its real ids."""
    return recon.room == room and not recon.control and not recon.salt


def _lively(ctx: Context, recon: Recon) -> bool:
    return ctx.now.mono < recon.at + PATIENCE_S


def given(ctx: Context, session: int) -> None:
    """All of the oldest want of a run has come."""
    recon = ctx.live.recons[session]
    ctx.live.recons[session] = replace(recon, out=recon.out[1:], at=ctx.now.mono)


def idle(ctx: Context, room: RoomId) -> list[int]:
    """Runs about a room's content that wait for what others give."""
    return [session for session, recon in ctx.live.recons.items() if _alike(recon, room) and _waits(recon)]


def _waits(recon: Recon) -> bool:
    return recon.listed and not recon.out and bool(recon.need or recon.later)


# -- several long runs -------------------------------------------------------------------------


def must_wait(ctx: Context, recon: Recon) -> bool:
    """Whether a run has found so much that it waits until another one of the room is over."""
    if recon.beside or not _alike(recon, recon.room) or len(recon.need) <= LARGE:
        return False
    return _long_one(ctx, recon.room, but=recon.link)


def _long_one(ctx: Context, room: RoomId, but: int | None = None) -> bool:
    return any(
        _alike(other, room) and other.link != but and _left(other) > LARGE and _lively(ctx, other)
        for other in ctx.live.recons.values()
    )


def put_off(ctx: Context, recon: Recon) -> None:
    """Its link is asked later."""
    ctx.live.put_off[recon.link, recon.room] = ctx.now.mono + BESIDE_S
    ctx.timer("runs", ctx.now.mono + PATIENCE_S)


def due_of(ctx: Context, room: RoomId) -> int | None:
    """The link to be asked about a room's content that has waited longest, if its turn has come."""
    waiting = {link: until for (link, one), until in ctx.live.put_off.items() if one == room}
    if not waiting:
        return None
    link = next(iter(waiting))
    if waiting[link] > ctx.now.mono and _long_one(ctx, room):
        return None
    del ctx.live.put_off[link, room]
    for other in waiting.keys() - {link}:
        ctx.live.put_off[other, room] = ctx.now.mono + BESIDE_S
    return link


def rooms_waiting(ctx: Context) -> Iterable[RoomId]:
    """Rooms of which something waits; the timer goes on as long as there are any."""
    rooms = [room for _, room in ctx.live.put_off]
    rooms += [recon.room for recon in ctx.live.recons.values() if _waits(recon)]
    if rooms:
        ctx.timer("runs", ctx.now.mono + PATIENCE_S)
    return dict.fromkeys(rooms)


# -- how much is still to come -----------------------------------------------------------------


def coming(ctx: Context, room: RoomId) -> tuple[int, DeviceId | None]:
    """Events of a room's content that a peer has listed and that have not come yet, and who gives them;
    more may be listed."""
    runs = [recon for recon in ctx.live.recons.values() if _alike(recon, room) and _left(recon)]
    first = next((recon for recon in runs if recon.out), runs[0] if runs else None)
    if first is None:
        return 0, None
    asked = [EventId(one) for chunk in first.out for one in chunk]
    lacking = len(ctx.ledger.events.missing(asked)) if asked else 0
    return len(first.need) + len(first.later) + lacking, ctx.live.links[first.link].device


def tell(ctx: Context, room: RoomId) -> None:
    """Say now and then how much is to come, and once that it is no more."""
    left = any(_alike(recon, room) and _left(recon) for recon in ctx.live.recons.values())
    last = ctx.live.told_coming.get(room)
    if (not left) if last is None else (left and ctx.now.mono < last + TELL_EVERY_S):
        return  # nothing to say, or it was said just now
    count, _ = coming(ctx, room)
    if last is None and count <= CHUNK:
        return
    if count:
        ctx.live.told_coming[room] = ctx.now.mono
    else:
        del ctx.live.told_coming[room]
    ctx.out.append(Tell("history", room))


def tell_all(ctx: Context) -> None:
    """Something came: of rooms of which it was said that much is to come, how much it is now."""
    for room in list(ctx.live.told_coming):
        tell(ctx, room)


def _left(recon: Recon) -> int:
    return len(recon.need) + len(recon.later) + sum(map(len, recon.out))
