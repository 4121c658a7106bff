"""Who this machine is: made at the first run, read at every other.

Decides: what the identity file holds and when it is written. Does not know: names,
the archive or the network. The file is owner-only; nothing of it is ever logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine.accounts import fold, make_genesis, read_statement
from p2pchat.engine.context import Me
from p2pchat.errors import ArchiveError, RemoteProtocolError
from p2pchat.platform import read_private_file, write_private_file
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.messages.statements import SignedStatement


class IdentityFile(Record, frozen=True):
    """All secrets of this machine. `recovery` is empty once it has been printed and erased."""

    v: int
    signing_seed: bytes
    noise_secret: bytes
    recovery: bytes
    statements: tuple[SignedStatement, ...]

    def __repr__(self) -> str:
        return f"IdentityFile({self.v})"  # never a secret in a traceback


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity as the daemon uses it. `fresh`: made just now."""

    me: Me
    noise_secret: bytes
    recovery: bytes
    path: Path
    fresh: bool

    def __repr__(self) -> str:
        return f"Identity({self.me.device.hex()[:12]})"  # never a secret in a traceback


def load_or_make(path: Path, entropy: Callable[[int], bytes]) -> Identity:
    """The identity at `path`; a new person on a first run.

    CommandError `unsafe_path` if the file is open to others, ArchiveError if it is damaged.
    """
    try:
        raw = read_private_file(path)
    except FileNotFoundError:
        made = make(entropy)
        write_private_file(path, encode(made))
        return _use(made, path, fresh=True)
    try:
        return _use(decode(IdentityFile, raw), path, fresh=False)
    except RemoteProtocolError as error:
        raise ArchiveError(
            f"'{path}' is not an identity of p2pchat: restore it, or move it away to start as a new person"
        ) from error


def make(entropy: Callable[[int], bytes]) -> IdentityFile:
    """Keys and genesis of a new person with one machine."""
    signing, noise, recovery = entropy(32), entropy(32), entropy(32)
    genesis = make_genesis(signing, x25519_public(noise), ed25519_keypair(recovery)[0])
    return IdentityFile(1, signing, noise, recovery, (genesis,))


def forget_recovery(identity: Identity) -> None:
    """Erase the recovery secret from this machine: it has been written down elsewhere."""
    kept = decode(IdentityFile, read_private_file(identity.path))
    write_private_file(
        identity.path, encode(IdentityFile(1, kept.signing_seed, kept.noise_secret, b"", kept.statements))
    )


def next_keys(identity: Identity, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """Seed and Noise secret with which this machine will go on; written down before anybody hears of them,
    so that after a crash or on a full disk it is these again and not one more machine that nobody has.

    CommandError if they cannot be written.
    """
    path = _next(identity)
    try:
        kept = decode(IdentityFile, read_private_file(path))
    except (FileNotFoundError, RemoteProtocolError):
        kept = IdentityFile(1, entropy(32), entropy(32), b"", ())
        write_private_file(path, encode(kept))
    return kept.signing_seed, kept.noise_secret


def _next(identity: Identity) -> Path:
    return identity.path.with_name(f"{identity.path.name}-next")


def renewed(
    identity: Identity, seed: bytes, noise: bytes, statements: tuple[SignedStatement, ...]
) -> Identity:
    """The same person's machine under new keys, written in place of the old ones."""
    kept = decode(IdentityFile, read_private_file(identity.path))
    file = IdentityFile(1, seed, noise, kept.recovery, statements)
    after = _use(file, identity.path, fresh=False)
    write_private_file(identity.path, encode(file))
    _next(identity).unlink(missing_ok=True)
    return after


def _use(file: IdentityFile, path: Path, *, fresh: bool) -> Identity:
    if file.v != 1 or not file.statements or {len(file.signing_seed), len(file.noise_secret)} != {32}:
        raise RemoteProtocolError("identity of another form")
    account = fold([read_statement(signed) for signed in file.statements])
    public, signing_key = ed25519_keypair(file.signing_seed)
    noise_public = x25519_public(file.noise_secret)
    stated = account.devices.get(device_id(account.id, public))
    if stated is None or stated.noise != noise_public:
        raise RemoteProtocolError("keys that the statements do not prove")
    me = Me(account.id, stated.id, file.signing_seed, signing_key, noise_public, file.statements)
    return Identity(me, file.noise_secret, file.recovery, path, fresh)
