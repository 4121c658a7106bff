"""Pieces: sizes, hashes by an independent computation, bits, offers that cannot be meant."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.files import pieces
from p2pchat.files.pieces import Bits
from p2pchat.wire.limits import FEW_PIECES, MAX_ENTRIES, MAX_MANIFEST, MAX_PIECE, MAX_PIECES, MIN_PIECE
from tests.files import blake3_by_hand as by_hand
from tests.kit.transfers import FILE_KEY, offer_of, pattern

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, MIB),
        (1, MIB),
        (FEW_PIECES * MIB, MIB),
        (FEW_PIECES * MIB + 1, 2 * MIB),
        (4 * FEW_PIECES * MIB + 1, 8 * MIB),
        (pieces.MAX_SIZE, MAX_PIECE),
    ],
)
def test_size_of_pieces(size: int, expected: int) -> None:
    assert pieces.piece_size_for(size) == expected
    assert pieces.count(size, expected) <= MAX_PIECES


def test_no_pieces_beyond_the_largest_stream() -> None:
    for size in (-1, pieces.MAX_SIZE + 1):
        with pytest.raises(LocalProtocolError):
            pieces.piece_size_for(size)


@given(st.integers(0, pieces.MAX_SIZE))
def test_pieces_cover_the_stream(size: int) -> None:
    chosen = pieces.piece_size_for(size)
    total = pieces.count(size, chosen)
    assert MIN_PIECE <= chosen <= MAX_PIECE
    if not size:
        assert total == 0
    else:
        assert (total - 1) * chosen + pieces.length(total - 1, size, chosen) == size
        assert total == 1 or pieces.length(0, size, chosen) == chosen
    for number in (-1, total):
        with pytest.raises(LocalProtocolError):
            pieces.length(number, size, chosen)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1023, 1024, 1025, 5000])
def test_a_piece_has_the_hash_the_paper_gives(size: int) -> None:
    data = pattern(size)
    assert pieces.hash_piece(FILE_KEY, data) == by_hand.keyed(FILE_KEY, data)
    assert pieces.hash_piece(FILE_KEY, memoryview(data)) == pieces.hash_piece(FILE_KEY, bytearray(data))


def test_the_root_is_what_the_page_says() -> None:
    """docs/files.md, "Root", computed by hand."""
    hashes = pattern(3 * 32)
    size, head, piece = 2 * MIB + 5, 7, MIB
    key = by_hand.derive_key("p2pchat/file-root/1", FILE_KEY)
    expected = by_hand.keyed(key, struct.pack(">QQQ", size, head, piece) + hashes)
    assert pieces.root_of(FILE_KEY, size, head, piece, hashes) == expected
    assert pieces.root_of(FILE_KEY, 0, 0, MIB, b"") == by_hand.keyed(key, struct.pack(">QQQ", 0, 0, MIB))


def test_the_root_is_bound_to_everything() -> None:
    hashes = pattern(3 * 32)
    size, piece = 2 * MIB + 5, MIB
    swapped = hashes[32:64] + hashes[:32] + hashes[64:]
    roots = {
        pieces.root_of(FILE_KEY, size, 0, piece, hashes),
        pieces.root_of(FILE_KEY, size, 0, piece, swapped),
        pieces.root_of(FILE_KEY, size + 1, 0, piece, hashes),
        pieces.root_of(FILE_KEY, size, 1, piece, hashes),
        pieces.root_of(FILE_KEY, 2 * size, 0, 2 * piece, hashes),
        pieces.root_of(bytes(32), size, 0, piece, hashes),
        pieces.hash_piece(FILE_KEY, struct.pack(">QQQ", size, 0, piece) + hashes),
    }
    assert len(roots) == 7
    for wrong in (hashes[:-1], hashes[:64], hashes + bytes(32)):
        with pytest.raises(LocalProtocolError):
            pieces.root_of(FILE_KEY, size, 0, piece, wrong)


@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(0, n - 1))))))
def test_bits_are_a_set_of_numbers(drawn: tuple[int, set[int]]) -> None:
    total, chosen = drawn
    chosen = {number for number in chosen if number < total}
    bits = Bits(total)
    for number in sorted(chosen):
        bits.add(number)
        bits.add(number)
    assert {number for number in range(-3, total + 9) if number in bits} == chosen
    assert bits.here == len(chosen)
    assert bits.complete == (len(chosen) == total)
    assert list(bits.missing()) == [number for number in range(total) if number not in chosen]
    assert list(bits.missing(5)) == [number for number in range(5, total) if number not in chosen]
    assert bits.beyond(Bits(total)) == sorted(chosen)
    again = Bits.decode(bits.encode(), total)
    assert again.encode() == bits.encode()
    assert again.here == bits.here
    assert bits.beyond(again) == []


def test_the_first_piece_is_the_highest_bit() -> None:
    bits = Bits(10)
    bits.add(0)
    bits.add(9)
    assert bits.encode() == b"\x80\x40"


@given(st.binary(max_size=6), st.integers(0, 40))
def test_any_bytes_are_bits_or_refused(raw: bytes, total: int) -> None:
    try:
        bits = Bits.decode(raw, total)
    except RemoteProtocolError:
        spare = 8 * len(raw) - total
        assert not 0 <= spare < 8 or (spare and raw[-1] & ((1 << spare) - 1))
    else:
        assert bits.encode() == raw
        assert bits.here <= total


def test_bits_are_bounded() -> None:
    with pytest.raises(LocalProtocolError):
        Bits(MAX_PIECES + 1)
    for number in (-1, 3):
        with pytest.raises(LocalProtocolError):
            Bits(3).add(number)


def test_an_offer_that_can_be_meant_is_let_through() -> None:
    for offer in (
        offer_of(b""),
        offer_of(b"x" * 100),
        offer_of(b"", size=pieces.MAX_SIZE, piece_size=MAX_PIECE),
        offer_of(b"", size=10, head=10, files=0),
        offer_of(b"", size=10, head=4, files=MAX_ENTRIES),
        offer_of(b"", name=""),
    ):
        assert pieces.check_offer(offer) is offer


@pytest.mark.parametrize(
    "fields",
    [
        {"id": bytes(15)},
        {"file_key": bytes(31)},
        {"piece_size": 0},
        {"piece_size": MIB // 2},
        {"piece_size": MIB + 1},
        {"piece_size": 2 * MAX_PIECE},
        {"size": -1},
        {"size": MIB * MAX_PIECES + 1},
        {"size": 5, "head": 6},
        {"head": -1},
        {"size": 2 * MAX_MANIFEST, "head": MAX_MANIFEST + 1},
        {"size": 5, "head": 5, "files": -1},
        {"size": 5, "head": 5, "files": MAX_ENTRIES + 1},
        {"files": 2},
        {"files": 0},
        {"mtime": -1},
        {"mtime": pieces.MAX_TIME + 1},
        {"name": "ü" * 513},
        {"mime": "m" * 1025},
    ],
    ids=str,
)
def test_an_offer_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError, match="offer"):
        pieces.check_offer(offer_of(b"", **fields))
