"""Control events take effect: what follows when an act comes.

Decides: which stored events change their standing (void ones leave the view, and return; they
stay in the sets, docs/decisions/0008), whom own messages are for, and who is told
(docs/protocol.md, "Rooms"). Does not know: who may what (control_graph), or commands
(room_commands).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from p2pchat.engine import bodies, log, naming, outbox, rooms, transfers, views
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.control_graph import Act
from p2pchat.ids import AccountId, DeviceId, EventId
from p2pchat.model import StoredEvent
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages.events import Header

_JUDGES_OTHERS: Final = (ev.REMOVE, ev.ROLE, ev.REVOKE)
"""Kinds that may change the standing of events that are here already."""
TELL_AGAIN_S: Final = 0.5
"""After somebody came in: others may come with him, and are told at once."""
TELL_BACK_S: Final = 60.0
"""After somebody came back, who knows what stood when he left: coming and going costs him nothing, and
what is said again stays with everybody."""
TELL_AGAIN_NEXT_S: Final = 5.0
"""The next of those who may waits so much longer, for the first may be off."""
RUN: Final = 256
CHANGES: Final = {
    ev.CREATE: "created",
    ev.ADD: "added",
    ev.REMOVE: "removed",
    ev.JOIN: "joined",
    ev.LEAVE: "left",
    ev.ROLE: "role",
    ev.SETTINGS: "settings",
    ev.REVOKE: "revoked",
}
"""What the feed and the notices call an act."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What stood before an act that may judge others. The graph starts a new dictionary whenever
    something in the one it had may have changed, so nothing is copied for a flood of such acts."""

    void: dict[EventId, EventId]
    cuts: Mapping[DeviceId, object]
    people: Mapping[AccountId, object]
    revoked: Mapping[DeviceId, EventId]  # one that names no cut of its machine is in no list of cuts


def took(ctx: Context, room: RoomCache, event: StoredEvent, act: Act) -> None:
    """An authentic act has been recorded: what it changes takes effect."""
    graph = room.graph
    judges = event.kind in _JUDGES_OTHERS
    before = None
    if event.kind in CHANGES:  # what we wrote in this batch is judged too, and for who was in before
        log.settle(ctx, room, may_stay_unsigned=False)
    if judges:
        before = _Before(graph.void, graph.cuts, graph.cut_accounts, graph.revoked)
    me_before = ctx.me.account in graph.members
    back = act.account in graph.former
    since = rooms.readable_from(ctx, room, ctx.me.account) if event.kind in CHANGES else 0
    settings = _set_to(room)
    graph.add(act)
    if event.id in graph.void:
        set_void(ctx, room, event, act.body, void=True)
        if before is not None:
            before.void[event.id] = graph.void[event.id]  # counted out already
    if before is not None:
        _judge_again(ctx, room, before)
    room.accounts = tuple(sorted(graph.members))
    room.sending = None
    if event.kind in CHANGES:
        room.late = None
        ctx.cache.meant.clear()  # rooms we are in, and they alone, compete with people for a name
    _await_new(ctx, room, me_before=me_before)
    change = CHANGES.get(event.kind)
    if change is not None and event.id not in graph.void and not _stood(act.body, settings):
        _tell(ctx, room, event, act.account, act.body, settings)
    if event.kind == ev.JOIN and event.id not in graph.void and act.account != ctx.me.account:
        _tell_him_soon(ctx, room, TELL_BACK_S if back else TELL_AGAIN_S)
    came_in = not me_before and ctx.me.account in graph.members
    if came_in or (since and not rooms.readable_from(ctx, room, ctx.me.account)):
        ctx.batch.entered[room.row.id] = None  # in now, or what was before has opened to us
    if event.kind in (ev.ADD, ev.JOIN, ev.CREATE, ev.REMOVE):
        ctx.batch.moved[room.row.id] = None


def proofs_came(ctx: Context, account: AccountId) -> None:
    """Statements of somebody came: what they prove is judged anew in every room, for a proof that
    shows nothing here must not show it to others."""
    loaded, owner = ctx.cache.rooms, ctx.cache.owner  # of hundreds of chats mostly none has anything unproved
    every = [loaded.get(room_id) or rooms.room(ctx, room_id) for room_id in ctx.cache.known_rooms]
    shown = [
        room
        for room in every
        if room.graph.unproved and any(owner.get(device) == account for device in room.graph.unproved)
    ]
    for room in sorted(shown, key=lambda one: one.row.id):
        graph = room.graph
        log.settle(ctx, room, may_stay_unsigned=False)
        before = _Before(graph.void, graph.cuts, graph.cut_accounts, graph.revoked)
        me_before = ctx.me.account in graph.members
        graph.reconsider()
        ctx.cache.meant.clear()
        _judge_again(ctx, room, before)
        room.accounts = tuple(sorted(graph.members))
        room.sending = None
        _await_new(ctx, room, me_before=me_before)


def _set_to(room: RoomCache) -> dict[str, str]:
    """What the room is set to, as an act would write it."""
    now = room.graph.settings
    return {
        "admission": now.admission,
        "announce": str(int(now.announce)),
        "history": now.history,
        "retention": str(now.retention_days),
        "title": now.title,
    }


def _tell_him_soon(ctx: Context, room: RoomCache, after_s: float) -> None:
    """Somebody came by himself into a room whose newcomers read nothing of before: one who may says again
    what it says of itself, the first of them that is there."""
    members = room.graph.members
    mine = members.get(ctx.me.account)
    if room.graph.settings.history != wire.JOINED or mine is None or mine.role == wire.MEMBER:
        return
    staff = sorted((-wire.RANK[one.role], who) for who, one in members.items() if one.role != wire.MEMBER)
    turn = staff.index((-wire.RANK[mine.role], ctx.me.account))
    delay = after_s + turn * TELL_AGAIN_NEXT_S
    ctx.timer(f"retell:{room.row.id.hex()}", ctx.now.mono + delay)


def _stood(body: Record | None, settings: Mapping[str, str]) -> bool:
    """Whether it sets what the room is set to already."""
    return isinstance(body, wire.Settings) and all(settings.get(one.key) == one.value for one in body.changes)


def _await_new(ctx: Context, room: RoomCache, *, me_before: bool) -> None:
    """Own messages from now on are for whoever is in now: they link to the acts known here."""
    head = room.heads.get(ctx.me.device)
    first = head.seq + 1 if head else 1
    for account in room.accounts:
        if account not in room.awaited and account != ctx.me.account:
            room.awaited[account] = first
            room.reached.clear()
            ctx.ledger.rooms.put_awaited(room.row.id, account, first)
    members = room.graph.members
    gone = [account for account in room.awaited if account not in members]
    for account in gone:
        del room.awaited[account]  # who comes back is waited for from then on
        ctx.ledger.rooms.put_awaited(room.row.id, account, 0)
    if gone:
        outbox.settle(ctx, room)
    me_out = me_before and ctx.me.account not in members
    if gone or me_out:
        transfers.parted(ctx, room.row.id, gone, me=me_out)


def _judge_again(ctx: Context, room: RoomCache, before: _Before) -> None:
    """Stored events whose standing a removal, or the fall of one, changes."""
    graph = room.graph
    changed: list[EventId] = []
    if before.void is not graph.void:
        both = {**before.void, **graph.void}
        changed = [act for act in both if (act in before.void) != (act in graph.void)]
    for act in changed:
        stored = ctx.ledger.events.get(act)
        if stored is not None:
            _acts_moved(ctx, room, stored, void=act in graph.void)
    cuts, people = graph.cuts, graph.cut_accounts
    devices = {d for d in {**before.cuts, **cuts} if before.cuts.get(d) != cuts.get(d)}
    revoked = graph.revoked
    devices |= {d for d in {**before.revoked, **revoked} if before.revoked.get(d) != revoked.get(d)}
    moved = {a for a in {**before.people, **people} if before.people.get(a) != people.get(a)}
    moved |= {owner for act in changed for owner in _concerned(ctx, act)}
    for account in sorted(moved):
        known = ctx.cache.accounts.get(account)
        devices |= set(known.devices) if known else set()
    if any(_opens_or_shuts(ctx, act) for act in changed):
        devices |= set(room.heads)
    if any([_judge_chain(ctx, room, device) for device in sorted(devices & set(room.heads))]):
        naming.named_anew(ctx, room)


def _opens_or_shuts(ctx: Context, act: EventId) -> bool:
    """Whether it says who may write: what all wrote behind it hangs on it."""
    stored = ctx.ledger.events.get(act)
    return stored is not None and stored.kind == ev.SETTINGS


def _concerned(ctx: Context, act: EventId) -> list[AccountId]:
    stored = ctx.ledger.events.get(act)
    if stored is None or stored.body is None:
        return []
    body = decode(ev.BODIES[stored.kind], stored.body)
    who = getattr(body, "account", None)
    return [ctx.cache.owner[stored.device]] + ([AccountId(who)] if who else [])


def _acts_moved(ctx: Context, room: RoomCache, event: StoredEvent, *, void: bool) -> None:
    body = decode(ev.BODIES[event.kind], event.body or b"")
    set_void(ctx, room, event, body, void=void)
    if event.kind in CHANGES:
        _tell(ctx, room, event, ctx.cache.owner[event.device], body, {}, void=void)


def _tell(
    ctx: Context,
    room: RoomCache,
    event: StoredEvent,
    account: AccountId,
    body: Record | None,
    before: Mapping[str, str],
    *,
    void: bool = False,
) -> None:
    """Tell the feed of an act: what it changed and, where that is known, how it was `before`;
    `void`: that it counts no more."""
    change = CHANGES[event.kind]
    detail = [("change", "voided" if void else change), ("by", account.hex()), ("event", event.id.hex())]
    who = getattr(body, "account", b"")
    if who:
        detail.append(("who", who.hex()))
    if isinstance(body, wire.Role):
        detail.append(("detail", body.role))
    elif isinstance(body, wire.Settings):
        was = [(one.key, before.get(one.key, "")) for one in body.changes]
        detail.append(("detail", " ".join(f"{one.key}={one.value}" for one in body.changes)))
        detail.append(("before", " ".join(f"{key}={value}" for key, value in was if value)))
    elif isinstance(body, wire.Create):
        made = f"admission={body.admission} announce={int(body.announce)} history={body.history}"
        detail.append(("detail", made))
    if void:
        detail.append(("act", change))
    ctx.feed("room", room.row.id, tuple(detail))


def is_cut(ctx: Context, room: RoomCache, device: DeviceId) -> bool:
    """Whether a removal in force cuts that machine's chain."""
    return device in room.graph.cuts or ctx.cache.owner.get(device) in room.graph.cut_accounts


