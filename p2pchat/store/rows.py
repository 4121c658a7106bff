"""Rows to records and back: one place where columns and fields meet.

Decides: how tuples, flags and times of the shared records lie in columns, and the column
lists that reading files share. Does not know: which rows are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from p2pchat.ids import ID_BYTES, AccountId, DeviceId, EpochId, RoomId
from p2pchat.model import FeedRow, FileBrief, MessageView, StoredEvent
from p2pchat.store.core import Names
from p2pchat.store.schema import HLC_OFFSET, STATES
from p2pchat.wire.limits import FUTURE_MS

STATE_NUMBER: Final = {name: number for number, name in enumerate(STATES)}

MAX_PLACE: Final = (1 << 63) - 1
"""The greatest integer a column holds."""

EVENT_COLUMNS: Final = (
    "id, header, signature, body, room, device, seq, prev, hlc, kind, epoch, received, flags"
)
VIEW_COLUMNS: Final = (
    "e.id, m.room, m.account, m.device, m.seq, m.hlc, m.written, m.received, m.text, m.reply_to, m.thread, "
    "m.urgent, m.edited, m.deleted, m.pinned, m.hidden, m.mine, m.mentions, m.mentions_me, m.reactions, "
    "m.state, m.flags, m.ack, m.files"
)
FEED_COLUMNS: Final = "cursor, type, ref, at, detail"

Row = Sequence[Any]


def place_of(hlc: int, received_ms: int) -> int:
    """Where a message stands in history, in units of hlc.

    One dated more than 5 min ahead of its arrival is shown at its received time
    (docs/protocol.md, "Order"), or it would stay below everything said after it.
    """
    return hlc if hlc >> 16 <= received_ms + FUTURE_MS else received_ms << 16


def place_of_ms(ms: int) -> int:
    """The first place of a millisecond, kept within what a column holds."""
    return min(max(ms, 0) << 16, MAX_PLACE)


def event_of(row: Row, names: Names) -> StoredEvent:
    """A row of EVENT_COLUMNS from `event`."""
    return StoredEvent(
        row[0],
        row[1],
        row[2],
        row[3],
        RoomId(names.id(row[4])),
        DeviceId(names.id(row[5])),
        row[6],
        row[7],
        row[8] + HLC_OFFSET,
        row[9],
        EpochId(names.id(row[10])),
        row[11],
        row[12],
    )


def parked_of(row: Row) -> StoredEvent:
    """A row of EVENT_COLUMNS from `parked`, whose ids are not numbers."""
    return StoredEvent(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8] + HLC_OFFSET,
        row[9],
        row[10],
        row[11],
        row[12],
    )


def view_of(row: Row, names: Names) -> MessageView:
    """A row of VIEW_COLUMNS from `message` m joined with its `event` e."""
    return MessageView(
        id=row[0],
        room=RoomId(names.id(row[1])),
        account=AccountId(names.id(row[2])),
        device=DeviceId(names.id(row[3])),
        seq=row[4],
        hlc=row[5] + HLC_OFFSET,
        written_ms=row[6],
        received_ms=row[7],
        text=row[8],
        reply_to=row[9],
        thread=row[10],
        urgent=bool(row[11]),
        edited=bool(row[12]),
        deleted=bool(row[13]),
        pinned=bool(row[14]),
        hidden=bool(row[15]),
        mine=bool(row[16]),
        mentions=split_ids(row[17]),
        mentions_me=bool(row[18]),
        reactions=_reactions(row[19]),
        state=STATES[row[20]],
        flags=tuple(row[21].split()) if row[21] else (),
        ack_by_ms=asked_until(row[22]),
        files=_files(row[23]) if row[23] else (),
    )


def asked_until(ack: int) -> int | None:
    """Of a message's `ack`: None not asked, 0 some time, else until when in ms."""
    return None if ack == 0 else 0 if ack == 1 else ack


def ack_of(ack_by_ms: int | None) -> int:
    """The other way round."""
    return 0 if ack_by_ms is None else max(1, ack_by_ms)


def feed_of(row: Row) -> FeedRow:
    """A row of FEED_COLUMNS."""
    detail = tuple((str(key), str(value)) for key, value in json.loads(row[4])) if row[4] else ()
    return FeedRow(row[0], row[1], row[2], row[3], detail)


def join_ids(ids: Sequence[bytes]) -> bytes | None:
    """Ids of 32 bytes one after the other; NULL for none."""
    return b"".join(ids) or None


def split_ids(raw: bytes | None) -> tuple[AccountId, ...]:
    """The other way round."""
    if not raw:
        return ()
    return tuple(AccountId(raw[at : at + ID_BYTES]) for at in range(0, len(raw), ID_BYTES))


def pack_reactions(reactions: Sequence[tuple[str, Sequence[AccountId]]]) -> str | None:
    """Emoji with who put it, as JSON with hex ids; NULL for none."""
    if not reactions:
        return None
    return json.dumps([[emoji, [who.hex() for who in people]] for emoji, people in reactions])


def _reactions(text: str | None) -> tuple[tuple[str, tuple[AccountId, ...]], ...]:
    if not text:
        return ()
    return tuple(
        (emoji, tuple(AccountId(bytes.fromhex(who)) for who in people)) for emoji, people in json.loads(text)
    )


def pack_files(files: Sequence[FileBrief]) -> str | None:
    """What a message offers, as JSON; NULL for nothing."""
    return json.dumps([[one.id.hex(), one.name, one.size] for one in files]) if files else None


def _files(text: str) -> tuple[FileBrief, ...]:
    return tuple(FileBrief(bytes.fromhex(id), name, size) for id, name, size in json.loads(text))


V = TypeVar("V")
ASKED_AT_ONCE: Final = 128
"""Ids in one look into an index; always so many or a few, so that SQLite compiles few statements."""


def in_portions(select: str, column: str, ids: Sequence[V]) -> Iterator[tuple[str, list[V]]]:
    """Statements and values that look for rows by a column with an index, some at a time."""
    for at in range(0, len(ids), ASKED_AT_ONCE):
        some = list(ids[at : at + ASKED_AT_ONCE])
        some += some[-1:] * (ASKED_AT_ONCE - len(some)) if len(some) > 8 else []
        yield f"{select}WHERE {column} IN ({','.join('?' * len(some))})", some
