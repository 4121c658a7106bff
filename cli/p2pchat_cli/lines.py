"""Messages as lines that people read.

Decides: how a message, its marks and a day look, so that no text can pass for a line of
somebody else and no clock but ours names the day. Does not know: where messages come
from, or JSON.

    ── Mon 2026-11-23 ──
    14:30 Ann  shall we say ten?  6bc5f846
             │ or eleven
             ╰ edited · 👍 Bob
    14:31 Bob  eleven  4c1dab71

Column 0 is ours: every line of a text after its first stands behind `│`, marks behind
`╰`, and on a terminal long lines are broken here, not by the terminal. Behind a message
stand the first digits of its id, enough for `edit`, `react` and `--reply-to`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from p2pchat_cli.output import Output
from p2pchat_cli.text import body, columns, field, fit
from p2pchat_cli.when import local

Message = Mapping[str, Any]

NAME_WIDTH: Final = 20
ID_DIGITS: Final = 8
"""Of 64: two messages of one archive share so many once in 4 billion pairs, and then it is told."""

ID_COLUMNS: Final = ID_DIGITS + 2
LEAST_TEXT: Final = 20
"""Columns of text below which the id stands on a line with the marks."""

FUTURE: Final = "future"
"""Flag of a message whose author's clock was more than 5 min ahead of ours when it came."""


def conversation(out: Output, messages: Iterable[Message], *, rooms: bool = False) -> None:
    """Print messages with a line for every new day; `rooms` names the conversation of each."""
    listed = list(messages)
    names = [_who(message, rooms) for message in listed]
    wide = max((columns(name) for name in names), default=0)
    day = ""
    own = [message["id"] for message in listed if message["mine"]]
    for message, name in zip(listed, names, strict=True):
        moment = _moment(message)
        if moment.strftime("%Y-%m-%d") != day:
            day = moment.strftime("%Y-%m-%d")
            out.line(out.style(f"── {moment.strftime('%a')} {day} ──", "dim"))
        last = bool(own) and message["id"] == own[-1]
        for line in _lines(out, message, name, wide, last=last, ident=message["id"][:ID_DIGITS]):
            out.line(line)


def single(out: Output, message: Message, *, rooms: bool = False) -> list[str]:
    """The lines of one message as it arrives, without its id: a stream is for watching."""
    name = _who(message, rooms)
    return _lines(out, message, name, columns(name), last=False, ident="")


def marks(message: Message, *, last: bool = False) -> list[str]:
    """What stands behind `╰`: changes, reactions, and how far an own message has come."""
    words = [word for word in ("deleted", "edited", "pinned", "urgent") if message.get(word)]
    words += [flag for flag in message["flags"] if flag not in (*words, "pinned", "urgent", FUTURE)]
    if FUTURE in message["flags"]:
        words.append(f"dated ahead: {_time(message['written_at']):%Y-%m-%d %H:%M}")
    for reaction in message["reactions"]:
        who = ", ".join(field(person["name"], NAME_WIDTH) for person in reaction["by"])
        words.append(f"{field(reaction['emoji'], 16)} {who}")
    if message["mine"] and (last or message["state"] in ("scheduled", "queued", "held", "cancelled")):
        words.append(message["state"])
    return words


def _lines(out: Output, message: Message, name: str, wide: int, *, last: bool, ident: str) -> list[str]:
    head = f"{_moment(message).strftime('%H:%M')} {fit(name, wide)}  "
    prefix = " " * (columns(head) - 2) + "│ "
    beside = not out.width or out.width - columns(prefix) - ID_COLUMNS >= LEAST_TEXT
    tail = f"  {ident}" if ident and beside else ""
    lines = body(message["text"] or "", prefix, out.width, len(tail))
    first = out.style(head[:6], "dim") + out.style(head[6:], "bold") + lines[0]
    shown = [first + out.style(tail, "dim"), *lines[1:]]
    found = marks(message, last=last) + ([ident] if ident and not beside else [])
    if found:
        shown.append(out.style(" " * (columns(head) - 2) + "╰ " + " · ".join(found), "dim"))
    return [line.rstrip() for line in shown]


def _who(message: Message, rooms: bool) -> str:
    name = field(message["author_name"], NAME_WIDTH)
    if rooms and (message["mine"] or message["kind"] != "direct"):
        return f"{name} → {field(message['room_name'], NAME_WIDTH)}"
    return name


def _moment(message: Message) -> datetime:
    """When it was written; for one dated ahead, when it came: there it stands in the conversation."""
    return _time(message["received_at" if FUTURE in message["flags"] else "written_at"])


def _time(text: str) -> datetime:
    moment = local(text)
    assert moment is not None
    return moment


def people(entries: Iterable[Mapping[str, Any]]) -> str:
    """Names of a list of people, in one line."""
    return ", ".join(field(person["name"], NAME_WIDTH) for person in entries)
