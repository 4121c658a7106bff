"""Negentropy as its reference says it: recorded conversations, byte for byte.

Decides: that both sides of every recorded run are reproduced. Does not know: how the
machine works inside (tests/engine).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from p2pchat.engine.items import Items, VectorItems, WeekCache, WeekItems
from p2pchat.engine.reconcile import Reconciler
from tests.engine.weeks import rows_of


def cases(vectors: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((vectors / "negentropy/transcripts.json").read_text())["cases"]
    assert len(found) >= 12
    return found


def items(listed: list[tuple[int, str]], by_week: bool) -> Items:
    pairs = [(ms, bytes.fromhex(id)) for ms, id in listed]
    if not by_week:
        return VectorItems(pairs)
    rows, packed = rows_of(pairs)
    return WeekItems(rows, packed.__getitem__, WeekCache(), "room")


def replay(case: dict[str, Any], by_week: bool) -> None:
    limit = case["frame_size_limit"]
    asking = Reconciler(items(case["initiator"], by_week), limit, initiator=True)
    answering = Reconciler(items(case["responder"], by_week), limit, initiator=False)
    messages = [bytes.fromhex(message) for message in case["messages"]]
    assert asking.initiate() == messages[0], case["name"]
    have: list[bytes] = []
    need: list[bytes] = []
    for at in range(0, len(messages), 2):
        assert answering.respond(messages[at]) == messages[at + 1], f"{case['name']}: message {at + 1}"
        step = asking.reconcile(messages[at + 1])
        have += step.have
        need += step.need
        following = messages[at + 2] if at + 2 < len(messages) else None
        assert step.reply == following, f"{case['name']}: message {at + 2}"
        assert step.done is (following is None)
    assert {id.hex() for id in have} == set(case["have"])
    assert {id.hex() for id in need} == set(case["need"])


def test_every_recorded_run_is_reproduced_on_both_sides(vectors: Path) -> None:
    for case in cases(vectors):
        replay(case, by_week=False)


def test_items_kept_by_week_say_the_same_bytes(vectors: Path) -> None:
    for case in cases(vectors):
        replay(case, by_week=True)
