"""Machines of one person: what statements make of them, and what follows from one to the other."""

from __future__ import annotations

import pytest

from p2pchat.crypto.identity import device_id
from p2pchat.crypto.primitives import ed25519_keypair, x25519_public
from p2pchat.engine import accounts, machines, overview, own, stating
from p2pchat.engine import inputs as happened
from p2pchat.engine.device_inputs import AddDevice, OwnSetting, RenameDevice, RevokeDevice, SettingTaken
from p2pchat.engine.file_inputs import FileAuto
from p2pchat.engine.node import Node
from p2pchat.wire.codec import encode
from p2pchat.wire.messages import statements as wire
from p2pchat.wire.messages.devices import OwnDigest, OwnEntry, OwnState, TrustSaid
from p2pchat.wire.messages.link import Statements
from tests.engine.play import EPOCH_MS, Actor, Dice, Stage
from tests.engine.test_meeting import up


def _keys(name: str) -> tuple[bytes, bytes]:
    dice = Dice(name)
    return ed25519_keypair(dice.bytes(32))[0], x25519_public(dice.bytes(32))


def _told(actor: Actor, kind: str) -> list[object]:
    return [tell.subject for tell in actor.told if tell.type == kind]


def _warned(actor: Actor, kind: str) -> bool:
    return any(isinstance(one, tuple) and one[0] == kind for one in _told(actor, "warning"))


def _trust(actor: Actor, whom: Actor) -> str:
    return overview.trust_view(actor.look(), whom.account.hex()).trust


def _unread(actor: Actor, whom: Actor) -> int:
    room = overview.conversation(actor.look(), whom.account.hex()).room
    return len(actor.ledger.views.unread(room, 99))


# -- statements -----------------------------------------------------------------------------


def test_a_revoked_machine_is_cut_off_on_every_link_it_has(stage: Stage) -> None:
    """Two that dial each other have two for a while, and who means ill may keep several."""
    ann, bob = stage.actor("ann"), stage.actor("bob")
    pad = stage.actor("pad", of=ann)
    stage.join(ann, bob)
    stage.join(ann, pad)
    for number in (101, 103):
        stage.links |= {number: (bob, pad, number + 1), number + 1: (pad, bob, number)}
        up(bob, pad, number, first=False)
    assert {101, 103} <= set(bob.node.live.links)
    ann.do(lambda r: RevokeDevice(r, pad.device.hex()))
    stage.settle()
    assert not any(pad in (end, far) for end, far, _ in stage.links.values())
    assert pad.device not in bob.node.live.by_device


def test_a_linked_machine_is_known_to_everybody_who_is_there(stage: Stage) -> None:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    signing, noise = _keys("laptop")
    told = ann.do(lambda r: AddDevice(r, signing, noise))
    new = device_id(ann.account, signing)
    assert told["device"] == new.hex()
    assert bob.look().cache.accounts[ann.account].devices[new].noise == noise
    twice = ann.refused(lambda r: AddDevice(r, signing, noise))
    assert twice.kind == "usage"


def test_the_way_to_a_machine_stays_short_however_many_there_were(stage: Stage) -> None:
    """A handshake carries it, and a handshake is small."""
    ann = stage.actor("ann")
    for number in range(30):
        signing, noise = _keys(f"machine {number}")
        ann.do(lambda r, s=signing, n=noise: AddDevice(r, s, n))  # type: ignore[misc]
        if number % 2:
            gone = device_id(ann.account, signing).hex()
            ann.do(lambda r, d=gone: RevokeDevice(r, d))  # type: ignore[misc]
    account = ann.look().cache.accounts[ann.account]
    assert len(account.signed) == 46
    assert len(account.active()) == 16
    for device in account.devices:
        assert len(accounts.leading(account.signed, device)) <= 2


