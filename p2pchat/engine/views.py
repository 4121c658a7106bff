"""What a message looks like now.

Decides: how the events that touch a message (edits, deletes, reactions, pins) and the
message itself come to one view, whatever the order of their arrival. A view is always
computed whole and replaced, never incremented, so it can be rebuilt at any time.
Does not know: who may send an event (it is allowed when it gets here), or delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pchat.engine import kept, log, naming, offers, ranges, transfers
from p2pchat.engine.content import Said, said
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.ranges import Ranges
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.model import (
    CANCELLED,
    DELIVERED,
    DIRECT,
    HELD,
    QUEUED,
    READ,
    RECEIVED,
    MessageView,
    StoredEvent,
    Touch,
)
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages import registers, rooms
from p2pchat.wire.messages.files import FileRoot, Offer

BULK: Final = 16
"""So many messages in one frame are backfill."""
FEED_TYPES = {
    wire.EDIT: "edit",
    wire.DELETE: "delete",
    wire.REACTION: "reaction",
    wire.PIN: "pin",
    wire.ACK: "ack",
}


def apply(ctx: Context, room: RoomCache, what: Said, detail: tuple[tuple[str, str], ...] = ()) -> None:
    """Let one new content event take effect on what people see, and tell the feed.

    `detail` goes with the line about a message: which draft it was.
    """
    event, body = what.event, what.body
    if event.kind == wire.MESSAGE:
        touches = [] if event.id in ctx.batch.untouched else ctx.ledger.views.touches(event.room, event.id)
        if event.body is not None and _taken_back(what.account, touches):
            # Its author's delete came before it: then its text never stays here.
            what = Said(erase(ctx, event, shown=False), what.account, None)
        view = refresh(ctx, room, what, touches)
        if view is not None and not view.hidden:
            ctx.feed("message", event.id, detail)
        return
    if isinstance(body, rooms.Name):
        naming.named(ctx, room, what, body)
        return
    if isinstance(body, FileRoot):
        transfers.rooted(ctx, event, what.account, body)
        return
    touch = _touch(what, body)
    if touch is None or event.flags & StoredEvent.VOID:
        return
    if touch.kind == wire.EDIT and _taken_back(what.account, ctx.ledger.views.touches(event.room, event.id)):
        erase(ctx, event, shown=False)  # the author took this edit back before it came
        return
    ctx.ledger.views.put_touch(event.room, touch)
    ctx.batch.untouched.discard(touch.target)
    ctx.batch.wrote = True
    target = ctx.ledger.events.get(touch.target)
    if target is None or target.room != event.room:
        return  # takes effect when its target comes
    if wire.is_control(target.kind):
        return  # acts stand whatever their author says later
    if _counts_as_absent(touch, ctx.cache.owner.get(target.device)) and target.body is None:
        note_have(ctx, room, target)
    by_author = touch.kind == wire.DELETE and touch.account == ctx.cache.owner.get(target.device)
    if by_author:
        if target.flags & StoredEvent.KEYLESS:
            note_have(ctx, room, target)  # its key is not waited for any more
        target = erase(ctx, target, shown=True)
        transfers.withdrawn(ctx, target.id)
    if target.kind != wire.MESSAGE:
        if by_author:  # an edit is taken back with the message it changed, or before anybody had it
            ctx.ledger.views.drop_touch(target.id)
        return
    view = refresh(ctx, room, said(ctx, room, target))
    if view is not None and not view.hidden:
        by = (("person", what.account.hex()),) if event.kind == wire.ACK else ()
        ctx.feed(FEED_TYPES[event.kind], target.id, by)


def look_ahead(ctx: Context, ids: Sequence[EventId]) -> None:
    """Look once for all of these new messages of a frame which of them something touches already."""
    ctx.batch.bulk = ctx.batch.bulk or len(ids) >= BULK
    ctx.batch.untouched.update(ids)
    ctx.batch.untouched -= ctx.ledger.views.touched(ids)


def apply_unread(ctx: Context, room: RoomCache, event: StoredEvent) -> None:
    """A message whose key is not here: what came before it may have changed it, or taken it back."""
    touches = ctx.ledger.views.touches(event.room, event.id)
    if not touches:
        return
    account = ctx.cache.owner[event.device]
    if _taken_back(account, touches):
        note_have(ctx, room, event)
    apply(ctx, room, Said(event, account, None))


def show_own(ctx: Context, room: RoomCache, what: Said, detail: tuple[tuple[str, str], ...] = ()) -> None:
    """A message of ours whose id was not known before: nothing can have touched it yet."""
    view = refresh(ctx, room, what, [])
    if view is not None:
        ctx.feed("message", what.event.id, detail)


def _touch(what: Said, body: Record | None) -> Touch | None:
    event, who = what.event, what.account
    match body:
        case wire.Edit():
            mentions = tuple(AccountId(m) for m in body.mentions)
            return Touch(
                EventId(body.target),
                event.id,
                who,
                event.hlc,
                event.kind,
                body.text,
                body.unseen,
                mentions,
                EventId(body.reply_to) if body.reply_to else None,
                EventId(body.thread) if body.thread else None,
                body.urgent,
                body.ack,
            )
        case rooms.Ack():
            return Touch(EventId(body.target), event.id, who, event.hlc, event.kind, "", False)
        case wire.Delete():
            return Touch(EventId(body.target), event.id, who, event.hlc, event.kind, "", False)
        case wire.Reaction():
            return Touch(EventId(body.target), event.id, who, event.hlc, event.kind, body.emoji, body.remove)
        case wire.Pin():
            return Touch(EventId(body.target), event.id, who, event.hlc, event.kind, "", body.remove)
    return None


def _counts_as_absent(touch: Touch, author: AccountId | None) -> bool:
    return touch.kind in (wire.EDIT, wire.DELETE) and touch.account == author


def _taken_back(author: AccountId, touches: list[Touch]) -> bool:
    return bool(touches) and any(t.kind == wire.DELETE and t.account == author for t in touches)


def lawfully_absent(ctx: Context, event: StoredEvent) -> bool:
    """Whether the author himself took back or replaced the body that is missing."""
    author = ctx.cache.owner.get(event.device)
    return any(_counts_as_absent(touch, author) for touch in ctx.ledger.views.touches(event.room, event.id))


def standing_moved(ctx: Context, room: RoomCache, event: StoredEvent) -> None:
    """A content event counts no more, or counts again: what people see follows. Not what the room is
    called: that is looked for once, however many names it concerns (membership)."""
    what = said(ctx, room, event)
    if event.kind == wire.MESSAGE:
        refresh(ctx, room, what)
        if event.flags & StoredEvent.VOID:
            transfers.voided(ctx, event.id)
        return
    touch = _touch(what, what.body)
    if touch is None:
        return
    if not event.flags & StoredEvent.VOID:
        apply(ctx, room, what)
        return
    ctx.ledger.views.drop_touch(event.id)
    target = ctx.ledger.events.get(touch.target)
    if target is not None and target.room == event.room and target.kind == wire.MESSAGE:
        refresh(ctx, room, said(ctx, room, target))


def note_have(ctx: Context, room: RoomCache, event: StoredEvent) -> None:
    """From this commit on we hold this event: count it, and say so to its author."""
    room.have[event.device] = ranges.add(room.have.get(event.device, ()), event.seq)
    ctx.batch.have[event.room, event.device] = None
    if event.device != ctx.me.device:
        ctx.batch.receipts[event.room, event.device] = None


def erase(ctx: Context, event: StoredEvent, *, shown: bool) -> StoredEvent:
    """Drop a stored body for good; `shown`: somebody may have seen it, so marks stay."""
    flags = event.flags | StoredEvent.ERASED
    if shown and event.body is not None and not flags & StoredEvent.KEYLESS:
        flags |= StoredEvent.SHOWN
    flags &= ~StoredEvent.KEYLESS
    ctx.ledger.events.put_body(event.id, None, flags)
    ctx.batch.wrote = True
    kept.erased(ctx, event)
    return StoredEvent(
        event.id, event.header, event.signature, None, event.room, event.device, event.seq, event.prev,
        event.hlc, event.kind, event.epoch, event.received_ms, flags,
    )  # fmt: skip


def refresh(
    ctx: Context, room: RoomCache, what: Said, touches: list[Touch] | None = None
) -> MessageView | None:
    """Compute and store the view of one message; None if there is nothing to show yet."""
    if touches is None:
        touches = ctx.ledger.views.touches(what.event.room, what.event.id)
    view = compute(ctx, room, what, touches)
    if view is not None:
        ctx.ledger.views.put_message(view, bulk=ctx.batch.bulk)
        ctx.batch.wrote = True
        if view.files and not view.hidden:
            transfers.offered(ctx, room, what.event, what.account, _offers(ctx, room, what, touches))
    else:  # what stood for a text that is absent, or unread, may have become void
        ctx.ledger.views.drop_message(what.event.id)
        ctx.batch.wrote = True
    return view


def offered_by(ctx: Context, room: RoomCache, message: EventId) -> tuple[Offer, ...]:
    """What a message that is here offers, as it was written."""
    event = ctx.ledger.events.get(message)
    if event is None:
        return ()
    return _offers(ctx, room, said(ctx, room, event), ctx.ledger.views.touches(event.room, event.id))


def _offers(ctx: Context, room: RoomCache, what: Said, touches: list[Touch]) -> tuple[Offer, ...]:
    """What the message itself offers; where its body is absent, what its newest edit repeats."""
    if isinstance(what.body, wire.Message):
        return what.body.files
    edits = [touch.id for touch in touches if touch.kind == wire.EDIT and touch.account == what.account]
    edit = ctx.ledger.events.get(edits[-1]) if edits else None
    body = None if edit is None else said(ctx, room, edit).body
    return body.files if isinstance(body, wire.Edit) else ()


def compute(ctx: Context, room: RoomCache, what: Said, touches: list[Touch]) -> MessageView | None:
    """The view that a message and its touches, in (hlc, id) order, come to."""
    event, body, author = what.event, what.body, what.account
    base = body if isinstance(body, wire.Message) else None
    if base is not None and not touches:
        return _untouched(ctx, room, what, base)
    touches = _newest_edit_whole(ctx, author, touches)
    edits = [t for t in touches if t.kind == wire.EDIT and t.account == author]
    was_here = base is not None or bool(event.flags & StoredEvent.SHOWN)
    # What was erased does not come back, even if what erased it has become void.
    deleted = _taken_back(author, touches) or (base is None and was_here and not edits)
    if base is None and not edits and not deleted:
        return None
    text = edits[-1].value if edits else (base.text if base else None)
    mentions = edits[-1].mentions if edits else tuple(AccountId(m) for m in (base.mentions if base else ()))
    if base is not None:
        reply_to = EventId(base.reply_to) if base.reply_to else None
        thread = EventId(base.thread) if base.thread else None
        urgent = base.urgent
    elif edits:
        reply_to, thread, urgent = edits[-1].reply_to, edits[-1].thread, edits[-1].urgent
    else:
        reply_to, thread, urgent = None, None, False
    pins = [t for t in touches if t.kind == wire.PIN]
    mine = author == ctx.me.account
    state = _state(ctx, room, event) if mine else RECEIVED
    if mine and deleted and not was_here:
        state = CANCELLED
    return MessageView(
        id=event.id,
        room=event.room,
        account=author,
        device=event.device,
        seq=event.seq,
        hlc=event.hlc,
        written_ms=event.hlc >> log.HLC_SHIFT,
        received_ms=event.received_ms,
        text=None if deleted else text,
        reply_to=reply_to,
        thread=thread,
        urgent=urgent,
        edited=bool(edits) and (was_here or not all(edit.remove for edit in edits)),
        deleted=deleted,
        pinned=bool(pins) and not pins[-1].remove and not deleted,
        hidden=(deleted and not was_here) or bool(event.flags & StoredEvent.VOID),
        mine=mine,
        mentions=() if deleted else _people(room, mentions),
        mentions_me=not deleted and calls_me(ctx, room, mentions),
        reactions=() if deleted else _reactions(touches),
        state=state,
        flags=_flags(event),
        ack_by_ms=asked_until(edits[-1].ack if edits else base.ack if base else 0),
        files=() if deleted else offers.briefs(author, _offers(ctx, room, what, touches)),
    )


def _newest_edit_whole(ctx: Context, author: AccountId, touches: list[Touch]) -> list[Touch]:
    """The same touches; the edit that counts with what it says."""
    for at in range(len(touches) - 1, -1, -1):
        if touches[at].kind == wire.EDIT and touches[at].account == author:
            whole = ctx.ledger.views.touch(touches[at].id)
            return touches if whole is None else [*touches[:at], whole, *touches[at + 1 :]]
    return touches


def calls_me(ctx: Context, room: RoomCache, mentions: tuple[AccountId, ...]) -> bool:
    """Whether these mentions are of me, by name or with everybody in the room."""
    return any(one in (ctx.me.account, room.row.id) for one in mentions)


def _people(room: RoomCache, mentions: tuple[AccountId, ...]) -> tuple[AccountId, ...]:
    everybody: bytes = room.row.id
    return tuple(one for one in mentions if bytes(one) != everybody)


def asked_until(ack: int) -> int | None:
    """Of a message's `ack`: None not asked, 0 some time, else until when in ms."""
    return None if ack == 0 else 0 if ack == 1 else ack


