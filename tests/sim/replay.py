"""Play one seed again, aloud: `python -m tests.sim.replay swarm|rooms|crowds|turns|devices|world --seed N`.

Decides: how a failing history is told. `--without cuts,crashes` leaves faults out (swarm),
so that the smallest history that still fails is found by hand in a minute.
"""

from __future__ import annotations

import argparse
import sys

from tests.kit.laws import Broken
from tests.sim import crowds, days, device_histories, histories, plans, room_histories, room_plans, turns


def main(arguments: list[str]) -> int:
    """0 if every law held, 1 if one was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.replay", description=__doc__)
    parser.add_argument("kind", choices=("swarm", "rooms", "crowds", "turns", "devices", "world"))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--scenario", default="", help="direct for swarm, else as the kind is called")
    parser.add_argument("--without", default="", help=f"comma separated: {', '.join(plans.PARTS)}")
    parser.add_argument("--quiet", action="store_true", help="only the outcome and the hash of the trace")
    given = parser.parse_args(arguments)
    scenario = given.scenario or {"swarm": "direct"}.get(given.kind, given.kind)
    without = tuple(part for part in given.without.split(",") if part)
    try:
        if given.kind == "world":
            trace = days.play(given.seed, loud=not given.quiet)
        elif given.kind == "devices":
            trace = device_histories.play(given.seed, loud=not given.quiet)
        elif given.kind == "crowds":
            trace = crowds.play(given.seed, without=without, loud=not given.quiet)
        elif given.kind == "turns":
            trace = turns.play(scenario, given.seed, without=without, loud=not given.quiet)
        elif given.kind == "rooms":
            if not given.quiet:
                print(room_plans.draw_rooms(scenario, given.seed).without(without))
            trace = room_histories.play(scenario, given.seed, without=without, loud=not given.quiet)
        else:
            if not given.quiet:
                print(plans.draw(scenario, given.seed).without(without))
            trace = histories.play(scenario, given.seed, without=without, loud=not given.quiet)
    except Broken as error:
        print(f"broken: {error}")
        return 1
    print(f"{trace.digest()} {trace.lines}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
