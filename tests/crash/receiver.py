"""A receiver of one transfer that says what it has made durable, to be killed at any moment.

Decides: nothing; it hands the pieces of a source to a staging as a link would, in an order drawn
from a seed, and goes on where it was. A line after each sync ("durable" and the bits in hex) and at
the end ("placed" and the name). `careless` leaves out the syncs of bytes, which is what a test of
power cuts must catch.

    python -m tests.crash.receiver BASE SOURCE SEED careful|careless
"""

from __future__ import annotations

import random
import sys
import time

from p2pchat.files import tree
from p2pchat.files.inbox import place
from p2pchat.files.outgoing import Outgoing, offer_for
from p2pchat.files.source import open_source
from p2pchat.files.staging import Staging
from p2pchat.platform.folders import Folder
from tests.kit.transfers import FILE_KEY, ID, carry

SYNC_EVERY = 3
"""Pieces; a real one goes by bytes and time, and must be right whenever it is."""


def say(*words: str) -> None:
    """A line that is out when this returns."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(base: str, source_path: str, seed: int, mode: str) -> None:
    """Receive, go on, place."""
    if mode == "careless":
        tree.sync_many = lambda *_: None  # type: ignore[assignment]
    rng = random.Random(seed)
    with (
        Folder.open(f"{base}/inbox", create=True) as inbox,
        Folder.open(f"{base}/staging", create=True) as folder,
        Folder.open(f"{base}/out", create=True) as logs,
    ):
        for here in (inbox, folder, logs):
            here.sync()
        with Folder.open(base) as above:
            above.sync()
        source = open_source(source_path)
        outgoing = Outgoing(logs, offer_for(source, ID, FILE_KEY), source, 0)
        staging = Staging.begin(folder, outgoing.offer, keep_free=0, now=time.monotonic())
        if staging.placing is None:
            head = [number for number in staging.done.missing() if number < staging.head_pieces]
            rest = [number for number in staging.done.missing() if number >= staging.head_pieces]
            rng.shuffle(rest)
            for at, number in enumerate([*head, *rest], 1):
                carry(outgoing, staging, [number])
                if at % SYNC_EVERY == 0:
                    outgoing.sync(0)
                    staging.sync(time.monotonic())
                    say("durable", staging.durable.encode().hex())
        landed = place(staging, inbox, time.monotonic())
        say("placed", landed.name)
        staging.close()
        outgoing.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
