"""A profile that is somebody already becomes a machine of somebody else: what is kept, what is said.

Decides: that the old account is given up for the new one by a statement others will see, and that
nothing of the old profile is deleted: it is moved aside, whole. Does not know: how the new person
was found (joining). A crash in the middle leaves a profile that is nobody, its old self beside it.
"""

from __future__ import annotations

from pathlib import Path

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import ed25519_keypair
from p2pchat.daemon.identity import IdentityFile
from p2pchat.engine import accounts, stating
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.ids import AccountId
from p2pchat.paths import Profile
from p2pchat.platform import make_private_dir, read_private_file, write_private_file
from p2pchat.store.ledger import open_ledger
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.messages.link import Statements
from p2pchat.wire.messages.statements import SignedStatement

FAREWELL = "farewell"
"""Beside the identity: the statements of the account that was given up."""
MOVED = ("archive.db", "archive.db-wal", "archive.db-shm", "staging", "identity-next")
"""What belongs to the old person besides his identity, which goes last."""


def give_up(where: Profile, successor: AccountId) -> None:
    """State that the person of this profile goes on as `successor`, and move what is his aside."""
    old = decode(IdentityFile, read_private_file(where.identity))
    signed = _known(where, old)
    acts = [accounts.read_statement(one) for one in signed]
    account = accounts.fold(acts)
    if account.id == successor:
        raise CommandError(
            "policy",
            "this profile is a machine of that person already",
            "there is nothing to replace: `p2pchat device list`",
        )
    me = device_id(account.id, ed25519_keypair(old.signing_seed)[0])
    retired = stating.retiring(old.signing_seed, account.id, acts, me, successor)
    write_private_file(where.home / FAREWELL, encode(Statements((*signed, retired))))
    aside = _free(where.home / f"before-{account.id.hex()[:8]}")
    make_private_dir(aside)
    for name in MOVED:
        if (where.home / name).exists():
            (where.home / name).rename(aside / name)
    where.identity.rename(aside / where.identity.name)


def farewell(where: Profile) -> tuple[SignedStatement, ...]:
    """Statements of the account that this profile was before; none if it was nobody."""
    try:
        return decode(Statements, read_private_file(where.home / FAREWELL)).statements
    except (FileNotFoundError, RemoteProtocolError):
        return ()


def _known(where: Profile, old: IdentityFile) -> tuple[SignedStatement, ...]:
    """All statements of the old account: who lacks one might take a revoked machine for a good one."""
    if not where.archive.exists():
        return old.statements
    ledger = open_ledger(where.archive)
    try:
        rows = ledger.people.statements()
    finally:
        ledger.close()
    account = accounts.fold([accounts.read_statement(one) for one in old.statements]).id
    kept = [SignedStatement(raw, signature) for whose, raw, signature in rows if whose == account]
    return tuple(dict.fromkeys((*old.statements, *kept)))


def _free(folder: Path) -> Path:
    """`folder`, or the next name that is not taken."""
    number, wanted = 1, folder
    while wanted.exists():
        number += 1
        wanted = folder.with_name(f"{folder.name}-{number}")
    return wanted
