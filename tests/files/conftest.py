"""Folders every test of this floor needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import transfers


@pytest.fixture
def places(tmp_path: Path) -> Iterator[transfers.Places]:
    yield from transfers.places(tmp_path)
