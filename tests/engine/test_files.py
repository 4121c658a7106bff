"""Files from one person to another, as small plays: offered, wanted, here, and over."""

from __future__ import annotations

import pytest

from p2pchat.engine.file_inputs import (
    FileRootKnown,
    FileSettled,
    FileSource,
)
from p2pchat.model import FileBrief
from tests.engine.files_play import (
    ROOT,
    act,
    is_read,
    lands,
    message,
    moved,
    offer_of,
    row,
    send,
    serves,
    stands,
    state,
    told,
)
from tests.engine.play import Actor, Stage


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    return ann, bob


def test_ann_sends_a_file_and_bob_has_it(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    sent = send(ann, bob.account.hex(), pdf)
    for who in pair:
        shown = message(who, sent)
        assert shown is not None and shown.files == (FileBrief(pdf.id, "x.pdf", pdf.size),)
        assert shown.text == "" and state(who, pdf) == "offered" and told(who, pdf) == 1
    assert row(ann, pdf).path == "/home/ann/x.pdf" and not row(ann, pdf).incoming
    assert row(bob, pdf).device == ann.device and row(bob, pdf).incoming

    assert act(bob, "accept", pdf, to="/tmp/here").state == "active"
    assert moved(bob, FileSource) == [FileSource(pdf.id, ann.device, True)] * 2  # at once, and as she says
    assert state(ann, pdf) == "active"
    assert serves(ann, bob, pdf) == "offered"
    is_read(ann, pdf)
    assert moved(bob, FileRootKnown) == [FileRootKnown(pdf.id, ROOT)]
    lands(bob, pdf)
    assert moved(bob, FileSettled) == [FileSettled(pdf, "/home/bob/inbox/x.pdf")]
    assert (state(bob, pdf), state(ann, pdf)) == ("done", "done")
    assert stands(ann, pdf).have == (bob.account,)
    assert row(bob, pdf).root == row(ann, pdf).root == ROOT
    assert row(bob, pdf).told == 1, "ann has heard it"
