"""TIME as people type it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from p2pchat_cli import when

from p2pchat.errors import CommandError

ZONE = timezone(timedelta(hours=5, minutes=30))
NOW = datetime(2026, 11, 23, 14, 0, 30, tzinfo=ZONE)


def at(text: str, *, ahead: bool = False) -> str:
    moment = datetime.fromtimestamp(when.parse(text, NOW, ahead=ahead) / 1000, ZONE)
    return moment.isoformat()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01T14:30:00Z", "2026-03-01T20:00:00+05:30"),
        ("2026-03-01T14:30:00.250+01:00", "2026-03-01T19:00:00.250000+05:30"),
        ("2026-03-01t14:30:00z", "2026-03-01T20:00:00+05:30"),
        ("2026-03-01 14:30", "2026-03-01T14:30:00+05:30"),
        ("2026-03-01", "2026-03-01T00:00:00+05:30"),
        ("10m", "2026-11-23T13:50:30+05:30"),
        ("2h", "2026-11-23T12:00:30+05:30"),
        ("3d", "2026-11-20T14:00:30+05:30"),
        ("13:59", "2026-11-23T13:59:00+05:30"),
        ("9:05", "2026-11-23T09:05:00+05:30"),
        ("14:01", "2026-11-22T14:01:00+05:30"),
    ],
)
def test_times_of_the_past(text: str, meant: str) -> None:
    assert at(text) == meant
    assert when.is_time(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10m", "2026-11-23T14:10:30+05:30"),
        ("3d", "2026-11-26T14:00:30+05:30"),
        ("14:01", "2026-11-23T14:01:00+05:30"),
        ("14:00", "2026-11-24T14:00:00+05:30"),
    ],
)
def test_times_ahead(text: str, meant: str) -> None:
    assert at(text, ahead=True) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "25:00",
        "12:60",
        "2026-13-01",
        "2026-02-30",
        "10",
        "10x",
        "-3d",
        "1e3s",
        "99999999d",
        "12345d",
        "2026-03-01T25:00:00Z",
        "1969-12-31",
        "9999999h",
        "２h",
        "2026-03-01T14:30:00Z junk",
    ],
)
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        when.parse(text, NOW)
    assert caught.value.kind == "usage"
    assert repr(text) in caught.value.message
    assert caught.value.hint == when.HINT


def test_an_id_is_never_a_time() -> None:
    for text in ("12345d", "deadbeef", "0123456789", "abcdef"):
        assert not when.is_time(text)


def test_a_zone_of_the_system_keeps_its_summer_time() -> None:
    now = datetime.now().astimezone()
    assert abs(when.parse("10m", now) / 1000 - (now.timestamp() - 600)) < 1
    midnight = datetime.fromtimestamp(when.parse("2026-01-15", now) / 1000)
    assert (midnight.hour, midnight.minute, midnight.day) == (0, 0, 15)


def test_spans_read_well() -> None:
    assert [when.span(s) for s in (0, 59.9, 60, 3599, 7300, 90_000, -5)] == [
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "2 h",
        "1 d",
        "0 s",
    ]
    assert when.ago(None, NOW) == "never"
    assert when.ago("2026-11-23T08:00:30.000Z", NOW) == "30 min ago"
