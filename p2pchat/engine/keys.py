"""Which key a room is sealed under, and who gets it.

Decides: when a new epoch is started and for whom it is sealed, which epoch a sender
uses, whether a request for a key is answered, and the life of our own prekeys
(docs/protocol.md, "Rooms": epoch, seal, "Keys are given"). Does not know: messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from p2pchat.crypto import epochs as crypto
from p2pchat.crypto.primitives import x25519_public
from p2pchat.engine import acts, log, people, rooms
from p2pchat.engine.context import Context, Link, Prepared, RoomCache
from p2pchat.engine.inputs import Send
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import EPOCH_ID_BYTES, AccountId, DeviceId, EpochId, EventId
from p2pchat.model import EpochRow, PrekeyRow, StoredEvent
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.limits import KEEP_PREKEY_MS, MAX_SEALS, WEEK_MS
from p2pchat.wire.messages import events as wire
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.link import KeyRequest, Keys
from p2pchat.wire.messages.registers import Prekey
from p2pchat.wire.messages.rooms import ALL, MEMBER

ROTATE_SPREAD_S: Final = 60.0
LARGE: Final = 64
"""Machines or people of a room whose next key is sealed beforehand: fewer cost 4 ms."""
SEALS_AT_ONCE: Final = 64
"""Seals in one step: 4 ms."""
PREPARE_S: Final = 1.0
ANSWER_S: Final = 2.0
"""A machine asked for keys has this long before the next one is asked."""
LONGEST_PAUSE_S: Final = 600.0
"""Between two rounds in which all are asked for a key that nobody gave."""


# -- choosing and starting epochs -------------------------------------------------------


def member_hash(room: RoomCache) -> bytes:
    """Hash of who may read under an epoch started now."""
    return _hash_of(room.accounts, room.graph.revoked)


def _hash_of(accounts: Iterable[bytes], revoked: Iterable[bytes]) -> bytes:
    return crypto.member_hash(encode(wire.MemberSet(tuple(sorted(accounts)), tuple(sorted(revoked)))))


def current(ctx: Context, room: RoomCache) -> EpochRow:
    """The epoch to send under; started here if there is none that fits."""
    chosen = room.sending or fitting(ctx, room)
    if chosen is None:
        return start(ctx, room)
    room.sending = chosen
    if _old(ctx, chosen):
        # Still send under it: the new one should not stand between a person and his message.
        ctx.timer(f"rotate:{room.row.id.hex()}", ctx.now.mono + ROTATE_SPREAD_S * ctx.entropy.random())
    return chosen


def fitting(ctx: Context, room: RoomCache) -> EpochRow | None:
    """The epoch that what is sent now goes under, of those there are; None if none may be used."""
    wanted = member_hash(room)
    found = [e for e in room.epochs.values() if e.member_hash == wanted and _usable(ctx, room, e)]
    return min(found, key=lambda e: (-e.gen, e.epoch), default=None)


def _usable(ctx: Context, room: RoomCache, epoch: EpochRow) -> bool:
    """Whether we may send under it: never under a key that a person knows who is out, or a machine that is
    revoked: each could have prepared one for the time after; nor one that was announced without right."""
    event = ctx.ledger.events.get(epoch.event)
    if epoch.key is None or event is None or epoch.event in room.graph.void:
        return False
    return event.device not in room.graph.revoked and ctx.cache.owner[event.device] in room.graph.members


def rotate(ctx: Context, room: RoomCache) -> None:
    """Start a new epoch if nobody did since the timer was set; in a large room in several steps, of
    which only the last one writes."""
    fitting = [e for e in room.epochs.values() if e.member_hash == member_hash(room)]
    if not fitting or not all(_old(ctx, epoch) for epoch in fitting):
        return
    if prepare(ctx, room):
        start(ctx, room)
    else:
        ctx.timer(f"rotate:{room.row.id.hex()}", ctx.now.mono)


def prepare(ctx: Context, room: RoomCache) -> bool:
    """Seal the key of the next epoch for some of a large room's machines; True if none is left.

    500 seals stop everything for 28 ms, so they are made beforehand, a slice at a time, and kept in
    memory: nothing is written or sent before `start`, which takes of them what fits the members of
    then. After a restart there is another key.
    """
    wanted = _receivers(ctx, room)
    if len(wanted) < LARGE:
        return True
    known = ctx.live.prepared.get(room.row.id) or Prepared(ctx.entropy.bytes(32), {})
    sealed = {place: box for place in wanted if (box := known.sealed.get(place)) is not None}
    lacking = [place for place in wanted if place not in sealed]
    for device, number in lacking[:SEALS_AT_ONCE]:
        sealed[device, number] = _seal_for(ctx, device, known.key)
    ctx.live.prepared[room.row.id] = Prepared(known.key, sealed)
    return len(lacking) <= SEALS_AT_ONCE


def prepare_soon(ctx: Context, room: RoomCache) -> None:
    """Whoever may remove somebody has the next key of a large room ready."""
    member = room.graph.members.get(ctx.me.account)
    if member is not None and member.role != MEMBER and len(room.accounts) >= LARGE:
        ctx.timer(f"prepare:{room.row.id.hex()}", ctx.now.mono + PREPARE_S)


def go_on(ctx: Context, room: RoomCache) -> None:
    """The timer of `prepare_soon`."""
    if not prepare(ctx, room):
        ctx.timer(f"prepare:{room.row.id.hex()}", ctx.now.mono)


def _receivers(ctx: Context, room: RoomCache) -> list[tuple[DeviceId, int]]:
    """The room's machines whose prekey is known, with its number; the others ask for the key when
    they connect."""
    prekeys = ctx.cache.prekeys
    return [(one, prekeys[one].n) for one in rooms.devices(ctx, room) if one in prekeys]


def _seal_for(ctx: Context, device: DeviceId, key: bytes) -> bytes:
    public = decode(Prekey, ctx.cache.prekeys[device].value).public
    return crypto.seal_epoch_key(public, key, ctx.entropy.bytes(32))


def _old(ctx: Context, epoch: EpochRow) -> bool:
    return (epoch.hlc >> log.HLC_SHIFT) + WEEK_MS < ctx.now.wall_ms


def start(ctx: Context, room: RoomCache) -> EpochRow:
    """Make a key, announce it and seal it to every machine whose prekey is known: all or nothing, for
    it is one transaction."""
    prepared = ctx.live.prepared.pop(room.row.id, None) or Prepared(ctx.entropy.bytes(32), {})
    key = prepared.key
    epoch = crypto.epoch_id(key)
    gen = 1 + max((known.gen for known in room.epochs.values()), default=0)
    members = member_hash(room)
    shareable = room.graph.settings.history == ALL
    rows: list[EpochRow] = []
    body = wire.Epoch(1, epoch, gen, members, shareable)

    def announced(ctx: Context, event: StoredEvent) -> None:
        row = EpochRow(room.row.id, epoch, gen, members, shareable, key, event.id, event.hlc)
        rows.append(row)
        _keep(ctx, room, row)
        acts.add(ctx, room, event, body)

    log.append(ctx, room, wire.EPOCH, encode(body), None, announced)
    sealed = []
    for device, number in _receivers(ctx, room):
        box = prepared.sealed.get((device, number)) or _seal_for(ctx, device, key)
        sealed.append(wire.SealedKey(device, number, box))
    for first in range(0, len(sealed), MAX_SEALS):
        _seal(ctx, room, wire.Seal(1, epoch, tuple(sealed[first : first + MAX_SEALS])))
    room.sending = rows[0]
    prepare_soon(ctx, room)
    return rows[0]


def _seal(ctx: Context, room: RoomCache, part: wire.Seal) -> None:
    def finish(ctx: Context, event: StoredEvent) -> None:
        acts.add(ctx, room, event, part)

    log.append(ctx, room, wire.SEAL, encode(part), None, finish)


def _keep(ctx: Context, room: RoomCache, row: EpochRow) -> None:
    room.epochs[row.epoch] = row
    room.sending = None
    if row.key is not None:
        ctx.live.key_pauses.pop(room.row.id, None)  # who gave it may have others
    ctx.ledger.rooms.put_epoch(row)
    ctx.batch.wrote = True


# -- learning keys ----------------------------------------------------------------------


def heard_epoch(ctx: Context, room: RoomCache, event: StoredEvent, body: wire.Epoch) -> None:
    """Somebody announced an epoch."""
    if not 0 < body.gen < 2**53 or len(body.epoch_id) != EPOCH_ID_BYTES or len(body.member_hash) != 32:
        raise RemoteProtocolError("epoch out of range")
    if EpochId(body.epoch_id) in room.epochs:
        return  # announced before: who repeats it changes nothing
    highest = max((known.gen for known in room.epochs.values()), default=0)
    row = EpochRow(
        room.row.id,
        EpochId(body.epoch_id),
        min(body.gen, highest + 1),  # nobody takes away all numbers that others could give
        body.member_hash,
        body.shareable,
        None,
        event.id,
        event.hlc,
    )
    _keep(ctx, room, row)


def heard_seal(ctx: Context, room: RoomCache, body: wire.Seal) -> EpochId | None:
    """Open our copy in a seal; the epoch if its key is new here.

    A copy that does not open is the sealer's fault and costs us nothing: the key can
    still be asked for, so it is passed over rather than held against who relays it.
    """
    row = room.epochs.get(EpochId(body.epoch_id))
    if row is None or row.key is not None:
        return None
    for sealed in body.keys:
        prekey = ctx.cache.own_prekeys.get(sealed.n)
        if sealed.device != ctx.me.device or prekey is None or not prekey.secret:
            continue
        try:
            key = crypto.open_epoch_key(prekey.secret, sealed.sealed, row.epoch)
        except RemoteProtocolError:
            continue
        _keep(ctx, room, replace(row, key=key))
        return row.epoch
    return None


def ask(ctx: Context, link: Link, room: RoomCache, wanted: list[EpochId]) -> None:
    """Ask the peer of `link` for keys we lack, once in a round, as many as are answered at once."""
    place = (link.link, room.row.id)
    asked = ctx.live.asked_now.get(place, frozenset())
    fresh = sorted(epoch for epoch in dict.fromkeys(wanted) if epoch not in asked)[:MAX_SEALS]
    if fresh:
        ctx.live.asked_now[place] = asked | frozenset(fresh)
        ctx.live.asked_keys[place] = ctx.live.asked_keys.get(place, frozenset()) | frozenset(fresh)
        ctx.out.append(Send(link.link, KeyRequest(room.row.id, tuple(fresh))))
    if wanted:  # whom to ask next, if this one has no key for what has just come
        ctx.timer(_timer_of(room), ctx.now.mono + ANSWER_S)


def ask_ahead(ctx: Context, link: Link, room: RoomCache) -> None:
    """All acts are here, what was said is asked for next: the keys shall come before it."""
    ask(ctx, link, room, _lacking(room))


def ask_again(ctx: Context, link: Link, room: RoomCache) -> None:
    """A link has come up, or a repair is done: whom we asked before may have had no key then."""
    lacking = _lacking(room)
    if lacking:
        ctx.live.asked_now.pop((link.link, room.row.id), None)
        ask(ctx, link, room, lacking)


def ask_next(ctx: Context, room: RoomCache) -> None:
    """Nobody has answered: ask the next machine that is there, own ones first.

    When all were asked and something waits to be read, all are asked again after a pause, longer
    each time: whoever had no key then may have it now. What nobody waits for is asked for once.
    """
    lacking, place = _lacking(room), room.row.id
    links = sorted(rooms.links_of(ctx, room), key=lambda one: (one.account != ctx.me.account, one.device))
    for link in links:
        asked = ctx.live.asked_now.get((link.link, place), frozenset())
        if any(epoch not in asked for epoch in lacking):
            ask(ctx, link, room, lacking)
            return
    waited_for = set(ctx.ledger.events.waited_for(place) if lacking and links else ()) & set(lacking)
    if not waited_for:
        ctx.live.key_pauses.pop(place, None)
        return  # a link that comes up, or an event without its key, begins anew
    length, until = ctx.live.key_pauses.get(place, (ANSWER_S, 0.0))
    if not until:
        length = min(2 * length, LONGEST_PAUSE_S)
        until = ctx.now.mono + length
    elif until <= ctx.now.mono:
        for link in links:
            asked = ctx.live.asked_now.get((link.link, place), frozenset())
            ctx.live.asked_now[link.link, place] = asked - waited_for
        until = 0.0
        ask(ctx, links[0], room, sorted(waited_for))
    ctx.live.key_pauses[place] = (length, until)
    if until:
        ctx.timer(_timer_of(room), until)


def _lacking(room: RoomCache) -> list[EpochId]:
    return [epoch.epoch for epoch in room.epochs.values() if epoch.key is None]


def seek(ctx: Context, room: RoomCache) -> None:
    """Something has come that waits for a key."""
    ctx.timer(_timer_of(room), ctx.now.mono + ANSWER_S)


def _timer_of(room: RoomCache) -> str:
    return f"keys:{room.row.id.hex()}"


def give(ctx: Context, link: Link, request: KeyRequest) -> None:
    """Answer a request by state: any unrevoked machine of a member of the epoch's set, or of a
    member of now where epoch and room share what was before."""
    room = rooms.room_with(ctx, link, request.room)
    if room is None or link.device in room.graph.revoked:
        return
    found = []
    for epoch in request.epochs[:MAX_SEALS]:
        row = room.epochs.get(EpochId(epoch))
        if row is not None and row.key is not None and may_have(ctx, room, row, link.account):
            found.append(row.key)
    if found:
        ctx.out.append(Send(link.link, Keys(request.room, tuple(found))))


def may_have(ctx: Context, room: RoomCache, row: EpochRow, account: AccountId) -> bool:
    """Whether somebody is given that key when he asks (docs/protocol.md, "Keys are given")."""
    if row.shareable and account in room.graph.members and room.graph.settings.history == ALL:
        return True
    event = ctx.ledger.events.get(row.event)
    if event is None:
        return False
    auth = tuple(EventId(one) for one in decode(wire.Header, event.header).auth)
    members = room.graph.members_at(auth)
    return account in members and row.member_hash == _hash_of(members, room.graph.revoked_at(auth))


def take(ctx: Context, link: Link, room: RoomCache, keys: Keys) -> list[EpochId]:
    """Keep keys that were asked of this link; returns the epochs that can be read now."""
    asked = ctx.live.asked_keys.get((link.link, room.row.id), frozenset())
    learnt = []
    for key in keys.keys[:MAX_SEALS]:
        if len(key) != 32:
            raise RemoteProtocolError("epoch key of wrong length")
        epoch = crypto.epoch_id(key)
        row = room.epochs.get(epoch)
        if epoch in asked and row is not None and row.key is None:
            _keep(ctx, room, replace(row, key=key))
            learnt.append(epoch)
    return learnt


def open_plain(room: RoomCache, event: StoredEvent, header: wire.Header | None = None) -> bytes | None:
    """The plaintext body of a content event, None while body or key is missing, empty where its
    author sealed it wrongly: no fault of who relays it, who may not have the key."""
    epoch = room.epochs.get(event.epoch)
    if event.body is None or epoch is None or epoch.key is None:
        return None
    known = header or decode(wire.Header, event.header)
    ad = log.associated_data(event.header, known.body_len)
    try:
        return crypto.open_body(epoch.key, event.room, event.device, event.seq, ad, event.body)
    except RemoteProtocolError:
        return b""


# -- our own prekeys ----------------------------------------------------------------------


def tend_prekeys(ctx: Context, generate: Callable[[], bytes], repaired_all_ms: int | None) -> bool:
    """Publish a prekey when the newest is a week old; delete secrets nobody needs.

    A secret goes 21 days after another machine first saw its successor, and only if a
    repair of all rooms was completed since then. True if a new one was published.
    """
    newest = max(ctx.cache.own_prekeys.values(), key=lambda row: row.n, default=None)
    if repaired_all_ms is not None:
        for row in list(ctx.cache.own_prekeys.values()):
            seen = row.replaced_seen_ms
            if row is not newest and row.secret and seen is not None:
                due = seen + KEEP_PREKEY_MS
                if ctx.now.wall_ms >= due and repaired_all_ms >= due:
                    _put_prekey(ctx, replace(row, secret=b""))
    if newest is not None and newest.made_ms + WEEK_MS > ctx.now.wall_ms:
        return False
    secret = generate()
    published = people.publish(ctx, registers.PREKEY, Prekey(x25519_public(secret)))
    _put_prekey(ctx, PrekeyRow(published.n, x25519_public(secret), secret, ctx.now.wall_ms, None))
    return True


def prekey_seen(ctx: Context) -> None:
    """Another machine has our newest prekey: older ones begin to age."""
    newest = max(ctx.cache.own_prekeys, default=0)
    for row in list(ctx.cache.own_prekeys.values()):
        if row.n < newest and row.replaced_seen_ms is None:
            _put_prekey(ctx, replace(row, replaced_seen_ms=ctx.now.wall_ms))


def _put_prekey(ctx: Context, row: PrekeyRow) -> None:
    ctx.cache.own_prekeys[row.n] = row
    ctx.ledger.rooms.put_prekey(row)
    ctx.batch.wrote = True
