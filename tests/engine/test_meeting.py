"""Machines with several addresses, and links that come up in another order at either end."""

from __future__ import annotations

from p2pchat.engine import inputs as happened
from p2pchat.engine import overview, peers, underway
from p2pchat.engine.door_inputs import Answered, AtTheDoor
from tests.engine.play import Actor, Stage


def up(end: Actor, far: Actor, number: int, *, first: bool, host: str = "192.0.2.9") -> None:
    """A handshake as `end` sees it."""
    hello = overview.hello(far.look())
    end.feed(
        happened.LinkUp(
            number,
            far.device,
            far.account,
            hello.statements,
            hello.registers,
            first,
            host,
            26700,
            b"h" * 64,
            far.now().wall_ms,
        )
    )


def test_two_links_that_come_up_in_another_order_leave_one_that_both_use(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.links = {1: (ann, bob, 2), 2: (bob, ann, 1), 3: (ann, bob, 4), 4: (bob, ann, 3)}
    up(ann, bob, 1, first=True)
    up(bob, ann, 4, first=False)  # bob meets the second one first
    up(bob, ann, 2, first=False)
    up(ann, bob, 3, first=True)  # to ann the second is the newer: she closes the first
    stage.settle()
    assert sorted(stage.links) == [3, 4]
    assert ann.node.live.by_device[bob.device] == 3
    assert bob.node.live.by_device[ann.device] == 4
    assert ann.say(bob, "still here")
    stage.wait(1)
    assert bob.ledger.views.unread(overview.conversation(bob.look(), "ann").room, 9)


def test_the_addresses_of_one_machine_are_dialled_one_after_the_other(stage: Stage) -> None:
    ann = stage.actor("ann")
    ann.feed(happened.Sighted("zed", ("192.0.2.7", "fe80::7%eth0", "fd00::7"), 26700, (b"t" * 8,)))
    assert len(stage.dials) == 1
    ann.feed(happened.TimerFired("peers"))
    assert len(stage.dials) == 1
    for wanted in (2, 3):
        stage.mono += 0.6
        ann.feed(happened.TimerFired("peers"))
        assert len(stage.dials) == wanted


def test_an_address_that_answers_has_longer_before_the_next_is_tried(stage: Stage) -> None:
    ann = stage.actor("ann")
    ann.feed(happened.Sighted("zed", ("192.0.2.7", "fd00::7"), 26700, (b"t" * 8,)))
    ann.feed(Answered(stage.dials[0][1].dial))
    stage.mono += underway.PROVES_S - 0.1
    ann.feed(happened.TimerFired("peers"))
    assert len(stage.dials) == 1, "its handshake is under way"
    stage.mono += 0.2
    ann.feed(happened.TimerFired("peers"))
    assert len(stage.dials) == 2, "there may be nobody behind it"


def test_an_answer_is_forgotten_with_its_dial(stage: Stage) -> None:
    ann = stage.actor("ann")
    ann.feed(happened.Sighted("zed", ("192.0.2.7", "fd00::7"), 26700, (b"t" * 8,)))
    ann.feed(Answered(stage.dials[0][1].dial))
    ann.feed(happened.DialFailed(stage.dials[0][1].dial, "closed"))
    stage.mono += 0.7
    ann.feed(happened.TimerFired("peers"))
    assert [dial.host for _, dial in stage.dials[:2]] == ["192.0.2.7", "fd00::7"]
    ann.feed(Answered(stage.dials[0][1].dial))
    assert not any(target.answered for target in ann.node.live.targets.values()), "of a dial that is over"


def test_who_is_at_the_door_is_not_dialled_meanwhile(stage: Stage) -> None:
    """Whatever address he comes from, if it is one he announces; and not without end."""
    ann = stage.actor("ann")
    ann.feed(AtTheDoor("fd00::7", over=False))
    ann.feed(happened.Sighted("zed", ("192.0.2.7", "fd00::7"), 26700, (b"t" * 8,)))
    ann.feed(happened.Sighted("zoe", ("192.0.2.8",), 26700, (b"t" * 8,)))
    assert [dial.host for _, dial in stage.dials] == ["192.0.2.8"]
    for _ in range(20):
        stage.mono += underway.PROVES_S / 10
        ann.feed(AtTheDoor("fd00::7", over=False))
        ann.feed(happened.TimerFired("peers"))
    assert "192.0.2.7" in [dial.host for _, dial in stage.dials], "who knocks without end is dialled"


def test_whose_handshake_came_to_nothing_is_dialled_again(stage: Stage) -> None:
    ann = stage.actor("ann")
    ann.feed(AtTheDoor("192.0.2.7", over=False))
    ann.feed(AtTheDoor("192.0.2.7", over=True))
    assert ann.node.live.at_the_door == {}
    ann.feed(happened.Sighted("zed", ("192.0.2.7",), 26700, (b"t" * 8,)))
    assert len(stage.dials) == 1


def test_whose_announcement_is_read_after_he_has_come_is_not_dialled(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.links = {1: (ann, bob, 2), 2: (bob, ann, 1)}
    up(ann, bob, 1, first=False)
    ann.feed(happened.Sighted("zed", ("fd00::9", "192.0.2.9"), 26700, (b"t" * 8,)))
    stage.mono += 10
    ann.feed(happened.TimerFired("peers"))
    assert stage.dials == []
    assert ann.node.live.sights["zed"].device == bob.device
    ann.feed(happened.Sighted("zed2", ("fd00::9", "192.0.2.9"), 26701, (b"t" * 8,)))
    assert [dial.port for _, dial in stage.dials] == [26701], "another listener there is somebody else"


def test_where_many_are_to_be_met_whoever_is_to_dial_has_longer(stage: Stage) -> None:
    ann = stage.actor("ann")
    for number in range(30):
        ann.feed(happened.Sighted(f"!{number:02}", (f"192.0.2.{number}",), 26700, (b"t" * 8,)))
    assert ann.node.live.label > "!99", "they dial first"
    stage.mono += peers.SECOND_DIALLER_S + 30 * underway.EACH_S - 0.1
    ann.feed(happened.TimerFired("peers"))
    assert stage.dials == []
    stage.mono += 0.2
    ann.feed(happened.TimerFired("peers"))
    assert stage.dials


def test_an_inbound_link_says_whose_the_announcement_was(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    ann.feed(happened.Sighted("zed", ("192.0.2.9",), 26700, (b"t" * 8,)))
    ann.feed(happened.DialFailed(stage.dials[0][1].dial, "timeout"))
    stage.links = {1: (ann, bob, 2), 2: (bob, ann, 1)}
    up(ann, bob, 1, first=False)
    assert ann.node.live.targets["192.0.2.9", 26700].device == bob.device
    assert ann.node.live.sights["zed"].device == bob.device
    before = len(stage.dials)
    stage.mono += 30
    ann.feed(happened.TimerFired("peers"))
    assert len(stage.dials) == before, "whoever is here is not dialled"


def test_who_is_not_let_in_does_not_come_back_at_once_for_ever(stage: Stage) -> None:
    """A refusal is heard after the handshake: it must not count as a link that was good."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    ann.do(lambda r: happened.SetTrust(r, "block", "bob"))
    assert stage.links == {}
    bob.feed(happened.Sighted("zed", ("192.0.2.3",), 26700, (b"t" * 8,)))
    began, dialled = stage.mono, list[float]()
    while stage.mono < began + 1500:
        stage.mono += 0.25
        bob.feed(happened.TimerFired("peers"))
        while stage.dials:
            _, dial = stage.dials.pop()
            dialled.append(stage.mono - began)
            stage.join(bob, ann, dial.dial)
    assert sum(at < 600 for at in dialled) < 300
    assert 10 < sum(at > 900 for at in dialled) < 60, "less and less, but never given up"


def test_a_machine_that_dials_without_end_keeps_few_links(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.links = {n: (ann, bob, -n) for n in range(1, 20)} | {-n: (bob, ann, n) for n in range(1, 20)}
    for number in range(1, 20):
        up(ann, bob, number, first=False)
    assert len(ann.node.live.links) <= 4
