"""Machines of one person in step: what is in no room.

Decides: which decisions follow a person to his other machines, which of two counts, and what is
said when two of them meet (docs/decisions/0013). Does not know: what is in rooms, which own
machines repair like everybody's, or how a setting is written down (daemon).

An entry is `{key, value, hlc, device}`; of each key the greatest (hlc, device) counts. Keys:
`trust:<account>`, `mute:<room>`, `auto:<account>`, `set:<setting>`, `name:<device>`. They travel on
links between own machines alone, unsigned: a machine of one's own may decide all of this anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from p2pchat.crypto.primitives import hash_tagged
from p2pchat.engine import custody, frames, outbox, overview, people, ranges, rooms, sync, transfers
from p2pchat.engine.context import Context, Link
from p2pchat.engine.inputs import CloseLink, Send, Tell
from p2pchat.engine.log import HLC_SHIFT, stamp
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import ID_BYTES, AccountId, DeviceId
from p2pchat.model import DIRECT, TrustRow
from p2pchat.wire.codec import decode, encode, portions
from p2pchat.wire.limits import FUTURE_MS, MAX_NAME
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages.devices import OwnChats, OwnDigest, OwnEntry, OwnState, TrustSaid

TRUST: Final = "trust:"
MUTE: Final = "mute:"
AUTO: Final = "auto:"
SETTING: Final = "set:"
NAME: Final = "name:"
OF_IDS: Final = (TRUST, MUTE, AUTO, NAME)
DUE: Final = "due:"
"""Before a setting's name in the archive's table of values: another machine's, not yet written down."""
KEPT: Final = "own:"
"""Before an entry's key in the archive's table of values."""
DIGEST_TAG: Final = "p2pchat/own/1"
MAX_VALUE: Final = 1024
MAX_HLC: Final = 1 << 62
"""So that whatever is decided next can be dated after it: some 2,000 years are left."""
MAX_ENTRIES: Final = 65_536
"""More than a person decides in his life; a stolen machine must not fill the others."""
SETTINGS: Final = ("name", "read_receipts", "file_auto_max")
"""Settings that are the person's; ports, folders and interfaces are the machine's."""
CHATS: Final = 1024
"""Accounts in one frame."""


def entries(ctx: Context) -> dict[str, OwnEntry]:
    """All that is decided, by key."""
    if ctx.cache.own is None:
        found = [decode(OwnEntry, raw) for _, raw in ctx.ledger.people.values(KEPT)]
        ctx.cache.own = {entry.key: entry for entry in found}
    return ctx.cache.own


def device_name(ctx: Context, device: DeviceId) -> str:
    """What the person calls one of his machines, this one till then by its host's name, or ""."""
    entry = entries(ctx).get(NAME + device.hex())
    if entry is not None:
        return entry.value.decode()
    return ctx.live.machine if device == ctx.me.device else ""


def put(ctx: Context, key: str, value: bytes) -> None:
    """The person has decided something here: keep it, and tell his other machines."""
    known = entries(ctx).get(key)
    if known is not None and known.value == value:
        return
    hlc = stamp(ctx.now.wall_ms)
    # Those far ahead a machine left whose clock was wrong, which others by our side tell: they take no part.
    if known is not None and not (_ahead(ctx, known) and ctx.live.by_device):
        hlc = max(hlc, 1 + known.hlc)
    if key.startswith(SETTING):
        written_down(ctx, key[len(SETTING) :], None)
    entry = OwnEntry(key, value, hlc, ctx.me.device)
    _keep(ctx, entry)
    for link in _own_links(ctx):
        ctx.out.append(Send(link.link, OwnState((entry,))))


def started(ctx: Context) -> None:
    """What another machine had set and was not written down before the end: once more."""
    for key, value in ctx.ledger.people.values(DUE):
        if value:
            ctx.out.append(Tell("setting", (key[len(DUE) :], _text(value))))


def written_down(ctx: Context, setting: str, value: bytes | None) -> None:
    """A setting stands in the file here, or what it was is of no interest any more (None)."""
    due = ctx.ledger.people.value(DUE + setting)
    if due and value in (None, due):
        ctx.ledger.people.put_value(DUE + setting, b"")
        ctx.batch.wrote = True


def decided(ctx: Context, account: AccountId) -> None:
    """What is decided about somebody's key has changed."""
    row = ctx.cache.trust[account]
    said = TrustSaid(row.verified, row.blocked, row.name, row.successor_of or b"", row.first_seen_ms)
    put(ctx, TRUST + account.hex(), encode(said))


