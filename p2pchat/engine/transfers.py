"""Files on their way: what is offered, wanted, here, and over, and who may have it.

Decides: what becomes of an offer when its message or the mover of bytes says something, whom a
machine tells how its own copy stands, and who is given any of it (docs/files.md, "Who may have it").
Does not know: commands (file_commands), what others say (file_words), pieces, disks, or which offers
count (offers).

What people decided and how it ended is in the ledger. In memory are only the transfers that somebody
is still to be asked for or told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from p2pchat.engine import keys, log, offers, presence, rooms
from p2pchat.engine.context import Context, Link, Open, RoomCache
from p2pchat.engine.file_inputs import (
    Fetch,
    FileLanded,
    FileRootKnown,
    FileSettled,
    FileSource,
    FileTrouble,
    MayServe,
    StillNeeded,
    StopFetch,
    Withdraw,
)
from p2pchat.engine.inputs import Reply, Send
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import (
    ACTIVE,
    CANCELLED,
    DECLINED,
    DONE,
    FAILED,
    OFFERED,
    PAUSED,
    StoredEvent,
    TransferRow,
    TransferView,
)
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.messages import files as wire
from p2pchat.wire.messages.files import FileRoot, FileState, Offer

OTHERS: Final = 16
"""Members' machines told that something is wanted or here: each tells those it is told by."""
TOLD_AT_ONCE: Final = 256
"""Ends that one machine is told of at once; the rest some a minute, or with the next link."""
CHECK_S: Final = 3600.0
AGAIN_S: Final = 60.0
"""What is not all here is asked for again, and ends that nobody has heard are told again: who did not
know us to be in the room then may know by now, or have something of it."""
AGAIN: Final = 64
"""So many transfers at a time, drawn, for there may be any number that nobody has just now."""
FEW: Final = 2
"""Of the others' machines so many."""

EXPIRED: Final = "its time is over"
DELETED: Final = "its message was deleted"
OUT: Final = "you are not in its room any more"
UNCOUNTED: Final = "its message does not count any more"


# -- rows --------------------------------------------------------------------------------


def opened(ctx: Context) -> Open:
    """Transfers that others are to be asked for, or told of."""
    known = ctx.cache.transfers
    if known is None:
        known = ctx.cache.transfers = Open({}, {})
        known.fetching.update((row.id, row) for row in ctx.ledger.transfers.fetching())
        for row in ctx.ledger.transfers.untold():
            known.untold.setdefault(row.device, {})[row.id] = row
    return known


def put(ctx: Context, row: TransferRow, *, tell_people: bool = True) -> None:
    """Keep how a transfer stands now, and tell people."""
    untold, known = offers.untold(row), opened(ctx)
    ctx.ledger.transfers.put_transfer(row, untold=untold)
    ctx.batch.wrote = True
    if row.incoming and row.state == ACTIVE:
        known.fetching[row.id] = row
    else:
        known.fetching.pop(row.id, None)
    if untold:
        known.untold.setdefault(row.device, {})[row.id] = row
    elif row.id in known.untold.get(row.device, ()):
        del known.untold[row.device][row.id]
    if untold or row.id in known.fetching:
        ctx.timer("transfers", ctx.now.mono + AGAIN_S)
    if tell_people:
        ctx.feed("file", row.id)


def end(ctx: Context, row: TransferRow, state: str, *, error: str = "", kind: str = "") -> None:
    """It is over here, at least for now, and so it is told to the machine that offers it; `error` says
    why, if nobody here wanted it so."""
    put(ctx, replace(row, state=state, error=error, error_kind=kind, told=-1))
    if row.incoming:
        link = link_to(ctx, row.device)
        if link is not None:
            say(ctx, link, row, offers.ENDS[state])
    elif state == CANCELLED:  # a source that changed is told with its reason, where its bytes go
        for peer in ctx.ledger.transfers.peers(row.id):
            link = link_to(ctx, peer.device)
            if peer.state == wire.WANT and link is not None:
                say(ctx, link, row, wire.STOPPED)


def view(ctx: Context, row: TransferRow) -> TransferView:
    """A transfer as people see it."""
    if row.incoming:
        return offers.view(row, (), ())
    room, event = rooms.room(ctx, row.room), ctx.ledger.events.get(row.event)
    said = ctx.ledger.transfers.peers(row.id)
    if room.row.peer is not None:
        return offers.view(row, said, (room.row.peer,), direct=True)
    seq = event.seq if event is not None else 0
    return offers.view(row, said, [who for who, first in room.awaited.items() if first <= seq])


def expired(ctx: Context, row: TransferRow) -> bool:
    """Whether it is served no more by now."""
    return 0 < row.expires_ms <= ctx.now.wall_ms


