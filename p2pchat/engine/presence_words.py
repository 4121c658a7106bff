"""What machines say to each other about who is there, and what follows.

Decides: when a peer is told anew, what becomes of his word, when withheld receipts leave, and how
typing is told and believed. Does not know: who sees whom (presence), or commands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from p2pchat.engine import exchange, outbox, people, presence, rooms
from p2pchat.engine.context import Context, Link, RoomCache
from p2pchat.engine.inputs import Announcing, Send, Tell
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId, RoomId
from p2pchat.model import DIRECT, RegisterRow
from p2pchat.wire.limits import MAX_HIDDEN_FROM, MAX_STATUS
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages.presence import CHOICES, INVISIBLE, OFFLINE, TOLD, Chosen, Presence, Typing

TYPING_AGAIN_S: Final = 3.0
"""Who goes on typing says so this often."""
TYPING_S: Final = 8.0
"""It is believed for so long: two of these may be late."""
WORDS: Final = 60.0
WORDS_PER_S: Final = 1.0
"""Of one machine: of typing what is more is not heard, of its presence it ends the link."""


# -- what we say --------------------------------------------------------------------------


def start(ctx: Context) -> None:
    """The daemon is up."""
    _show_or_hide(ctx)
    schedule(ctx)


def met(ctx: Context, link: Link) -> None:
    """The first thing said on a link that is now the one to its machine."""
    ctx.live.presence.told.pop(link.link, None)
    tell(ctx, link)
    row = ctx.cache.presence
    if row is not None and link.account == ctx.me.account:
        ctx.out.append(Send(link.link, wire.Registers((people.signed_register(row),))))


def tell(ctx: Context, link: Link) -> None:
    """Say how we are to be shown there, if that has changed. Who sees us again gets his receipts."""
    told = ctx.live.presence.told
    before, word = told.get(link.link), presence.word_for(ctx, link.account)
    if word == before:
        return
    told[link.link] = word
    ctx.out.append(Send(link.link, word))
    if before == presence.HIDDEN:
        _give_receipts(ctx, link.account)


def share(ctx: Context) -> None:
    """Our own machines hear what was chosen here."""
    row = ctx.cache.presence
    for number in ctx.live.by_device.values() if row is not None else ():
        if row is not None and ctx.live.links[number].account == ctx.me.account:
            ctx.out.append(Send(number, wire.Registers((people.signed_register(row),))))


def changed(ctx: Context) -> None:
    """Something of ours may be seen otherwise now: tell whom it concerns."""
    for number in list(ctx.live.by_device.values()):
        tell(ctx, ctx.live.links[number])
    _show_or_hide(ctx)


def _show_or_hide(ctx: Context) -> None:
    """Have the daemon announce this machine, or be silent on the network."""
    announced = not presence.hidden_from_all(ctx)
    if announced != ctx.live.presence.announced:
        ctx.live.presence.announced = announced
        ctx.out.append(Announcing(announced))
        exchange.publish(ctx)


def schedule(ctx: Context) -> None:
    """Look again when a choice is over, or the user has been away long enough."""
    said, active = ctx.cache.chosen, ctx.live.presence.active_at
    due = []
    if said is not None and said.until_ms > ctx.now.wall_ms:
        due.append(ctx.now.mono + (said.until_ms - ctx.now.wall_ms) / 1000)
    if active is not None and ctx.now.mono - active < presence.IDLE_S:
        due.append(active + presence.IDLE_S)
    if due:
        ctx.timer("presence", min(due))


def due(ctx: Context) -> None:
    """The timer `presence`."""
    changed(ctx)
    schedule(ctx)


# -- receipts that were kept back ----------------------------------------------------------


def close(ctx: Context) -> None:
    """At the end of a batch: who is in a chat of ours may have changed, and with that who sees us;
    and who was just written to learns no more from a receipt."""
    said = ctx.cache.chosen
    if said is None:
        return
    hides = said.hide_direct or said.hide_rooms
    if hides and (ctx.batch.moved or ctx.batch.entered or _first_words(ctx)):
        changed(ctx)
    by_others = [room for room, author in ctx.batch.have if ctx.cache.owner.get(author) == ctx.me.account]
    for room_id in dict.fromkeys(
        (*ctx.batch.fresh, *by_others)
    ):  # written here, or on another machine of ours
        row = ctx.cache.known_rooms.get(room_id)
        if row is None or row.kind != DIRECT or row.peer is None:
            continue
        for link in _links_to(ctx, row.peer) if hides else ():
            tell(ctx, link)
        if room_id in ctx.batch.fresh and row.peer in ctx.live.presence.withheld:
            _give_receipts(ctx, row.peer)


def _first_words(ctx: Context) -> bool:
    """Whether this batch brought our first words in some room: from now on its members share it with us."""
    for room_id, events in ctx.batch.fresh.items():
        row, head = ctx.cache.known_rooms.get(room_id), rooms.room(ctx, room_id).heads.get(ctx.me.device)
        if row is not None and row.kind != DIRECT and head is not None and head.seq <= len(events):
            return True
    return False


def release(ctx: Context) -> None:
    """The timer `withheld`: give the receipts whose time has come."""
    withheld = ctx.live.presence.withheld
    for account, at in list(withheld.items()):
        if at <= ctx.now.mono:
            _give_receipts(ctx, account)
    if withheld:
        ctx.timer("withheld", min(withheld.values()))


def _give_receipts(ctx: Context, account: AccountId) -> None:
    ctx.live.presence.withheld.pop(account, None)
    for link in _links_to(ctx, account):
        outbox.offer(ctx, link)


def _links_to(ctx: Context, account: AccountId) -> list[Link]:
    links = [ctx.live.links[number] for number in ctx.live.by_device.values()]
    return [link for link in links if link.account == account]


# -- what we hear --------------------------------------------------------------------------


def heard(ctx: Context, link: Link, said: Presence) -> None:
    """How a machine is to be shown from now on."""
    hidden = said.state == OFFLINE
    if said.state not in TOLD or len(said.message) > MAX_STATUS or (hidden and said.message):
        raise RemoteProtocolError("presence out of form")
    before = presence.shown(ctx, link.device)
    changes = ctx.live.presence.changes
    if said != before and not _spared(ctx, changes, link.device):
        raise RemoteProtocolError("presence too often")  # each change is told to people, some are written
    ctx.live.presence.seen[link.device] = said
    was_hidden = before.state == OFFLINE
    if hidden and was_hidden:
        return
    if hidden:
        _seen_last(ctx, link)
    else:
        ctx.live.last_seen[link.device] = ctx.now.wall_ms
    if said != before:
        ctx.out.append(Tell("peer" if hidden or was_hidden else "presence", link.account))


def gone(ctx: Context, link: Link) -> None:
    """A machine has left. Of one that was hidden nobody is told, and nothing is remembered."""
    visible = ctx.live.presence.seen.pop(link.device, presence.HIDDEN).state != OFFLINE
    ctx.live.presence.words.pop(link.device, None)
    ctx.live.presence.changes.pop(link.device, None)
    if visible:
        _seen_last(ctx, link)
        ctx.out.append(Tell("peer", link.account))


def _seen_last(ctx: Context, link: Link) -> None:
    for room_id, account in list(ctx.live.presence.typing):
        if account == link.account:
            _stopped(ctx, room_id, account)
    ctx.live.last_seen[link.device] = ctx.now.wall_ms
    standing = ctx.cache.trust.get(link.account)
    if standing is not None:
        people.put_trust(ctx, replace(standing, last_seen_ms=ctx.now.wall_ms))


def learn(ctx: Context, link: Link, row: RegisterRow, value: Chosen) -> None:
    """What was chosen on another machine of ours; from anybody else it is none of our business."""
    if link.account != ctx.me.account or ctx.cache.owner[row.device] != ctx.me.account:
        return
    if (
        value.state not in CHOICES
        or len(value.message) > MAX_STATUS
        or len(value.hide_from) > MAX_HIDDEN_FROM
        or any(len(account) != 32 for account in value.hide_from)
        or not 0 <= value.until_ms < 2**63
    ):
        raise RemoteProtocolError("chosen presence out of form")
    known = ctx.cache.presence
    if known is not None and (known.n, row.device) >= (row.n, known.device):
        return
    ctx.ledger.people.put_register(row)
    ctx.batch.wrote = True
    ctx.cache.presence, ctx.cache.chosen = row, value
    changed(ctx)
    schedule(ctx)


# -- typing ----------------------------------------------------------------------------------


def type_in(ctx: Context, room: RoomCache, *, on: bool) -> None:
    """Tell those of a room who see us that we are writing there, or have stopped."""
    told = ctx.live.presence.typing_told
    last = told.get(room.row.id)
    if on and last is not None and 0 <= ctx.now.mono - last < TYPING_AGAIN_S:
        return
    if not on and told.pop(room.row.id, None) is None:
        return
    if on:
        told[room.row.id] = ctx.now.mono
    links = [link for link in rooms.links_of(ctx, room) if link.account != ctx.me.account]
    if len(links) > ctx.sizes.above or presence.chosen(ctx).state == INVISIBLE:
        return  # in a crowd nobody looks for it
    for link in links:
        if presence.visible_to(ctx, link.account):
            ctx.out.append(Send(link.link, Typing(room.row.id, on)))


def typing(ctx: Context, link: Link, said: Typing) -> None:
    """Somebody is writing, or has stopped."""
    room = rooms.room_with(ctx, link, said.room)
    hidden = presence.shown(ctx, link.device).state == OFFLINE
    if room is None or hidden or link.account not in room.graph.members:
        return
    if not _spared(ctx, ctx.live.presence.words, link.device):
        return
    known = ctx.live.presence.typing
    if not said.on:
        _stopped(ctx, room.row.id, link.account)
        return
    if (room.row.id, link.account) not in known:
        ctx.out.append(Tell("typing", (room.row.id, link.account, True)))
    known[room.row.id, link.account] = ctx.now.mono + TYPING_S
    ctx.timer("typing", ctx.now.mono + TYPING_S)


def typing_over(ctx: Context) -> None:
    """The timer `typing`: who said nothing more has stopped."""
    known = ctx.live.presence.typing
    for (room_id, account), until in list(known.items()):
        if until <= ctx.now.mono:
            _stopped(ctx, room_id, account)
    if known:
        ctx.timer("typing", min(known.values()))


def _stopped(ctx: Context, room_id: RoomId, account: AccountId) -> None:
    if ctx.live.presence.typing.pop((room_id, account), None) is not None:
        ctx.out.append(Tell("typing", (room_id, account, False)))


def _spared(ctx: Context, spared: dict[DeviceId, tuple[float, float]], device: DeviceId) -> bool:
    """Whether a machine may say one more of these now."""
    spare, since = spared.get(device, (WORDS, ctx.now.mono))
    spare = min(WORDS, spare + WORDS_PER_S * max(0.0, ctx.now.mono - since))
    spared[device] = (spare - 1 if spare >= 1 else spare, ctx.now.mono)
    return spare >= 1
