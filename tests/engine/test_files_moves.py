"""The table of states in docs/files.md, played cell by cell."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine.file_commands import MOVES
from p2pchat.engine.transfers import UNCOUNTED
from p2pchat.wire.messages.files import STOPPED, FileState, Offer
from tests.engine.files_play import ROOT, offer_of, row, send, serves
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import link_of

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "files.md").read_text("utf-8")
NOT_GIVEN = "done, not given to others any more"


def cells() -> list[tuple[str, str, str]]:
    """(state, what happens, state then or "")."""
    lines = [line.strip("| ") for line in PAGE.splitlines() if line.startswith("| ")]
    at = next(n for n, line in enumerate(lines) if line.startswith("accept |"))
    happens = [word.strip() for word in lines[at].split("|")]
    found = []
    for line in PAGE[PAGE.index("| | accept |") :].split("\n\n")[0].splitlines()[2:]:
        states, *then = (cell.strip() for cell in line.strip().strip("|").split("|"))
        for state in states.split(", "):
            found += [(state, what, cell) for what, cell in zip(happens, then, strict=True)]
    return found


CELLS = cells()


def test_the_table_is_whole() -> None:
    states = ["offered", "active", "paused", "declined", "failed", "cancelled", "done"]
    assert list(dict.fromkeys(state for state, _, _ in CELLS)) == states
    verbs = list(dict.fromkeys(what for _, what, _ in CELLS))
    assert verbs == [*MOVES, "landed", "no longer given", "deleted, or over time"]
    assert len(CELLS) == len(states) * len(verbs)


@pytest.mark.parametrize(("state", "what", "then"), CELLS, ids=lambda cell: cell.replace(" ", "-") or "stays")
def test_a_cell_of_the_table(stage: Stage, state: str, what: str, then: str) -> None:
    for one in what.split(", or "):
        ann, bob = stage.actor(f"ann, {one}"), stage.actor(f"bob, {one}")
        stage.join(ann, bob)
        pdf = offer_of(ann.account, ttl_s=3600)
        sent = send(ann, bob.account.hex(), pdf)
        stands = replace(row(bob, pdf), state=state, path="/here" if state == "done" else "")
        bob.write(lambda ctx, stands=stands: ctx.ledger.transfers.put_transfer(stands, untold=False))
        bob.node.forget()
        happens(ann, bob, one, pdf, sent)
        now = row(bob, pdf).state
        assert now == (then.split(",")[0] or state)
        assert (serves(bob, ann, pdf) == "done") == (now == "done" and then != NOT_GIVEN)


def happens(ann: Actor, bob: Actor, what: str, pdf: Offer, sent: str) -> None:
    match what:
        case "landed":
            bob.feed(happened.FileLanded(pdf.id, "/here", "made", ROOT))
        case "no longer given":
            said = FileState(row(bob, pdf).room, pdf.id, STOPPED, False)
            bob.feed(happened.FromPeer(link_of(bob, ann), said))
        case "deleted":
            ann.change("delete", sent)
        case "over time":
            ann.stage.wait(3 * 3600)
        case _:
            bob.ask(lambda n: happened.FileAct(n, what, pdf.id.hex()))
    ann.stage.settle()


@pytest.mark.parametrize(
    ("incoming", "state", "error", "served", "needed"),
    [
        (False, "offered", "", True, True),  # to others it may be done or wanted; here it is offered
        (False, "cancelled", "", True, False),
        (False, "failed", "", True, False),
        (True, "active", "", True, True),
        (True, "paused", "", True, True),
        (True, "done", "", True, True),
        (True, "done", "", False, False),
        (True, "declined", "", True, False),
        (True, "cancelled", "", True, False),
        (True, "cancelled", UNCOUNTED, True, True),
        (True, "failed", "", True, False),
    ],
)
def test_what_is_kept_of_it_across_a_crash(
    stage: Stage, incoming: bool, state: str, error: str, served: bool, needed: bool
) -> None:
    """And of what no row names nothing is."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    who = bob if incoming else ann
    stands = replace(row(who, pdf), state=state, error=error, served=served)
    who.write(lambda ctx: ctx.ledger.transfers.put_transfer(stands, untold=False))
    told = who.ask(lambda n: happened.StillNeeded(n, (pdf.id, b"?" * 16)))
    assert told == ({pdf.id} if needed else set())
