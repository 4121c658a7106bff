"""What is missing of a conversation, and what is on its way, as JSON.

Decides: the objects. Does not know: how holes are found, or who asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pchat.control.operations.fields import Json, Names, machine_fields, room_brief
from p2pchat.ids import DeviceId, RoomId, show
from p2pchat.model import Gap

Coming = tuple[int, DeviceId | None]
"""How many events are on their way, and from whose machine."""


def gap_fields(gap: Gap, names: Names) -> Json:
    """A stretch known to exist and not here: `{"device","name","from","to","holders","earlier"}`."""
    return {
        "device": show(gap.device),
        "name": machine_fields(names, gap.device)["name"],
        "from": gap.low,
        "to": gap.high,
        "holders": [machine_fields(names, device) for device in gap.holders],
        "earlier": gap.earlier,
    }


def coming_fields(coming: Coming, names: Names) -> Json:
    """What somebody is giving just now and is not here yet: `{"count","from"}`."""
    count, giver = coming
    return {"count": count, "from": [] if giver is None else [machine_fields(names, giver)]}


def backfill_fields(room: RoomId, coming: Coming, names: Names) -> Json:
    """A `history` line of `listen`: `{"id","name","kind","coming"}`."""
    return {**room_brief(names, room), "coming": coming_fields(coming, names)}


def incomplete_fields(room: RoomId, gaps: Sequence[Gap], coming: Coming, names: Names) -> Json:
    """Where a search could not look at everything: `{"room","name","why","missing","coming"}`. Of a chain of
    which nothing came yet only who gives it knows how long it is."""
    count = max(sum(gap.high - gap.low + 1 for gap in gaps), coming[0])
    brief = room_brief(names, room)
    return {
        "room": brief["id"],
        "name": brief["name"],
        "why": f"{count} message{'s' if count != 1 else ''} of it not here yet",
        "missing": count,
        "coming": coming_fields(coming, names),
    }