def _untouched(ctx: Context, room: RoomCache, what: Said, base: wire.Message) -> MessageView:
    """The same for what almost every message is."""
    event, me = what.event, ctx.me
    mentions = tuple(AccountId(m) for m in base.mentions) if base.mentions else ()
    return MessageView(
        event.id, event.room, what.account, event.device, event.seq, event.hlc,
        event.hlc >> log.HLC_SHIFT, event.received_ms, base.text,
        EventId(base.reply_to) if base.reply_to else None,
        EventId(base.thread) if base.thread else None,
        base.urgent, False, False, False, bool(event.flags & StoredEvent.VOID), what.account == me.account,
        _people(room, mentions) if mentions else (), bool(mentions) and calls_me(ctx, room, mentions), (),
        _state(ctx, room, event) if what.account == me.account else RECEIVED,
        _flags(event) if event.flags else (), asked_until(base.ack),
        offers.briefs(what.account, base.files) if base.files else (),
    )  # fmt: skip


def _reactions(touches: list[Touch]) -> tuple[tuple[str, tuple[AccountId, ...]], ...]:
    standing: dict[tuple[str, AccountId], bool] = {}
    for touch in touches:
        if touch.kind == wire.REACTION:
            standing[touch.value, touch.account] = not touch.remove
    by_emoji: dict[str, list[AccountId]] = {}
    for (emoji, account), on in standing.items():
        if on:
            by_emoji.setdefault(emoji, []).append(account)
    return tuple((emoji, tuple(sorted(who))) for emoji, who in sorted(by_emoji.items()))


