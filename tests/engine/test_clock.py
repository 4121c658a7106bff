"""Whose word counts about the time: people we know, each once, and two of them at least."""

from __future__ import annotations

import pytest

from p2pchat.engine import clock, crossing
from p2pchat.engine import inputs as happened
from tests.engine.play import EPOCH_MS, Actor, Stage

DAY_MS = 86_400_000
WRONG_MS = 400 * DAY_MS


def shift(actor: Actor) -> int:
    return clock.shift(actor.node.live, actor.node.cache.trust, actor.account, actor.now().wall_ms)


def wrong(stage: Stage, ann: Actor, *names: str, by: int = WRONG_MS) -> list[Actor]:
    """People whose clocks are ahead, and who are here."""
    found = [stage.actor(name) for name in names]
    for one in found:
        one.skew_ms = by
        stage.join(ann, one)
    return found


def verify(ann: Actor, *people: Actor) -> None:
    for one in people:
        ann.do(lambda r, one=one: happened.SetTrust(r, "verify", one.account.hex()))  # type: ignore[misc]


def test_strangers_do_not_set_our_clock(stage: Stage) -> None:
    ann = stage.actor("ann")
    wrong(stage, ann, *(f"stranger {n}" for n in range(9)))
    assert shift(ann) == 0


def test_two_people_we_verified_do(stage: Stage) -> None:
    ann = stage.actor("ann")
    bob, cem = wrong(stage, ann, "bob", "cem")
    verify(ann, bob)
    assert shift(ann) == 0, "one alone may be wrong himself"
    verify(ann, cem)
    assert shift(ann) == WRONG_MS


def test_people_met_a_day_ago_do_and_strangers_do_not_outvote_them(stage: Stage) -> None:
    ann = stage.actor("ann")
    old = [stage.actor(name) for name in ("bob", "cem")]
    for one in old:
        stage.join(ann, one)
    stage.cut()
    stage.mono += DAY_MS / 1000
    for one in old:
        one.skew_ms = 3_600_000
        stage.join(ann, one)
    wrong(stage, ann, *(f"stranger {n}" for n in range(9)))
    assert shift(ann) == 3_600_000


def test_a_person_is_one_voice_with_however_many_machines(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    bob.skew_ms = WRONG_MS
    stage.join(ann, bob)
    verify(ann, bob)
    live = ann.node.live
    (link,) = live.links.values()
    for number in (71, 72):
        twin = type(link)(
            number,
            bytes([number]) * 32,
            link.account,
            True,
            "h",
            1,
            b"",
            0.0,
            WRONG_MS,  # type: ignore[arg-type]
        )
        live.links[number], live.by_device[twin.device] = twin, number
    assert shift(ann) == 0


@pytest.mark.parametrize("jump_ms", [-10 * 365 * DAY_MS, 10 * 365 * DAY_MS])
def test_a_clock_that_jumped_by_years_is_put_right_by_whom_it_knew_before(stage: Stage, jump_ms: int) -> None:
    ann = stage.actor("ann")
    old = [stage.actor(name) for name in ("bob", "cem", "dan")]
    for one in old:
        stage.join(ann, one)
    stage.cut()
    stage.mono += 3600
    ann.skew_ms = jump_ms
    for one in old:
        stage.join(ann, one)
    wrong(stage, ann, "stranger 1", "stranger 2", "stranger 3", "stranger 4")
    assert abs(shift(ann) + jump_ms) < 1000
    assert abs(ann.now().wall_ms + shift(ann) - EPOCH_MS) < DAY_MS


@pytest.mark.parametrize(("offsets", "correction"), [
    ((400_000, 400_500), 400_250),
    ((400_000, 900_000), 0),  # they do not agree
    ((200_000, 200_100), 0),  # not worth it
    ((0, 0, 900_000), 0),
    ((900_000, 900_010, 0), 900_000),
    ((-900_000, -900_010, -900_020), -900_010),
    ((900_000,), 0),
    ((), 0),
])  # fmt: skip
def test_the_median_counts_where_two_agree(stage: Stage, offsets: tuple[int, ...], correction: int) -> None:
    ann = stage.actor("ann")
    for n, offset in enumerate(offsets):
        (one,) = wrong(stage, ann, f"person {n}", by=offset)
        verify(ann, one)
    assert shift(ann) == correction


def test_those_who_stay_for_a_day_are_known_by_the_next_timer(stage: Stage) -> None:
    """Nobody comes or goes: that time has passed is enough."""
    ann = stage.actor("ann")
    wrong(stage, ann, "bob", "cem")
    assert ann.node.live.shift_ms == 0
    stage.mono += DAY_MS / 1000 + 1
    ann.feed(happened.TimerFired("around"))
    assert ann.node.live.shift_ms == WRONG_MS


def test_timers_of_hundreds_look_at_the_clocks_once_a_second_unless_somebody_came_or_went(
    stage: Stage,
) -> None:
    ann = stage.actor("ann")
    bob, cem = wrong(stage, ann, "bob", "cem")
    verify(ann, bob, cem)
    live = ann.node.live
    for seconds, looked in ((0.9, False), (0.2, True), (0.5, False), (-30.0, True)):
        live.shift_ms = 5
        stage.mono += seconds
        ann.feed(happened.TimerFired("around"))
        assert live.shift_ms == (WRONG_MS if looked else 5), seconds
    live.shift_ms = 5
    crossing.use(live, bob.device, live.by_device[bob.device])  # as where another link takes over
    ann.feed(happened.TimerFired("around"))
    assert live.shift_ms == WRONG_MS
