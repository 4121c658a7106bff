"""From `queued` to `delivered` to `read`, and back to whoever asked.

Decides: what receipts are sent and when, what a received one changes, who is told,
and the life of drafts and keyed sends (docs/protocol.md, "`have`" and "What is
promised"). Does not know: how events travel.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import deposits, kept, people, presence, ranges, rooms, views
from p2pchat.engine.context import Context, Link, RoomCache, Waiter
from p2pchat.engine.inputs import Refuse, Reply, Send, Tell
from p2pchat.engine.ranges import Ranges
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.ids import DeviceId, EventId, RoomId
from p2pchat.model import DELIVERED, DIRECT, HELD, QUEUED, READ, RECEIVED, ROOM, RegisterRow
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.limits import MAX_HAVE_RANGES, MAX_OFFERED
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.link import ReadMark, Receipt, RegisterOffer, Registers
from p2pchat.wire.messages.registers import RegisterName, Seen

MANY_S: Final = 10.0
"""The same in a room with more than MANY machines."""
MANY: Final = 50
QUIET_S: Final = 1.0
"""In rooms a receipt leaves at once after this much quiet, else with others. In a direct chat
it leaves with its batch (docs/decisions/0004): one frame for up to 64 messages."""
GIVEN: Final = 256
"""Registers offered at once, and given for one want."""
REACHED: Final = {QUEUED: 0, HELD: 1, DELIVERED: 2, READ: 3}
"""Order of states: a wait for one is over at any later one."""


# -- what we say --------------------------------------------------------------------------


def close_receipts(ctx: Context) -> None:
    """At the end of a batch: receipts for what it brought, at once or coalesced."""
    for (room_id, author), brought in ctx.batch.receipts.items():
        last = ctx.live.receipt_at.get((room_id, author))
        room = rooms.room(ctx, room_id)
        quiet = 0.0 if room.row.kind == DIRECT else MANY_S if len(room.heads) > MANY else QUIET_S
        if last is None or ctx.now.mono - last >= quiet:
            send_receipt(ctx, room, author, brought)
        else:
            ctx.live.receipt_due[room_id, author] = brought
            ctx.timer("receipts", last + quiet)


def receipts_due(ctx: Context) -> None:
    """The quiet is over: send what was put together."""
    due = dict(ctx.live.receipt_due)
    ctx.live.receipt_due.clear()
    for (room_id, author), brought in due.items():
        send_receipt(ctx, rooms.room(ctx, room_id), author, brought)


def send_receipt(ctx: Context, room: RoomCache, author: DeviceId, brought: int | None) -> None:
    """Tell the author's machine what we hold of it, if it is there to hear; else, signed, the member
    on whose link it came, who may meet it before us."""
    links = _listening(ctx, room, author)
    have = room.have.get(author)
    if not have:
        return
    if not links:
        carrier = ctx.live.links.get(brought) if brought is not None else None
        if (
            carrier is not None
            and room.row.kind == ROOM
            and len(room.heads) <= MANY
            and presence.may_be_told(ctx, author, carrier.account)
        ):
            row = _stated(ctx, room, author, registers.HAVE, have)
            if row is not None:
                ctx.out.append(Send(carrier.link, Registers((people.signed_register(row),))))
        return
    who = ctx.live.links[links[0]].account
    if not presence.visible_to(ctx, who):  # it would say that we are here
        presence.withhold(ctx, who)
        return
    ctx.live.receipt_at[room.row.id, author] = ctx.now.mono
    said = ranges.newest(have, MAX_HAVE_RANGES)
    receipt = Receipt(room.row.id, author, said, _top(ctx, room, author, said))
    ctx.out.extend(Send(link, receipt) for link in links)


def _listening(ctx: Context, room: RoomCache, author: DeviceId) -> list[int]:
    """Links on which it matters at once what we have of these events: that of their author, and in a direct
    chat those of the person's other machines, which show it too."""
    found = [ctx.live.by_device[author]] if author in ctx.live.by_device else []
    owner = ctx.cache.owner.get(author)
    if room.row.kind == DIRECT and owner is not None and owner != ctx.me.account:
        others = ctx.cache.accounts[owner].devices
        found += [n for device, n in ctx.live.by_device.items() if device in others and device != author]
    return found


