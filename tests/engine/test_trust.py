"""Whose key it is: pinning, verifying, names that clash, keys that end."""

from __future__ import annotations

import pytest

from p2pchat.crypto.identity import safety_number
from p2pchat.crypto.primitives import ed25519_keypair
from p2pchat.engine import inputs as happened
from p2pchat.engine import names, overview
from p2pchat.engine.accounts import make_statement
from p2pchat.ids import fingerprint, tag
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages import statements
from tests.engine.play import Actor, Stage


@pytest.fixture
def pair(stage: Stage) -> tuple[Actor, Actor]:
    ann, bob = stage.actor("ann"), stage.actor("bob")
    stage.join(ann, bob)
    return ann, bob


def second(stage: Stage, name: str, dice: str) -> Actor:
    """Somebody else who calls himself `name`."""
    actor = stage.actor(dice)
    actor.do(lambda r: happened.Rename(r, name))
    return actor


def trust_of(actor: Actor, other: Actor) -> str:
    return names.trust_word(actor.look(), other.account)


def test_a_first_key_is_pinned_unverified(pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    assert trust_of(ann, bob) == "unverified"
    ann.do(lambda r: happened.SetTrust(r, "verify", "bob", "fingerprint", fingerprint(bob.account)))
    assert trust_of(ann, bob) == "verified"


def test_a_wrong_number_verifies_nobody(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    wrong = ann.refused(lambda r: happened.SetTrust(r, "verify", "bob", "safety-number", "1" * 60))
    assert (wrong.kind, wrong.code) == ("key_mismatch", 6)
    bob.do(lambda r: happened.Rename(r, "-bob"))
    stage.settle()
    dashed = ann.refused(lambda r: happened.SetTrust(r, "verify", "-bob", "fingerprint", "00" * 16))
    assert dashed.hint == f"look again: `p2pchat trust show {bob.account.hex()[:16]}`", "no option"
    bob.do(lambda r: happened.Rename(r, "bob"))
    stage.settle()
    empty = ann.refused(lambda r: happened.SetTrust(r, "verify", "bob", "safety-number", ""))
    assert empty.kind == "key_mismatch"
    assert trust_of(ann, bob) == "unverified"
    right = " ".join(safety_number(ann.account, bob.account)[n : n + 5] for n in range(0, 60, 5))
    ann.do(lambda r: happened.SetTrust(r, "verify", "bob", "safety-number", right))
    assert trust_of(ann, bob) == "verified"


def test_two_bobs_have_to_be_told_apart_until_one_is_verified(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    other = second(stage, "Bob", "impostor")
    stage.join(ann, other)
    error = ann.refused(lambda r: happened.Post(r, "bob", "which?"))
    assert error.kind == "ambiguous_target"
    assert tag(bob.account) in error.message
    assert tag(other.account) in error.message
    form = "bob" + tag(other.account)
    assert ann.do(lambda r: happened.Post(r, form, "you"))["warning"] == ""
    ann.do(lambda r: happened.SetTrust(r, "verify", "bob" + tag(bob.account)))
    answer = ann.do(lambda r: happened.Post(r, "bob", "the real one"))
    assert answer["room"] == overview.conversation(ann.look(), "bob").room.hex()
    assert form.lower() in str(answer["warning"]).lower()
    assert overview.conversation(ann.look(), "bob").account == bob.account


@pytest.mark.parametrize("lookalike", ["BOB", "b0b", "bоb", "ｂｏｂ", "b\u200bob", "bοb"])
def test_confusable_names_carry_their_tag_everywhere(
    stage: Stage, pair: tuple[Actor, Actor], lookalike: str
) -> None:
    ann, bob = pair
    assert names.skeleton(lookalike) == names.skeleton("bob")
    other = stage.actor(lookalike)  # a foreign program publishes what ours would refuse
    stage.join(ann, other)
    assert names.shown(ann.look(), bob.account) == "bob" + tag(bob.account)
    assert names.shown(ann.look(), other.account) == lookalike + tag(other.account)


def test_a_blocked_person_is_not_heard_and_not_written_to(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    ann.do(lambda r: happened.SetTrust(r, "block", "bob"))
    assert not stage.links
    assert ann.refused(lambda r: happened.Post(r, "bob", "hm")).kind == "policy"
    stage.join(bob, ann)
    assert not stage.links
    ann.do(lambda r: happened.SetTrust(r, "unblock", "bob"))
    stage.join(bob, ann)
    assert stage.links


def retire(who: Actor, successor: bytes) -> wire.Statements:
    """What `device join --replace` will write; until then tests do."""
    genesis = who.look().cache.accounts[who.account]
    body = statements.Retired(successor)
    return wire.Statements(
        (make_statement(who.me.signing_seed, who.account, genesis.heads, statements.RETIRE, body),)
    )


def test_a_revoked_account_refuses_and_a_successor_must_be_accepted(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    heir = second(stage, "Bob", "heir")
    ann.do(lambda r: happened.SetTrust(r, "verify", "bob"))
    at_ann = next(number for number, (end, _, _) in stage.links.items() if end is ann)
    ann.feed(happened.FromPeer(at_ann, retire(bob, heir.account)))
    stage.join(ann, heir)
    error = ann.refused(lambda r: happened.Post(r, bob.account.hex(), "hello?"))
    assert (error.kind, error.code) == ("key_changed", 6)
    assert ann.refused(lambda r: happened.Post(r, "bob", "hello?")).kind == "key_changed"
    ann.do(lambda r: happened.SetTrust(r, "accept", bob.account.hex()))
    assert trust_of(ann, heir) == "unverified"
    assert ann.do(lambda r: happened.Post(r, "bob", "hello again"))["state"] == "queued"
    assert overview.conversation(ann.look(), "bob").account == heir.account


def test_an_account_without_successor_is_simply_revoked(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    at_ann = next(number for number, (end, _, _) in stage.links.items() if end is ann)
    genesis = bob.look().cache.accounts[bob.account]
    gone = make_statement(
        bob.recovery, bob.account, genesis.heads, statements.REVOKE, statements.Revoked(bob.device)
    )
    assert ed25519_keypair(bob.recovery)[0] == genesis.recovery
    ann.feed(happened.FromPeer(at_ann, wire.Statements((gone,))))
    assert not stage.links, "sessions with a revoked machine end"
    error = ann.refused(lambda r: happened.Post(r, "bob", "hello?"))
    assert (error.kind, error.code) == ("key_revoked", 6)
    stage.join(bob, ann)
    assert not stage.links


def test_nobody_introduces_strangers(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    stranger = stage.actor("stranger")
    at_ann = next(number for number, (end, _, _) in stage.links.items() if end is ann)
    ann.feed(happened.FromPeer(at_ann, wire.Statements(stranger.me.statements)))
    assert stranger.account not in ann.look().cache.accounts
    assert bob.account in ann.look().cache.accounts


def test_digits_agree_and_verify_and_are_good_for_one_attempt(
    stage: Stage, pair: tuple[Actor, Actor]
) -> None:
    ann, bob = pair
    assert ann.ask(lambda r: happened.StartSas(r, "bob")) is None
    first = stage.requests
    theirs = bob.do(lambda r: happened.StartSas(r, "ann"))
    assert ann.answers[first] == theirs
    digits = str(theirs["sas"])
    assert len(digits) == 6
    ann.do(lambda r: happened.ConfirmSas(r, "bob", digits))
    assert trust_of(ann, bob) == "verified"
    assert bob.refused(lambda r: happened.ConfirmSas(r, "ann", "000000")).kind == "key_mismatch"
    assert bob.refused(lambda r: happened.ConfirmSas(r, "ann", digits)).kind == "timeout"
    assert trust_of(bob, ann) == "unverified"


def test_a_man_in_the_middle_gets_other_digits(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    at_bob = next(number for number, (end, _, _) in stage.links.items() if end is bob)
    link = bob.node.live.links[at_bob]
    bob.node.live.links[at_bob] = type(link)(
        **{**{n: getattr(link, n) for n in link.__slots__}, "handshake_hash": b"m" * 64}
    )
    ann.ask(lambda r: happened.StartSas(r, "bob"))
    first = stage.requests
    assert bob.do(lambda r: happened.StartSas(r, "ann")) != ann.answers[first]


def test_a_rename_reaches_those_who_are_there(stage: Stage, pair: tuple[Actor, Actor]) -> None:
    ann, bob = pair
    bob.do(lambda r: happened.Rename(r, "  Robert  "))
    stage.settle()
    assert names.shown(ann.look(), bob.account) == "Robert"
    assert overview.person_names(bob.look())[bob.account] == "Robert"
    for bad in ("", "x" * 65, "a\x00b", "\u202eevil"):
        assert bob.refused(lambda r, bad=bad: happened.Rename(r, bad)).kind == "usage"
