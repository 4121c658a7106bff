"""The link machine: who the peer is, what may come when, and how a link ends."""

from __future__ import annotations

import hashlib
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.engine.links import MOVES, OPEN_OFFICE_KEY, Ended, Established, Got, LinkMachine
from p2pchat.errors import LocalProtocolError
from p2pchat.wire.codec import Record, encode
from p2pchat.wire.framing import frame
from p2pchat.wire.limits import (
    DEAD_AFTER_S,
    HANDSHAKE_S,
    MAX_HELLO,
    MAX_PREAUTH_FRAME,
    PING_AFTER_S,
    REKEY_BYTES,
    REKEY_S,
)
from p2pchat.wire.messages.link import Keys, Ping, Pong, Preface, SasReveal, Want
from tests.engine.wire_pair import T0, Pair, events, got, machine, met, person

OTHER_KEY = b"\x07" * 32
SMALL = SasReveal(b"n" * 32)


def big(size: int = 60_000) -> Record:
    return Keys(b"r" * 32, (b"k" * size,))


# -- the handshake ---------------------------------------------------------------------------


def test_two_machines_prove_themselves_and_share_a_hash() -> None:
    of_alice, of_bob = Pair().meet()
    assert (of_alice.account, of_alice.device) == (person("bob").account, person("bob").device)
    assert (of_bob.account, of_bob.device) == (person("alice").account, person("alice").device)
    assert of_alice.handshake_hash == of_bob.handshake_hash
    assert of_alice.hello == person("bob").hello


def test_the_open_office_key_is_the_hash_of_its_name() -> None:
    assert hashlib.blake2b(b"p2pchat/open-office/1", digest_size=32).digest() == OPEN_OFFICE_KEY


def test_the_first_words_are_the_preface_and_one_handshake_message() -> None:
    alice = machine(person("alice"), initiator=True)
    alice.start()
    said = alice.data_to_send()
    preface = frame(encode(Preface(1, "chat", "office")))
    assert said.startswith(preface)
    assert len(said) == len(preface) + 2 + 32 + 16  # e and the tag of an empty payload: nothing to read


