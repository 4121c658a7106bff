"""The event log: chains, heads, holes, keys that are missing, and what is parked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.ids import NO_EPOCH, DeviceId, EpochId, EventId, RoomId
from p2pchat.model import Gap, Head, StoredEvent
from p2pchat.store.events import MAX_PARKED_BYTES
from p2pchat.store.ledger import MEMORY, Ledger, open_ledger
from p2pchat.store.reader import open_reader
from p2pchat.wire.messages.events import ADD, CREATE, MESSAGE
from tests.store.samples import BOBS_DEVICE, EPOCH, MY_DEVICE, OTHER_ROOM, ROOM, Samples, made


def test_an_event_comes_back_as_it_went_in(either: Ledger, samples: Samples) -> None:
    for event in (
        samples.event(),
        samples.event(body=None, flags=StoredEvent.ERASED | StoredEvent.SHOWN),
        samples.event(signature=b"", body=b""),
        samples.event(kind=CREATE),
        samples.event(hlc=(1 << 64) - 1, flags=StoredEvent.FUTURE),
        samples.event(hlc=0),
        samples.event(seq=(1 << 53) - 1),
    ):
        either.events.add(event)
        assert either.events.get(event.id) == event
    assert either.events.get(EventId(made("nothing"))) is None


def test_an_id_is_in_the_log_once(either: Ledger, samples: Samples) -> None:
    event = samples.event()
    either.events.add(event)
    with pytest.raises(Exception, match="UNIQUE"):
        either.events.add(event._replace(seq=2))


def test_missing_keeps_the_order(either: Ledger, samples: Samples) -> None:
    here = [samples.event() for _ in range(3)]
    for event in here:
        either.events.add(event)
    a, b = EventId(made("a")), EventId(made("b"))
    assert either.events.missing([b, here[2].id, a, here[0].id, b]) == [b, a, b]
    assert either.events.missing([]) == []


def test_runs_are_ascending_and_bounded(either: Ledger, samples: Samples) -> None:
    chain = [samples.event() for _ in range(9)]
    samples_of_others = [samples.event(device=MY_DEVICE), samples.event(room=OTHER_ROOM)]
    for event in [*reversed(chain), *samples_of_others]:
        either.events.add(event)
    assert either.events.run(ROOM, BOBS_DEVICE, 3, 6, 99) == chain[2:6]
    assert either.events.run(ROOM, BOBS_DEVICE, 3, 6, 2) == chain[2:4]
    assert either.events.run(ROOM, BOBS_DEVICE, 20, 30, 9) == []
    assert either.events.run(RoomId(made("unknown")), BOBS_DEVICE, 1, 9, 9) == []


def test_a_fork_shows_both_and_the_smaller_id_is_the_head(either: Ledger, samples: Samples) -> None:
    first = samples.event()
    twins = sorted((samples.event(seq=2), samples.event(seq=2)), key=lambda one: one.id)
    for event in (first, twins[1], twins[0]):
        either.events.add(event)
    assert either.events.at(ROOM, BOBS_DEVICE, 2) == twins
    assert either.events.at(ROOM, BOBS_DEVICE, 1) == [first]
    assert either.events.heads(ROOM) == {BOBS_DEVICE: Head(2, twins[0].id, twins[0].hlc)}


def test_heads_are_those_of_one_room_by_device(either: Ledger, samples: Samples) -> None:
    devices = [DeviceId(made("machine", n)) for n in range(20)]
    for device in devices:
        for _ in range(3):
            either.events.add(samples.event(device=device))
        either.events.add(samples.event(device=device, room=OTHER_ROOM))
    heads = either.events.heads(ROOM)
    assert list(heads) == sorted(devices)
    assert {head.seq for head in heads.values()} == {3}
    assert either.events.heads(RoomId(made("unknown"))) == {}


def test_control_events_in_order_of_clock_then_id(either: Ledger, samples: Samples) -> None:
    same = samples.now_ms << 16
    control = [samples.event(kind=ADD, hlc=same) for _ in range(4)]
    early = samples.event(kind=CREATE, hlc=same - 1)
    for event in (*control, samples.event(), early, samples.event(kind=ADD, room=OTHER_ROOM)):
        either.events.add(event)
    assert either.events.control(ROOM) == [early, *sorted(control, key=lambda one: one.id)]


def test_a_body_can_go_and_come(either: Ledger, samples: Samples) -> None:
    event = samples.event()
    either.events.add(event)
    either.events.put_body(event.id, None, StoredEvent.ERASED)
    assert either.events.get(event.id) == event._replace(body=None, flags=StoredEvent.ERASED)
    either.events.put_body(event.id, b"back", 0)
    assert either.events.get(event.id) == event._replace(body=b"back", flags=0)


def test_what_waits_for_a_key(either: Ledger, samples: Samples) -> None:
    other = EpochId(b"e" * 16)
    waiting = [samples.event(device=d, flags=StoredEvent.KEYLESS) for d in (MY_DEVICE, BOBS_DEVICE) * 3]
    for event in (*waiting, samples.event(), samples.event(epoch=other, flags=StoredEvent.KEYLESS)):
        either.events.add(event)
    by_place = sorted(waiting, key=lambda one: (one.device, one.seq))
    assert either.events.keyless(ROOM, EPOCH) == by_place
    either.events.put_body(by_place[0].id, by_place[0].body, 0)
    assert either.events.keyless(ROOM, EPOCH) == by_place[1:]
    assert either.events.keyless(ROOM, EpochId(b"?" * 16)) == []
    assert either.events.keyless(ROOM, NO_EPOCH) == []


def test_parking_is_bounded_per_device(either: Ledger, samples: Samples) -> None:
    parked = [samples.event(hlc=(1 << 64) - 1) for _ in range(3)]
    assert [either.events.park(event, 2) for event in parked] == [True, True, False]
    assert either.events.park(parked[0], 2)  # known: nothing changes
    assert either.events.park(samples.event(device=MY_DEVICE), 2)
    assert either.events.parked(ROOM, BOBS_DEVICE, 0, 99) == parked[:2]
    assert either.events.parked(OTHER_ROOM, BOBS_DEVICE, 0, 99) == []
    assert either.events.parked(ROOM, BOBS_DEVICE, parked[1].seq, 99) == parked[1:2]
    heads = dict(either.events.parked_headers(ROOM))
    assert all(heads[one.id] == one.header for one in parked[:2])
    assert sorted(either.events.parked_some([one.id for one in parked[:2]])) == sorted(parked[:2])
    big = samples.event(device=MY_DEVICE, body=bytes(MAX_PARKED_BYTES))
    assert not either.events.park(big, 9), "more than a device's share of bytes"
    either.events.unpark(parked[0].id)
    assert either.events.parked(ROOM, BOBS_DEVICE, 0, 99) == parked[1:2]
    assert either.events.get(parked[1].id) is None
    assert either.events.missing([parked[1].id]) == [parked[1].id]


def test_what_strangers_park_takes_no_numbers(either: Ledger, samples: Samples) -> None:
    either.events.park(samples.event(room=RoomId(made("made up"))), 9)
    assert either.connection.execute("SELECT count(*) FROM ident").fetchone()[0] == 0


@given(st.lists(st.integers(1, 40), unique=True), st.booleans())
def test_gaps_are_what_is_missing_below_the_head(order: list[int], forget: bool) -> None:
    samples = Samples()
    opened = open_ledger(MEMORY)
    reader = open_reader(opened)
    opened.begin()
    for seq in order:
        opened.events.add(samples.event(seq=seq))
        if forget:
            opened.forget()
    opened.events.add(samples.event(seq=order[0] if order else 1, room=ROOM))  # a fork fills no hole
    opened.commit()
    missing = sorted(set(range(1, max(order, default=1))) - set(order))
    told = [n for gap in reader.gaps(ROOM) for n in range(gap.low, gap.high + 1)]
    assert told == missing
    gaps = reader.gaps(ROOM)
    assert all(one.high + 1 < two.low for one, two in pairwise(gaps))
    assert [one for one in opened.check_integrity() if "gap" in one] == []
    opened.close()


@given(st.permutations(range(1, 9)), st.booleans())
def test_a_hole_is_what_is_surely_not_here(order: list[int], forget: bool) -> None:
    ledger, samples = open_ledger(MEMORY), Samples()
    for count, seq in enumerate(order, 1):
        ledger.events.add(samples.event(seq=seq))
        if forget:
            ledger.forget()
        here = set(order[:count])
        for asked in range(1, 12):
            hole = ledger.events.hole(ROOM, BOBS_DEVICE, asked)
            if asked in here:
                assert hole is None
            elif asked < max(here):
                low, high = hole or (0, 0)
                assert low <= asked <= high < max(here)
                assert here.isdisjoint(range(low, high + 1))
                assert low == 1 or low - 1 in here
                assert high + 1 in here
            else:  # beyond the head, of which nothing is known without a look once all is forgotten
                assert hole is None if forget else hole == (max(here) + 1, (1 << 53) - 1)
    ledger.close()


def test_gaps_of_several_devices(either: Ledger, samples: Samples) -> None:
    reader = open_reader(either)
    devices = sorted((BOBS_DEVICE, MY_DEVICE))
    for device in devices:
        either.events.add(samples.event(device=device, seq=5, kind=MESSAGE))
        either.events.add(samples.event(device=device, seq=3))
    either.commit()
    assert reader.gaps(ROOM) == [Gap(d, low, high) for d in devices for low, high in ((1, 2), (4, 4))]
    assert reader.gaps(OTHER_ROOM) == []
    reader.close()
