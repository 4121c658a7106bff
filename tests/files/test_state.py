"""The log of a transfer: torn at every byte, harmed at every byte, it is believed as far as it is whole."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.errors import CommandError
from p2pchat.files import state as states
from p2pchat.files.state import StateLog
from tests.kit.transfers import Places, offer_of

OFFER = offer_of(b"x" * 10)
RECORDS = [(states.HASHES, b"\0\0\0\0" + bytes(32)), (states.DONE, b""), (states.ROOT, b"r" * 32), (77, b"?")]


def written(places: Places) -> list[int]:
    """A log of RECORDS; where each of its records, the first one included, ends."""
    log = StateLog.create(places.staging, "x.state", OFFER)
    path = places.staging_path / "x.state"
    ends = [path.stat().st_size]
    for record in RECORDS:
        log.append(*record)
        ends.append(path.stat().st_size)
    log.sync()
    log.close()
    log.close()
    return ends


def opened(places: Places) -> list[tuple[int, bytes]] | None:
    """What is believed after the first, which says the offer."""
    log = StateLog.open(places.staging, "x.state")
    if log is None:
        return None
    assert log.head is not None
    assert log.head.offer == OFFER
    log.append(5, b"more")  # whatever was torn, it can be gone on with
    log.close()
    again = StateLog.open(places.staging, "x.state")
    assert again is not None
    again.close()
    assert again.records == [*log.records, (5, b"more")]
    return log.records[1:]


def test_what_was_written_is_there(places: Places) -> None:
    written(places)
    assert (places.staging_path / "x.state").stat().st_mode & 0o777 == 0o600
    assert opened(places) == RECORDS
    with pytest.raises(FileExistsError):
        StateLog.create(places.staging, "x.state", OFFER)


def test_torn_at_every_byte(places: Places) -> None:
    ends = written(places)
    path = places.staging_path / "x.state"
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        complete = sum(end <= size for end in ends)
        assert opened(places) == (RECORDS[: complete - 1] if complete else None), size


@pytest.mark.parametrize("harm", [0x01, 0x80, 0xFF])
def test_harmed_at_every_byte(places: Places, harm: int) -> None:
    ends = written(places)
    path = places.staging_path / "x.state"
    whole = path.read_bytes()
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= harm
        path.write_bytes(broken)
        complete = sum(end <= at for end in ends)
        assert opened(places) == (RECORDS[: complete - 1] if complete else None), at


def test_a_lost_middle_ends_it_though_the_rest_is_whole(places: Places) -> None:
    """Sectors reach a disk in any order: what comes behind a hole proves nothing."""
    ends = written(places)
    path = places.staging_path / "x.state"
    whole = bytearray(path.read_bytes())
    whole[ends[1] : ends[2]] = bytes(ends[2] - ends[1])
    path.write_bytes(whole)
    assert opened(places) == RECORDS[:1]
    # and a record of the same log in another place is not that record
    swapped = bytes(whole[: ends[0]]) + bytes(whole[ends[1] :])
    path.write_bytes(swapped)
    assert opened(places) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_believed_no_further_than_they_are_whole(raw: bytes) -> None:
    found = list(states.believed(raw))
    assert all(end <= len(raw) for *_, end in found)


@given(st.lists(st.integers(0, 500), unique=True).map(sorted))
def test_ranges(numbers: list[int]) -> None:
    packed = states.pack_ranges(numbers)
    assert list(states.unpack_ranges(packed)) == numbers
    assert len(packed) <= 8 * len(numbers)


def test_nothing_and_no_log_are_the_same(places: Places) -> None:
    assert StateLog.open(places.staging, "x.state") is None
    (places.staging_path / "x.state").write_bytes(b"")
    assert StateLog.open(places.staging, "x.state") is None


def test_a_link_in_its_place_is_refused(places: Places) -> None:
    written(places)
    (places.staging_path / "x.state").rename(places.base / "elsewhere")
    (places.staging_path / "x.state").symlink_to(places.base / "elsewhere")
    with pytest.raises(CommandError, match="a link") as met:
        StateLog.open(places.staging, "x.state")
    assert met.value.kind == "unsafe_path"


def test_a_full_disk_leaves_no_half_record(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = written(places)
    log = StateLog.open(places.staging, "x.state")
    assert log is not None
    real = states.write_at

    def half(descriptor: int, data: memoryview, offset: int) -> None:
        real(descriptor, data[: len(data) // 2], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(states, "write_at", half)
    with pytest.raises(CommandError) as met:
        log.append(5, b"no room")
    assert met.value.kind == "disk_full"
    assert (places.staging_path / "x.state").stat().st_size == ends[-1]
    monkeypatch.undo()
    log.append(5, b"room again")
    log.close()
    again = StateLog.open(places.staging, "x.state")
    assert again is not None
    again.close()
    assert again.records[-1] == (5, b"room again")
