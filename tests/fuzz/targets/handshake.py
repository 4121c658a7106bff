"""The link machine as both sides, before, during and after a handshake.

The first byte says which door the rest comes through: raw bytes at a machine in some
state, or plaintext sealed by a member that knows the key, so that what lies behind the
seal is reached too.
"""

from __future__ import annotations

import copy

from p2pchat.crypto.session import MAX_UNPADDED, pad
from p2pchat.engine.links import Ended, Established, Got, LinkMachine
from p2pchat.wire.codec import encode
from p2pchat.wire.framing import frame
from p2pchat.wire.messages.link import FRAMES, Hello, Ping, encode_frame
from tests.engine.wire_pair import T0, Pair, events, machine, person
from tests.kit.records import example_of

RESPONDER, INITIATOR, THIRD, OPEN, SEALED, RECORDS, HELLO = range(7)
_TAPE = Pair()
_TAPE.meet()
_ALICES = [data for who, data in _TAPE.tape if who == "alice"]
_BOBS = [data for who, data in _TAPE.tape if who == "bob"]
_CALLED = machine(person("bob"), initiator=False)
_HALF = machine(person("bob"), initiator=False)
_HALF.receive_data(_ALICES[0], T0)
_CALLING = machine(person("alice"), initiator=True)
_CALLING.start()


def seeds() -> list[bytes]:
    found = [bytes((RESPONDER,)) + _ALICES[0], bytes((INITIATOR,)) + _BOBS[0], bytes((THIRD,)) + _ALICES[1]]
    open_pair = _open()
    open_pair.alice.send(Ping(1), T0)
    open_pair.alice.close("bye")
    found.append(bytes((OPEN,)) + open_pair.alice.data_to_send())
    for kind in FRAMES.values():
        plain = encode_frame(example_of(kind, 8))
        found += [bytes((SEALED,)) + pad(plain), bytes((RECORDS,)) + len(plain).to_bytes(2, "big") + plain]
    found.append(bytes((HELLO,)) + encode(person("alice").hello))
    return found


def one_input(data: bytes) -> None:
    """Nothing may be raised at all: what a peer does wrong is an event here."""
    if not data:
        return
    door, rest = data[0] % 7, data[1:]
    match door:
        case 0:
            _feed(copy.deepcopy(_CALLED), rest, known=False)
        case 1:
            _feed(copy.deepcopy(_CALLING), rest, known=False)
        case 2:
            _feed(copy.deepcopy(_HALF), rest, known=False)
        case 3:
            _feed(_open().bob, rest, known=True)
        case 4:
            _feed_sealed([rest[:65_519]])
        case 5:
            _feed_sealed([pad(part[:MAX_UNPADDED]) for part in _parts(rest)])
        case _:
            _hello(rest)


def _open() -> Pair:
    """A pair after its handshake: a copy, for a handshake takes longer than what is to be tried."""
    return copy.deepcopy(_TAPE)


def _parts(data: bytes) -> list[bytes]:
    """Records by length, as many as there are."""
    found = []
    while len(data) > 2 and len(found) < 32:
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


def _feed_sealed(plain: list[bytes]) -> None:
    pair = _open()
    session = pair.alice._session
    assert session is not None
    _feed(pair.bob, b"".join(frame(session.seal(one)) for one in plain), known=True)


def _hello(raw: bytes) -> None:
    """Somebody with the key and a Noise key of his own says anything as his hello."""
    pair = Pair(machine(person("alice"), initiator=True, raw_hello=raw[:6000]))
    pair.alice.start()
    pair.carry()
    found = events(pair.bob)
    assert len(found) == 1
    (said,) = found
    if isinstance(said, Established):
        assert said.device == person("alice").device, "the keys of this handshake are Alice's"
        assert isinstance(said.hello, Hello)
    else:
        assert isinstance(said, Ended)


def _feed(side: LinkMachine, data: bytes, *, known: bool) -> None:
    """Whole, and ended; what comes out must make sense."""
    side.data_to_send()
    side.receive_data(data, T0)
    side.tick(side.deadline() if side.end is None else T0)
    side.end_of_stream()
    found = events(side)
    ends = [event for event in found if isinstance(event, Ended)]
    assert len(ends) == 1
    assert found[-1] is ends[0]
    assert known or not any(isinstance(event, Got) for event in found[:1])
    assert len(side.data_to_send()) <= 4096 + 2 * len(data)
