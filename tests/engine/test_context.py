"""What is remembered between inputs: a snapshot is whole, and later changes do not reach it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from p2pchat.engine.context import Live


def test_a_snapshot_has_every_field_and_dictionaries_of_its_own() -> None:
    live, filled = Live(), 0
    for number, one in enumerate(fields(Live)):
        value: Any = getattr(live, one.name)
        setattr(live, one.name, {number: number} if isinstance(value, dict) else number)
        filled += isinstance(value, dict)
    before = live.snapshot()
    assert before == live
    for one in fields(Live):
        value = getattr(live, one.name)
        if isinstance(value, dict):
            value["later"] = 1
            assert "later" not in getattr(before, one.name), one.name
    assert filled > 30
