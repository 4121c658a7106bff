"""People who only come and go leave little behind, and push out nobody who matters."""

from __future__ import annotations

import pytest

from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine import hearsay, overview, peers, quota, rooms
from p2pchat.engine import inputs as happened
from p2pchat.engine.accounts import make_genesis, make_statement, read_statement
from p2pchat.engine.node import Node
from p2pchat.engine.presence_inputs import SetPresence
from p2pchat.wire.limits import MAX_ADDRESSES, MAX_UNKNOWN_PEERS
from p2pchat.wire.messages.holders import Handed, Waiting
from p2pchat.wire.messages.link import Statements
from p2pchat.wire.messages.statements import ADD, DeviceKeys, SignedStatement
from tests.engine.holders_play import tell
from tests.engine.play import Actor, Dice, Stage
from tests.engine.test_meeting import up


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MAX_STRANGERS", 3)
    monkeypatch.setattr(hearsay, "MAX_STRANGERS", 3)
    monkeypatch.setattr(quota, "SLACK", 0)


def visit(stage: Stage, ann: Actor, *names: str) -> list[Actor]:
    """They come and go, one after the other, a second apart."""
    came = [stage.actor(name) for name in names]
    for one in came:
        stage.mono += 1
        stage.join(ann, one)
        stage.cut()
    return came


def known(ann: Actor, people: list[Actor]) -> list[str]:
    """Whose statements, pinned key and chat are in the archive, by a node that reads it anew."""
    fresh = Node(ann.me, ann.ledger, Dice("again"), name="ann")
    ctx = fresh.look(ann.now())
    kept = []
    for one in people:
        facts = {
            one.account in ctx.cache.accounts,
            one.account in ctx.cache.trust,
            one.device in ctx.cache.owner,
            rooms.direct_id(ann.account, one.account) in ctx.cache.known_rooms,
        }
        assert len(facts) == 1, f"{one.name} is half forgotten"
        assert facts == {one.account in ann.look().cache.accounts}
        if facts == {True}:
            kept.append(one.name)
    return kept


def test_of_those_who_only_came_by_the_longest_unseen_is_forgotten(stage: Stage) -> None:
    ann = stage.actor("ann")
    came = visit(stage, ann, *(f"visitor {n}" for n in range(8)))
    assert known(ann, came) == ["visitor 5", "visitor 6", "visitor 7"]
    left = {one.device for one in came[:5]}
    assert left.isdisjoint({row.device for row in ann.ledger.people.addresses()})
    assert left.isdisjoint({row.device for kind in (1, 2) for row in ann.ledger.people.registers(kind)})
    assert ann.ledger.check_integrity() == []


def test_whoever_matters_is_kept_however_long_he_is_away(stage: Stage) -> None:
    ann = stage.actor("ann")
    bob, cyn, dan, eve, fay, gustav = matters = visit(stage, ann, "bob", "cyn", "dan", "eve", "fay", "gustav")
    # that many are more than three already: they are met again as they come to matter
    for one in (bob, cyn, dan, eve, gustav):
        stage.join(ann, one)
        if one is bob:
            ann.do(lambda r: happened.SetTrust(r, "verify", "bob"))
        elif one is cyn:
            cyn.say(ann, "hello")
        elif one is dan:
            ann.do(lambda r: happened.SetTrust(r, "block", "dan"))
        elif one is eve:
            ann.say(eve, "in a year", at_ms=ann.now().wall_ms + 10**10)
        else:
            ann.ask(lambda r: happened.AddPeer(r, "192.0.2.6", 26700))
        stage.cut()
    stage.join(ann, fay)  # and stays
    strangers = [stage.actor(f"visitor {n}") for n in range(9)]
    for number, one in enumerate(strangers, 50):
        stage.mono += 1
        stage.links |= {number: (ann, one, -number), -number: (one, ann, number)}
        up(one, ann, -number, first=True)
        up(ann, one, number, first=False)
        stage.settle()
        stage.hang_up(number)
    assert known(ann, matters) == ["bob", "cyn", "dan", "eve", "fay", "gustav"]
    assert len(known(ann, strangers)) <= 3


def test_a_person_who_was_forgotten_can_be_met_and_talked_to_again(stage: Stage) -> None:
    ann = stage.actor("ann")
    first, *_ = visit(stage, ann, *(f"visitor {n}" for n in range(6)))
    stage.join(ann, first)
    ann.say(first, "again")
    assert first.ledger.views.unread(overview.conversation(first.look(), "ann").room, 9)


def test_the_first_word_of_somebody_new_waits_where_too_many_are_known(stage: Stage) -> None:
    ann = stage.actor("ann")
    for one in [stage.actor(f"talker {n}") for n in range(9)]:
        stage.join(ann, one)
        one.say(ann, "hello")
        stage.cut()
    heard = [text for text, *_ in ann.ledger.connection.execute("SELECT text FROM message")]
    assert 6 <= len(heard) <= 7
    assert quota.used_up(ann.look())


