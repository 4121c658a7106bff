"""A machine of a member is lost: how its revocation reaches rooms.

No command states it yet; here the person signs the statement, and a machine hears it on a link.
"""

from __future__ import annotations

import pytest

from p2pchat.crypto import epochs as crypto
from p2pchat.engine import inputs as happened
from p2pchat.engine import keys, overview, rooms
from p2pchat.engine.accounts import make_statement
from p2pchat.engine.node import Node
from p2pchat.ids import DeviceId, RoomId
from p2pchat.model import StoredEvent
from p2pchat.wire.codec import decode
from p2pchat.wire.messages import events as ev
from p2pchat.wire.messages import rooms as wire
from p2pchat.wire.messages import statements
from p2pchat.wire.messages.link import Statements
from tests.engine.forging import Hand
from tests.engine.play import Actor, Dice, Stage
from tests.engine.test_rooms import act, create, link_of, say, texts

REFUSED_S = 5.0
OTHERS_S = 10.0
"""Where no owner is on the line another member says it within 1 to 10 s."""


class Cast:
    """Ann's room with Bob and Cem; the pad is Bob's second machine."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ann, self.bob, self.cem = (stage.actor(name) for name in ("ann", "bob", "cem"))
        self.pad = stage.actor("pad", of=self.bob)
        self.people = (self.ann, self.bob, self.cem)
        self.meet(self.ann, self.bob, self.cem, self.pad)
        self.room = create(self.ann)
        act(self.ann, "invite", "launch", self.bob, self.cem)
        say(self.ann, "launch", "hello")
        say(self.pad, "launch", "from my pad")

    def meet(self, *actors: Actor) -> None:
        for number, one in enumerate(actors):
            for other in actors[number + 1 :]:
                self.stage.join(one, other)

    def revoke(self, *hear: Actor) -> None:
        """Bob states that the pad is his no more; `hear` are told by him, he himself by the first."""
        known = self.bob.look().cache.accounts[self.bob.account]
        body = statements.Revoked(self.pad.device)
        gone = make_statement(
            self.bob.me.signing_seed, self.bob.account, known.heads, statements.REVOKE, body
        )
        for one in hear:
            on = link_of(one, self.bob) if one is not self.bob else link_of(one, hear[0])
            one.feed(happened.FromPeer(on, Statements((gone,))))
        self.stage.settle()


@pytest.fixture
def cast(stage: Stage) -> Cast:
    return Cast(stage)


def of_kind(actor: Actor, room: RoomId, kind: int) -> list[StoredEvent]:
    return [event for event in actor.ledger.events.control(room) if event.kind == kind]


def sealed_for(actor: Actor, room: RoomId, epoch: bytes) -> set[DeviceId]:
    found = set()
    for event in of_kind(actor, room, ev.SEAL):
        body = decode(ev.Seal, event.body or b"")
        if body.epoch_id == epoch:
            found |= {DeviceId(sealed.device) for sealed in body.keys}
    return found


def test_the_pad_is_a_machine_of_bobs_and_reads_what_he_reads(cast: Cast) -> None:
    for one in (*cast.people, cast.pad):
        assert texts(one, cast.room) == ["hello", "from my pad"], one.name


def test_members_refuse_it_say_so_with_the_proof_and_start_a_key_without_it(cast: Cast) -> None:
    stage, room = cast.stage, cast.room
    before = {bytes(one) for one in rooms.room(cast.ann.look(), room).epochs}
    cast.revoke(*cast.people)
    assert not any(cast.pad in (end, far) for end, far, _ in stage.links.values()), "sessions end at once"
    stage.wait(REFUSED_S)
    for one in cast.people:
        [revoke] = of_kind(one, room, ev.REVOKE)
        body = decode(wire.Revoke, revoke.body or b"")
        assert body.device == cast.pad.device
        assert len(body.proof) == 2, "the statement and its signature"
        graph = rooms.room(one.look(), room).graph
        assert graph.revoked == {cast.pad.device: revoke.id}
        assert cast.bob.account in graph.members, "the person stays"
    fresh = [one for one in rooms.room(cast.cem.look(), room).epochs if bytes(one) not in before]
    assert len(fresh) == 1, "one new key, by who said it"
    assert sealed_for(cast.cem, room, fresh[0]) == {cast.ann.device, cast.bob.device, cast.cem.device}
    say(cast.cem, "launch", "without the pad")
    for one in cast.people:
        assert texts(one, room) == ["hello", "from my pad", "without the pad"], one.name
    stage.join(cast.pad, cast.cem)
    stage.wait(70)
    assert texts(cast.pad, room) == ["hello", "from my pad"]
    assert fresh[0] not in [e for e, row in rooms.room(cast.pad.look(), room).epochs.items() if row.key]


def test_what_it_writes_afterwards_is_refused_before_anybody_said_so_in_the_room(cast: Cast) -> None:
    stage, room = cast.stage, cast.room
    stage.hang_up(link_of(cast.cem, cast.ann))  # or she would hear it, and say it first
    stage.hang_up(link_of(cast.bob, cast.ann))
    cast.revoke(cast.cem)  # a member, whose turn comes after 1 to 10 s; ann and bob hear nothing yet
    assert of_kind(cast.cem, room, ev.REVOKE) == []
    say(cast.pad, "launch", "by a thief")
    assert texts(cast.bob, room)[-1] == "by a thief", "he has not heard it"
    stage.join(cast.bob, cast.cem)  # bob would hand it over
    assert texts(cast.cem, room) == ["hello", "from my pad"]
    stage.wait(OTHERS_S)
    stage.join(cast.ann, cast.bob)
    for one in cast.people:
        assert len(of_kind(one, room, ev.REVOKE)) == 1, one.name
        assert texts(one, room) == ["hello", "from my pad"], f"{one.name}: above the cut, void everywhere"


def test_a_revoked_machine_says_nothing_of_itself_and_starts_no_key(cast: Cast) -> None:
    """It hears of it first: whoever took its act and its key would write what it can read."""
    stage, room = cast.stage, cast.room
    before = len(cast.pad.ledger.events.control(room))
    stage.cut()
    cast.meet(cast.bob, cast.pad)
    cast.revoke(cast.pad)
    assert cast.pad.look().cache.accounts[cast.bob.account].devices[cast.pad.device].revoked
    stage.wait(OTHERS_S + 1)
    assert len(cast.pad.ledger.events.control(room)) == before


def test_a_key_that_the_revoked_machine_prepared_for_the_time_after_is_not_used(cast: Cast) -> None:
    """It announced one for exactly those who may read once it is out, and gave it to Cem. He hears that
    it is revoked, and of no other key."""
    room = cast.room
    hand, key = Hand(cast.pad, room), b"k" * 32
    accounts = rooms.room(cast.cem.look(), room).accounts
    after = keys._hash_of(accounts, (cast.pad.device,))
    epoch = crypto.epoch_id(key)
    prekey = cast.cem.look().cache.own_prekeys[1]
    box = crypto.seal_epoch_key(prekey.public, key, bytes(range(32)))
    announced = hand.write(ev.EPOCH, ev.Epoch(1, epoch, 9, after, True))
    given = hand.write(ev.SEAL, ev.Seal(1, epoch, (ev.SealedKey(cast.cem.device, 1, box),)))
    for one in (cast.bob, cast.cem):
        hand.give(one, announced, given)
    assert rooms.room(cast.cem.look(), room).epochs[epoch].key == key
    known = cast.bob.look().cache.accounts[cast.bob.account]
    gone = make_statement(
        cast.bob.me.signing_seed,
        cast.bob.account,
        known.heads,
        statements.REVOKE,
        statements.Revoked(cast.pad.device),
    )
    head = rooms.room(cast.cem.look(), room).heads[cast.pad.device]
    cut = (wire.Cut(cast.pad.device, head.seq, head.id),)  # all it wrote so far stands
    proof = (gone.statement, gone.signature)
    said = Hand(cast.bob, room)
    said.give(cast.cem, said.write(ev.REVOKE, wire.Revoke(1, cast.pad.device, proof, cut)))
    cached = rooms.room(cast.cem.look(), room)
    assert set(cached.graph.revoked) == {cast.pad.device}
    assert cached.graph.void == {}
    assert overview.room_view_of(cast.cem.look(), cached).epoch is None
    say(cast.cem, "launch", "not to the pad")
    used = rooms.room(cast.cem.look(), room).sending
    assert used is not None
    assert used.epoch != epoch


def test_the_owner_speaks_first_and_of_several_others_one(cast: Cast) -> None:
    stage, room = cast.stage, cast.room
    cast.revoke(*cast.people)
    stage.wait(OTHERS_S + 1)
    [revoke] = of_kind(cast.cem, room, ev.REVOKE)
    assert revoke.device == cast.ann.device
    epochs = [event.device for event in of_kind(cast.cem, room, ev.EPOCH)]
    assert epochs[-1:] == [cast.ann.device]
    assert len(epochs) == len(rooms.room(cast.ann.look(), room).epochs)


def test_with_the_owner_off_another_member_speaks(cast: Cast) -> None:
    stage, room = cast.stage, cast.room
    stage.cut()
    cast.meet(cast.bob, cast.cem)
    cast.revoke(cast.cem, cast.bob)
    stage.wait(OTHERS_S)
    [revoke] = of_kind(cast.cem, room, ev.REVOKE)
    assert revoke.device in (cast.bob.device, cast.cem.device)
    cast.meet(cast.ann, cast.bob)
    stage.wait(2)
    assert [event.id for event in of_kind(cast.ann, room, ev.REVOKE)] == [revoke.id]
    say(cast.ann, "launch", "I am back")
    assert texts(cast.bob, room)[-1] == "I am back"


def test_who_is_stopped_before_he_has_said_it_says_it_when_he_is_up_again(cast: Cast) -> None:
    """He is the only one who has heard: the statement is in his archive, the time to speak was not."""
    cem = cast.cem
    cast.revoke(cem)
    assert cast.pad.device not in rooms.room(cem.look(), cast.room).graph.revoked
    cast.stage.cut()
    cem.node = Node(cem.me, cem.ledger, Dice("again"), name="cem")
    cem.timers.clear()
    cem.feed(happened.Started(26700))
    cast.stage.join(cem, cast.stage.actor("nobody"))
    cast.stage.wait(30)
    assert cast.pad.device in rooms.room(cem.look(), cast.room).graph.revoked


def test_a_machine_that_was_off_learns_it_with_the_room(cast: Cast) -> None:
    """Nobody told Cem of the statement itself: it comes with the act that it proves."""
    stage, room = cast.stage, cast.room
    stage.cut()
    cast.meet(cast.ann, cast.bob)
    cast.revoke(cast.ann, cast.bob)
    stage.wait(REFUSED_S)
    say(cast.ann, "launch", "new key")
    stage.cut()
    cast.meet(cast.ann, cast.cem)
    stage.wait(2)
    assert len(of_kind(cast.cem, room, ev.REVOKE)) == 1
    assert cast.pad.device in rooms.room(cast.cem.look(), room).graph.revoked
    assert texts(cast.cem, room)[-1] == "new key"
    say(cast.cem, "launch", "not to the pad")
    used = rooms.room(cast.cem.look(), room).sending
    assert used is not None
    assert cast.pad.device not in sealed_for(cast.ann, room, used.epoch)


def test_a_false_proof_revokes_nobody(cast: Cast) -> None:
    """Cem, a member, claims it with a statement that he signed himself, then with the right one."""
    known = cast.bob.look().cache.accounts[cast.bob.account]
    body = statements.Revoked(cast.pad.device)
    hand = Hand(cast.cem, cast.room)
    for signer, revoked in ((cast.cem, {}), (cast.bob, {cast.pad.device})):
        said = make_statement(signer.me.signing_seed, cast.bob.account, known.heads, statements.REVOKE, body)
        proof = (said.statement, said.signature)
        act = hand.write(ev.REVOKE, wire.Revoke(1, cast.pad.device, proof, ()), goes_on=False)
        hand.give(cast.ann, act)
        assert set(rooms.room(cast.ann.look(), cast.room).graph.revoked) == set(revoked)
    assert texts(cast.ann, cast.room) == ["hello"], "a cut at 0 hides all the pad wrote"


def test_a_proof_that_shows_nothing_yet_is_judged_again_with_the_statement(cast: Cast) -> None:
    """The pad was added by the phone, whose own statement Ann lacks: to her the pad's signer is nobody.
    What Cem knows to be revoked must be so for her as soon as she hears of the phone."""
    phone = cast.stage.actor("phone", of=cast.bob)
    known = cast.bob.look().cache.accounts[cast.bob.account]
    gone = make_statement(
        phone.me.signing_seed,
        cast.bob.account,
        known.heads,
        statements.REVOKE,
        statements.Revoked(cast.pad.device),
    )
    hand = Hand(cast.cem, cast.room)
    body = wire.Revoke(1, cast.pad.device, (gone.statement, gone.signature), ())
    hand.give(cast.ann, hand.write(ev.REVOKE, body, goes_on=False))
    assert set(rooms.room(cast.ann.look(), cast.room).graph.revoked) == set()
    assert texts(cast.ann, cast.room) == ["hello", "from my pad"]
    cast.stage.join(cast.ann, phone)
    assert set(rooms.room(cast.ann.look(), cast.room).graph.revoked) == {cast.pad.device}
    assert texts(cast.ann, cast.room) == ["hello"]
