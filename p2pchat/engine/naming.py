"""What a room says of itself: its name, topic and rules.

Decides: which of several counts (log.rank), what is kept of each for the notices of the history, and
when the feed is told. Does not know: who may say it (it is allowed when it gets here), or how a notice
reads.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import log, rooms
from p2pchat.engine.content import Said, said
from p2pchat.engine.context import Context, RoomCache
from p2pchat.ids import EventId
from p2pchat.model import RoomText, StoredEvent, Touch
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages.rooms import NAME_FIELDS, Name

MAX_LINE: Final = 200
"""Characters of the rules that the feed and a notice show: their first line."""


def named(ctx: Context, room: RoomCache, what: Said, body: Name) -> None:
    """A room is called otherwise, or says otherwise of itself: the newest counts (log.rank)."""
    event = what.event
    known = ctx.cache.texts.get((room.row.id, body.field))
    keep(ctx, room, what, body)
    older = known is not None and log.rank(ctx, room, known.event) > log.rank(ctx, room, event.id)
    if older or event.flags & StoredEvent.VOID:
        return
    _set(ctx, RoomText(room.row.id, body.field, body.value, event.id, event.hlc))
    _tell(ctx, room, body.field, known.value if known else "")


def named_anew(ctx: Context, room: RoomCache) -> None:
    """The same from the log: one of them counts no more, or counts again."""
    before = {field: ctx.cache.texts.pop((room.row.id, field), None) for field in NAME_FIELDS}
    ctx.ledger.rooms.drop_texts(room.row.id)
    ctx.cache.meant.clear()
    ranks: dict[str, tuple[int, int, EventId]] = {}
    for event in ctx.ledger.events.of_kind(room.row.id, wire.NAME):
        body = said(ctx, room, event).body
        if not isinstance(body, Name) or event.flags & StoredEvent.VOID:
            continue
        rank = log.rank(ctx, room, event.id)
        if body.field not in ranks or ranks[body.field] < rank:
            ranks[body.field] = rank
            _set(ctx, RoomText(room.row.id, body.field, body.value, event.id, event.hlc))
    for field, text in before.items():
        _tell(ctx, room, field, text.value if text else "")


def keep(ctx: Context, room: RoomCache, what: Said, body: Name) -> None:
    """Keep it as something done to the room, for its history: `DEPTH FIELD VALUE`, the first part of
    its rank. One that counts no more is kept too: its event says so."""
    event = what.event
    value = f"{log.rank(ctx, room, event.id)[0]} {body.field} {body.value}"
    touch = Touch(EventId(event.room), event.id, what.account, event.hlc, event.kind, value, False)
    ctx.ledger.views.put_touch(event.room, touch)
    ctx.batch.wrote = True


def load(ctx: Context) -> None:
    """Keep what an archive has that was written before this was kept."""
    lacking = {text.room for text in ctx.cache.texts.values() if ctx.ledger.views.touch(text.event) is None}
    for room_id in sorted(lacking & ctx.cache.known_rooms.keys()):
        room = rooms.room(ctx, room_id)
        for event in ctx.ledger.events.of_kind(room_id, wire.NAME):
            what = said(ctx, room, event)
            if isinstance(what.body, Name):
                keep(ctx, room, what, what.body)


def notable(field: str, value: str) -> str:
    """What a line about a change says of it: of rules, which may be long, how they begin."""
    return value.strip().partition("\n")[0][:MAX_LINE] if field == "rules" else value


def _set(ctx: Context, text: RoomText) -> None:
    ctx.cache.texts[text.room, text.field] = text
    ctx.ledger.rooms.put_text(text)
    ctx.cache.meant.clear()


def _tell(ctx: Context, room: RoomCache, field: str, before: str) -> None:
    """Tell the feed what the room says of itself now; nothing where that was only said again."""
    text = ctx.cache.texts.get((room.row.id, field))
    value = text.value if text else ""
    if value == before:
        return
    detail = [("change", field), ("detail", notable(field, value)), ("before", notable(field, before))]
    stored = ctx.ledger.events.get(text.event) if text else None
    if stored is not None:
        detail += [("by", ctx.cache.owner[stored.device].hex()), ("event", stored.id.hex())]
    ctx.feed("room", room.row.id, tuple(detail))
