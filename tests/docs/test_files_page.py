"""docs/files.md says what the code does: its examples are computed, by us and by others; its numbers too."""

from __future__ import annotations

import struct

import pytest

from p2pchat.files import names, staging
from p2pchat.wire import limits
from p2pchat.wire.messages import files
from tests.docs import file_examples
from tests.files import blake3_by_hand
from tests.vectors import oracle

PAGE = file_examples.PAGE.read_text("utf-8")


def test_the_examples_in_the_page_are_what_the_product_computes() -> None:
    assert file_examples.page_block() in PAGE, "run: python -m tests.docs.file_examples --write"


def test_the_examples_are_what_others_compute() -> None:
    """BLAKE3 by hand, AEGIS-256 and HKDF by the oracle, the layout by the page's words."""
    found = list(file_examples.examples().values())
    listed, stream, piece, root, _, _, bits, forward, backward, first, second = found
    key = file_examples.FILE_KEY
    assert stream == listed + b"hello"
    assert piece == blake3_by_hand.keyed(key, stream)
    root_key = blake3_by_hand.derive_key("p2pchat/file-root/1", key)
    bound = struct.pack(">QQQ", len(stream), len(listed), 1 << 20)
    assert root == blake3_by_hand.keyed(root_key, bound + piece)
    assert bits == bytes([0b10010000, 0b01000000])
    keys = oracle.hkdf2(file_examples.CHAINING_KEY, b"p2pchat/bulk/1")
    assert (forward, backward) == (keys[0][:32], keys[1][:32])
    for number, record in enumerate((first, second)):
        nonce = bytes(24) + number.to_bytes(8, "little")
        sealed, _, tag = oracle.aegis256(forward, nonce, b"", file_examples.RECORD)
        assert record == sealed + tag


@pytest.mark.parametrize("kind", [files.Offer, files.FileRoot, files.Entry, files.Manifest])
def test_every_record_stands_in_the_page(kind: type) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"{kind.__name__} {{"))
    named = [part.split(":")[0].split("=")[0].strip() for part in row.split("{")[1].split("}")[0].split(", ")]
    assert named == list(kind.__struct_fields__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "number",
    [
        limits.MAX_ENTRIES,
        limits.MAX_DEPTH,
        limits.MAX_PATH,
        limits.MAX_OFFER_NAME,
        limits.FEW_PIECES,
        limits.MAX_PIECES,
        names.MAX_NAME_BYTES,
        names.MAX_SUFFIX_BYTES,
        staging.SYNC_BYTES >> 20,
        limits.MAX_MANIFEST >> 20,
        limits.MAX_PIECE >> 20,
    ],
)
def test_every_ceiling_stands_in_the_page(number: int) -> None:
    assert f"{number:,}" in PAGE