def judge_chain(ctx: Context, room: RoomCache, device: DeviceId, low: int) -> None:
    """What a machine that forks said from a number on is judged again."""
    if _judge_chain(ctx, room, device, low):
        naming.named_anew(ctx, room)


def _judge_chain(ctx: Context, room: RoomCache, device: DeviceId, low: int = 1) -> bool:
    """Judge it again; whether what the room is called may be another for it."""
    owner, renamed = ctx.cache.owner[device], False
    while True:
        run = ctx.ledger.events.run(room.row.id, device, low, room.heads[device].seq, RUN)
        for event in run:
            if ev.is_control(event.kind):
                continue
            auth = tuple(EventId(one) for one in decode(Header, event.header).auth)
            verdict = room.graph.judge(device, owner, event.seq, event.id, auth, event.kind)
            void = verdict.standing != "allowed"
            if void != bool(event.flags & StoredEvent.VOID):
                set_void(ctx, room, event, None, void=void)
                renamed = renamed or event.kind == ev.NAME
        if len(run) < RUN:
            return renamed
        low = run[-1].seq + 1


def set_void(ctx: Context, room: RoomCache, event: StoredEvent, body: Record | None, *, void: bool) -> None:
    """An event stops counting, or counts again, in what people see.

    It stays in its set: void events too are with everybody (decisions/0008).
    """
    flags = event.flags | StoredEvent.VOID if void else event.flags & ~StoredEvent.VOID
    ctx.ledger.events.put_flags(event.id, flags)
    ctx.batch.wrote = True
    if ev.is_control(event.kind):
        return
    current = ctx.ledger.events.get(event.id)
    if current is not None:
        views.standing_moved(ctx, room, current)
    if void and event.kind in (ev.EDIT, ev.DELETE):
        bodies.seek(ctx, room)  # what it erased, others may have
