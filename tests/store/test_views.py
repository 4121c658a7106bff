"""What messages look like now: rows that are replaced, states that advance, marks that stay."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2pchat.errors import LocalProtocolError
from p2pchat.ids import AccountId, EventId, RoomId
from p2pchat.model import CANCELLED, DELIVERED, HELD, QUEUED, READ, MessageView, Touch
from p2pchat.store import views
from p2pchat.store.ledger import Ledger
from p2pchat.store.rows import place_of
from p2pchat.store.schema import STATES
from p2pchat.wire.limits import FUTURE_MS, MAX_STANDING
from p2pchat.wire.messages.events import ACK, DELETE, EDIT, PIN, REACTION
from tests.store.samples import BOB, BOBS_DEVICE, ME, MY_DEVICE, OTHER_ROOM, ROOM, START_MS, Samples, made


def test_a_view_comes_back_as_it_went_in(either: Ledger, samples: Samples) -> None:
    other = EventId(made("other"))
    for fields in (
        {},
        {"mine": True},
        {"text": None, "deleted": True},
        {"text": "", "hidden": True},
        {"urgent": True, "edited": True, "pinned": True, "mentions_me": True, "mentions": (ME, BOB)},
        {"reply_to": other, "thread": other, "flags": ("forked", "future")},
        {"reactions": (("👍", (ME, BOB)), ('"\\', (BOB,)))},
        {"hlc": (1 << 64) - 1, "text": "from the year 4 billion\0 and \U0001f600"},
    ):
        view = samples.put(either, **fields)
        assert either.views.message(view.id) == view
    for state in STATES:
        view = samples.put(either, state=state)
        assert either.views.message(view.id) == view
    assert either.views.message(other) is None


def test_a_view_without_its_event_is_our_bug(either: Ledger, samples: Samples) -> None:
    _, view = samples.message()
    with pytest.raises(LocalProtocolError, match="no event"):
        either.views.put_message(view)


def test_a_replaced_view_is_the_new_one(either: Ledger, samples: Samples) -> None:
    view = samples.put(either)
    changed = view._replace(text="changed", edited=True, pinned=True, reactions=(("🎉", (BOB,)),))
    either.views.put_message(changed)
    assert either.views.message(view.id) == changed
    either.views.put_message(view)
    assert either.views.message(view.id) == view


# -- unread ----------------------------------------------------------------------------


def test_unread_is_kept_over_a_replace_and_cleared_by_reading(either: Ledger, samples: Samples) -> None:
    first, second = samples.put(either), samples.put(either)
    samples.put(either, mine=True)
    samples.put(either, hidden=True)
    samples.put(either, deleted=True, text=None)
    samples.put(either, room=OTHER_ROOM)
    either.views.put_message(second._replace(text="changed", edited=True))
    assert either.views.unread(ROOM, 9) == [first.id, second.id]
    assert either.views.unread(ROOM, 1) == [first.id]
    assert either.views.mark_read([first.id, EventId(made("?")), second.id]) == [
        (BOBS_DEVICE, first.seq),
        (BOBS_DEVICE, second.seq),
    ]
    assert either.views.mark_read([first.id]) == []
    either.views.put_message(second)
    assert either.views.unread(ROOM, 9) == []
    assert either.views.unread(RoomId(made("unknown")), 9) == []


@pytest.mark.parametrize("gone", [{"hidden": True}, {"deleted": True, "text": None}])
def test_what_is_taken_back_is_not_unread(either: Ledger, samples: Samples, gone: dict[str, object]) -> None:
    view = samples.put(either)
    either.views.put_message(view._replace(**gone))  # type: ignore[arg-type]
    assert either.views.unread(ROOM, 9) == []
    either.views.put_message(view)
    assert either.views.unread(ROOM, 9) == []


# -- states ----------------------------------------------------------------------------


def own(ledger: Ledger, samples: Samples, *states: str) -> list[MessageView]:
    return [samples.put(ledger, mine=True, state=state) for state in states]


def test_a_range_advances_where_it_may(either: Ledger, samples: Samples) -> None:
    views = own(either, samples, QUEUED, HELD, DELIVERED, READ, QUEUED, CANCELLED, QUEUED)
    moved = either.views.advance(ROOM, MY_DEVICE, 1, 6, (HELD, QUEUED), DELIVERED)
    assert moved == [views[0].id, views[1].id, views[4].id]
    now = [either.views.message(view.id) for view in views]
    assert [view.state for view in now if view] == [
        DELIVERED,
        DELIVERED,
        DELIVERED,
        READ,
        DELIVERED,
        CANCELLED,
        QUEUED,
    ]
    assert either.views.advance(ROOM, MY_DEVICE, 1, 6, (HELD, QUEUED), DELIVERED) == []
    assert either.views.advance(ROOM, MY_DEVICE, 2, 3, (DELIVERED,), READ) == [views[1].id, views[2].id]
    assert either.views.advance(ROOM, MY_DEVICE, 1, 9, (READ, CANCELLED), QUEUED) == [
        views[1].id,
        views[2].id,
        views[3].id,
        views[5].id,
    ]
    assert either.views.advance(ROOM, BOBS_DEVICE, 1, 9, (QUEUED,), READ) == []
    assert either.views.advance(RoomId(made("?")), MY_DEVICE, 1, 9, (QUEUED,), READ) == []


def test_advancing_costs_what_it_changes(ledger: Ledger) -> None:
    from p2pchat.store import views

    plan = ledger.connection.execute("EXPLAIN QUERY PLAN " + views._ADVANCE_LIVE, (1, 1, 1, 1, 9)).fetchall()
    assert "INDEX message_live (state=? AND room=? AND device=? AND seq>? AND seq<?)" in plan[0][3]
    plan = ledger.connection.execute("EXPLAIN QUERY PLAN " + views._WAITING, {"room": 1}).fetchall()
    assert any("message_live (state=?" in row[3] for row in plan)


def test_what_waits_oldest_first(either: Ledger, samples: Samples) -> None:
    second = samples.put(either, mine=True, hlc=(START_MS + 50) << 16, state=HELD)
    first = samples.put(either, mine=True, hlc=(START_MS + 40) << 16, room=OTHER_ROOM)
    samples.put(either, mine=True, state=DELIVERED)
    samples.put(either)
    assert either.views.waiting(None) == [(first.id, OTHER_ROOM), (second.id, ROOM)]
    assert either.views.waiting(ROOM) == [(second.id, ROOM)]
    assert either.views.waiting(RoomId(made("?"))) == []


# -- finding ---------------------------------------------------------------------------


def test_find_by_hex_digits(either: Ledger, samples: Samples) -> None:
    ids = sorted(samples.put(either).id for _ in range(40))
    whole = ids[7].hex()
    for length in (64, 63, 40, 20):
        assert either.views.find(whole[:length]) == [ids[7]]
    assert either.views.find(whole.upper()) == [ids[7]]
    assert len(either.views.find(whole[0])) <= 3
    digit = [one for one in ids if one.hex()[0] == whole[0]]
    assert either.views.find(whole[0]) == digit[:3]
    for odd in ("", "xyz", "%", whole + "0", "12 34"):
        assert either.views.find(odd) == []
    event = samples.event()
    either.events.add(event)
    assert either.views.find(event.id.hex()) == []  # an event that is no message


def test_the_newest_own_message(either: Ledger, samples: Samples) -> None:
    assert either.views.last_mine(ROOM) is None
    wanted = samples.put(either, mine=True)
    samples.put(either, mine=True, deleted=True, text=None)
    samples.put(either, mine=True, hidden=True)
    samples.put(either, mine=True, room=OTHER_ROOM)
    samples.put(either)
    assert either.views.last_mine(ROOM) == wanted.id


# -- touches ---------------------------------------------------------------------------


def touch(n: int, hlc: int, **changes: object) -> Touch:
    target, identity = EventId(made("target")), EventId(made("touch", n))
    return replace(Touch(target, identity, BOB, hlc, EDIT, f"text {n}", False), **changes)  # type: ignore[arg-type]


def test_touches_in_order_of_clock_then_id(either: Ledger) -> None:
    reply = EventId(made("reply"))
    several = [
        touch(1, (1 << 64) - 1, mentions=(ME, BOB), reply_to=reply, thread=reply, urgent=True),
        touch(2, 5, kind=REACTION, value="👍", remove=True, account=ME),
        touch(3, 5),
        touch(4, 0),
    ]
    for one in several:
        either.views.put_touch(ROOM, one)
    either.views.put_touch(ROOM, replace(several[0], value="another", hlc=1))
    ordered = sorted(several, key=lambda one: (one.hlc, one.id))
    assert [one.id for one in either.views.touches(ROOM, several[0].target)] == [one.id for one in ordered]
    assert [either.views.touch(one.id) for one in several] == several
    assert either.views.touches(ROOM, EventId(made("nothing"))) == []
    assert either.views.touch(EventId(made("nothing"))) is None
    assert either.views.edits(ROOM, several[0].target, BOB) == [several[3].id, several[2].id, several[0].id]
    assert either.views.edits(ROOM, several[0].target, ROOM) == []  # type: ignore[arg-type]


def test_of_many_touches_those_come_that_decide(either: Ledger) -> None:
    """Whatever their number and order, what stands is what all of them together come to."""
    chance = random.Random(3)
    people = [AccountId(made("person", n)) for n in range(7)]
    kinds = (EDIT, DELETE, REACTION, PIN, ACK)
    every: list[Touch] = []
    for n in range(3000):
        one = touch(
            n,
            chance.randrange(2000),
            account=chance.choice(people),
            kind=chance.choice(kinds),
            value=chance.choice("abc"),
            remove=chance.random() < 0.3,
        )
        every.append(one)
        either.views.put_touch(ROOM, one)
    every.sort(key=lambda one: (one.hlc, one.id))
    given = either.views.touches(ROOM, every[0].target)
    for who in people:
        put = [one for one in every if one.kind == REACTION and one.account == who]
        assert len(put) < MAX_STANDING
        assert [one for one in given if one.kind == REACTION and one.account == who] == put
        assert {one.kind for one in given if one.account == who} == set(kinds)
        for kind in (PIN, DELETE, ACK):
            newest = [one for one in every if one.kind == kind and one.account == who][-1]
            assert [one for one in given if one.kind == kind and one.account == who][-1] == newest
        edits = [one for one in every if one.kind == EDIT and one.account == who]
        light = [one for one in given if one.kind == EDIT and one.account == who]
        assert light[-1].id == edits[-1].id
        assert all(one.remove for one in light) == all(one.remove for one in edits)
        assert {one.value for one in light} == {""}


def test_of_ones_reactions_the_newest_count(either: Ledger) -> None:
    """The same whether few or many others touch that message too."""
    for n in range(200):
        either.views.put_touch(ROOM, touch(n, n, kind=REACTION, value=str(n % 150)))
    few = either.views.touches(ROOM, touch(0, 0).target)
    assert [one.hlc for one in few] == list(range(200 - MAX_STANDING, 200))
    for n in range(400):
        either.views.put_touch(ROOM, touch(1000 + n, n, account=ME, remove=True))
    many = either.views.touches(ROOM, touch(0, 0).target)
    assert [one for one in many if one.account == BOB] == few


def test_looking_at_what_stands_costs_the_same_however_much_there_is(either: Ledger) -> None:
    """Counted in instructions of the database machine, and in characters that leave it."""
    text = "x" * 16_000
    steps: list[int] = []

    def cost() -> int:
        steps.clear()
        either.connection.set_progress_handler(lambda: steps.append(1), 10)
        given = either.views.touches(ROOM, touch(0, 0).target)
        newest = either.views.touch([one.id for one in given if one.kind == EDIT][-1])
        either.connection.set_progress_handler(None, 0)
        assert newest is not None
        assert len(newest.value) == len(text)
        assert sum(len(one.value) for one in given) < 1000
        return 10 * len(steps)

    costs = []
    for n in range(2000):
        either.views.put_touch(ROOM, touch(n, n, value=text))
        either.views.put_touch(
            ROOM, touch(10_000 + n, n, kind=REACTION, value="👍", account=ME, remove=n % 2 == 0)
        )
        if n in (500, 1999):
            costs.append(cost())
    assert costs[1] < 1.1 * costs[0], costs


# -- where a message stands ------------------------------------------------------------


def test_a_message_dated_ahead_stands_where_it_came() -> None:
    came = START_MS
    just = (came + FUTURE_MS) << 16
    assert place_of(just, came) == just
    assert place_of(just + (1 << 16), came) == came << 16
    assert place_of((1 << 64) - 1, came) == came << 16
    assert place_of(5, came) == 5


def test_cleared_views_can_be_made_again(either: Ledger, samples: Samples) -> None:
    views = [samples.put(either, text=f"word{n}") for n in range(5)]
    either.views.put_touch(ROOM, touch(1, 1))
    either.commit()
    either.begin()
    assert either.views.index_some() == 5
    either.commit()
    either.begin()
    either.views.clear_views()
    assert either.views.message(views[0].id) is None
    assert either.views.touches(ROOM, touch(1, 1).target) == []
    for view in views:
        either.views.put_message(view)
    either.commit()
    assert [either.views.message(view.id) for view in views] == views
    assert either.check_integrity() == []
    either.begin()
    assert either.views.index_some() == 5
    either.commit()
    assert either.check_integrity() == []


@pytest.mark.parametrize("most", [2_000, 2])
def test_what_was_touched_before_it_came_is_known(
    ledger: Ledger, samples: Samples, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(views, "MAX_EARLY", most)
    ledger.begin()
    here = samples.put(ledger)
    unknown = EventId(made("nobody touches it"))
    ledger.views.put_touch(ROOM, replace(touch(1, 1), target=here.id))
    ledger.views.put_touch(ROOM, touch(2, 2))
    first = touch(2, 2).target
    for _ in range(2):
        assert ledger.views.touched([first]) == {first}
        assert ledger.views.touched([first, unknown]) == {first}
        assert ledger.views.touched([unknown]) == set()
        ledger.forget()
    later = [replace(touch(n, n), target=EventId(made(f"later {n}"))) for n in range(3, 7)]
    for one in later:
        ledger.views.put_touch(ROOM, one)
        assert ledger.views.touched([unknown, one.target]) == {one.target}
    assert ledger.views.touched([one.target for one in later]) == {one.target for one in later}


def test_a_touch_whose_target_is_undone_is_early_again(ledger: Ledger, samples: Samples) -> None:
    target = samples.event()
    ledger.begin()
    ledger.views.put_touch(ROOM, replace(touch(1, 1), target=target.id))
    ledger.commit()
    ledger.forget()
    ledger.begin()
    ledger.events.add(target)
    assert ledger.views.touched([EventId(made("unknown"))]) == set(), "looked up while its target is here"
    ledger.rollback()
    ledger.begin()
    assert ledger.views.touched([target.id]) == {target.id}
