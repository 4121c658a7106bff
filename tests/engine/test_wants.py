"""A long history for somebody who lacks it: from its newest end, from one peer at a time, with a count."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import missing, sync, wants
from p2pchat.engine.context import Recon
from p2pchat.engine.inputs import Tell
from p2pchat.ids import EventId, RoomId
from p2pchat.store.reader import open_reader
from p2pchat.wire.codec import Record, decode
from p2pchat.wire.messages.events import LAST_CONTROL, Header
from p2pchat.wire.messages.link import Events, Given, Reconcile, Want
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import Three, act, create, link_of, three

__all__ = ["three"]

WEEK_S = 7 * 86_400.0


class Ears:
    """What goes by on the stage; content by who is slow comes when it is let go, and who repeats himself
    says over and over what he has."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[tuple[Actor, Actor, Record]] = []
        self.slow: list[Actor] = []
        self.kept: list[tuple[Actor, int, Record]] = []
        self.repeats: list[Actor] = []
        self.passed = stage.carry

        def carry(sender: Actor, link: int, message: Record) -> None:
            if link not in stage.links:
                return
            if sender in self.slow and is_content(message):
                self.kept.append((sender, link, message))
                return
            self.heard.append((sender, stage.links[link][1], message))
            lists = isinstance(message, Reconcile) and not message.asking and not message.control
            for _ in range(60 if lists and sender in self.repeats else 1):
                self.passed(sender, link, message)

        monkeypatch.setattr(stage, "carry", carry)

    def let_go(self, stage: Stage) -> None:
        """All that was kept arrives, and nobody is slow any more."""
        self.slow.clear()
        for sender, link, message in self.kept:
            stage.carry(sender, link, message)
        self.kept.clear()
        stage.settle()

    def drip(self, stage: Stage) -> None:
        """One frame of what was kept arrives, and is said to be all that was asked for."""
        at = next(n for n, kept in enumerate(self.kept) if isinstance(kept[2], Events))
        sender, link, message = self.kept.pop(at)
        self.passed(sender, link, message)
        self.passed(sender, link, Given(decode(Header, message.events[0].header).room, False))
        stage.settle()

    def given(self, giver: Actor, taker: Actor) -> int:
        """Events that one handed to the other."""
        said = [m for sender, to, m in self.heard if (sender, to) == (giver, taker)]
        return sum(len(message.events) for message in said if isinstance(message, Events))

    def wanted(self, taker: Actor, giver: Actor) -> int:
        """Ids of content that one asked of the other."""
        said = [m for sender, to, m in self.heard if (sender, to) == (taker, giver)]
        return sum(len(message.ids) for message in said if isinstance(message, Want) and not message.control)


def is_content(message: Record) -> bool:
    if isinstance(message, Given):
        return not message.control
    return isinstance(message, Events) and decode(Header, message.events[-1].header).kind > LAST_CONTROL


