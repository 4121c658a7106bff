"""A fresh archive for each test, in a file and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import Reader, open_reader
from tests.store.samples import Samples


@pytest.fixture
def samples() -> Samples:
    return Samples()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """An archive in a file."""
    opened = open_ledger(path)
    yield opened
    opened.close()


@pytest.fixture
def reader(ledger: Ledger) -> Iterator[Reader]:
    """A reader beside `ledger`: it sees what has been committed."""
    opened = open_reader(ledger)
    yield opened
    opened.close()


@pytest.fixture(params=["file", "memory"])
def either(request: pytest.FixtureRequest, path: Path) -> Iterator[Ledger]:
    """The same archive in a file and in memory, with a transaction open."""
    opened = open_ledger(path if request.param == "file" else MEMORY)
    opened.begin()
    yield opened
    opened.close()
