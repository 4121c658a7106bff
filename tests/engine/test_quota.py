"""Strangers cannot make us keep more than their share."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import quota
from p2pchat.ids import EventId
from tests.engine.play import Stage


def test_an_unverified_person_is_heard_up_to_the_days_share(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "MAX_UNVERIFIED_PER_DAY", 24_000)
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    said = [ann.say(bob, "x" * 1000) for _ in range(8)]
    stage.wait(1)
    kept = [one for one in said if bob.ledger.views.message(EventId(bytes.fromhex(one)))]
    assert 2 <= len(kept) < 8
    assert [t.subject[0] for t in bob.told if t.type == "warning"] == ["quota"]  # type: ignore[index]
    states = [ann.ledger.views.message(EventId(bytes.fromhex(one))) for one in said]
    assert [s.state for s in states if s] == ["delivered"] * len(kept) + ["queued"] * (8 - len(kept))
    assert quota.used_up(bob.look())
    bob.node.forget()  # what was counted is kept
    assert quota.used_up(bob.look())
    assert not quota.used_up(ann.look())
    bob.do(lambda r: happened.SetTrust(r, "verify", "ann"))
    stage.wait(120)
    stage.mono += 24 * 3600
    assert not quota.used_up(bob.look()), "another day"
    assert all(bob.ledger.views.message(EventId(bytes.fromhex(one))) for one in said), (
        "repair brings the rest"
    )
