"""TIME as people type it.

Decides: how `RFC 3339`, `YYYY-MM-DD`, `HH:MM` and `10m|2h|3d` are read, and how an
instant is shown. Does not know: which option holds a time, or the clock (handed in).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from p2pchat.errors import CommandError

HINT: Final = "write 2026-03-01T14:30:00Z, 2026-03-01, 14:30, or 10m 2h 3d"

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Five digits and a `d` would also be an id prefix; nobody means 10,000 days.
_SPAN: Final = re.compile(r"(\d{1,7}(?=[smhw])|\d{1,4}(?=d))([smhdw])", re.ASCII)
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FULL: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)


def is_time(text: str) -> bool:
    """Whether `text` has one of the forms of TIME (an id never has)."""
    return any(form.fullmatch(text) for form in (_SPAN, _CLOCK, _DAY, _FULL))


def parse(text: str, now: datetime, *, ahead: bool = False) -> int:
    """`text` as ms since 1970.

    `now` is aware and in the user's zone: `HH:MM`, `YYYY-MM-DD` and RFC 3339 without
    an offset are local. With `ahead` spans point forward and `HH:MM` means its next
    occurrence; otherwise the latest one that has been. Raises CommandError `usage`.
    """
    stripped = text.strip()
    try:
        if found := _SPAN.fullmatch(stripped):
            span = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
            return _ms(now + span if ahead else now - span)
        if found := _CLOCK.fullmatch(stripped):
            return _ms(_occurrence(now, int(found[1]), int(found[2]), ahead))
        if _DAY.fullmatch(stripped):
            return _ms(_local(now, datetime.combine(date.fromisoformat(stripped), datetime.min.time())))
        if _FULL.fullmatch(stripped):
            moment = datetime.fromisoformat(stripped.upper())
            return _ms(moment if moment.tzinfo else _local(now, moment))
    except (ValueError, OverflowError):
        pass  # 2026-13-45, a span before the year 1: told below like any other text that is no time
    raise CommandError("usage", f"{text!r} is no time", HINT)


def _occurrence(now: datetime, hour: int, minute: int, ahead: bool) -> datetime:
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
    moment = _local(now, today)
    if ahead and moment <= now:
        return _local(now, today + timedelta(days=1))
    if not ahead and moment > now:
        return _local(now, today - timedelta(days=1))
    return moment


def _local(now: datetime, naive: datetime) -> datetime:
    """`naive` in the user's zone as it is on that day; a fixed zone handed in by a test stays fixed."""
    if now.tzinfo is not None and now.tzinfo is not UTC and now.utcoffset() == now.astimezone().utcoffset():
        return naive.astimezone()  # the system's rules, so that summer time of that day counts
    return naive.replace(tzinfo=now.tzinfo)


def _ms(moment: datetime) -> int:
    value = round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    if value < 0:
        raise ValueError("before 1970")
    return value


def local(text: str | None) -> datetime | None:
    """An RFC 3339 time of an answer in the user's zone; None for null."""
    return None if text is None else datetime.fromisoformat(text).astimezone()


def span(seconds: float) -> str:
    """`90` as `1 min`, `7300` as `2 h`: one unit, rounded down."""
    whole = max(int(seconds), 0)
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {name}"
    return f"{whole} s"


def ago(text: str | None, now: datetime) -> str:
    """`3 min ago`, `never` for null."""
    moment = local(text)
    return "never" if moment is None else f"{span((now - moment).total_seconds())} ago"
