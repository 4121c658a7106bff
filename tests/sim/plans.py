"""What a seed means: sizes, weather, faults and clocks of one history.

Decides: how much of everything is drawn, scenario by scenario; this is the page to read
for sizes (research catalogue S1 and S4). Does not know: how faults are carried out.

Every part is drawn from its own stream of chance, so a failure can be played again
without some of the faults (`--without cuts,crashes,…`) and the rest stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tests.kit.cables import Weather
from tests.kit.seeds import dice

DAY_S: Final = 86_400.0
YEAR_MS: Final = 365 * 86_400_000
SCENARIOS: Final = {
    "direct": "people with one machine each; a tenth of the clocks are wrong",
    "clocks": "most clocks are wrong, up to ten years, and some jump",
    "homes": "half of the people have two machines",
    "floods": "few people, much at once, queues so small that they overflow",
}
PEOPLE: Final = {"homes": (3, 3, 4, 4, 5, 6), "floods": (3, 3, 4)}
BURSTS: Final = {"floods": 300}
PARTS: Final = ("cuts", "crashes", "skews", "jumps", "holidays", "loss", "second")


@dataclass(frozen=True, slots=True)
class Cut:
    """From `at` to `until` nothing passes between two halves, or in one direction only.

    `swizzle`: machines are cut off one by one and joined again in another order.
    """

    at: float
    until: float
    side: tuple[bool, ...]  # by place of the machine
    one_way: bool
    swizzle: bool


@dataclass(frozen=True, slots=True)
class Fall:
    """A machine stops at `at` and is back `after` seconds later."""

    at: float
    machine: int
    after: float
    gently: bool
    quietly: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One history, before anybody has said a word. Times in seconds of waking time."""

    scenario: str
    seed: int
    machines: tuple[int, ...]  # how many each person has
    messages: int
    span_s: float
    burst: int  # most messages that somebody says at once
    weather: Weather
    cuts: tuple[Cut, ...]
    falls: tuple[Fall, ...]
    skews_ms: tuple[int, ...]  # by place of the machine
    jumps: tuple[tuple[float, int, int], ...]  # at, machine, ms
    holidays: tuple[tuple[float, float], ...]  # at, days

    @property
    def places(self) -> int:
        """How many machines there are."""
        return sum(self.machines)

    def real(self, at: float) -> float:
        """Waking time to virtual time: holidays lie between."""
        return at + sum(days * DAY_S for when, days in self.holidays if when <= at)

    def without(self, parts: tuple[str, ...]) -> Plan:
        """The same history without some of its faults."""
        plan = self
        for part in parts:
            if part == "crashes":
                plan = replace(plan, falls=())
            elif part == "loss":
                plan = replace(plan, weather=replace(plan.weather, loss=0.0))
            elif part == "skews":
                plan = replace(plan, skews_ms=(0,) * len(plan.skews_ms))
            elif part == "second":
                raise ValueError("second machines cannot be left out: places would move")
            else:
                plan = replace(plan, **{part: ()})
        return plan


def draw(scenario: str, seed: int) -> Plan:
    """The history that `seed` means in one of SCENARIOS."""
    size = dice(seed, "plan", "size")
    homes = scenario == "homes"
    people = size.choice(PEOPLE.get(scenario, (3, 3, 3, 4, 4, 5, 6, 7, 9, 12)))
    machines = tuple(2 if homes and size.random() < 0.5 else 1 for _ in range(people))
    places = sum(machines)
    span = size.uniform(20.0, 150.0)
    return Plan(
        scenario=scenario,
        seed=seed,
        machines=machines,
        messages=round(40 * 10 ** size.random()),
        span_s=span,
        burst=BURSTS.get(scenario, 24),
        weather=_weather(seed, (1 << 18, 3 << 16) if scenario == "floods" else (1 << 20, 1 << 18)),
        cuts=_cuts(seed, span, places),
        falls=_falls(seed, span, places),
        skews_ms=_skews(seed, places, 0.6 if scenario == "clocks" else 0.1),
        jumps=_jumps(seed, span, places) if scenario == "clocks" else (),
        holidays=_holidays(seed, span),
    )


def _weather(seed: int, queues: tuple[int, ...]) -> Weather:
    chance = dice(seed, "plan", "weather")
    return Weather(
        delay_s=chance.choice((0.002, 0.01, 0.1, 0.5)),
        slow=chance.choice((0.0, 0.02, 0.1)),
        slow_s=chance.choice((0.2, 1.0, 5.0)),
        loss=chance.choice((0.0, 0.0, 0.002, 0.01, 0.05)),
        queue=chance.choice(queues),
    )


def _cuts(seed: int, span: float, places: int) -> tuple[Cut, ...]:
    chance = dice(seed, "plan", "cuts")
    cuts = []
    for _ in range(chance.randrange(9)):
        at = chance.random() * span
        kind = chance.random()
        cuts.append(
            Cut(
                at,
                min(span, at + chance.choice((0.5, 5.0, 20.0, 60.0)) * (0.5 + chance.random())),
                tuple(chance.random() < 0.5 for _ in range(places)),
                one_way=kind < 0.3,
                swizzle=kind > 0.8,
            )
        )
    return tuple(cuts)


def _falls(seed: int, span: float, places: int) -> tuple[Fall, ...]:
    chance = dice(seed, "plan", "falls")
    return tuple(
        Fall(
            chance.random() * span,
            chance.randrange(places),
            chance.choice((0.05, 1.0, 10.0, 40.0)) * (0.5 + chance.random()),
            gently=chance.random() < 0.25,
            quietly=chance.random() < 0.3,
        )
        for _ in range(chance.randrange(11))
    )


def _skews(seed: int, places: int, share: float) -> tuple[int, ...]:
    chance = dice(seed, "plan", "skews")
    sizes = (2_000, 250_000, 400_000, 86_400_000, 3 * YEAR_MS, 10 * YEAR_MS)
    return tuple(
        round(chance.uniform(-1, 1) * chance.choice(sizes)) if chance.random() < share else 0
        for _ in range(places)
    )


def _jumps(seed: int, span: float, places: int) -> tuple[tuple[float, int, int], ...]:
    chance = dice(seed, "plan", "jumps")
    sizes = (5_000, 3_600_000, 86_400_000, 2 * YEAR_MS)
    return tuple(
        (
            chance.random() * span,
            chance.randrange(places),
            round(chance.uniform(-1, 1) * chance.choice(sizes)),
        )
        for _ in range(chance.randrange(6))
    )


def _holidays(seed: int, span: float) -> tuple[tuple[float, float], ...]:
    """Everybody goes home for days: epochs and prekeys grow old."""
    chance = dice(seed, "plan", "holidays")
    if chance.random() < 0.7:
        return ()
    return tuple((chance.uniform(0.2, 0.9) * span, chance.choice((1.0, 8.0, 30.0))) for _ in range(1))
