"""A stolen machine that defends itself: what it states to stay, and that its person is rid of it anyway."""

from __future__ import annotations

import hashlib

from nacl import bindings

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import ed25519_keypair, tag_bytes, x25519_public
from p2pchat.engine import accounts, people, stating
from p2pchat.engine import inputs as happened
from p2pchat.engine.accounts import make_statement, read_statement
from p2pchat.engine.device_inputs import AddDevice, RevokeDevice
from p2pchat.wire.messages import statements as wire
from p2pchat.wire.messages.link import Statements
from p2pchat.wire.messages.statements import SignedStatement
from tests.engine.holders_play import tell
from tests.engine.play import Actor, Dice, Stage


def _signed_otherwise(seed: bytes, raw: bytes, chance: bytes) -> SignedStatement:
    """Another signature of the same bytes under the same key: who signs chooses the nonce."""
    public, _ = ed25519_keypair(seed)
    digest = hashlib.sha512(seed).digest()
    clamped = bytearray(digest[:32])
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    secret = bindings.crypto_core_ed25519_scalar_reduce(bytes(clamped) + bytes(32))
    nonce = bindings.crypto_core_ed25519_scalar_reduce(chance)
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    said = hashlib.sha512(point + public + tag_bytes(wire.TAG_STATEMENT) + raw).digest()
    challenge = bindings.crypto_core_ed25519_scalar_reduce(said)
    answer = bindings.crypto_core_ed25519_scalar_add(
        nonce, bindings.crypto_core_ed25519_scalar_mul(challenge, secret)
    )
    return SignedStatement(raw, point + answer)


def _keys(dice: Dice) -> wire.DeviceKeys:
    return wire.DeviceKeys(ed25519_keypair(dice.bytes(32))[0], x25519_public(dice.bytes(32)))


def _is_revoked(actor: Actor, machine: Actor) -> bool:
    return actor.look().cache.accounts[machine.account].devices[machine.device].revoked


def _hears(actor: Actor, other: Actor) -> None:
    """What `other` says before it closes: on this stage a closed link takes along what is under way."""
    signed = other.look().cache.accounts[actor.account].signed
    actor.write(lambda ctx: people.learn_statements(ctx, signed, (actor.account,)) and None)


def _family(stage: Stage) -> tuple[Actor, Actor, Actor]:
    """Ann's pc, her laptop, which is stolen, and Bob; all linked."""
    pc, bob = stage.actor("ann"), stage.actor("bob")
    laptop = stage.actor("ann's laptop", of=pc)
    for one, other in ((pc, laptop), (pc, bob), (laptop, bob)):
        stage.join(one, other)
    return pc, laptop, bob


def _number(end: Actor, far: Actor) -> int:
    return end.look().live.by_device[far.device]


def test_one_statement_under_two_signatures_hides_no_revocation(stage: Stage) -> None:
    """The pc hears of one, Bob of the other; the revocation builds on what the pc knows."""
    pc, laptop, bob = _family(stage)
    own_add = read_statement(laptop.me.statements[-1]).id
    made = make_statement(laptop.me.signing_seed, pc.account, (own_add,), wire.ADD, _keys(Dice("thief")))
    twin = _signed_otherwise(laptop.me.signing_seed, made.statement, Dice("chance").bytes(64))
    assert read_statement(twin).id != read_statement(made).id
    tell(stage, laptop, bob, Statements((twin,)))
    tell(stage, laptop, pc, Statements((made,)))
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    assert _is_revoked(pc, laptop)
    assert _is_revoked(bob, laptop)


def test_a_retirement_by_the_thief_ends_with_him(stage: Stage) -> None:
    pc, laptop, bob = _family(stage)
    eve = stage.actor("eve")
    own_add = read_statement(laptop.me.statements[-1]).id
    gone = make_statement(
        laptop.me.signing_seed, pc.account, (own_add,), wire.RETIRE, wire.Retired(eve.account)
    )
    later = make_statement(
        laptop.me.signing_seed, pc.account, (read_statement(gone).id,), wire.ADD, _keys(Dice("later"))
    )
    for other in (pc, bob):
        tell(stage, laptop, other, Statements((gone, later)))
    assert bob.look().cache.accounts[pc.account].successor == eve.account
    if pc.device not in bob.look().live.by_device:
        stage.join(pc, bob)
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    for actor in (pc, bob):
        account = actor.look().cache.accounts[pc.account]
        assert not account.retired
        assert account.devices[laptop.device].revoked
        assert not account.devices[pc.device].revoked


