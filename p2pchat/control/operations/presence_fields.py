"""Presence as JSON objects of the command-line contract. A part of `fields`, split for its length.

Decides: which field holds what. Does not know: who sees whom, or how the object travels.
"""

from __future__ import annotations

from p2pchat.control.operations.fields import Json, Names, people_fields, person_fields, time
from p2pchat.ids import AccountId, RoomId, show
from p2pchat.model import Availability


def presence_fields(mine: Availability, names: Names, quiet_hours: str) -> Json:
    """How I am available, as `presence` shows it."""
    return {
        "state": mine.state,
        "shown": mine.shown,
        "message": mine.message,
        "until": time(mine.until_ms),
        "hidden_from": people_fields(names, mine.hidden_from),
        "hide_direct": mine.hide_direct,
        "hide_rooms": mine.hide_rooms,
        "quiet_hours": quiet_hours or "off",
        "do_not_disturb": mine.do_not_disturb,
    }


def typing_fields(names: Names, room: RoomId, account: AccountId, *, on: bool) -> Json:
    """A `typing` of `listen`."""
    return {"room": show(room), "person": person_fields(names, account), "typing": on}
