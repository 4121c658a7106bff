"""The link machine against liars, members that break the rules, and the last digit of a clock.

What two honest machines agree on, and bytes that are wrong, cut or flipped, stand in
test_links; here the other end knows the key and means ill.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto.noise import PROTOCOL, HandshakeState
from p2pchat.crypto.session import PADDED_LENGTHS, Session
from p2pchat.engine.links import OPEN_OFFICE_KEY, OWN_PINGS, Ended, Established, Event, Got, LinkMachine
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.framing import FrameReader, frame
from p2pchat.wire.limits import MAX_FRAME
from p2pchat.wire.messages.link import Close, Ping, Pong, Preface, Pull, Rekey, decode_frame, encode_frame
from tests.engine.play import Dice
from tests.engine.wire_pair import T0, Pair, events, got, machine, met, person

PREFACE = encode(Preface(1, "chat", "office"))


def note(n: int) -> Pull:
    """A record told from every other."""
    return Pull(n.to_bytes(2, "big") * 16)


def end_of(found: list[Event]) -> Ended:
    """Exactly one end, and nothing after it."""
    assert [isinstance(event, Ended) for event in found].count(True) == 1
    end = found[-1]
    assert isinstance(end, Ended)
    return end


def frames_of(stream: bytes) -> list[bytes]:
    """The bodies in a stream of whole frames."""
    reader = FrameReader(MAX_FRAME)
    reader.receive_data(stream)
    found = []
    while (body := reader.next_frame()) is not None:
        found.append(body)
    assert not reader.truncated
    return found


def padded(content: bytes) -> bytes:
    """The one padding of `content`."""
    return (content + b"\x80").ljust(next(n for n in PADDED_LENGTHS if n > len(content)), b"\0")


class Raw:
    """Alice's end of a finished handshake, to say what no machine would."""

    def __init__(self) -> None:
        pair = met()
        assert pair.alice._session is not None
        self.session: Session = pair.alice._session
        self.bob: LinkMachine = pair.bob
        self._out = bytearray()

    def say(self, message: Record) -> None:
        """Seal a record as it should be."""
        self.plain(padded(encode_frame(message)))

    def plain(self, plaintext: bytes) -> None:
        """Seal any bytes."""
        self._out += frame(self.session.seal(plaintext))

    def send(self, *, answering: bool = True) -> None:
        """Let Bob have what was said."""
        self.bob.receive_data(bytes(self._out), T0, answering=answering)
        self._out.clear()

    def answers(self) -> list[Record]:
        """What Bob says to it."""
        plain = [self.session.open(body) for body in frames_of(self.bob.data_to_send())]
        return [decode_frame(one.rstrip(b"\0")[:-1]) for one in plain]


# -- before anybody is known --


class Counting(Dice):
    """Randomness that says whether any was taken."""

    taken = 0

    def bytes(self, count: int) -> bytes:
        self.taken += 1
        return super().bytes(count)


def test_who_lacks_the_key_costs_no_randomness_and_hears_no_byte() -> None:
    alice = machine(person("alice"), initiator=True)
    bob = machine(person("bob"), initiator=False, psks=(b"k" * 32, b"j" * 32))
    bob._entropy = entropy = Counting("bob")
    alice.start()
    bob.receive_data(alice.data_to_send(), T0)
    assert bob.data_to_send() == b""
    assert entropy.taken == 0
    assert events(bob) == [Ended("another key", clean=False)]


