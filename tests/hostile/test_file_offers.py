"""Members who lie about files: what they offer, sign and say changes nothing for others."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from p2pchat.engine import file_words, log, offers
from p2pchat.engine import inputs as happened
from p2pchat.engine.file_inputs import DialBulk, FileSource, StopFetch
from p2pchat.ids import RoomId
from p2pchat.wire.limits import MAX_FILES, MAX_TTL_S, MIB
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages.files import (
    DECLINED,
    HAS,
    STOPPED,
    WANT,
    FileHeard,
    FileRoot,
    FileState,
    Knock,
    Offer,
)
from tests.engine.files_play import ROOT, act, lands, moved, offer_of, row, send, stands, state, told
from tests.engine.forging import Hand
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act as room_act
from tests.engine.test_rooms import create, link_of


@dataclass
class Office:
    stage: Stage
    ann: Actor
    bob: Actor
    eve: Actor
    room: RoomId

    def says(self, by: Actor, to: Actor, *messages: FileState | FileHeard | Knock) -> None:
        """What no machine of ours would say."""
        for one in messages:
            to.feed(happened.FromPeer(link_of(to, by), one))
        self.stage.settle()

    def message(self, *files: Offer, text: str = "look") -> ev.Event:
        """Eve offers by hand."""
        return Hand(self.eve, self.room).write(
            ev.MESSAGE, ev.Message(1, text, b"", b"", (), False, 0, tuple(files))
        )


@pytest.fixture
def office(stage: Stage) -> Office:
    ann, bob, eve = (stage.actor(name) for name in ("ann", "bob", "eve"))
    stage.join(ann, bob)
    stage.join(bob, eve)
    stage.join(ann, eve)
    room = create(ann)
    room_act(ann, "invite", "launch", bob, eve)
    send(eve, "launch", offer_of(eve.account, "first"))  # eve's machine holds the key
    return Office(stage, ann, bob, eve, room)


def texts(actor: Actor, event: ev.Event) -> tuple[str | None, int]:
    view = actor.ledger.views.message(log.event_id(event.header, event.signature))
    return (None, 0) if view is None else (view.text, len(view.files))


def changed(offer: Offer, **fields: object) -> Offer:
    return msgspec.structs.replace(offer, **fields)


def test_an_offer_under_a_foreign_id_is_as_if_not_there(office: Office) -> None:
    """Else eve could take the id of ann's file first and give bob other bytes under it."""
    coming = offer_of(office.ann.account, "report")
    theft = office.message(coming, changed(coming, file_key=b"e" * 32), offer_of(office.eve.account, "own"))
    Hand(office.eve, office.room).give(office.bob, theft)
    assert texts(office.bob, theft) == ("look", 1), "only her own one counts"
    assert office.bob.ledger.transfers.transfer(coming.id) is None
    send(office.ann, "launch", coming)
    assert (row(office.bob, coming).author, state(office.bob, coming)) == (office.ann.account, "offered")


