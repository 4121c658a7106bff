"""Chains: how own events are written and when others' are authentic.

Decides: sequence, links, clock and signature of own events; whether received events
are authentic (own signature, or reached from one through `prev`); forks (docs/
protocol.md, "Records"). Does not know: rights, rooms' members or what bodies say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from p2pchat.crypto.epochs import seal_body
from p2pchat.crypto.primitives import XNONCE_BYTES, ed25519_sign, ed25519_verify, hash_tagged, same
from p2pchat.engine.context import Context, RoomCache, Tail
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.ids import EPOCH_ID_BYTES, ID_BYTES, NO_EPOCH, ZERO_ID, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import EpochRow, Head, StoredEvent
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.limits import FUTURE_MS as FUTURE_MS
from p2pchat.wire.limits import MAX_AUTH, MAX_DEPS, MAX_EVENT, MAX_UNSIGNED_RUN
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages.events import Event, Header

HLC_SHIFT = 16
MAX_RUN_BYTES = 48 * 1024
"""An unsigned run and its cover should fit one frame, so nothing has to be parked."""
SIGNATURE = 64
SEAL_OVERHEAD = 40
"""Nonce and tag of a sealed body."""
MAX_HEADER = 1024
"""A header with 8 deps and 8 auth links, and its signature, is smaller than this."""
TOO_LONG_HINT = "send it in parts, or put it where the others can read it and send the path"

_EVENT_TAG = wire.SIGNED


Finish = Callable[[Context, StoredEvent], None]
"""Called in the transaction of an own event once its id is known."""


class Read(NamedTuple):
    """A received event in due form, its id computed; nothing is verified yet."""

    id: EventId
    header: Header
    event: Event

    @property
    def room(self) -> RoomId:
        """A made room bears the id of its `create`, whose own header cannot know it."""
        return RoomId(self.id if self.header.kind == wire.CREATE else self.header.room)


def stamp(wall_ms: int) -> int:
    """Hybrid logical clock value of a wall clock time."""
    return wall_ms << HLC_SHIFT


def event_id(header: bytes, signature: bytes) -> EventId:
    """BLAKE2b-256(tag ‖ header ‖ signature)."""
    return EventId(hash_tagged(wire.TAG_EVENT, header, signature))


def body_hash(body: bytes) -> bytes:
    """BLAKE2b-256(tag ‖ stored body)."""
    return hash_tagged(wire.TAG_BODY, body)


# -- own events ---------------------------------------------------------------------


def append(
    ctx: Context,
    room: RoomCache,
    kind: int,
    plain: bytes,
    key: EpochRow | None,
    finish: Finish,
) -> None:
    """Write the next event of this device's chain in `room`.

    `plain` is the encoded body record; with `key` it is sealed under that epoch.
    `finish` is called in this transaction as soon as the id is known: at once for
    control events, else when the next event of the chain comes or the batch closes.
    Control events are always signed, so they stand without content.
    """
    room_id, control = room.row.id, wire.is_control(kind)
    unsigned, run_bytes = settle(ctx, room, may_stay_unsigned=not control)
    head = room.heads.get(ctx.me.device)
    deps, past = _links_back(ctx, room)
    if head is not None and past < head.hlc <= stamp(ctx.now.wall_ms + FUTURE_MS):
        past = head.hlc
    clock = max(stamp(ctx.now.wall_ms), 1 + past)
    if kind in (wire.ADD, wire.JOIN):  # a whole ms, by which sets tell before from after
        clock = -(-clock >> HLC_SHIFT) << HLC_SHIFT
    header = Header(
        v=1,
        room=room_id,
        device=ctx.me.device,
        seq=head.seq + 1 if head else 1,
        prev=head.id if head else ZERO_ID,
        deps=deps,
        auth=room.graph.heads,
        hlc=clock,
        kind=kind,
        epoch=key.epoch if key else NO_EPOCH,
        body_hash=ZERO_ID,
        body_len=len(plain) + (SEAL_OVERHEAD if key else 0),
    )
    body = plain
    if key is not None and key.key is not None:
        nonce = ctx.entropy.bytes(XNONCE_BYTES)
        body = seal_body(key.key, room_id, ctx.me.device, header.seq, encode(header), plain, nonce)
    header = Header(
        1, header.room, header.device, header.seq, header.prev, deps, header.auth, clock, kind,
        header.epoch, body_hash(body), header.body_len,
    )  # fmt: skip
    if len(body) + MAX_HEADER > MAX_EVENT:
        raise CommandError("too_long", f"{len(plain)} bytes do not fit one message", TOO_LONG_HINT)
    ctx.batch.tails[room_id] = Tail(header, encode(header), body, unsigned, run_bytes, finish)
    ctx.batch.wrote = True
    if control:
        settle(ctx, room, may_stay_unsigned=False)


def create(ctx: Context, plain: bytes) -> StoredEvent:
    """The event that makes a room, not yet recorded: its id becomes the room's."""
    header = Header(
        1, ZERO_ID, ctx.me.device, 1, ZERO_ID, (), (), stamp(ctx.now.wall_ms), wire.CREATE,
        NO_EPOCH, body_hash(plain), len(plain),
    )  # fmt: skip
    raw = encode(header)
    signature = ed25519_sign(ctx.me.signing_key, _EVENT_TAG + raw)
    read = Read(event_id(raw, signature), header, Event(raw, signature, plain))
    return stored_event(read, ctx.now.wall_ms)


