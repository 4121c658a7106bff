"""A stage for every play."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from tests.engine.play import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    opened: list[Ledger] = []

    def fresh() -> Ledger:
        opened.append(open_ledger(MEMORY))
        return opened[-1]

    yield Stage(fresh)
    for ledger in opened:
        ledger.close()
