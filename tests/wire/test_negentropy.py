"""Negentropy's bytes: round trip, exact examples, and nothing but RemoteProtocolError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.limits import MAX_RECONCILE_RANGES
from p2pchat.wire.negentropy import (
    INFINITY,
    Bound,
    Fingerprint,
    IdList,
    Range,
    Skip,
    Writer,
    decode,
    encode,
    varint,
    version,
)

bounds = st.builds(Bound, st.integers(0, 2**64 - 2), st.binary(max_size=32))


def ranges_to(upper: Bound) -> st.SearchStrategy[Range]:
    id_lists = st.lists(st.binary(min_size=32, max_size=32), max_size=5).map(tuple)
    return (
        st.just(Skip(upper))
        | st.builds(Fingerprint, st.just(upper), st.binary(min_size=16, max_size=16))
        | st.builds(IdList, st.just(upper), id_lists)
    )


messages = (
    st.lists(bounds, max_size=12)
    .map(lambda found: sorted(found, key=lambda bound: (bound.ms, bound.prefix.ljust(32, b"\0"))))
    .flatmap(lambda found: st.tuples(*map(ranges_to, [*found, INFINITY])))
)


@given(messages)
def test_round_trip(ranges: tuple[Range, ...]) -> None:
    raw = encode(ranges)
    assert decode(raw) == list(ranges)
    for cut in range(1, len(raw), 7):
        try:
            assert decode(raw[:cut]) == list(ranges)[: len(decode(raw[:cut]))]
        except RemoteProtocolError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_ranges_or_refused(junk: bytes) -> None:
    for raw in (junk, b"\x61" + junk):
        try:
            ranges = decode(raw)
        except RemoteProtocolError:
            continue
        assert encode(ranges) == raw or any(b"\0" in part.upper.prefix for part in ranges)


@pytest.mark.parametrize(
    ("number", "raw"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8100"),
        (16_383, "ff7f"),
        (16_384, "818000"),
        (2**64 - 1, "81ffffffffffffffff7f"),
    ],
)
def test_numbers(number: int, raw: str) -> None:
    assert varint(number).hex() == raw


def test_numbers_beyond_64_bits_are_our_bug() -> None:
    for number in (-1, 2**64):
        with pytest.raises(LocalProtocolError):
            varint(number)


def test_an_example_byte_by_byte() -> None:
    ranges: list[Range] = [
        Skip(Bound(5, b"")),
        Fingerprint(Bound(5, b"\xab"), b"f" * 16),
        IdList(Bound(205, b""), (b"i" * 32,)),
        Skip(INFINITY),
    ]
    raw = "61 060000 0101ab01" + b"f".hex() * 16 + "8149 00 02 01" + b"i".hex() * 32 + "000000"
    assert encode(ranges) == bytes.fromhex(raw)
    assert decode(bytes.fromhex(raw)) == ranges


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "no negentropy message"),
        ("5f", "no negentropy message"),
        ("60", "unsupported"),
        ("62000000", "unsupported"),
        ("6100", "malformed"),
        ("610000", "malformed"),
        ("61000003", "unknown negentropy mode"),
        ("61000001" + "aa" * 15, "ends in the middle"),
        ("6100000201" + "aa" * 31, "ends in the middle"),
        ("61000002ffffffffff7f", "ends in the middle"),  # a list of 34 thousand million ids
        ("61000002" + "ff" * 9 + "7f", "malformed"),
        ("61" + "81" * 12, "malformed"),
        ("6182808080808080808000" + "0000", "malformed"),  # 2^64
        ("6181ffffffffffffffff7f0000" + "020000", "beyond infinity"),  # 2^64 - 2, and one more
        ("6180010000", "leading zero"),
        ("61010080", "leading zero"),
        ("610121" + "00" * 33 + "00", "too long"),
        ("610001aa00", "beyond infinity"),
        ("61000000" + "050000", "beyond infinity"),  # a time after infinity
        ("610501bb00" + "0101aa00", "descend"),
        ("610501bb00" + "010000", "descend"),
    ],
)
def test_malformed(raw: str, reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        decode(bytes.fromhex(raw))


def test_equal_bounds_and_a_second_infinity_are_read() -> None:
    """Both occur in answers of the reference that were cut at the frame limit."""
    raw = "610501bb00" + "0101bb00" + "0102bb0000" + "0101bb00" + "000000" + "000001" + "aa" * 16
    assert [part.upper for part in decode(bytes.fromhex(raw))][-2:] == [INFINITY, INFINITY]


def test_the_number_of_ranges_is_bounded() -> None:
    raw = b"\x61" + b"\1\0\0" * MAX_RECONCILE_RANGES
    assert len(decode(raw)) == MAX_RECONCILE_RANGES
    with pytest.raises(RemoteProtocolError, match="more than 8192 ranges"):
        decode(raw + b"\1\0\0")


def test_what_was_taken_back_leaves_no_trace_before_infinity() -> None:
    out = Writer()
    out.skip(Bound(7, b""))
    size = len(out)
    out.skip(Bound(9, b""))
    out.cut(size)
    out.skip(INFINITY)
    assert decode(out.message()) == [Skip(Bound(7, b"")), Skip(INFINITY)]
    out.cut(size)
    with pytest.raises(LocalProtocolError):
        out.skip(Bound(9, b""))
    assert version(out.message()) == 0x61
