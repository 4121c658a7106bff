"""What a content event says: its body opened, and whether it has a form.

Decides: which bodies are read, and that what a member sealed wrongly harms nobody who passes it on.
Does not know: what it changes (views, transfers), or who may say it.
"""

from __future__ import annotations

from typing import NamedTuple

from p2pchat.engine import keys
from p2pchat.engine.context import Context, RoomCache
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, AccountId
from p2pchat.model import DIRECT, StoredEvent
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.limits import MAX_EMOJI, MAX_FILES, MAX_MENTIONS, MAX_NAME, MAX_PIECES, MAX_TEXT, MAX_TOPIC
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages import files, rooms


class Said(NamedTuple):
    """A content event with its body opened, and the person it is from."""

    event: StoredEvent
    account: AccountId
    body: Record | None  # None: absent, keyless, or of a kind this version does not know


def read_body(kind: int, plain: bytes) -> Record | None:
    """The record in an opened body, its text within limits; RemoteProtocolError if wrong.

    What was sealed wrongly (`plain` empty) gives None, and so does a record `v` or kind from a later
    version: kept and relayed, not shown.
    """
    known = wire.BODIES.get(kind)
    if known is None or not plain:
        return None
    body = decode(known, plain)
    if getattr(body, "v", 1) != 1:
        return None
    match body:
        case wire.Message():
            fine = _text(body.text) and len(body.reply_to) in (0, ID_BYTES)
            fine = fine and len(body.thread) in (0, ID_BYTES) and _ids(body.mentions)
            fine = fine and 0 <= body.ack < 2**53 and len(body.files) <= MAX_FILES
        case wire.Edit():
            fine = _text(body.text) and len(body.target) == ID_BYTES and _ids(body.mentions)
            fine = fine and all(len(i) in (0, ID_BYTES) for i in (body.reply_to, body.thread))
            fine = fine and 0 <= body.ack < 2**53 and len(body.files) <= MAX_FILES
        case wire.Reaction():
            fine = 0 < len(body.emoji.encode()) <= MAX_EMOJI and len(body.target) == ID_BYTES
        case wire.Delete() | wire.Pin() | rooms.Ack() | rooms.RulesAccepted():
            fine = len(body.target) == ID_BYTES
        case files.FileRoot():
            fine = len(body.offer) == files.OFFER_ID_BYTES and len(body.root) == files.ROOT_BYTES
            fine = fine and 0 <= body.pieces <= MAX_PIECES
        case rooms.Name():
            most = MAX_TEXT if body.field == "rules" else MAX_TOPIC
            size = len(body.value.encode("utf-8", "surrogatepass"))
            fine = size <= most if body.field != "name" else len(body.value) <= MAX_NAME
            fine = fine and body.field in rooms.NAME_FIELDS
        case _:
            fine = True
    if not fine:
        raise RemoteProtocolError("message body out of form")
    return body


def _text(text: str) -> bool:
    return 4 * len(text) <= MAX_TEXT or len(text.encode("utf-8", "surrogatepass")) <= MAX_TEXT


def _ids(items: tuple[bytes, ...]) -> bool:
    return not items or (len(items) <= MAX_MENTIONS and all(len(item) == ID_BYTES for item in items))


def body_in(room: RoomCache, kind: int, plain: bytes) -> Record | None:
    """The record in an opened body; None where a member sealed nonsense: whoever passes it on is not
    to blame. In a direct chat he is its author: RemoteProtocolError."""
    try:
        return read_body(kind, plain)
    except RemoteProtocolError:
        if room.row.kind == DIRECT:
            raise
        return None


def said(ctx: Context, room: RoomCache, event: StoredEvent, header: wire.Header | None = None) -> Said:
    """Open an event of the log."""
    account = ctx.cache.owner[event.device]
    plain = keys.open_plain(room, event, header)
    return Said(event, account, None if plain is None else body_in(room, event.kind, plain))
