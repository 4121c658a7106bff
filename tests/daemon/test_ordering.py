"""Effects: what leaves before the commit, and in what order the rest does."""

from __future__ import annotations

from p2pchat.daemon.ordering import part_early, sends_first
from p2pchat.engine.inputs import Effect, FeedGrew, Reply, Send, SetTimer
from p2pchat.ids import RoomId
from p2pchat.wire.messages.link import Given, Want

ROOM = RoomId(bytes(32))
WANT, GIVEN = Want(ROOM, False, (), b"", 0), Given(ROOM, False)


def test_a_question_leaves_early_but_overtakes_nothing_of_its_link() -> None:
    effects: list[Effect] = [
        Send(1, WANT, early=True),
        Send(1, GIVEN),
        Send(1, WANT, early=True),
        Send(2, WANT, early=True),
        Reply(7, {}),
        Reply(8, {}, early=True),
        Send(1, WANT, early=True),
    ]
    early, rest = part_early(effects)
    assert early == [effects[0], effects[3], effects[5]]
    assert rest == [effects[1], effects[2], effects[4], effects[6]]


def test_what_was_left_in_front_stays_in_front() -> None:
    first: list[Effect] = [Send(1, GIVEN)]
    early, rest = part_early([*first, Send(1, WANT, early=True)])
    assert early == []
    again, left = part_early([*rest, Send(2, WANT, early=True)])
    assert again == [Send(2, WANT, early=True)]
    assert left == rest


def test_frames_leave_before_anybody_is_answered() -> None:
    effects: list[Effect] = [Reply(1, {}), Send(1, GIVEN), FeedGrew()]
    closing: list[Effect] = [SetTimer("repair", 1.0), Send(2, GIVEN)]
    order = sends_first(effects, closing)
    assert order == [effects[1], *closing, effects[0], effects[2]]
