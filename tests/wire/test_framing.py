"""Any split of a stream gives the same frames; a lying length costs nothing."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.framing import FrameReader, frame
from p2pchat.wire.limits import MAX_FRAME, MAX_PREAUTH_FRAME


def drain(reader: FrameReader) -> list[bytes]:
    frames = []
    while (body := reader.next_frame()) is not None:
        frames.append(body)
    return frames


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(0, 2000)), st.booleans()
)
def test_any_split_gives_the_same_frames(bodies: list[bytes], cuts: list[int], greedy: bool) -> None:
    stream = b"".join(map(frame, bodies))
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    reader = FrameReader(MAX_FRAME)
    got = []
    for start, end in pairwise(edges):
        reader.receive_data(memoryview(stream)[start:end])
        if greedy:
            got += drain(reader)
    got += drain(reader)
    assert got == bodies
    assert not reader.truncated


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1), st.integers(min_value=1))
def test_a_stream_that_ends_inside_a_frame_is_truncated(bodies: list[bytes], missing: int) -> None:
    stream = b"".join(map(frame, bodies))
    last = len(frame(bodies[-1]))
    reader = FrameReader(MAX_FRAME)
    reader.receive_data(stream[: len(stream) - 1 - missing % (last - 1)])
    assert drain(reader) == bodies[:-1]
    assert reader.truncated


def test_the_largest_frame_passes_and_the_next_size_does_not() -> None:
    for limit in (1, MAX_PREAUTH_FRAME, MAX_FRAME):
        reader = FrameReader(limit)
        reader.receive_data(frame(b"x" * limit))
        assert reader.next_frame() == b"x" * limit
    reader = FrameReader(MAX_PREAUTH_FRAME)
    reader.receive_data((MAX_PREAUTH_FRAME + 1).to_bytes(2, "big"))
    for _ in range(2):  # refused on the length alone, and it stays refused
        with pytest.raises(RemoteProtocolError, match="8193 bytes where 8192"):
            reader.next_frame()


def test_an_empty_frame_is_refused() -> None:
    reader = FrameReader(MAX_FRAME)
    reader.receive_data(frame(b"fine") + b"\0\0")
    assert reader.next_frame() == b"fine"
    with pytest.raises(RemoteProtocolError, match="empty frame"):
        reader.next_frame()


def test_the_limit_grows_with_authentication_for_what_is_already_here() -> None:
    reader = FrameReader(MAX_PREAUTH_FRAME)
    reader.receive_data(frame(b"hello") + frame(b"y" * 20_000))
    assert reader.next_frame() == b"hello"
    reader.set_limit(MAX_FRAME)
    assert reader.next_frame() == b"y" * 20_000


def test_a_claimed_length_allocates_nothing() -> None:
    tracemalloc.start()
    readers = [FrameReader(MAX_FRAME) for _ in range(64)]
    for reader in readers:
        reader.receive_data(b"\xff\xffx")
        assert reader.next_frame() is None
        assert reader.truncated
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024  # 64 claims of 65,535 bytes


def test_what_was_handed_out_is_given_back() -> None:
    """A long stream read in large pieces keeps the buffer at the size of one piece."""
    reader = FrameReader(MAX_FRAME)
    piece = frame(b"z" * 30) * 2000
    tracemalloc.start()
    for _ in range(50):
        reader.receive_data(piece + b"\0")  # a piece that ends inside a length
        assert len(drain(reader)) == 2000
        reader.receive_data(b"\1!")
        assert drain(reader) == [b"!"]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 * len(piece)


@pytest.mark.parametrize("size", [0, MAX_FRAME + 1])
def test_we_never_send_an_impossible_frame(size: int) -> None:
    with pytest.raises(LocalProtocolError, match=str(size)):
        frame(bytes(size))


@pytest.mark.parametrize("limit", [0, -1, MAX_FRAME + 1])
def test_an_impossible_limit_is_our_bug(limit: int) -> None:
    with pytest.raises(LocalProtocolError):
        FrameReader(limit)
