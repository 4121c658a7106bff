"""Keys of people and machines, their ids, and the numbers people compare.

Decides: which keys a device and a recovery key consist of, how ids and safety numbers
follow from them, how a recovery key is printed and read, and that every signature
covers a domain tag. Does not know: the statements that bind keys to a person (wire,
engine), whom to trust, or where secrets are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from p2pchat import ids
from p2pchat.crypto.primitives import (
    KEY_BYTES,
    ed25519_keypair,
    ed25519_sign,
    ed25519_verify,
    hash_tagged,
    long_hash_tagged,
    same,
    tag_bytes,
    x25519_public,
)
from p2pchat.errors import CommandError, LocalProtocolError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId

ACCOUNT_TAG: Final = "p2pchat/account/1"
DEVICE_TAG: Final = "p2pchat/device/1"
SAFETY_TAG: Final = "p2pchat/safety/1"
BOUND_TAG: Final = "p2pchat/recovery-account/1"
RECOVERY_TAG: Final = "p2pchat/recovery/1"

Entropy = Callable[[int], bytes]
"""Asked for n, gives n fresh random bytes; a seeded one makes a test repeat."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key from its 32-byte seed; `public` is the 32 bytes others know."""

    seed: bytes = field(repr=False)
    public: bytes = field(init=False)
    expanded: bytes = field(init=False, repr=False, compare=False)
    """seed ‖ public, what signing needs; kept because deriving it doubles the cost."""

    def __post_init__(self) -> None:
        public, expanded = ed25519_keypair(self.seed)
        object.__setattr__(self, "public", public)
        object.__setattr__(self, "expanded", expanded)


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """An X25519 key from its 32-byte secret; for links, or as a prekey to seal to."""

    secret: bytes = field(repr=False)
    public: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", x25519_public(self.secret))


@dataclass(frozen=True, slots=True)
class DeviceSecrets:
    """The two secrets of a machine, 32 bytes each, never copied to another machine.

    Signing and Noise keys are different keys on purpose: Noise (section 14) wants its
    static key used nowhere else.
    """

    signing_seed: bytes = field(repr=False)
    noise_secret: bytes = field(repr=False)
    signing: SigningKey = field(init=False, compare=False)
    noise: NoiseKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signing", SigningKey(self.signing_seed))
        object.__setattr__(self, "noise", NoiseKey(self.noise_secret))


def generate_device(entropy: Entropy) -> DeviceSecrets:
    """New keys for a machine: 32 bytes for signing, then 32 for Noise."""
    return DeviceSecrets(_draw(entropy), _draw(entropy))


def generate_prekey(entropy: Entropy) -> NoiseKey:
    """A new key to which epoch keys are sealed for a device; replaced every week."""
    return NoiseKey(_draw(entropy))


def generate_recovery(entropy: Entropy) -> SigningKey:
    """A new recovery key of an account."""
    return SigningKey(_draw(entropy))


def _draw(entropy: Entropy) -> bytes:
    drawn = entropy(KEY_BYTES)
    if len(drawn) != KEY_BYTES:
        raise LocalProtocolError(f"entropy gave {len(drawn)} bytes instead of {KEY_BYTES}")
    return drawn


# -- signatures -------------------------------------------------------------


def sign(key: SigningKey, tag: str, body: bytes) -> bytes:
    """Ed25519 over tag ‖ body, 64 bytes; the tag keeps one record from passing as another."""
    return ed25519_sign(key.expanded, tag_bytes(tag) + body)


def verify_signed(public: bytes, tag: str, body: bytes, signature: bytes) -> bool:
    """Did the holder of `public` sign tag ‖ body? False for wrong lengths as well."""
    return ed25519_verify(public, tag_bytes(tag) + body, signature)


def require_signed(public: bytes, tag: str, body: bytes, signature: bytes) -> None:
    """RemoteProtocolError unless `verify_signed`."""
    if not verify_signed(public, tag, body, signature):
        raise RemoteProtocolError("signature does not hold")


# -- ids --------------------------------------------------------------------


def account_id(signed_genesis: bytes) -> AccountId:
    """BLAKE2b-256("p2pchat/account/1" ‖ the encoded genesis statement with signature)."""
    return AccountId(hash_tagged(ACCOUNT_TAG, signed_genesis))


def device_id(account: AccountId, signing_public: bytes) -> DeviceId:
    """BLAKE2b-256("p2pchat/device/1" ‖ account id ‖ signing public key)."""
    if len(account) != ids.ID_BYTES or len(signing_public) != KEY_BYTES:
        raise LocalProtocolError("a device id is made of a 32-byte account id and a 32-byte key")
    return DeviceId(hash_tagged(DEVICE_TAG, account, signing_public))


# -- safety number ----------------------------------------------------------


def safety_number(one: AccountId, other: AccountId) -> str:
    """60 digits, equal on both sides, that change when either account does.

    The smaller account id comes first. Each gives 30 digits: BLAKE2b-512(
    "p2pchat/safety/1" ‖ account id), its first six 5-byte groups as big-endian
    integers, each mod 100,000 and zero padded to 5 digits. About 99 bits a side: enough
    against a second preimage, which is what an impostor needs; accounts are hashes of
    signed statements, so nothing is gained by making it slow.
    """
    return "".join(_digits(account) for account in sorted((one, other)))


