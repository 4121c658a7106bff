"""What people do to rooms: create, join, leave, invite, remove, role, set, mute.

Decides: which acts a command writes, what is refused before anything is written, and when a
command starts a new key (docs/control.md, `rooms.…`). Does not know: who counts as what
(control_graph), or how acts travel (sync).
"""

from __future__ import annotations

import json
from typing import Final

from p2pchat.engine import (
    acts,
    content,
    frames,
    keys,
    log,
    membership,
    names,
    overview,
    own,
    people,
    rooms,
    targets,
    views,
)
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.graph_rights import LEFT, MAX_RETENTION_DAYS, REMOVED
from p2pchat.engine.inputs import CreateRoom, Mute, Reply, RoomAct, Send
from p2pchat.errors import CommandError
from p2pchat.ids import ZERO_ID, AccountId, DeviceId, EventId
from p2pchat.model import DIRECT, LOBBY, ROOM, Head, RoomRow, StoredEvent
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.limits import MAX_MEMBERS, MAX_NAME, MAX_TEXT, MAX_TOPIC
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire

NEW: Final = EventId(ZERO_ID)
"""Stands for an event that is not written yet."""
NO_RIGHT_HINT: Final = "ask one of: "
QUOTED: Final = 16
"""Characters that are quoted of a name that is too long."""


# -- making ------------------------------------------------------------------------------


def create(ctx: Context, command: CreateRoom) -> None:
    """Make a room, with us as its owner."""
    _checked("name", command.name)
    title = command.name if command.admission == wire.OFFICE else ""
    nonce = ctx.entropy.bytes(16)
    body = wire.Create(1, nonce, command.admission, command.announce, command.history, title)
    if command.admission not in wire.ADMISSIONS or command.history not in wire.HISTORIES:
        raise CommandError("usage", f"no room can be {command.admission!r} with history {command.history!r}")
    texts = (("name", command.name), ("topic", command.topic), ("rules", command.rules))
    for field, value in texts:
        if value:
            _checked(field, value)
    event = log.create(ctx, encode(body))
    rooms.know(ctx, RoomRow(event.room, ROOM, "", None))
    room = rooms.room(ctx, event.room)
    log.record(ctx, room, event)
    views.note_have(ctx, room, event)
    ctx.batch.fresh.setdefault(room.row.id, []).append(event)
    membership.took(ctx, room, event, acts.act(ctx, event, body))
    for field, value in texts:
        if value:
            _name(ctx, room, field, value)
    _answer(ctx, command.request, room)


def enter_lobby(ctx: Context, office_key: bytes) -> None:
    """The open office's lobby: everybody comes in by himself, once; who left stays out."""
    room_id = rooms.lobby_id(office_key)
    if room_id not in ctx.cache.known_rooms:
        rooms.know(ctx, RoomRow(room_id, LOBBY, "", None))
    room = rooms.room(ctx, room_id)
    if ctx.me.account not in room.graph.members and not room.graph.ever(ctx.me.account):
        _act(ctx, room, ev.JOIN, wire.Join(1))


# -- verbs -------------------------------------------------------------------------------


def act(ctx: Context, command: RoomAct) -> None:
    """Carry out one verb."""
    if command.verb == "remove" and not command.room:
        _remove_everywhere(ctx, command)
        return
    room = _room(ctx, command)
    if command.verb == "invitable":
        found = tuple(account.hex() for account in _invitable(ctx, room, command))
        ctx.out.append(Reply(command.request, {"people": found}))
        return
    if command.verb == "invite":
        added = _invite(ctx, room, command)
        _answer(ctx, command.request, room, added=added)
        return
    {
        "join": _join,
        "leave": _leave,
        "remove": _remove,
        "role": _role,
        "set": _set,
    }[command.verb](ctx, room, command)
    _answer(ctx, command.request, room)


def _room(ctx: Context, command: RoomAct) -> RoomCache:
    if command.verb == "set":
        return _chat(ctx, command.room)
    return targets.room_named(ctx, command.room)


def _chat(ctx: Context, target: str) -> RoomCache:
    """A room or a direct chat."""
    try:
        return targets.conversation(ctx, target).room
    except CommandError as error:
        raise targets.neither(target, error) from error


