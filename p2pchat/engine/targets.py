"""Which conversation a TARGET means.

Decides: when a typed name, mark or id is a room and when a person, and that nobody writes where
he may not (docs/control.md, TARGET). Does not know: how a name finds a person (names), or what
is done with the conversation.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pchat.engine import names, rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.errors import CommandError
from p2pchat.ids import hex_prefix
from p2pchat.model import DIRECT, LOBBY, RoomRow

ROOMS_HINT = "list rooms: `p2pchat room list --all`"


@dataclass(frozen=True, slots=True)
class Destination:
    """A conversation. `warning` is a sentence for the user, or empty."""

    room: RoomCache
    warning: str = ""


def conversation(ctx: Context, target: str) -> Destination:
    """The one conversation `target` means, readable or not; CommandError 4 if none or several."""
    found = [] if target.startswith("@") else _rooms(ctx, target.removeprefix("#"))
    if target.startswith("#"):
        return Destination(rooms.room(ctx, _one(ctx, target, found).id))
    if not found:
        return _person(ctx, target)
    if _names_somebody(ctx, target):
        nobody_else(ctx, target)
    return Destination(rooms.room(ctx, _one(ctx, target, found).id))


def writable(ctx: Context, target: str) -> Destination:
    """The conversation `target` means, if we may write there; CommandError 4, 6 or 7."""
    if not target.startswith("#") and target in ctx.cache.meant:
        person = names.addressee(ctx, target)
        return Destination(rooms.direct(ctx, person.account), person.warning)
    found = conversation(ctx, target)
    if found.room.row.kind == DIRECT:
        person = names.addressee(ctx, target)
        return Destination(found.room, person.warning)
    return found


def nobody_else(ctx: Context, target: str) -> None:
    """CommandError 4 if a name that means a person is a room's too; only to read, nothing is made."""
    if not target.startswith("@") and _rooms(ctx, target):
        raise CommandError(
            "ambiguous_target",
            f"{target!r} is a room and a person",
            f"write #{target} for the room, @{target} for the person",
        )


def room_named(ctx: Context, target: str) -> RoomCache:
    """The room (never a person) that `target` means; CommandError 4 if there is none."""
    found = _rooms(ctx, target.removeprefix("#"))
    return rooms.room(ctx, _one(ctx, target, found).id)


def _person(ctx: Context, target: str) -> Destination:
    person = names.resolve(ctx, target)
    return Destination(rooms.direct(ctx, person.account), person.warning)


def _names_somebody(ctx: Context, target: str) -> bool:
    try:
        names.resolve(ctx, target)
    except CommandError as error:
        return error.kind == "ambiguous_target"
    return True


def _rooms(ctx: Context, text: str) -> list[RoomRow]:
    """Rooms of that name, those we are in first: they alone if there are any; or of that id."""
    known = [row for row in ctx.cache.known_rooms.values() if row.kind != DIRECT]
    prefix = hex_prefix(text)
    if prefix is not None:
        by_id = [row for row in known if row.id.hex().startswith(prefix)]
        if by_id:
            return by_id
    wanted = names.fold(text)
    named = [row for row in known if names.fold(rooms.name(ctx, row)) == wanted] if wanted else []
    mine = [row for row in named if ctx.me.account in rooms.room(ctx, row.id).graph.members]
    return mine or named


def _one(ctx: Context, target: str, found: list[RoomRow]) -> RoomRow:
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError("no_such_target", f"no room {target!r} is known here", ROOMS_HINT)
    forms = ", ".join(f"{rooms.name(ctx, row)} {row.id.hex()[:12]}" for row in found[:8])
    raise CommandError("ambiguous_target", f"{target!r} could be any of: {forms}", "use one of these ids")


def shown(ctx: Context, room: RoomCache) -> str:
    """What a room is called in a sentence."""
    if room.row.kind == DIRECT and room.row.peer is not None:
        return names.shown(ctx, room.row.peer)
    name = rooms.name(ctx, room.row) or room.row.id.hex()[:12]
    return name if room.row.kind != LOBBY else rooms.LOBBY_NAME
