"""Whose event it is said to be, read from the first bytes of its header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import RemoteProtocolError
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.messages.events import Header, claimed_device
from tests.kit.records import values_of


@given(header=values_of(Header))
def test_it_is_what_reading_the_whole_says(header: Header) -> None:
    assert claimed_device(encode(header)) == header.device


@given(raw=st.binary(max_size=200))
def test_whatever_can_be_read_has_the_same_device(raw: bytes) -> None:
    claimed = claimed_device(raw)
    try:
        header = decode(Header, raw)
    except RemoteProtocolError:
        return
    assert claimed == header.device


@given(data=st.data())
def test_a_changed_header_that_can_still_be_read_has_the_same_device(data: st.DataObject) -> None:
    raw = bytearray(encode(data.draw(values_of(Header))))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    claimed = claimed_device(bytes(raw))
    try:
        header = decode(Header, bytes(raw))
    except RemoteProtocolError:
        return
    assert claimed == header.device


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x93\x01", b"\x93\x01\xc4\x01r\xa1d", b"\x81\x01\x02"])
def test_other_bytes_are_nobodys(raw: bytes) -> None:
    assert claimed_device(raw) is None