# -- two machines meet -----------------------------------------------------------------------


def met(ctx: Context, link: Link) -> None:
    """Another machine of ours is there: the people we write to, and whether we are in step."""
    if link.account != ctx.me.account:
        return
    known = entries(ctx)
    if NAME + ctx.me.device.hex() not in known and ctx.live.machine:
        put(ctx, NAME + ctx.me.device.hex(), ctx.live.machine.encode())
    _introduce(ctx, link)
    _read_marks(ctx, link)
    ctx.out.append(Send(link.link, OwnDigest(_digest(ctx))))


def again(ctx: Context) -> None:
    """Now and then: chats that were begun since another machine of ours came."""
    for link in _own_links(ctx):
        _introduce(ctx, link)


def gone(ctx: Context, number: int) -> None:
    """A link has ended."""
    for place in [place for place in ctx.live.introduced if place[0] == number]:
        del ctx.live.introduced[place]


def _own_links(ctx: Context) -> list[Link]:
    links = (ctx.live.links[number] for number in ctx.live.by_device.values())
    return [link for link in links if link.account == ctx.me.account]


def _digest(ctx: Context) -> bytes:
    known = entries(ctx)
    return hash_tagged(DIGEST_TAG, *(encode(known[key]) for key in sorted(known)))


def _introduce(ctx: Context, link: Link) -> None:
    """Those with whom we have a chat, and those about whom something is decided: so that the other
    machine knows whose chat an id is, and can seal to somebody it never met."""
    chats = [
        row.peer
        for _, row in sorted(ctx.cache.known_rooms.items())
        if row.kind == DIRECT and row.peer is not None and rooms.room(ctx, row.id).heads
    ]
    decided_about = [
        AccountId(bytes.fromhex(key[len(TRUST) :])) for key in entries(ctx) if key.startswith(TRUST)
    ]
    told = [
        account
        for account in dict.fromkeys((*chats, *sorted(decided_about)))
        if account in ctx.cache.accounts
    ]
    fresh = [account for account in told if (link.link, account) not in ctx.live.introduced]
    statements = [signed for account in fresh for signed in ctx.cache.accounts[account].signed]
    ctx.out.extend(Send(link.link, wire.Statements(run)) for run in portions(statements, frames.FRAME_BYTES))
    signed = [
        people.signed_register(row) for account in fresh for row in people.public_registers(ctx, account)
    ]
    ctx.out.extend(Send(link.link, wire.Registers(run)) for run in portions(signed, frames.FRAME_BYTES))
    new_chats = [account for account in chats if account in fresh]
    for at in range(0, len(new_chats), CHATS):
        ctx.out.append(Send(link.link, OwnChats(tuple(new_chats[at : at + CHATS]))))
    for account in fresh:
        ctx.live.introduced[link.link, account] = None


def _read_marks(ctx: Context, link: Link) -> None:
    """All that was read here; what was read of messages the other has not yet, it remembers."""
    for room in rooms.common(ctx, link):
        for author in sorted(room.read):
            mark = outbox.read_mark(ctx, room, author)
            if mark is not None:
                ctx.out.append(Send(link.link, mark))


def catch_up(ctx: Context) -> None:
    """At the end of a batch: what it brought and another machine of ours has shown already is read."""
    devices = ctx.cache.accounts[ctx.me.account].devices
    for room_id, author in ctx.batch.receipts if len(devices) > 1 else ():
        room = rooms.room(ctx, room_id)
        elsewhere: ranges.Ranges = ()
        for device in devices:
            elsewhere = ranges.union(elsewhere, room.their_read.get((device, author), ()))
        if elsewhere:
            outbox.read_elsewhere(ctx, room, author, ranges.both(elsewhere, room.have.get(author, ())))


# -- what the other says ---------------------------------------------------------------------


def heard(ctx: Context, link: Link, message: OwnDigest | OwnState | OwnChats) -> None:
    """A machine of ours speaks; RemoteProtocolError from anybody else."""
    if link.account != ctx.me.account:
        raise RemoteProtocolError("frame out of place")
    match message:
        case OwnDigest(digest):
            if digest != _digest(ctx):
                ctx.out.extend(
                    Send(link.link, OwnState(run)) for run in portions(_ordered(ctx), frames.FRAME_BYTES)
                )
        case OwnState(said):
            for entry in said:
                _take(ctx, entry)
        case OwnChats(accounts):
            for account in accounts:
                _take_chat(ctx, link, AccountId(account))


