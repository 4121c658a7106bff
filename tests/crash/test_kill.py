"""SIGKILL at any moment under load: an id that was printed is delivered exactly once.

Two people write to each other as fast as they are answered; one of them, or both, are killed
at random moments and started again the way a user would. Nobody repairs anything.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.hosts import Machine, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.proof import Stream, integrity

pytestmark = needs_netns

GATE_CYCLES = 5
FULL_CYCLES = 50
READY_S = 3.0
"""A killed daemon answers again within this (research, C1), on a machine with room to breathe;"""
LOADED = 3.0
"""two daemons under full load share two cores with the test: so much slower is no fault."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        yield ann, bob


def test_what_was_acknowledged_is_delivered_exactly_once(pair: tuple[Machine, Machine], full: bool) -> None:
    ann, bob = pair
    seed = random.SystemRandom().randrange(1 << 32) if full else 11
    print(f"kills with seed {seed}")
    rng = random.Random(seed)
    with (
        Stream(ann, "bob", "ann says", pause_s=0) as first,
        Stream(bob, "ann", "bob says", pause_s=0) as second,
    ):
        for _ in range(FULL_CYCLES if full else GATE_CYCLES):
            first.reach(len(first.acknowledged) + 5)
            second.reach(len(second.acknowledged) + 5)
            time.sleep(rng.uniform(0, 0.6))  # the moment of the kill is the point
            victims = rng.choice(((ann,), (bob,), (ann, bob)))
            for victim in victims:
                victim.kill()
            for victim in victims:
                began = time.monotonic()
                victim.up()
                assert time.monotonic() - began < READY_S * LOADED
        until(lambda: ann.sees(bob) and bob.sees(ann), 15, "they meet again")
        sent = first.stop() + second.stop()
    assert sent > 50
    until(lambda: ann.waiting() == bob.waiting() == 0, 30, "nothing waits any more")
    for stream in (first, second):
        stream.check(ann, "bob")
        stream.check(bob, "ann")
    for machine in (ann, bob):
        machine.down()
        assert integrity(machine) == []


def test_a_printed_id_survives_a_kill_at_once(pair: tuple[Machine, Machine], full: bool) -> None:
    """The command itself: the daemon dies the moment `send` has printed."""
    ann, bob = pair
    bob.down()
    ids = []
    for number in range(20 if full else 3):
        ids.append(ann.send("bob", f"last words {number}", "--key", f"words-{number}")["id"])
        ann.kill()
        ann.up()
        again = ann.send("bob", f"last words {number}", "--key", f"words-{number}")
        assert again["id"] == ids[-1], "the same key made a second message"
    bob.up()
    until(lambda: ann.waiting() == 0, 15, "nothing waits any more")
    assert [one["id"] for one in bob.history("ann")] == ids