def _join(ctx: Context, room: RoomCache, command: RoomAct) -> None:
    if ctx.me.account in room.graph.members:
        return  # in already: what was wished for holds
    if _barred(ctx, room):
        raise _kept_out(ctx, room)
    if len(room.accounts) >= MAX_MEMBERS:
        raise CommandError("policy", f"a room holds at most {MAX_MEMBERS} people", "make another room")
    _act(ctx, room, ev.JOIN, wire.Join(1))


def _leave(ctx: Context, room: RoomCache, command: RoomAct) -> None:
    me = _me_in(ctx, room)
    others = [a for a in room.accounts if a != ctx.me.account]
    owners = [a for a in others if room.graph.members[a].role == wire.OWNER]
    if me == wire.OWNER and others and not owners:
        other = names.typed(ctx, others[0])
        raise CommandError(
            "policy",
            f"you are the last owner of {_shown(ctx, room)!r}",
            f"name another first: `p2pchat room role {_typed(ctx, room)} {other} owner`",
        )
    _act(ctx, room, ev.LEAVE, wire.Leave(1))


def _invitable(ctx: Context, room: RoomCache, command: RoomAct) -> list[AccountId]:
    """Those of the people who are not in yet; refused if any of them cannot be invited.

    An add of somebody who left by himself changes nothing (docs/rooms.md): it is not written.
    """
    _need(ctx, room, ev.ADD)
    people = [names.addressee(ctx, person).account for person in command.people]
    if not people:
        raise CommandError("usage", "nobody to invite", "give one name or more")
    members = room.graph.members
    fresh = [account for account in dict.fromkeys(people) if account not in members]
    if len(room.accounts) + len(fresh) > MAX_MEMBERS:
        raise CommandError("policy", f"a room holds at most {MAX_MEMBERS} people", "make another room")
    if room.graph.settings.admission == wire.CLOSED:
        raise CommandError("no_right", f"nobody gets into {_shown(ctx, room)!r} any more", _ask(ctx, room))
    for account in fresh:
        if room.graph.former.get(account) == LEFT:
            who, name = names.shown(ctx, account), _shown(ctx, room)
            raise CommandError(
                "policy",
                f"{who!r} left {name!r} by himself: nobody can add him",
                f"he comes back by himself: `p2pchat room join {_typed(ctx, room)}`",
            )
    return fresh


def _invite(ctx: Context, room: RoomCache, command: RoomAct) -> tuple[AccountId, ...]:
    fresh = _invitable(ctx, room, command)
    for account in fresh:
        _act(ctx, room, ev.ADD, wire.Add(1, account))
    if fresh and not command.more:
        tell_again(ctx, room)
    return tuple(fresh)


def tell_again(ctx: Context, room: RoomCache) -> None:
    """Say again what a room says of itself where somebody who came in may not read it."""
    if room.graph.settings.history != wire.JOINED or not _may(ctx, room, ev.NAME):
        return
    since = max(rooms.readable_from(ctx, room, account) for account in room.accounts)
    for field in wire.NAME_FIELDS:
        text = ctx.cache.texts.get((room.row.id, field))
        if text is not None and text.value and text.hlc < since:
            _name(ctx, room, field, text.value)


def _remove(ctx: Context, room: RoomCache, command: RoomAct) -> None:
    account = _person(ctx, command)
    _remove_one(ctx, room, account)


def _remove_one(ctx: Context, room: RoomCache, account: AccountId) -> None:
    _need(ctx, room, ev.REMOVE)
    if account not in room.graph.members and room.graph.former.get(account) != "left":
        who = names.shown(ctx, account)
        raise CommandError("no_such_target", f"{who!r} is not in {_shown(ctx, room)!r}", _list(ctx, room))
    if account == ctx.me.account:
        raise CommandError("usage", "nobody removes himself", f"`p2pchat room leave {_typed(ctx, room)}`")
    member = room.graph.members.get(account)
    mine = room.graph.members[ctx.me.account].role
    if member is not None and wire.RANK[member.role] > wire.RANK[mine]:
        who = names.shown(ctx, account)
        raise CommandError("no_right", f"{who!r} is {member.role} of {_shown(ctx, room)!r}", _ask(ctx, room))
    before = [link for link in rooms.links_of(ctx, room) if link.account == account]
    event = _act(ctx, room, ev.REMOVE, wire.Remove(1, account, _cut_of(ctx, room, account)))
    for link in before:  # nobody pushes to him any more; that he is out he may know
        ctx.out.extend(Send(link.link, frame) for frame in frames.in_frames([event]))
    if ctx.me.account in room.graph.members:
        keys.start(ctx, room)


