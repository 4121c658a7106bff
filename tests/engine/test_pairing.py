"""Two ends of a pairing, byte by byte: what a code opens, what spends it, what bad bytes do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pchat.crypto.pake import Code, make_code
from p2pchat.crypto.primitives import x25519_public
from p2pchat.engine.links import Ended, Got, Handed, LinkMachine
from p2pchat.engine.pairing import NO_CODE, WRONG_CODE, Opened, Pairing, Shown
from p2pchat.wire.codec import encode
from p2pchat.wire.framing import frame
from p2pchat.wire.messages.devices import Joined, PakeFirst
from p2pchat.wire.messages.link import Close, Preface
from tests.engine.play import Dice

NEW, OLD = b"n" * 32, b"o" * 32
HELLO = b"who I am"


@dataclass
class Both:
    """The new machine, and the one that shows a code."""

    new: Pairing
    old: Pairing
    shown: Shown | None
    begun: bool = False

    def swap(self, now: float = 0.0) -> None:
        """Carry bytes both ways until nobody has any."""
        while data := self.new.data_to_send():
            if not self.begun:
                self.begun = True
                preface, rest = _handed(data)
                self.old.answer(preface, HELLO, self.shown, rest, now)
            else:
                self.old.receive_data(data, now)
            back = self.old.data_to_send()
            if back:
                self.new.receive_data(back, now)
                if self.new.state == "shown":
                    self.new.try_code()
            elif self.old.state == "ended":
                self.new.end_of_stream()


def _handed(data: bytes) -> tuple[bytes, bytes]:
    """The preface as an ordinary link machine hands it over, and what came after it."""
    machine = LinkMachine(
        initiator=False, noise_secret=OLD, hello=b"", psks={"office": (b"k" * 32,)},
        entropy=Dice("link"), now=0.0, pairing=True,
    )  # fmt: skip
    machine.receive_data(data, 0.0)
    event = machine.next_event()
    assert isinstance(event, Handed)
    machine.tick(1e9)
    assert machine.next_event() is None, "whoever took over looks at the clock"
    assert machine.deadline() == float("inf")
    return event.preface, machine.leftover()


def _both(shown: Shown | None, typed: Code | None, name: str = "x") -> Both:
    both = Both(Pairing(NEW, Dice(name + "new")), Pairing(OLD, Dice(name + "old")), shown)
    both.new.dial(typed)
    return both


def _code(name: str = "code") -> Code:
    return make_code(Dice(name).bytes)


def _other(code: Code) -> Code:
    return Code(code.slot, code.secret[:-1] + ("2" if code.secret[-1] != "2" else "3"))


def test_the_right_code_opens_a_link_that_knows_both_keys() -> None:
    both = _both(Shown(_code(), 600.0), _code())
    both.swap()
    new, old = both.new.next_event(), both.old.next_event()
    assert isinstance(new, Opened)
    assert isinstance(old, Opened)
    assert (new.hello, old.hello) == (HELLO, b"")
    assert (new.static, old.static) == (x25519_public(OLD), x25519_public(NEW))
    assert new.handshake_hash == old.handshake_hash
    both.new.send(Joined())
    both.swap()
    assert both.old.next_event() == Got(Joined())
    both.old.close("linked")
    both.new.receive_data(both.old.data_to_send(), 0.0)
    assert both.new.next_event() == Ended("linked", True)


def test_a_wrong_code_is_the_one_attempt() -> None:
    shown = Shown(_code(), 600.0)
    both = _both(shown, _other(_code()))
    both.swap()
    assert both.old.next_event() == Ended(WRONG_CODE, False)
    assert both.new.next_event() == Ended("truncated", False)
    assert both.new.reached == "answer"
    assert shown.spent
    again = _both(shown, _code())
    again.swap()
    assert again.old.next_event() == Ended(NO_CODE, False)


@pytest.mark.parametrize("why", ["none", "late", "slot"])
def test_where_no_such_code_is_shown_nothing_is_said_or_spent(why: str) -> None:
    shown = None if why == "none" else Shown(_code(), 600.0)
    typed = Code("ZZ" if _code().slot != "ZZ" else "YY", _code().secret) if why == "slot" else _code()
    both = _both(shown, typed)
    both.swap(601.0 if why == "late" else 0.0)
    assert both.old.next_event() == Ended(NO_CODE, False)
    assert both.new.reached == "second"
    assert shown is None or not shown.spent


def test_who_only_knocks_spends_nothing_and_of_two_at_once_one_is_served() -> None:
    shown = Shown(_code(), 600.0)
    first, second = (Pairing(OLD, Dice(name)) for name in ("a", "b"))
    ends = []
    for name, old in (("a", first), ("b", second)):
        new = Pairing(NEW, Dice(name + "new"))
        new.dial(_code() if name == "b" else _other(_code()))
        preface, rest = _handed(new.data_to_send())
        old.answer(preface, HELLO, shown, rest, 0.0)
        new.receive_data(old.data_to_send(), 0.0)
        assert (new.state, new.data_to_send()) == ("shown", b""), "nothing is tried unasked"
        new.try_code()
        ends.append(new)
    assert not shown.spent, "both have sent their half of the pake, and learnt nothing"
    first.receive_data(ends[0].data_to_send(), 0.0)
    assert first.next_event() == Ended(WRONG_CODE, False)
    second.receive_data(ends[1].data_to_send(), 0.0)
    assert second.next_event() == Ended(NO_CODE, False)
    assert (first.tried, second.tried) == (True, False), "only the one that tried it may end it"


def test_who_says_more_before_the_code_is_tried_is_out_of_place() -> None:
    new, old = Pairing(NEW, Dice("n")), Pairing(OLD, Dice("o"))
    new.dial(_code())
    preface, rest = _handed(new.data_to_send())
    old.answer(preface, HELLO, Shown(_code(), 600.0), rest, 0.0)
    new.receive_data(old.data_to_send() + frame(b"more"), 0.0)
    assert new.next_event() == Ended("frame out of place", False)


def test_a_preface_changed_on_the_way_opens_nothing() -> None:
    shown = Shown(_code(), 600.0)
    new, old = Pairing(NEW, Dice("n")), Pairing(OLD, Dice("o"))
    new.dial(_code())
    preface, rest = _handed(new.data_to_send())
    old.answer(encode(Preface(1, "bulk", "pake")), HELLO, shown, rest, 0.0)
    new.receive_data(old.data_to_send(), 0.0)
    new.try_code()
    old.receive_data(new.data_to_send(), 0.0)
    assert old.next_event() == Ended(WRONG_CODE, False)
    assert preface == encode(Preface(1, "chat", "pake"))


def test_without_a_code_the_link_is_that_of_the_recovery_key() -> None:
    both = _both(None, None)
    both.swap()
    assert isinstance(both.new.next_event(), Opened)
    assert isinstance(both.old.next_event(), Opened)


def test_an_ordinary_frame_is_out_of_place() -> None:
    both = _both(Shown(_code(), 600.0), _code())
    both.swap()
    both.new.send(Close("bye"))  # type: ignore[arg-type]
    both.swap()
    assert isinstance(both.old.next_event(), Opened)
    assert both.old.next_event() == Ended("bye", True)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_end_it_or_wait_for_more(raw: bytes, framed: bool) -> None:
    shown = Shown(_code(), 600.0)
    old = Pairing(OLD, Dice("any"))
    data = frame(raw) if framed and raw else raw
    old.answer(encode(Preface(1, "chat", "pake")), HELLO, shown, data, 0.0)
    event = old.next_event()
    assert event is None or isinstance(event, Ended)
    assert not shown.spent


def test_a_point_that_is_none_ends_it_and_spends_nothing() -> None:
    shown = Shown(_code(), 600.0)
    old = Pairing(OLD, Dice("point"))
    bad = frame(encode(PakeFirst(_code().slot, (1).to_bytes(32, "little"))))
    old.answer(encode(Preface(1, "chat", "pake")), HELLO, shown, bad, 0.0)
    assert old.next_event() == Ended("no point of the group", False)
    assert old.data_to_send() == b""
    assert not shown.spent
