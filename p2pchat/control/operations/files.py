"""Operations about files: offering them, taking what is offered, and how far each has come.

Decides: their names, parameters and answers. Does not know: who carries them out, how bytes
travel, or who may have what.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

FINAL: Final = ("done", "declined", "cancelled", "failed")
"""States in which nothing more happens by itself."""

SPOOL_BYTES: Final = 48 * 1024
"""Most of what is piped in that one call takes: in base64 the longest string a parameter may be."""

MAX_FILES: Final = 16
"""Files and folders in one message. Equal to wire.limits.MAX_FILES (a test looks), which a command
should not have to import."""

LIST_LIMIT: Final = 500
"""Most transfers in one answer."""

TRANSFER: Final = (
    '`{"id","name","size","files","direction":"in|out","peer","room","room_name","kind","message",'
    '"state":"offered|waiting|active|paused|done|declined|cancelled|failed","bytes_done","rate_bps",'
    '"pieces","pieces_here","path","folder","sources","have","declined","flags","error":{"kind","message"},'
    '"offered_at","expires"}`'
)
ONE: Final = f'`{{"transfer":{{…}}}}`: {TRANSFER}'
SEVERAL: Final = f'`{{"transfers":[…]}}`, each {TRANSFER}'

MEANING: Final = (
    "`id` is that of the offer, as in `files` of its message; `name` is what its sender calls it, `size` "
    "bytes in `files` files; `peer` who offers it, or to whom it is offered in a direct chat, else null; "
    "`active` moves, `waiting` is wanted and does not; `rate_bps` counts bytes in a second, `sources` "
    "machines that give of it or take it; `path` is where it is, null until `done`, `folder` where it "
    "will land, null for what I offer; `have` who has all of it (of what I received: I, while I "
    "give it to others), `declined` who does not want it; `flags` "
    "of `executable double_extension hidden renamed`; `error` why it failed or waits, else null; "
    "`expires` until when it can be had, null: as long as somebody has it"
)

LEFT: Final = (
    '`left`, if something of a folder does not go along, `[{"path","links","special","closed"}]`: how many '
    "links, pipes sockets and devices, and things that may not be read"
)

_ID = Param("id", "str", "a transfer: its id, or a unique prefix of 6 digits or more")

OPERATIONS: Final = (
    Operation(
        "files.send",
        "Offer files and folders in one message; each goes when somebody takes it. Answered once the message "
        "is durable here.",
        (
            Param("target", "str", "a person or a room"),
            Param("paths", "list", f"absolute paths, at most {MAX_FILES}", []),
            Param("spool", "str", "instead of paths: what was piped in, a number of `files.spool`", ""),
            Param("name", "str", "what is piped in is called so; only with `spool`", ""),
            Param("text", "str", "what the message says, at most 16 KiB of UTF-8; may be empty", ""),
            Param("key", "str", "the same key gives the same message and is sent once", ""),
        ),
        f'`{{"id","room","state","transfers":[…]}}`: the message, and each {TRANSFER}; {MEANING}; {LEFT}',
    ),
    Operation(
        "files.spool",
        "Begin to keep what is piped in, in a file of the daemon's own: its size must be known to offer it.",
        (),
        '`{"spool"}`: its number, for `files.spool_add`, then `files.send`',
    ),
    Operation(
        "files.spool_add",
        "More of what is piped in.",
        (
            Param("spool", "str", "a number of `files.spool`"),
            Param("data", "str", f"in base64, at most {SPOOL_BYTES} bytes of it"),
        ),
        '`{"bytes"}`: how many these were',
    ),
    Operation(
        "files.spool_drop",
        "Forget what was piped in.",
        (Param("spool", "str", "a number of `files.spool`"),),
        '`{"spool"}`',
    ),
    Operation(
        "files.list",
        "What is offered, on its way, or has been, newest first.",
        (
            Param("have", "bool", "also who has it; else `have` is empty", False),
            Param("limit", "int", f"at most so many, 1 to {LIST_LIMIT}", LIST_LIMIT),
            Param("before", "str", "only what stands after this one: the last `id` of the page before", ""),
        ),
        f'`{{"transfers":[…],"has_more"}}`, each {TRANSFER}',
    ),
    Operation(
        "files.accept",
        "Take what is offered; also what I declined, cancelled, or what has failed;"
        " what is on its way goes elsewhere only after a pause.",
        (
            _ID,
            Param("to", "str", "absolute path of a folder that is there; empty: the inbox", ""),
            Param(
                "conflict",
                "str",
                "if something of that name is there: another name, leave it, or replace it",
                "rename",
                ("rename", "skip", "overwrite"),
            ),
        ),
        ONE,
    ),
    Operation("files.decline", "Say that I do not want what is offered.", (_ID,), ONE),
    Operation("files.pause", "Fetch no more of it for now; what is here stays.", (_ID,), ONE),
    Operation("files.resume", "Go on fetching it.", (_ID,), ONE),
    Operation(
        "files.cancel",
        "Of what I offer: give it to nobody any more. Of what I fetch: stop, and forget what is here of it.",
        (_ID,),
        ONE,
    ),
    Operation(
        "files.auto",
        "Take what a verified person offers without being asked, up to the setting `file_auto_max`, or no "
        "longer.",
        (Param("person", "str", "a person"), Param("on", "bool", "whether to")),
        '`{"account","name","auto","max_bytes"}`: `max_bytes` is the setting, 0: nothing is taken so',
    ),
    Operation(
        "files.wait",
        "Wait until nothing more happens to any of these by itself.",
        (
            Param("ids", "list", "transfers: ids, or unique prefixes of 6 digits or more"),
            Param("timeout_s", "number", "answer then at the latest, in seconds", 30.0),
        ),
        f"as things stand, whether or not all are done declined cancelled or failed: {SEVERAL}",
    ),
)
