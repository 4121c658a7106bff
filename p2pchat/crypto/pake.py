"""A short code becomes a strong key that only those have who typed the same: SPAKE2.

Decides: the group, the bytes of both messages and of the transcript, and how a code is
written, read and made a scalar. Does not know: who may try how often (daemon/pairing), or
that the key is proven by the handshake that follows.

SPAKE2 of RFC 9382 over edwards25519 with SHA-512, whose points M and N are the RFC's own. Who
listens learns nothing of the code, and who takes part can test one guess per run: so a
code of 30 secret bits, tried once, holds. A short code is never itself a PSK: one
recorded handshake would do to try all of them.

Two things differ from the RFC, both on purpose. The code is stretched by no slow hash, since it
lives for ten minutes and one attempt. And there are no confirmation messages: the key is the
PSK of a Noise handshake, whose first message proves it for one side and whose second for the
other (docs/decisions/0013).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from nacl import bindings

from p2pchat.crypto.primitives import KEY_BYTES, long_hash_tagged
from p2pchat.errors import CommandError, LocalProtocolError, RemoteProtocolError

CODE_TAG: Final = "p2pchat/pake-code/1"
INITIATOR: Final = b"p2pchat device join"
RESPONDER: Final = b"p2pchat device link"
"""Who takes part, as the transcript names them (RFC 9382: A and B)."""

M: Final = bytes.fromhex("d048032c6ea0b6d697ddc2e86bda85a33adac920f1bf18e1b0c6d166a5cecdaf")
N: Final = bytes.fromhex("d3bfb518f44f3430f29d0c92af503865a1ed3281dc69b35dd868ba85f886c4ab")
"""RFC 9382, section 6, edwards25519: nobody knows their logarithms (a test makes them anew)."""

_COFACTOR: Final = (8).to_bytes(32, "little")

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ: Final = {letter: letter for letter in ALPHABET} | {"I": "1", "L": "1", "O": "0"}
SLOT_LETTERS: Final = 2
"""Said in the clear, so that only the machine that shows the code answers."""
SECRET_LETTERS: Final = 6
"""30 bits that nobody says."""
_LETTERS: Final = SLOT_LETTERS + SECRET_LETTERS


@dataclass(frozen=True, slots=True)
class Code:
    """A code as both sides hold it: which machine is meant, and what is secret."""

    slot: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """As people read it: two groups of four."""
        letters = self.slot + self.secret
        return f"{letters[:4]}-{letters[4:]}"


def make_code(entropy: Callable[[int], bytes]) -> Code:
    """A new code; 40 bits of chance, each letter 5."""
    value = int.from_bytes(entropy(5), "big")
    letters = "".join(ALPHABET[value >> shift & 31] for shift in range(5 * (_LETTERS - 1), -1, -5))
    return Code(letters[:SLOT_LETTERS], letters[SLOT_LETTERS:])


def parse_code(text: str) -> Code:
    """Read what a person typed; case, spaces, dashes and I, L, O do not matter.

    CommandError `usage` that repeats at most one character of it.
    """
    letters = "".join(text.split()).replace("-", "").upper()
    wrong = next((letter for letter in letters if letter not in _READ), None)
    if wrong is not None:
        raise CommandError(
            "usage",
            f"a code has no {wrong!r}",
            "two groups of four letters and digits, as shown there: `p2pchat device link`",
        )
    if len(letters) != _LETTERS:
        raise CommandError(
            "usage",
            f"a code of {len(letters)} characters, not {_LETTERS}",
            "two groups of four letters and digits, as shown there: `p2pchat device link`",
        )
    plain = "".join(_READ[letter] for letter in letters)
    return Code(plain[:SLOT_LETTERS], plain[SLOT_LETTERS:])


class Spake2:
    """One side of one run: say `message` once, then `finish` with the other's.

    `chance` is 64 fresh random bytes; never use an object for two runs.
    """

    def __init__(self, code: Code, *, initiator: bool, chance: bytes) -> None:
        if len(chance) != 64:
            raise LocalProtocolError("spake2 takes 64 random bytes")
        self._initiator = initiator
        self._w = scalar_of(code)
        self._x = bindings.crypto_core_ed25519_scalar_reduce(chance)
        ours, self._theirs = (M, N) if initiator else (N, M)
        public = bindings.crypto_scalarmult_ed25519_base_noclamp(self._x)
        self.message: bytes = bindings.crypto_core_ed25519_add(
            bindings.crypto_scalarmult_ed25519_noclamp(self._w, ours), public
        )
        """pA or pB of the RFC: 32 bytes."""

    def __repr__(self) -> str:
        return "Spake2()"  # never a secret in a traceback

    def finish(self, received: bytes) -> bytes:
        """The shared key Ke, 32 bytes: the same on both sides if both had the same code.

        RemoteProtocolError unless `received` is a point of the prime-order group, in its one
        encoding, that is not a masked nothing: anything else is no honest message.
        """
        if len(received) != KEY_BYTES or not bindings.crypto_core_ed25519_is_valid_point(received):
            raise RemoteProtocolError("no point of the group")
        masked = bindings.crypto_scalarmult_ed25519_noclamp(self._w, self._theirs)
        scalar = bindings.crypto_core_ed25519_scalar_mul(_COFACTOR, self._x)
        try:
            bare = bindings.crypto_core_ed25519_sub(received, masked)
            shared = bindings.crypto_scalarmult_ed25519_noclamp(scalar, bare)
        except RuntimeError as error:  # the neutral element: no key could come of it
            raise RemoteProtocolError("no point of the group") from error
        first, second = (self.message, received) if self._initiator else (received, self.message)
        return transcript_key(first, second, shared, self._w)


def scalar_of(code: Code) -> bytes:
    """w of the RFC: BLAKE2b-512("p2pchat/pake-code/1" ‖ the eight letters) mod the group's order."""
    digest = long_hash_tagged(CODE_TAG, (code.slot + code.secret).encode("ascii"))
    return bindings.crypto_core_ed25519_scalar_reduce(digest)


def transcript_key(first: bytes, second: bytes, shared: bytes, w: bytes) -> bytes:
    """Ke of RFC 9382, section 4: the first half of SHA-512 over the transcript, in which each part
    follows its length in eight bytes, little-endian; w is written big-endian, as the RFC wants it."""
    parts = (INITIATOR, RESPONDER, first, second, shared, w[::-1])
    transcript = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return hashlib.sha512(transcript).digest()[:KEY_BYTES]