@pytest.mark.parametrize(
    "fields",
    [
        {"size": -1},
        {"size": 2**60},
        {"piece_size": 3 * MIB},
        {"piece_size": 0},
        {"head": 5, "size": 4},
        {"files": 2},
        {"name": "x" * 1025},
        {"mime": "x" * 1025},
        {"mtime": -1},
        {"ttl_s": -1},
        {"ttl_s": MAX_TTL_S + 1},
        {"id": b""},
        {"file_key": b"short"},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_an_offer_that_can_not_be_meant_is_as_if_not_there(office: Office, fields: dict[str, object]) -> None:
    wrong = changed(offer_of(office.eve.account), **fields)
    if "file_key" in fields:
        wrong = changed(wrong, id=offers.offer_id(office.eve.account, wrong.file_key))
    said = office.message(wrong)
    Hand(office.eve, office.room).give(office.bob, said)
    assert texts(office.bob, said) == ("look", 0)
    assert office.bob.ledger.transfers.transfer(wrong.id) is None


def test_more_offers_than_a_message_holds_are_no_message(office: Office) -> None:
    many = [offer_of(office.eve.account, f"{n}") for n in range(MAX_FILES + 1)]
    said = office.message(*many)
    Hand(office.eve, office.room).give(office.bob, said)
    assert texts(office.bob, said) == (None, 0)
    assert [office.bob.ledger.transfers.transfer(one.id) for one in many] == [None] * len(many)
    most = office.message(*many[:MAX_FILES])
    Hand(office.eve, office.room).give(office.ann, most)
    assert texts(office.ann, most) == ("look", MAX_FILES)
    twice = office.message(many[0], many[0])
    Hand(office.eve, office.room).give(office.bob, twice)
    assert texts(office.bob, twice) == ("look", 1)


def test_the_first_message_with_an_id_counts(office: Office) -> None:
    pdf = offer_of(office.eve.account, "twice")
    hand = Hand(office.eve, office.room)
    first = hand.write(ev.MESSAGE, ev.Message(1, "one", b"", b"", (), False, 0, (pdf,)))
    other = changed(pdf, name="other", size=7)
    second = hand.write(ev.MESSAGE, ev.Message(1, "two", b"", b"", (), False, 0, (other,)))
    hand.give(office.bob, first, second)
    assert (row(office.bob, pdf).name, row(office.bob, pdf).size) == ("twice", pdf.size)
    assert told(office.bob, pdf) == 1


def test_a_root_counts_only_from_the_author_of_the_offer(office: Office) -> None:
    pdf = offer_of(office.ann.account)
    send(office.ann, "launch", pdf)
    hand = Hand(office.eve, office.room)
    hand.give(office.bob, hand.write(ev.FILE_ROOT, FileRoot(1, pdf.id, b"e" * 32, 3)))
    assert row(office.bob, pdf).root == b""
    own = offer_of(office.eve.account, "own")
    wrong = [
        hand.write(ev.MESSAGE, ev.Message(1, "", b"", b"", (), False, 0, (own,))),
        hand.write(ev.FILE_ROOT, FileRoot(1, own.id, ROOT, 4)),  # it has three pieces
        hand.write(ev.FILE_ROOT, FileRoot(1, own.id, b"short", 3)),
        hand.write(ev.FILE_ROOT, FileRoot(1, own.id, ROOT, -1)),
    ]
    hand.give(office.bob, *wrong)
    assert row(office.bob, own).root == b""
    hand.give(office.bob, hand.write(ev.FILE_ROOT, FileRoot(1, own.id, ROOT, 3)))
    hand.give(office.bob, hand.write(ev.FILE_ROOT, FileRoot(1, own.id, b"2" * 32, 3)))
    assert row(office.bob, own).root == ROOT, "the first one stays"


def test_an_edit_adds_no_files(office: Office) -> None:
    own, added = offer_of(office.eve.account, "own"), offer_of(office.eve.account, "added")
    hand = Hand(office.eve, office.room)
    said = hand.write(ev.MESSAGE, ev.Message(1, "", b"", b"", (), False, 0, (own,)))
    target = bytes(log.event_id(said.header, said.signature))
    edit = hand.write(ev.EDIT, ev.Edit(1, target, "now", (), b"", b"", False, 0, (own, added), False))
    hand.give(office.bob, said, edit)
    assert texts(office.bob, said) == ("now", 1)
    assert office.bob.ledger.transfers.transfer(added.id) is None


def test_who_has_no_right_to_a_file_says_nothing_of_it(office: Office) -> None:
    ann, bob, eve = office.ann, office.bob, office.eve
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf)
    moved(bob, FileSource)
    room = row(ann, pdf).room
    before = len(ann.sent), len(bob.sent), told(ann, pdf)
    for known_as in (room, office.room):
        for said in (WANT, HAS, DECLINED, STOPPED):
            for to in (ann, bob):
                office.says(eve, to, FileState(known_as, pdf.id, said, said == WANT))
    assert (len(ann.sent), len(bob.sent), told(ann, pdf)) == before, "nor is anything answered"
    assert (state(ann, pdf), state(bob, pdf), stands(ann, pdf).have) == ("active", "active", ())
    assert moved(bob, FileSource) == moved(bob, StopFetch) == []


def test_only_the_machine_that_offers_it_takes_it_back(office: Office) -> None:
    ann, bob, eve = office.ann, office.bob, office.eve
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    act(bob, "accept", pdf)
    office.says(eve, bob, FileState(office.room, pdf.id, STOPPED, False))
    assert state(bob, pdf) == "active"
    office.says(ann, bob, FileState(office.room, pdf.id, STOPPED, False))
    assert state(bob, pdf) == "cancelled"


def test_only_the_machine_that_offers_it_has_heard(office: Office) -> None:
    ann, bob, eve = office.ann, office.bob, office.eve
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    act(bob, "accept", pdf)
    office.stage.hang_up(link_of(ann, bob))
    lands(bob, pdf)
    office.says(eve, bob, FileHeard(pdf.id, HAS), FileHeard(b"?" * 16, HAS))
    assert row(bob, pdf).told == -1
    office.stage.join(ann, bob)
    assert (row(bob, pdf).told, stands(ann, pdf).have) == (HAS, (bob.account,))


def test_states_out_of_form_end_the_link(office: Office) -> None:
    pdf = offer_of(office.ann.account)
    send(office.ann, "launch", pdf)
    for wrong in (FileState(office.room, pdf.id, 4, False), FileState(office.room, b"short", 1, False)):
        office.says(office.eve, office.ann, wrong)
        assert office.ann.closed[-1] == "state of a file out of form"
        office.stage.join(office.ann, office.eve)


def test_who_says_something_else_for_ever_fills_nothing(office: Office) -> None:
    ann, eve = office.ann, office.eve
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    before, written = told(ann, pdf), ann.ledger.connection.total_changes
    for turn in range(2000):
        office.says(eve, ann, FileState(office.room, pdf.id, turn % 4, True))
    assert told(ann, pdf) == before + 4, "each thing he says is told once"
    assert len(ann.ledger.transfers.peers(pdf.id)) == 1
    assert ann.ledger.connection.total_changes - written < 3 * file_words.WORDS
    heard = [one for one in ann.sent if isinstance(one, FileHeard)]
    assert len(heard) <= file_words.WORDS
    ann.sent.clear()
    office.stage.mono += 1.0
    for _ in range(10):
        office.says(eve, ann, FileState(office.room, pdf.id, HAS, False))
    assert len(ann.sent) == file_words.WORDS_PER_S, "after a second there are four more"


def test_coming_back_gives_no_more_words(office: Office) -> None:
    ann, eve = office.ann, office.eve
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    for _ in range(int(file_words.WORDS) + 10):
        office.says(eve, ann, FileState(office.room, pdf.id, HAS, False))
    office.stage.hang_up(link_of(ann, eve))
    office.stage.join(ann, eve)
    ann.sent.clear()
    office.says(eve, ann, FileState(office.room, pdf.id, HAS, False))
    assert not [one for one in ann.sent if isinstance(one, FileHeard)]


def test_knocking_is_bounded(office: Office) -> None:
    for _ in range(int(file_words.WORDS) + 100):
        office.says(office.eve, office.ann, Knock())
    assert len(moved(office.ann, DialBulk)) <= file_words.WORDS


def test_who_wants_what_was_never_offered_is_passed_over(office: Office) -> None:
    ann, eve = office.ann, office.eve
    ann.sent.clear()
    for n in range(50):
        office.says(eve, ann, FileState(office.room, n.to_bytes(16, "big"), WANT, True))
    assert ann.sent == []
    count = ann.ledger.connection.execute("SELECT count(*) FROM transfer_peer").fetchone()
    assert count == (0,)


def test_roots_of_nothing_cost_a_row_as_any_event_does(office: Office) -> None:
    hand = Hand(office.eve, office.room)
    roots = [hand.write(ev.FILE_ROOT, FileRoot(1, bytes([n]) * 16, ROOT, n)) for n in range(20)]
    hand.give(office.bob, *roots)
    count = office.bob.ledger.connection.execute("SELECT count(*) FROM transfer_root").fetchone()
    assert count == (20,)
    assert stolen(office) == b"", "and make nobody else's root"


def stolen(office: Office) -> bytes:
    """The root of an offer of ann's whose id eve has signed a root for before."""
    pdf = offer_of(office.ann.account, "later")
    office.bob.ledger.begin()
    office.bob.ledger.transfers.put_root(pdf.id, office.eve.account, b"e" * 32, 3)
    office.bob.ledger.commit()
    send(office.ann, "launch", pdf)
    return row(office.bob, pdf).root
