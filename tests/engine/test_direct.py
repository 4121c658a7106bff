"""Direct messages, as small plays."""

from __future__ import annotations

from typing import Any

import pytest

from p2pchat.engine import inputs as happened
from p2pchat.engine import rooms
from p2pchat.engine.node import rebuild_views
from p2pchat.ids import EventId, RoomId
from p2pchat.model import MessageView, Touch
from p2pchat.wire.limits import MAX_STANDING
from tests.engine.play import Actor, Stage


def view(actor: Actor, message: str) -> MessageView | None:
    return actor.ledger.views.message(EventId(bytes.fromhex(message)))


def shown(actor: Actor, message: str) -> MessageView:
    found = view(actor, message)
    assert found is not None, f"{actor.name} has no such message"
    return found


def agree(one: Actor, other: Actor) -> None:
    """Both ledgers hold the same events of their room."""
    room = rooms.direct_id(one.account, other.account)
    for control in (True, False):
        left = {
            w.week: one.ledger.items.packed(room, control, w.week)
            for w in one.ledger.items.weeks(room, control)
        }
        right = {
            w.week: other.ledger.items.packed(room, control, w.week)
            for w in other.ledger.items.weeks(room, control)
        }
        assert left == right


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    return stage.actor("ann"), stage.actor("bob")


