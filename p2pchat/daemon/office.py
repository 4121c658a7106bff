"""The tags by which daemons of one office know each other's announcements.

Decides: what they are made of, and that each holds for a day. Does not know: mDNS, or who announces.
"""

from __future__ import annotations

import datetime
from typing import Final

from p2pchat.crypto.primitives import hash_tagged
from p2pchat.engine.links import OPEN_OFFICE_KEY

OFFICE_TAG: Final = "p2pchat/tag/1"


def office_tags(wall_ms: int) -> tuple[bytes, bytes, bytes]:
    """Tags of the open office for today, yesterday and tomorrow (UTC)."""
    today = datetime.datetime.fromtimestamp(wall_ms / 1000, datetime.UTC).date()
    days = (today, today - datetime.timedelta(1), today + datetime.timedelta(1))
    one, two, three = (hash_tagged(OFFICE_TAG, OPEN_OFFICE_KEY, day.isoformat().encode())[:8] for day in days)
    return one, two, three