def _remove_everywhere(ctx: Context, command: RoomAct) -> None:
    account = _person(ctx, command)
    done = []
    for room_id, row in sorted(ctx.cache.known_rooms.items()):
        room = rooms.room(ctx, room_id)
        if row.kind == DIRECT or account not in room.graph.members or not _may(ctx, room, ev.REMOVE):
            continue
        if wire.RANK[room.graph.members[account].role] <= wire.RANK[room.graph.members[ctx.me.account].role]:
            _remove_one(ctx, room, account)
            done.append(room)
    result = tuple(overview.room_view_of(ctx, room) for room in done)
    ctx.out.append(Reply(command.request, {"rooms": result}))


def _role(ctx: Context, room: RoomCache, command: RoomAct) -> None:
    account = _person(ctx, command, me_too=True)
    if command.role not in wire.RANK:
        raise CommandError("usage", f"no role {command.role!r}", "one of: owner moderator member")
    _need(ctx, room, ev.ROLE)
    member = room.graph.members.get(account)
    if member is None:
        who = names.shown(ctx, account)
        raise CommandError("no_such_target", f"{who!r} is not in {_shown(ctx, room)!r}", _list(ctx, room))
    lowers = wire.RANK[command.role] < wire.RANK[member.role]
    owners = [a for a in room.accounts if room.graph.members[a].role == wire.OWNER]
    if lowers and owners == [account]:
        hint = f"name another first: `p2pchat room role {_typed(ctx, room)} PERSON owner`"
        raise CommandError("policy", f"{_shown(ctx, room)!r} would have no owner", hint)
    if command.role == member.role:
        return
    cut = _cut_of(ctx, room, account) if lowers else ()
    _act(ctx, room, ev.ROLE, wire.Role(1, account, command.role, cut))


def _set(ctx: Context, room: RoomCache, command: RoomAct) -> None:
    if not command.changes:
        raise CommandError("usage", "nothing to set", "see `p2pchat room set --help`")
    changes = dict(command.changes)
    for field in wire.NAME_FIELDS:
        if field in changes:
            if room.row.kind == DIRECT:
                raise CommandError("usage", f"a direct chat has no {field!r}", "only history and retention")
            _need(ctx, room, ev.NAME)
            _checked(field, changes[field], empty=field != "name")
    settings = {key: value for key, value in changes.items() if key not in wire.NAME_FIELDS}
    for key, value in settings.items():
        _check_setting(room, key, value)
    opened = settings.get("admission", room.graph.settings.admission) == wire.OFFICE
    title = changes.get("name", rooms.name(ctx, room.row)) if opened else ""
    if room.row.kind == ROOM and title != room.graph.settings.title and (settings or opened):
        settings["title"] = title
    if settings:
        _need(ctx, room, ev.SETTINGS)
        listed = tuple(wire.Setting(key, value) for key, value in sorted(settings.items()))
        others = (
            []
            if opened
            else [x for x in ctx.live.links.values() if rooms.access(ctx, x, room) == rooms.CONTROL]
        )
        event = _act(ctx, room, ev.SETTINGS, wire.Settings(1, listed))
        for link in others:  # who might have come in till now is told at once that he may not
            ctx.out.extend(Send(link.link, frame) for frame in frames.in_frames([event]))
    for field in wire.NAME_FIELDS:
        if field in changes:
            _name(ctx, room, field, changes[field])


def _check_setting(room: RoomCache, key: str, value: str) -> None:
    allowed: dict[str, tuple[str, ...]] = {
        "admission": wire.ADMISSIONS,
        "announce": ("0", "1"),
        "history": wire.HISTORIES,
    }
    if key == "retention":
        if not (value.isascii() and value.isdigit() and str(int(value)) == value) or (
            int(value) > MAX_RETENTION_DAYS
        ):
            raise CommandError("usage", f"{value!r} days cannot be kept", "give whole days, 0: for ever")
        return
    if key not in allowed:
        raise CommandError("usage", f"no setting {key!r}", "see `p2pchat room set --help`")
    if value not in allowed[key]:
        raise CommandError("usage", f"{key} cannot be {value!r}", "one of: " + " ".join(allowed[key]))
    if room.row.kind == DIRECT and key != "history":
        raise CommandError("usage", f"a direct chat has no {key!r}", "only history and retention")


