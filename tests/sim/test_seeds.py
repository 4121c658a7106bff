"""Chance is repeatable: streams, trio's scheduler, whole histories in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pchat.crypto import primitives
from p2pchat.engine import log
from tests.kit import seeds

ROOT = Path(__file__).resolve().parents[2]


def test_streams_follow_from_seed_and_name() -> None:
    one, same, other = (seeds.SeededEntropy(7, name) for name in ("ann", "ann", "bob"))
    drawn = one.bytes(32)
    assert drawn == same.bytes(32)
    assert drawn != other.bytes(32)
    assert one.random() == same.random()
    assert one.bytes(32) != drawn


def test_trio_still_has_the_two_names() -> None:
    core = seeds.trio_core()
    assert hasattr(core, seeds.ALLOW)
    assert hasattr(core, seeds.DICE)


def test_a_renamed_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(seeds.trio_core(), seeds.DICE)
    with pytest.raises(AttributeError):
        seeds.trio_core()


def order_of(seed: int) -> list[int]:
    order: list[int] = []

    async def step(number: int) -> None:
        for _ in range(3):
            await trio.sleep(1)
            order.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(step, number)

    with seeds.repeatable_trio(seed):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return order


def test_tasks_wake_in_the_same_order_under_the_same_seed() -> None:
    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)


def test_signatures_are_remembered_and_forgotten_again() -> None:
    real = primitives.ed25519_verify
    public, key = primitives.ed25519_keypair(bytes(32))
    signature = primitives.ed25519_sign(key, b"text")
    with seeds.remembered_signatures():
        assert log.ed25519_verify is not real
        for _ in range(2):
            assert log.ed25519_verify(public, b"text", signature)
            assert not log.ed25519_verify(public, b"other", signature)
    assert log.ed25519_verify is real


@pytest.mark.parametrize(
    ("kind", "scenario", "seed"),
    [
        ("swarm", "direct", "3"),
        ("swarm", "homes", "5"),
        ("world", "day", "2001"),
        ("rooms", "rooms", "3"),
        ("rooms", "byzantine", "1"),
    ],
)
def test_a_seed_means_one_history_in_every_process(kind: str, scenario: str, seed: str) -> None:
    told = []
    for hash_seed in ("1", "4711"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.sim.replay",
                kind,
                "--scenario",
                scenario,
                "--seed",
                seed,
                "--quiet",
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(done.stdout)
    assert told[0] == told[1]
    assert len(told[0].split()[0]) == 32
