"""People and their machines: the graph of signed statements.

Decides: which statements of an account hold, and so which devices it has, which are
revoked and whether somebody succeeds it (docs/protocol.md, "People and machines").
Does not know: names, trust, links or rooms.

A statement is an act of a device or of the recovery key. It holds if its signature
does, if its author's own add is among its ancestors, and if no revocation that itself
holds makes it void. The outcome depends on the set of statements only, never on the
order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from p2pchat.crypto.identity import account_id, device_id
from p2pchat.crypto.primitives import (
    ed25519_keypair,
    ed25519_sign,
    ed25519_verify,
    hash_tagged,
    same,
    tag_bytes,
)
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.limits import MAX_STATEMENT_PREV
from p2pchat.wire.messages import statements as wire
from p2pchat.wire.messages.link import Hello
from p2pchat.wire.messages.statements import SignedStatement, Statement

KEY = 32
RECOVERY = DeviceId(b"")
"""Stands for the recovery key where an author is named."""


@dataclass(frozen=True, slots=True)
class Act:
    """A statement whose signature holds, read once."""

    id: bytes
    account: AccountId
    prev: tuple[bytes, ...]
    kind: int
    by: bytes
    subject: Record
    signed: SignedStatement


@dataclass(frozen=True, slots=True)
class Device:
    """One machine of an account."""

    id: DeviceId
    signing: bytes
    noise: bytes
    depth: int  # longest `prev` path of its add; the genesis has 0
    revoked: bool


@dataclass(frozen=True, slots=True)
class Account:
    """What an account's statements come to. `devices` is ordered by depth, then id."""

    id: AccountId
    devices: dict[DeviceId, Device]
    recovery: bytes
    retired: bool
    successor: AccountId | None
    heads: tuple[bytes, ...]
    signed: tuple[
        SignedStatement, ...
    ]  # parents first; those that count, and what they build on, before void ones
    acts: tuple[Act, ...]  # the same, read
    counted: int  # how many of `signed` these are
    defences: tuple[Act, ...]  # by which a machine stays that a lower one had revoked

    @property
    def revoked(self) -> bool:
        """No machine is left, or the account was given up."""
        return self.retired or all(device.revoked for device in self.devices.values())

    def active(self) -> list[Device]:
        """Machines that are not revoked, in the order of `devices`."""
        return [device for device in self.devices.values() if not device.revoked]


def make_statement(
    seed: bytes, account: bytes, prev: Iterable[bytes], kind: int, subject: Record
) -> SignedStatement:
    """A statement signed with the Ed25519 key of `seed` (32 bytes)."""
    public, signing = ed25519_keypair(seed)
    raw = encode(Statement(1, account, tuple(sorted(prev)), kind, encode(subject), public))
    return SignedStatement(raw, ed25519_sign(signing, tag_bytes(wire.TAG_STATEMENT) + raw))


def make_genesis(signing_seed: bytes, noise_public: bytes, recovery_public: bytes) -> SignedStatement:
    """The first statement of a new account, signed by its first device."""
    public, _ = ed25519_keypair(signing_seed)
    return make_statement(
        signing_seed, b"", (), wire.GENESIS, wire.Genesis(public, noise_public, recovery_public)
    )


def read_statement(signed: SignedStatement) -> Act:
    """Check form and signature; RemoteProtocolError if either is wrong."""
    statement = decode(Statement, signed.statement)
    subject_kind = _SUBJECTS.get(statement.kind)
    if statement.v != 1 or subject_kind is None:
        raise RemoteProtocolError("statement of unknown kind")
    if len(statement.prev) > MAX_STATEMENT_PREV or list(statement.prev) != sorted(set(statement.prev)):
        raise RemoteProtocolError("statement with wrong prev")
    genesis = statement.kind == wire.GENESIS
    if genesis != (not statement.prev) or genesis != (not statement.account):
        raise RemoteProtocolError("statement out of place")
    if any(len(item) != KEY for item in (statement.by, *statement.prev)):
        raise RemoteProtocolError("statement with wrong lengths")
    subject = decode(subject_kind, statement.subject)
    for value in (getattr(subject, name) for name in subject.__struct_fields__):
        if len(value) != KEY and not (statement.kind == wire.RETIRE and value == b""):
            raise RemoteProtocolError("statement with wrong lengths")
    whole = signed.statement + signed.signature
    if not ed25519_verify(statement.by, tag_bytes(wire.TAG_STATEMENT) + signed.statement, signed.signature):
        raise RemoteProtocolError("statement with wrong signature")
    if isinstance(subject, wire.Genesis):
        if not same(subject.signing, statement.by):
            raise RemoteProtocolError("genesis signed by another key")
        account = account_id(whole)
    else:
        account = AccountId(statement.account)
    identity = hash_tagged(wire.TAG_STATEMENT, whole)
    return Act(identity, account, statement.prev, statement.kind, statement.by, subject, signed)


