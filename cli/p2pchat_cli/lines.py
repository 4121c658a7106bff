"""Messages as lines that people read.

Decides: how a message, its marks and a day look, so that no text can pass for a line of
somebody else and no clock but ours names the day. Does not know: where messages come
from, or JSON.

    ── Mon 2026-11-23 ──
    14:30 Ann  shall we say ten?  6bc5f846
             │ or eleven
             ╰ edited · 👍 Bob
    14:31 Bob  eleven  4c1dab71
             ╰ file plan.pdf (1.2 MB) 9d2c01aa
           · 14:31 Ann added Carl

Column 0 is ours: every line of a text after its first stands behind `│`, marks behind
`╰`, and on a terminal long lines are broken here, not by the terminal. Behind a message
stand the first digits of its id, enough for `edit`, `react` and `--reply-to`. What happened to
a room, and what is missing of it, stands behind `·` where no message can begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from p2pchat.amounts import amount
from p2pchat_cli.happened import NAME_WIDTH, coming, gap, look, machines, notice
from p2pchat_cli.output import Output
from p2pchat_cli.text import body, columns, ends, field, fit
from p2pchat_cli.when import local

Message = Mapping[str, Any]
Entry = Mapping[str, Any]

ID_DIGITS: Final = 8
"""Of 64: two messages of one archive share so many once in 4 billion pairs, and then it is told."""

ID_COLUMNS: Final = ID_DIGITS + 2
NAME_OF_FILE: Final = 200
LEAST_TEXT: Final = 20
"""Columns of text below which the id stands on a line with the marks."""

FUTURE: Final = "future"
"""Flag of a message whose author's clock was more than 5 min ahead of ours when it came."""
INDENT: Final = " " * 6 + "· "


def page(out: Output, found: Mapping[str, Any]) -> None:
    """Print a page of a conversation: messages, and between them what happened and what is missing."""
    begins = not found["has_more"]  # what may be from before we came in is told where all begins
    gaps = [one for one in found["gaps"] if begins or not one["earlier"]]
    if found["coming"]["count"]:
        out.remark(coming(found["coming"]))
    how = out.hint(look(found["room"]))
    conversation(out, found["messages"], notices=found["notices"], gaps=gaps, rules=how)


def conversation(
    out: Output,
    messages: Iterable[Message],
    *,
    rooms: bool = False,
    notices: Iterable[Entry] = (),
    gaps: Iterable[Entry] = (),
    rules: str = "",
) -> None:
    """Print messages with a line for every new day; `rooms` names the conversation of each,
    `rules` is the command that shows those of this one.

    Messages keep their order; a notice stands before the first one written after it, a gap
    before the first one of its machine that comes after what is missing.
    """
    listed = list(messages)
    names = [_who(message, rooms) for message in listed]
    wide = max((columns(name) for name in names), default=0)
    own = [message["id"] for message in listed if message["mine"]]
    days = _Days(out)
    happened = _once(sorted(notices, key=lambda one: str(one["at"])))
    missing = list(gaps)
    for message, name in zip(listed, names, strict=True):
        while happened and happened[0]["at"] <= _stands(message):
            _notice(out, days, happened.pop(0), rules)
        for one in [g for g in missing if g["device"] == message["device"] and g["to"] < message["seq"]]:
            missing.remove(one)
            aside(out, gap(one))
        days.reach(_stands(message))
        last = bool(own) and message["id"] == own[-1]
        for line in _lines(out, message, name, wide, last=last, ident=message["id"][:ID_DIGITS]):
            out.line(line)
    for one in happened:
        _notice(out, days, one, rules)
    for one in missing:
        aside(out, gap(one))


class _Days:
    """Says once for each new day which it is."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._day = ""

    def reach(self, at: str) -> None:
        moment = _moment(at)
        if moment.strftime("%Y-%m-%d") != self._day:
            self._day = moment.strftime("%Y-%m-%d")
            self._out.line(self._out.style(f"── {moment.strftime('%a')} {self._day} ──", "dim"))


def _once(notices: Sequence[Entry]) -> list[Entry]:
    """That a machine was cut off, said as often as there are members who passed it on, is one thing; so
    are a room and its first name, and another name and its title for those who are not in."""
    told: set[str] = set()
    found: list[Entry] = []
    named = {(one["by"]["device"], one["detail"]) for one in notices if one["type"] == "name"}
    for one in notices:
        if one["type"] == "name" and not one["before"] and any(old["type"] == "created" for old in found):
            continue
        title = one["detail"].removeprefix("title=")
        if one["type"] == "settings" and one["detail"] != title and (one["by"]["device"], title) in named:
            continue
        if one["type"] == "revoked" and one["detail"]:
            if one["detail"] in told:
                continue
            told.add(one["detail"])
        found.append(one)
    return found


def _notice(out: Output, days: _Days, entry: Entry, rules: str) -> None:
    days.reach(entry["at"])
    aside(out, f"{_moment(entry['at']).strftime('%H:%M')} {notice(entry, rules)}")


def aside(out: Output, text: str) -> None:
    """A quiet line that is nobody's message."""
    out.line(out.style(INDENT + field(text, out.width - len(INDENT)) if out.width else INDENT + text, "dim"))


