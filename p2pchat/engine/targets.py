"""Which conversation a TARGET means.

Decides: when a typed name, mark or id is a room and when a person, that nobody writes where
he may not (docs/control.md, TARGET), and how a room is written in a suggested command. Does not
know: how a name finds a person (names), or what is done with the conversation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from p2pchat.engine import names, rooms
from p2pchat.engine.context import Context, RoomCache
from p2pchat.errors import CommandError
from p2pchat.ids import ID_BYTES, AccountId, RoomId, hex_prefix
from p2pchat.model import DIRECT, LOBBY, RoomRow

ROOMS_HINT = "list rooms: `p2pchat room list --all`"


@dataclass(frozen=True, slots=True)
class Destination:
    """A conversation. `warning` is a sentence for the user, or empty."""

    room: RoomCache
    warning: str = ""


def conversation(ctx: Context, target: str) -> Destination:
    """The one conversation `target` means, readable or not; CommandError 4 if none or several."""
    found = meaning(ctx, target)
    if isinstance(found, RoomRow):
        return Destination(rooms.room(ctx, found.id))
    return Destination(rooms.direct(ctx, found.account), found.warning)


def writable(ctx: Context, target: str) -> Destination:
    """The conversation `target` means, if we may write there; CommandError 4, 6 or 7."""
    if not target.startswith("#") and target in ctx.cache.meant:
        person = names.addressee(ctx, target)
        return Destination(rooms.direct(ctx, person.account), person.warning)
    found = conversation(ctx, target)
    if found.room.row.kind == DIRECT:
        names.addressee(ctx, target, found.warning)
    return found


def meaning(ctx: Context, target: str) -> RoomRow | names.Person:
    """The one room or person `target` means; CommandError 4 if none or several. Nothing is made.

    What others call their rooms takes no name away: a room we are not in yields to every person,
    and one into which somebody brought us yields to a person of whom we know more than of him.
    """
    if target.startswith("#"):
        return _one(ctx, target, _rooms(ctx, target.removeprefix("#")))
    found = [] if target.startswith("@") else _rooms(ctx, target)
    if not found:
        return names.resolve(ctx, target)
    if target in ctx.cache.nobody:
        return _one(ctx, target, found)
    entered = [row for row in found if _is_in(ctx, row)]
    try:
        person = names.resolve(ctx, target)
    except CommandError as error:
        if error.kind != "ambiguous_target":
            names.note_nobody(ctx, target)
            return _one(ctx, target, found)
        if entered:
            raise _both(target) from error
        raise
    known = _standing(ctx, person.account)
    if any(_standing(ctx, _brought_by(ctx, row)) >= known for row in entered):
        raise _both(target)
    if entered and not person.warning:
        room = typed(ctx, rooms.room(ctx, entered[0].id), marked=True)
        return replace(person, warning=f"a room is called {target!r} too: write to {room} to mean it")
    return person


def _both(target: str) -> CommandError:
    room, person = names.pasted("#" + target), names.pasted("@" + target)
    return CommandError(
        "ambiguous_target",
        f"{target!r} is a room and a person",
        f"write {room} for the room, {person} for the person",
    )


def _is_in(ctx: Context, row: RoomRow) -> bool:
    return ctx.me.account in rooms.room(ctx, row.id).graph.members


def _brought_by(ctx: Context, row: RoomRow) -> AccountId | None:
    """Who let us into a room: ourselves where we made it or came by ourselves; None: not known any more."""
    added_by = rooms.room(ctx, row.id).graph.members[ctx.me.account].added_by
    event = ctx.ledger.events.get(added_by) if added_by is not None else None
    return ctx.cache.owner.get(event.device) if event is not None else ctx.me.account


def _standing(ctx: Context, account: AccountId | None) -> int:
    """How much we know of somebody: 3 ourselves, 2 verified, 1 we have written to him, 0 a stranger."""
    if account == ctx.me.account:
        return 3
    trust = None if account is None else ctx.cache.trust.get(account)
    if account is None or (trust is not None and trust.blocked):
        return 0
    if trust is not None and trust.verified:
        return 2
    chat = rooms.direct_id(ctx.me.account, account)
    return int(ctx.ledger.views.last_mine(chat) is not None)


def room_named(ctx: Context, target: str) -> RoomCache:
    """The room (never a person) that `target` means; CommandError 4 if there is none."""
    found = _rooms(ctx, target.removeprefix("#"))
    return rooms.room(ctx, _one(ctx, target, found).id)


def neither(target: str, error: CommandError) -> CommandError:
    """The same where a room is meant first: that there is none is said, too."""
    if error.kind != "no_such_target" or target[:1] in ("#", "@"):
        return error
    return CommandError(error.kind, f"no room and nobody called {target!r} is known here", ROOMS_HINT)


def _rooms(ctx: Context, text: str) -> list[RoomRow]:
    """Rooms of that name or id: those we are in alone if there are any, for ids can be sought too.
    The lobby's name is the lobby's."""
    prefix = hex_prefix(text)
    if prefix is not None and len(prefix) == 2 * ID_BYTES:
        whole = ctx.cache.known_rooms.get(RoomId(bytes.fromhex(prefix)))
        if whole is not None and whole.kind != DIRECT:
            return [whole]  # as programs give it
    known = [row for row in ctx.cache.known_rooms.values() if row.kind != DIRECT]
    by_id = [row for row in known if row.id.hex().startswith(prefix)] if prefix is not None else []
    wanted = names.fold(text)
    named = [row for row in known if names.fold(rooms.name(ctx, row)) == wanted] if wanted else []
    mine = [row for row in dict.fromkeys((*by_id, *named)) if _is_in(ctx, row)]
    lobby = [row for row in mine if row.kind == LOBBY and wanted == rooms.LOBBY_NAME]
    return lobby or mine or by_id or named


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


def typed(ctx: Context, room: RoomCache, *, marked: bool = False) -> str:
    """A room as it can be pasted into a shell, with its # if `marked`: strangers choose room names.

    Its name where that means this room and comes through unharmed, else its id.
    """
    if room.row.kind == DIRECT and room.row.peer is not None:
        return names.typed(ctx, room.row.peer)
    name = rooms.name(ctx, room.row)
    safe = name.isprintable() and "`" not in name and "p2pchat " not in name  # a hint's own marks
    if not safe or _rooms(ctx, name) != [room.row]:
        return room.row.id.hex()[:12]
    return names.pasted("#" + name if marked or name.startswith("-") else name)
