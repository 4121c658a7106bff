"""What a holder hands over before the key is here, as small plays: he keeps it no longer than he must."""

from __future__ import annotations

import pytest

from p2pchat.engine import handed
from p2pchat.engine import inputs as happened
from p2pchat.ids import EventId
from tests.engine.holders_play import Three, make_room, meet
from tests.engine.play import Actor, Stage


@pytest.fixture
def three(stage: Stage) -> Three:
    """Ann and Bob know each other; both know Cem, whom Ann trusts. Nobody is connected."""
    return meet(stage)


def _room_with_dan(stage: Stage, three: Three) -> str:
    """A room of Ann's and of one more who is away, as a target; Cem is there, and in no room."""
    ann, _bob, cem = three
    dan = stage.actor("dan")
    stage.join(ann, dan)
    stage.join(cem, dan)
    stage.cut()
    stage.join(ann, cem)
    return f"#{make_room(ann, dan).hex()}"


def _kept_for(holder: Actor, whom: Actor) -> list[EventId]:
    claimed = holder.ledger.holdings.claimed
    return [one.id for acts in (True, False) for one in claimed(whom.account, whom.device, acts, 0, 999)]


def test_what_had_waited_for_a_key_is_given_up_as_soon_as_it_is_had(stage: Stage, three: Three) -> None:
    """Said before Bob was in: he asks Ann for its key, and Cem hears then that he has it."""
    ann, bob, cem = three
    room = _room_with_dan(stage, three)
    ann.do(lambda r: happened.Post(r, room, "before"))
    ann.do(lambda r: happened.RoomAct(r, "invite", room, (bob.account.hex(),)))
    ann.do(lambda r: happened.Post(r, room, "after"))
    stage.wait(11)
    stage.cut()
    stage.join(cem, bob)
    [before] = _kept_for(cem, bob)
    assert bob.ledger.events.get(before) is not None, "it was handed over, and he cannot read it"
    stage.join(ann, bob)
    stage.wait(3)
    assert _kept_for(cem, bob) == []
    assert bob.node.live.not_had == {}


def test_what_waits_for_a_key_is_bounded_and_forgotten_with_its_holder(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed, "LATER", 2)
    ann, bob, cem = three
    room = _room_with_dan(stage, three)
    for number in range(4):
        ann.do(lambda r, n=number: happened.Post(r, room, f"before {n}"))  # type: ignore[misc]
    ann.do(lambda r: happened.RoomAct(r, "invite", room, (bob.account.hex(),)))
    ann.do(lambda r: happened.Post(r, room, "after"))
    stage.wait(11)
    stage.cut()
    stage.join(cem, bob)
    assert len(_kept_for(cem, bob)) == 4
    assert [len(seqs) for seqs in bob.node.live.not_had.values()] == [2]
    stage.cut()
    assert bob.node.live.not_had == {}
