"""Cables that come out, switches that swallow, addresses that change: who is shown, and what arrives.

The figures are the promise of the design: a peer that vanishes without goodbye is shown as
gone within 15 s, and is back, with all that waited, within 5 s of the network's return.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.hosts import Machine, drop, host_of, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.proof import Stream

pytestmark = [needs_netns, needs_tool("nft")]

GONE_S = 15.0
BACK_S = 5.0
SLACK_S = 1.0
"""What asking costs: the program is asked again and again by a loaded machine of two cores."""


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    with office(3, tmp_path) as (_, (ann, bob, cyn)):
        for machine in (ann, bob, cyn):
            machine.up()
        meet(ann, bob, cyn)
        yield ann, bob, cyn


def test_a_pulled_cable_and_a_silent_switch(three: tuple[Machine, Machine, Machine], full: bool) -> None:
    """Bob's cable is pulled, Cyn's packets vanish on the way while every carrier stays up."""
    ann, bob, cyn = three
    ann.send(bob, "before", "--wait", "delivered")
    ann.send(cyn, "before", "--wait", "delivered")
    for round_number in range(5 if full else 1):
        with Stream(ann, bob.name, f"pulled{round_number}", pause_s=0.2) as to_bob:
            to_bob.reach(3)
            cut = time.monotonic()
            host_of(bob).unplug()
            with drop(cyn):
                back = bob.send(ann, f"from the dark {round_number}")  # nobody hears it yet
                to_cyn = ann.send(cyn, f"into the dark {round_number}")
                for lost in (bob, cyn):
                    left = cut + GONE_S + SLACK_S - time.monotonic()
                    until(lambda peer=lost: not ann.sees(peer), left, f"{lost.name} is gone")  # type: ignore[misc]
                    until(lambda peer=lost: not peer.sees(ann), 2 * SLACK_S, f"{lost.name} sees ann gone")  # type: ignore[misc]
                assert ann.peer(bob)["presence"] == "offline"  # type: ignore[index]
                assert to_cyn["id"] in {row["id"] for row in ann.p2pchat("queue")["queue"]}
                assert back["id"] in {row["id"] for row in bob.p2pchat("queue")["queue"]}
                to_bob.stop()
            healed = time.monotonic()
            host_of(bob).plug()
            for lost in (cyn, bob):
                left = healed + BACK_S + SLACK_S - time.monotonic()
                until(lambda peer=lost: ann.sees(peer) and peer.sees(ann), left, f"{lost.name} is back")  # type: ignore[misc]
            left = healed + BACK_S + 2 * SLACK_S - time.monotonic()
            until(lambda: ann.waiting() == bob.waiting() == 0, left, "what waited is delivered")
        to_bob.check(bob, ann.name)
        assert ann.texts(bob, mine=False).count(f"from the dark {round_number}") == 1
        assert cyn.texts(ann).count(f"into the dark {round_number}") == 1


def test_a_new_address_is_followed(three: tuple[Machine, Machine, Machine]) -> None:
    """Bob's lease ends: the old address goes, another comes, no cable moves."""
    ann, bob, _ = three
    ann.send(bob, "at the old address", "--wait", "delivered")
    host = host_of(bob)
    host.address("del", f"{host.ip6}/64")
    host.address("del", f"{host.ip}/16")
    host.address("add", "10.77.9.9/16")
    host.address("add", "fd77::99/64")
    host.run("ip", "route", "replace", "224.0.0.0/4", "dev", "eth0", check=True)
    sent = ann.send(bob, "at the new one", "--wait", "delivered", "--timeout", str(GONE_S + BACK_S))
    assert sent["state"] == "delivered"
    until(
        lambda: not str((ann.peer(bob) or {})["address"]).startswith((f"{host.ip}:", f"[{host.ip6}]")),
        GONE_S + BACK_S,
        "the old address is shown no more",
    )


def test_a_machine_that_sleeps(three: tuple[Machine, Machine, Machine]) -> None:
    """Bob's lid is shut until he is missed. His program stands still and thinks its connections alive, and so
    does his kernel: its card is off, nothing is acknowledged any more, and nobody is told. Awake, the
    program runs before the card has its carrier. (What is left to a real machine: clocks that stand.)"""
    ann, bob, _ = three
    ann.send(bob, "before", "--wait", "delivered")
    assert bob.pid is not None
    os.kill(bob.pid, signal.SIGSTOP)  # first, so that he does not see his carrier go
    host_of(bob).unplug()
    try:
        ann.send(bob, "while you fell asleep")  # on its way into a card that is off
        until(lambda: not ann.sees(bob), GONE_S + SLACK_S, "bob is missed")
        ann.send(bob, "while you slept")
    finally:
        os.kill(bob.pid, signal.SIGCONT)
    time.sleep(0.5)  # the card finds its switch
    host_of(bob).plug()
    until(lambda: ann.sees(bob) and not ann.waiting(), BACK_S + SLACK_S, "bob is awake and has it")
    assert bob.texts(ann, mine=False) == ["before", "while you fell asleep", "while you slept"]


def test_started_before_the_network(tmp_path: Path) -> None:
    """No cable in anywhere; then all at once. Nobody is restarted."""
    with office(3, tmp_path, plugged=False) as (_, machines):
        ann, bob, cyn = machines
        for machine in machines:
            machine.up()
            assert machine.p2pchat("peers")["peers"] == []
        for machine in machines:
            host_of(machine).plug()
        meet(*machines, timeout_s=BACK_S + SLACK_S)
        cyn.send(ann, "good morning", "--wait", "delivered")
        bob.send(cyn, "good morning", "--wait", "delivered")