def in_groups(number: str) -> str:
    """A safety number as people read it: twelve groups of five digits."""
    return " ".join(number[at : at + 5] for at in range(0, len(number), 5))


def _digits(account: AccountId) -> str:
    digest = long_hash_tagged(SAFETY_TAG, account)
    groups = (digest[at : at + 5] for at in range(0, 30, 5))
    return "".join(f"{int.from_bytes(group, 'big') % 100_000:05d}" for group in groups)


# -- recovery key on paper --------------------------------------------------

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ: Final = {letter: value for value, letter in enumerate(_ALPHABET)} | {"I": 1, "L": 1, "O": 0}
_CHECK_BYTES: Final = 3
_LETTERS: Final = (KEY_BYTES + _CHECK_BYTES) * 8 // 5
_GROUP: Final = 4


def print_recovery(key: SigningKey) -> str:
    """The seed as 14 groups of 4 characters: what a person writes down.

    seed (32 bytes) ‖ the first 3 bytes of BLAKE2b-256("p2pchat/recovery/1" ‖ seed), as
    56 characters of Crockford's base 32 (no I, L, O, U), joined by "-".
    """
    value = int.from_bytes(key.seed + _check(key.seed), "big")
    text = "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_LETTERS - 1), -1, -5))
    return "-".join(text[at : at + _GROUP] for at in range(0, _LETTERS, _GROUP))


def parse_recovery(text: str) -> SigningKey:
    """Read what `print_recovery` printed; case, spaces, dashes and I/L/O do not matter.

    CommandError `usage` with what is wrong and in which group. The text itself is a
    secret, so no message repeats more than one character of it.
    """
    letters = "".join(text.split()).replace("-", "").upper()
    value = 0
    for at, letter in enumerate(letters):
        if letter not in _READ:
            raise CommandError(
                "usage",
                f"recovery key: {letter!r} in group {at // _GROUP + 1} is no letter of a recovery key",
                "copy it as printed: digits and capital letters without I, L, O and U",
            )
        value = value << 5 | _READ[letter] if at < _LETTERS else value
    if len(letters) != _LETTERS:
        raise CommandError(
            "usage",
            f"recovery key has {len(letters)} characters, not {_LETTERS}",
            f"it is {_LETTERS // _GROUP} groups of {_GROUP}, as `p2pchat device recovery-key` printed it",
        )
    raw = value.to_bytes(KEY_BYTES + _CHECK_BYTES, "big")
    seed = raw[:KEY_BYTES]
    if not same(raw[KEY_BYTES:], _check(seed)):
        raise CommandError(
            "usage",
            "recovery key: the check characters at its end do not fit",
            "a character is wrong or two changed places; compare it group by group with the paper",
        )
    return SigningKey(seed)


_BOUND_LETTERS: Final = 8


def print_bound_recovery(key: SigningKey, account: AccountId) -> str:
    """What a person writes down: `print_recovery`, then 2 groups that only fit his account.

    BLAKE2b-256("p2pchat/recovery-account/1" ‖ seed ‖ account id), its first 40 bits. A machine that
    recovers has to be told by others which account the key belongs to. The public half stands in
    the genesis, so anybody could make an account of his own that names it; he cannot make these
    letters fit without the seed, and has one guess a time.
    """
    return f"{print_recovery(key)}-{in_fours(bound_to(key, account))}"


def parse_bound_recovery(text: str) -> tuple[SigningKey, str]:
    """The key, and the letters that its account has to fit; CommandError as `parse_recovery`."""
    letters = "".join(text.split()).replace("-", "").upper()
    if len(letters) != _LETTERS + _BOUND_LETTERS:
        groups = (_LETTERS + _BOUND_LETTERS) // _GROUP
        raise CommandError(
            "usage",
            f"recovery key has {len(letters)} characters, not {_LETTERS + _BOUND_LETTERS}",
            f"it is {groups} groups of {_GROUP}, as `p2pchat device recovery-key` printed it",
        )
    key = parse_recovery(letters[:_LETTERS])
    for at, letter in enumerate(letters[_LETTERS:], _LETTERS):
        if letter not in _READ:
            raise CommandError(
                "usage",
                f"recovery key: {letter!r} in group {at // _GROUP + 1} is no letter of a recovery key",
                "copy it as printed: digits and capital letters without I, L, O and U",
            )
    return key, "".join(_ALPHABET[_READ[letter]] for letter in letters[_LETTERS:])


def bound_to(key: SigningKey, account: AccountId) -> str:
    """The 8 letters that say which account a recovery key is of."""
    value = int.from_bytes(hash_tagged(BOUND_TAG, key.seed, account)[:5], "big")
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_BOUND_LETTERS - 1), -1, -5))


def in_fours(text: str) -> str:
    """Letters as people read them."""
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def _check(seed: bytes) -> bytes:
    return hash_tagged(RECOVERY_TAG, seed)[:_CHECK_BYTES]