def mute(ctx: Context, command: Mute) -> None:
    """Raise no notice for a conversation, on any machine of ours: nobody else's business."""
    room = _chat(ctx, command.room)
    until = None if command.off else (-1 if command.until_ms is None else command.until_ms)
    kept = json.dumps([until, command.mentions_only and not command.off]).encode()
    ctx.ledger.people.put_value(overview.MUTED + room.row.id.hex(), kept)
    own.put(ctx, own.MUTE + room.row.id.hex(), kept)
    ctx.batch.wrote = True
    _answer(ctx, command.request, room)


# -- writing -----------------------------------------------------------------------------


def _act(ctx: Context, room: RoomCache, kind: int, body: Record) -> StoredEvent:
    """Write one act of ours and let it take effect."""
    written: list[StoredEvent] = []

    def finish(ctx: Context, event: StoredEvent) -> None:
        written.append(event)
        views.note_have(ctx, room, event)
        membership.took(ctx, room, event, acts.act(ctx, event, body))

    log.append(ctx, room, kind, encode(body), None, finish)
    return written[0]


def _name(ctx: Context, room: RoomCache, field: str, value: str) -> None:
    body = wire.Name(1, field, value)

    def finish(ctx: Context, event: StoredEvent) -> None:
        views.apply(ctx, room, content.Said(event, ctx.me.account, body))

    standing = ctx.cache.texts.get((room.row.id, field))
    if standing is not None and standing.hlc > log.stamp(ctx.now.wall_ms + log.FUTURE_MS):
        keys.start(ctx, room)  # an act, so that this one knows more than the one dated ahead
    log.append(ctx, room, ev.NAME, encode(body), keys.current(ctx, room), finish)


def _cut_of(ctx: Context, room: RoomCache, account: AccountId) -> tuple[wire.Cut, ...]:
    """Where the chains of somebody's machines end here: so much of them stands."""
    known = ctx.cache.accounts.get(account)
    ends: list[tuple[DeviceId, Head]] = []
    for device in known.devices if known else ():
        head = room.heads.get(device)
        if head is not None:
            ends.append((device, head))
    return tuple(wire.Cut(device, head.seq, head.id) for device, head in sorted(ends))


def revoke(ctx: Context, room: RoomCache, device: DeviceId, proof: tuple[bytes, ...]) -> None:
    """Say in a room that a machine writes there no more, and start a key it does not get."""
    if device in room.graph.revoked or ctx.me.account not in room.graph.members:
        return
    head = room.heads.get(device)
    cut = (wire.Cut(device, head.seq, head.id),) if head else ()
    _act(ctx, room, ev.REVOKE, wire.Revoke(1, device, proof, cut))
    keys.start(ctx, room)


# -- refusing ----------------------------------------------------------------------------


def _me_in(ctx: Context, room: RoomCache) -> str:
    member = room.graph.members.get(ctx.me.account)
    if member is not None:
        return member.role
    if _barred(ctx, room):
        raise _kept_out(ctx, room)
    raise CommandError("no_right", f"you are not in {_shown(ctx, room)!r}", _back(ctx, room))


def _barred(ctx: Context, room: RoomCache) -> bool:
    """Whether we, who are not in, could not come in by ourselves."""
    admission, status = room.graph.settings.admission, _status(room, ctx.me.account)
    return admission == wire.CLOSED or status == REMOVED or (status == "" and admission != wire.OFFICE)


def _status(room: RoomCache, account: AccountId) -> str:
    """How somebody who is not in came to be out: left, removed, or "" if he never was in."""
    return room.graph.former.get(account, "")