def settle(ctx: Context, room: RoomCache, *, may_stay_unsigned: bool) -> tuple[int, int]:
    """Give the open tail of a chain its id; returns length and bytes of the unsigned run."""
    tail = ctx.batch.tails.pop(room.row.id, None)
    if tail is None:
        return 0, 0
    size = tail.unsigned_bytes + len(tail.raw) + len(tail.body)
    leave = may_stay_unsigned and tail.unsigned + 1 < MAX_UNSIGNED_RUN and size < MAX_RUN_BYTES
    signature = b"" if leave else ed25519_sign(ctx.me.signing_key, _EVENT_TAG + tail.raw)
    identity = event_id(tail.raw, signature)
    stored = stored_event(Read(identity, tail.header, Event(tail.raw, signature, tail.body)), ctx.now.wall_ms)
    record(ctx, room, stored)
    ctx.batch.fresh.setdefault(room.row.id, []).append(stored)
    tail.finish(ctx, stored)
    return (tail.unsigned + 1, size) if leave else (0, 0)


def associated_data(header: bytes, body_len: int) -> bytes:
    """The header with `body_hash` zeroed: what a sealed body is bound to.

    `header` in its one encoding, which ends in the 32 bytes of that hash and in `body_len`.
    """
    end = len(header) - (1 if body_len < 128 else 2 if body_len < 256 else 3 if body_len < 65_536 else 5)
    return header[: end - ID_BYTES] + ZERO_ID + header[end:]


def _links_back(ctx: Context, room: RoomCache) -> tuple[tuple[bytes, ...], int]:
    """Newest heads of other devices, at most 8, none from the future; and the greatest clock among
    them, -1 without any. Remembered until one of these heads moves or could become due."""
    if room.links_back is not None:
        return room.links_back
    limit = stamp(ctx.now.wall_ms + FUTURE_MS)
    heads = [head for device, head in room.heads.items() if device != ctx.me.device]
    others = sorted((h for h in heads if h.hlc <= limit), key=lambda head: (-head.hlc, head.id))
    found = tuple(head.id for head in others[:MAX_DEPS]), others[0].hlc if others else -1
    if len(others) == len(heads):
        room.links_back = found
    return found


# -- everybody's events -------------------------------------------------------------


def rank(ctx: Context, room: RoomCache, event: EventId) -> tuple[int, int, EventId]:
    """The order of names, topics and rules: first how many acts the author knew, which nobody can
    invent; a date far ahead would else stand for ever. All in it lies in the event and its past."""
    stored = ctx.ledger.events.get(event)
    if stored is None:
        return -1, 0, event
    auth = tuple(EventId(one) for one in decode(Header, stored.header).auth)
    return room.graph.depth(auth), stored.hlc, event


def stored_event(read: Read, received_ms: int, flags: int = 0) -> StoredEvent:
    """The row of an event."""
    header = read.header
    if header.hlc > stamp(received_ms + FUTURE_MS):
        flags |= StoredEvent.FUTURE
    if read.event.body is None:
        flags |= StoredEvent.ERASED
    event = read.event
    return StoredEvent(
        read.id, event.header, event.signature, event.body, read.room, DeviceId(header.device), header.seq,
        EventId(header.prev), header.hlc, header.kind, EpochId(header.epoch), received_ms, flags,
    )  # fmt: skip


