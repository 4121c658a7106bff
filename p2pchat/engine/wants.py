"""What a repair wants of a peer: the newest first, and not what somebody else is giving just now.

Decides: in which order that is asked for which a run has found lacking, and how much of it at a time; which
of several long runs of a room waits for another; how much is still to come. Does not know: how it was
found, or when a run begins (sync), or who may have what (handing).

Acts are wanted oldest first, for they can be judged only behind those they name. Content comes from its
newest end: whoever opens a room while years of it are still on their way sees what was said today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine.context import Context, Link, Recon
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
"""Ids of what is lacking that all runs with one person's machines remember: 5 MiB that a liar can make us
hold. Of more the newest; LARGE of each run in any case."""
SAMPLE: Final = 16
"""Of what a run found lacking: if nothing of it came, the peer does not have what it says."""
PATIENCE_S: Final = 2.0
"""A peer that has given nothing for so long keeps nobody from being asked for the same."""
BESIDE_S: Final = 10.0
"""After so long a run no longer waits for another: a slow peer, or one that holds back, is passed by. Of
one that has brought nothing for so long nobody is told that anything is on its way."""
TELL_EVERY_S: Final = 1.0
_LOOKED_AT: Final = 16
"""Chunks looked through in one step for something that has not come meanwhile: some 8 ms. Of runs that
wait so many go on as have no more to be looked through; the others follow in later steps."""


def found(ctx: Context, recon: Recon, lacked: Sequence[bytes]) -> Recon:
    """A run that has found some more to be lacking here; items come from the oldest to the newest."""
    most = max(LARGE, MAX_NEED - _held_beside(ctx, recon))
    need = (*recon.need, *lacked)
    return replace(recon, need=need[-most:], cut=recon.cut or len(need) > most, at=ctx.now.mono)


def _held_beside(ctx: Context, recon: Recon) -> int:
    """Ids that other runs with machines of the same person remember."""
    links, place = ctx.live.links, (recon.link, recon.room, recon.control)
    account = links[recon.link].account
    return sum(
        _left(other)
        for other in ctx.live.recons.values()
        if links[other.link].account == account and (other.link, other.room, other.control) != place
    )


def listed(recon: Recon, *, whole: bool) -> Recon:
    """A run that is to find no more; `whole` if there is no more to be found. What was listed twice is
    wanted once: else a liar could go on for ever with the same."""
    need = tuple(dict.fromkeys(recon.need))
    more = () if whole and not recon.cut else need[-SAMPLE:]
    return replace(recon, need=need, listed=True, more=more)


def go_on(ctx: Context, session: int, *, beside: bool = False) -> bool:
    """Want as much as may be under way; False where nothing is lacking any more. `beside`: also what others
    are giving."""
    recon = ctx.live.recons[session]
    busy = _under_way(ctx, recon, beside=beside)
    while len(recon.out) < WANTS:
        recon, chunk = _take(ctx, recon, busy)
        if not chunk:
            break
        at = recon.at if recon.out else ctx.now.mono
        recon = replace(recon, out=(*recon.out, tuple(chunk)), at=at)
        want = Want(recon.room, recon.control, tuple(chunk), recon.salt, recon.week)
        ctx.out.append(Send(recon.link, want, early=True))
    ctx.live.recons[session] = recon
    if not recon.out and (recon.need or recon.later):
        ctx.timer("runs", ctx.now.mono + (0.0 if recon.need else PATIENCE_S))
    return bool(recon.out or recon.need or recon.later)


def _take(ctx: Context, recon: Recon, busy: Mapping[bytes, None]) -> tuple[Recon, Sequence[bytes]]:
    """The next to be wanted of a run."""
    if recon.control:
        return replace(recon, need=recon.need[CHUNK:]), recon.need[:CHUNK]
    if recon.salt:  # ids of which only the peer knows whose they are
        return replace(recon, need=recon.need[:-CHUNK]), recon.need[-CHUNK:]
    free = tuple(one for one in recon.later if one not in busy)
    if free:  # it is newer than all else
        later = tuple(one for one in recon.later if one in busy)
        recon = replace(recon, need=(*recon.need, *free), later=later)
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


def _under_way(ctx: Context, recon: Recon, *, beside: bool) -> dict[bytes, None]:
    """What this run has asked for, and what others are giving unless it goes on `beside` them."""
    return {
        one: None
        for other in ctx.live.recons.values()
        if _alike(other, recon.room)
        for chunk in other.out
        if other.link == recon.link or (_lively(ctx, other) and not beside)
        for one in chunk
    }


def _alike(recon: Recon, room: RoomId) -> bool:
    """Whether a run is about the content of that room, by its real ids."""
    return recon.room == room and not recon.control and not recon.salt


def _lively(ctx: Context, recon: Recon) -> bool:
    return ctx.now.mono < recon.at + PATIENCE_S


def is_giving(ctx: Context, link: Link, room: RoomId) -> bool:
    """Whether content of a room is coming on that link."""
    return any(
        recon.link == link.link and _alike(recon, room) and recon.out and _lively(ctx, recon)
        for recon in ctx.live.recons.values()
    )


def given(ctx: Context, session: int) -> None:
    """All of the oldest want of a run has come, or what there was of it: who gives nothing is not lively."""
    recon = ctx.live.recons[session]
    asked = [EventId(one) for one in recon.out[0]]
    came = bool(recon.salt) or len(ctx.ledger.events.missing(asked)) < len(asked)
    ctx.live.recons[session] = replace(recon, out=recon.out[1:], at=ctx.now.mono if came else recon.at)


def awake(ctx: Context, room: RoomId) -> list[tuple[int, bool]]:
    """Runs about a room's content that wait for what others give and may go on; and whether beside those,
    as one may that has waited for too long."""
    waiting = {
        session: recon for session, recon in ctx.live.recons.items() if _alike(recon, room) and _waits(recon)
    }
    if not waiting:
        return []
    busy = _under_way(ctx, next(iter(waiting.values())), beside=False)  # those that wait have nothing out
    found: list[tuple[int, bool]] = []
    left = CHUNK * _LOOKED_AT
    for session, recon in waiting.items():
        if recon.need or not all(one in busy for one in recon.later):
            left -= _left(recon)
            if found and left < 0:
                ctx.timer("runs", ctx.now.mono)
                break
            found.append((session, False))
    if found:
        return found
    session = min(waiting, key=lambda one: waiting[one].at)
    return [(session, True)] if ctx.now.mono >= waiting[session].at + BESIDE_S else []


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
    """Rooms of which something waits, or is told to be coming; the timer goes on as long as there are any."""
    rooms = [*ctx.live.told_coming, *(room for _, room in ctx.live.put_off)]
    rooms += [recon.room for recon in ctx.live.recons.values() if _waits(recon)]
    if rooms:
        ctx.timer("runs", ctx.now.mono + PATIENCE_S)
    return dict.fromkeys(rooms)


# -- how much is still to come -----------------------------------------------------------------


def coming(ctx: Context, room: RoomId) -> tuple[int, DeviceId | None]:
    """Events of a room's content that a peer has listed and that have not come yet, and who gives them;
    more may be listed. Of the pieces under way all that were not given whole count: looked at between two
    batches, when the archive may be in the middle of a commit, it is not asked."""
    first = _giving(ctx, room)
    return (0, None) if first is None else (_left(first), ctx.live.links[first.link].device)


def _giving(ctx: Context, room: RoomId) -> Recon | None:
    runs = [
        recon
        for recon in ctx.live.recons.values()
        if _alike(recon, room) and _left(recon) and ctx.now.mono < recon.at + BESIDE_S
    ]
    giving = [recon for recon in runs if recon.out]
    lively = [recon for recon in giving if _lively(ctx, recon)]
    return next(iter((*lively, *giving, *runs)), None)


def tell(ctx: Context, room: RoomId) -> None:
    """Say now and then how much is to come, and once that it is no more."""
    left = any(_alike(recon, room) and _left(recon) for recon in ctx.live.recons.values())
    last = ctx.live.told_coming.get(room)
    if (not left) if last is None else (left and ctx.now.mono < last + TELL_EVERY_S):
        return  # nothing to say, or it was said just now
    count, giver = coming(ctx, room)
    if (first := _giving(ctx, room)) is not None:  # in a batch the archive can be asked
        asked = [EventId(one) for chunk in first.out for one in chunk]
        count = len(first.need) + len(first.later) + len(ctx.ledger.events.missing(asked))
    if last is None and count <= CHUNK:
        return
    if count:
        ctx.live.told_coming[room] = ctx.now.mono
        ctx.timer("runs", ctx.now.mono + PATIENCE_S)
    else:
        del ctx.live.told_coming[room]
    ctx.out.append(Tell("history", (room, count, giver)))


def tell_end(ctx: Context, room: RoomId) -> None:
    """Time has passed: say it if it is no more."""
    if room in ctx.live.told_coming and not coming(ctx, room)[0]:
        tell(ctx, room)


def tell_all(ctx: Context) -> None:
    """Something came: of rooms of which it was said that much is to come, how much it is now."""
    for room in list(ctx.live.told_coming):
        tell(ctx, room)


def _left(recon: Recon) -> int:
    return len(recon.need) + len(recon.later) + sum(map(len, recon.out))