# -- messages that offer -------------------------------------------------------------------


def posted(ctx: Context, event: StoredEvent, offer: Offer, path: str) -> None:
    """We offer something, in a message that has just got its id."""
    put(ctx, _row(ctx, event, ctx.me.account, offer, path, incoming=False))


def offered(
    ctx: Context, room: RoomCache, event: StoredEvent, account: AccountId, offered: tuple[Offer, ...]
) -> None:
    """A message that is shown offers these: keep those that are new."""
    if event.device == ctx.me.device:
        return  # `posted` did
    for offer in offers.counting(account, offered):
        if ctx.ledger.transfers.transfer(offer.id) is not None:
            continue  # the first message counts
        row = _row(ctx, event, account, offer, "", incoming=True)
        root = ctx.ledger.transfers.take_root(offer.id, account)
        if root is not None and root[1] == offers.pieces(offer):
            row = replace(row, root=root[0])
        if _unasked(ctx, row):
            want(ctx, row, "", "rename")
        else:
            put(ctx, row)


def _row(
    ctx: Context, event: StoredEvent, account: AccountId, offer: Offer, path: str, *, incoming: bool
) -> TransferRow:
    written_ms = event.hlc >> log.HLC_SHIFT
    return TransferRow(
        id=offer.id,
        room=event.room,
        event=event.id,
        author=account,
        device=event.device,
        incoming=incoming,
        offer=encode(offer),
        name=offer.name,
        size=offer.size,
        files=offer.files,
        state=OFFERED,
        path=path,
        to="",
        conflict="rename",
        root=b"",
        error_kind="",
        error="",
        expires_ms=written_ms + 1000 * offer.ttl_s if offer.ttl_s else 0,
        made_ms=ctx.now.wall_ms,
        told=-1,
    )


def auto_key(account: AccountId) -> str:
    """Under which the ledger keeps that somebody's offers are taken without asking."""
    return f"file_auto:{account.hex()}"


def _unasked(ctx: Context, row: TransferRow) -> bool:
    """Whether it is taken without being asked for: from somebody verified now, and not too large; not
    while I hide from him, for to fetch it would say that I am here."""
    trust = ctx.cache.trust.get(row.author)
    if trust is None or not trust.verified or trust.blocked or row.size > ctx.cache.file_auto_max:
        return False
    if not presence.visible_to(ctx, row.author):
        return False
    return not expired(ctx, row) and ctx.ledger.people.value(auto_key(row.author)) == b"1"


def rooted(ctx: Context, event: StoredEvent, account: AccountId, body: FileRoot) -> None:
    """The author of an offer has read all of it; from others it is nothing."""
    row = ctx.ledger.transfers.transfer(body.offer)
    if event.flags & StoredEvent.VOID:
        return
    if row is None:
        ctx.ledger.transfers.put_root(body.offer, account, body.root, body.pieces)
        ctx.batch.wrote = True
        return
    if row.author != account or row.room != event.room or row.root:
        return
    if body.pieces != offers.pieces(decode(Offer, row.offer)):
        return
    put(ctx, replace(row, root=body.root), tell_people=False)
    if row.incoming and row.state == ACTIVE:
        ctx.out.append(FileRootKnown(row.id, body.root))


def withdrawn(ctx: Context, message: EventId) -> None:
    """The author deleted a message: what it offers is over. What is here already stays."""
    for row in ctx.ledger.transfers.of_event(message):
        if row.incoming and row.state == DONE:
            ctx.out.append(Withdraw(row.id))
            put(ctx, replace(row, served=False), tell_people=False)
        else:
            give_up(ctx, row, DELETED, discard=True)


def voided(ctx: Context, message: EventId) -> None:
    """A message counts no more. It may count again: what we offer there is only not served meanwhile."""
    for row in ctx.ledger.transfers.of_event(message):
        if row.incoming and row.state != DONE:
            give_up(ctx, row, UNCOUNTED, discard=False)
        else:
            ctx.out.append(Withdraw(row.id, forget=False))


def parted(ctx: Context, room: RoomId, gone: Sequence[AccountId], *, me: bool) -> None:
    """People have left a room, or were removed: what they want is not waited for any more. `me`: we are
    out, and nobody gives us what was offered there."""
    for row in ctx.ledger.transfers.of_room(room):
        if me and row.incoming:
            give_up(ctx, row, OUT, discard=True)
        elif not row.incoming:
            wanted = [
                peer
                for peer in ctx.ledger.transfers.peers(row.id)
                if peer.account in gone and peer.state == wire.WANT
            ]
            for peer in wanted:
                ctx.ledger.transfers.put_peer(row.id, replace(peer, state=wire.STOPPED))
            if wanted:
                ctx.batch.wrote = True
                ctx.feed("file", row.id)


