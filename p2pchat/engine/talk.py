"""Saying things, changing what was said, and taking it back.

Decides: what the commands send, edit, delete, react, pin, queue cancel and the
confirmation of reading do to the room (docs/control.md). Does not know: how events travel,
what a view looks like, or how a command reached us.
"""

from __future__ import annotations

from dataclasses import replace

from p2pchat.engine import (
    content,
    custody,
    file_commands,
    keys,
    log,
    names,
    outbox,
    people,
    ranges,
    room_commands,
    rooms,
    targets,
    transfers,
    views,
)
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.inputs import CancelQueued, Change, ConfirmShown, Post, Reply, Tell
from p2pchat.errors import CommandError
from p2pchat.ids import AccountId, EventId, hex_prefix
from p2pchat.model import CANCELLED, DIRECT, HELD, QUEUED, SCHEDULED, Draft, MessageView, StoredEvent
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.limits import MAX_EMOJI, MAX_MENTIONS, MAX_TEXT
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages import rooms as rooms_wire

DRAFT = "draft-"
LAST = "last"
ASKING_HINT = "ids of what asks for it are in `p2pchat inbox`"
_KINDS = {
    "edit": wire.EDIT,
    "delete": wire.DELETE,
    "react": wire.REACTION,
    "pin": wire.PIN,
    "ack": wire.ACK,
}


# -- sending ----------------------------------------------------------------------------


def post(ctx: Context, command: Post) -> None:
    """Say something, now or later."""
    if command.key and _repeated(ctx, command):
        return
    place = targets.writable(ctx, command.target)
    room = place.room
    room_commands.need_to_write(ctx, room, wire.MESSAGE)
    check_text(command.text, may_be_empty=bool(command.files))
    reply_to = _referred(ctx, command.reply_to, room) if command.reply_to else b""
    thread = _referred(ctx, command.thread, room) if command.thread else b""
    if command.files and command.at_ms is not None:
        raise CommandError("usage", "a message with files leaves at once", "send it without `--at`")
    if command.at_ms is not None and command.at_ms > ctx.now.wall_ms:
        _schedule(ctx, command, room, EventId(reply_to), EventId(thread))
        return
    mentions = mentioned(ctx, room, command.text)
    files = file_commands.to_offer(ctx, room, command.files) if command.files else ()
    offered, paths = tuple(offer for offer, _ in files), tuple(path for _, path in files)
    body = wire.Message(1, command.text, reply_to, thread, mentions, command.urgent, _ack(command), offered)
    if command.key:
        ctx.batch.keyed[command.key] = ctx.batch.keyed.get(command.key, ())
    _say(ctx, room, body, lambda ctx, event: _posted(ctx, event, command, place.warning), paths=paths)


def _say(
    ctx: Context,
    room: RoomCache,
    body: wire.Message,
    told: log.Finish,
    draft: str = "",
    paths: tuple[str, ...] = (),
) -> None:
    def finish(ctx: Context, event: StoredEvent) -> None:
        for offer, path in zip(body.files, paths, strict=True):
            transfers.posted(ctx, event, offer, path)
        detail = (("draft", draft),) if draft else ()
        views.show_own(ctx, rooms.room(ctx, event.room), content.Said(event, ctx.me.account, body), detail)
        told(ctx, event)

    log.append(ctx, room, wire.MESSAGE, encode(body), keys.current(ctx, room), finish)


def _ack(command: Post) -> int:
    """A message's `ack`."""
    return max(1, command.ack_by_ms or 1) if command.ack else 0


def _posted(ctx: Context, event: StoredEvent, command: Post, warning: str) -> None:
    commands = [command]
    if command.key:
        ctx.ledger.outbox.put_key(command.key, event.id)
        commands += ctx.batch.keyed.pop(command.key, ())
    for one in commands:
        if one.wait == HELD:
            custody.hurry(ctx, event.room)
        if one.wait:
            outbox.await_state(ctx, one.request, event.id, event.room, one.wait, one.timeout_s)
        else:
            result = {
                "id": event.id.hex(),
                "room": event.room.hex(),
                "state": QUEUED,
                "warning": warning,
            }
            ctx.out.append(Reply(one.request, result))


