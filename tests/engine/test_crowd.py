"""People who are known get through, however many made-up ones are there before them."""

from __future__ import annotations

import pytest

from p2pchat.engine import crowd
from p2pchat.engine import inputs as happened
from p2pchat.wire.limits import MAX_STRANGER_LINKS_PER_ADDRESS
from tests.engine.play import Actor, Stage
from tests.engine.test_meeting import up

DAY_S = 24 * 3600


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "MAX_LINKS", 6)


def connected(ann: Actor) -> set[str]:
    """Who has a link to Ann."""
    names = {actor.device: actor.name for ends in ann.stage.links.values() for actor in ends[:2]}
    return {names[link.device] for link in ann.node.live.links.values()}


def come(ann: Actor, who: Actor, number: int, host: str) -> None:
    """`who` connects to Ann from `host`, link `number` at her end."""
    ann.stage.links |= {number: (ann, who, -number), -number: (who, ann, number)}
    up(who, ann, -number, first=True)
    up(ann, who, number, first=False, host=host)
    ann.stage.settle()


def fill(ann: Actor, count: int = 6) -> list[Actor]:
    """So many strangers, each from an address of his own."""
    ann.stage.numbers = 100  # for those who join later
    crowd_of = [ann.stage.actor(f"stranger {n}") for n in range(count)]
    for number, one in enumerate(crowd_of, 1):
        come(ann, one, number, f"198.51.100.{number}")
    return crowd_of


def test_strangers_turn_nobody_away_but_the_newest_stranger(stage: Stage) -> None:
    ann = stage.actor("ann")
    there = fill(ann)
    late = stage.actor("late")
    come(ann, late, 50, "198.51.100.50")
    assert connected(ann) == {one.name for one in there}
    assert ann.closed == ["crowded"]
    assert late.account not in ann.look().cache.trust, "nothing is kept of him"


def test_a_verified_person_displaces_a_stranger_and_can_talk(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.do(lambda r: happened.SetTrust(r, "verify", "bob"))
    stage.cut()
    fill(ann)
    come(ann, bob, 50, "198.51.100.50")
    assert "bob" in connected(ann)
    assert len(ann.node.live.links) == 6
    assert ann.closed == ["crowded"]
    said = bob.say(ann, "let me through")
    assert ann.ledger.views.find(said)


def test_whom_we_spoke_to_is_known_and_who_spoke_to_us_is_not(stage: Stage) -> None:
    ann, bob, eve = stage.actor("ann"), stage.actor("bob"), stage.actor("eve")
    for one in (bob, eve):
        stage.join(ann, one)
    ann.say(bob, "hello")
    eve.say(ann, "hello? hello?")
    stage.cut()
    fill(ann)
    come(ann, eve, 50, "198.51.100.50")
    assert "eve" not in connected(ann)
    come(ann, bob, 51, "198.51.100.51")
    assert "bob" in connected(ann)
    ann.node.forget()  # as after a rollback: it is in the archive too
    come(ann, eve, 52, "198.51.100.50")
    assert "bob" in connected(ann)


def test_who_was_met_a_day_ago_goes_before_strangers_but_not_before_whom_we_spoke_to(stage: Stage) -> None:
    ann = stage.actor("ann")
    old = [stage.actor(f"old {n}") for n in range(7)]
    bob = stage.actor("bob")
    for one in (*old, bob):
        stage.join(ann, one)
        if one is bob:
            ann.say(bob, "hello")
        stage.cut()
    stage.mono += DAY_S
    fill(ann, 6)
    for number, one in enumerate(old[:6], 50):
        come(ann, one, number, f"198.51.100.{number}")
    assert connected(ann) == {one.name for one in old[:6]}
    come(ann, old[6], 80, "198.51.100.80")
    assert old[6].name not in connected(ann)
    come(ann, bob, 81, "198.51.100.81")
    assert connected(ann) == {one.name for one in old[:5]} | {"bob"}


def test_the_crowded_address_makes_room_first(stage: Stage) -> None:
    ann = stage.actor("ann")
    for number in range(1, 7):
        come(
            ann,
            stage.actor(f"many {number}"),
            number,
            "198.51.100.1" if number < 5 else f"198.51.100.{number}",
        )
    come(ann, stage.actor("alone"), 50, "198.51.100.50")
    assert connected(ann) == {"many 1", "many 2", "many 3", "many 5", "many 6", "alone"}


def test_one_address_brings_few_strangers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "MAX_LINKS", 500)
    monkeypatch.setattr(crowd, "MAX_STRANGER_LINKS_PER_ADDRESS", 3)
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.do(lambda r: happened.SetTrust(r, "verify", "bob"))
    stage.cut()
    for number in range(1, 6):
        come(ann, stage.actor(f"many {number}"), number, "198.51.100.1")
    assert connected(ann) == {"many 1", "many 2", "many 3"}
    come(ann, bob, 50, "198.51.100.1")
    come(ann, stage.actor("elsewhere"), 51, "198.51.100.2")
    assert connected(ann) == {"many 1", "many 2", "many 3", "bob", "elsewhere"}
    assert MAX_STRANGER_LINKS_PER_ADDRESS > 3


def test_who_dialled_hears_it_and_asks_less_often(stage: Stage) -> None:
    ann, late = stage.actor("ann"), stage.actor("late")
    fill(ann)
    answer = late.ask(lambda r: happened.AddPeer(r, "192.0.2.3", 26700))
    assert answer is None
    _, dial = stage.dials.pop()
    stage.join(late, ann, dial.dial)
    assert ann.closed == ["crowded"]
    assert late.node.live.links == {}
    assert late.node.live.targets["192.0.2.3", 26700].failures == 1


def test_our_own_dial_to_one_too_many_is_a_failed_dial(stage: Stage) -> None:
    ann, late = stage.actor("ann"), stage.actor("late")
    fill(ann)
    ann.ask(lambda r: happened.AddPeer(r, "192.0.2.4", 26700))
    _, dial = stage.dials.pop()
    stage.join(ann, late, dial.dial)
    assert ann.answers[stage.requests] == {"connected": False, "reason": "crowded", "link": None}
    assert ann.node.live.dials == {}