def test_a_revocation_keeps_what_the_revoked_had_done_and_voids_what_it_hides(stage: Stage) -> None:
    ann = stage.actor("ann")
    dice = Dice("laptop")
    seed, noise = dice.bytes(32), x25519_public(dice.bytes(32))
    public, _ = ed25519_keypair(seed)
    ann.do(lambda r: AddDevice(r, public, noise))
    laptop = device_id(ann.account, public)
    account = ann.look().cache.accounts[ann.account]

    def added_by_laptop(name: str) -> wire.SignedStatement:
        prev = (stating.own_add(account.acts, laptop),)
        return accounts.make_statement(seed, ann.account, prev, wire.ADD, wire.DeviceKeys(*_keys(name)))

    known, hidden = added_by_laptop("phone"), added_by_laptop("thief's")
    stage.join(ann, stage.actor("bob"))
    bob = next(end for end, _, _ in stage.links.values() if end.name == "bob")
    ann.feed(happened.FromPeer(1, Statements((known,))))
    ann.do(lambda r: RevokeDevice(r, laptop.hex()))
    for actor in (ann, bob):
        number = next(n for n, (end, _, _) in stage.links.items() if end is actor)
        actor.feed(happened.FromPeer(number, Statements((known, hidden))))
        devices = actor.look().cache.accounts[ann.account].devices
        assert devices[laptop].revoked
        assert not devices[device_id(ann.account, _keys("phone")[0])].revoked
        assert devices[device_id(ann.account, _keys("thief's")[0])].revoked


def test_machines_are_meant_by_name_and_by_the_beginning_of_an_id(stage: Stage) -> None:
    ann = stage.actor("ann")
    signing, noise = _keys("laptop")
    told = ann.do(lambda r: AddDevice(r, signing, noise))
    ann.do(lambda r: RenameDevice(r, str(told["device"])[:8], "Old  Laptop"))
    assert own.device_name(ann.look(), device_id(ann.account, signing)) == "Old Laptop"
    assert ann.refused(lambda r: RenameDevice(r, "nothing", "x")).kind == "no_such_target"
    ann.node.live.machine = "pc"  # what the host is called
    assert own.device_name(ann.look(), ann.device) == "pc", "a machine that is alone has a name too"
    assert ann.do(lambda r: RenameDevice(r, "PC", "desk"))["device"] == ann.device.hex()
    assert own.device_name(ann.look(), ann.device) == "desk"
    assert ann.refused(lambda r: RenameDevice(r, "old laptop", "\x1b[31m")).kind == "usage"
    assert ann.refused(lambda r: RevokeDevice(r, ann.device.hex())).kind == "usage"
    assert ann.do(lambda r: RevokeDevice(r, "old laptop"))["device"] == told["device"]


# -- in step ----------------------------------------------------------------------------------


def test_what_was_decided_and_read_before_follows_to_a_new_machine(stage: Stage) -> None:
    """Bob is off all the while: all the laptop learns it learns from the pc."""
    pc, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(pc, bob)
    for text in ("one", "two", "three"):
        bob.say(pc, text)
    room = overview.conversation(pc.look(), "bob").room
    shown = [event.hex() for event in pc.ledger.views.unread(room, 2)]
    pc.do(lambda r: happened.ConfirmShown(r, "bob", tuple(shown)))
    pc.do(lambda r: happened.SetTrust(r, "verify", "bob"))
    pc.do(lambda r: happened.Mute(r, "bob"))
    pc.do(lambda r: FileAuto(r, "bob", True))
    stage.cut()
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(laptop, pc)
    stage.wait(5)
    assert _trust(laptop, bob) == "verified"
    assert overview.muting(laptop.look(), room) == (-1, False)
    assert laptop.ledger.people.value(f"file_auto:{bob.account.hex()}") == b"1"
    assert _unread(laptop, bob) == _unread(pc, bob) == 1
    stage.cut()
    laptop.say(bob, "from the laptop")
    stage.join(laptop, bob)
    stage.wait(5)
    assert _unread(bob, pc) == 1, "it could seal to somebody it had never met"