def _repeated(ctx: Context, command: Post) -> bool:
    """The same key again: the same message, sent once."""
    if command.key in ctx.batch.keyed:
        ctx.batch.keyed[command.key] = (*ctx.batch.keyed[command.key], command)
        return True
    known = ctx.ledger.outbox.by_key(command.key)
    if known is not None:
        view = ctx.ledger.views.message(known)
        event = ctx.ledger.events.get(known)
        state = view.state if view else QUEUED
        if event is not None and command.wait == HELD:
            custody.hurry(ctx, event.room)
        if event is not None and command.wait and outbox.REACHED.get(state, 9) < outbox.REACHED[command.wait]:
            outbox.await_state(ctx, command.request, known, event.room, command.wait, command.timeout_s)
        else:
            room = event.room.hex() if event else ""
            ctx.out.append(
                Reply(command.request, {"id": known.hex(), "room": room, "state": state, "warning": ""})
            )
        return True
    for draft in ctx.ledger.outbox.drafts():
        if draft.key == command.key:
            _told_draft(ctx, command.request, draft)
            return True
    return False


def check_text(text: str, *, may_be_empty: bool = False) -> None:
    """CommandError unless `text` can be a message; `may_be_empty`: one with files."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise CommandError("usage", "the text is not valid UTF-8", "send it as a file") from error
    if not text.strip() and not may_be_empty:
        raise CommandError(
            "usage", "there is no text to send", "give it as an argument, or on standard input with `-`"
        )
    if size > MAX_TEXT:
        raise CommandError(
            "too_long", f"{size} bytes do not fit one message of at most {MAX_TEXT}", log.TOO_LONG_HINT
        )


def mentioned(ctx: Context, room: RoomCache, text: str) -> tuple[bytes, ...]:
    """Members whose name stands behind an @ in `text`."""
    if "@" not in text and "\uff20" not in text and "\ufe6b" not in text:  # both fold to one
        return ()
    folded = names.fold(text)
    found = [bytes(account) for account in room.accounts if _calls(folded, people.name(ctx, account))]
    if room.row.kind != DIRECT and _calls(folded, "room"):
        found.append(bytes(room.row.id))  # everybody
    return tuple(found[-MAX_MENTIONS:])


def _calls(folded: str, name: str) -> bool:
    wanted = "@" + names.fold(name)
    place = folded.find(wanted)
    while place >= 0:
        after = folded[place + len(wanted) : place + len(wanted) + 1]
        if not (after.isalnum() or after == "_"):
            return True
        place = folded.find(wanted, place + 1)
    return False


# -- drafts -----------------------------------------------------------------------------


def _schedule(ctx: Context, command: Post, room: RoomCache, reply_to: EventId, thread: EventId) -> None:
    draft = Draft(
        id=DRAFT + ctx.entropy.bytes(8).hex(),
        room=room.row.id,
        text=command.text,
        reply_to=reply_to or None,
        thread=thread or None,
        urgent=command.urgent,
        at_ms=command.at_ms or 0,
        key=command.key,
        made_ms=ctx.now.wall_ms,
        ack=_ack(command),
    )
    ctx.ledger.outbox.put_draft(draft)
    ctx.batch.wrote = True
    _told_draft(ctx, command.request, draft)
    plan_drafts(ctx)


def _told_draft(ctx: Context, request: int, draft: Draft) -> None:
    result = {"id": draft.id, "room": draft.room.hex(), "state": SCHEDULED, "warning": ""}
    ctx.out.append(Reply(request, result))


def plan_drafts(ctx: Context) -> None:
    """Wake up for the next draft; at least hourly, in case the wall clock is set."""
    drafts = ctx.ledger.outbox.drafts()
    if drafts:
        wait = min(3600.0, max(0.0, (drafts[0].at_ms - ctx.now.wall_ms) / 1000))
        ctx.timer("drafts", ctx.now.mono + wait)


def drafts_due(ctx: Context) -> None:
    """Drafts whose time has come become messages."""
    for draft in ctx.ledger.outbox.drafts():
        if draft.at_ms <= ctx.now.wall_ms:
            _send_draft(ctx, draft)
    plan_drafts(ctx)


def _send_draft(ctx: Context, draft: Draft) -> None:
    room = rooms.room(ctx, draft.room)
    try:
        room_commands.need_to_write(ctx, room, wire.MESSAGE)
    except CommandError as error:  # it was allowed when it was written
        ctx.ledger.outbox.put_draft(replace(draft, cancelled=True))
        ctx.batch.wrote = True
        text = f"the draft {draft.id!r} was not sent: {error.message}"
        ctx.out.append(Tell("warning", ("draft", text)))
        return
    body = wire.Message(
        1,
        draft.text,
        draft.reply_to or b"",
        draft.thread or b"",
        mentioned(ctx, room, draft.text),
        draft.urgent,
        draft.ack,
        (),
    )
    # Marked in the same transaction: a crash between the two would send it twice.
    marked = replace(draft, cancelled=True)
    ctx.ledger.outbox.put_draft(marked)

    def told(ctx: Context, event: StoredEvent) -> None:
        ctx.ledger.outbox.put_draft(replace(draft, sent_as=event.id))
        if draft.key:
            ctx.ledger.outbox.put_key(draft.key, event.id)

    _say(ctx, room, body, told, draft.id)


# -- changing -----------------------------------------------------------------------------


def change(ctx: Context, command: Change) -> None:
    """Edit, delete, react to or pin."""
    draft = _draft(ctx, command.ref)
    if draft is not None:
        _change_draft(ctx, command, draft)
        return
    if command.verb == "ack" and command.ref == LAST:
        raise CommandError(
            "usage", f"{LAST!r} is what you wrote last yourself, and you take note of others", ASKING_HINT
        )
    view = _message(ctx, command.ref, command.target)
    room = rooms.room(ctx, view.room)
    if command.verb in ("edit", "delete") and not view.mine:
        ref, chat = names.pasted(command.ref), targets.typed(ctx, room, marked=room.row.kind != DIRECT)
        raise CommandError(
            "no_right",
            f"{command.ref!r} was written by {names.shown(ctx, view.account)!r}",
            f"answer it: `p2pchat send {chat} TEXT --reply-to {ref}`",
        )
    if view.deleted:
        raise CommandError(
            "no_such_target", f"{command.ref!r} has been deleted", "ids are in `p2pchat history TARGET`"
        )
    target = bytes(view.id)
    body: Record
    room_commands.need_to_write(ctx, room, _KINDS[command.verb])
    match command.verb:
        case "edit":
            check_text(command.value, may_be_empty=bool(view.files))
            files = views.offered_by(ctx, room, view.id) if view.files else ()
            unseen = _forget_unseen(ctx, room, view)
            mentions = mentioned(ctx, room, command.value)
            body = wire.Edit(1, target, command.value, mentions, *_bearing(view), files, unseen)
        case "delete":
            body = wire.Delete(1, target)
            _forget_unseen(ctx, room, view)
            for edit in ctx.ledger.views.edits(room.row.id, view.id, ctx.me.account):
                _take_back(ctx, room, edit)  # its text goes everywhere with the message
        case "ack":
            if view.ack_by_ms is None or view.mine:
                raise CommandError("usage", f"{command.ref!r} asks nobody here to take note", ASKING_HINT)
            body = rooms_wire.Ack(1, target)
        case "react":
            size = len(command.value.encode("utf-8", "replace"))
            if not 0 < size <= MAX_EMOJI or not command.value.isprintable():
                raise CommandError("usage", f"{command.value!r} is not an emoji", "give one, such as 👍")
            body = wire.Reaction(1, target, command.value, command.remove)
        case _:
            body = wire.Pin(1, target, command.remove)
    _append_change(ctx, room, view, command, body)


def _bearing(view: MessageView) -> tuple[bytes, bytes, bool, int]:
    ack = 0 if view.ack_by_ms is None else max(1, view.ack_by_ms)
    return view.reply_to or b"", view.thread or b"", view.urgent, ack


def _append_change(ctx: Context, room: RoomCache, view: MessageView, command: Change, body: Record) -> None:
    def finish(ctx: Context, event: StoredEvent) -> None:
        views.apply(ctx, rooms.room(ctx, event.room), content.Said(event, ctx.me.account, body))
        now = ctx.ledger.views.message(view.id)
        result = {
            "id": event.id.hex(),
            "target": view.id.hex(),
            "room": event.room.hex(),
            "state": now.state if now else view.state,
        }
        ctx.out.append(Reply(command.request, result))

    log.append(ctx, room, _KINDS[command.verb], encode(body), keys.current(ctx, room), finish)


def _forget_unseen(ctx: Context, room: RoomCache, view: MessageView) -> bool:
    """No other machine has it: then the old text leaves no trace here either.

    It may be on its way this very moment; a recipient who gets the first body after all
    shows the mark of an edit, so nothing is lost by not knowing. An earlier edit goes the
    same way, and is deleted so that its missing body is lawful. True if nobody had it.
    """
    if view.device != ctx.me.device or _had_by_others(ctx, room, view.seq):
        return False
    event = ctx.ledger.events.get(view.id)
    if event is not None and event.body is not None:
        views.erase(ctx, event, shown=False)
    for identity in ctx.ledger.views.edits(room.row.id, view.id, ctx.me.account):
        edit = ctx.ledger.events.get(identity)
        if edit is None or edit.device != ctx.me.device:
            continue
        if edit.body is not None and not _had_by_others(ctx, room, edit.seq):
            views.erase(ctx, edit, shown=False)
            ctx.ledger.views.drop_touch(identity)
            _take_back(ctx, room, identity)
    return True


def _take_back(ctx: Context, room: RoomCache, edit: EventId) -> None:
    """Say that an edit of ours counts no more, so that its body may be missing."""
    body = wire.Delete(1, bytes(edit))

    def finish(ctx: Context, event: StoredEvent) -> None:
        views.apply(ctx, rooms.room(ctx, event.room), content.Said(event, ctx.me.account, body))

    log.append(ctx, room, wire.DELETE, encode(body), keys.current(ctx, room), finish)


def _had_by_others(ctx: Context, room: RoomCache, seq: int) -> bool:
    told = (r for (_, author), r in room.their_have.items() if author == ctx.me.device)
    return any(ranges.contains(r, seq) for r in told)


def _change_draft(ctx: Context, command: Change, draft: Draft) -> None:
    if command.verb == "edit":
        check_text(command.value)
        ctx.ledger.outbox.put_draft(replace(draft, text=command.value))
        state = SCHEDULED
    elif command.verb == "delete":
        ctx.ledger.outbox.put_draft(replace(draft, cancelled=True))
        state = CANCELLED
    else:
        raise CommandError("usage", f"{command.ref!r} is a draft that nobody has yet", "edit or delete it")
    ctx.batch.wrote = True
    result = {"id": draft.id, "target": draft.id, "room": draft.room.hex(), "state": state}
    ctx.out.append(Reply(command.request, result))


def cancel(ctx: Context, command: CancelQueued) -> None:
    """Take back what nobody has yet."""
    draft = _draft(ctx, command.ref)
    if draft is not None:
        _change_draft(ctx, Change(command.request, "delete", command.ref), draft)
        return
    view = _message(ctx, command.ref, "")
    if not view.mine or view.state not in (QUEUED, HELD):
        raise CommandError(
            "already_delivered",
            f"{command.ref!r} is {view.state}",
            f"delete it for everybody: `p2pchat delete {names.pasted(command.ref)}`",
        )
    change(ctx, Change(command.request, "delete", view.id.hex()))


def confirm_shown(ctx: Context, command: ConfirmShown) -> None:
    """These were put before the user's eyes."""
    room = room_of(ctx, command.target)
    ids = []
    for text in command.ids:
        try:
            ids.append(EventId(bytes.fromhex(text)))
        except ValueError as error:
            raise CommandError("usage", f"{text!r} is not a message id", "") from error
    outbox.mark_read(ctx, room, ids)
    ctx.out.append(Reply(command.request, {"read": len(ids)}))


