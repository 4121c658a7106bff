"""Dictionaries that go back to what they were when a batch began.

Decides: what an undo costs: a copy of each dictionary the batch changes, made before its first change,
and nothing for all others. Copying every one of some sixty before each batch took 32 µs of a message
where other processes had pushed them out of the caches. Does not know: what is in them, or when a batch
begins or fails (node).

Values are frozen: replace one, never change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Journal:
    """Which dictionaries of one state have changed since `begin`."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed: list[KeptDict[Any, Any]] = []

    def begin(self) -> None:
        """From here on changes can be undone; those before cannot any more."""
        for one in self.changed:
            one.was = None
        self.changed.clear()

    def undo(self) -> None:
        """Put every dictionary back to what it was, the order of its keys included."""
        for one in self.changed:
            was, one.was = one.was, None
            dict.clear(one)
            dict.update(one, was or {})
        self.changed.clear()


class KeptDict(dict[K, V]):
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
        if self.was is None:
            self._keep()
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
