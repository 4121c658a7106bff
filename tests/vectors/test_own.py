"""Our own frozen vectors: `own.json` = the independent oracle = p2pchat.

The file pins the protocol: a change here is a change of what goes over the wire. It was
written from the oracle alone (`by_oracle`), never from p2pchat.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from p2pchat.crypto import codes, epochs, identity, noise, primitives, session
from p2pchat.ids import AccountId, DeviceId, EpochId, RoomId
from tests.vectors import oracle

FROZEN: dict[str, str] = json.loads(Path(__file__).with_name("own.json").read_text(encoding="utf-8"))


def some(label: str, size: int = 32) -> bytes:
    """Input bytes anybody can make again: BLAKE2b of the label."""
    return oracle.blake2b(size, label.encode())


SEQ = 0x0102030405060708
GENESIS = b"any signed genesis, encoded"
ALICE = oracle.blake2b(32, b"p2pchat/account/1", GENESIS)
BOB = some("bob")
EPOCH_KEY = some("epoch key")


def _half(account: bytes) -> str:
    digest = oracle.blake2b(64, b"p2pchat/safety/1", account)
    return "".join(f"{int.from_bytes(digest[i : i + 5], 'big') % 10**5:05d}" for i in range(0, 30, 5))


def _paper(seed: bytes) -> str:
    raw = seed + oracle.blake2b(32, b"p2pchat/recovery/1", seed)[:3]
    rfc_4648, crockford = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    letters = base64.b32encode(raw).decode().translate(str.maketrans(rfc_4648, crockford))
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def by_oracle() -> dict[str, str]:
    signing_public = oracle.ed25519_public(some("seed"))
    place = some("room") + some("device") + SEQ.to_bytes(8, "big")
    body_key = oracle.blake2b(32, place, key=EPOCH_KEY)
    nonce = some("nonce", 24)
    digits = oracle.blake2b(
        32, b"p2pchat/sas/1", some("handshake hash", 64), some("initiator"), some("responder")
    )
    return {
        "account_id": ALICE.hex(),
        "signing_public": signing_public.hex(),
        "noise_public": oracle.x25519_public(some("noise")).hex(),
        "device_id": oracle.blake2b(32, b"p2pchat/device/1", ALICE, signing_public).hex(),
        "signature": oracle.ed25519_sign(some("seed"), b"p2pchat/statement/1" + b"body").hex(),
        "safety_number": "".join(_half(account) for account in sorted((ALICE, BOB))),
        "epoch_id": oracle.blake2b(32, b"p2pchat/epoch/1", EPOCH_KEY)[:16].hex(),
        "member_hash": oracle.blake2b(32, b"p2pchat/members/1", b"encoded").hex(),
        "sealed_epoch_key": oracle.sealed_box(
            oracle.x25519_public(some("prekey")), EPOCH_KEY, some("ephemeral")
        ).hex(),
        "body_key": body_key.hex(),
        "body": (nonce + oracle.xchacha20poly1305(body_key, nonce, b"header", b"hello, bob")).hex(),
        "sas_commitment_initiator": oracle.blake2b(
            32, b"p2pchat/sas-commit/1", b"\0", some("initiator")
        ).hex(),
        "sas_commitment_responder": oracle.blake2b(
            32, b"p2pchat/sas-commit/1", b"\1", some("responder")
        ).hex(),
        "sas": f"{int.from_bytes(digits, 'big') % 10**6:06d}",
        "recovery_key": _paper(some("recovery")),
        "padded_empty": (b"\x80" + bytes(63)).hex(),
        "padded_64": (bytes(64) + b"\x80" + bytes(63)).hex(),
    }


def by_p2pchat() -> dict[str, str]:
    account = identity.account_id(GENESIS)
    device = identity.DeviceSecrets(some("seed"), some("noise"))
    room, author = RoomId(some("room")), DeviceId(some("device"))
    return {
        "account_id": account.hex(),
        "signing_public": device.signing.public.hex(),
        "noise_public": device.noise.public.hex(),
        "device_id": identity.device_id(account, device.signing.public).hex(),
        "signature": identity.sign(device.signing, "p2pchat/statement/1", b"body").hex(),
        "safety_number": identity.safety_number(account, AccountId(BOB)),
        "epoch_id": epochs.epoch_id(EPOCH_KEY).hex(),
        "member_hash": epochs.member_hash(b"encoded").hex(),
        "sealed_epoch_key": epochs.seal_epoch_key(
            primitives.x25519_public(some("prekey")), EPOCH_KEY, some("ephemeral")
        ).hex(),
        "body_key": epochs.body_key(EPOCH_KEY, room, author, SEQ).hex(),
        "body": epochs.seal_body(
            EPOCH_KEY, room, author, SEQ, b"header", b"hello, bob", some("nonce", 24)
        ).hex(),
        "sas_commitment_initiator": codes.commitment(codes.INITIATOR, some("initiator")).hex(),
        "sas_commitment_responder": codes.commitment(codes.RESPONDER, some("responder")).hex(),
        "sas": codes.sas(some("handshake hash", 64), some("initiator"), some("responder")),
        "recovery_key": identity.print_recovery(identity.SigningKey(some("recovery"))),
        "padded_empty": session.pad(b"").hex(),
        "padded_64": session.pad(bytes(64)).hex(),
    }


def test_the_oracle_made_the_frozen_file() -> None:
    assert by_oracle() == FROZEN


def test_p2pchat_makes_the_frozen_bytes() -> None:
    assert by_p2pchat() == FROZEN


def test_frozen_bytes_open_again() -> None:
    room, author = RoomId(some("room")), DeviceId(some("device"))
    sealed = bytes.fromhex(FROZEN["sealed_epoch_key"])
    expected = EpochId(bytes.fromhex(FROZEN["epoch_id"]))
    key = epochs.open_epoch_key(some("prekey"), sealed, expected)
    assert key == EPOCH_KEY
    assert identity.parse_recovery(FROZEN["recovery_key"]).seed == some("recovery")
    body = bytes.fromhex(FROZEN["body"])
    assert epochs.open_body(key, room, author, SEQ, b"header", body) == b"hello, bob"


def test_the_handshake_of_links_is_frozen() -> None:
    """XXpsk0 has no public vector; `noiseprotocol` agreed with this one."""
    ends = [
        noise.HandshakeState(
            noise.PROTOCOL, initiator=first, prologue=b"prologue", s=some(name), psks=[some("psk")]
        )
        for first, name in ((True, "static i"), (False, "static r"))
    ]
    payloads = [b"", b"responder's payload", b"initiator's payload"]
    ephemerals = [some("ephemeral i"), some("ephemeral r"), None]
    written = []
    for turn, (payload, ephemeral) in enumerate(zip(payloads, ephemerals, strict=True)):
        written.append(ends[turn % 2].write_message(payload, ephemeral))
        assert ends[1 - turn % 2].read_message(written[-1]) == payload
    lines = json.loads(Path(__file__).with_name("xxpsk0.json").read_text(encoding="utf-8"))
    sending, _receiving = ends[0].split()
    first = sending.encrypt_with_ad(b"", b"first record")
    sending.rekey()
    assert lines == {
        "messages": [message.hex() for message in written],
        "handshake_hash": ends[0].handshake_hash.hex(),
        "records": [first.hex(), sending.encrypt_with_ad(b"", b"after rekey").hex()],
    }
