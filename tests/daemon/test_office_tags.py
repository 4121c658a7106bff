"""What marks an announcement as one of our office, without saying which office to a stranger."""

from __future__ import annotations

import hashlib

import pytest

from p2pchat.daemon.office import office_tags

OPEN = hashlib.blake2b(b"p2pchat/open-office/1", digest_size=32).digest()
NOON = 1_764_072_000_000
"""2025-11-25 12:00 UTC."""
DAY_MS = 86_400_000


def tag(day: str) -> bytes:
    return hashlib.blake2b(b"p2pchat/tag/1" + OPEN + day.encode(), digest_size=32).digest()[:8]


def test_tags_are_of_today_yesterday_and_tomorrow_in_utc() -> None:
    assert office_tags(NOON) == (tag("2025-11-25"), tag("2025-11-24"), tag("2025-11-26"))


@pytest.mark.parametrize("apart_ms", [0, DAY_MS // 2, DAY_MS, DAY_MS + DAY_MS // 2])
def test_machines_whose_clocks_differ_by_a_day_still_know_each_other(apart_ms: int) -> None:
    assert set(office_tags(NOON)) & set(office_tags(NOON + apart_ms))


def test_next_week_nobody_can_tell_it_is_the_same_office() -> None:
    assert not set(office_tags(NOON)) & set(office_tags(NOON + 7 * DAY_MS))
