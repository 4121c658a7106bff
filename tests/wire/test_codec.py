"""One value, one encoding: what is read re-encodes to itself, all else is refused."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.codec import Record, decode, encode, portions
from p2pchat.wire.messages.link import FRAMES, Ping, decode_frame, encode_frame
from tests.kit.records import example_of, record_types, values_of

every_record = pytest.mark.parametrize("kind", record_types(), ids=lambda kind: kind.__qualname__)


class Sample(Record, frozen=True):
    """One field of each sort a record may have."""

    number: int
    raw: bytes
    text: str
    flag: bool
    many: tuple[int, ...]
    perhaps: bytes | None


SAMPLE = Sample(5, b"x", "y", True, (1,), None)
RAW = bytes.fromhex("96 05 c40178 a179 c3 9101 c0")


def test_the_types_found_are_all_frames_and_more() -> None:
    assert set(FRAMES.values()) < set(record_types())


def test_an_example_byte_by_byte() -> None:
    assert encode(SAMPLE) == RAW
    assert decode(Sample, RAW) == SAMPLE


@every_record
@given(data=st.data())
def test_round_trip(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(values_of(kind))
    raw = encode(record)
    assert decode(kind, raw) == record
    assert encode(decode(kind, raw)) == raw


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ("96 cc05 c40178 a179 c3 9101 c0", "number in two bytes"),
        ("96 d005 c40178 a179 c3 9101 c0", "signed number"),
        ("96 cf0000000000000005 c40178 a179 c3 9101 c0", "number in nine bytes"),
        ("96 ca40a00000 c40178 a179 c3 9101 c0", "float that is whole"),
        ("96 05 c5000178 a179 c3 9101 c0", "long form of bytes"),
        ("96 05 c40178 d90179 c3 9101 c0", "long form of text"),
        ("96 05 c40178 a179 c3 dc000101 c0", "long form of a list"),
        ("dc0006 05 c40178 a179 c3 9101 c0", "long form of the record"),
        ("96 05 c40178 a179 c3 9101 c0 c0", "bytes after the record"),
        ("97 05 c40178 a179 c3 9101 c0 c0", "a field too many"),
        ("95 05 c40178 a179 c3 9101", "a field too few"),
        ("96 05 a178 a179 c3 9101 c0", "text for bytes"),
        ("96 05 c40178 c40179 c3 9101 c0", "bytes for text"),
        ("96 05 c40178 a1ff c3 9101 c0", "text that is not UTF-8"),
        ("96 05 c40178 a3eda080 c3 9101 c0", "a lone surrogate"),
        ("96 05 c40178 a179 01 9101 c0", "number for a flag"),
        ("96 c3 c40178 a179 c3 9101 c0", "flag for a number"),
        ("96 c0 c40178 a179 c3 9101 c0", "nothing for a number"),
        ("96 05 c40178 a179 c3 810101 c0", "map for a list"),
        ("96 05 c40178 a179 c3 d40101 c0", "extension for a list"),
        ("86", "a map"),
        ("c1", "a byte that means nothing"),
        ("", "nothing"),
    ],
)
def test_anything_but_the_one_encoding_is_refused(raw: str, what: str) -> None:
    with pytest.raises(RemoteProtocolError, match="Sample"):
        decode(Sample, bytes.fromhex(raw))


@every_record
def test_every_cut_and_every_tail_is_refused(kind: type[Record]) -> None:
    raw = encode(example_of(kind))
    for end in range(len(raw)):
        with pytest.raises(RemoteProtocolError):
            decode(kind, raw[:end])
    with pytest.raises(RemoteProtocolError):
        decode(kind, raw + b"\xc0")


@every_record
@given(data=st.data(), junk=st.binary(max_size=60))
def test_junk_gives_a_record_or_a_remote_protocol_error(
    kind: type[Record], data: st.DataObject, junk: bytes
) -> None:
    valid = bytearray(encode(data.draw(values_of(kind))))
    at = data.draw(st.integers(0, len(valid)))
    for raw in (junk, bytes(valid[:at] + junk + valid[at + len(junk) :])):
        try:
            record = decode(kind, raw)
        except RemoteProtocolError:
            continue
        assert encode(record) == raw


@every_record
def test_claimed_lengths_allocate_nothing(kind: type[Record]) -> None:
    """Each byte of an example is replaced by the head of a list, bytes or text of 4 GiB."""
    raw = encode(example_of(kind))
    tracemalloc.start()
    for at in range(len(raw)):
        for head in (b"\xdd", b"\xc6", b"\xdb"):
            with pytest.raises(RemoteProtocolError):
                decode(kind, raw[:at] + head + b"\xff\xff\xff\xff" + raw[at:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa0", b"\xdd\0\0\0\1"])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    kinds: tuple[type[Record], ...] = (Sample, *record_types())
    for kind in kinds:
        head = encode(example_of(kind))[:1]
        for raw in (opening * 100_000, head + opening * 60_000):
            with pytest.raises(RemoteProtocolError):
                decode(kind, raw)


def test_the_reason_names_the_record_and_quotes_nobody() -> None:
    with pytest.raises(RemoteProtocolError) as told:
        decode(Ping, msgspec.msgpack.encode(["<script>"]))
    assert told.value.reason == "malformed Ping"


def test_frames_carry_their_type() -> None:
    assert encode_frame(Ping(7)) == bytes.fromhex("01 91 07")
    for number, kind in FRAMES.items():
        record = example_of(kind)
        raw = encode_frame(record)
        assert raw[0] == number
        assert decode_frame(raw) == record
    for raw in (b"", b"\xff", b"\xff" + encode(Ping(7))):
        with pytest.raises(RemoteProtocolError, match="unknown frame type"):
            decode_frame(raw)


@given(sizes=st.lists(st.integers(0, 200), max_size=30), limit=st.integers(1, 400))
def test_portions_keep_the_order_and_the_limit(sizes: list[int], limit: int) -> None:
    records = [Sample(size, bytes(size), "", False, (), None) for size in sizes]
    runs = list(portions(records, limit))
    assert [record for run in runs for record in run] == records
    assert all(run for run in runs)
    assert all(len(run) == 1 or sum(map(len, map(encode, run))) <= limit for run in runs)
