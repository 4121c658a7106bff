"""What a seed means for rooms: sizes, weather and faults of one history.

Decides: how much of everything is drawn. Membership changes while the network is in pieces, so
cuts are more and longer than those of plans.py. Does not know: how faults are carried out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.kit.seeds import dice
from tests.sim.plans import Cut, Plan, draw

SCENARIOS: Final = {
    "rooms": "3 to 12 people with one machine each make up to three rooms and change who is in",
    "room-homes": "the same, half of the people with two machines",
    "room-clocks": "the same, most clocks are wrong, up to ten years, and some jump",
    "files": "the same with files: offered, wanted, taken back; and whoever likes asks for them",
    "byzantine": "one to three of the machines do as they please",
}
_LIKE: Final = {
    "rooms": "direct",
    "room-homes": "homes",
    "room-clocks": "clocks",
    "files": "homes",
    "byzantine": "direct",
}


def draw_rooms(scenario: str, seed: int) -> Plan:
    """The history that `seed` means in one of SCENARIOS."""
    plan = draw(_LIKE[scenario], seed)
    chance = dice(seed, "plan", "rooms")
    cuts = (*plan.cuts, *(_long_cut(plan, chance.random(), seed, n) for n in range(chance.randrange(4))))
    weather = replace(plan.weather, twice=chance.choice((0.0, 0.02, 0.2)))
    skews, jumps = plan.skews_ms, plan.jumps
    if scenario != "room-clocks":  # a wrong clock is a scenario of its own
        skews, jumps = tuple(ms if abs(ms) < 60_000 else 0 for ms in skews), ()
    return replace(
        plan, scenario=scenario, cuts=cuts, weather=weather, burst=8, skews_ms=skews, jumps=jumps,
        messages=round(50 * 6 ** chance.random()),
    )  # fmt: skip


def _long_cut(plan: Plan, at: float, seed: int, number: int) -> Cut:
    """Long enough for both halves to go their own way."""
    chance = dice(seed, "plan", "long cut", number)
    begin = at * plan.span_s * 0.7
    side = tuple(chance.random() < 0.5 for _ in range(plan.places))
    return Cut(begin, min(plan.span_s, begin + chance.uniform(10, 60)), side, one_way=False, swizzle=False)
