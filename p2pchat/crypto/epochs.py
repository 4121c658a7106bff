"""Room keys: their ids, giving them to devices, and sealing bodies under them.

Decides: how an epoch key becomes an id, a sealed copy for one device and a key per
body, and what a sealed body is bound to. Does not know: when a room needs a new epoch,
who its members are, or how any record is encoded.
"""

from __future__ import annotations

from typing import Final

from p2pchat.crypto.primitives import (
    KEY_BYTES,
    XNONCE_BYTES,
    hash_tagged,
    keyed_hash,
    open_box,
    open_xchacha,
    seal_box,
    seal_xchacha,
)
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.ids import EPOCH_ID_BYTES, ID_BYTES, DeviceId, EpochId, RoomId

EPOCH_TAG: Final = "p2pchat/epoch/1"
MEMBERS_TAG: Final = "p2pchat/members/1"

MAX_SEQ: Final = 2**64 - 1


def epoch_id(key: bytes) -> EpochId:
    """The first 16 bytes of BLAKE2b-256("p2pchat/epoch/1" ‖ 32-byte epoch key).

    Safe to show: the key has 256 random bits, so its hash gives nothing away.
    """
    _need_key(key)
    return EpochId(hash_tagged(EPOCH_TAG, key)[:EPOCH_ID_BYTES])


def member_hash(encoded: bytes) -> bytes:
    """BLAKE2b-256("p2pchat/members/1" ‖ encoded [sorted members, sorted revoked devices])."""
    return hash_tagged(MEMBERS_TAG, encoded)


def seal_epoch_key(prekey_public: bytes, key: bytes, ephemeral_secret: bytes) -> bytes:
    """`key` sealed to one device's prekey, 80 bytes (libsodium's sealed box).

    `ephemeral_secret`: 32 fresh random bytes for each seal. RemoteProtocolError if the
    prekey has small order; ask `x25519_usable` when a prekey is taken in.
    """
    _need_key(key)
    return seal_box(prekey_public, key, ephemeral_secret)


def open_epoch_key(prekey_secret: bytes, sealed: bytes, expected: EpochId) -> bytes:
    """The epoch key in `sealed`.

    RemoteProtocolError if it does not open or is not the key of `expected`: whoever
    sealed it must not be able to slip two devices different keys under one id.
    """
    return check_epoch_key(open_box(prekey_secret, sealed), expected)


def check_epoch_key(key: bytes, expected: EpochId) -> bytes:
    """`key` itself if it is a key with that id, else RemoteProtocolError."""
    if len(key) != KEY_BYTES or epoch_id(key) != expected:
        raise RemoteProtocolError("epoch key does not match its id")
    return key


def body_key(key: bytes, room: RoomId, device: DeviceId, seq: int) -> bytes:
    """BLAKE2b-256 keyed with the epoch key over room ‖ device ‖ seq (u64 big-endian).

    A key for each event keeps what one key seals small and binds the body to its place.
    """
    _need_key(key)
    if not _placed(room, device, seq):
        raise LocalProtocolError(f"no body key for seq {seq} of these ids")
    return keyed_hash(key, room, device, seq.to_bytes(8, "big"))


def seal_body(
    key: bytes, room: RoomId, device: DeviceId, seq: int, ad: bytes, plaintext: bytes, nonce: bytes
) -> bytes:
    """nonce (24) ‖ XChaCha20-Poly1305(body key, nonce, ad, plaintext): the stored body.

    `ad`: the header with `body_hash` zeroed. `nonce`: 24 random bytes, because a restored
    backup may reach the same seq again with another text; a counter would then repeat.
    """
    return nonce + seal_xchacha(body_key(key, room, device, seq), nonce, ad, plaintext)


def open_body(key: bytes, room: RoomId, device: DeviceId, seq: int, ad: bytes, sealed: bytes) -> bytes:
    """The plaintext of a stored body; RemoteProtocolError unless made for this header."""
    nonce, ciphertext = sealed[:XNONCE_BYTES], sealed[XNONCE_BYTES:]
    if len(nonce) != XNONCE_BYTES:
        raise RemoteProtocolError("sealed body too short")
    if not _placed(room, device, seq):  # here the place comes from a peer's header
        raise RemoteProtocolError("sealed body of an impossible place")
    # `body_key`, whose checks of the place have just been made: a long history opens hundreds of thousands
    return open_xchacha(keyed_hash(key, room, device, seq.to_bytes(8, "big")), nonce, ad, ciphertext)


def _placed(room: bytes, device: bytes, seq: int) -> bool:
    return len(room) == ID_BYTES and len(device) == ID_BYTES and 0 < seq <= MAX_SEQ


def _need_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise LocalProtocolError(f"an epoch key has {KEY_BYTES} bytes, not {len(key)}")
