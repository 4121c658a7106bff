"""Crowded rooms on real hosts: views, the repair of every minute, the limit of members, receipts, a machine
that sleeps, somebody put out of all rooms.

One play in scenes that share the daemons, in the order of this file. It is small: a program in which a room
is crowded from 5 machines on and holds 7 people, where ours has 100 and 500. Hal alone repairs all
the time: a minute is longer than any scene, so that nothing but his silence is mended so. A hundred and ten
daemons of the program as it is: `python -m tests.bench.room_crowd`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import string
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from tests.kit.hosts import Machine, host_of, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.variants import Altered, Changes, built
from tests.lan.test_rooms import ARRIVE_S, GONE_S, agree, holds, known, make, page, say

pytestmark = needs_netns

NAMES = ("ann", "bob", "cyn", "dan", "eve", "flo", "gil", "hal")
MEMBERS: Final = 7
EAGER: Final = 3
"""Neighbours one has at most."""
REPAIR_S: Final = 0.4
FOUND_S: Final = 40.0
"""He asks one of seven each time: one was not asked by then once in a million plays."""
SMALL: Final[Changes] = {
    "p2pchat/engine/live_records.py": (
        ("    above: int = 100\n", "    above: int = 5\n"),
        ("    active: int = 8\n", "    active: int = 2\n"),
        ("    most: int = 12\n", f"    most: int = {EAGER}\n"),
        ("    passive: int = 30\n", "    passive: int = 3\n"),
    ),
    "p2pchat/wire/limits.py": (("MAX_MEMBERS: Final = 500\n", f"MAX_MEMBERS: Final = {MEMBERS}\n"),),
}
MUTE: Final[Changes] = {
    **SMALL,
    "p2pchat/engine/sync.py": (
        ("REPAIR_S: Final = 60.0\n", f"REPAIR_S: Final = {REPAIR_S}\n"),
        ("        links = gossip.audience(ctx, room, fresh)\n", "        links = ()\n"),
    ),
}
"""Hal's program never pushes: what he says must be found by a repair, and he is who repairs often."""
TEXT_BYTES: Final = 10_000


class Play(NamedTuple):
    """The cast."""

    machines: list[Machine]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    folder = tmp_path_factory.mktemp("crowds")
    with office(len(NAMES), folder, names=NAMES) as (_, machines):
        small = built(host_of(machines[0]), folder / "small", SMALL)
        for machine in machines[:-1]:
            machine.place = small._replace(host=host_of(machine))
        machines[-1].place = built(host_of(machines[-1]), folder / "mute", MUTE)
        for machine in machines:
            machine.up()
        meet(*machines)
        yield Play(machines)


def went(machine: Machine, way: str) -> int:
    """Bytes that have left (`tx`) or reached (`rx`) a machine by its cable."""
    place = machine.place
    where = place.host if isinstance(place, Altered) else host_of(machine)
    told = where.run("ip", "-s", "-j", "link", "show", "eth0", check=True)
    return int(json.loads(told.stdout)[0]["stats64"][way]["bytes"])


def wordy(number: int) -> str:
    """A text that no compression makes small."""
    return "".join(random.Random(number).choices(string.ascii_letters + string.digits, k=TEXT_BYTES))


def test_who_speaks_in_a_crowd_pushes_to_few_and_all_have_it(play: Play) -> None:
    """Pushed to all it would be 6 copies out of Ann's cable. Then two die without a word, and come back."""
    people = play.machines[:MEMBERS]
    ann = people[0]
    room = make("crowd", *people)
    said = [say(one, room, f"{one.name} is here") for one in people]
    for one in people:
        until(lambda one=one: len(page(one, room)) == len(said), ARRIVE_S, f"{one.name} has heard all")  # type: ignore[misc]
    before, texts = went(ann, "tx"), [wordy(number) for number in range(8)]
    for text in texts:
        ann.send("#crowd", text, "--wait", "delivered")
    sent = (went(ann, "tx") - before) / sum(map(len, texts))
    assert 1.0 < sent < EAGER + 0.8, f"{sent:.2f} copies left ann"
    agree(people, room, len(said) + len(texts))

    for one in people[1:3]:
        one.kill()
    more = [say(one, room, f"{one.name} goes on") for one in (ann, *people[3:])]
    agree([ann, *people[3:]], room, len(said) + len(texts) + len(more))
    for one in people[1:3]:
        one.up()
    agree(people, room, len(said) + len(texts) + len(more))


