"""Random days of people who hide, come and go: what each is shown, and that nothing is lost by it.

Laws: whoever is linked is shown exactly what the other would tell him now; to whom somebody hides from
no receipt goes but when he is written to or its time has come; once all show themselves every message is
delivered everywhere. The seed is the name of the test.
"""

from __future__ import annotations

import random

import pytest

from p2pchat.engine import presence
from p2pchat.engine.presence_inputs import Active, DoNotDisturb, SetPresence, TypeIn
from p2pchat.ids import EventId
from p2pchat.wire.codec import Record
from p2pchat.wire.messages.link import ReadMark, Receipt, RegisterOffer
from p2pchat.wire.messages.presence import Typing
from p2pchat.wire.messages.registers import HAVE, READ
from tests.engine.play import Actor, Stage

NAMES = ("Ann", "Bob", "Carl", "Dora")
STEPS = 40


def tells(offer: RegisterOffer) -> bool:
    """Whether it says what has come or was read, and so that somebody is here."""
    return any(name.kind in (HAVE, READ) for name in offer.names)


TELLING = (Receipt, ReadMark, RegisterOffer, Typing)


class Day:
    """People on a stage, and dice."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.dice = random.Random(seed)
        self.people = [stage.actor(name, lobby=True) for name in NAMES]
        self.people.append(stage.actor("Ann's desk", lobby=True, of=self.people[0]))
        for one, other in ((0, 1), (0, 2), (1, 3), (1, 4)):
            stage.join(self.people[one], self.people[other])
        self.said: list[tuple[Actor, str]] = []
        self.told: list[tuple[Actor, Actor, Record]] = []
        carry = stage.carry

        def note(sender: Actor, link: int, message: Record) -> None:
            if link in stage.links and isinstance(message, TELLING):
                self.told.append((sender, stage.links[link][1], message))
            carry(sender, link, message)

        stage.carry = note  # type: ignore[method-assign]

    def linked(self, one: Actor, other: Actor) -> bool:
        return other.device in one.node.live.by_device

    def pairs(self) -> list[tuple[Actor, Actor]]:
        return [(a, b) for a in self.people for b in self.people if a is not b]

    def step(self) -> None:
        who, other = self.dice.sample(self.people, 2)
        match self.dice.randrange(12):
            case 0 | 1:
                if not self.linked(who, other):
                    self.stage.join(who, other)
            case 2:
                for number, (one, far, _) in list(self.stage.links.items()):
                    if {one.device, far.device} == {who.device, other.device}:
                        self.stage.hang_up(number)
            case 3:
                who.node.forget()
            case 4 | 5 | 6:
                self.choose(who)
            case 7 | 8:
                if other.account != who.account and other.account in who.look().cache.accounts:
                    self.said.append((who, who.say(other, f"word {len(self.said)}")))
            case 9:
                who.ask(lambda r: DoNotDisturb(r, on=self.dice.random() < 0.5))
            case 10:
                who.ask(self.dice.choice([Active, lambda r: TypeIn(r, other.account.hex(), on=True)]))
            case _:
                self.stage.wait(self.dice.choice([1, 1, 30, 30, 30, 700, 4000]))
        self.stage.settle()

    def choose(self, who: Actor) -> None:
        known = [a.account.hex() for a in self.people if a.account in who.look().cache.accounts]
        known = [one for one in known if one != who.account.hex()]
        until = who.now().wall_ms + self.dice.choice([1000, 600_000])
        who.ask(
            lambda r: SetPresence(
                r,
                self.dice.choice([None, "available", "away", "busy", "invisible"]),
                message=self.dice.choice(["", "x", "y"]),
                until_ms=self.dice.choice([None, until]),
                hide_from=tuple(one for one in known if self.dice.random() < 0.2),
                hide_direct=self.dice.random() < 0.2,
                hide_rooms=self.dice.random() < 0.2,
                show_all=self.dice.random() < 0.4,
            )
        )

    def everybody_is_shown_what_he_may_see(self) -> None:
        for who, whom in self.pairs():
            seen = presence.shown(who.look(), whom.device)
            if not self.linked(who, whom):
                assert seen == presence.HIDDEN
                continue
            assert seen == presence.word_for(whom.look(), who.account), f"{who.name} of {whom.name}"

    def nothing_tells_of_the_hidden(self, before: dict[tuple[bytes, bytes], bool], *, quiet: bool) -> None:
        """`before`: whom each saw; `quiet`: nobody wrote or waited, so that no receipt was due."""
        for sender, to, message in self.told:
            hid = not presence.visible_to(sender.look(), to.account)
            if isinstance(message, RegisterOffer) and not tells(message):
                continue  # a prekey says nothing of when one is here
            if hid and not before[sender.device, to.device] and (quiet or isinstance(message, Typing)):
                raise AssertionError(f"{sender.name}, hidden, told {to.name} {type(message).__name__}")


@pytest.mark.parametrize("seed", range(12))
def test_a_day_of_hiding(seed: int, stage: Stage) -> None:
    day = Day(stage, seed)
    for _ in range(STEPS):
        before = {(a.device, b.device): presence.visible_to(a.look(), b.account) for a, b in day.pairs()}
        day.told.clear()
        said, mono = len(day.said), stage.mono
        day.step()
        day.everybody_is_shown_what_he_may_see()
        day.nothing_tells_of_the_hidden(before, quiet=len(day.said) == said and stage.mono == mono)
    for who, whom in day.pairs():
        if not day.linked(who, whom):
            stage.join(who, whom)
    for who in day.people:
        who.ask(lambda r: SetPresence(r, "available", show_all=True))
    stage.wait(120)
    day.everybody_is_shown_what_he_may_see()
    for author, ident in day.said:
        view = author.ledger.views.message(EventId(bytes.fromhex(ident)))
        assert view is not None
        assert view.state == "delivered", f"{author.name}: {view.text}"
    assert day.said