@pytest.fixture
def ears(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Ears:
    return Ears(stage, monkeypatch)


@pytest.fixture
def room(stage: Stage, three: Three) -> RoomId:
    """Of all three; Cem has been away since before anything was said in it."""
    ann, bob, cem = three
    made = create(ann, "launch")
    act(ann, "invite", "launch", bob, cem)
    for one in (ann, bob):
        stage.hang_up(link_of(one, cem))
    return made


def fill(stage: Stage, author: Actor, count: int) -> int:
    """So many messages, each in a millisecond of its own."""
    for number in range(count):
        author.feed(happened.Post(0, "#launch", f"{number} at {stage.mono}"))
        stage.mono += 0.01
        if number % 64 == 63:
            stage.settle()
    stage.settle()
    return count


def said(actor: Actor, room: RoomId) -> list[str | None]:
    """All of it, however much."""
    reader = open_reader(actor.ledger)
    try:
        return [view.text for view in reader.history(room, tail=100_000).messages]
    finally:
        reader.close()


def until(stage: Stage, actor: Actor, room: RoomId, count: int) -> None:
    """What is under way arrives until so many messages are there."""
    while len(said(actor, room)) < count:
        stage.deliver_one()


def newest_of(whole: list[str | None], here: list[str | None]) -> list[str | None]:
    """`here`, the newest of the whole; of the piece under way, which comes from its beginning, a part."""
    assert set(here) <= set(whole[-len(here) - wants.CHUNK :])
    assert set(whole[len(whole) - len(here) + wants.CHUNK :]) <= set(here)
    return here


def coming(actor: Actor, room: RoomId) -> tuple[int, Actor | None]:
    count, giver = wants.coming(actor.look(), room)
    at = {far.device: far for end, far, _ in actor.stage.links.values() if end is actor}
    return count, None if giver is None else at[giver]


def told(actor: Actor) -> int:
    return sum(tell.type == "history" for tell in actor.told if isinstance(tell, Tell))


def test_the_newest_comes_first_and_it_is_told_how_much_is_to_come(
    stage: Stage, three: Three, room: RoomId
) -> None:
    _, bob, cem = three
    count = fill(stage, three[0], 2000)
    whole = said(bob, room)
    assert coming(cem, room) == (0, None)
    stage.join(cem, bob, settled=False)
    seen = []
    for share in (100, count // 2, count - 100):
        until(stage, cem, room, share)
        here = newest_of(whole, said(cem, room))
        left, giver = coming(cem, room)
        assert giver is bob
        assert count - len(here) <= left <= count - len(here) + wants.CHUNK, "and what it comes with"
        (gap,) = missing.told(cem.look(), room, holes(cem, room))
        assert count - len(here) - wants.CHUNK <= gap.high - gap.low + 1 <= count - len(here)
        assert gap.holders == (bob.device,)
        seen.append(left)
    assert seen == sorted(seen, reverse=True)
    assert told(cem) == 1, "not twice in a second"
    stage.settle()
    assert said(cem, room) == whole
    assert coming(cem, room) == (0, None)
    assert told(cem) == 2
    assert holes(cem, room) == []


def holes(actor: Actor, room: RoomId) -> list[missing.Gap]:
    reader = open_reader(actor.ledger)
    try:
        return reader.gaps(room)
    finally:
        reader.close()


def test_who_has_nothing_of_a_room_gets_the_newest_week_before_all_else_is_even_listed(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    ann, bob, cem = three
    old = fill(stage, ann, 800)
    stage.mono += WEEK_S
    new = fill(stage, ann, 260)
    whole = said(bob, room)
    stage.join(cem, bob, settled=False)
    until(stage, cem, room, 1)
    assert set(said(cem, room)) <= set(whole[-new:])
    answers = [m for one, _, m in ears.heard if one is bob and isinstance(m, Reconcile) and not m.asking]
    assert sum(len(message.message) for message in answers) < 32 * (new + old / 2)
    stage.settle()
    assert said(cem, room) == whole
    assert len(whole) == old + new


def test_of_more_than_is_remembered_the_newest_comes_first(
    stage: Stage, three: Three, room: RoomId, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bob, cem = three
    monkeypatch.setattr(wants, "MAX_NEED", 700)
    count = fill(stage, three[0], 2600)
    whole = said(bob, room)
    stage.join(cem, bob, settled=False)
    for share in range(100, count, 500):
        until(stage, cem, room, share)
        newest_of(whole, said(cem, room))
    stage.settle()
    assert said(cem, room) == whole


COUNTS = [300, 1200, 2000]
"""More than is pushed unasked, more than is wanted at once, and a long run."""


@pytest.mark.parametrize("count", COUNTS)
def test_two_who_could_give_the_same_do_not(
    stage: Stage, three: Three, room: RoomId, ears: Ears, count: int
) -> None:
    ann, bob, cem = three
    fill(stage, ann, count)
    ears.slow.append(ann)
    for one in (ann, bob):
        stage.join(cem, one, settled=False)
    stage.settle()
    assert 0 < ears.wanted(cem, ann) <= wants.LARGE
    assert not ears.wanted(cem, bob)
    ears.let_go(stage)
    assert said(cem, room) == said(bob, room)
    stage.wait(70)
    shares = [ears.given(one, cem) for one in (ann, bob)]
    assert count < sum(shares) < count + 40, "acts come from both"


@pytest.mark.parametrize("count", COUNTS)
def test_who_lists_and_never_gives_holds_nobody_up_for_long(
    stage: Stage, three: Three, room: RoomId, ears: Ears, count: int
) -> None:
    ann, bob, cem = three
    fill(stage, ann, count)
    ears.slow.append(ann)
    for one in (ann, bob):
        stage.join(cem, one, settled=False)
    stage.settle()
    assert said(cem, room) == []
    stage.wait(wants.PATIENCE_S)
    assert said(cem, room) == said(bob, room)


def test_who_gives_a_drop_at_a_time_is_passed_by(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    """Each answer comes in time, so she is not taken for one who has stopped; but none brings anything."""
    ann, bob, cem = three
    fill(stage, ann, 5000)
    ears.slow.append(ann)
    stage.join(cem, ann)
    stage.join(cem, bob)
    for _ in range(14):
        stage.wait(1.5)
        ears.kept.clear()
        ears.passed(ann, link_of(ann, cem), Given(room, False))
        stage.settle()
    assert said(cem, room) == said(bob, room)
    assert ears.wanted(cem, ann) < 5000, "she could go on so for long"


def test_who_gives_a_little_now_and_then_is_passed_by(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    """It is always less than 2 s ago that she gave something."""
    ann, bob, cem = three
    fill(stage, ann, 3500)
    ears.slow.append(ann)
    stage.join(cem, ann)
    stage.join(cem, bob)
    for _ in range(10):
        stage.wait(1.3)
        ears.drip(stage)
    assert said(cem, room) == said(bob, room)


def test_who_lists_the_same_over_and_over_and_gives_nothing_of_it_is_passed_by(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    """What she has said to have given she would be asked for again before anybody else is."""
    ann, bob, cem = three
    fill(stage, ann, 2500)
    ears.slow.append(ann)
    ears.repeats.append(ann)
    stage.join(cem, ann)
    stage.join(cem, bob)
    assert ears.wanted(cem, ann) == wants.LARGE
    for _ in range(14):
        stage.wait(1.5)
        ears.passed(ann, link_of(ann, cem), Given(room, False))
        stage.settle()
    assert said(cem, room) == said(bob, room)
    assert ears.wanted(cem, ann) <= 2500, "of each event once"


def test_what_nobody_gives_any_more_is_not_said_to_be_coming(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    ann, _, cem = three
    fill(stage, ann, 2000)
    ears.slow.append(ann)
    stage.join(cem, ann)
    assert coming(cem, room) == (2000, ann)
    assert told(cem) == 1
    stage.wait(wants.BESIDE_S + wants.PATIENCE_S)
    assert coming(cem, room) == (0, None)
    assert told(cem) == 2, "and that it is no more is told"
    assert "runs" not in cem.timers, "nothing is waited for"
    ears.let_go(stage)
    assert len(said(cem, room)) == 2000


def test_who_took_over_is_said_to_be_giving_and_not_who_stopped(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    ann, bob, cem = three
    fill(stage, ann, 2000)
    ears.slow += [ann, bob]
    for one in (ann, bob):
        stage.join(cem, one)
    assert coming(cem, room) == (2000, ann)
    stage.wait(wants.PATIENCE_S)
    assert coming(cem, room) == (2000, bob)


def fakes(count: int, of: int = 0) -> tuple[bytes, ...]:
    return tuple(hashlib.sha256(b"%d %d" % (of, n)).digest() for n in range(count))


def test_many_who_wait_take_little_of_one_step_and_words_out_of_place_nothing(
    stage: Stage, three: Three, room: RoomId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty could give what one is giving; each time she has given some of it they see that it came."""
    ann, bob, cem = three
    for one in (ann, bob):
        stage.join(cem, one)
    first, other = link_of(cem, ann), link_of(cem, bob)
    ids, recons = fakes(wants.LARGE), cem.node.live.recons
    out = tuple(ids[n : n + wants.CHUNK] for n in range(0, wants.LARGE, wants.CHUNK))
    recons[10_000] = Recon(first, room, False, out=out, at=stage.mono, listed=True)
    for n in range(20):
        recons[10_001 + n] = Recon(other, room, False, later=ids, at=stage.mono, listed=True)
    looked_up: list[int] = []
    missing_of = cem.ledger.events.missing

    def look_up(of: Sequence[EventId]) -> list[EventId]:
        looked_up.append(len(of))
        return missing_of(of)

    monkeypatch.setattr(cem.ledger.events, "missing", look_up)
    cem.feed(happened.FromPeer(other, Given(room, False)))
    assert looked_up == []
    cem.feed(happened.FromPeer(first, Given(room, False)))
    assert 0 < sum(looked_up) <= wants.CHUNK * 16
    looked_up.clear()
    recons.update(
        {n: replace(recon, need=fakes(wants.MAX_NEED)) for n, recon in recons.items() if n > 10_000}
    )
    cem.feed(happened.FromPeer(first, Given(room, False)))
    assert 0 < sum(looked_up) <= wants.CHUNK * 16, "also of one alone"


def test_what_was_left_to_somebody_who_stopped_comes_before_all_that_is_older(
    stage: Stage, three: Three, room: RoomId
) -> None:
    ann, bob, cem = three
    for one in (ann, bob):
        stage.join(cem, one)
    cem.sent.clear()
    older, newer = fakes(600), fakes(wants.CHUNK, of=1)
    recons = cem.node.live.recons
    recons[10_000] = Recon(link_of(cem, ann), room, False, out=(newer,), at=stage.mono, listed=True)
    going_on = Recon(link_of(cem, bob), room, False, need=older, later=newer, at=stage.mono, listed=True)
    recons[10_001] = replace(going_on, out=(older[:1],))
    stage.mono += wants.PATIENCE_S
    cem.feed(happened.FromPeer(link_of(cem, bob), Given(room, False)))
    (first, *_) = [m for m in cem.sent if isinstance(m, Want)]
    assert first.ids == newer


def test_what_one_person_says_to_have_is_remembered_once_whatever_the_room(
    stage: Stage, three: Three, room: RoomId
) -> None:
    ann, bob, cem = three
    for one in (ann, bob):
        stage.join(cem, one)
    ctx, much = cem.look(), fakes(wants.MAX_NEED + 1)
    whole = wants.found(ctx, Recon(link_of(cem, ann), room, False), much)
    assert whole.need == much[1:]
    assert whole.cut
    cem.node.live.recons[10_000] = whole
    acts = wants.found(ctx, Recon(link_of(cem, ann), room, True), much)
    assert acts.need == much[-wants.LARGE :], "some in any case"
    assert wants.found(ctx, Recon(link_of(cem, bob), room, False), much).need == much[1:]


def test_the_next_goes_on_where_the_first_was_when_his_link_ended(
    stage: Stage, three: Three, room: RoomId, ears: Ears
) -> None:
    ann, bob, cem = three
    count = fill(stage, ann, 2600)
    stage.join(cem, ann, settled=False)
    until(stage, cem, room, 300)
    stage.join(cem, bob, settled=False)
    until(stage, cem, room, 2000)
    assert coming(cem, room)[1] is ann
    assert not ears.wanted(cem, bob), "she is giving all of it"
    stage.hang_up(link_of(cem, ann))
    stage.settle()
    stage.wait(wants.PATIENCE_S + 0.1)
    assert said(cem, room) == said(bob, room)
    assert ears.given(ann, cem) + ears.given(bob, cem) < count + wants.LARGE + 256


def test_what_is_coming_is_not_broken_off_for_a_week_under_a_salt(
    stage: Stage, three: Three, room: RoomId, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After which nobody would ask for the rest until the next repair."""
    ann, _, cem = three
    count = 0
    for _ in range(3):
        count += fill(stage, ann, 800)
        stage.mono += WEEK_S
    stage.join(cem, ann, settled=False)
    until(stage, cem, room, 300)
    monkeypatch.setattr(sync, "SALT_EVERY", 1)
    cem.feed(happened.TimerFired("repair"))
    stage.settle()
    assert len(said(cem, room)) == count
    assert ears.wanted(cem, ann) <= count + 1, "nothing twice, and how the room was called at first"


def test_text_of_a_chat_with_somebody_comes_the_same_way(stage: Stage, three: Three) -> None:
    ann, _, cem = three
    stage.hang_up(link_of(ann, cem))
    for n in range(600):
        ann.say(cem, f"{n}")
        stage.mono += 0.01
    stage.join(cem, ann, settled=False)
    chat = missing.rooms.direct_id(ann.account, cem.account)
    until(stage, cem, chat, 50)
    newest_of([f"{n}" for n in range(600)], said(cem, chat))
    stage.settle()
    assert len(said(cem, chat)) == 600
