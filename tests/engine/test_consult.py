"""Questions of diagnosis over chat links: passed on once, answered seldom, and nobody's victim is dialled."""

from __future__ import annotations

import pytest

from p2pchat.engine import consult, peers
from p2pchat.engine import inputs as happened
from p2pchat.engine.inputs import Consulted, Effect, Found
from p2pchat.engine.presence_inputs import SetPresence
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.network import Examine, Findings
from tests.engine.play import Actor, Stage


class Looker:
    """Collects what an actor is asked to look at."""

    def __init__(self, actor: Actor) -> None:
        self.seen: list[Effect] = []
        before = actor._perform

        def perform(effect: Effect) -> None:
            if isinstance(effect, Consulted | Found):
                self.seen.append(effect)
            before(effect)

        actor._perform = perform  # type: ignore[method-assign]


def three(stage: Stage) -> tuple[Actor, Actor, Actor]:
    """Ann is linked to Bob, Bob to Cyn."""
    ann, bob, cyn = (stage.actor(name) for name in ("ann", "bob", "cyn"))
    stage.join(ann, bob)
    stage.join(bob, cyn)
    return ann, bob, cyn


def link_to(one: Actor, other: Actor) -> int:
    return one.node.live.by_device[other.device]


def question(asker: Actor, of: Actor, *hosts: str, port: int = 26700, number: int = 7) -> Examine:
    return Examine(number, of.device, asker.device, hosts, port, "label")


def hears(one: Actor, other: Actor, message: Record) -> None:
    """`one` gets a frame from `other`."""
    one.feed(happened.FromPeer(link_to(one, other), message))
    one.stage.settle()


def answer(of: Actor, number: int, **more: object) -> Findings:
    given = {
        "number": number, "device": of.device, "absent": False, "dialled": (("10.0.0.1", "timeout"),),
        "sighted": True, "hears_itself": True, "discovery": "", "hosts": ("10.0.0.3",), "port": 26700,
        "version": "0.1.0", "wall_ms": 1,
    }  # fmt: skip
    return Findings(**(given | more))  # type: ignore[arg-type]


def test_a_question_is_passed_on_and_the_answer_back(stage: Stage) -> None:
    ann, bob, cyn = three(stage)
    looks, hears_back = Looker(cyn), Looker(ann)
    hears(bob, ann, question(ann, cyn, "10.9.9.9"))
    (asked,) = looks.seen
    assert isinstance(asked, Consulted)
    assert asked.hosts == ("10.9.9.9",)
    assert asked.question.asker == ann.device
    hears(bob, cyn, answer(cyn, asked.question.number))
    (found,) = hears_back.seen
    assert isinstance(found, Found)
    assert found.findings == answer(cyn, 7)
    hears(bob, cyn, answer(cyn, asked.question.number))
    assert len(hears_back.seen) == 1, "once"


def test_an_answer_goes_where_the_asker_is_by_then(stage: Stage) -> None:
    """Who has just met dials each other at once, and one of the two links goes."""
    ann, bob, cyn = three(stage)
    looks, hears_back = Looker(cyn), Looker(ann)
    hears(bob, ann, question(ann, cyn, "10.9.9.9"))
    (asked,) = looks.seen
    assert isinstance(asked, Consulted)
    assert asked.device == bob.device, "and not a link, which may go as well"
    before = link_to(bob, ann)
    stage.join(ann, bob)
    assert link_to(bob, ann) != before
    hears(bob, cyn, answer(cyn, asked.question.number))
    assert [found.findings for found in hears_back.seen if isinstance(found, Found)] == [answer(cyn, 7)]


def test_directly_only_where_the_question_comes_from_is_dialled(stage: Stage) -> None:
    ann, bob, _ = three(stage)
    looks = Looker(bob)
    hears(bob, ann, question(ann, bob, "10.9.9.9", "192.168.1.1"))
    hears(bob, ann, question(ann, bob, port=25))
    first, second = looks.seen
    assert isinstance(first, Consulted)
    assert isinstance(second, Consulted)
    assert first.hosts == (bob.node.live.links[link_to(bob, ann)].host,)
    assert second.hosts == ()


@pytest.mark.parametrize("host", ["8.8.8.8", "127.0.0.1", "fe80::1", "224.0.0.1", "printer.example"])
def test_through_a_third_nobody_is_made_to_dial_the_world(stage: Stage, host: str) -> None:
    ann, bob, cyn = three(stage)
    looks = Looker(cyn)
    hears(bob, ann, question(ann, cyn, host))
    (asked,) = looks.seen
    assert isinstance(asked, Consulted)
    assert asked.hosts == ()


def test_at_most_three_addresses(stage: Stage) -> None:
    ann, bob, cyn = three(stage)
    looks = Looker(cyn)
    hears(bob, ann, question(ann, cyn, *(f"10.9.9.{n}" for n in range(8))))
    (asked,) = looks.seen
    assert isinstance(asked, Consulted)
    assert len(asked.hosts) == consult.DIALLED


def test_a_question_is_passed_on_once_and_no_further(stage: Stage) -> None:
    """Who asks in another's name is not served: a chain of these would reach across the office."""
    ann, bob, cyn = three(stage)
    looks = Looker(cyn)
    dan = stage.actor("dan")
    hears(bob, ann, question(dan, cyn, "10.9.9.9"))
    assert looks.seen == []


def test_who_is_not_linked_is_said_to_be_absent(stage: Stage) -> None:
    ann, bob, _ = three(stage)
    dan = stage.actor("dan")
    looks = Looker(ann)
    hears(bob, ann, question(ann, dan))
    (found,) = looks.seen
    assert isinstance(found, Found)
    assert found.findings.absent