def test_a_machine_that_was_sold_keeps_what_it_had_stated_before_it_retired(stage: Stage) -> None:
    """Only what follows its retirement is left behind: what it linked before stays."""
    pc, laptop, _ = _family(stage)
    own_add = read_statement(laptop.me.statements[-1]).id
    phone = _keys(Dice("phone"))
    linked = make_statement(laptop.me.signing_seed, pc.account, (own_add,), wire.ADD, phone)
    gone = make_statement(
        laptop.me.signing_seed, pc.account, (read_statement(linked).id,), wire.RETIRE, wire.Retired(b"")
    )
    tell(stage, laptop, pc, Statements((linked, gone)))
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    account = pc.look().cache.accounts[pc.account]
    assert not account.retired
    assert not account.devices[device_id(pc.account, phone.signing)].revoked


def _flood(laptop: Actor, count: int, *, chained: bool, revoking: bool = False) -> list[SignedStatement]:
    """As many statements of the thief as there is room for."""
    own_add = last = read_statement(laptop.me.statements[-1]).id
    dice, made = Dice("flood"), []
    for _ in range(count):
        kind, subject = wire.ADD, _keys(dice) if not revoking else None
        if subject is None:
            kind, subject = wire.REVOKE, wire.Revoked(dice.bytes(32))
        prev = (last,) if chained else (own_add,)
        made.append(make_statement(laptop.me.signing_seed, laptop.account, prev, kind, subject))
        last = read_statement(made[-1]).id
    return made


def _fill_up(stage: Stage, laptop: Actor, others: tuple[Actor, ...], made: list[SignedStatement]) -> None:
    for other in others:
        for at in range(0, len(made), 120):
            tell(stage, laptop, other, Statements(tuple(made[at : at + 120])))


def _rid_of_it(stage: Stage, pc: Actor, laptop: Actor, bob: Actor) -> None:
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    carl = stage.actor("carl")
    stage.join(carl, bob)
    for actor in (pc, bob):
        assert _is_revoked(actor, laptop), actor.name
        assert laptop.device not in actor.look().live.by_device
    made = [one.id for one in pc.look().cache.accounts[pc.account].active() if one.id != pc.device]
    assert len(made) <= stating.KEPT_OF_A_FLOOD
    for device in made:
        pc.do(lambda r, d=device: RevokeDevice(r, d.hex()))  # type: ignore[misc]
    for actor in (pc, bob):
        active = {device.id for device in actor.look().cache.accounts[pc.account].active()}
        assert active == {pc.device}, "nor is anything left of what it made in the end"
    stage.join(pc, carl)
    stage.join(carl, laptop)
    assert _is_revoked(carl, laptop), "who meets both later hears it too"
    assert laptop.device not in carl.look().live.by_device


def test_a_thief_who_states_all_there_is_room_for_is_revoked_all_the_same(stage: Stage) -> None:
    for chained, revoking in ((False, False), (True, False), (True, True)):
        pc, laptop, bob = _family(stage)
        known = len(pc.look().cache.accounts[pc.account].signed)
        made = _flood(laptop, people.MAX_STATEMENTS - known, chained=chained, revoking=revoking)
        _fill_up(stage, laptop, (pc, bob), made)
        assert len(bob.look().cache.accounts[pc.account].signed) == people.MAX_STATEMENTS
        _rid_of_it(stage, pc, laptop, bob)


def test_what_a_thief_states_afterwards_is_kept_by_nobody(stage: Stage) -> None:
    pc, laptop, bob = _family(stage)
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    made = _flood(laptop, 2 * people.MAX_STATEMENTS, chained=False)
    number = _number(bob, pc)
    for at in range(0, len(made), 120):
        tell(stage, pc, bob, Statements(tuple(made[at : at + 120])))
    assert number == _number(bob, pc), "whoever passes them on is not to blame"
    assert len(bob.look().cache.accounts[pc.account].signed) <= people.MAX_STATEMENTS + people.MAX_VOID
    assert {device.id for device in bob.look().cache.accounts[pc.account].active()} == {pc.device}


