"""The handshake machine: turns, keys, tampering, exhaustion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto import noise
from p2pchat.crypto.noise import MAX_NONCE, PATTERNS, CipherState, HandshakeState, parse
from p2pchat.crypto.primitives import seal_chacha, x25519_public
from p2pchat.errors import LocalProtocolError, P2pchatError, RemoteProtocolError

SECRET = {name: bytes((number,)) * 32 for number, name in enumerate(("ie", "re", "is", "rs", "psk"), 1)}
PAYLOADS = [b"", b"responder's statements", b"initiator's statements"]


def pair(
    psk: bytes = SECRET["psk"], prologue: bytes = b"preface", other_prologue: bytes | None = None
) -> list[HandshakeState]:
    """Initiator and responder of the links' handshake; only the responder's inputs vary."""
    theirs = prologue if other_prologue is None else other_prologue
    return [
        HandshakeState(
            noise.PROTOCOL, initiator=True, prologue=prologue, s=SECRET["is"], psks=[SECRET["psk"]]
        ),
        HandshakeState(noise.PROTOCOL, initiator=False, prologue=theirs, s=SECRET["rs"], psks=[psk]),
    ]


def run(ends: list[HandshakeState], upto: int = 3) -> list[bytes]:
    """Play the first `upto` messages; returns them."""
    written = []
    for turn in range(upto):
        message = ends[turn % 2].write_message(PAYLOADS[turn], SECRET["ie" if turn % 2 == 0 else "re"])
        assert ends[1 - turn % 2].read_message(message) == PAYLOADS[turn]
        written.append(message)
    return written


def suite(name: str) -> str:
    return f"Noise_{name}_{noise.SUITE}"


def test_a_handshake_names_both_and_agrees() -> None:
    ends = pair()
    run(ends)
    assert all(end.finished for end in ends)
    assert ends[0].remote_static == x25519_public(SECRET["rs"])
    assert ends[1].remote_static == x25519_public(SECRET["is"])
    assert ends[0].handshake_hash == ends[1].handshake_hash
    assert ends[0].chaining_key == ends[1].chaining_key
    (send, receive), (send_back, receive_back) = (end.split() for end in ends)
    assert receive_back.decrypt_with_ad(b"", send.encrypt_with_ad(b"", b"hi")) == b"hi"
    assert receive.decrypt_with_ad(b"", send_back.encrypt_with_ad(b"", b"hi")) == b"hi"
    assert send.encrypt_with_ad(b"", b"hi") != send_back.encrypt_with_ad(b"", b"hi")


def test_needs_ephemeral_only_where_a_message_carries_one() -> None:
    ends = pair()
    assert ends[0].needs_ephemeral
    assert not ends[1].needs_ephemeral
    with pytest.raises(LocalProtocolError):
        ends[0].write_message(b"")
    run(ends, 2)
    assert ends[0].my_turn
    assert not ends[0].needs_ephemeral
    ends[1].read_message(ends[0].write_message(b"no ephemeral"))
    assert ends[1].finished


def test_a_wrong_psk_or_prologue_fails_at_the_first_message() -> None:
    for ends in (pair(psk=bytes(32)), pair(other_prologue=b"another preface")):
        first = ends[0].write_message(b"", SECRET["ie"])
        with pytest.raises(RemoteProtocolError):
            ends[1].read_message(first)


@pytest.mark.parametrize("turn", range(3))
def test_flipped_bits_and_every_truncation_end_the_handshake(turn: int, full: bool) -> None:
    """Each byte with one or two of its bits in the gate, every bit with --full."""
    ends = pair()
    sent = run(ends, turn)
    writer = pair()
    for number, message in enumerate(sent):
        if (number - turn) % 2 == 0:
            writer[turn % 2].write_message(PAYLOADS[number], SECRET["ie" if number % 2 == 0 else "re"])
        else:
            writer[turn % 2].read_message(message)
    message = writer[turn % 2].write_message(PAYLOADS[turn], SECRET["ie" if turn % 2 == 0 else "re"])
    broken = [message[:length] for length in range(len(message))]
    broken += [message + b"\0"]
    broken += [
        message[: bit // 8] + bytes((message[bit // 8] ^ 1 << bit % 8,)) + message[bit // 8 + 1 :]
        for bit in range(0, 8 * len(message), 1 if full else 5)
    ]
    for wrong in broken:
        ends = pair()
        run(ends, turn)
        reader = ends[1 - turn % 2]
        with pytest.raises(RemoteProtocolError):
            reader.read_message(wrong)
        assert not reader.finished
        assert not reader.my_turn
        with pytest.raises(LocalProtocolError):
            reader.read_message(message)
        with pytest.raises(LocalProtocolError):
            reader.write_message(b"", SECRET["re"])
        with pytest.raises(LocalProtocolError):
            reader.split()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_the_peers_fault(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        pair()[1].read_message(raw)


def test_a_small_order_ephemeral_is_refused() -> None:
    """The office key lets an insider write a valid first message around a null key."""
    ends = pair()
    state = noise._SymmetricState(noise.PROTOCOL)
    state.mix_hash(b"preface")
    state.mix_key_and_hash(SECRET["psk"])
    state.mix_hash(bytes(32))
    state.mix_key(bytes(32))
    ends[1].read_message(bytes(32) + state.encrypt_and_hash(b""))
    with pytest.raises(RemoteProtocolError):
        ends[1].write_message(b"", SECRET["re"])
    with pytest.raises(LocalProtocolError):
        ends[1].write_message(b"", SECRET["re"])


def test_turns_are_kept() -> None:
    initiator, responder = pair()
    with pytest.raises(LocalProtocolError):
        initiator.read_message(bytes(48))
    with pytest.raises(LocalProtocolError):
        responder.write_message(b"", SECRET["re"])
    for early in (
        lambda: initiator.split(),
        lambda: initiator.handshake_hash,
        lambda: initiator.chaining_key,
    ):
        with pytest.raises(LocalProtocolError):
            early()
    run([initiator, responder])
    with pytest.raises(LocalProtocolError):
        initiator.write_message(b"", SECRET["ie"])
    with pytest.raises(LocalProtocolError):
        responder.read_message(bytes(64))
    initiator.split()
    with pytest.raises(LocalProtocolError, match="once"):
        initiator.split()


def test_the_length_limit_is_noises() -> None:
    ends = pair()
    fits = noise.MAX_MESSAGE - 32 - 16
    message = ends[0].write_message(bytes(fits), SECRET["ie"])
    assert len(message) == noise.MAX_MESSAGE
    assert ends[1].read_message(message) == bytes(fits)
    with pytest.raises(LocalProtocolError, match="65536"):
        pair()[0].write_message(bytes(fits + 1), SECRET["ie"])
    with pytest.raises(RemoteProtocolError, match="too long"):
        pair()[1].read_message(bytes(noise.MAX_MESSAGE + 1))


@pytest.mark.parametrize(
    "name",
    [
        "", "XX", suite("XXfallback"), suite("XXpsk4"), suite("XXpsk1+psk0"), suite("XXpsk0+psk0"),
        suite("QQ"), suite("Npsk2"), "Noise_XX_25519_AESGCM_SHA256", suite("XX") + "\n", suite("XX+psk0"),
    ],
)  # fmt: skip
def test_impossible_names(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        parse(name)


def test_psk_modifiers_are_read_from_the_name() -> None:
    pattern = parse(suite("XXpsk0+psk3"))
    assert pattern.messages == (("psk", "e"), ("e", "ee", "s", "es"), ("s", "se", "psk"))
    assert pattern.psks == 2


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_each_pattern_takes_exactly_its_keys(name: str) -> None:
    """Every row of the table with every psk place runs, and takes no key too many or few."""
    places = [f"psk{place}" for place in range(len(PATTERNS[name][2]) + 1)]
    for modifiers in ("", *places, "+".join(places)):
        protocol = suite(name + modifiers)
        assert len(protocol) <= 64
        pattern = parse(protocol)
        ends: list[HandshakeState] = []
        for initiator, own, other in ((True, "is", "rs"), (False, "rs", "is")):
            ours, theirs = pattern.pre if initiator else pattern.pre[::-1]
            s = SECRET[own] if ours or pattern.sends_static(initiator) else None
            rs = x25519_public(SECRET[other]) if theirs else None
            psks = [SECRET["psk"]] * pattern.psks
            ends.append(HandshakeState(protocol, initiator=initiator, s=s, rs=rs, psks=psks))
            wrong: list[tuple[bytes | None, bytes | None, list[bytes]]] = [
                (None if s else SECRET[own], rs, psks),
                (s, None if rs else x25519_public(SECRET[other]), psks),
                (s, rs[1:] if rs else bytes(31), psks),
                (s, rs, [*psks, SECRET["psk"]]),
                (s, rs, [bytes(31)] * max(1, pattern.psks)),
            ]
            for bad_s, bad_rs, bad_psks in wrong:
                with pytest.raises(LocalProtocolError):
                    HandshakeState(protocol, initiator=initiator, s=bad_s, rs=bad_rs, psks=bad_psks)
        turn = 0
        while not ends[0].finished:
            writer, reader = ends[turn % 2], ends[1 - turn % 2]
            secret = SECRET["ie" if turn % 2 == 0 else "re"] if writer.needs_ephemeral else None
            assert reader.read_message(writer.write_message(b"payload", secret)) == b"payload"
            turn += 1
        (send, receive), (send_back, receive_back) = (end.split() for end in ends)
        assert receive_back.decrypt_with_ad(b"", send.encrypt_with_ad(b"", b"x")) == b"x"
        if pattern.one_way:
            with pytest.raises(LocalProtocolError):
                send_back.encrypt_with_ad(b"", b"x")
            with pytest.raises(LocalProtocolError):
                receive.decrypt_with_ad(b"", bytes(17))
        else:
            assert receive.decrypt_with_ad(b"", send_back.encrypt_with_ad(b"", b"x")) == b"x"


def test_a_cipher_stops_before_its_nonce_repeats() -> None:
    cipher = CipherState(bytes(32), MAX_NONCE - 1)
    cipher.encrypt_with_ad(b"", b"last")
    assert cipher.nonce == MAX_NONCE
    with pytest.raises(LocalProtocolError, match="exhausted"):
        cipher.encrypt_with_ad(b"", b"one too many")
    with pytest.raises(LocalProtocolError, match="exhausted"):
        cipher.decrypt_with_ad(b"", bytes(16))


def test_rekey_follows_the_specification_and_keeps_the_nonce() -> None:
    key = bytes(range(32))
    cipher = CipherState(key)
    cipher.encrypt_with_ad(b"", b"one")
    cipher.rekey()
    assert cipher.nonce == 1
    next_key = seal_chacha(key, bytes(4) + b"\xff" * 8, b"", bytes(32))[:32]
    nonce = bytes(4) + (1).to_bytes(8, "little")
    assert cipher.encrypt_with_ad(b"ad", b"two") == seal_chacha(next_key, nonce, b"ad", b"two")


def test_a_cipher_without_key_passes_text_and_cannot_rekey() -> None:
    cipher = CipherState()
    assert cipher.encrypt_with_ad(b"", b"clear") == b"clear" == cipher.decrypt_with_ad(b"", b"clear")
    with pytest.raises(LocalProtocolError):
        cipher.rekey()


def test_a_failed_tag_moves_no_counter() -> None:
    cipher = CipherState(bytes(32))
    sealed = CipherState(bytes(32)).encrypt_with_ad(b"", b"text")
    with pytest.raises(RemoteProtocolError):
        cipher.decrypt_with_ad(b"", sealed[:-1] + b"\0")
    assert cipher.nonce == 0
    assert cipher.decrypt_with_ad(b"", sealed) == b"text"


def test_misuse_of_a_fresh_handshake_stays_inside_the_error_tree() -> None:
    for end in pair():
        for call in (end.split, lambda e=end: e.read_message(b""), lambda e=end: e.write_message(b"")):
            with pytest.raises(P2pchatError):
                call()