@pytest.mark.parametrize(("theirs", "tries"), [(b"n" * 32, 1), (b"o" * 32, 2)])
def test_keys_are_tried_newest_first(theirs: bytes, tries: int) -> None:
    bob = machine(person("bob"), initiator=False, psks=(b"n" * 32, b"o" * 32))
    tried: list[bytes] = []
    honest = bob._handshake

    def noted(psk: bytes) -> HandshakeState:
        tried.append(psk)
        return honest(psk)

    bob._handshake = noted  # type: ignore[method-assign]
    Pair(machine(person("alice"), initiator=True, psks=(theirs,)), bob).meet()
    assert tried == [b"n" * 32, b"o" * 32][:tries]


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_an_ephemeral_of_small_order_is_refused(point: bytes) -> None:
    noise = _alices_noise()
    # Her first message by hand, for no honest code sends such a point.
    noise._state.mix_key_and_hash(OPEN_OFFICE_KEY)
    noise._state.mix_hash(point)
    noise._state.mix_key(point)
    bob = machine(person("bob"), initiator=False)
    bob.receive_data(frame(PREFACE) + frame(point + noise._state.encrypt_and_hash(b"")), T0)
    assert bob.data_to_send() == b""
    assert not end_of(events(bob)).clean


def test_a_payload_in_the_first_message_is_refused() -> None:
    bob = machine(person("bob"), initiator=False)
    bob.receive_data(frame(PREFACE) + frame(_alices_noise().write_message(b"early", b"e" * 32)), T0)
    assert bob.data_to_send() == b""
    assert end_of(events(bob)).reason == "payload in the first handshake message"


def _alices_noise() -> HandshakeState:
    secret = person("alice").noise_secret
    return HandshakeState(PROTOCOL, initiator=True, prologue=PREFACE, s=secret, psks=(OPEN_OFFICE_KEY,))


GENESIS = person("alice").hello.statements[0]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"v": 2}, "not understood"),
        ({"device": b"d" * 31}, "not understood"),
        ({"device": b"d" * 32}, "without the device"),
        ({"device": person("bob").device}, "without the device"),
        ({"statements": ()}, "several accounts"),
        ({"statements": (GENESIS, *person("mallory").hello.statements)}, "several accounts"),
        ({"port": 65536}, "out of range"),
        ({"port": -1}, "out of range"),
        ({"wall_ms": 2**48}, "out of range"),
        ({"wall_ms": -1}, "out of range"),
        ({"raw_hello": encode(person("mallory").hello)}, "another noise key"),
        ({"raw_hello": encode(person("alice").hello) + b"\x00"}, "malformed"),
        ({"raw_hello": b""}, "malformed"),
    ],
)
@pytest.mark.parametrize("liar_dials", [True, False])
def test_a_hello_that_proves_nothing(changed: dict[str, object], why: str, liar_dials: bool) -> None:
    """Among them a recorded hello of somebody else, said under one's own Noise key."""
    liar = machine(person("alice"), initiator=liar_dials, **changed)  # type: ignore[arg-type]
    victim = machine(person("carol"), initiator=not liar_dials)
    pair = Pair(liar, victim) if liar_dials else Pair(victim, liar)
    pair.alice.start()
    pair.carry()
    found = events(victim)
    assert not any(isinstance(event, Established) for event in found)
    assert why in end_of(found).reason


def test_bytes_behind_the_handshake_keep_the_strangers_limit_until_it_is_proven() -> None:
    pair = Pair()
    pair.meet()
    alices = [data for who, data in pair.tape if who == "alice"]
    large = (60_000).to_bytes(2, "big") + bytes(100)
    bob = machine(person("bob"), initiator=False)
    bob.receive_data(alices[0] + large, T0)
    assert "60000" in end_of(events(bob)).reason
    bob = machine(person("bob"), initiator=False)
    bob.receive_data(alices[0], T0)
    bob.receive_data(alices[1] + large, T0)
    assert bob.is_open, "what follows the third message is a record, and may be large"


# -- bytes of another time or place --


def test_records_of_another_session_and_our_own_are_worth_nothing() -> None:
    here = met()
    here.alice.send(note(1), T0)
    here.alice.receive_data(here.alice.data_to_send(), T0)  # sent back to her
    found = events(here.alice)
    assert not end_of(found).clean
    assert len(found) == 1
    bob = met().bob
    there = machine(person("alice"), initiator=True)
    there._entropy = Dice("another day")
    elsewhere = Pair(there)
    elsewhere.meet()
    there.send(note(2), T0)
    bob.receive_data(there.data_to_send(), T0)
    found = events(bob)
    assert not end_of(found).clean
    assert len(found) == 1


