"""Which statements a machine writes about its person's machines, and what they build on.

Decides: that an add links to its author's own add alone, what of a revoked machine's acts a revocation
keeps, and how a machine made with the recovery key comes in (docs/protocol.md, "A second machine").
Does not know: what statements come to (accounts), or who hears of them (machines).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from p2pchat.crypto.identity import device_id
from p2pchat.engine import accounts
from p2pchat.engine.accounts import Act
from p2pchat.engine.live_records import Me
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.limits import MAX_STATEMENT_PREV
from p2pchat.wire.messages import statements as wire
from p2pchat.wire.messages.statements import SignedStatement

FORMER: Final = "former"
"""In `value`: the account this profile was before."""
KEPT_ACTS: Final = 64
"""Acts of a revoked machine that go on to count: no person states more on one machine, a thief may."""
KEPT_OF_A_FLOOD: Final = 16
"""Where there are more, only the first: these were stated before it was stolen."""


def adding(me: Me, known: Iterable[Act], keys: wire.DeviceKeys) -> SignedStatement:
    """One more machine. It links to the author's own add alone: so the way from the genesis to a machine
    stays short, and fits a handshake however long the person's history is."""
    prev = (own_add(known, me.device),)
    return accounts.make_statement(me.signing_seed, me.account, prev, wire.ADD, keys)


def own_add(known: Iterable[Act], device: DeviceId) -> bytes:
    """The id of the statement that makes a machine one of its person."""
    return accounts.way_to(known, device)[-1].id


def revoking(
    me: Me, acts: Sequence[Act], device: DeviceId, *, fighting: bool = False
) -> list[SignedStatement]:
    """The revocation of a machine, last, and what gathers those of its acts that are to count further.

    `acts` in the order in which it was heard. What the revocation does not build on is void: never kept is
    that the person gave himself up, nor that we are revoked. A statement names eight others, so more acts
    are gathered by revocations of nobody. `fighting`: that machine has revoked us, and who is revoked is
    heard in handshakes only, where there is no place for more than one statement.
    """
    own = own_add(acts, me.device)
    theirs = [] if fighting else _kept(acts, me, device)
    named = {parent for act in theirs for parent in act.prev}
    heads = [act.id for act in theirs if act.id not in named and act.id != own]
    found: list[SignedStatement] = []
    room = MAX_STATEMENT_PREV - 1
    while len(heads) > room:
        gathered = accounts.make_statement(
            me.signing_seed, me.account, (own, *heads[:room]), wire.REVOKE, wire.Revoked(bytes(len(own)))
        )
        heads = [*heads[room:], accounts.read_statement(gathered).id]
        found.append(gathered)
    subject = wire.Revoked(device)
    return [*found, accounts.make_statement(me.signing_seed, me.account, (own, *heads), wire.REVOKE, subject)]


def _kept(acts: Sequence[Act], me: Me, device: DeviceId) -> list[Act]:
    """Of a machine's acts those that go on to count when it is revoked, in the order they were heard."""
    tainted: set[bytes] = set()
    moved = True
    while moved:  # what builds on a tainted act is so as well, in whatever order they came
        before = len(tainted)
        tainted |= {act.id for act in acts if _undoes(act, me, device) or not tainted.isdisjoint(act.prev)}
        moved = len(tainted) > before
    found = [act for act in acts if _by(act) == device and act.id not in tainted]
    return found if len(found) <= KEPT_ACTS else found[:KEPT_OF_A_FLOOD]


def _undoes(act: Act, me: Me, device: DeviceId) -> bool:
    if _by(act) != device:
        return False
    names_us = isinstance(act.subject, wire.Revoked) and act.subject.device == me.device
    return names_us or act.kind == wire.RETIRE


def _by(act: Act) -> DeviceId:
    return device_id(act.account, act.by)


def retiring(
    seed: bytes, account: AccountId, known: Iterable[Act], device: DeviceId, successor: AccountId
) -> SignedStatement:
    """The person goes on as another."""
    prev, subject = (own_add(known, device),), wire.Retired(successor)
    return accounts.make_statement(seed, account, prev, wire.RETIRE, subject)


def recovered(seed: bytes, account: accounts.Account, keys: wire.DeviceKeys) -> SignedStatement:
    """A machine that the recovery key adds. It builds on the last one so added, which the newer outranks."""
    last = account.acts[0].id
    for act in account.acts:  # parents first
        if act.kind == wire.ADD and act.by == account.recovery and last in act.prev:
            last = act.id
    return accounts.make_statement(seed, account.id, (last,), wire.ADD, keys)
