"""What a holder hands over before the key is here, as small plays: he keeps it no longer than he must."""

from __future__ import annotations

import pytest

from p2pchat.engine import handed, log
from p2pchat.engine import inputs as happened
from p2pchat.ids import EventId
from p2pchat.wire.messages.events import SETTINGS
from p2pchat.wire.messages.holders import Deposit
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


def test_what_a_holder_takes_first_can_be_judged_without_the_rest(stage: Stage, three: Three) -> None:
    """Acts of Ann and of Bob link to each other by turns. They were given one chain after the other: where
    the holder had no room for all, what he took of the one rested on what he had not taken of the other."""
    ann, bob, cem = three
    dan = stage.actor("dan")
    for one in (bob, dan):
        stage.join(ann, one)
    room = make_room(ann, bob, dan)
    ann.do(lambda r: happened.RoomAct(r, "role", room.hex(), (bob.account.hex(),), role="owner"))
    stage.hang_up(ann.look().live.by_device[dan.device])
    for turn in range(3):
        for one in (ann, bob):
            change = (("history", "joined" if one is ann else "all"),)
            one.do(lambda r, change=change: happened.RoomAct(r, "set", room.hex(), changes=change))  # type: ignore[misc]
        ann.do(lambda r, turn=turn: happened.Post(r, "#" + room.hex(), f"word {turn}"))  # type: ignore[misc]
    stage.cut()
    stage.join(ann, cem)
    stage.wait(12)
    given = [log.read_event(one) for sent in ann.sent if isinstance(sent, Deposit) for one in sent.events]
    where = {read.id: at for at, read in enumerate(given)}
    authors = [read.header.device for read in given if read.header.kind == SETTINGS]
    assert set(authors) == {bytes(ann.device), bytes(bob.device)}
    for at, read in enumerate(given):
        ahead = [where[EventId(one)] for one in read.header.auth if one in where]
        assert all(one < at for one in ahead), f"{read.header.kind} comes before what it links to"
        if not read.event.signature:
            assert given[at + 1].header.prev == read.id, "its cover comes next"
