"""`room create|list|show|join|leave|invite|remove|members|set|role|mute`: rooms and who is in them.

Decides: how a room reads, and how `--rules` and `--retention` are given. Does not know: who
may do what, or how a change reaches the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from p2pchat.errors import CommandError
from p2pchat_cli.happened import people, room_name
from p2pchat_cli.session import MAX_TEXT, Context
from p2pchat_cli.text import body, field
from p2pchat_cli.when import local

Room = Mapping[str, Any]

ROLES: Final = ("owner", "moderator", "member")
FOREVER: Final = ("forever", "off", "0")
MAX_DAYS: Final = 36_500
"""A hundred years: longer is a typing mistake."""

ADMISSION: Final = {"invite": "private", "office": "open", "closed": "closed"}
HISTORY: Final = {
    "all": "a newcomer reads everything",
    "joined": "a newcomer reads what is said from then on",
}


# -- looking ----------------------------------------------------------------------------------


def listing(ctx: Context) -> int:
    """Rooms and direct chats, as a table."""
    answer = ctx.call("rooms.list", all=ctx.flag("all"), member=ctx.text("member") or "")
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if not answer["rooms"]:
        ctx.out.remark("no rooms yet: `p2pchat room create NAME`, or `p2pchat room list --all`")
        return 0
    rows = [
        (
            room_name(room),
            _kind(room),
            str(room["members"]),
            str(room["unread"] or "-"),
            _mine(room),
            room["topic"],
        )
        for room in answer["rooms"]
    ]
    ctx.out.table(("NAME", "KIND", "MEMBERS", "UNREAD", "ROLE", "TOPIC"), rows)
    return 0


def showing(ctx: Context) -> int:
    """What one room is and what it asks for."""
    return _told(ctx, ctx.call("rooms.show", room=ctx.word("room")))


def members(ctx: Context) -> int:
    """Who is in a room, as a table."""
    answer = ctx.call("rooms.members", room=ctx.word("room"))
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    rows = [(one["name"], one["role"], str(len(one["devices"]))) for one in answer["members"]]
    ctx.out.table(("NAME", "ROLE", "MACHINES"), rows)
    return 0


# -- changing ---------------------------------------------------------------------------------


def create(ctx: Context) -> int:
    """Make a room."""
    answer = ctx.call(
        "rooms.create",
        name=_bare(ctx.word("name")),
        topic=ctx.text("topic") or "",
        admission="office" if ctx.flag("open") else "invite",
        announce=ctx.flag("announce"),
        history=ctx.text("history") or "all",
        rules=_rules(ctx) or "",
    )
    return _told(ctx, answer)


def join(ctx: Context) -> int:
    """Come in; prints what the room promises and asks for."""
    return _told(ctx, ctx.call("rooms.join", room=ctx.word("room")))


def leave(ctx: Context) -> int:
    """Go."""
    answer = ctx.call("rooms.leave", room=ctx.word("room"))
    return _told(ctx, answer, f"left {room_name(answer['room'])}")


def invite(ctx: Context) -> int:
    """Add people at once."""
    answer = ctx.call("rooms.invite", room=ctx.word("room"), people=ctx.words("people"))
    room, added = answer["room"], people(answer["added"])
    said = f"added {added} to {room_name(room)}" if added else f"all are in {room_name(room)} already"
    return _told(ctx, answer, f"{said}: {_members(room)}")


def remove(ctx: Context) -> int:
    """Put a person out, of one room or of all."""
    room, person = ctx.word("room"), ctx.text("person")
    if not ctx.flag("everywhere"):
        if person is None:
            raise CommandError("usage", "'room remove' needs PERSON", "p2pchat room remove ROOM PERSON")
        answer = ctx.call("rooms.remove", room=room, person=person)
        return _told(ctx, answer, f"removed {field(person)} from {room_name(answer['room'])}")
    if person is not None:
        raise CommandError(
            "usage", f"--everywhere takes a person alone, not {room!r} {person!r}",
            "p2pchat room remove --everywhere PERSON",
        )  # fmt: skip
    answer = ctx.call("rooms.remove", room="", person=room)
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    for one in answer["rooms"]:
        ctx.out.line(f"removed {field(room)} from {room_name(one)}")
    if not answer["rooms"]:
        ctx.out.remark(f"{field(room)} is in no room from which you may remove anybody")
    return 0


def role(ctx: Context) -> int:
    """Give a member another role."""
    given, person = ctx.word("role"), ctx.word("person")
    if given not in ROLES:
        raise CommandError("usage", f"no role {given!r}", "one of: " + " ".join(ROLES))
    answer = ctx.call("rooms.role", room=ctx.word("room"), person=person, role=given)
    return _told(ctx, answer, f"{field(person)} is {given} of {room_name(answer['room'])}")


def change(ctx: Context) -> int:
    """Change what a room is; prints it as it is now."""
    name, topic = ctx.text("name"), ctx.text("topic")
    changes: dict[str, Any] = {
        "name": None if name is None else _bare(name),
        "topic": topic,
        "rules": _rules(ctx),
        "admission": _one_of(ctx, {"open": "office", "private": "invite", "closed": "closed"}),
        "announce": _one_of(ctx, {"announce": True, "no_announce": False}),
        "history": ctx.text("history"),
        "retention": _days(ctx.text("retention")),
    }
    given = {key: value for key, value in changes.items() if value is not None}
    if not given:
        raise CommandError("usage", "nothing to change", "p2pchat room set --help")
    return _told(ctx, ctx.call("rooms.set", room=ctx.word("room"), **given))


def mute(ctx: Context) -> int:
    """Raise no notice for a room, or raise them again."""
    until, mentions, off = ctx.text("for"), ctx.flag("mentions_only"), ctx.flag("off")
    if off and (until is not None or mentions):
        raise CommandError("usage", "--off goes with nothing else", "p2pchat room mute ROOM --off")
    answer = ctx.call(
        "rooms.mute",
        room=ctx.word("room"),
        until_ms=None if until is None else _ahead(until),
        mentions_only=mentions,
        off=off,
    )
    return _told(ctx, answer, f"{room_name(answer['room'])}: {_muted(answer['room'])}")


# -- how it reads -----------------------------------------------------------------------------


def show(ctx: Context, room: Room) -> None:
    """What a room is and what it asks for."""
    out = ctx.out
    role = f", you are {room['role']}" if room["role"] else ""
    out.line(f"{out.style(room_name(room), 'bold')}  {_kind(room)}, {_members(room)}{role}")
    if room["topic"]:
        out.line(f"topic    {field(room['topic'])}")
    if room["kind"] != "direct":
        out.line(f"history  {HISTORY.get(room['history'], room['history'])}")
    if room["retention"]:
        out.line(f"files    kept for {room['retention']} days")
    if room["announce"]:
        out.line("writing  owners and moderators only")
    if room["rules"]:
        first, *rest = body(room["rules"], " " * 7 + "│ ", out.width)
        for line in (f"rules  │ {first}", *rest):
            out.line(line.rstrip())


def _told(ctx: Context, answer: dict[str, Any], sentence: str = "") -> int:
    """Print the sentence; without one the room as it is now."""
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    if sentence:
        ctx.out.line(sentence)
    else:
        show(ctx, answer["room"])
    if answer.get("warning"):
        ctx.out.remark(f"warning: {field(answer['warning'])}")
    return 0


def _kind(room: Room) -> str:
    if room["kind"] != "room":
        return str(room["kind"])
    return ADMISSION.get(room["admission"], str(room["admission"]))


def _mine(room: Room) -> str:
    """My role; what I am to it where I am not in."""
    return str(room["role"] or "-") if room["membership"] == "joined" else f"({room['membership']})"


def _members(room: Room) -> str:
    return f"{room['members']} member{'s' if room['members'] != 1 else ''}"


def _muted(room: Room) -> str:
    if room["mute"] is None:
        return "notices are raised"
    until = local(room["mute"]["until"])
    kept = "only mentions raise notices" if room["mute"]["mentions_only"] else "no notices"
    return f"{kept} until {until:%Y-%m-%d %H:%M}" if until else kept


# -- what was given ---------------------------------------------------------------------------


def _bare(name: str) -> str:
    """A name without the `#` that people write before it."""
    return name.removeprefix("#")


def _one_of(ctx: Context, flags: Mapping[str, Any]) -> Any:
    """The value of the one flag that was given, None for none; CommandError for several."""
    given = [flag for flag in flags if ctx.flag(flag)]
    if len(given) > 1:
        several = " and ".join(f"--{flag.replace('_', '-')}" for flag in given)
        raise CommandError("usage", f"{several} at once", "give one of them")
    return flags[given[0]] if given else None


def _days(given: str | None) -> int | None:
    """`--retention`: `30d`, `30`, `4w`, or `forever` as 0."""
    if given is None:
        return None
    if given in FOREVER:
        return 0
    count, weeks = given.removesuffix("d"), given.endswith("w")
    if weeks:
        count = given.removesuffix("w")
    if count.isascii() and count.isdigit() and len(count) < 6:
        days = int(count) * (7 if weeks else 1)
        if 0 < days <= MAX_DAYS:
            return days
    raise CommandError("usage", f"--retention cannot be {given!r}", "days as 30d, or forever")


def _ahead(given: str) -> int:
    from datetime import datetime

    from p2pchat_cli import when

    now = datetime.now().astimezone()
    found = when.parse(given, now, ahead=True)
    if found < now.timestamp() * 1000 + 1000:
        raise CommandError("usage", f"--for {given!r} has passed", "a time to come, as 2h")
    return found


def _rules(ctx: Context) -> str | None:
    """The text of `--rules`, None if it was not given; an empty file means no rules."""
    given = ctx.text("rules")
    if given is None:
        return None
    try:
        if given == "-":
            data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_TEXT + 1)
        else:
            with open(given, "rb") as stream:
                data = stream.read(MAX_TEXT + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "no such file"
        raise CommandError(
            "archive", f"{os.fspath(given)!r} cannot be read: {reason.lower()}", "name a text file, or -"
        ) from error
    if len(data) > MAX_TEXT:
        raise CommandError(
            "too_long", f"{given!r} is longer than {MAX_TEXT} bytes", "shorten it, or send a file"
        )
    try:
        return data.decode("utf-8").replace("\r\n", "\n").strip("\n")
    except UnicodeDecodeError:
        raise CommandError("usage", f"{given!r} is not UTF-8", "save it as UTF-8 text") from None