def test_an_answer_of_another_is_none(stage: Stage) -> None:
    """Eve, linked to Bob too, guesses the number under which Cyn was asked."""
    ann, bob, cyn = three(stage)
    eve = stage.actor("eve")
    stage.join(eve, bob)
    looks, asked = Looker(ann), Looker(cyn)
    hears(bob, ann, question(ann, cyn))
    (one,) = asked.seen
    assert isinstance(one, Consulted)
    hears(bob, eve, answer(cyn, one.question.number))
    assert looks.seen == []


def test_a_question_of_our_own_has_no_number_of_one_passed_on(stage: Stage) -> None:
    """Bob asks Cyn himself, under the number that comes next here, while one of Ann's is under way."""
    ann, bob, cyn = three(stage)
    asked, own = Looker(cyn), Looker(bob)
    hears(bob, ann, question(ann, cyn))
    hears(bob, cyn, answer(cyn, bob.node.live.counter))
    (found,) = own.seen
    assert isinstance(found, Found)
    (one,) = asked.seen
    assert isinstance(one, Consulted)
    passed_back = Looker(ann)
    hears(bob, cyn, answer(cyn, one.question.number))
    assert len(passed_back.seen) == 1, "and Ann has her answer"


@pytest.mark.parametrize(
    ("port", "known", "dialled"),
    [(26700, False, True), (26709, False, True), (8080, False, False), (8080, True, True)],
)
def test_nobody_looks_for_open_ports_for_others(stage: Stage, port: int, known: bool, dialled: bool) -> None:
    """What came of a dial is told, and where the asker is he says himself."""
    ann, bob, cyn = three(stage)
    looks = Looker(cyn)
    if known:
        cyn.write(lambda ctx: peers.remember(ctx, "10.9.9.9", port, ann.device, static=False))
    hears(bob, ann, question(ann, cyn, "10.9.9.9", port=port))
    (asked,) = looks.seen
    assert isinstance(asked, Consulted)
    assert asked.hosts == (("10.9.9.9",) if dialled else ())


def test_who_hides_is_absent_for_whom_he_hides_from_and_for_whom_they_ask(stage: Stage) -> None:
    ann, bob, cyn = three(stage)
    stage.join(ann, cyn)
    stage.hang_up(link_to(ann, cyn))
    looks, told = Looker(cyn), Looker(ann)
    cyn.ask(lambda r: SetPresence(r, None, hide_from=(ann.account.hex(),)))
    hears(bob, ann, question(ann, cyn, "10.9.9.9"))
    assert looks.seen == []
    assert [found.findings.absent for found in told.seen if isinstance(found, Found)] == [True]
    stage.mono += 60
    cyn.ask(lambda r: SetPresence(r, "invisible"))
    cyn.sent.clear()
    hears(bob, ann, question(ann, cyn, "10.9.9.9"))
    assert [found.findings.absent for found in told.seen if isinstance(found, Found)] == [True, True]
    assert cyn.sent == [], "who brought the question does not bring it to one who is not here"
    hears(cyn, bob, question(bob, cyn))
    assert looks.seen == []


def test_nobody_asks_without_end(stage: Stage) -> None:
    ann, bob, _ = three(stage)
    looks = Looker(bob)
    for number in range(50):
        hears(bob, ann, question(ann, bob, number=number))
    assert len(looks.seen) == consult.QUESTIONS
    stage.mono += 2 * consult.REFILLED_S
    for number in range(50):
        hears(bob, ann, question(ann, bob, number=number))
    assert len(looks.seen) == consult.QUESTIONS + 2


@pytest.mark.parametrize(
    "message",
    [
        Examine(1, b"short", bytes(32), (), 1, ""),
        Examine(1, bytes(32), b"short", (), 1, ""),
        Examine(1, bytes(32), bytes(32), ("h",) * 9, 1, ""),
        Examine(1, bytes(32), bytes(32), ("h" * 64,), 1, ""),
        Examine(1, bytes(32), bytes(32), (), 1, "l" * 64),
        Examine(1, bytes(32), bytes(32), (), 65536, ""),
        Examine(-1, bytes(32), bytes(32), (), 1, ""),
        Findings(1, b"short", False, (), True, True, "", (), 1, "", 1),
        Findings(1, bytes(32), False, (("10.0.0.1", ""),) * 9, True, True, "", (), 1, "", 1),
        Findings(1, bytes(32), False, (), True, True, "", ("10.0.0.1",) * 9, 1, "", 1),
        Findings(1, bytes(32), False, (), True, True, "", ("10.0.0.1; rm -r .",), 1, "", 1),
        Findings(1, bytes(32), False, (), True, True, "", ("fe80::1%`reboot`",), 1, "", 1),
        Findings(1, bytes(32), False, (("`reboot`", ""),), True, True, "", (), 1, "", 1),
        Findings(1, bytes(32), False, (("10.0.0.1", "$(reboot)"),), True, True, "", (), 1, "", 1),
        Findings(1, bytes(32), False, (), True, True, "", (), -1, "", 1),
        Findings(1, bytes(32), False, (), True, True, "", (), 1, "", -1),
        Findings(1, bytes(32), False, (), True, True, "x" * 201, (), 1, "", 1),
        Findings(1, bytes(32), False, (), True, True, "", (), 1, "v" * 33, 1),
    ],
)
def test_out_of_range(stage: Stage, message: Record) -> None:
    ann, bob, _ = three(stage)
    hears(bob, ann, message)
    assert bob.closed
