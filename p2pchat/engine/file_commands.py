"""What people do with files: offer, accept, decline, pause, resume, cancel, and take without asking.

Decides: which commands a transfer bears in which state (the table MOVES, docs/files.md), and what may
be offered. Does not know: what follows on the network from a state (transfers), pieces, or disks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine import keys, log, names, offers, own, room_commands, rooms, transfers
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.file_inputs import FileAct, FileAuto, FileRead, StopFetch, Withdraw
from p2pchat.engine.inputs import Reply
from p2pchat.errors import CommandError
from p2pchat.ids import MIN_PREFIX
from p2pchat.model import (
    ACTIVE,
    CANCELLED,
    DECLINED,
    DONE,
    FAILED,
    OFFERED,
    PAUSED,
    VERIFIED,
    StoredEvent,
    TransferRow,
)
from p2pchat.wire.codec import encode
from p2pchat.wire.limits import MAX_FILES
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages.files import OFFER_ID_BYTES, FileRoot, Offer

CONFLICTS: Final = ("rename", "skip", "overwrite")
LIST_HINT: Final = "list them: `p2pchat file list`"
DAY_S: Final = 24 * 3600

MOVES: Final[dict[str, tuple[str, ...]]] = {
    "accept": (OFFERED, DECLINED, FAILED, CANCELLED, PAUSED),
    "decline": (OFFERED, ACTIVE, PAUSED, FAILED, CANCELLED),
    "pause": (ACTIVE,),
    "resume": (PAUSED,),
    "cancel": (OFFERED, ACTIVE, PAUSED, DONE),
}
"""Verb to the states of an incoming transfer in which it does something."""
_ALREADY: Final = {
    "accept": ACTIVE,
    "decline": DECLINED,
    "pause": PAUSED,
    "resume": ACTIVE,
    "cancel": CANCELLED,
}
"""Verb to the state in which it has been done: again is no mistake."""


# -- offering ------------------------------------------------------------------------------


def to_offer(
    ctx: Context, room: RoomCache, files: Sequence[tuple[Offer, str]]
) -> tuple[tuple[Offer, str], ...]:
    """What a message of ours offers, as it goes into it: for as long as the room keeps files."""
    if len(files) > MAX_FILES:
        raise CommandError(
            "too_long", f"{len(files)} files are more than the {MAX_FILES} of one message", "send several"
        )
    own = {one.id for one in offers.counting(ctx.me.account, [offer for offer, _ in files])}
    for offer, path in files:
        if offer.id not in own or not path:
            raise CommandError("internal", f"{offer.name!r} was not prepared as an offer of ours")
        if ctx.ledger.transfers.transfer(offer.id) is not None:
            raise CommandError("usage", f"{offer.name!r} has been offered under this id", "send it again")
    kept_s = room.graph.settings.retention_days * DAY_S
    return tuple((_for(offer, kept_s), path) for offer, path in files)


def _for(offer: Offer, kept_s: int) -> Offer:
    if not kept_s or 0 < offer.ttl_s <= kept_s:
        return offer
    return Offer(
        offer.id,
        offer.size,
        offer.head,
        offer.files,
        offer.name,
        offer.mime,
        offer.mtime,
        offer.file_key,
        offer.piece_size,
        kept_s,
    )


def read(ctx: Context, event: FileRead) -> None:
    """All of an offer of ours was read: sign its root, unless we may write there no more."""
    row = ctx.ledger.transfers.transfer(event.offer)
    if row is None or row.incoming or row.root or row.state != OFFERED:
        return
    room = rooms.room(ctx, row.room)
    try:
        room_commands.need_to_write(ctx, room, ev.FILE_ROOT)
    except CommandError:
        return  # it was allowed when it was offered: whoever needs it fetches from us
    transfers.put(ctx, replace(row, root=event.root), tell_people=False)
    body = encode(FileRoot(1, event.offer, event.root, event.pieces))
    log.append(ctx, room, ev.FILE_ROOT, body, keys.current(ctx, room), _nothing_more)


def _nothing_more(ctx: Context, event: StoredEvent) -> None:
    """Nobody waits for the id of a root."""


# -- deciding --------------------------------------------------------------------------------


def act(ctx: Context, command: FileAct) -> None:
    """Answer an offer, or change a transfer."""
    row = _meant(ctx, command.ref)
    if command.verb not in MOVES:
        raise CommandError("usage", f"{command.verb!r} is nothing to do with a file", "")
    if not row.incoming:
        _act_on_own(ctx, row, command)
    elif row.state in MOVES[command.verb]:
        _act_on_theirs(ctx, row, command)
    elif row.state != _ALREADY[command.verb]:
        raise _out_of_place(row, command)
    elif command.verb == "accept":
        _check_alike(row, command)
    elif command.verb == "cancel":  # it may have ended otherwise, and some of it be kept
        _stop(ctx, row, discard=True)
    now = ctx.ledger.transfers.transfer(row.id) or row
    ctx.out.append(Reply(command.request, {"transfer": transfers.view(ctx, now)}))


def _act_on_own(ctx: Context, row: TransferRow, command: FileAct) -> None:
    if command.verb != "cancel":
        raise CommandError(
            "usage", f"{row.name!r} is what you offer yourself", "give it to nobody any more: `file cancel`"
        )
    if row.state == OFFERED:
        ctx.out.append(Withdraw(row.id))
        transfers.end(ctx, row, CANCELLED)


def _act_on_theirs(ctx: Context, row: TransferRow, command: FileAct) -> None:
    match command.verb:
        case "accept" | "resume":
            _check_wanted(ctx, row, command)
            resumed = command.verb == "resume"
            to, conflict = (row.to, row.conflict) if resumed else (command.to, command.conflict)
            transfers.want(ctx, row, to, conflict)
        case "decline":
            _stop(ctx, row, discard=True)
            transfers.end(ctx, row, DECLINED)
        case "pause":
            _stop(ctx, row, discard=False)
            transfers.end(ctx, row, PAUSED)
        case _ if row.state == DONE:
            ctx.out.append(Withdraw(row.id))
            transfers.put(ctx, replace(row, served=False))
        case _:
            _stop(ctx, row, discard=True)
            transfers.end(ctx, row, CANCELLED)


def _stop(ctx: Context, row: TransferRow, *, discard: bool) -> None:
    if row.state != OFFERED:
        ctx.out.append(StopFetch(row.id, discard))


def _check_wanted(ctx: Context, row: TransferRow, command: FileAct) -> None:
    """CommandError unless it can be had at all."""
    again = f"ask {names.shown(ctx, row.author)!r} to send it again"
    if command.conflict not in CONFLICTS:
        raise CommandError("usage", f"{command.conflict!r} is none of: {' '.join(CONFLICTS)}", "")
    if transfers.expired(ctx, row):
        raise CommandError("policy", f"the time in which {row.name!r} could be had is over", again)
    if ctx.me.account not in rooms.room(ctx, row.room).graph.members:
        raise CommandError("no_right", f"{row.name!r} is for a room that you are not in any more", again)
    shown = ctx.ledger.views.message(row.event)
    if shown is None or shown.hidden or shown.deleted:
        raise CommandError("policy", f"the message that offered {row.name!r} is gone", again)


def _check_alike(row: TransferRow, command: FileAct) -> None:
    """CommandError if what is on its way was accepted otherwise than it is now: nothing would come of it."""
    if command.to not in ("", row.to) or command.conflict not in ("rename", row.conflict):
        raise CommandError(
            "usage",
            f"{row.name!r} is on its way already, into {row.to or 'the inbox'}",
            f"stop it, then accept it again: `p2pchat file pause {row.id.hex()[:12]}`",
        )


def _out_of_place(row: TransferRow, command: FileAct) -> CommandError:
    if row.state == DONE:
        return CommandError("usage", f"{row.name!r} is here already: {row.path}", LIST_HINT)
    hint = "accept it: `p2pchat file accept " + row.id.hex()[:12] + "`" if command.verb == "resume" else ""
    return CommandError("usage", f"{row.name!r} is {row.state}: there is nothing to {command.verb}", hint)


def _meant(ctx: Context, ref: str) -> TransferRow:
    """The transfer that an id or a unique prefix means."""
    found = ctx.ledger.transfers.find(ref) if MIN_PREFIX <= len(ref) <= 2 * OFFER_ID_BYTES else []
    if len(found) > 1:
        forms = ", ".join(one.hex()[:16] for one in found)
        raise CommandError("ambiguous_target", f"{ref!r} could be any of: {forms}", "give more digits")
    row = ctx.ledger.transfers.transfer(found[0]) if found else None
    if row is None:
        raise CommandError("no_such_target", f"no file {ref!r} is offered here", LIST_HINT)
    return row


def auto(ctx: Context, command: FileAuto) -> None:
    """Take what somebody offers without being asked, or no longer."""
    account = names.resolve(ctx, command.target).account
    if command.on and names.trust_word(ctx, account) != VERIFIED:
        raise CommandError(
            "policy",
            f"{names.shown(ctx, account)!r} is not verified: only from verified people files come unasked",
            f"compare keys first: `p2pchat trust show {names.typed(ctx, account)}`",
        )
    ctx.ledger.people.put_value(transfers.auto_key(account), b"1" if command.on else b"0")
    own.put(ctx, own.AUTO + account.hex(), b"1" if command.on else b"0")
    ctx.batch.wrote = True
    ctx.out.append(Reply(command.request, {"account": account.hex(), "auto": command.on}))
