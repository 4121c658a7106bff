"""Operations about availability: what is chosen, who sees it, who is typing.

Decides: their names, parameters and answers. Does not know: who carries them out.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

MINE: Final = (
    '`{"state":"available|away|busy|invisible","shown":"available|away|busy|offline","message","until",'
    '"hidden_from":[person],"hide_direct","hide_rooms","quiet_hours","do_not_disturb"}`: `state` as chosen, '
    "`shown` what those who see me see of this machine; `until` null: for good"
)

OPERATIONS: Final = (
    Operation("presence.show", "How I am available, and who does not see it.", (), MINE),
    Operation(
        "presence.set",
        "Choose how I am available. A state brings its own message and time, none if none are given; "
        "what is not given stays. Hiding adds up until `show_all`.",
        (
            Param("state", "str", "available, away, busy or invisible; empty: as it is", ""),
            Param("message", "str", "beside it, at most 200 characters; null: as it is", None),
            Param("until_ms", "int", "until then, ms since 1970, then available again; null: for good", None),
            Param("hide_from", "list", "people who see me as not here", []),
            Param("hide_direct", "bool", "hide from those I share no room with", False),
            Param("hide_rooms", "bool", "hide from those I have never written to directly", False),
            Param("show_all", "bool", "hide from nobody any more", False),
            Param("quiet_hours", "str", "HH:MM-HH:MM in which I am not to be disturbed, or off", None),
        ),
        MINE,
    ),
    Operation(
        "presence.active",
        "The user of this front end is at work. Told when he is seen to, at most every few seconds; ten "
        "minutes after the last time he is shown as away.",
        (),
        "`{}`",
    ),
    Operation(
        "typing",
        "The user is writing to a conversation: told again every few seconds, or with `on` false when he "
        "stops. Nobody he is hidden from hears of it.",
        (Param("target", "str", "a person or a room"), Param("on", "bool", "whether he is", True)),
        "`{}`",
    ),
)
