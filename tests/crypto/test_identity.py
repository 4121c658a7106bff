"""Keys, ids, safety numbers and the recovery key on paper."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pchat.crypto import identity
from p2pchat.crypto.identity import (
    DeviceSecrets,
    NoiseKey,
    SigningKey,
    bound_to,
    generate_device,
    generate_prekey,
    generate_recovery,
    in_groups,
    parse_bound_recovery,
    parse_recovery,
    print_bound_recovery,
    print_recovery,
    safety_number,
)
from p2pchat.errors import CommandError, LocalProtocolError, RemoteProtocolError
from p2pchat.ids import AccountId

SEED = bytes(range(32))
keys32 = st.binary(min_size=32, max_size=32)


def test_the_same_entropy_gives_the_same_keys_and_other_entropy_others() -> None:
    one, same, other = (generate_device(random.Random(seed).randbytes) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one.signing.seed == one.signing_seed
    assert one.noise.secret == one.noise_secret
    assert len({one.signing_seed, one.noise_secret, one.signing.public, one.noise.public}) == 4
    assert generate_prekey(random.Random(1).randbytes) == NoiseKey(one.signing_seed)
    assert generate_recovery(random.Random(1).randbytes) == one.signing


def test_short_entropy_makes_no_key() -> None:
    with pytest.raises(LocalProtocolError):
        generate_device(lambda n: bytes(n - 1))


@given(keys32, keys32)
def test_no_record_shows_its_secret(seed: bytes, secret: bytes) -> None:
    shown = repr(DeviceSecrets(seed, secret)) + repr(SigningKey(seed)) + repr(NoiseKey(secret))
    for hidden in (seed, secret, SigningKey(seed).expanded):
        assert repr(hidden) not in shown
        assert hidden.hex() not in shown


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_have_one_length(length: int) -> None:
    for make in (SigningKey, NoiseKey):
        with pytest.raises(LocalProtocolError):
            make(bytes(length))


@given(st.binary(max_size=100))
def test_a_signature_holds_under_its_tag_only(body: bytes) -> None:
    key = SigningKey(SEED)
    signature = identity.sign(key, "p2pchat/event/1", body)
    assert identity.verify_signed(key.public, "p2pchat/event/1", body, signature)
    identity.require_signed(key.public, "p2pchat/event/1", body, signature)
    assert not identity.verify_signed(key.public, "p2pchat/statement/1", body, signature)
    with pytest.raises(RemoteProtocolError):
        identity.require_signed(key.public, "p2pchat/event/1", body + b"\0", signature)
    with pytest.raises(LocalProtocolError):
        identity.sign(key, "event", body)


def test_ids_differ_with_everything_they_are_made_of() -> None:
    one, other = identity.account_id(b"one"), identity.account_id(b"other")
    made = {identity.device_id(account, key) for account in (one, other) for key in (SEED, bytes(32))}
    assert len(made | {one, other}) == 6
    for account, key in ((AccountId(b""), SEED), (one, SEED[:-1])):
        with pytest.raises(LocalProtocolError):
            identity.device_id(account, key)


@given(keys32, keys32)
def test_a_safety_number_is_sixty_digits_and_symmetric(one: bytes, other: bytes) -> None:
    number = safety_number(AccountId(one), AccountId(other))
    assert number == safety_number(AccountId(other), AccountId(one))
    assert len(number) == 60
    assert number.isdecimal()
    assert number.isascii()
    groups = in_groups(number).split(" ")
    assert [len(group) for group in groups] == [5] * 12
    assert "".join(groups) == number


def test_a_safety_number_changes_with_either_account() -> None:
    accounts = [AccountId(bytes((n,)) * 32) for n in range(6)]
    numbers = {safety_number(a, b) for a in accounts for b in accounts if a < b}
    assert len(numbers) == 15


# -- recovery key -----------------------------------------------------------


@given(keys32)
def test_recovery_key_round_trip(seed: bytes) -> None:
    printed = print_recovery(SigningKey(seed))
    assert parse_recovery(printed) == SigningKey(seed)
    assert [len(group) for group in printed.split("-")] == [4] * 14
    assert not set(printed) & set("ILOU")


@given(keys32, st.sampled_from([" ", "\n", "", "- ", "\t"]), st.booleans())
def test_people_write_it_their_own_way(seed: bytes, between: str, lower: bool) -> None:
    written = print_recovery(SigningKey(seed)).replace("-", between).replace("0", "O").replace("1", "l")
    written = written.lower() if lower else written
    assert parse_recovery(f"  {written}\n") == SigningKey(seed)


@given(keys32, st.integers(0, 55), st.integers(1, 31))
def test_one_wrong_character_is_noticed(seed: bytes, at: int, by: int) -> None:
    letters = print_recovery(SigningKey(seed)).replace("-", "")
    alphabet = identity._ALPHABET
    wrong = alphabet[(alphabet.index(letters[at]) + by) % 32]
    with pytest.raises(CommandError, match="check characters"):
        parse_recovery(letters[:at] + wrong + letters[at + 1 :])


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "has 0 characters, not 56"),
        (lambda text: text[:-1], "has 55 characters"),
        (lambda text: text + "0", "has 57 characters"),
        (lambda text: text[:5] + "U" + text[6:], "'U' in group 2"),
        (lambda text: text[:-1] + "é", "'É' in group 14"),
        (lambda text: text[5:] + "-" + text[:4], "check characters"),
    ],
)
def test_a_bad_recovery_key_says_what_is_wrong_and_repeats_no_secret(change: Change, said: str) -> None:
    printed = print_recovery(SigningKey(SEED))
    with pytest.raises(CommandError) as caught:
        parse_recovery(change(printed))
    assert said in caught.value.message
    assert caught.value.hint
    assert caught.value.code == 2
    for group in printed.split("-"):
        assert group not in caught.value.message + caught.value.hint


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_a_command_error(text: str) -> None:
    with pytest.raises(CommandError):
        parse_recovery(text)


def test_what_is_written_down_fits_one_account_only() -> None:
    key = SigningKey(SEED)
    mine, other = AccountId(b"m" * 32), AccountId(b"o" * 32)
    printed = print_bound_recovery(key, mine)
    assert len(printed.split("-")) == 16
    assert printed.startswith(print_recovery(key))
    assert parse_bound_recovery(printed.lower().replace("-", " ")) == (key, bound_to(key, mine))
    assert bound_to(key, mine) != bound_to(key, other) != bound_to(SigningKey(b"x" * 32), other)
    for wrong in (print_recovery(key), printed[:-1], printed + "0", printed[:-1] + "U"):
        with pytest.raises(CommandError) as caught:
            parse_bound_recovery(wrong)
        assert caught.value.kind == "usage"
        assert printed[-9:] not in caught.value.message
