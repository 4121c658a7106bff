"""What happened to a room, in words.

Decides: the sentence of a notice and of a gap, and how a room is written. Does not know:
where they are shown, or JSON beyond the fields it is handed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from p2pchat_cli.text import field

NAME_WIDTH: Final = 20
"""Columns of a name inside a line."""

TOLD_HOLDERS: Final = 3
"""Holders of a gap that are named; the others are counted."""


def room_name(room: Mapping[str, Any]) -> str:
    """`#launch`, `#lobby`, or the name of the other person; escaped."""
    name = field(room["name"], NAME_WIDTH)
    return name if room["kind"] == "direct" else f"#{name}"


def sentence(type: str, by: Mapping[str, Any] | None, who: Mapping[str, Any] | None, detail: str) -> str:
    """A notice of `type` as a sentence; of a type that is not known here, its bare facts."""
    actor, other = _person(by), _person(who)
    match type:
        case "created":
            return f"{actor} created the room"
        case "added":
            return f"{actor} added {other}"
        case "joined":
            return f"{other if who else actor} joined"
        case "left":
            return f"{other if who else actor} left"
        case "removed":
            return f"{actor} removed {other}"
        case "role":
            given = field(detail, NAME_WIDTH)
            return f"{actor} made {other} {given}" if given else f"{actor} gave {other} another role"
        case "settings":
            return f"{actor} changed {field(detail, 200) or 'the settings'}"
        case "name" | "topic" | "rules":
            return f"{actor} changed the {type}"
        case "revoked":
            return f"a machine of {other} was cut off" if who else "a machine was cut off"
        case "fork":
            return f"a machine of {other if who else actor} signed two histories: both are kept as proof"
        case "voided":
            return f"what {actor} did counts no more: it was not allowed, as became known since"
    return " ".join(word for word in (field(type, NAME_WIDTH), actor, other) if word != "somebody")


def notice(entry: Mapping[str, Any]) -> str:
    """A notice of `history` as a sentence."""
    return sentence(entry["type"], entry["by"], entry["who"], entry["detail"])


def change(room: Mapping[str, Any]) -> str:
    """A `room` line of `listen` as a sentence."""
    return sentence(room["change"], room["by"], room["who"], room["detail"])


def gap(entry: Mapping[str, Any]) -> str:
    """`missing 3 from Bob; Carl has them`, of what is known to exist and not here.
    Where newcomers do not see what was before, it can not be told from what is."""
    count = entry["to"] - entry["from"] + 1
    whose = field(entry.get("name") or entry["device"][:8], NAME_WIDTH)
    if entry["earlier"]:
        return f"{count} from {whose}: from before you came in, or missing"
    holders = [field(one["name"], NAME_WIDTH) for one in entry["holders"]]
    named = ", ".join(dict.fromkeys(holders[:TOLD_HOLDERS]))
    more = f" and {len(holders) - TOLD_HOLDERS} more" if len(holders) > TOLD_HOLDERS else ""
    return f"missing {count} from {whose}; " + (
        f"held by {named}{more}" if named else "nobody here holds them"
    )


def coming(entry: Mapping[str, Any]) -> str:
    """`54,321 earlier messages are on their way from Bob`; of none, that nothing more is."""
    count, givers = entry["count"], people(entry["from"])
    if not count:
        return "no earlier messages are on their way any more"
    one = count == 1
    whence = f" from {givers}" if givers else ""
    return f"{count:,} earlier message{' is' if one else 's are'} on {'its' if one else 'their'} way{whence}"


def people(entries: Iterable[Mapping[str, Any]]) -> str:
    """Names of a list of people, in one line."""
    return ", ".join(field(person["name"], NAME_WIDTH) for person in entries)


def machines(entries: Iterable[Mapping[str, Any]]) -> str:
    """Who keeps something, in one line: my own machines by what I call them, those of others by their
    person; with the digits of `peers` and `device list` where two are called the same."""
    listed = [(field(one.get("machine") or one["name"], NAME_WIDTH), one["device"]) for one in entries]
    said = [name for name, _ in listed]
    return ", ".join(
        f"{name} ({field(device)[:8]})" if device and said.count(name) > 1 else name
        for name, device in listed
    )


def _person(person: Mapping[str, Any] | None) -> str:
    return "somebody" if person is None else field(person["name"], NAME_WIDTH)