def send_read(ctx: Context, room: RoomCache, author: DeviceId) -> None:
    """Tell what was read: own machines always, its author only if the user wishes so."""
    mark = read_mark(ctx, room, author)
    if mark is None:
        return
    hearing = _listening(ctx, room, author)
    for number in ctx.live.by_device.values():
        who = ctx.live.links[number].account
        wished = number in hearing and ctx.cache.read_receipts and presence.visible_to(ctx, who)
        if wished or who == ctx.me.account:
            ctx.out.append(Send(number, mark))


def read_mark(ctx: Context, room: RoomCache, author: DeviceId) -> ReadMark | None:
    """What was read of `author`, as it is said live; None if nothing was."""
    read = ranges.newest(room.read.get(author, ()), MAX_HAVE_RANGES)
    return ReadMark(room.row.id, author, read, _top(ctx, room, author, read)) if read else None


def _top(ctx: Context, room: RoomCache, author: DeviceId, said: Ranges) -> EventId:
    head = room.heads.get(author)
    if head is not None and said and head.seq == said[0][1]:
        return head.id
    at = ctx.ledger.events.at(room.row.id, author, said[0][1]) if said else []
    return at[0].id if at else EventId(bytes(32))


def offer(ctx: Context, link: Link) -> None:
    """Offer what we have and have read of this peer's events."""
    names = [people.name_of(row) for row in concerning(ctx, link)]
    for at in range(0, len(names), GIVEN):
        ctx.out.append(Send(link.link, RegisterOffer(tuple(names[at : at + GIVEN]))))


def concerning(ctx: Context, link: Link) -> list[RegisterRow]:
    """Our `have` and `read` registers about the machines of this peer, signed anew if
    they have moved since."""
    found = []
    for room in rooms.common(ctx, link):
        account = ctx.cache.accounts.get(link.account)
        for author in account.devices if account else ():
            found.append(_stated(ctx, room, author, registers.HAVE, room.have.get(author, ())))
            if ctx.cache.read_receipts or link.account == ctx.me.account:
                found.append(_stated(ctx, room, author, registers.READ, room.read.get(author, ())))
    return [register for register in found if register is not None]


def _stated(ctx: Context, room: RoomCache, author: DeviceId, kind: int, held: Ranges) -> RegisterRow | None:
    if not held:
        return None
    said = ranges.newest(held, MAX_HAVE_RANGES)
    known = people.own_register(ctx, kind, room.row.id, author)
    if known is not None and decode(Seen, known.value).ranges == said:
        return known
    value = Seen(said, _top(ctx, room, author, said))
    return people.publish(ctx, kind, value, room.row.id, author)


def stated_have(ctx: Context, room_id: RoomId, author: DeviceId) -> RegisterRow | None:
    """Our signed `have` about one chain; None if nothing of it is here."""
    if room_id not in ctx.cache.known_rooms:
        return None
    room = rooms.room(ctx, room_id)
    return _stated(ctx, room, author, registers.HAVE, room.have.get(author, ()))


def wanted(ctx: Context, names: tuple[RegisterName, ...]) -> tuple[RegisterName, ...]:
    """Those of an offer that are newer than what is here."""
    if len(names) > MAX_OFFERED:
        raise RemoteProtocolError("too many registers offered")
    people.check_names(names)
    fresh = []
    for name in names:
        known = ctx.ledger.people.register(DeviceId(name.device), name.kind, name.room, name.author)
        if DeviceId(name.device) in ctx.cache.owner and (known is None or known.n < name.n):
            fresh.append(name)
    return tuple(fresh)


# -- what we hear -------------------------------------------------------------------------


def concerns_us(ctx: Context, link: Link, room: bytes, author: bytes) -> bool:
    """Whether what somebody has or has read there is worth keeping: it is about us, here; in a direct
    chat about what any machine of ours wrote."""
    shared = rooms.room_with(ctx, link, room)
    if shared is None:
        return False
    if DeviceId(author) == ctx.me.device or link.account == ctx.me.account:
        return True
    return shared.row.kind == DIRECT and ctx.cache.owner.get(DeviceId(author)) == ctx.me.account


def by_others(ctx: Context, row: RegisterRow, told: tuple[tuple[int, int], ...]) -> None:
    """What somebody has of ours, signed by him and brought by a holder."""
    said = ranges.checked(told, MAX_HAVE_RANGES)
    if RoomId(row.room) not in ctx.cache.known_rooms or DeviceId(row.author) != ctx.me.device:
        return
    room = rooms.room(ctx, RoomId(row.room))
    known = ctx.ledger.people.register(row.device, row.kind, row.room, row.author)
    if (known is None or known.n < row.n) and ctx.cache.owner.get(row.device) in room.accounts:
        ctx.ledger.people.put_register(row)
        ctx.batch.wrote = True
        noted(ctx, room, row.device, row.kind, row.author, said)


