"""Many machines, many faults: the gate plays fixed seeds, `--full` draws new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2pchat.engine import log, outbox, receive, views
from p2pchat.errors import P2pchatError
from p2pchat.store.items import Items
from p2pchat.store.ledger import Ledger
from p2pchat.store.outbox import Outbox
from tests.kit.laws import Broken
from tests.kit.seeds import fresh_seeds
from tests.sim.histories import play
from tests.sim.running import play_all

REMEMBERED = {
    "direct": (9, 11, 21, 24, 26),
    "clocks": (15,),
    "homes": (),
}
"""Seeds that once broke a law: they stay in the gate as long as they mean the same history
(a change of plans.py changes what seeds mean; the plays of tests/engine/test_found.py stay)."""


@pytest.mark.parametrize("scenario", ["direct", "clocks", "homes"])
def test_after_all_that_everybody_agrees(scenario: str, seeds: int, full: bool) -> None:
    """`seeds` histories of each scenario with every law of tests/kit/laws.py."""
    if not full and scenario != "direct":
        seeds //= 2
    chosen = fresh_seeds(seeds) if full else list(range(1000, 1000 + seeds))
    if full:
        print(f"{scenario}: seeds {chosen}")
    play_all("swarm", scenario, [*REMEMBERED[scenario], *chosen], lambda seed: play(scenario, seed))


# -- the laws bite: a machine made wrong on purpose is caught ------------------------------------


def _never_commits(patch: pytest.MonkeyPatch) -> None:
    """A daemon that answers what it has not written: sometimes the commit is a rollback."""
    real, turn = Ledger.commit, iter(range(1 << 30))

    def commit(self: Ledger) -> None:
        if next(turn) % 40 == 39:
            self.rollback()
        else:
            real(self)

    patch.setattr(Ledger, "commit", commit)


def _forgets_keys(patch: pytest.MonkeyPatch) -> None:
    """A send with a key is carried out as often as it is asked for."""
    patch.setattr(Outbox, "by_key", lambda self, key: None)


def _accepts_twice(patch: pytest.MonkeyPatch) -> None:
    """Receipts promise one event more than is here."""
    real = outbox.ranges.newest

    def newest(told: Any, count: int) -> Any:
        said = real(told, count)
        return ((said[0][0], said[0][1] + 1), *said[1:]) if said else said

    patch.setattr(outbox.ranges, "newest", newest)


def _miscounts(patch: pytest.MonkeyPatch) -> None:
    """Sets leave out every third event: repair finds nothing to do."""
    real = Items.add

    def add(self: Items, room: Any, control: bool, items: Any) -> None:
        real(self, room, control, [item for item in items if item[1][0] % 3])

    patch.setattr(Items, "add", add)


def _keeps_deleted(patch: pytest.MonkeyPatch) -> None:
    """What was taken back keeps its text."""
    patch.setattr(views, "erase", lambda ctx, event, shown: event)


def _own_order(patch: pytest.MonkeyPatch) -> None:
    """Clocks do not look at what was said before."""
    patch.setattr(log, "_past_clocks", lambda *_: [])
    patch.setattr(log, "stamp", lambda wall_ms: (wall_ms // 7000 * 7000) << 16)


def _takes_anything(patch: pytest.MonkeyPatch) -> None:
    """An unsigned event needs no cover, so a lost one is never noticed as parked."""
    real = receive.log.covered
    patch.setattr(receive.log, "covered", lambda *given: dict.fromkeys(real(*given), False))


def _leaks(patch: pytest.MonkeyPatch) -> None:
    """Bodies are stored as they were written."""
    patch.setattr(log, "seal_body", lambda key, room, device, seq, ad, plain, nonce: plain + bytes(40))


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "answers before it commits": _never_commits,
    "forgets keys of sends": _forgets_keys,
    "receipts run ahead": _accepts_twice,
    "sets are miscounted": _miscounts,
    "deleted texts stay": _keeps_deleted,
    "clocks ignore what came before": _own_order,
    "nothing unsigned is taken": _takes_anything,
    "bodies are not sealed": _leaks,
}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_wrong_machine_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[mutant](monkeypatch)

    def twelve() -> None:
        for seed in range(12):
            play("direct", seed)

    with pytest.raises((Broken, P2pchatError)):
        twelve()
