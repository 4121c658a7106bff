"""Operations about rooms: which there are, who is in, what each is set to, and who has taken note.

Decides: their names, parameters and answers. Does not know: who carries them out, or who
may do what.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

ROOM: Final = (
    '`{"id","name","topic","rules","kind":"room|direct|lobby","peer","membership":"joined|open|left|removed",'
    '"members","unread","role":"owner|moderator|member|null","admission":"invite|office|closed","announce",'
    '"history":"all|joined","retention","epoch","mute":{"until","mentions_only"}}`; `peer` is the other '
    "person of a direct chat, else null; `retention` days for which files are served, 0: for ever; `mute` "
    "null where notices are raised as usual, its `until` null: for good"
)
ONE: Final = f'`{{"room":{{…}}}}`: {ROOM}'

_ROOM = Param("room", "str", "a room")
_PERSON = Param("person", "str", "a person")

OPERATIONS: Final = (
    Operation(
        "rooms.list",
        "Rooms and direct chats in which I am.",
        (
            Param("all", "bool", "also open ones that I could join, and those I left", False),
            Param("member", "str", "only those this person is in too", ""),
        ),
        f'`{{"rooms":[…]}}`, each {ROOM}',
    ),
    Operation(
        "rooms.show",
        "What one room is, in which I am or not.",
        (Param("room", "str", "a room, or a person: the direct chat"),),
        ONE,
    ),
    Operation(
        "rooms.create",
        "Make a room; I am its owner.",
        (
            Param("name", "str", "what it is called, without #"),
            Param("topic", "str", "what it is about", ""),
            Param("admission", "str", "who gets in: whom I add, or anybody", "invite", ("invite", "office")),
            Param("announce", "bool", "only owners and moderators write", False),
            Param("history", "str", "what a newcomer reads: all, or from then on", "all", ("all", "joined")),
            Param("rules", "str", "its ground rules, at most 16 KiB of UTF-8", ""),
        ),
        ONE,
    ),
    Operation("rooms.join", "Come into an open room, or back into one that I left.", (_ROOM,), ONE),
    Operation(
        "rooms.leave",
        "Go. The last owner is refused with `policy` until somebody else is one.",
        (_ROOM,),
        ONE,
    ),
    Operation(
        "rooms.invite",
        "Add people at once; what waits for them is given to them by any member. Who is in already is passed"
        " over; with somebody who left by himself among them all is refused with `policy`: he comes back by"
        " `rooms.join`. More than 16 are looked at together and come in one portion after the other: if that"
        " ends early, the rest is invited by asking again.",
        (_ROOM, Param("people", "list", "whom to add")),
        f'`{{"room":{{…}},"added":[{{"account","device","name"}}]}}`: who came in; the room is {ROOM}',
    ),
    Operation(
        "rooms.remove",
        "Put a person out; nothing said later can be read by him.",
        (Param("room", "str", "a room; empty: every room in which I may", ""), _PERSON),
        '`{"room":{…}}`, or `{"rooms":[…]}` for every room, as in `rooms.list`',
    ),
    Operation(
        "rooms.members",
        "Who is in a room, and with which machines.",
        (_ROOM,),
        '`{"room":{"id","name","kind"},"members":[{"account","name","role":"owner|moderator|member",'
        '"devices":[{"device","name","this","last_seen","revoked"}]}]}`',
    ),
    Operation(
        "rooms.set",
        "Change what a room is; what is null stays. Of a direct chat only `history` and `retention`.",
        (
            Param("room", "str", "a room, or a person: the direct chat"),
            Param("name", "str", "another name", None),
            Param("topic", "str", "another topic; empty: none", None),
            Param("rules", "str", "other ground rules; empty: none", None),
            Param("admission", "str", "who gets in", None, ("invite", "office", "closed")),
            Param("announce", "bool", "only owners and moderators write", None),
            Param("history", "str", "what a newcomer reads", None, ("all", "joined")),
            Param(
                "retention",
                "int",
                "days for which files offered from now on are served and kept staged; 0: for ever",
                None,
            ),
        ),
        ONE,
    ),
    Operation(
        "rooms.role",
        "Give a member another role.",
        (
            _ROOM,
            _PERSON,
            Param("role", "str", "owner, moderator or member", choices=("owner", "moderator", "member")),
        ),
        ONE,
    ),
    Operation(
        "rooms.mute",
        "Raise no notice for a room. Nobody else learns of it.",
        (
            Param("room", "str", "a room, or a person"),
            Param("until_ms", "int", "until then, in ms since 1970; null: for good", None),
            Param("mentions_only", "bool", "but for messages that mention me", False),
            Param("off", "bool", "raise notices again", False),
        ),
        ONE,
    ),
)
