"""Worked examples of docs/files.md, computed by the product itself.

`python -m tests.docs.file_examples` prints them; with `--write` they are put into the page between
its markers. A test holds the page, and an independent computation, against this output.
"""

from __future__ import annotations

import pathlib
import sys

from p2pchat.crypto import bulk
from p2pchat.files import manifest
from p2pchat.files.pieces import Bits, hash_piece, root_of
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.files import Entry, FileRoot, Offer

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "files.md"
START, END = "<!-- examples -->", "<!-- end of examples -->"
FILE_KEY, CHAINING_KEY, RECORD = b"k" * 32, b"c" * 64, b"a piece record"
PIECE = 1 << 20


def examples() -> dict[str, bytes]:
    """Name and bytes of every example, in the order of the page."""
    entries = [Entry(("a.txt",), False, 5, 1), Entry(("empty",), True, 0, 1)]
    listed = manifest.make(entries)
    stream = listed + b"hello"
    hashes = hash_piece(FILE_KEY, stream)
    root = root_of(FILE_KEY, len(stream), len(listed), PIECE, hashes)
    offer = Offer(b"i" * 16, len(stream), len(listed), 1, "docs", "", 0, FILE_KEY, PIECE, 0)
    bits = Bits(10)
    for number in (0, 3, 9):
        bits.add(number)
    forward, backward = bulk.bulk_keys(CHAINING_KEY)
    sealer = bulk.BulkSealer(forward)
    records = []
    for _ in range(2):
        out = bytearray(len(RECORD) + bulk.OVERHEAD)
        sealer.seal_into(RECORD, out)
        records.append(bytes(out))
    return {
        "manifest: a.txt of 5 bytes, an empty folder": listed,
        "stream: the manifest and hello": stream,
        "hash of its one piece under the key k…": hashes,
        "root": root,
        "offer": encode(offer),
        "file root": encode(FileRoot(1, offer.id, root, 1)),
        "bitfield of 10 pieces, 0 3 and 9 are there": bits.encode(),
        "bulk key of the initiator, chaining key c…": forward,
        "bulk key of the responder": backward,
        "record 0 of the initiator (a piece record)": records[0],
        "record 1, the same text": records[1],
    }


def page_block() -> str:
    """What stands between the markers."""
    lines = ["```text"]
    for name, raw in examples().items():
        lines.append(f"{name} ({len(raw)} bytes)")
        digits = raw.hex()
        lines += [f"  {digits[at : at + 96]}" for at in range(0, len(digits), 96)]
    return "\n".join([*lines, "```"])


def main() -> None:
    """Print, or write into the page."""
    if "--write" not in sys.argv[1:]:
        sys.stdout.write(page_block() + "\n")
        return
    page = PAGE.read_text("utf-8")
    before, after = page.split(START)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{START}\n{page_block()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
