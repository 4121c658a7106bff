"""People as this profile knows them: statements, registers, trust and names.

Decides: what is learnt from statements and registers, when a first key is pinned, and
which person a typed name means (docs/protocol.md, "People and machines"). A name
never selects a trust record: it only finds candidates. Does not know: links, events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from p2pchat.crypto.primitives import ed25519_sign, ed25519_verify, tag_bytes, x25519_usable
from p2pchat.engine import accounts
from p2pchat.engine.context import Context
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.model import RegisterRow, TrustRow
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.limits import MAX_NAME
from p2pchat.wire.messages import registers as wire
from p2pchat.wire.messages.network import Reach
from p2pchat.wire.messages.presence import Chosen
from p2pchat.wire.messages.registers import Prekey, Profile, Register, RegisterName, Seen, SignedRegister
from p2pchat.wire.messages.statements import SignedStatement

MAX_STATEMENTS = 256
"""Per account, of those that count; a person with more machines and changes than this is an attack."""
MAX_VOID = 256
"""And of void ones: a stolen machine may have filled the account before it was revoked, and go on."""

_REGISTER_TAG = tag_bytes(wire.TAG_REGISTER)
_VALUES: dict[int, type[Record]] = {
    wire.PREKEY: Prekey,
    wire.PROFILE: Profile,
    wire.PRESENCE: Chosen,
    wire.HAVE: Seen,
    wire.READ: Seen,
    wire.REACH: Reach,
}


# -- statements -----------------------------------------------------------------------


def load(ctx: Context) -> None:
    """Fill the cache of people from the ledger."""
    grouped: dict[AccountId, list[SignedStatement]] = {}
    for account, raw, signature in ctx.ledger.people.statements():
        grouped.setdefault(account, []).append(SignedStatement(raw, signature))
    for signed in grouped.values():
        _install(ctx, accounts.fold([accounts.read_statement(one) for one in signed]))
    for row in ctx.ledger.people.registers(wire.PREKEY):
        ctx.cache.prekeys[row.device] = row
    for row in ctx.ledger.people.registers(wire.PROFILE):
        _install_profile(ctx, row)
    _install_presence(ctx)
    ctx.cache.trust = {row.account: row for row in ctx.ledger.people.trust()}
    ctx.cache.addresses = {(row.host, row.port): row for row in ctx.ledger.people.addresses()}
    ctx.cache.own_prekeys = {row.n: row for row in ctx.ledger.rooms.prekeys()}
    ctx.cache.known_rooms = {row.id: row for row in ctx.ledger.rooms.rooms()}
    ctx.cache.texts = {(text.room, text.field): text for text in ctx.ledger.rooms.texts()}
    ctx.cache.read_receipts = ctx.ledger.people.value("read_receipts") == b"1"
    ctx.cache.file_auto_max = int(ctx.ledger.people.value("file_auto_max") or b"0")


def _install(ctx: Context, account: accounts.Account) -> None:
    ctx.cache.names_changed()
    ctx.cache.accounts[account.id] = account
    for device in account.devices:
        ctx.cache.owner[device] = account.id


def learn_statements(
    ctx: Context, signed: Iterable[SignedStatement], allowed: Iterable[AccountId] | None
) -> list[AccountId]:
    """Take in statements about `allowed` accounts, None: about anybody; returns those that changed.

    Who is in a room with us introduces the others there; how many strangers are kept is
    bounded elsewhere (quota).
    """
    permitted = None if allowed is None else dict.fromkeys(allowed)
    grouped: dict[AccountId, list[accounts.Act]] = {}
    # With its signature: whoever signs can sign the same bytes in two ways, which have two ids, and what
    # builds on one of them is nothing to who knows the other.
    known_of: dict[AccountId, set[SignedStatement]] = {}
    for one in signed:
        whose = accounts.account_of(one)
        if permitted is not None and whose not in permitted:
            continue
        if whose not in known_of:
            standing = ctx.cache.accounts.get(whose)
            known_of[whose] = set(standing.signed) if standing else set()
        if one not in known_of[whose]:  # most are known, and a signature takes a tenth of a millisecond
            known_of[whose].add(one)
            grouped.setdefault(whose, []).append(accounts.read_statement(one))
    changed = []
    for account, fresh in grouped.items():
        known = ctx.cache.accounts.get(account)
        before = set(known.signed) if known else set()
        folded = _bounded(known.acts if known else (), fresh)
        kept = set(folded.signed)
        if kept == before:
            continue
        for act in fresh:
            if act.signed in kept:
                ctx.ledger.people.add_statement(act.id, account, act.signed.statement, act.signed.signature)
        ctx.batch.wrote = True
        _install(ctx, folded)
        changed.append(account)
    return changed


def _bounded(known: Sequence[accounts.Act], fresh: Sequence[accounts.Act]) -> accounts.Account:
    """What is known with what came. RemoteProtocolError if too many of them count; of void ones those
    that come when there are enough are left out, for nobody ever went by them here."""
    folded = accounts.fold([*known, *fresh])
    if folded.counted > MAX_STATEMENTS:
        raise RemoteProtocolError("too many statements")
    before = {act.id for act in known}
    void = [act.id for act in folded.acts[folded.counted :] if act.id not in before]
    spare = len(folded.acts) - folded.counted - MAX_VOID
    if spare <= 0 or not void:
        return folded
    left_out = set(void[-spare:])
    return accounts.fold(act for act in (*known, *fresh) if act.id not in left_out)


# -- registers ------------------------------------------------------------------------


def signed_register(row: RegisterRow) -> SignedRegister:
    """A register as it travels: its one encoding and its signature."""
    body = Register(1, row.device, row.kind, row.room, row.author, row.n, row.value)
    return SignedRegister(encode(body), row.signature)


def read_register(ctx: Context, signed: SignedRegister) -> tuple[RegisterRow, Record] | None:
    """Row and value of a register whose signature holds; None if its device is unknown
    or revoked, or its kind is one we do not know. RemoteProtocolError if it is wrong."""
    body = decode(Register, signed.register)
    device = DeviceId(body.device)
    owner = ctx.cache.owner.get(device)
    if owner is None or body.v != 1:
        return None
    machine = ctx.cache.accounts[owner].devices[device]
    if not ed25519_verify(machine.signing, _REGISTER_TAG + signed.register, signed.signature):
        raise RemoteProtocolError("register with wrong signature")
    kind = _VALUES.get(body.kind)
    if kind is None or machine.revoked:
        return None
    if not 0 < body.n < 2**63:
        raise RemoteProtocolError("register out of range")
    scoped = body.kind in (wire.HAVE, wire.READ)
    if (len(body.room), len(body.author)) != ((32, 32) if scoped else (0, 0)):
        raise RemoteProtocolError("register with wrong key")
    row = RegisterRow(device, body.kind, body.room, body.author, body.n, body.value, signed.signature)
    return row, decode(kind, body.value)


def is_known(ctx: Context, signed: SignedRegister) -> bool:
    """Whether it is the very PREKEY or PROFILE register that is kept: its signature held then."""
    body = decode(Register, signed.register)
    known = None
    if body.kind == wire.PREKEY:
        known = ctx.cache.prekeys.get(DeviceId(body.device))
    elif body.kind == wire.PROFILE:
        owner = ctx.cache.owner.get(DeviceId(body.device))
        known = ctx.cache.profiles.get(owner) if owner is not None else None
    return known is not None and known.n == body.n and signed_register(known) == signed


def learn_register(ctx: Context, row: RegisterRow, value: Record) -> bool:
    """Keep a PREKEY or PROFILE register if it is newer; True if it was."""
    owner = ctx.cache.owner[row.device]
    if isinstance(value, Prekey):
        known = ctx.cache.prekeys.get(row.device)
        if known is not None and known.n >= row.n:
            return False
        if len(value.public) != 32 or not x25519_usable(value.public):
            raise RemoteProtocolError("prekey that cannot be used")
        ctx.cache.prekeys[row.device] = row
    elif isinstance(value, Profile):
        known = ctx.cache.profiles.get(owner)
        if known is not None and (known.n, row.device) >= (row.n, known.device):
            return False
        if not value.name or len(value.name) > MAX_NAME:
            raise RemoteProtocolError("name of wrong length")
        _install_profile(ctx, row)
        trust = ctx.cache.trust.get(owner)
        if trust is not None:
            put_trust(ctx, replace(trust, name=value.name))
    else:
        return False
    ctx.ledger.people.put_register(row)
    ctx.batch.wrote = True
    return True


def _install_profile(ctx: Context, row: RegisterRow) -> None:
    owner = ctx.cache.owner.get(row.device)
    if owner is None:
        return
    known = ctx.cache.profiles.get(owner)
    if known is None or (row.n, known.device) > (known.n, row.device):
        ctx.cache.profiles[owner] = row
        ctx.cache.names_changed()


def _install_presence(ctx: Context) -> None:
    """Of what was chosen on our machines the greatest number counts, then the smaller machine."""
    rows = [
        r
        for r in ctx.ledger.people.registers(wire.PRESENCE)
        if ctx.cache.owner.get(r.device) == ctx.me.account
    ]
    for row in sorted(rows, key=lambda row: (-row.n, row.device))[:1]:
        ctx.cache.presence, ctx.cache.chosen = row, decode(Chosen, row.value)


def publish(ctx: Context, kind: int, value: Record, room: bytes = b"", author: bytes = b"") -> RegisterRow:
    """Sign and keep the next number of one of our own registers."""
    n = 1 + _own_number(ctx, kind, room, author)
    encoded = encode(value)
    raw = encode(Register(1, ctx.me.device, kind, room, author, n, encoded))
    signature = ed25519_sign(ctx.me.signing_key, _REGISTER_TAG + raw)
    row = RegisterRow(ctx.me.device, kind, room, author, n, encoded, signature)
    ctx.ledger.people.put_register(row)
    ctx.batch.wrote = True
    if kind == wire.PREKEY:
        ctx.cache.prekeys[ctx.me.device] = row
    elif kind == wire.PROFILE:
        ctx.cache.profiles[ctx.me.account] = row
        ctx.cache.names_changed()
    return row


def _own_number(ctx: Context, kind: int, room: bytes, author: bytes) -> int:
    if kind == wire.PREKEY:
        known = ctx.cache.prekeys.get(ctx.me.device)
        return known.n if known else 0
    if kind == wire.PRESENCE:
        return ctx.cache.presence.n if ctx.cache.presence else 0
    if kind == wire.PROFILE:  # belongs to the person: 1 + the greatest known of the account
        known = ctx.cache.profiles.get(ctx.me.account)
        return known.n if known else 0
    own = own_register(ctx, kind, room, author)
    return own.n if own else 0


def own_register(ctx: Context, kind: int, room: bytes, author: bytes) -> RegisterRow | None:
    """What this machine last signed under that name."""
    return ctx.ledger.people.register(ctx.me.device, kind, room, author)


def check_names(names: tuple[RegisterName, ...]) -> None:
    """RemoteProtocolError unless these could name registers: no number that no column holds."""
    for name in names:
        sizes = {len(name.room), len(name.author)}
        if (
            not 0 < name.n < 2**63
            or not 0 < name.kind < 256
            or len(name.device) != 32
            or not sizes <= {0, 32}
        ):
            raise RemoteProtocolError("register named out of range")


def public_registers(ctx: Context, account: AccountId) -> list[RegisterRow]:
    """The newest prekeys and the profile of a person, as anybody in a common room may have them."""
    found = [ctx.cache.prekeys.get(device.id) for device in ctx.cache.accounts[account].active()]
    return [row for row in (*found, ctx.cache.profiles.get(account)) if row is not None]


def name_of(row: RegisterRow) -> RegisterName:
    """How a register is offered."""
    return RegisterName(row.device, row.kind, row.room, row.author, row.n)


# -- trust and names --------------------------------------------------------------------


def put_trust(ctx: Context, row: TrustRow) -> None:
    """Write what is decided about a person."""
    known = ctx.cache.trust.get(row.account)
    if known is None or (known.name, known.successor_of) != (row.name, row.successor_of):
        ctx.cache.names_changed()
    ctx.cache.trust[row.account] = row
    ctx.cache.meant.clear()
    ctx.ledger.people.put_trust(row)
    ctx.batch.wrote = True


def pin(ctx: Context, account: AccountId) -> bool:
    """Remember a person at first contact as unverified; True if this was the first."""
    known = ctx.cache.trust.get(account)
    if known is not None:
        return False
    put_trust(ctx, first_met(ctx, account, name(ctx, account)))
    return True


def first_met(ctx: Context, account: AccountId, called: str) -> TrustRow:
    """Somebody new. When he was first seen is told by this machine's own clock: others must not
    make it look long ago."""
    now = ctx.now.wall_ms
    return TrustRow(account, False, False, called, None, now - ctx.shift_ms, now)


def name(ctx: Context, account: AccountId) -> str:
    """What a person is called: his profile's name, the pinned one, or his fingerprint."""
    row = ctx.cache.profiles.get(account)
    if row is not None:
        # Names carry no # or @ (these mark rooms and people where a name is typed).
        return decode(Profile, row.value).name.lstrip("#@ ") or account.hex()[:8]
    trust = ctx.cache.trust.get(account)
    return trust.name if trust and trust.name else account.hex()[:8]
