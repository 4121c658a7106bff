"""Dictionaries and fields that go back to what they were when a batch began.

Decides: what an undo costs: a copy of each dictionary the batch changes, made before its first change,
and nothing for all others. Copying every one of some sixty before each batch took 32 µs of a message
where other processes had pushed them out of the caches, and reading the other fields alone 20. Does not
know: what is in them, or when a batch begins or fails (node).

Values are frozen: replace one, never change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Journal:
    """What of one state has changed since `begin`."""

    __slots__ = ("changed", "fields")

    def __init__(self) -> None:
        self.changed: list[UndoDict[Any, Any]] = []
        self.fields: dict[tuple[int, str], tuple[UndoFields, Any]] = {}
        """Fields that were set to something else: whose, and what they were."""

    def begin(self) -> None:
        """From here on changes can be undone; those before cannot any more."""
        for one in self.changed:
            one.was = None
        self.changed.clear()
        self.fields.clear()

    def undo(self) -> None:
        """Put everything back to what it was, the order of keys included."""
        for (_, name), (state, value) in self.fields.items():
            object.__setattr__(state, name, value)
        for one in self.changed:
            was, one.was = one.was, None
            dict.clear(one)
            dict.update(one, was or {})
        self.changed.clear()
        self.fields.clear()


class UndoFields:
    """A state whose fields go back as well, once it is `joined` to a journal: its dictionaries with it."""

    __slots__ = ("journal",)
    journal: Journal

    def join(self, journal: Journal, names: Iterable[str]) -> None:
        """From now on changes are noted there."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, UndoDict):
                value.journal = journal
        object.__setattr__(self, "journal", journal)

    def __setattr__(self, name: str, value: Any) -> None:
        journal = getattr(self, "journal", None)
        if journal is not None:
            journal.fields.setdefault((id(self), name), (self, getattr(self, name)))
        object.__setattr__(self, name, value)


class UndoDict(dict[K, V]):
    """A dictionary that copies itself before its first change in a batch."""

    __slots__ = ("journal", "was")

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self.journal: Journal | None = None
        """Whose batch it is; None: nothing is undone here."""
        self.was: dict[K, V] | None = None
        """What it was when the batch began, once it is something else."""

    def _keep(self) -> None:
        if self.was is None and self.journal is not None:
            self.was = dict(self)
            self.journal.changed.append(self)

    def become(self, items: dict[K, V]) -> None:
        """Hold these instead. Another dictionary in its place would not be put back."""
        self._keep()
        super().clear()
        super().update(items)

    def __setitem__(self, key: K, value: V) -> None:
        if self.was is None and self.journal is not None:  # `_keep`, for it is called with every message
            self.was = dict(self)
            self.journal.changed.append(self)
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self._keep()
        super().__delitem__(key)

    def popitem(self) -> tuple[K, V]:
        self._keep()
        return super().popitem()

    def clear(self) -> None:
        self._keep()
        super().clear()

    if not TYPE_CHECKING:  # as dict declares them, in all their forms

        def __ior__(self, other):
            self._keep()
            super().update(other)
            return self

        def pop(self, *args):
            self._keep()
            return super().pop(*args)

        def setdefault(self, *args):
            self._keep()
            return super().setdefault(*args)

        def update(self, *args, **more):
            self._keep()
            super().update(*args, **more)
