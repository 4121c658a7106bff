"""Whether our clock is wrong, by what people we know say of theirs.

Decides: whose word counts about the time, and the correction of our wall clock that
follows (docs/protocol.md, "Events"). Does not know: what is stamped with it, or how an
offset is measured (meet).
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Final

from p2pchat.engine.context import Live
from p2pchat.ids import AccountId
from p2pchat.model import TrustRow
from p2pchat.wire.limits import FUTURE_MS

AGREE_MS: Final = 60_000
"""Two say the same if they are this near to what is taken for right."""

KNOWN_AFTER_MS: Final = 24 * 3600 * 1000
"""Somebody first seen longer ago is no stranger: whoever makes up people has to wait for it."""


def long_known(trust: TrustRow, system_ms: int) -> bool:
    """Whether this person was first seen a day ago or more, by this machine's own clock.

    In either direction: a clock that has gone back by years makes no strangers of friends,
    and one that has gone ahead makes no friends of those who are met now.
    """
    return abs(system_ms - trust.first_seen_ms) >= KNOWN_AFTER_MS


def shift(live: Live, trust: Mapping[AccountId, TrustRow], me: AccountId, system_ms: int) -> int:
    """Correction of our wall clock in ms, mostly 0: the median offset of people who are here and
    known, where at least two of them agree within a minute and we are more than five minutes off.

    Known is who is verified, or first seen a day ago: else two made-up people set our clock.
    A person has one voice, however many machines and links he has: the median of theirs.
    """
    told: dict[AccountId, list[int]] = {}
    links, before, after = live.links, system_ms - KNOWN_AFTER_MS, system_ms + KNOWN_AFTER_MS
    for number in live.by_device.values():  # `long_known` by hand: of hundreds, whenever one comes or goes
        link = links[number]
        account = link.account
        if account != me:
            row = trust.get(account)
            if row is None or (before < row.first_seen_ms < after and not row.verified):
                continue
        told.setdefault(account, []).append(link.clock_offset_ms)
    offsets = [median(each) for each in told.values()]
    if len(offsets) < 2:
        return 0
    middle = round(median(offsets))
    agreeing = sum(abs(offset - middle) <= AGREE_MS for offset in offsets)
    return middle if agreeing >= 2 and abs(middle) > FUTURE_MS else 0
