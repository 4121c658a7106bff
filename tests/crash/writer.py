"""A writer of the archive that says what it has committed, to be killed at any moment.

Decides: nothing; it commits small rows through the store's own ledger, and prints each
number after its commit returned. `NORMAL` weakens the one setting that makes the promise:
the control that a test of power cuts must catch.

    python -m tests.crash.writer ARCHIVE FIRST FULL|NORMAL
"""

from __future__ import annotations

import itertools
import sys

from p2pchat.store.ledger import open_ledger


def key(number: int) -> str:
    """The key under which row `number` is kept."""
    return f"row-{number}"


def value(number: int) -> bytes:
    """What is kept there: enough to fill a page of the log every few commits."""
    return number.to_bytes(8, "big") * 64


def main(archive: str, first: int, mode: str) -> None:
    """Commit rows until killed."""
    ledger = open_ledger(archive)
    ledger.connection.execute(f"PRAGMA synchronous = {mode}")
    for number in itertools.count(first):
        ledger.begin()
        ledger.people.put_value(key(number), value(number))
        ledger.commit()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