def _ordered(ctx: Context) -> Iterator[OwnEntry]:
    known = entries(ctx)
    return (known[key] for key in sorted(known))


def _take_chat(ctx: Context, link: Link, account: AccountId) -> None:
    if account not in ctx.cache.accounts or account == ctx.me.account:
        return
    people.pin(ctx, account)
    before = rooms.direct_id(ctx.me.account, account) in ctx.cache.known_rooms
    room = rooms.direct(ctx, account)
    if not before or not room.heads:
        sync.begin_with(ctx, link, room)


def _take(ctx: Context, entry: OwnEntry) -> None:
    _check(entry)
    known = entries(ctx)
    ours = known.get(entry.key)
    # Dated far ahead it would stand against every later decision; what was decided by a good clock counts.
    if ours is not None and _ahead(ctx, entry) != _ahead(ctx, ours):
        if _ahead(ctx, entry):
            return
    elif ours is not None and (ours.hlc, ours.device) >= (entry.hlc, entry.device):
        return
    if ours is None and len(known) >= MAX_ENTRIES:
        raise RemoteProtocolError("too many own entries")
    if entry.key == TRUST + ctx.me.account.hex():
        return  # nobody is blocked by himself: machines of ours would not let each other in
    _keep(ctx, entry)
    _apply(ctx, entry)


def _ahead(ctx: Context, entry: OwnEntry) -> bool:
    return entry.hlc >> HLC_SHIFT > ctx.now.wall_ms + FUTURE_MS


def _check(entry: OwnEntry) -> None:
    prefix, _, rest = entry.key.partition(":")
    prefix += ":"
    of_an_id = prefix in OF_IDS and len(rest) == 2 * ID_BYTES and set(rest) <= set("0123456789abcdef")
    if not (of_an_id or (prefix == SETTING and rest in SETTINGS)):
        raise RemoteProtocolError("own entry of unknown kind")
    if len(entry.value) > MAX_VALUE or len(entry.device) != ID_BYTES or not 0 <= entry.hlc < MAX_HLC:
        raise RemoteProtocolError("own entry out of range")
    if prefix == NAME and not 0 < len(_text(entry.value)) <= MAX_NAME:
        raise RemoteProtocolError("own entry out of range")
    if prefix == TRUST:
        said = decode(TrustSaid, entry.value)
        if (
            len(said.name) > MAX_NAME
            or len(said.successor_of) not in (0, ID_BYTES)
            or not 0 <= said.first_seen_ms < 2**48
        ):
            raise RemoteProtocolError("own entry out of range")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("own entry out of range") from error


def _apply(ctx: Context, entry: OwnEntry) -> None:
    prefix, _, rest = entry.key.partition(":")
    match prefix + ":":
        case "trust:":
            _trust(ctx, AccountId(bytes.fromhex(rest)), decode(TrustSaid, entry.value))
        case "mute:":
            ctx.ledger.people.put_value(overview.MUTED + rest, entry.value)
        case "auto:":
            ctx.ledger.people.put_value(transfers.auto_key(AccountId(bytes.fromhex(rest))), entry.value)
        case "set:":
            ctx.ledger.people.put_value(DUE + rest, entry.value)
            ctx.out.append(Tell("setting", (rest, _text(entry.value))))


def _trust(ctx: Context, account: AccountId, said: TrustSaid) -> None:
    known = ctx.cache.trust.get(account)
    seen = known.last_seen_ms if known is not None else said.first_seen_ms
    successor = AccountId(said.successor_of) if said.successor_of else None
    name = known.name if known is not None and known.name else said.name
    row = TrustRow(account, said.verified, said.blocked, name, successor, said.first_seen_ms, seen)
    people.put_trust(ctx, row)
    custody.look_at_all(ctx)
    if said.blocked:
        ctx.out.extend(
            CloseLink(one.link, "refused") for one in ctx.live.links.values() if one.account == account
        )
    if account in ctx.cache.accounts:
        ctx.out.append(Tell("peer", account))


def _keep(ctx: Context, entry: OwnEntry) -> None:
    entries(ctx)[entry.key] = entry
    ctx.ledger.people.put_value(KEPT + entry.key, encode(entry))
    ctx.batch.wrote = True
