"""Handshakes that nobody here computed: cacophony and snow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pchat.crypto.noise import PATTERNS, CipherState, HandshakeState, parse
from p2pchat.errors import P2pchatError

COUNTS = {"cacophony": 59, "snow": 51}


def load(vectors: Path, name: str) -> list[dict[str, Any]]:
    text = (vectors / "noise" / f"{name}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["vectors"]
    return found


def side(vector: dict[str, Any], who: str) -> HandshakeState:
    def optional(name: str) -> bytes | None:
        return bytes.fromhex(vector[f"{who}_{name}"]) if f"{who}_{name}" in vector else None

    return HandshakeState(
        vector["protocol_name"],
        initiator=who == "init",
        prologue=bytes.fromhex(vector[f"{who}_prologue"]),
        s=optional("static"),
        rs=optional("remote_static"),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{who}_psks", [])],
    )


def play(vector: dict[str, Any]) -> None:
    initiator, responder = side(vector, "init"), side(vector, "resp")
    ephemeral = {
        initiator: bytes.fromhex(vector["init_ephemeral"]),
        responder: bytes.fromhex(vector["resp_ephemeral"]) if "resp_ephemeral" in vector else None,
    }
    messages = iter(vector["messages"])
    writer, reader = initiator, responder
    while not initiator.finished:
        message = next(messages)
        payload, expected = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        assert writer.my_turn
        assert not reader.my_turn
        assert writer.write_message(payload, ephemeral[writer]) == expected
        assert reader.read_message(expected) == payload
        writer, reader = reader, writer
    assert responder.finished
    assert initiator.handshake_hash == responder.handshake_hash
    assert initiator.chaining_key == responder.chaining_key
    if "handshake_hash" in vector:
        assert initiator.handshake_hash.hex() == vector["handshake_hash"]

    ciphers: dict[HandshakeState, tuple[CipherState, CipherState]] = {
        initiator: initiator.split(),
        responder: responder.split(),
    }
    if parse(vector["protocol_name"]).one_way:
        writer, reader = initiator, responder
    transported = 0
    for message in messages:
        payload, expected = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        assert ciphers[writer][0].encrypt_with_ad(b"", payload) == expected
        assert ciphers[reader][1].decrypt_with_ad(b"", expected) == payload
        transported += 1
        if not parse(vector["protocol_name"]).one_way:
            writer, reader = reader, writer
    assert transported > 0


def failures(found: list[dict[str, Any]]) -> Iterator[str]:
    for number, vector in enumerate(found):
        try:
            play(vector)
        except (AssertionError, P2pchatError) as error:
            yield f"#{number} {vector['protocol_name']}: {error!r}"


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_vector_in_both_roles(vectors: Path, name: str) -> None:
    found = load(vectors, name)
    assert len(found) == COUNTS[name]
    assert list(failures(found)) == []


def test_the_vectors_cover_the_whole_table(vectors: Path) -> None:
    covered = {vector["protocol_name"].split("_")[1] for file in COUNTS for vector in load(vectors, file)}
    assert covered >= set(PATTERNS)


def test_a_wrong_byte_in_a_vector_is_noticed(vectors: Path) -> None:
    """The proof above can fail."""
    broken = load(vectors, "cacophony")
    for vector in broken:
        last = vector["messages"][-1]
        last["ciphertext"] = last["ciphertext"][:-2] + f"{int(last['ciphertext'][-2:], 16) ^ 1:02x}"
    assert len(list(failures(broken))) == COUNTS["cacophony"]