def test_what_is_decided_apart_meets_and_the_later_counts(stage: Stage) -> None:
    pc, bob = stage.actor("ann"), stage.actor("bob")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    stage.join(pc, bob)
    stage.join(laptop, bob)
    stage.cut()
    pc.do(lambda r: happened.SetTrust(r, "verify", bob.account.hex()))
    stage.mono += 60
    laptop.do(lambda r: happened.SetTrust(r, "block", bob.account.hex()))
    laptop.do(lambda r: OwnSetting(r, "read_receipts", "on"))
    stage.join(laptop, pc)
    stage.wait(5)
    assert (_trust(pc, bob), _trust(laptop, bob)) == ("blocked", "blocked")
    assert _told(pc, "setting") == [("read_receipts", "on")]
    stage.mono += 60
    pc.do(lambda r: happened.SetTrust(r, "unblock", bob.account.hex()))
    assert _trust(laptop, bob) == _trust(pc, bob)
    assert own.entries(pc.look()) == own.entries(laptop.look())


def test_who_is_in_step_says_so_with_a_hash(stage: Stage) -> None:
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    pc.do(lambda r: OwnSetting(r, "read_receipts", "on"))
    stage.cut()
    for actor in (pc, laptop):
        actor.sent.clear()
    stage.join(pc, laptop)
    said = [*pc.sent, *laptop.sent]
    assert sum(isinstance(one, OwnDigest) for one in said) == 2
    assert not any(isinstance(one, OwnState) for one in said)


def test_a_stranger_decides_nothing_here(stage: Stage) -> None:
    ann, eve = stage.actor("ann"), stage.actor("eve")
    stage.join(ann, eve)
    number = next(n for n, (end, _, _) in stage.links.items() if end is ann)
    entry = OwnEntry("set:read_receipts", b"on", 1, eve.device)
    ann.feed(happened.FromPeer(number, OwnState((entry,))))
    assert ann.closed == ["frame out of place"]
    assert own.entries(ann.look()) == {}


def test_entries_of_another_form_end_the_link(stage: Stage) -> None:
    pc = stage.actor("ann")
    hlc = EPOCH_MS << 16
    some = "ab" * 32
    bad = (
        ("set:port", b"1"), ("trust:" + some, b"x"), ("name:" + some, b""), ("name:" + some, b"\xff"),
        ("mute:zz", b""), ("else:" + some, b""), ("mute:" + some, bytes(2000)),
    )  # fmt: skip
    for turn, (key, value) in enumerate(bad):
        laptop = stage.actor(f"laptop {turn}", of=pc)
        stage.join(pc, laptop)
        number = next(n for n, (end, _, _) in stage.links.items() if end is pc)
        before = len(pc.closed)
        pc.feed(happened.FromPeer(number, OwnState((OwnEntry(key, value, hlc, laptop.device),))))
        assert len(pc.closed) == before + 1, key
        assert key not in own.entries(pc.look())
        stage.cut()


def test_what_is_dated_far_ahead_does_not_stand_for_ever(stage: Stage) -> None:
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    pc.do(lambda r: OwnSetting(r, "read_receipts", "on"))
    ahead = (EPOCH_MS + 10 * 365 * 24 * 3600 * 1000) << 16
    number = next(n for n, (end, _, _) in stage.links.items() if end is pc)
    pc.feed(
        happened.FromPeer(number, OwnState((OwnEntry("set:read_receipts", b"off", ahead, laptop.device),)))
    )
    assert own.entries(pc.look())["set:read_receipts"].value == b"on"


