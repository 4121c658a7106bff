"""Ranges are sets of numbers in one form: held against Python's own sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.engine import ranges
from p2pchat.errors import RemoteProtocolError

SETS = st.frozensets(st.integers(1, 40))


def of(numbers: frozenset[int]) -> ranges.Ranges:
    result: ranges.Ranges = ()
    for number in sorted(numbers):
        result = ranges.add(result, number)
    return result


@given(SETS)
def test_one_form_for_one_set_whatever_the_order(numbers: frozenset[int]) -> None:
    backwards: ranges.Ranges = ()
    for number in sorted(numbers, reverse=True):
        backwards = ranges.add(backwards, number)
    assert backwards == of(numbers)
    assert frozenset(ranges.seqs(of(numbers))) == numbers
    assert ranges.checked(of(numbers), 40) == of(numbers)


@given(SETS, SETS)
def test_union_and_minus_are_those_of_sets(left: frozenset[int], right: frozenset[int]) -> None:
    assert ranges.union(of(left), of(right)) == of(left | right)
    assert ranges.minus(of(left), of(right)) == of(left - right)


@given(SETS, st.integers(1, 40))
def test_contains_and_cut(numbers: frozenset[int], number: int) -> None:
    assert ranges.contains(of(numbers), number) == (number in numbers)
    assert ranges.cut_above(of(numbers), number) == of(frozenset(n for n in numbers if n <= number))


@pytest.mark.parametrize(
    "hostile",
    [((0, 1),), ((2, 1),), ((1, 2), (3, 4)), ((5, 6), (4, 4)), ((5, 6), (1, 9)), ((1, 2**60),), ((-3, 2),)],
)
def test_a_peers_ranges_must_be_in_the_one_form(hostile: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        ranges.checked(hostile, 16)


def test_no_more_ranges_than_a_register_has_room_for() -> None:
    many = tuple((n, n) for n in range(100, 0, -2))
    with pytest.raises(RemoteProtocolError, match="too many"):
        ranges.checked(many, 16)