def record(ctx: Context, room: RoomCache, event: StoredEvent) -> None:
    """Put an authentic, allowed event into the log, the heads and the items to count."""
    ctx.ledger.events.add(event)
    ctx.batch.wrote = True
    control = wire.is_control(event.kind)
    if not control and event.hlc < room.late_before:
        room.late = None
    ctx.batch.items.setdefault((event.room, control), []).append((event.hlc >> HLC_SHIFT, event.id))
    head = room.heads.get(event.device)
    if head is None or event.seq > head.seq or (event.seq == head.seq and event.id < head.id):
        room.heads[event.device] = Head(event.seq, event.id, event.hlc)
        if event.device != ctx.me.device:
            room.links_back = None


def flush_items(ctx: Context, room: RoomId, control: bool) -> None:
    """Count in what this very batch has recorded: it is in the log already."""
    fresh = ctx.batch.items.pop((room, control), None)
    if fresh is not None:
        ctx.ledger.items.add(room, control, fresh)


def size(event: Event) -> int:
    """Bytes of an event as it is kept."""
    return len(event.header) + len(event.signature) + len(event.body or b"")


def read_event(event: Event) -> Read:
    """Check the form of a received event; RemoteProtocolError says what is wrong."""
    if size(event) > MAX_EVENT:
        raise RemoteProtocolError("event too large")
    if len(event.signature) not in (0, SIGNATURE):
        raise RemoteProtocolError("signature of wrong length")
    header = decode(Header, event.header)
    if (
        header.v != 1
        or not len(header.room) == len(header.device) == len(header.prev) == len(header.body_hash) == ID_BYTES
        or len(header.epoch) != EPOCH_ID_BYTES
        or any([len(one) != ID_BYTES for one in (*header.deps, *header.auth)])
    ):
        raise RemoteProtocolError("event header with wrong lengths")
    if len(header.deps) > MAX_DEPS or len(header.auth) > MAX_AUTH:
        raise RemoteProtocolError("event header with too many links")
    if not 1 <= header.seq < 2**53 or not 0 <= header.hlc < 2**64 or not 0 < header.kind < 256:
        raise RemoteProtocolError("event header out of range")
    if (header.seq == 1) != (header.prev == ZERO_ID):
        raise RemoteProtocolError("first event with a prev, or a later one without")
    if event.body is not None:
        if len(event.body) != header.body_len or not same(body_hash(event.body), header.body_hash):
            raise RemoteProtocolError("body does not match its header")
    if (header.kind == wire.CREATE) != (header.room == ZERO_ID):
        raise RemoteProtocolError("create in a room, or an event in none")
    control = wire.is_control(header.kind)
    if control and (event.body is None or not event.signature):
        raise RemoteProtocolError("control event without body or signature")
    if control != (header.epoch == NO_EPOCH):
        raise RemoteProtocolError("control event sealed, or content in the clear")
    return Read(event_id(event.header, event.signature), header, event)


def signature_holds(read: Read, signing: bytes) -> bool:
    """Whether the event's own signature is by `signing`."""
    return ed25519_verify(signing, _EVENT_TAG + read.event.header, read.event.signature)


def covered(
    reads: Sequence[Read], holds: Callable[[Read], bool], named: Callable[[Read], bool]
) -> dict[EventId, bool]:
    """Which of `reads` are authentic: id to True, or False for "not yet".

    `holds` judges an own signature; `named` says whether a known allowed cut names an event.
    A run is looked at from its end: an event with a valid signature covers its `prev`, that one
    its own `prev`, for 63 steps, through unsigned events only; one that a cut names covers
    itself and does the same. RemoteProtocolError for a signature that is present but wrong.
    """
    if len(reads) == 1 and reads[0].event.signature:  # chat: it covers nothing but itself
        if not holds(reads[0]):
            raise RemoteProtocolError("event with wrong signature")
        return {reads[0].id: True}
    by_id = {read.id: read for read in reads}
    verdict: dict[EventId, bool] = {}
    for read in reads:
        if read.event.signature:
            if not holds(read):
                raise RemoteProtocolError("event with wrong signature")
            verdict[read.id] = True
    for read in reads:
        if not read.event.signature:
            if not named(read):
                continue
            verdict[read.id] = True
        step, below = 0, by_id.get(EventId(read.header.prev))
        while below is not None and not below.event.signature and step < MAX_UNSIGNED_RUN:
            if below.header.device != read.header.device or below.header.room != read.header.room:
                break
            verdict[below.id] = True
            step += 1
            below = by_id.get(EventId(below.header.prev))
    for read in reads:
        verdict.setdefault(read.id, False)
    return verdict
