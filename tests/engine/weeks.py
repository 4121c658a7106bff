"""Items as the archive would hold them: per-week rows and packed weeks."""

from __future__ import annotations

from collections.abc import Iterable

from p2pchat.engine.items import Item, add_to_week, empty_week, week_of
from p2pchat.model import WeekRow


def rows_of(items: Iterable[Item]) -> tuple[list[WeekRow], dict[int, bytes]]:
    """Rows and packed bytes by week of `items` in any order."""
    by_week: dict[int, list[Item]] = {}
    for ms, id in items:
        by_week.setdefault(week_of(ms), []).append((ms, id))
    rows = []
    packed = {}
    for week, held in by_week.items():
        row, packed[week] = add_to_week(empty_week(week), b"", held)
        rows.append(row)
    return rows, packed
