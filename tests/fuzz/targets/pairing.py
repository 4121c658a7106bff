"""A pairing as both sides, before, during and after its handshake.

The first byte says which door the rest comes through, as in `handshake`.
"""

from __future__ import annotations

from p2pchat.crypto.pake import Code
from p2pchat.engine.links import Ended, Got
from p2pchat.engine.pairing import Opened, Pairing, Shown
from p2pchat.wire.codec import encode
from p2pchat.wire.framing import frame
from p2pchat.wire.messages.devices import Admitted, Join, Joined, PakeFirst, Recover
from p2pchat.wire.messages.link import Preface
from tests.engine.play import Dice

CODED, RECOVERING, DIALLED, HALF, OPEN = range(5)
CODE = Code("K7", "QM3XFD")
PREFACE = encode(Preface(1, "chat", "pake"))
RECOVER = encode(Preface(1, "recover", "office"))


def _old(preface: bytes, rest: bytes) -> Pairing:
    old = Pairing(b"o" * 32, Dice("old"))
    old.answer(preface, b"hello", Shown(CODE, 600.0), rest, 0.0)
    return old


def _half() -> tuple[Pairing, Pairing]:
    """Both after their halves of the pake."""
    new = Pairing(b"n" * 32, Dice("new"))
    new.dial(CODE)
    old = _old(PREFACE, new.data_to_send()[2 + len(PREFACE) :])
    new.receive_data(old.data_to_send(), 0.0)
    new.try_code()
    return new, old


def _open() -> tuple[Pairing, Pairing]:
    new, old = _half()
    old.receive_data(new.data_to_send(), 0.0)
    new.receive_data(old.data_to_send(), 0.0)
    old.receive_data(new.data_to_send(), 0.0)
    return new, old


def seeds() -> list[bytes]:
    point = _half()[0]
    found = [bytes((CODED,)) + frame(encode(PakeFirst("K7", (9).to_bytes(32, "little"))))]
    found.append(bytes((HALF,)) + point.data_to_send())
    new, _ = _open()
    for said in (Join(b"s" * 32, b"g" * 64), Recover(b"r" * 32, b"g" * 64), Admitted(()), Joined()):
        new.send(said)
    found.append(bytes((OPEN,)) + new.data_to_send())
    fresh = Pairing(b"n" * 32, Dice("new"))
    fresh.dial(None)
    found.append(bytes((RECOVERING,)) + fresh.data_to_send()[2 + len(RECOVER) :])
    found.append(bytes((DIALLED,)) + frame(b"\x91\xc4\x20" + b"p" * 32))
    return found


def one_input(data: bytes) -> None:
    """Nothing may be raised at all: what a peer does wrong is an event here."""
    if not data:
        return
    door, rest = data[0] % 5, data[1:]
    match door:
        case 0:
            _drain(_old(PREFACE, rest))
        case 1:
            _drain(_old(RECOVER, rest))
        case 2:
            new = Pairing(b"n" * 32, Dice("new"))
            new.dial(CODE)
            new.receive_data(rest, 0.0)
            if new.state == "shown":
                new.try_code()
            _drain(new)
        case 3:
            _, old = _half()
            old.receive_data(rest, 0.0)
            _drain(old)
        case _:
            _, old = _open()
            old.receive_data(rest, 0.0)
            _drain(old)


def _drain(side: Pairing) -> None:
    ended = False
    while (event := side.next_event()) is not None:
        assert isinstance(event, Opened | Got | Ended)
        assert not ended, "nothing comes after the end"
        ended = isinstance(event, Ended)
    assert ended == (side.state == "ended")