def _flags(event: StoredEvent) -> tuple[str, ...]:
    named = (
        (StoredEvent.FORKED, "forked"),
        (StoredEvent.FUTURE, "future"),
        (StoredEvent.VOID, "void"),
    )
    return tuple(word for bit, word in named if event.flags & bit)


def own_state(ctx: Context, room: RoomCache, seq: int) -> str:
    """How far an own message has come, by what other people's machines have said."""
    if room.row.kind != DIRECT:
        if ranges.contains(reached_by_all(ctx, room, registers.READ), seq):
            return READ
        if ranges.contains(reached_by_all(ctx, room, registers.HAVE), seq):
            return DELIVERED
    elif _any_other(ctx, ctx.me.device, seq, room.their_read):
        return READ
    elif _any_other(ctx, ctx.me.device, seq, room.their_have):
        return DELIVERED
    return HELD if kept.is_held(room, ctx.me.device, seq) else QUEUED


def reached_by_all(ctx: Context, room: RoomCache, kind: int) -> Ranges:
    """Own numbers that everybody they are for has (HAVE) or has read (READ) on some machine."""
    known = room.reached.get(kind)
    if known is None:
        known = ((1, ranges.MAX_SEQ - 1),)
        by_account = by_person(ctx, room, kind)
        for account, first in room.awaited.items():
            held = by_account.get(account, ())
            known = ranges.both(known, ranges.union(held, ((1, first - 1),)) if first > 1 else held)
        room.reached[kind] = known
    return known