def fold(acts: Iterable[Act]) -> Account:
    """What the statements of one account come to.

    `acts` must contain the genesis; statements whose ancestors are not all there are
    left out (they count once the missing ones come). RemoteProtocolError without genesis.
    """
    known = _connected(acts)
    genesis = next((act for act in known.values() if act.kind == wire.GENESIS), None)
    if genesis is None or not isinstance(genesis.subject, wire.Genesis):
        raise RemoteProtocolError("statements without a genesis")
    account, recovery = genesis.account, genesis.subject.recovery
    ancestors = _ancestors(known)
    depth = _depths(known)
    adds = {act.id: device for act in known.values() if (device := _added(act)) is not None}
    void = _void(known, ancestors, depth, adds, account, recovery)
    devices: dict[DeviceId, Device] = {}
    for act_id in sorted(adds, key=lambda i: (depth[i], i)):
        keys = adds[act_id]
        identity = device_id(account, keys.signing)
        if act_id not in void and identity not in devices:
            devices[identity] = Device(identity, keys.signing, keys.noise, depth[act_id], False)
    for act_id in sorted(void & adds.keys(), key=lambda i: (depth[i], i)):
        # Never active, yet known: what it wrote while it seemed to be a machine is still here.
        keys = adds[act_id]
        identity = device_id(account, keys.signing)
        devices.setdefault(identity, Device(identity, keys.signing, keys.noise, depth[act_id], True))
    for act in known.values():
        if act.id not in void and isinstance(act.subject, wire.Revoked):
            victim = devices.get(DeviceId(act.subject.device))
            if victim is not None:
                devices[victim.id] = Device(victim.id, victim.signing, victim.noise, victim.depth, True)
    retire = min(
        (act for act in known.values() if act.kind == wire.RETIRE and act.id not in void),
        key=lambda act: (act.by != recovery, depth[act.id], act.id),
        default=None,
    )
    successor = retire.subject.successor if retire and isinstance(retire.subject, wire.Retired) else b""
    referred = {parent for act in known.values() for parent in act.prev}
    standing = {i for i in known if i not in void}.union(*(ancestors[i] for i in known if i not in void))
    ordered = sorted(known.values(), key=lambda act: act.id not in standing)  # stable: parents stay first
    return Account(
        id=account,
        devices=devices,
        recovery=recovery,
        retired=retire is not None,
        successor=AccountId(successor) if successor else None,
        heads=tuple(sorted(i for i in known if i not in referred)),
        signed=tuple(act.signed for act in ordered),
        acts=tuple(ordered),
        counted=len(standing),
        defences=_defences(known, void, account),
    )


def _defences(known: dict[bytes, Act], void: frozenset[bytes], account: AccountId) -> tuple[Act, ...]:
    """Revocations that build on the author's add alone and have made void one of their author."""
    beaten = {
        (device_id(account, act.by), act.subject.device)
        for act in known.values()
        if act.id in void and isinstance(act.subject, wire.Revoked)
    }
    return tuple(
        act
        for act in known.values()
        if act.id not in void
        and isinstance(act.subject, wire.Revoked)
        and len(act.prev) == 1
        and (act.subject.device, device_id(account, act.by)) in beaten
    )


def leading(signed: Iterable[SignedStatement], device: DeviceId) -> tuple[SignedStatement, ...]:
    """The statements from the genesis to the add of `device`, parents first and the add last: what
    proves it to somebody who knows none. LocalProtocolError if it has no add among them."""
    return tuple(act.signed for act in way_to([read_statement(one) for one in signed], device))


def way_to(acts: Iterable[Act], device: DeviceId) -> tuple[Act, ...]:
    """The same of acts that are read already."""
    known = _connected(acts)
    ancestors, depth = _ancestors(known), _depths(known)
    adds = [
        act
        for act in known.values()
        if (keys := _added(act)) is not None and device_id(act.account, keys.signing) == device
    ]
    if not adds:
        raise LocalProtocolError("no statement adds that machine")
    add = min(adds, key=lambda act: (depth[act.id], act.id))
    return tuple(act for act in known.values() if act.id in ancestors[add.id] or act is add)


def account_of(signed: SignedStatement) -> AccountId:
    """Whose statement it says it is; its signature is not looked at."""
    statement = decode(Statement, signed.statement)
    if statement.kind == wire.GENESIS:
        return account_id(signed.statement + signed.signature)
    return AccountId(statement.account)


