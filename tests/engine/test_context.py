"""What is remembered between inputs: whatever a batch changed is undone, and nothing else is copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

from p2pchat.engine.context import Live
from p2pchat.engine.presence_state import PresenceState
from p2pchat.engine.undo import UndoDict


def _states(live: Live) -> Iterator[Any]:
    yield live
    yield live.presence


def _fields(live: Live) -> Iterator[tuple[Any, str]]:
    """Every field that holds something of its own."""
    for state in _states(live):
        for one in fields(state):
            if not isinstance(getattr(state, one.name), PresenceState):
                yield state, one.name


def _all(live: Live) -> list[Any]:
    values = [getattr(state, name) for state, name in _fields(live)]
    return [list(value.items()) if isinstance(value, dict) else value for value in values]


def test_whatever_is_changed_is_undone_in_every_field() -> None:
    live = Live()
    dictionaries = 0
    for number, (state, name) in enumerate(_fields(live)):
        value = getattr(state, name)
        assert not isinstance(value, dict) or type(value) is UndoDict, name
        if isinstance(value, dict):
            value.update({"first": number, "second": number})
            dictionaries += 1
        else:
            setattr(state, name, number)
    assert dictionaries > 45
    filled = _all(live)
    live.journal.begin()
    for state, name in _fields(live):
        value = getattr(state, name)
        if isinstance(value, dict):
            del value["first"]
            value["later"] = 1
        else:
            setattr(state, name, "otherwise")
    assert all(one != was for one, was in zip(_all(live), filled, strict=True))
    live.journal.undo()
    assert _all(live) == filled, "in their order, too"
    live.timers["repair"], live.port = 1.0, 7
    live.journal.begin()
    live.journal.undo()
    assert (live.timers["repair"], live.port) == (1.0, 7), "what came before the last batch stays"


CHANGES: dict[str, Callable[[UndoDict[str, int]], object]] = {
    "set": lambda one: one.__setitem__("a", 9),
    "add": lambda one: one.__setitem__("c", 9),
    "delete": lambda one: one.__delitem__("a"),
    "pop": lambda one: one.pop("a"),
    "pop_nothing": lambda one: (one.pop("c", None), one.pop("a", None)),
    "popitem": lambda one: one.popitem(),
    "setdefault": lambda one: one.setdefault("c", 9),
    "update": lambda one: one.update({"b": 9}, c=9),
    "or": lambda one: one.__ior__({"b": 9}),
    "clear": lambda one: one.clear(),
    "become": lambda one: one.become({"c": 9}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_way_to_change_a_dictionary_is_undone(name: str) -> None:
    live: Any = Live()
    one: UndoDict[str, int] = live.timers
    one.update(a=1, b=2)
    live.journal.begin()
    CHANGES[name](one)
    assert list(one.items()) != [("a", 1), ("b", 2)]
    one["d"] = 4
    live.journal.undo()
    assert list(one.items()) == [("a", 1), ("b", 2)]
    assert live.timers is one, "who holds it goes on holding it"
    one["d"] = 4
    live.journal.undo()
    assert list(one.items()) == [("a", 1), ("b", 2)], "and once more"


def test_nothing_that_changes_a_dictionary_is_left_out() -> None:
    untouched = {"copy", "fromkeys", "get", "items", "keys", "values"}
    ways = {name for name in vars(dict) if not name.startswith("_")} | {
        "__setitem__",
        "__delitem__",
        "__ior__",
    }
    assert ways - untouched <= set(vars(UndoDict))


def test_only_what_changed_is_copied() -> None:
    live: Any = Live()
    live.journal.begin()
    live.timers["repair"] = 1.0
    live.timers["peers"] = 1.0
    live.presence.active_at = 2.0
    assert live.journal.changed == [live.timers]
    assert [name for _, name in live.journal.fields] == ["active_at"]
