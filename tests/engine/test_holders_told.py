"""What the author hears of holders that hold nothing, as small plays."""

from __future__ import annotations

import pytest

from p2pchat.engine import holders
from p2pchat.engine import inputs as happened
from p2pchat.errors import CommandError
from p2pchat.model import HELD
from tests.engine.holders_play import Three, meet, state
from tests.engine.play import Actor, Stage


@pytest.fixture
def three(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    return meet(stage)


def _not_held(stage: Stage, ann: Actor, bob: Actor) -> tuple[str, str]:
    """What a `send` that waits in vain to be held is answered."""
    assert ann.ask(lambda r: happened.Post(r, bob.account.hex(), "this", wait="held", timeout_s=3.0)) is None
    request = stage.requests
    stage.wait(4)
    error = ann.answers[request]
    assert isinstance(error, CommandError)
    assert error.kind == "timeout"
    return error.message, error.hint


def test_who_waits_in_vain_to_be_held_hears_why(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cem = three
    verify_another = "verify somebody who stays on: `p2pchat trust verify NAME`"
    stage.join(ann, stage.actor("dan"))
    text, hint = _not_held(stage, ann, bob)
    assert text == "not held in time: nobody is here whose key you have verified; it stays queued"
    assert hint == verify_another
    stage.join(ann, cem)
    cem.do(lambda r: happened.SetTrust(r, "block", bob.account.hex()))
    text, hint = _not_held(stage, ann, bob)
    assert (text, hint) == ("not held in time: cem does not hold it; it stays queued", verify_another)
    stage.mono += 600
    cem.do(lambda r: happened.SetTrust(r, "unblock", bob.account.hex()))
    monkeypatch.setattr(holders, "MAX_HELD", 0)
    text, hint = _not_held(stage, ann, bob)
    assert text == "not held in time: cem has no room for more of yours; it stays queued"
    assert hint == verify_another


def test_that_a_holder_is_full_is_told_once(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cem = three
    dan = stage.actor("dan")
    stage.join(ann, dan)
    stage.join(cem, dan)
    stage.cut()
    monkeypatch.setattr(holders, "MAX_HELD_PER_DAY", 100)
    stage.join(ann, cem)
    said = [ann.say(bob, "hello bob"), ann.say(dan, "hello dan")]
    stage.wait(300)
    told = [one.subject for one in ann.told if one.type == "warning"]
    text = "cem has no room for more of what you say to people who are away"
    assert told == [("holder_full", text)]
    stage.wait(1500)
    assert len([one for one in ann.told if one.type == "warning"]) == 1
    monkeypatch.setattr(holders, "MAX_HELD_PER_DAY", 100_000)
    stage.wait(700)
    assert [state(ann, one) for one in said] == [HELD, HELD]
    monkeypatch.setattr(holders, "MAX_HELD_PER_DAY", 100)
    ann.say(bob, "one more")
    stage.wait(60)
    assert len([one for one in ann.told if one.type == "warning"]) == 2, "it had room in between"