def heard(
    ctx: Context,
    link: Link,
    who: DeviceId,
    kind: int,
    room_id: bytes,
    author: bytes,
    told: tuple[tuple[int, int], ...],
) -> None:
    """Machine `who` says that it has (HAVE) or its person read (READ) these of `author`.

    Only what concerns our own events changes anything; what lies beyond our own chain
    cannot be ours: a clone wrote it, or it is a lie, and either way it is cut off.
    """
    said = ranges.checked(told, MAX_HAVE_RANGES)
    room = rooms.room_with(ctx, link, room_id)
    if room is not None:
        noted(ctx, room, who, kind, author, said)


def noted(ctx: Context, room: RoomCache, who: DeviceId, kind: int, author: bytes, said: Ranges) -> None:
    """The same, of a room known here, by whatever way we heard it."""
    if ctx.cache.owner.get(who) not in room.accounts:
        return
    ours = DeviceId(author) == ctx.me.device
    if not ours:
        if kind == registers.READ and ctx.cache.owner.get(who) == ctx.me.account:
            _read_by_us(ctx, room, who, DeviceId(author), said)
        elif room.row.kind == DIRECT and ctx.cache.owner.get(DeviceId(author)) == ctx.me.account:
            _of_another(ctx, room, who, kind, DeviceId(author), said)
        return
    head = room.heads.get(ctx.me.device)
    top = head.seq if head else 0
    if said and said[0][1] > top:
        ctx.out.append(
            Tell("warning", ("clone", f"machine {who.hex()[:12]} has events of ours that are not here"))
        )
        said = ranges.cut_above(said, top)
    store = room.their_have if kind == registers.HAVE else room.their_read
    before = store.get((who, ctx.me.device), ())
    after = ranges.union(before, said)
    if after == before:
        return
    store[who, ctx.me.device] = after
    ctx.ledger.seen.put_seen(room.row.id, who, ctx.me.device, kind, after)
    ctx.batch.wrote = True
    if room.custody:
        kept.look_soon(ctx, room.row.id)
    if ctx.cache.owner[who] == ctx.me.account:
        return
    if room.row.kind == DIRECT:
        _advance(ctx, room, who, kind, ranges.minus(after, before))
        return
    newest = ranges.minus(after, before)[0][1]
    for event in ctx.ledger.events.at(room.row.id, ctx.me.device, newest):
        view = ctx.ledger.views.message(event.id)
        if view is not None and not view.hidden:
            person = (("state", view.state), ("person", ctx.cache.owner[who].hex()), ("device", who.hex()))
            ctx.feed("receipt", event.id, person)
    settle(ctx, room)


def settle(ctx: Context, room: RoomCache) -> None:
    """Own messages of a room that everybody they are for has by now, or has read, are told so."""
    steps = ((registers.HAVE, DELIVERED, (QUEUED, HELD)), (registers.READ, READ, (QUEUED, HELD, DELIVERED)))
    for kind, state, before in steps:
        known = room.reached.pop(kind, ())
        now = views.reached_by_all(ctx, room, kind)
        moved: list[EventId] = []
        for low, high in reversed(ranges.minus(now, known)):
            moved += ctx.ledger.views.advance(room.row.id, ctx.me.device, low, high, before, state)
        for event in moved:
            ctx.feed("receipt", event, (("state", state),))
        if moved:
            ctx.batch.wrote = True
            reached(ctx, dict.fromkeys(moved), state)


def _advance(ctx: Context, room: RoomCache, who: DeviceId, kind: int, new: Ranges) -> None:
    state, before = (
        (DELIVERED, (QUEUED, HELD)) if kind == registers.HAVE else (READ, (QUEUED, HELD, DELIVERED))
    )
    person = ctx.cache.owner[who]
    moved: list[EventId] = []
    for low, high in reversed(new):
        moved += ctx.ledger.views.advance(room.row.id, ctx.me.device, low, high, before, state)
    for event in moved:
        ctx.feed("receipt", event, (("state", state), ("person", person.hex()), ("device", who.hex())))
    if moved:
        reached(ctx, dict.fromkeys(moved), state)


