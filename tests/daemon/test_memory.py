"""How often the interpreter looks for cycles: in a process of its own, for it is a setting of the whole."""

from __future__ import annotations

import subprocess
import sys

from p2pchat.daemon.memory import OBJECTS
from tests.cli.stage import subprocess_environment

PROGRAM = """
import gc, weakref
from p2pchat.daemon.memory import look_rarely
class Node: pass
gc.disable()
look_rarely()
frozen = gc.get_freeze_count()
one = Node(); one.itself = one; seen = weakref.ref(one); del one
made, kept = 0, []
while seen() is not None:
    kept.append([]); made += 1
print(frozen, made)
"""


def test_what_a_process_begins_with_is_frozen_and_cycles_go_in_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=subprocess_environment(),
        timeout=20,
        check=True,
    )
    frozen, made = map(int, done.stdout.split())
    assert frozen > 1000
    assert OBJECTS / 2 < made < 3 * OBJECTS