# -- finding ------------------------------------------------------------------------------


def room_of(ctx: Context, target: str) -> RoomCache:
    """The conversation a TARGET means; it need not be writable."""
    return targets.conversation(ctx, target).room


def _draft(ctx: Context, ref: str) -> Draft | None:
    if not ref.startswith(DRAFT):
        return None
    draft = ctx.ledger.outbox.draft(ref)
    if draft is None or draft.cancelled:
        raise CommandError(
            "no_such_target", f"no draft {ref!r} waits here", "see what waits: `p2pchat queue`"
        )
    if draft.sent_as is not None:
        return None
    return draft


def _message(ctx: Context, ref: str, target: str) -> MessageView:
    """The message that an id, a prefix, a sent draft or "last" means."""
    found: list[EventId] = []
    if ref == LAST:
        if not target:
            raise CommandError("usage", "'last' needs a conversation", "add `--in TARGET`")
        newest = ctx.ledger.views.last_mine(room_of(ctx, target).row.id)
        found = [newest] if newest else []
    elif ref.startswith(DRAFT):
        draft = ctx.ledger.outbox.draft(ref)
        found = [draft.sent_as] if draft and draft.sent_as else []
    else:
        prefix = hex_prefix(ref)
        found = ctx.ledger.views.find(prefix) if prefix else []
    if len(found) > 1:
        forms = ", ".join(one.hex()[:16] for one in found)
        raise CommandError("ambiguous_target", f"{ref!r} could be any of: {forms}", "give more digits")
    view = ctx.ledger.views.message(found[0]) if found else None
    if view is None or view.hidden:
        raise CommandError(
            "no_such_target",
            f"no message {ref!r} is known here",
            "ids are in `p2pchat history TARGET`",
        )
    return view


def _referred(ctx: Context, ref: str, room: RoomCache) -> bytes:
    view = _message(ctx, ref, "")
    if view.room != room.row.id:
        raise CommandError("no_such_target", f"{ref!r} is in another conversation", "")
    return view.id


def account_of(ctx: Context, target: str) -> AccountId:
    """The person a TARGET means."""
    return names.resolve(ctx, target).account
