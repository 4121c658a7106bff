"""What is kept for others: rows, bounds and what is left when it is given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2pchat.ids import AccountId, DeviceId, EventId, RoomId
from p2pchat.model import HeldEvent
from p2pchat.store import holdings
from p2pchat.store.ledger import MEMORY, Ledger, open_image, open_ledger

ANN, BOB, EVA = (AccountId(name.encode().ljust(32, b".")) for name in ("ann", "bob", "eva"))
ANN_1, BOB_1, BOB_2, EVA_1 = (
    DeviceId(name.encode().ljust(32, b"/")) for name in ("ann 1", "bob 1", "bob 2", "eva 1")
)
ROOM = RoomId(b"r" * 32)
NOBODY = DeviceId(b"")


def held(seq: int, *, control: bool = False, body: bytes | None = b"sealed", at: int = 1000) -> HeldEvent:
    identity = EventId(f"event {seq}".encode().ljust(32, b"."))
    return HeldEvent(
        identity, ANN, ANN_1, ROOM, ANN_1, seq, control, at, at + 100, b"header", b"s" * 64, body
    )


@pytest.fixture
def ledger() -> Ledger:
    found = open_ledger(MEMORY)
    found.begin()
    return found


TO_BOB = [(BOB, NOBODY), (BOB, BOB_1), (BOB, BOB_2)]


def claimed(ledger: Ledger, account: AccountId, device: DeviceId) -> list[int]:
    """Numbers handed over, in order: acts, then content."""
    return [
        one.seq
        for control in (True, False)
        for one in ledger.holdings.claimed(account, device, control, 0, 99)
    ]


def test_acts_come_first_and_each_comes_once(ledger: Ledger) -> None:
    for seq in (1, 2, 3):
        ledger.holdings.hold(held(seq, control=seq == 3), TO_BOB)
    assert claimed(ledger, BOB, BOB_1) == [3, 1, 2]
    first = ledger.holdings.claimed(BOB, BOB_1, False, 0, 1)
    assert [one.seq for one in ledger.holdings.claimed(BOB, BOB_1, False, first[0].place, 9)] == [2]
    assert first == [replace(held(1), place=first[0].place)]


def test_only_who_is_named_gets_anything_and_every_machine_of_his(ledger: Ledger) -> None:
    ledger.holdings.hold(held(1), TO_BOB)
    assert claimed(ledger, EVA, EVA_1) == []
    assert claimed(ledger, BOB, DeviceId(b"n" * 32)) == [1], "a machine nobody named"
    assert ledger.holdings.tops(BOB, BOB_1, 9) == [(ROOM, ANN_1, held(1).id)]
    assert ledger.holdings.tops(EVA, EVA_1, 9) == []


def test_it_is_dropped_when_all_machines_named_have_it(ledger: Ledger) -> None:
    for seq in (1, 2):
        ledger.holdings.hold(held(seq), TO_BOB)
    for device, left in ((BOB_1, [1, 2]), (BOB_2, [2])):
        ledger.holdings.had(BOB, device, ROOM, ANN_1, ((1, 1),))
        ledger.holdings.drop_had(BOB, ROOM, ANN_1, ((1, 1),), [])
        assert claimed(ledger, BOB, DeviceId(b"n" * 32)) == left
    assert claimed(ledger, BOB, BOB_1) == [2]


def test_a_machine_that_is_gone_is_not_waited_for(ledger: Ledger) -> None:
    ledger.holdings.hold(held(1), TO_BOB)
    ledger.holdings.had(BOB, BOB_1, ROOM, ANN_1, ((1, 1),))
    assert ledger.holdings.lacking(BOB, ROOM, ANN_1) == [BOB_2]
    ledger.holdings.drop_had(BOB, ROOM, ANN_1, ((1, 1),), [BOB_2])
    assert ledger.holdings.depositors() == []


def test_what_is_had_by_one_person_is_kept_for_another(ledger: Ledger) -> None:
    ledger.holdings.hold(held(1), [(BOB, NOBODY), (BOB, BOB_1), (EVA, NOBODY), (EVA, EVA_1)])
    ledger.holdings.had(BOB, BOB_1, ROOM, ANN_1, ((1, 1),))
    ledger.holdings.drop_had(BOB, ROOM, ANN_1, ((1, 1),), [])
    assert (claimed(ledger, BOB, BOB_1), claimed(ledger, EVA, EVA_1)) == ([], [1])


def test_the_same_again_is_held_once_for_more_people_and_loses_its_body(ledger: Ledger) -> None:
    ledger.holdings.hold(held(1), TO_BOB)
    size = ledger.holdings.held_bytes()
    ledger.holdings.hold(held(1), TO_BOB)
    assert ledger.holdings.held_bytes() == size
    ledger.holdings.hold(held(1, body=None), [*TO_BOB, (EVA, NOBODY), (EVA, EVA_1)])
    assert claimed(ledger, EVA, EVA_1) == [1]
    assert ledger.holdings.claimed(BOB, BOB_1, False, 0, 9)[0].body is None
    ledger.holdings.hold(held(1), TO_BOB)
    assert ledger.holdings.claimed(BOB, BOB_1, False, 0, 9)[0].body is None, "it does not come back"


def test_sums_are_those_of_what_is_there(ledger: Ledger) -> None:
    for seq in range(1, 6):
        ledger.holdings.hold(held(seq, at=1000 + seq), TO_BOB)

    def counted() -> int:
        row = ledger.connection.execute("SELECT coalesce(sum(size), 0) FROM holding").fetchone()
        return int(row[0])

    assert ledger.holdings.held_bytes() == counted() == ledger.holdings.held_bytes([ANN])
    assert ledger.holdings.taken_since(ANN, 1004) == 2 * counted() // 5
    ledger.holdings.withdraw(ANN, ROOM, ANN_1, ((2, 3),))
    assert ledger.holdings.held_bytes() == counted() == ledger.holdings.taken_since(ANN, 0)
    assert ledger.holdings.expire(1104) == 2
    assert claimed(ledger, BOB, BOB_1) == [5]
    ledger.holdings.drop_of(ANN)
    assert ledger.holdings.held_bytes() == 0
    assert ledger.connection.execute("SELECT count(*) FROM holding_for").fetchone() == (0,)


SOMEBODY = st.lists(
    st.sampled_from([(who, machine) for who in (BOB, EVA) for machine in (NOBODY, BOB_1, EVA_1)]), max_size=6
)
NUMBER = st.integers(1, 2)
WRONG = (
    "SELECT pk FROM holding h WHERE size != 200 + length(header) + length(signature)"
    " + coalesce(length(body), 0) + 100 * (SELECT count(*) FROM holding_for WHERE holding = h.pk)"
)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("hold"), NUMBER, st.sampled_from([None, b"", b"sealed"]), SOMEBODY),
            st.tuples(st.just("had"), NUMBER, st.sampled_from([BOB, EVA]), st.sampled_from([BOB_1, BOB_2])),
            st.tuples(st.sampled_from(["drop_had", "withdraw"]), NUMBER),
        ),
        max_size=12,
    )
)
@example([("hold", 1, b"sealed", TO_BOB), ("hold", 1, None, [*TO_BOB, TO_BOB[0], (EVA, NOBODY)])])
def test_the_sum_is_exact_whatever_comes_twice_or_for_nobody(steps: list[tuple[Any, ...]]) -> None:
    """It is carried from one to the next, never added up: what it is off once it is off for ever."""
    ledger = open_ledger(MEMORY)
    ledger.begin()
    store, count = ledger.holdings, ledger.connection.execute
    for kind, seq, *more in steps:
        match kind:
            case "hold":
                store.hold(held(seq, body=more[0]), more[1])
            case "had":
                store.had(more[0], more[1], ROOM, ANN_1, ((1, seq),))
            case "drop_had":
                store.drop_had(BOB, ROOM, ANN_1, ((1, seq),), [])
            case _:
                store.withdraw(ANN, ROOM, ANN_1, ((seq, 2),))
        assert count("SELECT coalesce(sum(size), 0) FROM holding").fetchone() == (store.held_bytes(),)
    if all(kind != "had" for kind, *_ in steps):  # who came later has a row that nobody pays for
        assert not count(WRONG).fetchall()
    ledger.commit()
    ledger.close()


def test_word_for_an_author_waits_sixty_days(ledger: Ledger) -> None:
    ledger.holdings.owe_word(ANN_1, ROOM, BOB_1, 1000)
    ledger.holdings.owe_word(ANN_1, ROOM, BOB_1, 2000)
    assert ledger.holdings.owed_words(ANN_1) == [(ROOM, BOB_1)]
    assert ledger.holdings.owed_words(BOB_1) == []
    ledger.holdings.expire(2000 + 60 * 86_400_000)
    assert ledger.holdings.owed_words(ANN_1) == [(ROOM, BOB_1)]
    ledger.holdings.expire(2001 + 60 * 86_400_000)
    assert ledger.holdings.owed_words(ANN_1) == []


def test_it_is_all_there_after_a_crash(ledger: Ledger) -> None:
    ledger.holdings.hold(held(1), TO_BOB)
    ledger.commit()
    again = open_image(ledger.serialize())
    assert claimed(again, BOB, BOB_1) == [1]
    assert again.holdings.held_bytes() == ledger.holdings.held_bytes()
    assert again.holdings.held_already(ANN, [held(1).id, held(2).id]) == {held(1).id}
    again.close()


def test_where_very_much_is_held_not_all_of_it_is_looked_at(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "LOOKED_AT", 3)
    for seq in range(1, 9):
        ledger.holdings.hold(held(seq), TO_BOB)
    assert ledger.holdings.tops(BOB, BOB_1, 9) == [(ROOM, ANN_1, held(3).id)]
    ledger.holdings.had(BOB, BOB_1, ROOM, ANN_1, ((1, 6),))
    assert ledger.holdings.tops(BOB, BOB_1, 9) == [(ROOM, ANN_1, held(8).id)], "what is had is passed over"


def test_who_deposited_is_found_step_by_step(ledger: Ledger) -> None:
    for number, depositor in enumerate((EVA, ANN, BOB, ANN)):
        ledger.holdings.hold(replace(held(number), depositor=depositor), TO_BOB)
    assert ledger.holdings.depositors() == [ANN, BOB, EVA]


def test_hundreds_of_machines_that_have_something_take_few_rows(ledger: Ledger) -> None:
    """A person may make up as many as a program takes; the rows count in nobody's share."""
    ledger.holdings.hold(held(1), TO_BOB)
    later = [DeviceId(f"bob {number}".encode().ljust(32, b"/")) for number in range(10, 90)]
    for device in (*later, BOB_1):
        ledger.holdings.had(BOB, device, ROOM, ANN_1, ((1, 1),))
    rows = ledger.connection.execute("SELECT count(*) FROM holding_for").fetchone()[0]
    assert rows <= len(TO_BOB) + holdings.MAX_LATER
    assert claimed(ledger, BOB, later[0]) == claimed(ledger, BOB, BOB_1) == []
    ledger.holdings.had(BOB, BOB_2, ROOM, ANN_1, ((1, 1),))
    ledger.holdings.drop_had(BOB, ROOM, ANN_1, ((1, 1),), [])
    assert ledger.connection.execute("SELECT count(*) FROM holding_for").fetchone()[0] == 0
