"""Acts: the control events of a room as its graph takes them.

Decides: how the graph of a room is filled from the ledger, what lies in which branch of a chain,
and what proves that a machine is to be revoked (docs/protocol.md, "Rooms"). Does not know: who
may what (control_graph), or what follows when an act comes (membership).
"""

from __future__ import annotations

from p2pchat.crypto.primitives import ed25519_verify
from p2pchat.engine.accounts import read_statement
from p2pchat.engine.context import Context, RoomCache
from p2pchat.engine.control_graph import Act, Graph, Root, check_body
from p2pchat.engine.log import Read
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import DIRECT, LOBBY, ROOM, RoomRow, StoredEvent
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages import statements
from p2pchat.wire.messages.events import SIGNED, Header
from p2pchat.wire.messages.statements import SignedStatement

_Branches = dict[tuple[EventId, int], dict[int, EventId]]
"""Of an event that a cut names, at the number it says: its chain down from there, number to id."""


def graph_of(ctx: Context, row: RoomRow, forks: dict[DeviceId, int]) -> Graph:
    """An empty graph of a room, asking the ledger about chains and statements.

    `forks` is the room's own, kept by whoever records events.
    """
    branches: _Branches = {}
    root = Root(row.kind if row.kind in (DIRECT, LOBBY) else ROOM, row.id, _both(ctx, row))

    def below(device: DeviceId, seq: int, event: EventId, cut: wire.Cut) -> bool:
        if seq >= cut.seq:
            return seq == cut.seq and event == cut.id
        forked = seq >= forks.get(device, cut.seq)
        return not forked or _on_branch(ctx, branches, device, seq, cut) in (None, event)

    return Graph(root, lambda body: proof_holds(ctx, row.id, body), below)


def _both(ctx: Context, row: RoomRow) -> tuple[AccountId, ...]:
    if row.kind != DIRECT or row.peer is None:
        return ()
    return tuple(sorted({ctx.me.account, row.peer}))


def _on_branch(
    ctx: Context, branches: _Branches, device: DeviceId, seq: int, cut: wire.Cut
) -> EventId | None:
    """What stands at `seq` in the chain that ends in the cut; None where a gap hides it: what is
    missing decides nothing, until it comes."""
    known = branches.setdefault((EventId(cut.id), cut.seq), {cut.seq: EventId(cut.id)})
    at = cut.seq - len(known) + 1  # the lowest known
    while at > seq:
        stored = ctx.ledger.events.get(known[at])
        if stored is None or (stored.device, stored.seq) != (device, at):
            return None
        at -= 1
        known[at] = stored.prev
    return known[seq]


def load(ctx: Context, room: RoomCache, stored: list[StoredEvent]) -> None:
    """Fill the graph of a room from all its control events, in whatever order they come."""
    waiting = stored
    while waiting:
        later = []
        for event in waiting:
            header = decode(Header, event.header)
            if all(room.graph.knows(EventId(parent)) for parent in header.auth):
                act = act_of(ctx, event, header)
                if act is not None:
                    room.graph.add(act)
            else:
                later.append(event)
        if len(later) == len(waiting):
            break  # an archive of which parts are gone: what is left stands by itself
        waiting = later
    room.accounts = tuple(sorted(room.graph.members))


def act_of(ctx: Context, event: StoredEvent, header: Header) -> Act | None:
    """The event as the graph sees it; None for a kind this version does not know."""
    shape = ev.BODIES.get(event.kind)
    if shape is None or event.body is None:
        return None
    try:
        body = decode(shape, event.body)
        check_body(event.kind, body)
    except RemoteProtocolError:  # taken in by a version that did not look into it
        return None
    owner = ctx.cache.owner[event.device]
    auth = tuple(EventId(one) for one in header.auth)
    return Act(event.id, event.device, owner, event.seq, event.hlc, auth, event.kind, body)


def act(ctx: Context, event: StoredEvent, body: Record) -> Act:
    """An act of ours, recorded just now, as the graph sees it."""
    auth = tuple(EventId(one) for one in decode(Header, event.header).auth)
    owner = ctx.cache.owner[event.device]
    return Act(event.id, event.device, owner, event.seq, event.hlc, auth, event.kind, body)


def add(ctx: Context, room: RoomCache, event: StoredEvent, body: Record) -> None:
    """Nothing but keys follows from this act of ours: it stands in the graph."""
    room.graph.add(act(ctx, event, body))


# -- machines that are revoked everywhere -----------------------------------------------------


def proof_holds(ctx: Context, room: RoomId, body: wire.Revoke) -> bool:
    """Whether the proof in a `revoke` shows what it claims: a revoking statement of the machine's
    account, or two events of the machine in one place of its chain."""
    owner = ctx.cache.owner.get(DeviceId(body.device))
    if owner is None:
        return False
    account = ctx.cache.accounts[owner]
    if len(body.proof) == 2:
        try:
            act = read_statement(SignedStatement(body.proof[0], body.proof[1]))
        except RemoteProtocolError:
            return False
        keys = [device.signing for device in account.devices.values()]
        if act.account != owner or act.by not in (*keys, account.recovery):
            return False
        match act.subject:
            case statements.Revoked(device):
                return act.kind == statements.REVOKE and device == body.device
            case _:
                return act.kind == statements.RETIRE
    return _forked(account.devices[DeviceId(body.device)].signing, room, body)


def _forked(signing: bytes, room: RoomId, body: wire.Revoke) -> bool:
    one, one_signed, other, other_signed = body.proof
    try:
        first, second = decode(Header, one), decode(Header, other)
    except RemoteProtocolError:
        return False
    same_place = (first.room, first.device, first.seq) == (second.room, second.device, second.seq)
    ours = first.device == body.device and RoomId(first.room) == room
    if one == other or not same_place or not ours:
        return False
    pairs = ((one, one_signed), (other, other_signed))
    return all(ed25519_verify(signing, SIGNED + raw, signed) for raw, signed in pairs)


def checked_body(read: Read) -> Record | None:
    """The body of an act of a kind known here, None for anything else; RemoteProtocolError if it has
    no form."""
    kind = read.header.kind
    if not ev.is_control(kind) or read.event.body is None or kind not in ev.BODIES:
        return None
    body = decode(ev.BODIES[kind], read.event.body)
    check_body(kind, body)
    return body