def test_ann_says_hello_and_bob_has_it(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    hello = ann.say(bob, "hello bob")
    assert shown(bob, hello).text == "hello bob"
    assert shown(bob, hello).state == "received"
    stage.wait(1)
    assert shown(ann, hello).state == "delivered"
    agree(ann, bob)


def test_a_name_finds_the_person(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    answer = ann.do(lambda r: happened.Post(r, "Bob", "hi"))
    assert shown(bob, str(answer["id"])).text == "hi"
    assert ann.refused(lambda r: happened.Post(r, "carol", "hi")).kind == "no_such_target"


def test_what_was_said_while_bob_was_off_arrives_once_and_in_order(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    stage.cut()
    said = [ann.say(bob, f"note {n}") for n in range(40)]
    assert all(shown(ann, one).state == "queued" for one in said)
    stage.join(bob, ann)
    stage.wait(1)
    assert [shown(bob, one).text for one in said] == [f"note {n}" for n in range(40)]
    assert all(shown(ann, one).state == "delivered" for one in said)
    agree(ann, bob)


def test_both_write_during_a_cut_and_agree_afterwards(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    stage.cut()
    mine, theirs = ann.say(bob, "from ann"), bob.say(ann, "from bob")
    stage.join(ann, bob)
    stage.wait(1)
    assert shown(ann, theirs).text == "from bob"
    assert shown(bob, mine).text == "from ann"
    agree(ann, bob)


def test_an_edit_of_what_bob_has_is_marked_and_of_what_he_has_not_is_not(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    seen = ann.say(bob, "at noon")
    ann.change("edit", seen, "at one")
    assert (shown(bob, seen).text, shown(bob, seen).edited) == ("at one", True)
    stage.cut()
    unseen = ann.say(bob, "secret draft", reply_to=seen)
    ann.change("edit", unseen, "final words")
    assert (shown(ann, unseen).text, shown(ann, unseen).edited) == ("final words", False)
    stored = ann.ledger.events.get(EventId(bytes.fromhex(unseen)))
    assert stored is not None
    assert stored.body is None
    stage.join(ann, bob)
    stage.wait(1)
    got = shown(bob, unseen)
    assert (got.text, got.edited) == ("final words", False)
    assert got.reply_to == bytes.fromhex(seen)
    assert shown(ann, unseen).state == "delivered"


def test_a_cancelled_message_is_never_shown(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    stage.cut()
    oops = ann.say(bob, "oops")
    answer = ann.do(lambda r: happened.CancelQueued(r, oops))
    assert answer["state"] == "cancelled"
    stage.join(ann, bob)
    stage.wait(1)
    found = view(bob, oops)
    assert found is None or found.hidden
    late = ann.say(bob, "on time")
    stage.wait(1)
    assert ann.refused(lambda r: happened.CancelQueued(r, late)).kind == "already_delivered"


def test_delete_reaction_and_pin(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    one = ann.say(bob, "one")
    bob.change("react", one, "👍")
    bob.change("pin", one)
    assert shown(ann, one).reactions == (("👍", (bob.account,)),)
    assert shown(ann, one).pinned
    bob.change("react", one, "👍", remove=True)
    assert shown(ann, one).reactions == ()
    assert bob.refused(lambda r: happened.Change(r, "delete", one)).kind == "no_right"
    ann.change("delete", one)
    for actor in pair:
        assert (shown(actor, one).text, shown(actor, one).deleted) == (None, True)
    agree(ann, bob)


def test_a_wait_for_delivery_ends_when_bob_has_it_or_the_time_is_over(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    answer = ann.do(lambda r: happened.Post(r, "bob", "hi", wait="delivered"))
    assert answer["state"] == "delivered"
    bob_hears = ann.say(bob, "x")
    stage.cut()
    assert ann.ask(lambda r: happened.Post(r, "bob", "later", wait="delivered", timeout_s=5)) is None
    request = stage.requests
    stage.join(ann, bob)
    assert shown(bob, bob_hears).text == "x"
    stage.wait(1)
    assert isinstance(ann.answers[request], dict)


def test_the_same_key_is_the_same_message(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    first, again = ann.say(bob, "pay the rent", key="k1"), ann.say(bob, "pay the rent", key="k1")
    assert first == again
    stage.requests += 2
    a, b = stage.requests - 1, stage.requests
    ann.feed(happened.Post(a, "bob", "twice", key="k2"), happened.Post(b, "bob", "twice", key="k2"))
    assert ann.answers[a]["id"] == ann.answers[b]["id"]  # type: ignore[index]


def test_many_posts_in_a_batch_carry_one_signature(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    ann.say(bob, "first")
    ann.feed(*(happened.Post(1000 + n, "bob", f"burst {n}") for n in range(50)))
    ids = [str(ann.answers[1000 + n]["id"]) for n in range(50)]  # type: ignore[index]
    stored = [ann.ledger.events.get(EventId(bytes.fromhex(one))) for one in ids]
    assert sum(bool(event and event.signature) for event in stored) == 1
    stage.settle()
    stage.wait(1)
    assert [shown(bob, one).text for one in ids] == [f"burst {n}" for n in range(50)]
    assert all(shown(ann, one).state == "delivered" for one in ids)


def test_reading_is_told_only_if_the_reader_wishes(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    one = ann.say(bob, "private?")
    bob.do(lambda r: happened.ConfirmShown(r, "ann", (one,)))
    stage.wait(1)
    assert shown(ann, one).state == "delivered"
    bob.do(lambda r: happened.Configure(r, True))
    two = ann.say(bob, "public")
    bob.do(lambda r: happened.ConfirmShown(r, "ann", (two,)))
    stage.wait(1)
    assert shown(ann, two).state == "read"


def test_a_draft_becomes_a_message_when_it_is_due(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    draft = ann.say(bob, "tomorrow", at_ms=ann.now().wall_ms + 60_000)
    assert draft.startswith("draft-")
    ann.change("edit", draft, "the day after")
    stage.wait(61)
    sent = ann.ledger.outbox.draft(draft)
    assert sent is not None
    assert sent.sent_as is not None
    assert shown(bob, sent.sent_as.hex()).text == "the day after"


def test_a_restart_forgets_nothing(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    ann.say(bob, "before")
    stage.cut()
    queued = ann.say(bob, "while off")
    for actor in pair:
        actor.node.forget()
        actor.node.live = type(actor.node.live)(label=actor.name)
        actor.feed(happened.Started(26700))
    stage.join(ann, bob)
    stage.wait(1)
    assert shown(bob, queued).text == "while off"
    agree(ann, bob)


def test_views_can_be_computed_again_from_the_events(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    ids = [ann.say(bob, f"m{n}") for n in range(5)] + [bob.say(ann, f"r{n}") for n in range(5)]
    ann.change("edit", ids[0], "changed")
    ann.change("delete", ids[1])
    bob.change("react", ids[2], "🎉")
    stage.wait(1)
    before = [view(ann, one) for one in ids]
    ann.ledger.begin()
    rebuild_views(ann.node, ann.now())
    ann.ledger.commit()
    assert [view(ann, one) for one in ids] == before


def test_a_repeated_push_changes_nothing_but_is_answered(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    ann.say(bob, "once")
    pushed = [m for m in ann.sent if type(m).__name__ == "Events"]
    before = len(bob.sent)
    link = next(number for number, (end, _, _) in stage.links.items() if end is bob)
    bob.feed(happened.FromPeer(link, pushed[-1]))
    stage.wait(1)
    assert any(type(m).__name__ == "Receipt" for m in bob.sent[before:])
    agree(ann, bob)


def test_edits_before_delivery_leave_one_text_and_a_later_one_leaves_a_mark(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    stage.cut()
    note = ann.say(bob, "first words")
    ann.change("edit", note, "second words")
    ann.change("edit", note, "third words")
    kept = ann.ledger.serialize()
    assert b"second words" not in kept
    stage.join(ann, bob)
    stage.wait(1)
    assert (shown(bob, note).text, shown(bob, note).edited) == ("third words", False)
    room = rooms.direct_id(ann.account, bob.account)
    have = rooms.room(bob.look(), room).have[ann.device]
    assert len(have) == 1, "every event counts as had, the erased ones too"
    ann.change("edit", note, "fourth words")
    stage.wait(1)
    assert (shown(bob, note).text, shown(bob, note).edited) == ("fourth words", True)
    assert shown(ann, note).edited
    agree(ann, bob)


def test_a_deleted_message_leaves_no_text_anywhere_not_even_that_of_its_edits(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    note = ann.say(bob, "alpha words")
    ann.change("edit", note, "omega words")
    stage.wait(1)
    ann.change("delete", note)
    stage.wait(1)
    for actor in pair:
        assert (shown(actor, note).text, shown(actor, note).deleted) == (None, True)
        assert b"omega words" not in actor.ledger.serialize()
        for event in actor.ledger.events.run(
            rooms.direct_id(ann.account, bob.account), ann.device, 1, 99, 99
        ):
            assert event.kind not in (32, 33) or event.body is None
    stage.cut()
    stage.join(ann, bob)
    stage.wait(1)
    agree(ann, bob)


class Counted:
    """A store of views that counts what is read of touches."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.touches_read = self.chars_read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def touches(self, room: RoomId, target: EventId) -> list[Touch]:
        found: list[Touch] = self._store.touches(room, target)
        self.touches_read += len(found)
        self.chars_read += sum(len(one.value) for one in found)
        return found

    def touch(self, event: EventId) -> Touch | None:
        found: Touch | None = self._store.touch(event)
        self.touches_read += 1
        self.chars_read += len(found.value) if found else 0
        return found


def test_an_edit_reads_no_more_text_than_its_own_however_many_came_before(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    stage.join(ann, bob)
    note, words = ann.say(bob, "first words"), "w" * 2000
    for n in range(400):
        ann.change("edit", note, f"{n} {words}")
    counted = Counted(bob.ledger.views)
    bob.ledger.views = counted  # type: ignore[assignment]
    ann.change("edit", note, "last " + words)
    assert shown(bob, note).text == "last " + words
    assert 0 < counted.touches_read <= 2 * MAX_STANDING
    assert 0 < counted.chars_read <= 2 * len("last " + words)
    ann.change("delete", note)
    assert shown(bob, note).deleted