def _kept_out(ctx: Context, room: RoomCache) -> CommandError:
    status, name = _status(room, ctx.me.account), _shown(ctx, room)
    if status == REMOVED:
        return CommandError("no_right", f"you were removed from {name!r}", _ask(ctx, room))
    if room.graph.settings.admission == wire.CLOSED:
        return CommandError("no_right", f"nobody gets into {name!r} any more", _ask(ctx, room))
    return CommandError("no_right", f"you are not invited to {name!r}", _ask(ctx, room))


def _back(ctx: Context, room: RoomCache) -> str:
    return f"come in: `p2pchat room join {_typed(ctx, room)}`"


def _may(ctx: Context, room: RoomCache, kind: int) -> bool:
    auth = room.graph.heads
    head = room.heads.get(ctx.me.device)
    seq = head.seq + 1 if head else 1
    verdict = room.graph.judge(ctx.me.device, ctx.me.account, seq, NEW, auth, kind)
    return verdict.standing == "allowed"


def _need(ctx: Context, room: RoomCache, kind: int) -> None:
    role = _me_in(ctx, room)
    if not _may(ctx, room, kind):
        raise CommandError(
            "no_right", f"as {role} of {_shown(ctx, room)!r} you may not do that", _ask(ctx, room)
        )


def need_to_write(ctx: Context, room: RoomCache, kind: int) -> None:
    """CommandError 7 unless we may write content of this kind there now."""
    if room.row.kind == DIRECT or _may(ctx, room, kind):
        return
    if ctx.me.account not in room.graph.members:
        _me_in(ctx, room)
    raise CommandError(
        "no_right", f"in {_shown(ctx, room)!r} only owners and moderators may do that", _ask(ctx, room)
    )


def _person(ctx: Context, command: RoomAct, *, me_too: bool = False) -> AccountId:
    if len(command.people) != 1:
        raise CommandError("usage", "exactly one person is meant here", "give one name")
    try:
        return names.resolve(ctx, command.people[0]).account
    except CommandError:
        mine = names.fold(people.name(ctx, ctx.me.account))
        if names.fold(command.people[0].removeprefix("@")) == mine:
            if me_too or command.verb == "remove":
                return ctx.me.account
        raise


def _ask(ctx: Context, room: RoomCache) -> str:
    members = room.graph.members
    staff = [a for a in room.accounts if members[a].role != wire.MEMBER and a != ctx.me.account]
    if room.row.kind == LOBBY:
        return "it has no owner; make a room of your own: `p2pchat room create NAME`"
    return NO_RIGHT_HINT + ", ".join(names.shown(ctx, a) for a in staff[:4]) if staff else ""


def _list(ctx: Context, room: RoomCache) -> str:
    return f"see who is: `p2pchat room members {_typed(ctx, room)}`"


def _shown(ctx: Context, room: RoomCache) -> str:
    return targets.shown(ctx, room)


def _typed(ctx: Context, room: RoomCache) -> str:
    return targets.typed(ctx, room)


def _checked(field: str, value: str, *, empty: bool = False) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise CommandError("usage", f"the {field} is not valid UTF-8", "") from error
    if field != "name":
        most = {"topic": MAX_TOPIC, "rules": MAX_TEXT}[field]
        if size > most:
            raise CommandError(
                "too_long", f"{size} bytes are too long for a {field} of at most {most}", "shorten it"
            )
        return
    plain = value.strip()
    if not plain and not empty:
        raise CommandError("usage", "a room needs a name", "give one")
    if len(value) > MAX_NAME:
        raise CommandError(
            "too_long",
            f"{value[:QUOTED]!r}… has {len(value)} characters: a room's name has at most {MAX_NAME}",
            "shorten it",
        )
    wrong = ""
    if not value.isprintable():
        wrong = "leave out tabs, line breaks and other characters that cannot be seen"
    elif plain != value:
        wrong = "leave out the spaces around it"
    elif any(c in value for c in "#@"):
        wrong = "leave out # and @"
    elif names.skeleton(value) == names.skeleton(rooms.LOBBY_NAME):
        wrong = "take another: that is the name of the room of the whole office"
    if wrong:
        raise CommandError("usage", f"{value!r} cannot be a room's name", wrong)


def _answer(ctx: Context, request: int, room: RoomCache, **more: object) -> None:
    log.settle(ctx, room, may_stay_unsigned=False)  # a new name counts from here on
    ctx.out.append(Reply(request, {"room": overview.room_view_of(ctx, room), **more}))
