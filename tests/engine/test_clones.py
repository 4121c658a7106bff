"""A restored backup, a copied profile: what is proof of one, what is not, and how it goes on."""

from __future__ import annotations

from dataclasses import replace

from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine import clones, overview, own, people, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.accounts import device_id
from p2pchat.engine.context import Me
from p2pchat.engine.device_inputs import RenameDevice, Renew
from p2pchat.engine.node import Node
from p2pchat.wire.messages.link import Receipt
from tests.engine.play import Actor, Dice, Stage


def _told(actor: Actor, kind: str) -> list[object]:
    return [tell.subject for tell in actor.told if tell.type == kind]


def _warned(actor: Actor) -> int:
    return sum(isinstance(one, tuple) and one[0] == "clone" for one in _told(actor, "warning"))


def _queued(actor: Actor) -> int:
    return len(actor.ledger.views.waiting(None))


def _texts(actor: Actor, whom: Actor) -> list[str | None]:
    room = overview.conversation(actor.look(), whom.account.hex()).room
    cached = rooms.room(actor.look(), room)
    events = [e for d, h in cached.heads.items() for e in actor.ledger.events.run(room, d, 1, h.seq, 99)]
    views = [actor.ledger.views.message(e.id) for e in sorted(events, key=lambda e: (e.hlc, e.id))]
    return [view.text for view in views if view is not None]


def _copy(stage: Stage, of: Actor) -> Actor:
    """A profile whose archive was lost or is older: the same keys, nothing of what they wrote."""
    return stage.actor(of.name)


def _renewed(actor: Actor) -> None:
    """What the daemon does: keys, their statement, and the node again over the same archive."""
    dice = Dice("new keys of " + actor.name)
    seed, noise = dice.bytes(32), x25519_public(dice.bytes(32))
    public, key = ed25519_keypair(seed)
    told = actor.do(lambda r: Renew(r, public, noise))
    before = actor.node
    mine = device_id(actor.account, public)
    actor.me = Me(actor.account, mine, seed, key, noise, told["statements"])  # type: ignore[arg-type]
    actor.stage.cut()
    actor.node = Node(actor.me, actor.ledger, dice, name=actor.name, label=actor.name, keep_name=True)
    assert before is not actor.node
    actor.feed(happened.Started(26700))