def give_up(ctx: Context, row: TransferRow, why: str, *, discard: bool) -> None:
    """It is over, and not because somebody here wanted it so."""
    if row.state not in (OFFERED, ACTIVE, PAUSED):
        return
    if not row.incoming:
        ctx.out.append(Withdraw(row.id))
        end(ctx, row, CANCELLED, error=why)
        return
    if row.state != OFFERED:
        ctx.out.append(StopFetch(row.id, discard))
    # Its author knows; of who is out only if he sees him out too, so that he hears it once both are in.
    told = {ACTIVE: -1, PAUSED: row.told}.get(row.state, wire.STOPPED) if why == OUT else wire.STOPPED
    put(ctx, replace(row, state=CANCELLED, error=why, error_kind="", told=told))


# -- wanting -----------------------------------------------------------------------------------


def want(ctx: Context, row: TransferRow, to: str, conflict: str) -> None:
    """Have it fetched, and ask who has any of it."""
    row = replace(row, state=ACTIVE, to=to, conflict=conflict, error="", error_kind="", told=-1)
    put(ctx, row)
    ctx.out.append(_fetch(row))
    _ask(ctx, row, OTHERS)


def _ask(ctx: Context, row: TransferRow, others: int) -> None:
    for link, of_author in _askable(ctx, row, others):
        if of_author:
            ctx.out.append(FileSource(row.id, link.device, True))
        say(ctx, link, row, wire.WANT, asking=True)


def _fetch(row: TransferRow) -> Fetch:
    return Fetch(decode(Offer, row.offer), row.room, row.author, row.root, row.to, row.conflict)


def _askable(ctx: Context, row: TransferRow, others: int) -> list[tuple[Link, bool]]:
    """Whom to ask and to tell: all of the author's machines that are linked, and some of the others'."""
    links = [ctx.live.links[number] for number in ctx.live.by_device.values()]
    members = rooms.room(ctx, row.room).graph.members
    if ctx.me.account not in members:
        return []
    of_author = [link for link in links if link.account == row.author]
    rest = [link for link in links if link.account != row.author and link.account in members]
    drawn = sorted((ctx.entropy.random(), n) for n in range(len(rest)))
    return [(link, True) for link in of_author] + [(rest[n], False) for _, n in drawn[:others]]


def start(ctx: Context) -> None:
    """A run begins: go on with what is wanted."""
    ctx.out.extend(_fetch(row) for row in opened(ctx).fetching.values())
    ctx.timer("files", ctx.now.mono + CHECK_S)
    if opened(ctx).fetching or any(opened(ctx).untold.values()):
        ctx.timer("transfers", ctx.now.mono + AGAIN_S)


def again(ctx: Context) -> None:
    """Once a minute, while anything is open: ask for some of it again, of few, and tell ends again."""
    fetching = list(opened(ctx).fetching.values())
    if not fetching and not any(opened(ctx).untold.values()):
        return
    ctx.timer("transfers", ctx.now.mono + AGAIN_S)
    for number in list(ctx.live.by_device.values()):
        _tell_ends(ctx, ctx.live.links[number], AGAIN)
    first = int(ctx.entropy.random() * len(fetching)) if len(fetching) > AGAIN else 0
    for row in (fetching[first:] + fetching[:first])[:AGAIN]:
        _ask(ctx, row, FEW)


def due(ctx: Context) -> None:
    """Once an hour: what has expired."""
    ctx.timer("files", ctx.now.mono + CHECK_S)
    for row in ctx.ledger.transfers.expired(ctx.now.wall_ms):
        give_up(ctx, row, EXPIRED, discard=True)


def met(ctx: Context, link: Link) -> None:
    """A machine is there: it hears how its offers ended, and is asked for what is wanted."""
    _tell_ends(ctx, link, TOLD_AT_ONCE)
    for row in opened(ctx).fetching.values():
        of_author = link.account == row.author
        if of_author:
            ctx.out.append(FileSource(row.id, link.device, True))
        if of_author or link.account in rooms.room(ctx, row.room).graph.members:
            say(ctx, link, row, wire.WANT, asking=True)


def _tell_ends(ctx: Context, link: Link, most: int) -> None:
    """Not where one of the two is out, as far as we know: then it is not heard."""
    for row in opened(ctx).untold.get(link.device, {}).values():
        members = rooms.room(ctx, row.room).graph.members
        if most and ctx.me.account in members and link.account in members:
            say(ctx, link, row, offers.ENDS[row.state])
            most -= 1


