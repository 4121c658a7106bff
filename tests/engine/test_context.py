"""What is remembered between inputs: a snapshot is whole, and later changes do not reach it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from p2pchat.engine.context import Live
from p2pchat.engine.presence_state import PresenceState


def _fill(live: Any) -> int:
    """Put something of its own into every field; how many are dictionaries."""
    filled = 0
    for number, one in enumerate(fields(live)):
        value: Any = getattr(live, one.name)
        if isinstance(value, PresenceState):
            filled += _fill(value)
            continue
        setattr(live, one.name, {number: number} if isinstance(value, dict) else number)
        filled += isinstance(value, dict)
    return filled


def _change(live: Any, before: Any) -> None:
    """Change every dictionary of the one and look whether the other has changed."""
    for one in fields(live):
        value = getattr(live, one.name)
        if isinstance(value, dict):
            value["later"] = 1
            assert "later" not in getattr(before, one.name), one.name
        elif isinstance(value, PresenceState):
            _change(value, getattr(before, one.name))


def test_a_snapshot_has_every_field_and_dictionaries_of_its_own() -> None:
    live = Live()
    filled = _fill(live)
    before = live.snapshot()
    assert before == live
    _change(live, before)
    assert filled > 35