def test_what_was_never_pushed_comes_with_the_repair_of_every_minute(play: Play) -> None:
    """Nothing comes or goes meanwhile that would be another reason to repair."""
    ann, bob, hal = play.machines[0], play.machines[1], play.machines[-1]
    room = make("quiet", ann, bob, hal)
    holds(hal, room, [say(ann, room, "who says nothing?")])
    said = hal.ask("send", target=room, text="I do")["id"]
    for one in (ann, bob):
        until(lambda one=one: page(one, room)[-1]["id"] == said, FOUND_S, f"{one.name} finds it")  # type: ignore[misc]
    assert ann.sees(hal)
    assert bob.sees(hal)


def test_receipts_cost_a_fraction_of_what_they_are_about(play: Play) -> None:
    """What comes back to Ann, whom nobody else tells anything: receipts, and what the network says that her
    own packets came. A word of each for each message would be half of what she sent."""
    people = play.machines[1:MEMBERS]
    ann, count = play.machines[0], 60
    room = make("loud", ann, *people[:5])
    before = went(ann, "rx"), went(ann, "tx")
    ids = [say(ann, room, f"number {number}") for number in range(count)]

    def counted() -> bool:
        shown = page(ann, room)
        return [one["progress"]["delivered"] for one in shown] == [5] * count

    until(counted, ARRIVE_S, "all of it is delivered to all")
    back, out = went(ann, "rx") - before[0], went(ann, "tx") - before[1]
    assert back < out / 4, f"{back} bytes came back for {out}"
    assert [one["id"] for one in page(people[0], room)] == ids


def test_a_machine_that_sleeps_has_what_was_said_when_it_wakes(play: Play) -> None:
    ann, bob, flo = play.machines[0], play.machines[1], play.machines[5]
    room = make("night", ann, bob, flo)
    ids = [say(ann, room, "good night")]
    holds(flo, room, ids)
    assert flo.pid is not None
    os.kill(flo.pid, signal.SIGSTOP)
    try:
        until(lambda: not ann.sees(flo) and not bob.sees(flo), GONE_S + 4, "flo is missed")
        ids += [say(one, room, f"{one.name} says while flo sleeps") for one in (ann, bob, ann)]
    finally:
        os.kill(flo.pid, signal.SIGCONT)
    holds(flo, room, ids)


def test_a_full_room_takes_nobody_and_who_has_left_makes_room(play: Play) -> None:
    ann, gil, hal = play.machines[0], play.machines[6], play.machines[7]
    room = make("full", *play.machines[:MEMBERS])
    refused = ann.attempt("room", "invite", "#full", "hal")
    assert (refused.code, refused.error["kind"]) == (7, "policy")
    assert refused.error["message"] == f"a room holds at most {MEMBERS} people"
    gil.p2pchat("room", "leave", "#full")
    until(lambda: known(ann)[room]["members"] == MEMBERS - 1, ARRIVE_S, "ann knows that gil has left")
    ann.p2pchat("room", "invite", "#full", "hal")
    until(lambda: known(hal).get(room, {}).get("members") == MEMBERS, ARRIVE_S, "hal is in")


def test_somebody_is_put_out_of_every_room_where_one_may(play: Play) -> None:
    """Of Bob's room Ann is a member, no more: there Eve stays."""
    ann, bob, eve = play.machines[0], play.machines[1], play.machines[4]
    hers = [make(name, ann, bob, eve) for name in ("sales", "books")]
    his = make("bobs", bob, ann, eve)
    ann.p2pchat("room", "remove", "eve", "--everywhere")
    for room in hers:
        for one in (ann, bob):
            until(lambda one=one, room=room: known(one)[room]["members"] == 2, ARRIVE_S, "she is out")  # type: ignore[misc]
        until(lambda room=room: known(eve)[room]["membership"] == "removed", ARRIVE_S, "she is told")  # type: ignore[misc]
    held = agree([ann, bob, eve], his, 0)
    assert held["shown"][-1] == 3
