"""Against an independent implementation: XXpsk0 has no public vector."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from noise.connection import Keypair, NoiseConnection  # type: ignore[import-untyped]

from p2pchat.crypto import noise
from p2pchat.crypto.noise import CipherState, HandshakeState

GATE_ROUNDS = 120
FULL_ROUNDS = 2000


class Ours:
    """p2pchat behind the few verbs both sides of the comparison share."""

    def __init__(self, initiator: bool, keys: dict[str, bytes]) -> None:
        self.state = HandshakeState(
            noise.PROTOCOL, initiator=initiator, prologue=keys["prologue"], s=keys["s"], psks=[keys["psk"]]
        )
        self.ephemeral = keys["e"]
        self.ciphers: tuple[CipherState, CipherState]

    def write(self, payload: bytes) -> bytes:
        return self.state.write_message(payload, self.ephemeral)

    def read(self, message: bytes) -> bytes:
        return self.state.read_message(message)

    def finish(self) -> bytes:
        self.ciphers = self.state.split()
        return self.state.handshake_hash

    def seal(self, plaintext: bytes) -> bytes:
        return self.ciphers[0].encrypt_with_ad(b"", plaintext)

    def open(self, ciphertext: bytes) -> bytes:
        return self.ciphers[1].decrypt_with_ad(b"", ciphertext)

    def rekey(self, sending: bool) -> None:
        self.ciphers[0 if sending else 1].rekey()


class Theirs:
    """`noiseprotocol`, which computes with the cryptography package."""

    def __init__(self, initiator: bool, keys: dict[str, bytes]) -> None:
        self.state: Any = NoiseConnection.from_name(noise.PROTOCOL.encode())
        self.state.set_psks(keys["psk"])
        self.state.set_prologue(keys["prologue"])
        self.state.set_keypair_from_private_bytes(Keypair.STATIC, keys["s"])
        self.state.set_keypair_from_private_bytes(Keypair.EPHEMERAL, keys["e"])
        (self.state.set_as_initiator if initiator else self.state.set_as_responder)()
        self.state.start_handshake()

    def write(self, payload: bytes) -> bytes:
        return bytes(self.state.write_message(payload))

    def read(self, message: bytes) -> bytes:
        return bytes(self.state.read_message(message))

    def finish(self) -> bytes:
        assert self.state.handshake_finished
        return bytes(self.state.get_handshake_hash())

    def seal(self, plaintext: bytes) -> bytes:
        return bytes(self.state.encrypt(plaintext))

    def open(self, ciphertext: bytes) -> bytes:
        return bytes(self.state.decrypt(ciphertext))

    def rekey(self, sending: bool) -> None:
        (self.state.rekey_outbound_cipher if sending else self.state.rekey_inbound_cipher)()


End = Ours | Theirs


def bytes_on_the_wire(kinds: tuple[type[Ours] | type[Theirs], ...], seed: int) -> Iterator[bytes]:
    """One random conversation between two ends; every byte string either side produced."""
    draw = random.Random(seed)
    shared = {"psk": draw.randbytes(32), "prologue": draw.randbytes(draw.randrange(80))}
    keys = [shared | {"s": draw.randbytes(32), "e": draw.randbytes(32)} for _ in kinds]
    ends: list[End] = [kind(number == 0, keys[number]) for number, kind in enumerate(kinds)]
    for turn in range(3):
        payload = draw.randbytes(draw.randrange(1500))
        message = ends[turn % 2].write(payload)
        assert ends[1 - turn % 2].read(message) == payload
        yield message
    hashes = [end.finish() for end in ends]
    assert hashes[0] == hashes[1]
    yield hashes[0]
    for _ in range(12):
        who = draw.randrange(2)
        sender, receiver = ends[who], ends[1 - who]
        if draw.random() < 0.3:
            sender.rekey(sending=True)
            receiver.rekey(sending=False)
        record = draw.randbytes(draw.choice((0, 1, 64, 1000)))
        sealed = sender.seal(record)
        assert receiver.open(sealed) == record
        yield sealed


@pytest.mark.filterwarnings("ignore:One of ephemeral keypairs is already set:UserWarning")
def test_random_handshakes_transport_and_rekey_agree_in_both_roles(full: bool) -> None:
    rounds = FULL_ROUNDS if full else GATE_ROUNDS
    start = random.SystemRandom().randrange(2**32) if full else 0
    for seed in range(start, start + rounds):
        ours = list(bytes_on_the_wire((Ours, Ours), seed))
        assert ours == list(bytes_on_the_wire((Ours, Theirs), seed)), seed
        assert ours == list(bytes_on_the_wire((Theirs, Ours), seed)), seed
