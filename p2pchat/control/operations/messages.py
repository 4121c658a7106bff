"""Operations that write: send, edit, delete, react, pin, ack, and the queue of what waits.

Decides: their names, parameters and answers. Does not know: who carries them out.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

CHANGED: Final = '`{"id","target","room","state"}`: `id` of the change, `target` of the message'

_REF = Param("id", "str", "an id, a unique prefix of 6 digits or more, a `draft-…`, or `last`")
_IN = Param("target", "str", "where `last` looks", "")

OPERATIONS: Final = (
    Operation(
        "send",
        "Say something. Answered once the message is durable here, or after `wait`.",
        (
            Param("target", "str", "a person or a room"),
            Param("text", "str", "at most 16 KiB of UTF-8; may be empty with `files`"),
            Param("files", "list", "absolute paths of files and folders to offer with it, at most 16", []),
            Param("reply_to", "str", "the message this answers", ""),
            Param("thread", "str", "the message whose thread this belongs to", ""),
            Param("urgent", "bool", "mark it urgent", False),
            Param("key", "str", "the same key gives the same id and is sent once", ""),
            Param("at_ms", "int", "keep a draft until then, in ms since 1970", None),
            Param("ack", "bool", "ask everybody to take note", False),
            Param("ack_by_ms", "int", "until then, in ms since 1970; only with `ack`", None),
            Param("wait", "str", "answer only in this state", "", ("", "held", "delivered", "read")),
            Param("timeout_s", "number", "how long `wait` lasts, in seconds", 30.0),
        ),
        '`{"id","room","state"}`, with `files` also `transfers` and `left` as in `files.send`; '
        "after `timeout_s` the failure `timeout` whose `result` is that object "
        "with `progress`, as in a message",
    ),
    Operation(
        "edit",
        "Replace the text of an own message.",
        (_REF, Param("text", "str", "the new text"), _IN),
        CHANGED,
    ),
    Operation("delete", "Delete an own message.", (_REF, _IN), CHANGED),
    Operation(
        "react",
        "Add or take back a reaction.",
        (
            _REF,
            Param("emoji", "str", "one emoji, or a short word"),
            Param("remove", "bool", "take it back", False),
            _IN,
        ),
        CHANGED,
    ),
    Operation(
        "pin",
        "Pin a message in its conversation, or unpin it.",
        (_REF, Param("remove", "bool", "unpin", False), _IN),
        CHANGED,
    ),
    Operation("ack", "Take note of a message that asks for it.", (_REF, _IN), CHANGED),
    Operation(
        "acks",
        "Who has taken note of a message that asks for it, and who has not.",
        (_REF, _IN),
        '`{"id","room","by_time","acked","missing"}`: people; `by_time` null where no time was set',
    ),
    Operation(
        "receipts",
        "How far an own message has come on each machine of those it is for.",
        (_REF, _IN),
        '`{"id","room","state","progress","devices":[{"account","device","name","state":"queued|delivered|read"}]}`',
    ),
    Operation(
        "queue.list",
        "Own messages that not everybody they are for has yet, oldest first, drafts included.",
        (),
        '`{"queue":[{"id","room","to","held_by","state","at","since","attempts","preview"}]}`; '
        "`attempts` counts how often in a row those it waits for could not be reached",
    ),
    Operation(
        "queue.cancel",
        "Take back a message that nobody has yet, or a draft.",
        (Param("id", "str", "an id, a unique prefix, or a `draft-…`"),),
        '`{"id","room","state"}`; the failure `already_delivered` once somebody has it',
    ),
)
