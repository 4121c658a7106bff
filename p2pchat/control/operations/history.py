"""Operations that read: history, unread messages, inbox, search, and the live stream.

Decides: their names, parameters and answers. Does not know: who carries them out.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

MESSAGE: Final = (
    '`{"id","room","room_name","kind","author","author_name","device","seq","written_at","received_at",'
    '"text","reply_to","thread","edited","deleted","pinned","urgent","mine","mentions_me",'
    '"reactions":[{"emoji","by"}],"mentions","files":[{"id","name","size"}],"ack":{"by_time","acked","missing"},"state",'
    '"progress":{"delivered","read","of"},"delivered_to","read_by","held_by","flags"}`; `progress` counts '
    "people and is null for what others wrote, `machine` in `held_by` is what I call one of "
    "mine, `ack` is null where nobody is asked to take note"
)
PAGE: Final = (
    '`{"room":{"id","name","kind"},"messages":[…],"notices":[{"id","type":"created|added|joined|left|'
    'removed|role|settings|name|topic|rules|revoked|fork|voided|overruled","at","by","who","detail",'
    '"before","act"}],"gaps":[{"device","name","from","to","holders","earlier"}],"coming":{"count","from"},'
    '"has_more","cursor"}`, oldest first; `detail` is what the room was created '
    "as, the new role, name or topic, how the rules begin, `key=value` of each setting that changed, or the "
    "machine that was cut off; "
    "`before` the same as it was, where that is known; `voided` was not allowed, as became known since, "
    "`overruled` came at the same time as another that stands, and `act` says what it was; "
    "`name` is whose machine it is; `earlier` says that they may be from before I came in, where newcomers "
    "do not see that; `coming` counts what a machine has said it has and is giving just now, the newest "
    "first; each message " + MESSAGE
)

PAGE_LIMIT: Final = 500
"""Most messages in one answer: at 32 KiB of text each, the line stays far below its ceiling."""

LISTEN_TYPES: Final = (
    "message",
    "edit",
    "delete",
    "reaction",
    "pin",
    "receipt",
    "ack",
    "file",
    "room",
    "peer",
    "presence",
    "typing",
    "history",
    "office",
    "warning",
)
"""Every type of line that `listen` can print, those of later capabilities included."""

OPERATIONS: Final = (
    Operation(
        "history",
        "A stretch of a conversation. Marks nothing read.",
        (
            Param("target", "str", "a person or a room"),
            Param("tail", "int", f"the newest so many of what matches, 1 to {PAGE_LIMIT}", 50),
            Param("before_id", "str", "only what stands before this message", ""),
            Param("before_ms", "int", "only what was written before, in ms since 1970", None),
            Param("after_id", "str", "only what stands after this message", ""),
            Param("after_ms", "int", "only what was written at or after, in ms since 1970", None),
            Param("thread", "str", "only this message and what belongs to its thread", ""),
            Param("pinned", "bool", "only pinned messages", False),
        ),
        PAGE + "; `has_more` says that older ones match too: ask again with `before_id`",
    ),
    Operation(
        "read.open",
        "The unread messages of a conversation, oldest first. Marks nothing read yet.",
        (
            Param("target", "str", "a person or a room"),
            Param("limit", "int", f"at most so many, 1 to {PAGE_LIMIT}", PAGE_LIMIT),
        ),
        PAGE + "; `has_more` says that newer unread ones remain: confirm, then ask again",
    ),
    Operation(
        "read.confirm",
        "These messages were put before the user's eyes: mark them read.",
        (
            Param("room", "str", "the `room.id` of the page, or any TARGET"),
            Param("ids", "list", "message ids as they were printed"),
        ),
        '`{"room","read"}`: how many were unread until now',
    ),
    Operation(
        "inbox",
        "What did I miss: conversations with unread messages, rooms a stranger added me to, "
        "files that are offered to me, and messages that ask me to take note.",
        (),
        '`{"unread":[{"room","name","count","mentions"}],"requests":[{"kind":"room","room","name","by","at"}],'
        '"files":[…],"acks":[{"id","room","name","author","by_time","preview"}]}`; a request stands until I '
        "write there, go, or verify who added me; files as in `files.list`, at most 500",
    ),
    Operation(
        "search",
        "Full text over everything here, newest first. Words must all occur, whatever their case "
        "and accents; quotes make a phrase.",
        (
            Param("query", "str", "any text; no character is a syntax error"),
            Param("target", "str", "only in this conversation", ""),
            Param("person", "str", "only what this person wrote", ""),
            Param("after_ms", "int", "only what was written at or after, in ms since 1970", None),
            Param("before_ms", "int", "only what was written before, in ms since 1970", None),
            Param("limit", "int", f"at most so many, 1 to {PAGE_LIMIT}", 50),
            Param("offset", "int", "skip so many of the newest", 0),
        ),
        '`{"results":[a message and "snippet"],"has_more","incomplete":[{"room","name","why","missing",'
        '"coming"}]}`: of what is not here nothing is found; `missing` counts it, `coming` as in `history`',
    ),
    Operation(
        "listen",
        "What happens, from a cursor on. Each object may come twice, none is left out.",
        (
            Param("targets", "list", "only these conversations; all if empty", []),
            Param("since", "int", "go on after this cursor; 0: the oldest kept; null: from now", None),
            Param("types", "list", "only these types; all if empty: " + " ".join(LISTEN_TYPES), []),
            Param("mentions", "bool", "only messages that mention me", False),
        ),
        'first `{"cursor","type":"ready"}`, then `{"cursor","type":T,T:{…}}`: `message edit delete reaction '
        "pin` a message (with `draft`, its id before, if it was one); "
        '`receipt` `{"id","room","state","person"}`; `ack`, somebody has taken note, '
        '`{"id","room","person","by_time","acked","missing"}`; `room` an entry of `rooms.list` with '
        "`change` (a type of notice), `by`, `who`, `detail`, `before` and `act` as there; `peer` "
        "an entry of `peers.list`, `presence` one too, of somebody who is there otherwise than before; "
        '`typing` `{"room","person","typing"}`; '
        '`history` `{"id","name","kind","coming"}`, at most once a second while much of what was said '
        "earlier comes in, and once at its end, `coming` as in `history`; "
        "`file` an entry of `files.list`: when its state changes, and at most 4 "
        "times a second while it moves, which is not told again after a reconnect; "
        '`warning` `{"kind","message"}`',
        stream=True,
    ),
)
