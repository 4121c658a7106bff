"""How fast received messages reach the archive: event + message + feed rows a second at FULL.

    python -m tests.bench.store_rows [--rows N] [--rounds N] [--folder DIR] [--json]

Each message is one `event`, one `message` and one `feed` row, through the ledger's own
calls, in transactions of 1, 64 and 1024. Rounds are interleaved; median [min-max] is
printed. A folder on a memory disk shows the cost without the sync.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from p2pchat.store.ledger import Ledger, open_ledger
from tests.store.samples import Samples

BATCHES = (1, 64, 1024)


def one_round(ledger: Ledger, samples: Samples, rows: int, batch: int) -> float:
    """Seconds for `rows` messages in transactions of `batch`; making them is not counted."""
    made = [
        samples.message(text=f"message number {n} of a round, as long as people write") for n in range(rows)
    ]
    start = time.perf_counter()
    for at in range(0, rows, batch):
        ledger.begin()
        for event, view in made[at : at + batch]:
            ledger.events.add(event)
            ledger.views.put_message(view)
            ledger.outbox.feed("message", event.id, view.received_ms)
        ledger.commit()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows per round and batch size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the archive is made")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        ledger = open_ledger(Path(folder) / "archive.db")
        samples = Samples()
        for _ in range(asked.rounds):
            for batch in BATCHES:
                rows = asked.rows if batch > 1 else max(1, asked.rows // 20)
                figures[batch].append(one_round(ledger, samples, rows, batch) / rows * 1e6)
        ledger.close()
    if asked.json:
        json.dump({"us_per_message": {str(b): statistics.median(f) for b, f in figures.items()}}, sys.stdout)
        print()
        return
    print(f"{'batch':>6} {'µs a message':>22} {'messages/s':>11}")
    for batch, costs in figures.items():
        middle = statistics.median(costs)
        print(f"{batch:>6} {middle:>9.1f} [{min(costs):.1f}-{max(costs):.1f}] {1e6 / middle:>11,.0f}")


if __name__ == "__main__":
    main()
