"""Files from one person to another, as small plays: offered, wanted, here, and over."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine.file_inputs import (
    DialBulk,
    Fetch,
    FileRootKnown,
    FileSettled,
    FileSource,
    FileTrouble,
    NeedBulk,
    StopFetch,
    Withdraw,
)
from p2pchat.engine.node import rebuild_views
from p2pchat.model import FileBrief
from p2pchat.wire.limits import MAX_FILES
from p2pchat.wire.messages.files import FileHeard, FileState
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
    told,
)
from tests.engine.play import Actor, Stage

HOUR_S = 3600.0


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    return ann, bob


def test_ann_sends_a_file_and_bob_has_it(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    sent = send(ann, bob.account.hex(), pdf)
    for who in pair:
        shown = message(who, sent)
        assert shown is not None
        assert shown.files == (FileBrief(pdf.id, "x.pdf", pdf.size),)
        assert (shown.text, state(who, pdf), told(who, pdf)) == ("", "offered", 1)
    assert (row(ann, pdf).path, row(ann, pdf).incoming) == ("/home/ann/x.pdf", False)
    assert (row(bob, pdf).device, row(bob, pdf).incoming) == (ann.device, True)

    assert act(bob, "accept", pdf, to="/tmp/here", conflict="skip").state == "active"
    assert moved(bob, FileSource) == [FileSource(pdf.id, ann.device, True)] * 2  # at once, and as she says
    assert (row(bob, pdf).to, row(bob, pdf).conflict) == ("/tmp/here", "skip")
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


def test_it_is_asked_for_when_its_author_comes_back_and_she_hears_the_end(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    stage.cut()
    act(bob, "accept", pdf)
    assert [fetch.offer for fetch in moved(bob, Fetch)] == [pdf]
    assert moved(bob, FileSource) == []
    stage.join(bob, ann)
    assert FileSource(pdf.id, ann.device, True) in moved(bob, FileSource)
    assert state(ann, pdf) == "active"
    stage.cut()
    bob.feed(happened.Started(26700))
    lands(bob, pdf)
    assert row(bob, pdf).told == -1
    assert state(ann, pdf) == "active", "she can not know"
    stage.join(ann, bob)
    assert (state(ann, pdf), row(bob, pdf).told) == ("done", 1)
    bob.sent.clear()
    stage.cut()
    stage.join(ann, bob)
    assert not [one for one in bob.sent if isinstance(one, FileState)], "nothing is said twice"


def test_every_start_goes_on_with_what_is_wanted(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    wanted, other = offer_of(ann.account, "wanted"), offer_of(ann.account, "other")
    send(ann, bob.account.hex(), wanted, other)
    act(bob, "accept", wanted, to="/there")
    moved(bob, Fetch)
    bob.node.forget()
    bob.feed(happened.Started(26700))
    (fetch,) = moved(bob, Fetch)
    assert (fetch.offer, fetch.author, fetch.to, fetch.root) == (wanted, ann.account, "/there", b"")


def test_bob_does_not_want_it_and_later_he_does(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    assert act(bob, "decline", pdf).state == "declined"
    assert act(bob, "decline", pdf).state == "declined", "again is no mistake"
    assert state(ann, pdf) == "declined"
    assert stands(ann, pdf).declined == (bob.account,)
    assert moved(bob, StopFetch) == [], "nothing was under way"
    assert act(bob, "accept", pdf).state == "active"
    assert state(ann, pdf) == "active"
    lands(bob, pdf)
    assert (state(ann, pdf), stands(ann, pdf).declined) == ("done", ())


def test_a_transfer_rests_and_goes_on(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf, to="/there", conflict="overwrite")
    moved(bob, Fetch)
    assert act(bob, "pause", pdf).state == "paused"
    assert moved(bob, StopFetch) == [StopFetch(pdf.id, False)]
    assert state(ann, pdf) == "offered", "nobody fetches it just now"
    assert act(bob, "resume", pdf).state == "active"
    (fetch,) = moved(bob, Fetch)
    assert (fetch.to, fetch.conflict) == ("/there", "overwrite")
    assert act(bob, "cancel", pdf).state == "cancelled"
    assert moved(bob, StopFetch) == [StopFetch(pdf.id, True)]
    assert serves(bob, ann, pdf) == "unknown"
    for verb in ("pause", "resume"):
        assert refused(bob, verb, pdf).kind == "usage"


def test_what_is_on_its_way_can_not_be_sent_elsewhere_without_a_stop(pair: tuple[Actor, Actor]) -> None:
    """Accepted again with another folder: it is said that nothing comes of that, and what does."""
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf, to="/there", conflict="skip")
    for again in {}, {"to": "/there"}, {"conflict": "skip"}, {"to": "/there", "conflict": "rename"}:
        assert act(bob, "accept", pdf, **again).state == "active", "again is no mistake"
    for other in {"to": "/elsewhere"}, {"conflict": "overwrite"}:
        error = refused(bob, "accept", pdf, **other)
        assert error.kind == "usage"
        assert "into /there" in error.message
        assert f"file pause {pdf.id.hex()[:12]}" in error.hint
    act(bob, "pause", pdf)
    assert act(bob, "accept", pdf, to="/elsewhere").row.to == "/elsewhere"


def test_what_was_skipped_is_not_here(pair: tuple[Actor, Actor]) -> None:
    """Something else bears the name and was to stay: nobody is told that bob has what ann offers."""
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf, conflict="skip")
    bob.feed(happened.FileLanded(pdf.id, "/inbox/x.pdf", "skipped", ROOT))
    bob.stage.settle()
    assert (state(bob, pdf), row(bob, pdf).error) == ("declined", "/inbox/x.pdf is there, and stays")
    assert (state(ann, pdf), stands(ann, pdf).have) == ("declined", ())
    assert serves(bob, ann, pdf) == "unknown"
    assert act(bob, "accept", pdf).state == "active", "under another name, say"


def test_what_is_here_can_be_kept_for_oneself(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf)
    assert serves(bob, ann, pdf) == "active", "a part of it may be had already"
    lands(bob, pdf)
    assert serves(bob, ann, pdf) == "done"
    assert act(bob, "cancel", pdf).state == "done"
    assert moved(bob, Withdraw) == [Withdraw(pdf.id)]
    assert serves(bob, ann, pdf) == "unknown"
    error = refused(bob, "accept", pdf)
    assert "here already: /home/bob/inbox/x.pdf" in error.message


def test_ann_gives_it_no_more(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf, other = offer_of(ann.account), offer_of(ann.account, "other")
    send(ann, bob.account.hex(), pdf, other)
    act(bob, "accept", pdf)
    for verb in ("accept", "decline", "pause", "resume"):
        assert refused(ann, verb, pdf).message == "'x.pdf' is what you offer yourself"
    assert act(ann, "cancel", pdf).state == "cancelled"
    assert moved(ann, Withdraw) == [Withdraw(pdf.id)]
    assert serves(ann, bob, pdf) == "cancelled"
    assert (state(bob, pdf), row(bob, pdf).error) == ("cancelled", "it is not given any more")
    assert moved(bob, StopFetch) == [StopFetch(pdf.id, True)], "nobody else has it: its half takes no room"
    act(ann, "cancel", other)
    assert state(bob, other) == "offered", "he has asked nobody"
    act(bob, "accept", other)
    assert state(bob, other) == "cancelled"


def test_a_deleted_message_takes_its_files_back(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    here, half, none = (offer_of(ann.account, name) for name in ("here", "half", "none"))
    sent = send(ann, bob.account.hex(), here, half, none)
    act(bob, "accept", here)
    lands(bob, here)
    act(bob, "accept", half)
    ann.change("delete", sent)
    bob.stage.settle()
    assert [state(bob, one) for one in (here, half, none)] == ["done", "cancelled", "cancelled"]
    assert row(bob, half).error == "its message was deleted"
    assert moved(bob, StopFetch) == [StopFetch(half.id, True)]
    assert moved(bob, Withdraw) == [Withdraw(here.id)]
    assert {one.offer for one in moved(ann, Withdraw)} == {here.id, half.id, none.id}
    assert (serves(ann, bob, half), serves(bob, ann, here)) == ("cancelled", "unknown")
    assert "is gone" in refused(bob, "accept", half).message
    for who in pair:
        shown = message(who, sent)
        assert shown is not None
        assert (shown.deleted, shown.files) == (True, ())


def test_an_edit_keeps_the_files(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    sent = send(ann, bob.account.hex(), pdf, text="look")
    ann.change("edit", sent, "see")
    ann.change("edit", sent, "")
    for who in pair:
        shown = message(who, sent)
        assert shown is not None
        assert (shown.text, shown.files) == ("", (FileBrief(pdf.id, "x.pdf", pdf.size),))
    stage.cut()
    unseen = offer_of(ann.account, "unseen")
    later = send(ann, bob.account.hex(), unseen, text="first words")
    ann.change("edit", later, "other words")  # nobody had it: the first body is gone for good
    stage.join(ann, bob)
    shown = message(bob, later)
    assert shown is not None
    assert (shown.text, shown.files) == ("other words", (FileBrief(unseen.id, "unseen", unseen.size),))
    assert state(bob, unseen) == "offered"
    act(bob, "accept", unseen)
    assert serves(ann, bob, unseen) == "offered"


def test_trouble_is_told_and_over_again(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf)
    before = told(bob, pdf)
    full = FileTrouble(pdf.id, "disk_full", "no space left to write 'x.pdf'", False)
    bob.feed(full)
    bob.feed(full)
    assert (state(bob, pdf), row(bob, pdf).error_kind) == ("active", "disk_full")
    bob.feed(FileTrouble(pdf.id, "", "", False))
    assert (row(bob, pdf).error_kind, row(bob, pdf).error) == ("", "")
    assert told(bob, pdf) == before + 2
    bob.feed(FileTrouble(pdf.id, "unsafe_path", "it is a folder", True))
    bob.stage.settle()
    assert (state(bob, pdf), state(ann, pdf)) == ("failed", "offered")
    assert act(bob, "accept", pdf).row.error == ""
    ann.feed(FileTrouble(pdf.id, "source_changed", "'x.pdf' has changed", True))
    ann.stage.settle()
    assert serves(ann, bob, pdf) == "source_changed"
    assert (state(ann, pdf), state(bob, pdf)) == ("failed", "active"), "he hears why where its bytes go"
    bob.feed(FileTrouble(pdf.id, "source_changed", "'x.pdf' was changed while it was sent", True))
    assert (state(bob, pdf), row(bob, pdf).error_kind) == ("failed", "source_changed")


def test_what_landed_and_was_changed_since_is_not_served(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf)
    lands(bob, pdf)
    bob.feed(FileTrouble(pdf.id, "source_changed", "it has other bytes now", True))
    assert (state(bob, pdf), serves(bob, ann, pdf)) == ("done", "unknown")


def test_bytes_that_are_here_are_here_whatever_was_decided_meanwhile(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(bob, "accept", pdf)
    act(bob, "cancel", pdf)
    lands(bob, pdf)
    assert (state(bob, pdf), state(ann, pdf)) == ("done", "done")
    bob.feed(happened.FileLanded(pdf.id, "/elsewhere", "made", ROOT))  # as after a crash before the effect
    assert moved(bob, FileSettled)[-1].path == "/home/bob/inbox/x.pdf"
    bob.feed(happened.FileLanded(b"?" * 16, "/elsewhere", "made", ROOT))
    assert moved(bob, FileSettled) == []


def test_who_can_not_dial_asks_to_be_dialled(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    bob.feed(NeedBulk(ann.device))
    bob.stage.settle()
    assert moved(ann, DialBulk) == [DialBulk(bob.device)]
    bob.feed(NeedBulk(stranger(bob.stage).device))
    assert moved(ann, DialBulk) == [], "nobody linked, nobody asked"


def stranger(stage: Stage) -> Actor:
    return stage.actor("eve")


def test_files_of_the_verified_come_unasked_up_to_a_size(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    whom = ann.account.hex()
    error = bob.refused(lambda n: happened.FileAuto(n, whom, True))
    assert error.kind == "policy"
    assert "not verified" in error.message
    bob.do(lambda n: happened.SetTrust(n, "verify", whom))
    assert bob.do(lambda n: happened.FileAuto(n, whom, True)) == {"account": whom, "auto": True}
    first = offer_of(ann.account, "first", size=1000)
    send(ann, bob.account.hex(), first)
    assert state(bob, first) == "offered", "no size was set"
    bob.do(lambda n: happened.Configure(n, False, 1000))
    bob.node.forget()  # kept, not only remembered
    small, large = offer_of(ann.account, "small", size=1000), offer_of(ann.account, "large", size=1001)
    send(ann, bob.account.hex(), small, large)
    assert (state(bob, small), state(bob, large), state(ann, small)) == ("active", "offered", "active")
    bob.do(lambda n: happened.FileAuto(n, whom, False))
    after = offer_of(ann.account, "after", size=1000)
    send(ann, bob.account.hex(), after)
    assert state(bob, after) == "offered"


def test_an_offer_ends_when_its_time_is_over(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    kept = [offer_of(ann.account, name, ttl_s=3 * 3600) for name in ("active", "offered", "done")]
    active, offered, done = kept
    send(ann, bob.account.hex(), *kept)
    act(bob, "accept", active)
    act(bob, "accept", done)
    lands(bob, done)
    stage.wait(2 * HOUR_S)
    assert state(bob, active) == "active"
    stage.mono += 1.5 * HOUR_S  # no timer has rung yet
    assert "time in which 'offered' could be had is over" in refused(bob, "accept", offered).message
    assert (serves(ann, bob, active), serves(bob, ann, done)) == ("cancelled", "cancelled")
    stage.wait(HOUR_S)
    assert [state(bob, one) for one in kept] == ["cancelled", "cancelled", "done"]
    assert [state(ann, one) for one in kept] == ["cancelled", "cancelled", "done"]
    assert row(bob, active).error == "its time is over"
    assert moved(bob, StopFetch) == [StopFetch(active.id, True)]
    assert Withdraw(active.id) in moved(ann, Withdraw)


def test_what_can_not_be_offered(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf, many = offer_of(ann.account), [offer_of(ann.account, f"{n}") for n in range(MAX_FILES + 1)]

    def post(*offers: object, **more: object) -> str:
        files = tuple((one, "/somewhere") for one in offers)
        command = {"files": files, **more}
        return ann.refused(
            lambda n: happened.Post(n, bob.account.hex(), "", **command)  # type: ignore[arg-type]
        ).message

    assert post(*many) == "17 files are more than the 16 of one message"
    assert "leaves at once" in post(pdf, at_ms=ann.now().wall_ms + 1000)
    assert "not prepared" in post(offer_of(bob.account, "bobs"))
    assert post() == "there is no text to send"
    send(ann, bob.account.hex(), pdf)
    assert "has been offered" in post(pdf)


def test_an_id_is_found_by_its_beginning(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    assert bob.do(lambda n: happened.FileAct(n, "accept", pdf.id.hex()[:6].upper()))
    for ref in (pdf.id.hex()[:5], "", "zzzzzz", pdf.id.hex() + "00", "0" * 32):
        error = bob.refused(lambda n, ref=ref: happened.FileAct(n, "accept", ref))  # type: ignore[misc]
        assert (error.kind, error.code) == ("no_such_target", 4)
    assert bob.refused(lambda n: happened.FileAct(n, "eat", pdf.id.hex())).kind == "usage"
    assert refused(bob, "accept", pdf, conflict="burn", expect_state="cancelled").kind == "usage"


def test_a_send_under_a_key_offers_once(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    first, again = offer_of(ann.account, "first"), offer_of(ann.account, "again")
    whom = bob.account.hex()
    one = ann.do(lambda n: happened.Post(n, whom, "", key="k", files=((first, "/a"),)))
    two = ann.do(lambda n: happened.Post(n, whom, "", key="k", files=((again, "/a"),)))
    assert one["id"] == two["id"]
    assert ann.ledger.transfers.transfer(again.id) is None


def test_views_made_again_offer_nothing_again(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    sent = send(ann, bob.account.hex(), pdf)
    act(bob, "decline", pdf)
    before = message(bob, sent), told(bob, pdf)
    bob.ledger.begin()
    bob.ledger.views.clear_views()
    rebuild_views(bob.node, bob.now())
    bob.ledger.commit()
    assert (message(bob, sent), told(bob, pdf)) == before
    assert state(bob, pdf) == "declined"


def test_a_root_that_comes_before_its_offer_is_known(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    pdf = offer_of(ann.account)
    ann.ledger.begin()
    bob.ledger.begin()
    bob.ledger.transfers.put_root(pdf.id, ann.account, ROOT, 3)
    bob.ledger.transfers.put_root(pdf.id, bob.account, b"x" * 32, 3)
    ann.ledger.commit()
    bob.ledger.commit()
    send(ann, bob.account.hex(), pdf)
    assert row(bob, pdf).root == ROOT


def test_my_other_machine_has_it_too(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    tablet = stage.actor("ann2", of=ann)
    stage.join(tablet, ann)
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    stage.join(tablet, bob)
    assert state(tablet, pdf) == "offered"
    act(tablet, "accept", pdf)
    assert serves(ann, tablet, pdf) == "offered"
    lands(tablet, pdf)
    assert (state(ann, pdf), stands(ann, pdf).have) == ("offered", ()), "it is for bob"
    act(bob, "accept", pdf)
    assert serves(tablet, bob, pdf) == "done"
    assert FileSource(pdf.id, tablet.device, True) in moved(bob, FileSource)
    heard = [one for one in tablet.sent if isinstance(one, FileHeard)]
    assert heard == [], "only the machine that offers it keeps what others say"


def test_what_one_machine_declines_another_may_be_fetching(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    """Bob has two: Ann sees that it is on its way to him, and who waits for it is not told that he does not
    want it."""
    ann, bob = pair
    tablet = stage.actor("bob2", of=bob)
    stage.join(tablet, bob)
    stage.join(tablet, ann)
    pdf = offer_of(ann.account)
    send(ann, bob.account.hex(), pdf)
    act(tablet, "decline", pdf)
    assert (state(ann, pdf), stands(ann, pdf).declined) == ("declined", (bob.account,))
    act(bob, "accept", pdf)
    assert state(ann, pdf) == "active"
    act(bob, "pause", pdf)
    assert state(ann, pdf) == "declined"
    act(bob, "resume", pdf)
    lands(bob, pdf)
    assert (state(ann, pdf), stands(ann, pdf).declined) == ("done", ())
