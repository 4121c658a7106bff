"""Machines made wrong on purpose: what the laws must catch, or they are no laws.

Decides: which mistakes a history must reveal. Each is one patch of the product's own code
that a careless change could make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2pchat.engine import log, outbox, receive, views
from p2pchat.store.items import Items
from p2pchat.store.ledger import Ledger
from p2pchat.store.outbox import Outbox


def never_commits(patch: pytest.MonkeyPatch) -> None:
    """A daemon that answers what it has not written: sometimes the commit is a rollback."""
    real, turn = Ledger.commit, iter(range(1 << 30))

    def commit(self: Ledger) -> None:
        if next(turn) % 40 == 39:
            self.rollback()
        else:
            real(self)

    patch.setattr(Ledger, "commit", commit)


def forgets_keys(patch: pytest.MonkeyPatch) -> None:
    """A send with a key is carried out as often as it is asked for."""
    patch.setattr(Outbox, "by_key", lambda self, key: None)


def receipts_run_ahead(patch: pytest.MonkeyPatch) -> None:
    """Receipts promise one event more than is here."""
    real = outbox.ranges.newest

    def newest(told: Any, count: int) -> Any:
        said = real(told, count)
        return ((said[0][0], said[0][1] + 1), *said[1:]) if said else said

    patch.setattr(outbox.ranges, "newest", newest)


def miscounts(patch: pytest.MonkeyPatch) -> None:
    """Sets leave out every third event: repair finds nothing to do."""
    real = Items.add

    def add(self: Items, room: Any, control: bool, items: Any) -> None:
        real(self, room, control, [item for item in items if item[1][0] % 3])

    patch.setattr(Items, "add", add)


def keeps_deleted(patch: pytest.MonkeyPatch) -> None:
    """What was taken back keeps its text."""
    patch.setattr(views, "erase", lambda ctx, event, shown: event)


def ignores_what_came_before(patch: pytest.MonkeyPatch) -> None:
    """Clocks do not look at what was said before."""
    linked = log._links_back
    patch.setattr(log, "_links_back", lambda ctx, room: (linked(ctx, room)[0], -1))
    patch.setattr(log, "stamp", lambda wall_ms: (wall_ms // 7000 * 7000) << 16)


def takes_nothing_unsigned(patch: pytest.MonkeyPatch) -> None:
    """No event is ever authentic."""
    real = receive.log.covered
    patch.setattr(receive.log, "covered", lambda *given: dict.fromkeys(real(*given), False))


def seals_nothing(patch: pytest.MonkeyPatch) -> None:
    """Bodies are stored as they were written."""
    patch.setattr(log, "seal_body", lambda key, room, device, seq, ad, plain, nonce: plain + bytes(40))


ALL: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "answers before it commits": never_commits,
    "forgets keys of sends": forgets_keys,
    "receipts run ahead": receipts_run_ahead,
    "sets are miscounted": miscounts,
    "deleted texts stay": keeps_deleted,
    "clocks ignore what came before": ignores_what_came_before,
    "nothing unsigned is taken": takes_nothing_unsigned,
    "bodies are not sealed": seals_nothing,
}
