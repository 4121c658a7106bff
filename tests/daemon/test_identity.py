"""Who this machine is: written once, read ever after, secret always."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.daemon.identity import Identity, IdentityFile, forget_recovery, load_or_make
from p2pchat.engine.accounts import fold, read_statement
from p2pchat.errors import ArchiveError, CommandError
from p2pchat.wire.codec import decode, encode
from tests.engine.play import Dice


def load(path: Path, name: str = "ann") -> Identity:
    return load_or_make(path, Dice(name).bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "identity"


def test_the_first_run_makes_a_person_and_every_other_finds_him(path: Path) -> None:
    first, second = load(path), load(path, "somebody else's dice")
    assert first.fresh
    assert not second.fresh
    assert (first.me, first.noise_secret, first.recovery) == (second.me, second.noise_secret, second.recovery)


def test_the_statements_prove_the_keys(path: Path) -> None:
    me = load(path)
    account = fold([read_statement(one) for one in me.me.statements])
    device = account.devices[me.me.device]
    assert account.id == me.me.account
    assert device.signing == ed25519_keypair(me.me.signing_seed)[0]
    assert device.noise == x25519_public(me.noise_secret) == me.me.noise_public
    assert me.me.device == device_id(account.id, device.signing)
    assert account.recovery == ed25519_keypair(me.recovery)[0]


def test_the_file_is_its_owners_alone(path: Path) -> None:
    load(path)
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o644)
    with pytest.raises(CommandError) as refusal:
        load(path)
    assert refusal.value.kind == "unsafe_path"


def test_three_keys_are_three_keys(path: Path) -> None:
    load(path)
    held = decode(IdentityFile, path.read_bytes())
    assert len({held.signing_seed, held.noise_secret, held.recovery}) == 3


def test_the_recovery_key_can_be_taken_off_this_machine_for_good(path: Path) -> None:
    before = load(path)
    forget_recovery(before)
    assert before.recovery not in path.read_bytes()
    after = load(path)
    assert after.recovery == b""
    assert after.me == before.me
    forget_recovery(after)
    assert load(path).me == before.me


@pytest.mark.parametrize("damage", ["", "garbage", "half", "longer", "another form", "short key"])
def test_a_damaged_file_is_named_and_left_alone(path: Path, damage: str) -> None:
    load(path)
    raw = path.read_bytes()
    held = decode(IdentityFile, raw)
    other = IdentityFile(2, held.signing_seed, held.noise_secret, held.recovery, held.statements)
    short = IdentityFile(1, held.signing_seed[:5], held.noise_secret, held.recovery, held.statements)
    bad = {
        "": b"",
        "garbage": b"garbage",
        "half": raw[: len(raw) // 2],
        "longer": raw + b"\0",
        "another form": encode(other),
        "short key": encode(short),
    }[damage]
    path.write_bytes(bad)
    with pytest.raises(ArchiveError, match=str(path)):
        load(path)
    assert path.read_bytes() == bad


def test_keys_of_somebody_else_beside_the_statements_are_damage(path: Path, tmp_path: Path) -> None:
    """A file put together from two: the statements prove keys that are not in it."""
    load(path)
    (tmp_path / "other").mkdir(mode=0o700)
    load(tmp_path / "other" / "identity", "bob")
    mine, theirs = (decode(IdentityFile, one.read_bytes()) for one in (path, tmp_path / "other" / "identity"))
    for mixed in (
        IdentityFile(1, theirs.signing_seed, mine.noise_secret, mine.recovery, mine.statements),
        IdentityFile(1, mine.signing_seed, theirs.noise_secret, mine.recovery, mine.statements),
    ):
        path.write_bytes(encode(mixed))
        with pytest.raises(ArchiveError):
            load(path)


def test_no_secret_stands_in_what_a_log_or_a_traceback_would_show(path: Path) -> None:
    me = load(path)
    held = decode(IdentityFile, path.read_bytes())
    shown = repr(me) + repr(me.me) + repr(held) + str(me) + f"{me.me}"
    for secret in (held.signing_seed, held.noise_secret, held.recovery, me.me.signing_key):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
