"""Addresses given by hand: kept, dialled again, and taken back."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview
from tests.engine.play import Actor, Stage

GIVEN = [("10.9.9.9", 26700), ("10.9.9.9", 26701), ("printer.example", 26700)]


def _kept(actor: Actor) -> list[tuple[str, int]]:
    return [(row.host, row.port) for row in actor.ledger.people.addresses()]


def _fail(actor: Actor, reason: str) -> None:
    for number in list(actor.node.live.dials):
        actor.feed(happened.DialFailed(number, reason))


@pytest.mark.parametrize(("port", "left"), [(None, GIVEN[2:]), (26701, [GIVEN[0], GIVEN[2]]), (26702, GIVEN)])
def test_an_address_that_was_added_is_taken_back(
    stage: Stage, port: int | None, left: list[tuple[str, int]]
) -> None:
    ann = stage.actor("ann")
    for number, (host, its) in enumerate(GIVEN):
        ann.feed(happened.AddPeer(900 + number, host, its))
    _fail(ann, "timeout")
    assert _kept(ann) == GIVEN
    told = ann.do(lambda r: happened.ForgetAddress(r, "10.9.9.9", port))
    assert told == {"dropped": len(GIVEN) - len(left)}
    assert _kept(ann) == left
    assert sorted(ann.node.live.targets) == left, "nor is it dialled again"


def test_our_own_address_is_not_kept(stage: Stage) -> None:
    ann = stage.actor("ann")
    ann.feed(happened.AddPeer(900, "10.9.9.9", 26700))
    assert _kept(ann) == [("10.9.9.9", 26700)]
    _fail(ann, "self")
    assert _kept(ann) == []
    assert ann.answers[900] == {"connected": False, "reason": "self", "link": None}


def test_dials_that_failed_are_counted_until_one_does_not(stage: Stage) -> None:
    """What `queue` says of a message that waits."""
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    stage.join(ann, bob)
    stage.cut()
    lost = overview.attempts(ann.look(), {bob.account})
    for failed in range(1, 5):
        while not ann.node.live.dials:
            stage.mono = ann.timers.pop("peers")
            ann.feed(happened.TimerFired("peers"))
        _fail(ann, "timeout")
        assert overview.attempts(ann.look(), {bob.account}) == lost + failed
        assert overview.attempts(ann.look(), {cem.account}) == 0
    stage.join(ann, bob)
    assert overview.attempts(ann.look(), {bob.account}) == 0
