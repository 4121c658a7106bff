"""A long room for a newcomer: what comes can be judged and read as it comes."""

from __future__ import annotations

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine.frames import FRAME_ENOUGH, in_frames
from p2pchat.model import StoredEvent
from p2pchat.wire.limits import MAX_UNSIGNED_RUN
from p2pchat.wire.messages.events import is_control
from tests.engine.play import Actor, Stage
from tests.engine.test_rooms import Three, act, create, texts, three

__all__ = ["three"]

RUN = MAX_UNSIGNED_RUN + 1
RUNS = 21
"""More than five wants of 256 ids."""


def fill(stage: Stage, author: Actor, runs: int) -> int:
    for run in range(runs):
        author.feed(*[happened.Post(0, "#launch", f"{run} {n} " + "word " * 20) for n in range(RUN)])
        stage.mono += 1.0
        stage.settle()
    return runs * RUN


def test_nothing_of_a_backfill_waits_to_be_judged_or_for_its_key(
    stage: Stage, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cem = three
    room = create(ann, "launch")
    act(ann, "invite", "launch", bob)
    count = fill(stage, ann, RUNS)
    waited: list[StoredEvent] = []
    added: list[int] = []
    events = type(cem.ledger.events)
    park, add = events.park, events.add

    def counted_park(self: object, event: StoredEvent, limit: int) -> bool:
        waited.append(event)
        return bool(park(self, event, limit))  # type: ignore[arg-type]

    def counted_add(self: object, event: StoredEvent) -> None:
        added.append(event.flags & StoredEvent.KEYLESS)
        add(self, event)  # type: ignore[arg-type]

    monkeypatch.setattr(events, "park", counted_park)
    monkeypatch.setattr(events, "add", counted_add)
    act(ann, "invite", "launch", cem)
    assert len(texts(cem, room)) == count
    assert len(added) > count, "all of it went by here"
    assert [one for one in waited if not is_control(one.kind)] == [], (
        "but for acts told to who lacks those before"
    )
    assert not any(added)


def test_a_frame_ends_with_a_signature_once_it_is_full_enough(stage: Stage, three: Three) -> None:
    ann, _, _ = three
    room = create(ann, "launch")
    fill(stage, ann, 5)
    head = 5 * RUN + 50
    events = ann.ledger.events.run(room, ann.device, 1, head, head)
    frames = [frame.events for frame in in_frames(events)]
    assert len(frames) > 2
    assert [event.header for frame in frames for event in frame] == [event.header for event in events]
    for frame in frames:
        assert frame[-1].signature
        sizes = [len(one.header) + len(one.body or b"") for one in frame]
        ends = [at for at, one in enumerate(frame[:-1]) if one.signature]
        assert all(sum(sizes[: at + 1]) < FRAME_ENOUGH for at in ends)
