"""What the daemon says of its own machine: whose clock is wrong, and when a disk is nearly full."""

from __future__ import annotations

import pytest

from p2pchat.daemon import health
from p2pchat.daemon.health import Facts

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ((), None),
        ((HOUR,), "compare both with a third clock, and set the one that is wrong"),
        ((HOUR, 0), None),
        ((-HOUR, 40), None),
        ((HOUR, HOUR + 9), "set the clock of this machine"),
        ((HOUR, -3, HOUR + 9), "set the clock of this machine"),
        ((HOUR, -3, 5, HOUR + 9), None),
    ],
)
def test_a_wrong_clock_is_blamed_on_whom_most_say_it_of(
    offsets: tuple[int, ...], expected: str | None
) -> None:
    facts = Facts("0.1.0", 60.0, ("192.0.2.1:26700",), 10**12, ("192.0.2.1",), clock_offsets_ms=offsets)
    (found,) = (one for one in health.checks(facts, []) if one["name"] == "clock")
    assert (found["cause"], found["fix"]) == (("clock", expected) if expected else (None, ""))
    warned = [one["fix"] for one in health.warnings(facts, recovery_key_here=False) if one["kind"] == "clock"]
    assert warned == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("free", "said"),
    [(60, "nothing that others send is taken"), (200, "no files are taken"), (300, "")],
)
def test_a_disk_that_is_nearly_full_is_told_before_it_is(free: int, said: str) -> None:
    facts = Facts("0.1.0", 60.0, ("192.0.2.1:26700",), free * 1024 * 1024, ("192.0.2.1",))
    (found,) = (one for one in health.checks(facts, []) if one["name"] == "disk")
    assert found["cause"] == ("disk_full" if said else None)
    assert found["detail"].endswith(said or "MB free")
