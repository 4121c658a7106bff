"""The graph of statements: who has which machines, whatever the order of arrival."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine import accounts
from p2pchat.engine.accounts import Act, fold, make_genesis, make_statement, read_statement
from p2pchat.errors import RemoteProtocolError
from p2pchat.ids import DeviceId
from p2pchat.wire.messages import statements as wire
from p2pchat.wire.messages.link import Hello
from p2pchat.wire.messages.statements import SignedStatement


def seed(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def signing(name: str) -> bytes:
    return ed25519_keypair(seed(name))[0]


def noise(name: str) -> bytes:
    return x25519_public(seed(name))


RECOVERY = "recovery"


class Story:
    """Writes statements of one account and remembers their ids."""

    def __init__(self) -> None:
        self.genesis = read_statement(make_genesis(seed("desk"), noise("desk"), signing(RECOVERY)))
        self.account = self.genesis.account
        self.acts: list[Act] = [self.genesis]

    def device(self, name: str) -> DeviceId:
        return device_id(self.account, signing(name))

    def _act(self, by: str, after: Iterable[Act], kind: int, subject: wire.Record) -> Act:
        signed = make_statement(seed(by), self.account, [a.id for a in after], kind, subject)
        act = read_statement(signed)
        self.acts.append(act)
        return act

    def add(self, by: str, name: str, *after: Act) -> Act:
        return self._act(by, after, wire.ADD, wire.DeviceKeys(signing(name), noise(name)))

    def revoke(self, by: str, name: str, *after: Act) -> Act:
        return self._act(by, after, wire.REVOKE, wire.Revoked(self.device(name)))

    def retire(self, by: str, successor: bytes, *after: Act) -> Act:
        return self._act(by, after, wire.RETIRE, wire.Retired(successor))

    def active(self) -> list[DeviceId]:
        results = {tuple(d.id for d in fold(order).active()) for order in orders(self.acts)}
        assert len(results) == 1, "the outcome depends on the order of arrival"
        return list(results.pop())


def orders(acts: list[Act]) -> Iterable[list[Act]]:
    yield acts
    yield acts[::-1]
    yield from (list(p) for p in itertools.islice(itertools.permutations(acts), 60))


def test_a_genesis_makes_an_account_with_one_machine() -> None:
    story = Story()
    assert story.active() == [story.device("desk")]
    assert not fold(story.acts).revoked


def test_a_machine_adds_another_and_that_one_a_third() -> None:
    story = Story()
    laptop = story.add("desk", "laptop", story.genesis)
    story.add("laptop", "phone", laptop)
    assert story.active() == [story.device(n) for n in ("desk", "laptop", "phone")]


def test_a_machine_that_was_never_added_adds_nobody() -> None:
    story = Story()
    story.add("stranger", "spy", story.genesis)
    assert story.active() == [story.device("desk")]


def test_a_revoked_machine_keeps_what_it_did_before_and_loses_what_it_did_beside() -> None:
    story = Story()
    laptop = story.add("desk", "laptop", story.genesis)
    before = story.add("laptop", "phone", laptop)
    story.add("laptop", "spy", laptop)
    story.revoke("desk", "laptop", before)
    assert story.active() == [story.device("desk"), story.device("phone")]


def test_of_two_that_revoke_each_other_the_elder_stays() -> None:
    story = Story()
    laptop = story.add("desk", "laptop", story.genesis)
    story.revoke("desk", "laptop", laptop)
    story.revoke("laptop", "desk", laptop)
    assert story.active() == [story.device("desk")]


def test_the_recovery_key_wins_over_a_thief_with_the_first_machine() -> None:
    story = Story()
    laptop = story.add("desk", "laptop", story.genesis)
    story.revoke("desk", "laptop", laptop)
    story.revoke(RECOVERY, "desk", laptop)
    assert story.active() == [story.device("laptop")]


def test_equals_by_depth_are_settled_by_the_smaller_device_id() -> None:
    story = Story()
    one = story.add("desk", "one", story.genesis)
    two = story.add("desk", "two", story.genesis)
    story.revoke("one", "two", one, two)
    story.revoke("two", "one", one, two)
    winner = min(story.device("one"), story.device("two"))
    assert story.active() == [story.device("desk"), winner]


def test_a_retired_account_names_its_successor() -> None:
    story = Story()
    story.retire("desk", b"s" * 32, story.genesis)
    account = fold(story.acts)
    assert account.revoked
    assert account.successor == b"s" * 32


def test_an_account_without_machines_is_revoked() -> None:
    story = Story()
    story.revoke(RECOVERY, "desk", story.genesis)
    account = fold(story.acts)
    assert account.revoked
    assert account.successor is None


def test_a_statement_waits_for_its_parents() -> None:
    story = Story()
    laptop = story.add("desk", "laptop", story.genesis)
    phone = story.add("laptop", "phone", laptop)
    assert [d.id for d in fold([story.genesis, phone]).active()] == [story.device("desk")]


@given(st.integers(0, 200), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(place: int, bit: int) -> None:
    good = make_genesis(seed("desk"), noise("desk"), signing(RECOVERY))
    whole = bytearray(good.statement + good.signature)
    whole[place % len(whole)] ^= 1 << bit
    cut = len(good.statement)
    with pytest.raises(RemoteProtocolError):
        read_statement(SignedStatement(bytes(whole[:cut]), bytes(whole[cut:])))


def test_a_hello_for_another_noise_key_is_refused() -> None:
    story = Story()
    hello = Hello(1, story.device("desk"), (story.genesis.signed,), (), 0, 0)
    assert accounts.verify_hello(hello, noise("desk")).id == story.account
    with pytest.raises(RemoteProtocolError, match="another noise key"):
        accounts.verify_hello(hello, noise("laptop"))
    other = Hello(1, story.device("laptop"), (story.genesis.signed,), (), 0, 0)
    with pytest.raises(RemoteProtocolError, match="without the device"):
        accounts.verify_hello(other, noise("desk"))


def test_statements_without_a_genesis_are_nobodys() -> None:
    story = Story()
    laptop = story.add("desk", "laptop", story.genesis)
    with pytest.raises(RemoteProtocolError, match="genesis"):
        fold([laptop])
