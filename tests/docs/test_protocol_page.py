"""The page says what the code does: its examples are computed, its tables are held against the records."""

from __future__ import annotations

import re

import pytest

from p2pchat.wire.messages import events, link
from tests.docs import examples


def test_the_examples_in_the_page_are_what_the_product_computes() -> None:
    page = examples.PAGE.read_text()
    assert examples.page_block() in page, "run: python -m tests.docs.examples --write"


@pytest.mark.parametrize(("number", "kind"), sorted(link.FRAMES.items()))
def test_every_frame_type_stands_in_the_page(number: int, kind: type) -> None:
    page = examples.PAGE.read_text()
    assert re.search(rf"\b{number:02x} {kind.__name__}\b", page), f"{number:02x} {kind.__name__}"


@pytest.mark.parametrize(("number", "kind"), sorted(events.BODIES.items()))
def test_every_body_stands_in_the_page(number: int, kind: type) -> None:
    page = examples.PAGE.read_text()
    row = re.search(rf"^\| {number} [a-z]+ \| (`{{v=1.*)$", page, re.MULTILINE)
    assert row, number
    for name in kind.__struct_fields__:  # type: ignore[attr-defined]
        assert re.search(rf"\b{name}\b", row.group(1)), f"{kind.__name__}.{name}"
