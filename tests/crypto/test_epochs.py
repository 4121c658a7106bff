"""Epoch keys and sealed bodies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto import epochs
from p2pchat.crypto.identity import NoiseKey
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.ids import DeviceId, EpochId, RoomId

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
ROOM, DEVICE = RoomId(b"r" * 32), DeviceId(b"d" * 32)
NONCE = b"n" * 24
PREKEY = NoiseKey(b"p" * 32)
ONCE = b"e" * 32


def test_a_sealed_epoch_key_opens_for_its_device_only() -> None:
    expected = epochs.epoch_id(KEY)
    assert len(expected) == 16
    sealed = epochs.seal_epoch_key(PREKEY.public, KEY, ONCE)
    assert len(sealed) == 80
    assert epochs.open_epoch_key(PREKEY.secret, sealed, expected) == KEY
    with pytest.raises(RemoteProtocolError):
        epochs.open_epoch_key(b"q" * 32, sealed, expected)


def test_another_key_under_the_same_id_is_refused() -> None:
    """One who seals different keys to different members would split the room."""
    expected = epochs.epoch_id(KEY)
    sealed = epochs.seal_epoch_key(PREKEY.public, OTHER_KEY, ONCE)
    with pytest.raises(RemoteProtocolError, match="does not match"):
        epochs.open_epoch_key(PREKEY.secret, sealed, expected)
    for key in (OTHER_KEY, b"", KEY + b"\0"):
        with pytest.raises(RemoteProtocolError):
            epochs.check_epoch_key(key, expected)
    with pytest.raises(RemoteProtocolError):
        epochs.check_epoch_key(KEY, EpochId(expected[:15]))


def test_a_small_order_prekey_is_the_peers_fault() -> None:
    with pytest.raises(RemoteProtocolError):
        epochs.seal_epoch_key(bytes(32), KEY, ONCE)


@given(st.binary(max_size=500), st.binary(max_size=300), st.integers(1, 2**64 - 1))
def test_a_body_opens_in_its_own_place_only(text: bytes, ad: bytes, seq: int) -> None:
    sealed = epochs.seal_body(KEY, ROOM, DEVICE, seq, ad, text, NONCE)
    assert sealed[:24] == NONCE
    assert len(sealed) == 24 + len(text) + 16
    assert epochs.open_body(KEY, ROOM, DEVICE, seq, ad, sealed) == text
    elsewhere = seq - 1 if seq > 1 else 2
    for key, room, device, place, header in (
        (OTHER_KEY, ROOM, DEVICE, seq, ad),
        (KEY, RoomId(DEVICE), DEVICE, seq, ad),
        (KEY, ROOM, DeviceId(ROOM), seq, ad),
        (KEY, ROOM, DEVICE, elsewhere, ad),
        (KEY, ROOM, DEVICE, seq, ad + b"\0"),
    ):
        with pytest.raises(RemoteProtocolError):
            epochs.open_body(key, room, device, place, header, sealed)


@given(st.binary(max_size=120), st.integers(-1, 2**65))
def test_any_bytes_from_a_peer_are_refused_as_the_peers_fault(sealed: bytes, seq: int) -> None:
    with pytest.raises(RemoteProtocolError):
        epochs.open_body(KEY, ROOM, DEVICE, seq, b"", sealed)


@pytest.mark.parametrize(
    ("room", "device", "seq"), [(ROOM, DEVICE, 0), (ROOM, DEVICE, 2**64), (b"", DEVICE, 1), (ROOM, b"", 1)]
)
def test_an_impossible_place_is_the_peers_fault(room: bytes, device: bytes, seq: int) -> None:
    with pytest.raises(RemoteProtocolError, match="place"):
        epochs.open_body(KEY, RoomId(room), DeviceId(device), seq, b"", bytes(40))


def test_misuse_is_our_fault() -> None:
    calls: list[Callable[[], object]] = [
        lambda: epochs.epoch_id(b""),
        lambda: epochs.seal_epoch_key(PREKEY.public, KEY[:-1], ONCE),
        lambda: epochs.seal_epoch_key(PREKEY.public, KEY, ONCE[:-1]),
        lambda: epochs.body_key(KEY[:-1], ROOM, DEVICE, 1),
        lambda: epochs.body_key(KEY, ROOM, DEVICE, 0),
        lambda: epochs.body_key(KEY, ROOM, DEVICE, 2**64),
        lambda: epochs.body_key(KEY, RoomId(b""), DEVICE, 1),
        lambda: epochs.seal_body(KEY, ROOM, DEVICE, 1, b"", b"", NONCE[:-1]),
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError):
            call()


def test_member_hashes_differ_from_other_hashes_of_the_same_bytes() -> None:
    assert epochs.member_hash(KEY)[:16] != epochs.epoch_id(KEY)
    assert len(epochs.member_hash(b"")) == 32