def test_a_wrong_key_gets_not_one_byte() -> None:
    bob = machine(person("bob"), initiator=False, psks=(OTHER_KEY,))
    pair = Pair(bob=bob)
    pair.alice.start()
    pair.carry()
    assert [name for name, _ in pair.tape] == ["alice"]
    assert events(bob) == [Ended("another key", clean=False)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_accepted_key_is_tried(place: int) -> None:
    accepted = [bytes((n,)) * 32 for n in (1, 2, 3)]
    alice = machine(person("alice"), initiator=True, psks=(accepted[place],))
    Pair(alice, machine(person("bob"), initiator=False, psks=accepted)).meet()


@pytest.mark.parametrize(
    "preface",
    [
        encode(Preface(2, "chat", "office")),
        encode(Preface(1, "bulb", "office")),
        encode(Preface(1, "chat", "invite")),
        encode(Preface(1, "chat", "office")) + b"\0",
        b"GET / HTTP/1.1\r\n",
        b"\x93",
    ],
)
def test_a_preface_not_understood_ends_the_link_in_silence(preface: bytes) -> None:
    bob = machine(person("bob"), initiator=False)
    bob.receive_data(frame(preface), T0)
    assert bob.data_to_send() == b""
    (ended,) = events(bob)
    assert isinstance(ended, Ended)
    assert not ended.clean


def test_the_preface_is_bound_into_the_handshake() -> None:
    """A preface changed on the way, though still understood, is noticed: it is the prologue."""
    alice = machine(person("alice"), initiator=True)
    alice.start()
    said = alice.data_to_send()
    bob = LinkMachine(
        initiator=False,
        noise_secret=person("bob").noise_secret,
        hello=encode(person("bob").hello),
        psks={"office": (OPEN_OFFICE_KEY,), "invite": (OPEN_OFFICE_KEY,)},
        entropy=machine(person("bob"), initiator=False)._entropy,
        now=T0,
    )
    changed = frame(encode(Preface(1, "chat", "invite")))
    first = said[len(frame(encode(Preface(1, "chat", "office")))) :]
    bob.receive_data(changed + first, T0)
    assert bob.data_to_send() == b""
    assert events(bob) == [Ended("another key", clean=False)]


@pytest.mark.parametrize("liar", ["alice", "bob"])
def test_statements_of_somebody_else_are_not_enough(liar: str) -> None:
    """A hello with another person's statements, under one's own Noise key."""
    stolen = encode(person("carol").hello)
    alice = machine(person("alice"), initiator=True, raw_hello=stolen if liar == "alice" else None)
    bob = machine(person("bob"), initiator=False, raw_hello=stolen if liar == "bob" else None)
    pair = Pair(alice, bob)
    alice.start()
    pair.carry()
    deceived = bob if liar == "alice" else alice
    assert events(deceived) == [Ended("hello for another noise key", clean=False)]
    assert not deceived.is_open


@pytest.mark.parametrize(
    "changed",
    [
        {"v": 2},
        {"device": b"short"},
        {"device": b"\0" * 32},
        {"port": 65536},
        {"port": -1},
        {"wall_ms": -1},
        {"wall_ms": 2**48},
        {"statements": ()},
        {"statements": person("bob").hello.statements + person("alice").hello.statements},
    ],
)
def test_a_hello_that_does_not_hold_ends_the_link(changed: dict[str, object]) -> None:
    pair = Pair(bob=machine(person("bob"), initiator=False, **changed))
    pair.alice.start()
    pair.carry()
    (ended,) = events(pair.alice)
    assert isinstance(ended, Ended)
    assert not ended.clean


def test_a_hello_too_long_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        machine(person("alice"), initiator=True, raw_hello=b"x" * (MAX_HELLO + 1))


def test_nothing_is_sent_before_the_handshake_is_complete() -> None:
    alice = machine(person("alice"), initiator=True)
    with pytest.raises(LocalProtocolError):
        alice.send(SMALL, T0)
    alice.start()
    with pytest.raises(LocalProtocolError):
        alice.start()
    with pytest.raises(LocalProtocolError):
        machine(person("bob"), initiator=False).start()


def test_a_longer_frame_is_refused_before_the_handshake_and_taken_after() -> None:
    bob = machine(person("bob"), initiator=False)
    bob.receive_data((MAX_PREAUTH_FRAME + 1).to_bytes(2, "big"), T0)
    assert isinstance(events(bob)[0], Ended)
    pair = met()
    pair.alice.send(big(), T0)
    pair.carry()
    assert got(pair.bob) == [big()]


# -- any split, any cut, any flip ----------------------------------------------------------------


def recorded() -> tuple[bytes, bytes]:
    """All bytes of a short conversation: what alice said, and what bob said."""
    pair = met()
    for end in (pair.alice, pair.bob):
        end.send(SMALL, T0)
        end.send(big(3000), T0)
    pair.carry()
    pair.alice.close("bye")
    pair.carry()
    said = {"alice": b"", "bob": b""}
    for name, data in pair.tape:
        said[name] += data
    return said["alice"], said["bob"]


def replay(alices: bytes, cuts: list[int]) -> list[object]:
    """What bob makes of alice's bytes in these pieces. His randomness is the same each time."""
    bob = machine(person("bob"), initiator=False)
    edges = sorted({0, len(alices), *(cut % (len(alices) + 1) for cut in cuts)})
    for low, high in itertools.pairwise(edges):
        bob.receive_data(alices[low:high], T0)
    bob.end_of_stream()
    return list(events(bob))


ALICES, BOBS = recorded()
WHOLE = replay(ALICES, [])


def test_the_recording_is_a_conversation() -> None:
    assert [type(event) for event in WHOLE] == [Established, Got, Got, Ended]
    assert WHOLE[-1] == Ended("bye", clean=True)


@given(cuts=st.lists(st.integers(0, 10**6), max_size=40))
def test_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    assert replay(ALICES, cuts) == WHOLE


def test_single_bytes_give_the_same_events() -> None:
    assert replay(ALICES, list(range(len(ALICES)))) == WHOLE


def test_a_cut_after_any_byte_is_truncation_and_nothing_is_made_up() -> None:
    for length in range(len(ALICES)):
        found = replay(ALICES[:length], [])
        assert found[-1] == Ended("truncated", clean=False), length
        assert found[:-1] == WHOLE[: len(found) - 1], length


def test_a_flipped_bit_anywhere_ends_the_link_unclean() -> None:
    for at in range(len(ALICES)):
        altered = bytearray(ALICES)
        altered[at] ^= 1 << (at % 8)
        found = replay(bytes(altered), [])
        last = found[-1]
        assert isinstance(last, Ended), at
        assert not last.clean, at
        assert found[:-1] == WHOLE[: len(found) - 1], at


def test_a_flipped_bit_in_the_answer_is_noticed_by_who_dialled() -> None:
    pair = Pair()
    pair.alice.start()
    pair.bob.receive_data(pair.alice.data_to_send(), T0)
    answer = pair.bob.data_to_send()
    for at in range(len(answer)):
        alice = machine(person("alice"), initiator=True)
        alice.start()
        alice.data_to_send()
        altered = bytearray(answer)
        altered[at] ^= 1 << (at % 8)
        alice.receive_data(bytes(altered), T0)
        alice.end_of_stream()
        last = events(alice)[-1]
        assert isinstance(last, Ended), at
        assert not alice.is_open, at
        assert alice.data_to_send() == b"", at


@given(noise=st.binary(max_size=300), after=st.booleans())
def test_any_bytes_give_events_and_nothing_else(noise: bytes, after: bool) -> None:
    victim = met().bob if after else machine(person("bob"), initiator=False)
    victim.receive_data(noise, T0)
    victim.end_of_stream()
    assert isinstance(events(victim)[-1], Ended)


def test_a_record_repeated_left_out_or_swapped_ends_the_link() -> None:
    for order in ([0, 0], [1], [1, 0]):
        pair = met()
        records = []
        for token in (b"1", b"2"):
            pair.alice.send(SasReveal(token * 32), T0)
            records.append(pair.alice.data_to_send())
        for place in order:
            pair.bob.receive_data(records[place], T0)
        assert isinstance(events(pair.bob)[-1], Ended), order


# -- records ------------------------------------------------------------------------------------


def test_records_come_in_order_both_ways() -> None:
    pair = met()
    sent: list[Record] = [Want(b"r" * 32, False, (bytes((n,)) * 32,), b"", 0) for n in range(50)]
    for record in sent:
        pair.alice.send(record, T0)
        pair.bob.send(record, T0)
    pair.carry()
    assert got(pair.alice) == got(pair.bob) == sent


def test_the_length_on_the_wire_tells_only_a_step() -> None:
    pair = met()
    lengths = set()
    for size in range(0, 40):
        pair.alice.send(Keys(b"", (b"k" * size,)), T0)
        lengths.add(len(pair.alice.data_to_send()))
    assert lengths == {2 + 64 + 16}


def test_an_unknown_record_ends_the_link_with_a_reason_the_peer_hears() -> None:
    pair = met()
    session = pair.alice._session
    assert session is not None
    pair.bob.receive_data(frame(session.seal(b"\xee\x80" + b"\0" * 62)), T0)
    assert events(pair.bob) == [Ended("unknown frame type", clean=False)]
    pair.alice.receive_data(pair.bob.data_to_send(), T0)
    assert events(pair.alice) == [Ended("unknown frame type", clean=True)]


def test_wrong_padding_ends_the_link() -> None:
    pair = met()
    session = pair.alice._session
    assert session is not None
    pair.bob.receive_data(frame(session.seal(b"\0" * 64)), T0)
    assert events(pair.bob) == [Ended("malformed padding", clean=False)]


# -- the end ---------------------------------------------------------------------------------------


def test_close_is_heard_with_its_reason_and_is_no_truncation() -> None:
    pair = met()
    pair.alice.close("stopping")
    pair.carry()
    assert events(pair.alice) == [Ended("stopping", clean=True)]
    pair.bob.end_of_stream()
    assert events(pair.bob) == [Ended("stopping", clean=True)]


def test_the_end_of_the_stream_without_close_is_truncation() -> None:
    pair = met()
    pair.bob.end_of_stream()
    assert events(pair.bob) == [Ended("truncated", clean=False)]


def test_nothing_happens_after_the_end() -> None:
    pair = met()
    pair.alice.send(SMALL, T0)
    late = pair.alice.data_to_send()
    pair.bob.close("bye")
    events(pair.bob)
    pair.bob.data_to_send()
    pair.bob.receive_data(late, T0)
    pair.bob.send(SMALL, T0)
    pair.bob.close("again")
    pair.bob.tick(T0 + 1000)
    assert events(pair.bob) == []
    assert pair.bob.data_to_send() == b""
    assert pair.bob.deadline() == math.inf


def test_what_follows_close_is_not_read() -> None:
    pair = met()
    pair.alice.send(SMALL, T0)
    pair.alice.close("bye")
    tail = pair.alice.data_to_send()
    pair.bob.receive_data(tail + b"\0\0 more", T0)
    assert [type(event) for event in events(pair.bob)] == [Got, Ended]


# -- silence ------------------------------------------------------------------------------------------


def test_a_handshake_that_takes_too_long_is_given_up() -> None:
    bob = machine(person("bob"), initiator=False)
    assert bob.deadline() == T0 + HANDSHAKE_S
    bob.tick(T0 + HANDSHAKE_S - 0.01)
    assert events(bob) == []
    bob.receive_data(b"\0", T0 + HANDSHAKE_S - 0.01)  # a byte now and then buys no time
    assert bob.deadline() == T0 + HANDSHAKE_S
    bob.tick(T0 + HANDSHAKE_S)
    assert events(bob) == [Ended("handshake too slow", clean=False)]
    assert bob.data_to_send() == b""


def test_a_silent_peer_is_pinged_then_given_up() -> None:
    alice = met().alice
    assert alice.deadline() == T0 + PING_AFTER_S
    alice.tick(T0 + PING_AFTER_S)
    assert alice.data_to_send()
    alice.tick(T0 + PING_AFTER_S + 1)
    assert alice.data_to_send() == b"", "one ping is enough"
    assert alice.deadline() == T0 + DEAD_AFTER_S
    alice.tick(T0 + DEAD_AFTER_S)
    assert events(alice) == [Ended("silent", clean=False)]


def test_who_dialled_pings_all_his_links_at_the_same_moments() -> None:
    moments = {}
    for heard in (0.0, 0.4, 1.3, 3.4, 3.6, 6.9):
        pair = met()
        pair.bob.send(big(9), T0 + heard)
        pair.carry(T0 + heard)
        moments[heard] = pair.alice.deadline() - T0
        assert heard + PING_AFTER_S / 2 <= moments[heard] <= heard + PING_AFTER_S
        assert pair.bob.deadline() == T0 + PING_AFTER_S + 2.0, "the other side waits longer"
    assert set(moments.values()) == {7.0, 10.5}


def test_any_record_counts_as_life_and_pings_are_answered_inside() -> None:
    pair = met()
    now = T0
    for _ in range(20):
        now += PING_AFTER_S
        pair.alice.tick(now)
        pair.carry(now)
        assert pair.alice.deadline() > now
    assert events(pair.alice) == events(pair.bob) == []


def test_bytes_that_prove_nothing_are_no_sign_of_life() -> None:
    bob = met().bob
    bob.receive_data(b"\xff", T0 + 13)
    bob.tick(T0 + DEAD_AFTER_S)
    assert events(bob) == [Ended("silent", clean=False)]


def test_a_ping_of_the_engine_comes_back_as_a_pong() -> None:
    pair = met()
    pair.alice.send(Ping(1 << 32 | 5), T0)
    pair.carry()
    assert got(pair.alice) == [Pong(1 << 32 | 5)]


# -- new keys ---------------------------------------------------------------------------------------------


def test_both_directions_take_new_keys_after_an_hour_mid_stream() -> None:
    pair = met()
    now, sent = T0, 0
    for _ in range(4):
        now += REKEY_S
        for n in range(3):
            pair.alice.send(SasReveal(bytes((n,)) * 32), now)
            pair.bob.send(SasReveal(bytes((n,)) * 32), now)
            sent += 1
        pair.carry(now)
    assert len(got(pair.alice)) == len(got(pair.bob)) == sent


def test_a_rekey_is_one_record_of_its_own_and_the_old_key_is_gone() -> None:
    pair = met()
    session = pair.alice._session
    assert session is not None
    pair.alice.send(SMALL, T0 + REKEY_S - 1)
    before = len(pair.alice.data_to_send())
    pair.alice.send(SMALL, T0 + REKEY_S)
    assert len(pair.alice.data_to_send()) == before + 2 + 64 + 16
    assert not session.needs_rekey(T0 + REKEY_S)


def test_a_direction_takes_a_new_key_after_a_gibibyte() -> None:
    pair = met()
    session = pair.alice._session
    assert session is not None
    session._sealed_bytes = REKEY_BYTES - 1  # as if so much had been said
    pair.alice.send(SMALL, T0)
    pair.alice.send(SMALL, T0)
    assert session._sealed_bytes == 64
    pair.bob.send(SMALL, T0)
    pair.carry()  # only the counter was pretended: all of it still opens
    assert got(pair.bob) == [SMALL, SMALL]
    assert got(pair.alice) == [SMALL]


# -- the table ---------------------------------------------------------------------------------------------


def test_every_state_leads_to_the_end_and_nothing_leaves_it() -> None:
    for state, following in MOVES.items():
        assert (not following) if state == "ended" else "ended" in following
        assert all(one in MOVES for one in following)
