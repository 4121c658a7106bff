"""What happened to a room, in words.

Decides: the sentence of a notice and of a gap, and how a room is written. Does not know:
where they are shown, or JSON beyond the fields it is handed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from p2pchat_cli.text import field

NAME_WIDTH: Final = 20
"""Columns of a name inside a line."""

TOLD_TEXT: Final = 300
"""Columns of a topic inside a line."""

SHORT: Final = 60
"""Columns up to which the topic before is told too."""

SETTINGS: Final = {
    ("history", "all"): "changed the history policy: a newcomer reads everything",
    ("history", "joined"): "changed the history policy: a newcomer reads what is said from then on",
    ("announce", "1"): "let only owners and moderators write",
    ("announce", "0"): "let every member write",
    ("admission", "office"): "opened the room: anybody may join",
    ("admission", "invite"): "made the room private: who is invited comes in",
    ("admission", "closed"): "closed the room: nobody comes in any more",
}

CREATED: Final = {
    ("admission", "office"): "anybody may join",
    ("announce", "1"): "only owners and moderators write",
    ("history", "joined"): "a newcomer reads what is said from then on",
}
"""What a new room is that others are not."""

TOLD_HOLDERS: Final = 3
"""Holders of a gap that are named; the others are counted."""


def room_name(room: Mapping[str, Any]) -> str:
    """`#launch`, `#lobby`, or the name of the other person; escaped."""
    name = field(room["name"], NAME_WIDTH)
    return name if room["kind"] == "direct" else f"#{name}"


def sentence(told: Mapping[str, Any], type: str, look: str = "") -> str:
    """What `told`, a notice or a `room` line, says of something of `type`; of a type that is not known
    here its bare facts. `look` is the command that shows the rules."""
    actor, other = _person(told["by"]), _person(told["who"])
    if told["who"] is None and type in ("joined", "left", "fork"):
        other = actor
    detail, before, act = told["detail"], told.get("before", ""), told.get("act", "")
    match type:
        case "created":
            promised = [CREATED[pair] for pair in _pairs(detail).items() if pair in CREATED]
            return f"{actor} created the room" + (f": {', '.join(promised)}" if promised else "")
        case "added" | "removed":
            return f"{actor} {type} {other}"
        case "joined" | "left":
            return f"{other} {type}"
        case "role":
            given = field(detail, NAME_WIDTH)
            return f"{actor} made {other} {given}" if given else f"{actor} gave {other} another role"
        case "settings":
            return f"{actor} {_set(detail, before)}"
        case "name" | "topic" | "rules":
            return f"{actor} {_said(type, detail, before, look)}"
        case "revoked":
            return f"a machine of {other} was cut off" if told["who"] else "a machine was cut off"
        case "fork":
            return f"a machine of {other} signed two histories: both are kept as proof"
        case "voided":
            known = act and (act not in ("name", "topic", "rules") or detail)
            what = f"{sentence(told, act, look)}: this" if known else f"what {actor} did"
            what = f"{actor} changed the {act}: this" if act and not known else what
            return f"{what} counts no more: it was not allowed, as became known since"
        case "overruled":
            return f"{sentence({**told, 'before': ''}, act, look)}: another change at the same time stands"
    return " ".join(word for word in (field(type, NAME_WIDTH), actor, other) if word != "somebody")


def notice(entry: Mapping[str, Any], look: str = "") -> str:
    """A notice of `history` as a sentence; `look` is the command that shows the rules."""
    return sentence(entry, entry["type"], look)


def change(room: Mapping[str, Any], look: str = "") -> str:
    """A `room` line of `listen` as a sentence; `look` as in `notice`."""
    return sentence(room, room["change"], look)


def look(room: Mapping[str, Any]) -> str:
    """The command that shows what a room is; as our own advice it may be pointed at a profile."""
    return f"p2pchat room show {shlex.quote(field(room['name']))}"


def _said(what: str, now: str, before: str, look: str) -> str:
    """What somebody did to a name, a topic or the rules."""
    shown, was = field(now, TOLD_TEXT), field(before, TOLD_TEXT)
    if not shown and not was:  # of a version that did not say
        return f"changed the {what}"
    if what == "name":
        return f'renamed the room from "{was}" to "{shown}"' if was else f'named the room "{shown}"'
    if not shown:
        return f"removed the {what}" + (f" (it was: {was})" if was and what == "topic" else "")
    if what == "topic":
        short = was and len(was) <= SHORT
        return f"set the topic: {shown}" + (f" (it was: {was})" if short else "")
    verb = "changed" if was else "set"
    return f"{verb} the rules" + (f": `{look}`" if look and shown else "")


def _set(detail: str, before: str) -> str:
    """What somebody did to settings, of `key=value key=value`."""
    now, was = _pairs(detail), _pairs(before)
    title = now.pop("title", "")
    changed = {key: value for key, value in now.items() if was.get(key) != value} or now
    told = [_setting(key, value, was.get(key, "")) for key, value in changed.items()]
    if not told and title:
        return f'named the room "{field(title, TOLD_TEXT)}"'
    return "; ".join(told) or "changed the settings"


def _setting(key: str, value: str, was: str) -> str:
    if (key, value) in SETTINGS:
        return SETTINGS[key, value]
    if key == "retention":
        days = {"0": "for ever", "1": "for 1 day"}
        kept = days.get(value, f"for {field(value, NAME_WIDTH)} days")
        before = days.get(was, f"for {field(was, NAME_WIDTH)} days")
        return f"set that files are kept {kept}" + (f" (it was: {before})" if was and was != value else "")
    return f"changed {field(key, NAME_WIDTH)} to {field(value, NAME_WIDTH)}"


def _pairs(text: str) -> dict[str, str]:
    """`key=value key=value`; a title, which may hold spaces, stands last."""
    rest, mark, title = f" {text}".partition(" title=")
    found = dict(part.split("=", 1) for part in rest.split() if "=" in part)
    return {**found, "title": title} if mark else found


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
