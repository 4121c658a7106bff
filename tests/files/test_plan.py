"""Which piece is asked of whom next: front to back from one, the rarest first from several."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from p2pchat.errors import LocalProtocolError
from p2pchat.files.pieces import Bits
from p2pchat.files.plan import AGAIN_S, Plan
from p2pchat.wire.limits import MAX_PIECES

ALL = 20


def bits(*numbers: int, total: int = ALL) -> Bits:
    """A map with these pieces."""
    made = Bits(total)
    for number in numbers:
        made.add(number)
    return made


def take(plan: Plan, key: str, count: int, now: float = 0.0, hashes: Iterable[int] = range(ALL)) -> list[int]:
    """What is asked, of a transfer whose pieces all have a place."""
    return plan.take(key, count, now, bits(*hashes), anywhere=True)


def test_one_source_is_read_from_front_to_back() -> None:
    done = bits(0, 1, 5)
    plan = Plan(done, 0, 77)
    plan.add("ann", Bits.whole(ALL), author=True)
    assert take(plan, "ann", 4) == [2, 3, 4, 6]
    assert plan.flying("ann") == 4
    plan.came("ann", 2)
    assert take(plan, "ann", 1) == [2], "it came and was wrong, so it is asked again"
    done.add(2)
    plan.came("ann", 2)
    assert take(plan, "ann", 2) == [7, 8]


def test_only_what_a_source_has_and_what_can_be_checked() -> None:
    plan = Plan(bits(), 0, 0)
    plan.add("bob", bits(3, 4, 5), author=False)
    assert take(plan, "bob", 9, hashes=(4,)) == [4]
    assert take(plan, "bob", 9, hashes=(4, 5)) == [5]
    plan.more("bob", [9])
    assert take(plan, "bob", 9) == [3, 9]
    assert take(plan, "bob", 9) == []


def test_the_authors_pieces_may_come_before_their_hashes() -> None:
    plan = Plan(bits(), 0, 0)
    plan.add("ann", Bits.whole(ALL), author=True)
    assert take(plan, "ann", 2, hashes=()) == [0, 1]


def test_the_list_of_a_folder_comes_before_everything() -> None:
    plan = Plan(bits(), 2, 5)
    plan.add("ann", Bits.whole(ALL), author=True)
    plan.add("bob", Bits.whole(ALL), author=False)
    head = plan.take("ann", 9, 0.0, Bits.whole(ALL), anywhere=False)
    assert head == [0, 1]


def test_rarest_first_and_from_the_author_what_nobody_else_has() -> None:
    plan = Plan(bits(), 0, 3)
    plan.add("ann", Bits.whole(ALL), author=True)
    plan.add("bob", bits(*range(15)), author=False)
    plan.add("cyn", bits(*range(10)), author=False)
    assert sorted(take(plan, "ann", 5)) == [15, 16, 17, 18, 19]
    assert sorted(take(plan, "bob", 5)) == [10, 11, 12, 13, 14]
    assert set(take(plan, "cyn", 10)) == set(range(10))


def test_each_receiver_has_an_order_of_its_own() -> None:
    orders = []
    for order in (1, 7 * ALL + 4, 123 * ALL + 11):
        plan = Plan(bits(), 0, order)
        plan.add("ann", Bits.whole(ALL), author=True)
        plan.add("bob", bits(), author=False)
        orders.append(take(plan, "ann", ALL))
    assert all(sorted(order) == list(range(ALL)) for order in orders)
    assert len({tuple(order[:3]) for order in orders}) == 3


def test_what_a_lost_source_was_asked_for_is_free_again() -> None:
    plan = Plan(bits(), 0, 0)
    plan.add("ann", Bits.whole(ALL), author=True)
    assert take(plan, "ann", 3) == [0, 1, 2]
    plan.drop("ann")
    assert plan.sources == 0
    assert take(plan, "ann", 3) == []
    plan.add("bob", Bits.whole(ALL), author=False)
    assert take(plan, "bob", 3) == [0, 1, 2]


def test_near_the_end_a_slow_piece_is_asked_of_a_second_source_and_no_third() -> None:
    done = bits(*range(ALL - 1))
    plan = Plan(done, 0, 0)
    for key in ("ann", "bob", "cyn"):
        plan.add(key, Bits.whole(ALL), author=False)
    assert take(plan, "ann", 1) == [ALL - 1]
    assert take(plan, "bob", 1, AGAIN_S / 2) == []
    assert take(plan, "bob", 1, AGAIN_S) == [ALL - 1]
    assert take(plan, "cyn", 1, 10 * AGAIN_S) == []
    plan.came("ann", ALL - 1)
    assert take(plan, "cyn", 1, 10 * AGAIN_S) == [ALL - 1]


def test_a_map_of_something_else_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        Plan(bits(), 0, 0).add("ann", Bits.whole(ALL + 1), author=True)


class Counted(Bits):
    """A map that counts how often it is looked at."""

    __slots__ = ("looks",)

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.looks = 0

    def __contains__(self, number: int) -> bool:
        self.looks += 1
        return super().__contains__(number)


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize(
    "case", ["nearly all is here", "he has nothing", "he has little", "no hash is known"]
)
def test_a_request_is_cheap_however_many_pieces_there_are(case: str, others: int) -> None:
    """Whoever says that he has something makes us look for what to ask of him, as often as he likes."""
    total = MAX_PIECES
    some = [7, total // 2, total - 9]
    done, has, known = Counted(total), Bits.whole(total), Bits.whole(total)
    if case == "nearly all is here":
        for number in set(range(total)) - set(some):
            done.add(number)
    elif case == "no hash is known":
        known = Bits(total)
    else:
        has = bits(*some, total=total) if case == "he has little" else Bits(total)
    plan = Plan(done, 0, 12345678901234)
    plan.add("bob", has, author=False)
    for number in range(others):
        plan.add(number, Bits.whole(total), author=number == 0)
    done.looks = 0
    asked = [number for _ in range(9) for number in plan.take("bob", 1, 0.0, known, anywhere=True)]
    assert sorted(asked) == (some if case in ("nearly all is here", "he has little") else [])
    assert done.looks < 9 * total // 20


@pytest.mark.parametrize("total", [1, 2, 7, 97, 1000])
@pytest.mark.parametrize("order", [0, 5, 12345, (1 << 64) - 1])
def test_every_piece_is_asked_once(total: int, order: int) -> None:
    """Whatever the order, two sources bring all and nothing twice."""
    done = Bits(total)
    plan = Plan(done, 0, order)
    for key in ("ann", "bob"):
        plan.add(key, Bits.whole(total), author=key == "ann")
    asked: list[int] = []
    while len(asked) < total:
        for key in ("ann", "bob"):
            for number in plan.take(key, 3, 0.0, Bits.whole(total), anywhere=True):
                asked.append(number)
                done.add(number)
                plan.came(key, number)
    assert sorted(asked) == list(range(total))