def test_a_left_out_rekey_ends_the_link() -> None:
    pair = met()
    pair.alice.send(note(1), T0 + 3601)
    _, record = frames_of(pair.alice.data_to_send())
    pair.bob.receive_data(frame(record), T0 + 3601)
    found = events(pair.bob)
    assert not end_of(found).clean
    assert len(found) == 1


def test_a_peer_may_rekey_as_often_as_it_likes() -> None:
    raw = Raw()
    for n in range(50):
        raw.say(Rekey())
        raw.session.rekey_sending(T0)
        raw.say(note(n))
    raw.send()
    assert got(raw.bob) == [note(n) for n in range(50)]


# -- a member that breaks the rules --

PING = encode_frame(Ping(1))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\0" * 64,
        PING,  # not padded at all
        PING + b"\x80",
        PING.ljust(64, b"\0"),  # padded without the mark
        (PING + b"\x80").ljust(128, b"\0"),  # further than need be
        (PING + b"\x80").ljust(63, b"\0") + b"\1",
        padded(b""),
        padded(b"\xff\x90"),
        padded(b"\x01\x91\xa1x"),
        padded(PING + b"\0\x80\0"),
        padded(b"\x01\x91\xcc\x01"),  # 1, in two bytes
        padded(b"\x01\x92\x01\x02"),  # a field too many
    ],
)
def test_padding_and_records_have_one_form(plaintext: bytes) -> None:
    raw = Raw()
    raw.say(note(1))
    raw.plain(plaintext)
    raw.say(note(2))
    raw.send()
    found = events(raw.bob)
    assert found[0] == Got(note(1))
    end = end_of(found)
    assert len(found) == 2
    assert not end.clean
    assert raw.answers() == [Close(end.reason)], "who is known is told why"


def test_pongs_below_2_to_the_32_stay_inside_and_the_rest_surface() -> None:
    raw = Raw()
    asked = [0, 1, OWN_PINGS - 1, OWN_PINGS, 2**63, 2**64 - 1]
    for token in asked:
        raw.say(Ping(token))
    for token in 0, 5, OWN_PINGS - 1, OWN_PINGS, OWN_PINGS + 1:
        raw.say(Pong(token))
    raw.send()
    assert raw.answers() == [Pong(token) for token in asked]
    assert got(raw.bob) == [Pong(OWN_PINGS), Pong(OWN_PINGS + 1)]


def test_pings_of_a_peer_that_does_not_read_stay_unanswered() -> None:
    raw = Raw()
    for token in range(100):
        raw.say(Ping(token))
    raw.send(answering=False)
    assert raw.bob.data_to_send() == b""
    raw.say(Ping(7))
    raw.send()
    assert raw.answers() == [Pong(7)]


def test_a_reason_is_cut_and_nothing_is_said_to_close() -> None:
    raw = Raw()
    raw.say(Close("x" * 5000))
    raw.say(note(1))
    raw.send()
    assert events(raw.bob) == [Ended("x" * 64, clean=True)]
    assert raw.bob.data_to_send() == b""


# -- the last digit of a clock --


@given(heard=st.floats(0, 1e7))
def test_a_deadline_that_has_come_is_always_acted_upon(heard: float) -> None:
    """Or the task that waits for it would turn without end: (h + 7.0) - h may be less than 7.0."""
    pair = met()
    pair.bob.send(note(1), heard)
    pair.alice.receive_data(pair.bob.data_to_send(), heard)
    for _ in range(4):
        at = pair.alice.deadline()
        if at == float("inf"):
            return
        pair.alice.tick(at)
        assert pair.alice.deadline() > at
    raise AssertionError("silence has no end")


@given(began=st.floats(0, 1e7))
def test_the_end_of_a_slow_handshake_too(began: float) -> None:
    bob = machine(person("bob"), initiator=False, now=began)
    bob.tick(bob.deadline())
    assert events(bob) == [Ended("handshake too slow", clean=False)]