def test_what_a_machine_had_revoked_stays_revoked_when_it_is_itself(stage: Stage) -> None:
    """However much it had stated: a statement names eight others, and it had linked twenty machines."""
    pc = stage.actor("ann")
    phone = stage.actor("ann's phone", of=pc)
    stage.join(pc, phone)
    dice, gone, kept = Dice("many"), [], []
    for number in range(20):
        keys = _keys(dice)
        pc.do(lambda r, k=keys: AddDevice(r, k.signing, k.noise))  # type: ignore[misc]
        device = device_id(pc.account, keys.signing)
        (gone if number % 2 else kept).append(device)
        if number % 2:
            pc.do(lambda r, d=device: RevokeDevice(r, d.hex()))  # type: ignore[misc]
    phone.do(lambda r: RevokeDevice(r, pc.device.hex()))
    devices = phone.look().cache.accounts[pc.account].devices
    assert devices[pc.device].revoked
    assert [one for one in gone if not devices[one].revoked] == []
    assert [one for one in kept if devices[one].revoked] == []


def test_the_elder_that_was_revoked_by_the_younger_takes_it_back(stage: Stage) -> None:
    pc, laptop, bob = _family(stage)
    laptop.do(lambda r: RevokeDevice(r, pc.device.hex()))
    assert _is_revoked(bob, pc)
    _hears(pc, bob)
    assert pc.refused(lambda r: happened.CreateRoom(r, "mine")).kind == "key_revoked"
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    stage.join(pc, bob)
    assert pc.device in bob.look().live.by_device
    assert (_is_revoked(bob, pc), _is_revoked(bob, laptop)) == (False, True)
    _hears(laptop, bob)
    assert laptop.refused(lambda r: RevokeDevice(r, pc.device.hex())).kind == "key_revoked"


# -- the recovery key ---------------------------------------------------------------------------


def _recovered(stage: Stage, pc: Actor, name: str, known: accounts.Account) -> Actor:
    """A machine made with the recovery key, as `device recover` makes one."""

    def stated(keys: wire.DeviceKeys) -> tuple[SignedStatement, ...]:
        added = stating.recovered(pc.recovery, known, keys)
        return accounts.leading((*known.signed, added), device_id(pc.account, keys.signing))

    return stage.actor(name, stated=stated)


def test_a_machine_of_the_recovery_key_outranks_the_first_one(stage: Stage) -> None:
    """The thief has the machine with which all began, and revokes the new one before it speaks."""
    pc, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(pc, bob)
    new = _recovered(stage, pc, "ann's new", bob.look().cache.accounts[pc.account])
    stage.join(new, bob)
    stage.join(pc, new)
    pc.do(lambda r: RevokeDevice(r, new.device.hex()))
    assert _is_revoked(bob, new)
    _hears(new, bob)
    assert _is_revoked(new, new)
    new.do(lambda r: RevokeDevice(r, pc.device.hex()))
    stage.join(new, bob)
    for actor in (bob, new):
        assert not _is_revoked(actor, new), actor.name
        assert _is_revoked(actor, pc), actor.name
    assert new.device in bob.look().live.by_device
    stage.join(pc, bob)
    assert pc.device not in bob.look().live.by_device


def test_of_two_made_with_the_recovery_key_the_later_counts(stage: Stage) -> None:
    pc, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(pc, bob)
    made = []
    for name in ("ann's first", "ann's second"):
        made.append(_recovered(stage, pc, name, bob.look().cache.accounts[pc.account]))
        stage.join(made[-1], bob)
    first, second = made
    account = bob.look().cache.accounts[pc.account]
    said = [stating.revoking(a.me, account.acts, b.device)[-1] for a, b in ((first, second), (second, first))]
    tell(stage, bob, first, Statements((*account.signed, *said)))
    tell(stage, second, bob, Statements((*account.signed, *said)))
    for actor in (bob, first):
        devices = actor.look().cache.accounts[pc.account].devices
        assert (devices[first.device].revoked, devices[second.device].revoked) == (True, False)