def test_a_setting_that_came_before_a_crash_is_told_again_until_it_is_written_down(stage: Stage) -> None:
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    pc.do(lambda r: OwnSetting(r, "read_receipts", "on"))

    def again() -> list[object]:
        laptop.told.clear()
        laptop.node = Node(laptop.me, laptop.ledger, Dice("again"), name="ann")
        laptop.feed(happened.Started(26700))
        return _told(laptop, "setting")

    stage.cut()
    assert again() == [("read_receipts", "on")]
    laptop.do(lambda r: SettingTaken(r, "read_receipts", "off"))
    assert again() == [("read_receipts", "on")], "that was the one before"
    laptop.do(lambda r: SettingTaken(r, "read_receipts", "on"))
    assert again() == []
    stage.join(pc, laptop)
    pc.do(lambda r: OwnSetting(r, "file_auto_max", "7"))
    laptop.do(lambda r: OwnSetting(r, "file_auto_max", "9"))
    stage.cut()
    assert again() == [], "what is set here meanwhile stays"


def _says(machine: Actor, other: Actor, key: str, value: bytes, ahead_ms: int = 0, hlc: int = 0) -> None:
    """What a machine of ours in wrong hands, or with a wrong clock, may say."""
    number = next(n for n, (end, far, _) in other.stage.links.items() if end is other and far is machine)
    entry = OwnEntry(key, value, hlc or (EPOCH_MS + ahead_ms) << 16, machine.device)
    other.feed(happened.FromPeer(number, OwnState((entry,))))


def test_nobody_is_blocked_by_himself(stage: Stage) -> None:
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    blocked = encode(TrustSaid(False, True, "ann", b"", 1))
    _says(laptop, pc, own.TRUST + pc.account.hex(), blocked)
    assert laptop.device in pc.look().live.by_device
    stage.cut()
    stage.join(pc, laptop)
    assert laptop.device in pc.look().live.by_device


def test_the_last_date_there_is_leaves_no_room_for_a_decision_and_is_not_taken(stage: Stage) -> None:
    pc, bob = stage.actor("ann"), stage.actor("bob")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, bob)
    stage.join(pc, laptop)
    said = encode(TrustSaid(False, False, "bob", b"", 1))
    _says(laptop, pc, own.TRUST + bob.account.hex(), said, hlc=2**64 - 1)
    pc.do(lambda r: happened.SetTrust(r, "block", bob.account.hex()))
    assert _trust(pc, bob) == "blocked"
    assert own.entries(pc.look())[own.TRUST + bob.account.hex()].hlc < own.MAX_HLC


def test_machines_come_in_step_again_when_a_wrong_clock_is_put_right(stage: Stage) -> None:
    """The laptop was a year ahead when it decided something the pc had decided before."""
    pc, bob = stage.actor("ann"), stage.actor("bob")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, bob)
    stage.join(pc, laptop)
    stage.join(laptop, bob)
    pc.do(lambda r: happened.SetTrust(r, "verify", bob.account.hex()))
    stage.cut()
    laptop.skew_ms = 365 * 24 * 3600 * 1000
    laptop.do(lambda r: happened.SetTrust(r, "block", bob.account.hex()))
    stage.join(pc, laptop)
    assert _trust(pc, bob) == "verified"
    stage.cut()
    laptop.skew_ms = 0
    stage.mono += 60
    stage.join(pc, laptop)
    assert own.entries(pc.look()) == own.entries(laptop.look())
    laptop.do(lambda r: happened.SetTrust(r, "block", bob.account.hex()))
    assert (_trust(pc, bob), _trust(laptop, bob)) == ("blocked", "blocked")
    assert own.entries(pc.look()) == own.entries(laptop.look())


@pytest.mark.parametrize("away", [[], ["bob"]])
def test_who_leaves_a_room_where_nobody_else_is_there_has_left_it_with_all_his_machines(
    stage: Stage, away: list[str]
) -> None:
    """The other machine heard of it from other members, or when it next happened to repair with this one."""
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    others = [stage.actor(name) for name in away]
    for one in (laptop, *others):
        stage.join(pc, one)
    pc.do(lambda r: happened.CreateRoom(r, "launch"))
    if away:
        pc.do(lambda r: happened.RoomAct(r, "invite", "launch", tuple(away)))
        pc.do(lambda r: happened.RoomAct(r, "role", "launch", tuple(away), role="owner"))
        stage.hang_up(next(number for number, pair in stage.links.items() if others[0] in pair))
    assert overview.room_view(laptop.look(), "launch").membership == "joined"
    pc.do(lambda r: happened.RoomAct(r, "leave", "launch"))
    assert overview.room_view(laptop.look(), "launch").membership == "left"