def test_own_events_that_are_not_here_prove_a_copy_and_are_taken_in(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    for text in ("one", "two", "three"):
        ann.say(bob, text)
    stage.cut()
    copy = _copy(stage, ann)
    assert _told(copy, clones.RENEW) == []
    stage.join(copy, bob)
    stage.wait(5)
    assert _texts(copy, bob) == ["one", "two", "three"]
    assert _told(copy, clones.RENEW) == [ann.device], "once, however much there was"
    assert _told(copy, "warning").count(("clone", clones.TEXT)) == 1
    assert (_told(ann, clones.RENEW), _warned(ann)) == ([], 0), "who had it all has nothing to notice"


def test_an_own_register_that_is_newer_proves_one_too(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.do(lambda r: happened.Rename(r, "Anna"))
    stage.cut()
    copy = _copy(stage, ann)
    stage.join(copy, bob)
    assert _told(copy, clones.RENEW) == [ann.device]


def test_a_peer_who_only_says_so_proves_nothing(stage: Stage) -> None:
    ann, eve = stage.actor("ann"), stage.actor("eve")
    stage.join(ann, eve)
    ann.say(eve, "one")
    room = overview.conversation(ann.look(), "eve").room
    number = next(n for n, (end, _, _) in stage.links.items() if end is ann)
    ann.feed(happened.FromPeer(number, Receipt(room, ann.device, ((1, 500),), bytes(32))))
    stage.wait(30)
    assert _warned(ann) == 1, "it is told"
    assert _told(ann, clones.RENEW) == []


def _up(actor: Actor, number: int, *, dialled: bool, handshake: bytes) -> None:
    hello = overview.hello(actor.look())
    actor.feed(
        happened.LinkUp(
            number, actor.device, actor.account, hello.statements, hello.registers, dialled, "192.0.2.1",
            26700, handshake, actor.now().wall_ms,
        )
    )  # fmt: skip


def test_a_link_to_ourselves_is_no_copy_and_one_from_nobody_here_is(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)  # so that her timers ring
    for first, second in ((True, False), (False, True)):
        handshake = bytes((first,)) * 64
        _up(ann, 90, dialled=first, handshake=handshake)
        _up(ann, 91, dialled=second, handshake=handshake)
        stage.wait(clones.PROVEN_S + 1)
    _up(ann, 92, dialled=True, handshake=b"led back, and the last message lost" * 2)
    stage.wait(clones.PROVEN_S + 1)
    assert _told(ann, clones.RENEW) == []
    _up(ann, 93, dialled=False, handshake=b"x" * 64)
    assert _told(ann, clones.RENEW) == [], "its other end may be in the inbox still"
    stage.wait(clones.PROVEN_S + 1)
    assert _told(ann, clones.RENEW) == [ann.device]


def test_a_deadline_of_the_id_before_proves_nothing_about_the_new_one(stage: Stage) -> None:
    ann = stage.actor("ann")
    _up(ann, 93, dialled=False, handshake=b"x" * 64)
    _renewed(ann)  # something else proved it first; who keeps the deadlines outlives the node
    ann.feed(happened.TimerFired("copy:" + (b"x" * 64).hex()))
    assert (_told(ann, clones.RENEW), _warned(ann)) == ([], 0)


def test_who_lost_the_archive_is_called_what_others_know(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    stage.cut()
    copy = stage.actor("ann", named=False)
    assert people.name(copy.look(), copy.account) == copy.account.hex()[:8], "nothing is made up"
    stage.join(copy, bob)
    assert people.name(copy.look(), copy.account) == "ann"
    _renewed(copy)
    stage.join(copy, bob)
    carl = stage.actor("carl")
    stage.join(carl, copy)
    for one in (copy, bob, carl):
        assert people.name(one.look(), copy.account) == "ann", one.name


def test_what_was_noticed_is_not_forgotten_by_a_crash(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.say(bob, "one")
    stage.cut()
    copy = _copy(stage, ann)
    stage.join(copy, bob)
    stage.cut()
    copy.told.clear()
    copy.node = Node(copy.me, copy.ledger, Dice("again"), name="ann", label="ann", keep_name=True)
    copy.feed(happened.Started(26700))
    assert _told(copy, clones.RENEW) == [ann.device]


def test_under_the_new_id_all_goes_on_and_nothing_of_either_is_lost(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.say(bob, "one")
    bob.say(ann, "two")
    stage.cut()
    copy = _copy(stage, ann)
    stage.join(copy, bob)
    stage.wait(5)
    old = copy.device
    _renewed(copy)
    assert copy.device != old
    assert clones.left_behind(copy.look()) == old
    stage.join(copy, bob)
    stage.join(ann, bob)
    stage.join(copy, ann)
    stage.wait(5)
    copy.say(bob, "three, from the copy")
    ann.say(bob, "four, from the original")
    stage.wait(5)
    wanted = ["one", "two", "three, from the copy", "four, from the original"]
    for one, other in ((bob, ann), (ann, bob), (copy, bob)):
        assert _texts(one, other) == wanted, one.name
    assert (_queued(copy), _queued(ann)) == (0, 0), "what each wrote is delivered, and it knows"
    assert (_warned(ann), _told(ann, clones.RENEW)) == (0, []), "its id is its own now"
    assert len(bob.look().cache.accounts[ann.account].active()) == 2


def test_what_waited_under_the_old_id_goes_out_and_is_not_queued_for_ever(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.say(bob, "one")
    stage.cut()
    copy = _copy(stage, ann)
    stage.join(copy, bob)
    stage.wait(2)
    stage.cut()
    copy.say(bob, "said while nobody was there")
    assert _queued(copy) >= 1
    _renewed(copy)
    assert _queued(copy) == 0
    stage.join(copy, bob)
    stage.wait(5)
    assert _texts(bob, ann) == ["one", "said while nobody was there"]


def test_a_machine_with_one_archive_never_changes(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    for turn in range(4):
        stage.join(ann, bob)
        ann.say(bob, f"turn {turn}")
        stage.wait(70)
        stage.cut()
        ann.node = Node(
            replace(ann.me), ann.ledger, Dice(f"life {turn}"), name="ann", label="ann", keep_name=True
        )
        ann.feed(happened.Started(26700))
    assert _told(ann, clones.RENEW) == []
    assert clones.left_behind(ann.look()) is None


def test_a_long_name_in_any_script_is_the_one_before(stage: Stage) -> None:
    """Cut in the middle of a letter it would end every link between one's own machines, for good."""
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    name = "x" + "ä" * 63
    pc.do(lambda r: RenameDevice(r, pc.device.hex(), name))
    before = pc.device
    pc.do(lambda r: Renew(r, ed25519_keypair(b"s" * 32)[0], x25519_public(b"n" * 32)))
    assert laptop.closed == []
    assert (
        own.device_name(laptop.look(), before)
        == own.device_name(pc.look(), before)
        == name[:55] + " (before)"
    )