def test_of_one_machine_few_addresses_are_remembered(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    for number in range(1, 30):
        stage.mono += 1
        stage.links = {number: (ann, bob, -number), -number: (bob, ann, number)}
        up(ann, bob, number, first=False, host=f"198.51.100.{number}")
        stage.hang_up(number)
    ports = sorted(int(row.host.rpartition(".")[2]) for row in ann.ledger.people.addresses())
    assert ports == list(range(30 - MAX_ADDRESSES, 30))
    assert len(ann.node.live.targets) == MAX_ADDRESSES


def test_strangers_addresses_fill_one_table_and_push_out_no_known_ones(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_UNKNOWN_PEERS", 4)
    monkeypatch.setattr(peers, "LOOSE_SLACK", 0)
    monkeypatch.setattr(quota, "MAX_STRANGERS", 100)
    ann, bob = stage.actor("ann"), stage.actor("bob")
    everybody = [bob, *(stage.actor(f"visitor {n}") for n in range(12))]
    for number, one in enumerate(everybody, 1):
        stage.mono += 1
        stage.links = {number: (ann, one, -number), -number: (one, ann, number)}
        up(ann, one, number, first=False, host=f"198.51.100.{number}")
        if one is bob:
            ann.do(lambda r: happened.SetTrust(r, "verify", "bob"))
        stage.hang_up(number)
    hosts = {row.host for row in ann.ledger.people.addresses()}
    assert "198.51.100.1" in hosts
    assert len(hosts) <= 6


def sight(actor: Actor, label: str, host: str) -> None:
    actor.feed(happened.Sighted(label, (host,), 26700, (b"t" * 8,)))


def test_a_flood_of_announcements_fills_one_table_and_the_oldest_goes_first(stage: Stage) -> None:
    ann = stage.actor("ann")
    for number in range(MAX_UNKNOWN_PEERS + 100):
        stage.mono += 0.01
        sight(ann, f"label {number:04d}", f"198.51.{number // 250}.{1 + number % 250}")
    assert len(ann.node.live.sights) == MAX_UNKNOWN_PEERS
    assert min(ann.node.live.sights) == "label 0100"
    assert len(ann.node.live.targets) <= MAX_UNKNOWN_PEERS + 32  # and the dials under way


def test_announcements_of_people_met_in_passing_make_room_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_UNKNOWN_PEERS", 4)
    monkeypatch.setattr(quota, "MAX_STRANGERS", 100)
    ann, bob = stage.actor("ann"), stage.actor("bob")
    for number, one in enumerate((bob, *(stage.actor(f"visitor {n}") for n in range(3))), 1):
        stage.mono += 1
        sight(ann, f"of {one.name}", f"198.51.100.{number}")
        stage.links = {number: (ann, one, -number), -number: (one, ann, number)}
        up(ann, one, number, first=False, host=f"198.51.100.{number}")
        if one is bob:
            ann.do(lambda r: happened.SetTrust(r, "verify", "bob"))
        stage.hang_up(number)
    for number in range(9):
        stage.mono += 1
        sight(ann, f"new {number}", f"198.51.100.{100 + number}")
    assert sorted(ann.node.live.sights) == ["new 8", "of bob", "of visitor 1", "of visitor 2"]


def made_up(dice: Dice) -> tuple[SignedStatement, bytes]:
    """Somebody who is nobody, and the seed of his only machine."""
    seed, noise, recovery = dice.bytes(32), dice.bytes(32), dice.bytes(32)
    return make_genesis(seed, x25519_public(noise), ed25519_keypair(recovery)[0]), seed


def test_people_whom_somebody_only_tells_of_are_not_kept_without_end(stage: Stage) -> None:
    """A holder may hand over statements, and so may whoever shares the lobby: of anybody."""
    ann, eve = stage.actor("ann", lobby=True), stage.actor("eve", lobby=True)
    bob, cyn = stage.actor("bob", lobby=True), stage.actor("cyn")
    for other in (bob, eve):
        stage.join(ann, other)
    bob.do(lambda r: happened.CreateRoom(r, "launch"))
    stage.join(bob, cyn)
    bob.do(lambda r: happened.RoomAct(r, "invite", "launch", ("ann", "cyn")))
    cyn.do(lambda r: happened.Post(r, "launch", "whom ann never met"))
    dice = Dice("made up")
    for _ in range(10):
        people = tuple(made_up(dice)[0] for _ in range(20))
        stage.carry(eve, eve.look().live.by_device[ann.device], Waiting(()))
        tell(stage, eve, ann, Handed(people, (), True, 0, True, True))
        tell(stage, eve, ann, Statements(tuple(made_up(dice)[0] for _ in range(20))))
    for _ in range(3):  # few people, with many machines each
        signed, seed = made_up(dice)
        first = read_statement(signed)
        machines = [
            DeviceKeys(ed25519_keypair(dice.bytes(32))[0], x25519_public(dice.bytes(32))) for _ in range(80)
        ]
        more = [make_statement(seed, first.account, (first.id,), ADD, keys) for keys in machines]
        tell(stage, eve, ann, Statements((signed, *more)))
    assert ann.closed == []
    kept = ann.look().cache.accounts
    strange = [one for one in kept if one not in {a.account for a in (ann, bob, cyn, eve)}]
    assert len(strange) <= 3 + 1
    assert cyn.account in kept
    assert known(ann, [bob, eve]) == ["bob", "eve"]
    rows = ann.ledger.connection.execute("SELECT count(*) FROM statement").fetchone()[0]
    assert rows <= 4 + (3 + 1) * quota.STATEMENTS_EACH + 81
    again = Node(ann.me, ann.ledger, Dice("again"), name="ann").look(ann.now())
    assert set(again.cache.accounts) == set(kept)


def test_nothing_is_owed_any_more_to_who_was_forgotten(stage: Stage) -> None:
    """Who hides owes receipts to everybody who comes by, and remembers where he is."""
    ann = stage.actor("ann")
    ann.ask(lambda r: SetPresence(r, "invisible"))
    came = visit(stage, ann, *(f"visitor {n}" for n in range(8)))
    assert known(ann, came) == ["visitor 5", "visitor 6", "visitor 7"]
    assert set(ann.node.live.presence.withheld) == {one.account for one in came[5:]}