def verify_hello(hello: Hello, remote_static: bytes) -> Account:
    """The account whose device `hello` claims to be, if the statements in it prove so.

    The Noise key of *this* handshake must be the one stated for that device: without
    this check a recorded payload could be replayed under another key.
    """
    acts = [read_statement(signed) for signed in hello.statements]
    if len({act.account for act in acts}) != 1:
        raise RemoteProtocolError("hello about several accounts")
    account = fold(acts)
    device = account.devices.get(DeviceId(hello.device))
    if device is None:
        raise RemoteProtocolError("hello without the device's statement")
    if not same(device.noise, remote_static):
        raise RemoteProtocolError("hello for another noise key")
    return account


def _added(act: Act) -> wire.DeviceKeys | None:
    if isinstance(act.subject, wire.Genesis):
        return wire.DeviceKeys(act.subject.signing, act.subject.noise)
    return act.subject if isinstance(act.subject, wire.DeviceKeys) else None


def _connected(acts: Iterable[Act]) -> dict[bytes, Act]:
    """Acts all of whose ancestors are here, parents first, otherwise by id."""
    waiting = {act.id: act for act in sorted(acts, key=lambda act: act.id)}
    known: dict[bytes, Act] = {}
    moved = True
    while moved and waiting:
        moved = False
        for act in list(waiting.values()):
            if all(parent in known for parent in act.prev):
                known[act.id] = waiting.pop(act.id)
                moved = True
    return known


def _ancestors(known: dict[bytes, Act]) -> dict[bytes, frozenset[bytes]]:
    result: dict[bytes, frozenset[bytes]] = {}
    for act in known.values():
        above = [result[parent] for parent in act.prev]
        result[act.id] = frozenset(act.prev).union(*above)
    return result


def _depths(known: dict[bytes, Act]) -> dict[bytes, int]:
    result: dict[bytes, int] = {}
    for act in known.values():
        result[act.id] = 1 + max((result[parent] for parent in act.prev), default=-1)
    return result


def _void(
    known: dict[bytes, Act],
    ancestors: dict[bytes, frozenset[bytes]],
    depth: dict[bytes, int],
    adds: dict[bytes, wire.DeviceKeys],
    account: AccountId,
    recovery: bytes,
) -> frozenset[bytes]:
    """Ids of acts that do not count."""

    under: dict[
        bytes, list[bytes]
    ] = {}  # by act the adds it may speak under, the first that is not void counts
    for act in known.values():
        own = [i for i, keys in adds.items() if keys.signing == act.by and i in ancestors[act.id]]
        under[act.id] = sorted(own, key=lambda i: (depth[i], i))

    def authority(act: Act, void: set[bytes]) -> bytes | None:
        """Id of the add under which `act` speaks; b"" for the recovery key."""
        if act.by == recovery:
            return b""
        if act.kind == wire.GENESIS:
            return act.id
        return next((i for i in under[act.id] if i not in void), None)

    def spread(void: set[bytes]) -> None:
        """Acts that speak under a void add, or under none, are void too."""
        for act in known.values():  # parents first, so one pass is enough
            if act.id not in void and authority(act, void) is None:
                void.add(act.id)

    void: set[bytes] = set()
    spread(void)

    def rank(act: Act) -> tuple[int, int, bytes, bytes]:
        """The recovery key; then machines that it added itself, the later first; then the older machines."""
        add = known.get(authority(act, void) or b"")
        speaker = device_id(account, act.by)
        if add is None:
            return (0, 0, speaker, act.id)
        if add.by == recovery:
            return (1, -depth[add.id], speaker, act.id)
        return (2, depth[add.id], speaker, act.id)

    revocations = [act for act in known.values() if act.kind == wire.REVOKE and act.id not in void]
    speaks: dict[bytes, list[Act]] = {}
    for act in known.values():
        if act.by != recovery and act.kind != wire.GENESIS:
            speaks.setdefault(device_id(account, act.by), []).append(act)
    for act in sorted(revocations, key=rank):
        if act.id in void or not isinstance(act.subject, wire.Revoked):
            continue
        hidden = [
            other.id
            for other in speaks.get(act.subject.device, ())
            if other.id not in ancestors[act.id] and other.id != act.id and other.id not in void
        ]
        if hidden:
            void.update(hidden)
            spread(void)
    return frozenset(void)


_SUBJECTS: dict[int, type[Record]] = {
    wire.GENESIS: wire.Genesis,
    wire.ADD: wire.DeviceKeys,
    wire.REVOKE: wire.Revoked,
    wire.RETIRE: wire.Retired,
}
