"""Strangers' records: what is believed, and what a flood of names may keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.net import sightings
from p2pchat.net.interfaces import LocalAddress
from p2pchat.net.lan import Sighting
from p2pchat.net.sightings import MAX_TAGS, SERVICE, Facts, label_of
from p2pchat.wire.limits import MAX_ADDRESSES

LOCAL = (LocalAddress("eth0", 2, "192.168.1.2", 24), LocalAddress("eth0", 2, "fe80::2", 64))
TEXT: dict[bytes, bytes | None] = {b"v": b"1", b"o": b"0011223344556677"}


def sighting_of(
    label: str,
    port: int | None,
    heard: list[str],
    text: dict[bytes, bytes | None],
    local: tuple[LocalAddress, ...],
) -> Sighting | None:
    record = b""
    for key, value in text.items():
        pair = key if value is None else key + b"=" + value
        record += bytes([min(len(pair), 255)]) + pair[:255]
    return sightings.sighting_of(label, Facts(port, record, tuple(heard)), local)


TAG = bytes.fromhex("0011223344556677")


def test_a_proper_record() -> None:
    heard = ["192.168.1.3", "10.9.9.9", "fe80::3%2", "127.0.0.1", "192.168.1.3"]
    expected = Sighting("abc", ("192.168.1.3", "fe80::3%eth0"), 26700, 1, (TAG,))
    assert sighting_of("abc", 26700, heard, TEXT, LOCAL) == expected


def test_addresses_come_with_the_cheapest_first() -> None:
    """Equal ones stay as they were heard."""
    heard = ["fe80::3%2", "192.168.1.4", "fe80::2%2", "192.168.1.3"]
    seen = sighting_of("abc", 26700, heard, TEXT, LOCAL)
    assert seen is not None
    assert seen.addresses == ("192.168.1.4", "192.168.1.3", "fe80::3%eth0", "fe80::2%eth0")


@pytest.mark.parametrize("port", [None, 0, 22, 53, 80, 1023, 65536])
def test_other_programs_ports_are_nobody(port: int | None) -> None:
    assert sighting_of("abc", port, ["192.168.1.3"], TEXT, LOCAL) is None


@pytest.mark.parametrize("version", [None, b"", b"-1", b"1.0", b"x", b"123456", "١".encode()])
def test_a_version_is_a_short_number(version: bytes | None) -> None:
    assert sighting_of("abc", 26700, ["192.168.1.3"], {**TEXT, b"v": version}, LOCAL) is None


@pytest.mark.parametrize(
    ("told", "tags"),
    [
        (None, ()),
        (b"", ()),
        (b"00112233445566", ()),
        (b"00112233445566zz", ()),
        (b"0011223344556677,junk,0011223344556677", (TAG, TAG)),
        (b",".join([b"0011223344556677"] * 30), (TAG,) * MAX_TAGS),
    ],
)
def test_office_tags(told: bytes | None, tags: tuple[bytes, ...]) -> None:
    seen = sighting_of("abc", 26700, ["192.168.1.3"], {**TEXT, b"o": told}, LOCAL)
    assert seen is not None
    assert seen.office_tags == tags


def test_addresses_are_few_and_near() -> None:
    crowd = [f"192.168.1.{n}" for n in range(1, 100)]
    seen = sighting_of("abc", 26700, crowd, TEXT, LOCAL)
    assert seen is not None
    assert len(seen.addresses) == MAX_ADDRESSES
    assert sighting_of("abc", 26700, ["8.8.8.8", "127.0.0.1", "junk"], TEXT, LOCAL) is None


@given(
    st.integers() | st.none(),
    st.lists(st.text()),
    st.dictionaries(st.sampled_from([b"v", b"o", b"x"]), st.binary() | st.none()),
)
def test_any_record_is_a_sighting_or_nothing(
    port: int | None, heard: list[str], text: dict[bytes, bytes | None]
) -> None:
    assert sighting_of("abc", port, ["192.168.1.3", *heard], text, LOCAL) is None or port is not None


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("abc-1." + SERVICE, "abc-1"),
        ("ABC." + SERVICE.upper(), "abc"),
        ("." + SERVICE, None),
        ("a b." + SERVICE, None),
        ("a.b." + SERVICE, None),
        ("\x1b[31m." + SERVICE, None),
        ("a\n." + SERVICE, None),
        ("a" * 64 + "." + SERVICE, None),
        ("abc._http._tcp.local.", None),
    ],
)
def test_labels_hold_nothing_that_could_hurt_a_terminal_or_a_log(name: str, label: str | None) -> None:
    assert label_of(name) == label


@given(st.binary(max_size=600))
def test_any_text_record_is_read_without_a_word(text: bytes) -> None:
    sightings.sighting_of("abc", Facts(26700, text, ("192.168.1.3",)), LOCAL)


def test_of_two_equal_keys_the_first_counts_and_case_does_not() -> None:
    seen = sightings.sighting_of(
        "abc", Facts(26700, b"\x03V=7\x03v=8\x00\x01x\xffv=9", ("192.168.1.3",)), LOCAL
    )
    assert seen is not None
    assert seen.version == 7