def say(ctx: Context, link: Link, row: TransferRow, state: int, *, asking: bool = False) -> None:
    """Tell a machine how a transfer stands here."""
    ctx.out.append(Send(link.link, FileState(row.room, row.id, state, asking)))


def link_to(ctx: Context, device: DeviceId) -> Link | None:
    """The link to a machine, if there is one."""
    number = ctx.live.by_device.get(device)
    return None if number is None else ctx.live.links[number]


# -- what moves the bytes says -----------------------------------------------------------------


def landed(ctx: Context, event: FileLanded) -> None:
    """All of it is here, under its name: whatever was decided meanwhile, that is so. Unless something else
    bore the name and was to stay: then nothing of it is here, and nobody is told that it is."""
    row = ctx.ledger.transfers.transfer(event.offer)
    if row is None or not row.incoming:
        return
    if event.how == "skipped":
        if row.state == ACTIVE:
            end(ctx, row, DECLINED, error=f"{event.path} is there, and stays")
        return
    if row.state != DONE:
        row = replace(row, state=DONE, path=event.path, error="", error_kind="", told=-1, served=True)
        put(ctx, row)
        for link, _ in _askable(ctx, row, OTHERS):
            say(ctx, link, row, wire.HAS)
    ctx.out.append(FileSettled(decode(Offer, row.offer), row.path))


def trouble(ctx: Context, event: FileTrouble) -> None:
    """Something is wrong with a transfer, or is not any more."""
    row = ctx.ledger.transfers.transfer(event.offer)
    if row is None:
        return
    if event.final:
        if row.state in (OFFERED, ACTIVE, PAUSED):
            end(ctx, row, FAILED, error=event.message, kind=event.kind)
        elif row.state == DONE:  # what was received has been changed or moved since: it stays received
            put(ctx, replace(row, served=False), tell_people=False)
        return
    text = event.message if event.kind else ""
    if row.state in (OFFERED, ACTIVE) and (row.error_kind, row.error) != (event.kind, text):
        # Of ours other people's disks may say so again and again: that fills no feed.
        put(ctx, replace(row, error_kind=event.kind, error=text), tell_people=row.incoming)


def still_needed(ctx: Context, asked: StillNeeded) -> None:
    """Of which of these offers what was kept on the disk is not for nothing."""
    rows = (ctx.ledger.transfers.transfer(offer) for offer in asked.offers)
    ctx.out.append(Reply(asked.request, {row.id for row in rows if row is not None and _kept(row)}))


def _kept(row: TransferRow) -> bool:
    if not row.incoming:
        return row.state == OFFERED
    match row.state:
        case "done":
            return row.served
        case "declined":
            return False
        case "cancelled":
            return row.error == UNCOUNTED  # it may count again, and goes on from there
        case "failed":
            return row.error_kind == "internal"  # a mistake of ours: it may be tried again
        case _:
            return True


# -- rights --------------------------------------------------------------------------------------


def may_have(ctx: Context, row: TransferRow, account: AccountId, device: DeviceId) -> bool:
    """Whether a machine is given any of it: its person is in the room now, would be given the key of
    the message that offers it, and neither he nor the machine is shut out."""
    event = ctx.ledger.events.get(row.event)
    machine = rooms.machine(ctx, device)
    if event is None or event.flags & StoredEvent.VOID or machine is None or machine.revoked:
        return False
    room, trust = rooms.room(ctx, row.room), ctx.cache.trust.get(account)
    shut_out = device in room.graph.revoked or (trust is not None and trust.blocked)
    if shut_out or account not in room.graph.members:
        return False
    if account == ctx.me.account:
        return True
    epoch = room.epochs.get(event.epoch)
    return (
        epoch is not None
        and keys.may_have(ctx, room, epoch, account)
        and rooms.may_read(ctx, room, account, event)
    )


def may_serve(ctx: Context, asked: MayServe) -> None:
    """A machine would like some of an offer from us: the row if it may have it, else why not."""
    row = ctx.ledger.transfers.transfer(asked.offer)
    account = ctx.cache.owner.get(asked.device)
    if account is None or asked.device not in ctx.live.by_device:
        answer: TransferRow | str = "no_right"
    elif row is None:
        answer = "unknown"
    elif not may_have(ctx, row, account, asked.device):
        answer = "no_right"
    else:
        answer = not_given(ctx, row) or row
    ctx.out.append(Reply(asked.request, answer))


def not_given(ctx: Context, row: TransferRow) -> str:
    """Why nobody has it from here; "" if they do."""
    if expired(ctx, row):
        return "cancelled"
    if row.incoming:
        given = row.state == ACTIVE or (row.state == DONE and row.served)
        return "" if given else "unknown"
    if row.state == FAILED:
        return "source_changed"
    return "" if row.state == OFFERED else "cancelled"