# -- cut off ----------------------------------------------------------------------------------


def test_a_revoked_machine_is_cut_off_everywhere_and_gets_no_new_key(stage: Stage) -> None:
    pc, bob = stage.actor("ann"), stage.actor("bob")
    laptop = stage.actor("ann's laptop", of=pc)
    for one, other in ((pc, laptop), (pc, bob), (laptop, bob)):
        stage.join(one, other)
    made = pc.do(lambda r: happened.CreateRoom(r, "launch"))["room"]
    assert isinstance(made, overview.RoomView)
    pc.do(lambda r: happened.RoomAct(r, "invite", "launch", ("bob",)))
    pc.do(lambda r: happened.Post(r, "launch", "before"))
    stage.wait(2)
    before = {e.epoch for e in laptop.ledger.rooms.epochs(made.id) if e.key is not None}
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    assert not [1 for end, far, _ in stage.links.values() if laptop in (end, far)], "within no time at all"
    pc.do(lambda r: happened.Post(r, "launch", "after"))
    stage.wait(15)
    now = {e.epoch for e in bob.ledger.rooms.epochs(made.id) if e.key is not None}
    assert now - before, "a new key, which the others have"
    stage.join(laptop, bob)
    assert not [1 for end, far, _ in stage.links.values() if laptop in (end, far)], "nor let in again"
    assert {e.epoch for e in laptop.ledger.rooms.epochs(made.id) if e.key is not None} == before


def test_a_machine_that_hears_of_its_end_says_so_and_writes_no_more(stage: Stage) -> None:
    pc = stage.actor("ann")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    statement = stating.revoking(pc.me, pc.look().cache.accounts[pc.account].acts, laptop.device)[-1]
    number = next(n for n, (end, _, _) in stage.links.items() if end is laptop)
    laptop.feed(happened.FromPeer(number, Statements((statement,))))
    assert _warned(laptop, "revoked")
    assert machines.revoked(laptop.look())
    assert laptop.refused(lambda r: happened.CreateRoom(r, "mine")).kind == "key_revoked"
    assert not machines.revoked(pc.look())


def test_who_hears_of_a_revocation_passes_it_on_once(stage: Stage) -> None:
    """Carl has no link to the pc, only one to the stolen laptop and one to Bob."""
    pc, bob, carl = stage.actor("ann"), stage.actor("bob"), stage.actor("carl", lobby=True)
    bob.do(lambda r: happened.CreateRoom(r, "launch"))
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, laptop)
    stage.cut()
    for one, other in ((pc, bob), (bob, carl), (laptop, carl)):
        stage.join(one, other)
    bob.do(lambda r: happened.RoomAct(r, "invite", "launch", ("carl", pc.account.hex())))
    stage.wait(1)
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    assert not [1 for end, far, _ in stage.links.values() if laptop in (end, far)]
    bob.sent.clear()
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    assert not any(isinstance(one, Statements) for one in bob.sent), "it is no news"


def test_who_is_let_in_no_more_is_told_why(stage: Stage) -> None:
    """It was off when it was revoked: at its next contact it hears the statement before the close."""
    pc, bob = stage.actor("ann"), stage.actor("bob")
    laptop = stage.actor("ann's laptop", of=pc)
    stage.join(pc, bob)
    stage.join(pc, laptop)
    stage.cut()
    stage.join(pc, bob)
    pc.do(lambda r: RevokeDevice(r, laptop.device.hex()))
    bob.sent.clear()
    stage.join(bob, laptop)
    known = bob.look().cache.accounts[pc.account].signed
    assert any(
        isinstance(one, Statements) and set(map(encode, known)) <= set(map(encode, one.statements))
        for one in bob.sent
    )
    assert bob.closed[-1] == "refused"
