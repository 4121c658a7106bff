"""A long history in which every message has a signature of its own, to a machine that has nothing of it.

Its daemon starts a process that verifies them (docs/decisions/0010), which is there for that only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pchat.daemon.checking import LOOK_S
from tests.bench import filling
from tests.bench.filling import Filled
from tests.kit.hosts import Machine, alive, children, office, until
from tests.kit.needs import needs_netns

pytestmark = needs_netns

COUNT = 400
SYNC_S = 30.0
GIVEN_UP = "a thread does it"


class Play(NamedTuple):
    """Ann has the history, Bob is in the room and has heard of nothing; neither is up."""

    ann: Machine
    bob: Machine
    filled: Filled


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    with office(2, tmp_path) as (_, (ann, bob)):
        yield Play(ann, bob, filling.history(ann.home, COUNT, 1, bob.home))


def helpers(machine: Machine) -> list[int]:
    """Processes of a machine's daemon."""
    assert machine.pid is not None
    return children(machine.pid)


def has_all(machine: Machine, filled: Filled) -> bool:
    """Whether it has read the whole room."""
    room = filled.room.hex()
    if room not in [one["id"] for one in machine.ask("rooms.list", all=True)["rooms"]]:
        return False
    told = machine.ask("history", target=room, tail=500)["messages"]
    return len([one for one in told if one["text"]]) == filled.count


def synced(play: Play) -> int:
    """Both up and all of it with Bob; the process that has verified it."""
    play.bob.up()
    assert not helpers(play.bob), "none at rest"
    play.ann.up()
    until(lambda: has_all(play.bob, play.filled), SYNC_S, "bob has the whole room")
    (pid,) = helpers(play.bob)
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert any(b"p2pchat.crypto.checker" in word for word in words)
    assert GIVEN_UP not in play.bob.log()
    return pid


def test_a_process_verifies_it_and_ends_by_itself(play: Play) -> None:
    pid = synced(play)
    assert not helpers(play.ann), "who gives has nothing to verify"
    until(lambda: not alive(pid), 2 * LOOK_S + 5, "the process ends when there is nothing to do")
    assert not helpers(play.bob)
    assert GIVEN_UP not in play.bob.log()


def test_it_goes_with_the_daemon_that_is_stopped(play: Play) -> None:
    pid = synced(play)
    play.bob.down()
    assert not alive(pid)
    assert GIVEN_UP not in play.bob.log()


def test_it_goes_with_the_daemon_that_is_killed(play: Play) -> None:
    pid = synced(play)
    play.bob.kill()
    until(lambda: not alive(pid), 5, "the process notices")


def test_it_is_killed_and_nobody_loses_anything(play: Play) -> None:
    play.bob.up()
    play.ann.up()
    pids = until(lambda: helpers(play.bob), SYNC_S, "it is started")
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: has_all(play.bob, play.filled), SYNC_S, "bob has the whole room")
    assert not helpers(play.bob)
    assert play.bob.log().count(GIVEN_UP) == 1
    assert "ends:" not in play.bob.log()