def _of_another(
    ctx: Context, room: RoomCache, who: DeviceId, kind: int, author: DeviceId, said: Ranges
) -> None:
    """How far what another machine of ours wrote in a direct chat has come; it may not be here yet."""
    if ctx.cache.owner.get(who) == ctx.me.account:
        return
    store = room.their_have if kind == registers.HAVE else room.their_read
    before = store.get((who, author), ())
    after = ranges.union(before, said)
    if after == before:
        return
    store[who, author] = after
    ctx.ledger.seen.put_seen(room.row.id, who, author, kind, after)
    ctx.batch.wrote = True
    state, earlier = (DELIVERED, (RECEIVED,)) if kind == registers.HAVE else (READ, (RECEIVED, DELIVERED))
    for low, high in reversed(ranges.minus(after, before)):
        for event in ctx.ledger.views.advance(room.row.id, author, low, high, earlier, state):
            person = (("state", state), ("person", ctx.cache.owner[who].hex()), ("device", who.hex()))
            ctx.feed("receipt", event, person)


def _read_by_us(ctx: Context, room: RoomCache, who: DeviceId, author: DeviceId, said: Ranges) -> None:
    """Another machine of ours showed these. What is not here yet is remembered: it comes read."""
    before = room.their_read.get((who, author), ())
    after = ranges.union(before, said)
    if after != before:
        room.their_read[who, author] = after
        ctx.ledger.seen.put_seen(room.row.id, who, author, registers.READ, after)
        ctx.batch.wrote = True
    read_elsewhere(ctx, room, author, said)


def read_elsewhere(ctx: Context, room: RoomCache, author: DeviceId, said: Ranges) -> None:
    """Of these those that are here are read."""
    new = ranges.minus(said, room.read.get(author, ()))
    if new:
        ids = [
            event.id
            for low, high in new
            for event in ctx.ledger.events.run(room.row.id, author, low, high, 4096)
        ]
        mark_read(ctx, room, ids)


def mark_read(ctx: Context, room: RoomCache, ids: list[EventId]) -> None:
    """These were put before the user's eyes."""
    touched: dict[DeviceId, None] = {}
    for device, seq in ctx.ledger.views.mark_read(ids):
        room.read[device] = ranges.add(room.read.get(device, ()), seq)
        touched[device] = None
    for device in touched:
        ctx.ledger.seen.put_seen(room.row.id, ctx.me.device, device, registers.READ, room.read[device])
        ctx.batch.wrote = True
        send_read(ctx, room, device)


# -- who waits ------------------------------------------------------------------------------


def await_state(
    ctx: Context, request: int, event: EventId, room: RoomId, want: str, timeout_s: float
) -> None:
    """Answer `request` once `event` has come as far as `want`, or the time is over."""
    ctx.live.waiters[request] = Waiter(request, "post", want, event, room)
    ctx.timer(f"wait:{request}", ctx.now.mono + timeout_s)


def reached(ctx: Context, events: dict[EventId, None], state: str) -> None:
    """Answer those who waited for this state of these events."""
    for request, waiter in list(ctx.live.waiters.items()):
        if waiter.kind == "post" and waiter.event in events and REACHED[state] >= REACHED[waiter.want]:
            del ctx.live.waiters[request]
            ctx.drop_timer(f"wait:{request}")
            ctx.out.append(Reply(request, posted(waiter, state), early=True))


def timed_out(ctx: Context, request: int) -> None:
    """The wait is over without success: the message stays queued, and we say so."""
    waiter = ctx.live.waiters.pop(request, None)
    if waiter is None:
        return
    if waiter.kind == "handover":
        ctx.out.append(Reply(request, {}))
        return
    if waiter.kind != "post" or waiter.event is None:
        ctx.out.append(Refuse(request, CommandError("timeout", "no answer in time", "")))
        return
    view = ctx.ledger.views.message(waiter.event)
    state = view.state if view else QUEUED
    why, hint = "", ""
    if waiter.want == HELD and waiter.room is not None:
        why, hint = deposits.why_not(ctx, rooms.room(ctx, waiter.room))
    text = f"not {waiter.want} in time{': ' * bool(why)}{why}; it stays {state}"
    error = CommandError("timeout", text, hint or "see what waits: `p2pchat queue`")
    ctx.out.append(Refuse(request, error, posted(waiter, state)))


def posted(waiter: Waiter, state: str) -> dict[str, object]:
    """What `send` answers."""
    return {
        "id": waiter.event.hex() if waiter.event else "",
        "room": waiter.room.hex() if waiter.room else "",
        "state": state,
    }


def seen_value(value: Record) -> tuple[tuple[int, int], ...]:
    """The ranges in a HAVE or READ register."""
    return value.ranges if isinstance(value, Seen) else ()
