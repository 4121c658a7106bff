"""What happens to words for somebody who is not there: the queue, its cancels and edits.

One play in scenes that share two people, in the order of this file. Bob is off whenever Ann
writes; each scene ends with him coming back.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.hosts import Machine, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.proof import found_in

pytestmark = needs_netns

FIRST_DRAFT = "Kuendigungsentwurf ungefiltert"
DELIVERED_S = 10.0


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    with office(2, tmp_path_factory.mktemp("waiting")) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        yield ann, bob


@pytest.fixture
def off(two: tuple[Machine, Machine]) -> tuple[Machine, Machine]:
    """Bob has gone home."""
    ann, bob = two
    bob.down()
    until(lambda: not ann.sees(bob), 3, "bob is shown as gone")
    return ann, bob


def delivered(ann: Machine) -> None:
    until(lambda: ann.waiting() == 0, DELIVERED_S, "nothing waits any more")


def test_it_waits_through_restarts_of_both_and_arrives_once_in_order(off: tuple[Machine, Machine]) -> None:
    ann, bob = off
    wanted = [f"waiting {number}" for number in range(6)]
    ids = [ann.send(bob, text)["id"] for text in wanted[:3]]
    timed_out = ann.attempt("send", "bob", wanted[3], "--wait", "delivered", "--timeout", "0.2")
    assert timed_out.code == 5
    assert timed_out.json["error"]["kind"] == "timeout"
    assert timed_out.json["state"] == "queued"
    ids.append(timed_out.json["id"])
    ann.kill()
    ann.up()
    ids += [ann.send(bob, text)["id"] for text in wanted[4:]]
    rows = ann.p2pchat("queue")["queue"]
    assert [row["id"] for row in rows] == ids
    assert {row["state"] for row in rows} == {"queued"}
    assert [row["preview"] for row in rows] == wanted
    assert {one["state"] for one in ann.history(bob) if one["id"] in ids} == {"queued"}
    bob.up()
    bob.kill()  # perhaps in the middle of getting it
    ann.down()
    bob.up()
    ann.up()
    delivered(ann)
    assert ann.p2pchat("queue")["queue"] == []
    assert [one["id"] for one in bob.history(ann)][-6:] == ids
    assert bob.texts(ann)[-6:] == wanted
    assert sum(text in wanted for text in bob.texts(ann)) == 6


def test_what_is_cancelled_never_arrives(off: tuple[Machine, Machine]) -> None:
    ann, bob = off
    kept = ann.send(bob, "kept one")
    gone = ann.send(bob, "taken back")
    last = ann.send(bob, "kept two")
    assert ann.p2pchat("queue", "cancel", gone["id"])["state"] == "cancelled"
    assert [row["id"] for row in ann.p2pchat("queue")["queue"]] == [kept["id"], last["id"]]
    bob.up()
    delivered(ann)
    assert bob.texts(ann)[-2:] == ["kept one", "kept two"]
    assert gone["id"] not in {one["id"] for one in bob.history(ann)}
    late = ann.attempt("queue", "cancel", kept["id"])
    assert late.code == 7
    assert late.error["kind"] == "already_delivered"


def test_an_edit_before_delivery_shows_no_mark_and_leaves_no_old_text(off: tuple[Machine, Machine]) -> None:
    ann, bob = off
    sent = ann.send(bob, FIRST_DRAFT)
    assert found_in([FIRST_DRAFT], ann.home) != []
    ann.p2pchat("edit", sent["id"], "Kuendigung in aller Freundschaft")
    until(lambda: found_in([FIRST_DRAFT], ann.home) == [], 10, "the old words are erased from every file")
    bob.up()
    delivered(ann)
    got = bob.history(ann)[-1]
    assert (got["id"], got["text"]) == (sent["id"], "Kuendigung in aller Freundschaft")
    assert got["edited"] in (None, False)
    assert found_in([FIRST_DRAFT], bob.home) == []
    ann.p2pchat("edit", sent["id"], "Kuendigung, zweite Fassung")
    until(lambda: bob.history(ann)[-1]["text"] == "Kuendigung, zweite Fassung", 5, "a later edit arrives")
    assert bob.history(ann)[-1]["edited"]