def by_person(
    ctx: Context, room: RoomCache, kind: int, writer: DeviceId | None = None
) -> dict[AccountId, Ranges]:
    """What each person's machines together have, or have read, of own events, or of those of `writer`."""
    writer = writer or ctx.me.device
    found: dict[AccountId, Ranges] = {}
    told = room.their_have if kind == registers.HAVE else room.their_read
    for (who, author), held in told.items():
        owner = ctx.cache.owner.get(who)
        if author == writer and owner is not None:
            found[owner] = ranges.union(found[owner], held) if owner in found else held
    return found


def _state(ctx: Context, room: RoomCache, event: StoredEvent) -> str:
    """How far what I wrote has come. Of what another machine of mine wrote we hear in direct chats that
    it has arrived, not whether it waits; in rooms neither."""
    if event.device == ctx.me.device:
        return own_state(ctx, room, event.seq)
    if room.row.kind != DIRECT:
        return RECEIVED
    if _any_other(ctx, event.device, event.seq, room.their_read):
        return READ
    return DELIVERED if _any_other(ctx, event.device, event.seq, room.their_have) else RECEIVED


def _any_other(
    ctx: Context, writer: DeviceId, seq: int, told: dict[tuple[DeviceId, DeviceId], Ranges]
) -> bool:
    for (who, author), held in told.items():
        if held and held[0][1] >= seq and author == writer and ctx.cache.owner.get(who) != ctx.me.account:
            if ranges.contains(held, seq):
                return True
    return False


def rebuild(ctx: Context, room: RoomCache, events: list[StoredEvent]) -> None:
    """Compute every view of a room again from its events; the feed is told nothing."""
    messages = []
    for event in events:
        if wire.is_control(event.kind):
            continue
        what = said(ctx, room, event)
        if event.kind == wire.MESSAGE:
            messages.append(what)
            continue
        if isinstance(what.body, rooms.Name):
            naming.keep(ctx, room, what, what.body)
        touch = _touch(what, what.body)
        if touch is not None and not event.flags & StoredEvent.VOID:
            ctx.ledger.views.put_touch(event.room, touch)
    for what in messages:
        refresh(ctx, room, what)
    for device, read in room.read.items():  # what was read is not in the log
        for low, high in read:
            events = ctx.ledger.events.run(room.row.id, device, low, high, high - low + 1)
            ctx.ledger.views.mark_read([event.id for event in events])