def single(out: Output, message: Message, *, rooms: bool = False) -> list[str]:
    """The lines of one message as it arrives, without its id: a stream is for watching."""
    name = _who(message, rooms)
    return _lines(out, message, name, columns(name), last=False, ident="")


def marks(message: Message, *, last: bool = False) -> list[str]:
    """What stands behind `╰`: changes, reactions, and how far an own message has come."""
    words = [word for word in ("deleted", "edited", "pinned", "urgent") if message.get(word)]
    words += [flag for flag in message["flags"] if flag not in (*words, "pinned", "urgent", FUTURE)]
    if FUTURE in message["flags"]:
        words.append(f"dated ahead: {_moment(message['written_at']):%Y-%m-%d %H:%M}")
    for reaction in message["reactions"]:
        who = ", ".join(field(person["name"], NAME_WIDTH) for person in reaction["by"])
        words.append(f"{field(reaction['emoji'], 16)} {who}")
    state, waits = message["state"], ("scheduled", "queued", "held", "cancelled")
    # `received`: another machine of mine wrote it, and how far it has come is followed there
    if message["mine"] and state != "received" and (last or state in waits):
        words.append(_state(message))
    if message["ack"]:
        words.append(_noted(message["ack"]))
    return words


def _state(message: Message) -> str:
    """`delivered`, `held by Cem`, and in a room by how many: `queued, delivered 7/9, read 3/9`."""
    progress, state = message["progress"], str(message["state"])
    if state == "held" and message["held_by"]:
        state = "held by " + machines(message["held_by"])
    if message["kind"] == "direct" or not progress or not progress["of"]:
        return state
    parts = [f"{word} {progress[word]}/{progress['of']}" for word in ("delivered", "read") if progress[word]]
    if message["state"] not in ("delivered", "read"):
        parts.insert(0, state)
    return ", ".join(parts) or state


def _noted(ack: Mapping[str, Any]) -> str:
    """`noted by 3 of 9 until Tue 12:00`."""
    due = local(ack["by_time"])
    until = f" until {due:%a %Y-%m-%d %H:%M}" if due else ""
    return f"noted by {len(ack['acked'])} of {len(ack['acked']) + len(ack['missing'])}{until}"


def _lines(out: Output, message: Message, name: str, wide: int, *, last: bool, ident: str) -> list[str]:
    head = f"{_moment(_stands(message)).strftime('%H:%M')} {fit(name, wide)}  "
    prefix = " " * (columns(head) - 2) + "│ "
    beside = not out.width or out.width - columns(prefix) - ID_COLUMNS >= LEAST_TEXT
    tail = f"  {ident}" if ident and beside else ""
    lines = body(message["text"] or "", prefix, out.width, len(tail))
    first = out.style(head[:6], "dim") + out.style(head[6:], "bold") + lines[0]
    shown = [first + out.style(tail, "dim"), *lines[1:]]
    behind = " " * (columns(head) - 2) + "╰ "
    for one in message["files"]:
        shown.append(out.style(behind + _file(one, out.width - columns(behind) if out.width else 0), "dim"))
    found = marks(message, last=last) + ([ident] if ident and not beside else [])
    if found:
        shown.append(out.style(behind + " · ".join(found), "dim"))
    return [line.rstrip() for line in shown]


def _file(one: Entry, width: int) -> str:
    """`file plan.pdf (1.2 MB) 9d2c01aa`: what is offered, its ending whole, with enough to take it."""
    tail = f" ({amount(one['size'])}) {one['id'][:ID_DIGITS]}"
    room = max(width - len("file ") - len(tail), 12) if width else NAME_OF_FILE
    return f"file {ends(one['name'], room)}{tail}"


def _who(message: Message, rooms: bool) -> str:
    name = field(message["author_name"], NAME_WIDTH)
    if not rooms or not (message["mine"] or message["kind"] != "direct"):
        return name
    mark = "" if message["kind"] == "direct" else "#"
    return f"{name} → {mark}{field(message['room_name'], NAME_WIDTH)}"


def _stands(message: Message) -> str:
    """When it was written; for one dated ahead, when it came: there it stands in the conversation."""
    return str(message["received_at"] if FUTURE in message["flags"] else message["written_at"])


def _moment(at: str) -> datetime:
    moment = local(at)
    assert moment is not None
    return moment
