"""Files in rooms, as small plays: who may have them, from whom, and when all have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms, transfers
from p2pchat.engine.file_inputs import FileSource, StopFetch, Withdraw
from p2pchat.engine.transfers import OTHERS, OUT
from p2pchat.ids import EventId, RoomId
from p2pchat.model import EpochRow, StoredEvent
from p2pchat.store.reader import open_reader
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages.files import WANT, FileRoot, FileState
from tests.engine.files_play import (
    ROOT,
    act,
    is_read,
    lands,
    message,
    moved,
    offer_of,
    refused,
    row,
    send,
    serves,
    stands,
    state,
)
from tests.engine.forging import Hand
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import act as room_act
from tests.engine.test_rooms import create, link_of

Three = tuple[Actor, Actor, Actor]


@pytest.fixture
def three(stage: Stage) -> Three:
    ann, bob, cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
    stage.join(ann, bob)
    stage.join(bob, cem)
    stage.join(ann, cem)
    return ann, bob, cem


def test_everybody_gets_it_and_gives_it(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob, cem)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    act(bob, "accept", pdf)
    assert FileSource(pdf.id, cem.device, False) not in moved(bob, FileSource), "cem has nothing"
    act(cem, "accept", pdf)
    sources = moved(cem, FileSource)
    assert FileSource(pdf.id, ann.device, True) in sources
    assert FileSource(pdf.id, bob.device, False) in sources, "bob fetches it too"
    assert FileSource(pdf.id, cem.device, False) in moved(bob, FileSource)
    lands(bob, pdf)
    assert FileSource(pdf.id, bob.device, False) in moved(cem, FileSource)
    assert state(ann, pdf) == "active", "cem still fetches"
    stage.hang_up(link_of(ann, cem))
    assert serves(bob, cem, pdf) == "done"
    lands(cem, pdf)
    assert state(ann, pdf) == "active"
    stage.join(ann, cem)
    assert state(ann, pdf) == "done"
    assert stands(ann, pdf).have == tuple(sorted((bob.account, cem.account)))


def test_what_the_archive_shows_is_what_the_engine_shows(three: Three) -> None:
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob)
    early, late = offer_of(ann.account, "early"), offer_of(ann.account, "late")
    send(ann, "launch", early)
    room_act(ann, "invite", "launch", cem)
    send(ann, "launch", late)
    direct = offer_of(ann.account, "direct")
    send(ann, bob.account.hex(), direct)
    for pdf in (early, late):
        act(bob, "accept", pdf)
        lands(bob, pdf)
    act(bob, "decline", direct)
    for who in (ann, bob):
        reader = open_reader(who.ledger)
        try:
            assert {one.row.id for one in reader.transfers()} == {early.id, late.id, direct.id}
            assert len(reader.transfers(limit=2)) == 2
            for pdf in (early, late, direct):
                assert reader.transfer(pdf.id) == stands(who, pdf)
                assert reader.find_transfers(pdf.id.hex()[:8]) == [pdf.id]
            assert reader.transfer(b"?" * 16) is None
        finally:
            reader.close()
    # early was for bob alone: who came later reads it too, but is not waited for
    assert (state(ann, early), state(ann, late), state(ann, direct)) == ("done", "offered", "declined")


def test_who_comes_later_may_have_it_where_history_is_for_all(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    act(bob, "accept", pdf)
    lands(bob, pdf)
    assert serves(ann, cem, pdf) == "no_right"
    assert serves(bob, cem, pdf) == "no_right"
    room_act(ann, "invite", "launch", cem)
    assert state(cem, pdf) == "offered"
    assert (serves(ann, cem, pdf), serves(bob, cem, pdf)) == ("offered", "done")


def test_who_comes_later_may_not_have_it_where_history_begins_with_him(three: Three) -> None:
    ann, bob, cem = three
    create(ann, history="joined")
    room_act(ann, "invite", "launch", bob)
    before, after = offer_of(ann.account, "before"), offer_of(ann.account, "after")
    send(ann, "launch", before)
    room_act(ann, "invite", "launch", cem)
    send(ann, "launch", after)
    assert (serves(ann, cem, before), serves(ann, cem, after)) == ("no_right", "offered")
    assert serves(ann, bob, before) == "offered"


def test_who_was_removed_may_have_nothing(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob, cem)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    act(cem, "accept", pdf)
    assert serves(ann, cem, pdf) == "offered"
    room_act(ann, "remove", "launch", cem)
    assert serves(ann, cem, pdf) == "no_right"
    assert serves(bob, cem, pdf) == "no_right"
    assert state(cem, pdf) == "cancelled"
    error = refused(cem, "accept", pdf)
    assert (error.kind, "not in any more" in error.message) == ("no_right", True), "not waited for in vain"
    moved(bob, FileSource)
    act(bob, "accept", pdf)
    cem.feed(happened.FileLanded(pdf.id, "/somewhere", "made", ROOT))  # from whoever gave it to him
    stage.settle()
    assert stands(ann, pdf).have == ()
    assert FileSource(pdf.id, cem.device, False) not in moved(bob, FileSource)


def test_who_is_blocked_may_have_nothing(three: Three) -> None:
    ann, bob, _ = three
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    assert serves(ann, bob, pdf) == "offered"
    ann.do(lambda n: happened.SetTrust(n, "block", bob.account.hex()))
    assert serves(ann, bob, pdf) == "no_right"


def test_in_a_room_of_announcements_a_demoted_signs_no_root(three: Three) -> None:
    ann, bob, cem = three
    room = create(ann, announce=True)
    room_act(ann, "invite", "launch", bob, cem)
    room_act(ann, "role", "launch", bob, role="moderator")
    pdf = offer_of(bob.account)
    send(bob, "launch", pdf)
    room_act(ann, "role", "launch", bob, role="member")
    is_read(bob, pdf)
    assert row(bob, pdf).root == b""
    assert roots(bob, room) == 0
    act(cem, "accept", pdf)
    assert serves(bob, cem, pdf) == "offered", "who needs it fetches from him"
    forged = Hand(bob, room).write(ev.FILE_ROOT, FileRoot(1, pdf.id, ROOT, 3))
    Hand(bob, room).give(cem, forged)
    assert row(cem, pdf).root == b"", "it has no right to count"


def roots(actor: Actor, room: RoomId) -> int:
    stored = rooms.room(actor.look(), room)
    chains = [actor.ledger.events.run(room, d, 1, head.seq, 1000) for d, head in stored.heads.items()]
    return sum(event.kind == ev.FILE_ROOT for chain in chains for event in chain)


def test_a_root_is_signed_once(three: Three) -> None:
    ann, bob, _ = three
    room = create(ann)
    room_act(ann, "invite", "launch", bob)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    is_read(ann, pdf)
    is_read(ann, pdf)
    assert roots(ann, room) == roots(bob, room) == 1
    act(bob, "accept", pdf)
    is_read(bob, pdf)  # not his to sign
    assert roots(bob, room) == 1


def test_the_room_says_how_long_files_are_kept(three: Three) -> None:
    ann, bob, _ = three
    create(ann)
    room_act(ann, "invite", "launch", bob)
    room_act(ann, "set", "launch", changes=(("retention", "3"),))
    day_s = 24 * 3600
    for name, asked, given in (("x", 0, 3 * day_s), ("y", day_s, day_s), ("z", 9 * day_s, 3 * day_s)):
        pdf = offer_of(ann.account, name, ttl_s=asked)
        send(ann, "launch", pdf)
        event = ann.ledger.events.get(row(ann, pdf).event)
        assert event is not None
        written = event.hlc >> 16
        assert row(bob, pdf).expires_ms == row(ann, pdf).expires_ms == written + 1000 * given


def test_what_counts_no_more_offers_nothing(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob, cem)
    stage.hang_up(link_of(ann, bob))
    stage.hang_up(link_of(ann, cem))
    pdf, other = offer_of(bob.account), offer_of(bob.account, "other")
    sent = send(bob, "launch", pdf)
    send(bob, "launch", other)
    act(cem, "accept", pdf)
    room_act(ann, "remove", "launch", bob)  # knows nothing of them: his chain is cut below
    stage.join(ann, cem)
    shown = message(cem, sent)
    assert shown is not None
    assert shown.hidden
    assert (state(cem, pdf), state(cem, other)) == ("cancelled", "cancelled")
    assert moved(cem, StopFetch) == [StopFetch(pdf.id, False)]
    stage.join(ann, bob)
    assert {one.offer for one in moved(bob, Withdraw)} == {pdf.id, other.id}
    assert serves(bob, cem, pdf) == "no_right"


def test_in_a_large_room_some_are_asked_and_all_of_the_author(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    create(ann)
    others = [stage.actor(f"p{n:02}") for n in range(OTHERS + 4)]
    for one in others:
        stage.join(ann, one)
        stage.join(bob, one)
    room_act(ann, "invite", "launch", bob, *others)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    bob.sent.clear()
    act(bob, "accept", pdf)
    asked = [one for one in bob.sent if isinstance(one, FileState)]
    assert [(one.state, one.asking) for one in asked] == [(WANT, True)] * (OTHERS + 1)
    lands(bob, pdf)
    assert stands(ann, pdf).have == (bob.account,)


def test_a_message_whose_key_comes_later_offers_then(stage: Stage, three: Three) -> None:
    ann, bob, cem = three
    room = create(ann)
    room_act(ann, "invite", "launch", bob)
    pdf = offer_of(ann.account)
    sent = send(ann, "launch", pdf)

    written = ann.ledger.events.get(EventId(bytes.fromhex(sent)))
    assert written is not None
    whole = rooms.room(ann.look(), room).epochs[written.epoch]
    for one in (ann, bob):
        keeps(one, replace(whole, key=None))
    room_act(ann, "invite", "launch", cem)
    event = EventId(bytes.fromhex(sent))
    stored = cem.ledger.events.get(event)
    assert stored is not None
    assert stored.flags & StoredEvent.KEYLESS
    assert cem.ledger.transfers.of_event(event) == []
    keeps(ann, whole)
    stage.wait(60)
    assert [one.id for one in cem.ledger.transfers.of_event(event)] == [pdf.id]
    assert state(cem, pdf) == "offered"


def keeps(actor: Actor, epoch: EpochRow) -> None:
    """That is what he has of a key from now on."""
    actor.write(lambda ctx: ctx.ledger.rooms.put_epoch(epoch))
    actor.node.forget()


def test_who_had_no_right_yet_is_asked_again(stage: Stage, three: Three) -> None:
    """Bob has the file and has not heard that cem is in: he answers nothing, and later he does."""
    ann, bob, cem = three
    room = create(ann)
    room_act(ann, "invite", "launch", bob)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    act(bob, "accept", pdf)
    lands(bob, pdf)
    stage.hang_up(link_of(ann, bob))
    stage.hang_up(link_of(bob, cem))
    room_act(ann, "invite", "launch", cem)
    stage.hang_up(link_of(ann, cem))
    cem.write(lambda ctx: ctx.ledger.holdings.drop_of(cem.account))  # or he brings the word of it himself
    stage.join(bob, cem)
    act(cem, "accept", pdf)
    stage.join(ann, bob)
    assert cem.account in rooms.room(bob.look(), room).graph.members, "now he knows"
    assert moved(cem, FileSource) == []
    stage.wait(61)
    assert moved(cem, FileSource) == [FileSource(pdf.id, bob.device, False)]
    lands(cem, pdf)
    cem.sent.clear()
    stage.wait(300)
    assert not [one for one in cem.sent if isinstance(one, FileState)], "what is here is asked for no more"


def test_a_message_that_counts_no_more_may_count_again(stage: Stage, three: Three) -> None:
    """What ann offers in it is only not served meanwhile, what bob has of it stays as it is."""
    ann, bob, _ = three
    create(ann)
    room_act(ann, "invite", "launch", bob)
    pdf = offer_of(ann.account)
    sent = EventId(bytes.fromhex(send(ann, "launch", pdf)))
    act(bob, "accept", pdf)
    lands(bob, pdf)
    for one, stays in ((ann, "offered"), (bob, "done")):
        moved(one, Withdraw)
        one.write(lambda ctx: transfers.voided(ctx, sent))
        assert moved(one, Withdraw) == [Withdraw(pdf.id, forget=False)]
        assert row(one, pdf).state == stays


def test_what_was_lost_in_a_full_queue_is_said_again(stage: Stage, three: Three) -> None:
    ann, bob, _ = three
    pdf, other = offer_of(ann.account), offer_of(ann.account, "other")
    send(ann, bob.account.hex(), pdf, other)
    stage.mail.clear()
    lost = stage.carry
    stage.carry = lambda *_: None  # type: ignore[method-assign]
    act(bob, "accept", pdf)
    act(bob, "decline", other)
    stage.carry = lost  # type: ignore[method-assign]
    assert (state(ann, pdf), state(ann, other)) == ("offered", "offered")
    bob.feed(happened.LinkDrained(link_of(bob, ann)))
    stage.settle()
    assert (state(ann, pdf), stands(ann, other).declined) == ("active", (bob.account,))


def test_who_was_removed_is_not_waited_for(stage: Stage, three: Three) -> None:
    """It is no transfer that goes on for ever: neither where it is offered nor where it was wanted."""
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob, cem)
    wanted, landed, left = (offer_of(ann.account, name) for name in ("wanted", "landed", "left"))
    for pdf in (wanted, landed, left):
        send(ann, "launch", pdf)
    act(bob, "accept", landed)
    lands(bob, landed)
    for pdf in (wanted, landed):
        act(cem, "accept", pdf)
    act(cem, "pause", landed)
    assert [state(ann, pdf) for pdf in (wanted, landed, left)] == ["active", "offered", "offered"]
    moved(cem, StopFetch)
    room_act(ann, "remove", "launch", cem)
    assert [state(ann, pdf) for pdf in (wanted, landed, left)] == ["offered", "done", "offered"]
    assert [state(cem, pdf) for pdf in (wanted, landed, left)] == ["cancelled"] * 3
    assert row(cem, wanted).error == OUT
    assert {one.offer for one in moved(cem, StopFetch) if one.discard} == {wanted.id, landed.id}
    assert state(bob, landed) == "done"
    room_act(ann, "invite", "launch", cem)
    act(cem, "accept", wanted)
    assert state(ann, wanted) == "active", "who is back may want it again"
    lands(cem, wanted)


def test_who_leaves_himself_is_not_waited_for(three: Three) -> None:
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob, cem)
    pdf, own = offer_of(ann.account), offer_of(cem.account, "own")
    send(ann, "launch", pdf)
    send(cem, "launch", own)
    act(bob, "accept", own)
    act(cem, "accept", pdf)
    room_act(cem, "leave", "launch")
    assert (state(ann, pdf), state(cem, pdf), row(cem, pdf).error) == ("offered", "cancelled", OUT)
    assert state(bob, own) == "active", "others may have some of it"


def test_what_its_author_gives_no_more_others_may_still_complete(three: Three) -> None:
    """So its half stays on the disk, until who wanted it says that he does not any more."""
    ann, bob, cem = three
    create(ann)
    room_act(ann, "invite", "launch", bob, cem)
    pdf = offer_of(ann.account)
    send(ann, "launch", pdf)
    for one in bob, cem:
        act(one, "accept", pdf)
    lands(bob, pdf)
    act(ann, "cancel", pdf)
    assert state(cem, pdf) == "cancelled"
    assert moved(cem, StopFetch) == [StopFetch(pdf.id, False)]
    assert serves(bob, cem, pdf) == "done"
    assert act(cem, "cancel", pdf).state == "cancelled"
    assert moved(cem, StopFetch) == [StopFetch(pdf.id, True)]
