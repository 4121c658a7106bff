"""The Noise handshake, revision 34, as a machine without I/O.

Decides: the bytes of handshake messages and what each proves, for the one suite
25519_ChaChaPoly_BLAKE2b. Patterns are rows of a table, PSK modifiers are read from the
name; fallback patterns are left out, since nothing here falls back. Does not know:
sockets, framing, who may connect, where randomness comes from (ephemeral secrets are
arguments) or what payloads mean.

p2pchat speaks `Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b` only. The other rows cost a line
each and let public vectors that nobody here wrote prove the machine.
Source: The Noise Protocol Framework, revision 34.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2pchat.crypto.primitives import (
    KEY_BYTES,
    LONG_HASH_BYTES,
    TAG_BYTES,
    hkdf,
    open_chacha,
    seal_chacha,
    x25519,
    x25519_public,
)
from p2pchat.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL: Final = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"
"""The one handshake of p2pchat's links."""
SUITE: Final = "25519_ChaChaPoly_BLAKE2b"
MAX_MESSAGE: Final = 65535
"""Noise, section 3: fits the two-byte length of a frame."""
MAX_PLAINTEXT: Final = MAX_MESSAGE - TAG_BYTES
MAX_NONCE: Final = 2**64 - 1
"""Reserved for REKEY; a cipher that reaches it is exhausted."""

# name: initiator's pre-message, responder's pre-message, then the messages in turn,
# initiator first (Noise, sections 7.4, 7.5 and 18.1).
PATTERNS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    # one-way
    "N": ("", "s", ("e es",)),
    "K": ("s", "s", ("e es ss",)),
    "X": ("", "s", ("e es s ss",)),
    # interactive
    "NN": ("", "", ("e", "e ee")),
    "NK": ("", "s", ("e es", "e ee")),
    "NX": ("", "", ("e", "e ee s es")),
    "KN": ("s", "", ("e", "e ee se")),
    "KK": ("s", "s", ("e es ss", "e ee se")),
    "KX": ("s", "", ("e", "e ee se s es")),
    "XN": ("", "", ("e", "e ee", "s se")),
    "XK": ("", "s", ("e es", "e ee", "s se")),
    "XX": ("", "", ("e", "e ee s es", "s se")),
    "IN": ("", "", ("e s", "e ee se")),
    "IK": ("", "s", ("e es s ss", "e ee se")),
    "IX": ("", "", ("e s", "e ee se s es")),
    # deferred: a 1 puts off the authentication of that side by one message
    "NK1": ("", "s", ("e", "e ee es")),
    "NX1": ("", "", ("e", "e ee s", "es")),
    "X1N": ("", "", ("e", "e ee", "s", "se")),
    "X1K": ("", "s", ("e es", "e ee", "s", "se")),
    "XK1": ("", "s", ("e", "e ee es", "s se")),
    "X1K1": ("", "s", ("e", "e ee es", "s", "se")),
    "X1X": ("", "", ("e", "e ee s es", "s", "se")),
    "XX1": ("", "", ("e", "e ee s", "es s se")),
    "X1X1": ("", "", ("e", "e ee s", "es s", "se")),
    "K1N": ("s", "", ("e", "e ee", "se")),
    "K1K": ("s", "s", ("e es", "e ee", "se")),
    "KK1": ("s", "s", ("e", "e ee se es")),
    "K1K1": ("s", "s", ("e", "e ee es", "se")),
    "K1X": ("s", "", ("e", "e ee s es", "se")),
    "KX1": ("s", "", ("e", "e ee se s", "es")),
    "K1X1": ("s", "", ("e", "e ee s", "se es")),
    "I1N": ("", "", ("e s", "e ee", "se")),
    "I1K": ("", "s", ("e es s", "e ee", "se")),
    "IK1": ("", "s", ("e s", "e ee se es")),
    "I1K1": ("", "s", ("e s", "e ee es", "se")),
    "I1X": ("", "", ("e s", "e ee s es", "se")),
    "IX1": ("", "", ("e s", "e ee se s", "es")),
    "I1X1": ("", "", ("e s", "e ee s", "se es")),
}

# Token: the initiator's key and the responder's key that meet (section 5.3).
_MEETS: Final = {"ee": ("e", "e"), "es": ("e", "s"), "se": ("s", "e"), "ss": ("s", "s")}

_NAME: Final = re.compile(r"Noise_([A-Z0-9]+?)(psk[0-9](?:\+psk[0-9])*)?_" + re.escape(SUITE))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One handshake, read from its protocol name.

    `pre` is (initiator's, responder's) static known beforehand; `messages` holds the
    tokens of each message, initiator's first; `psks` counts the psk tokens in them.
    """

    protocol: str
    pre: tuple[bool, bool]
    messages: tuple[tuple[str, ...], ...]
    psks: int

    @property
    def one_way(self) -> bool:
        """Only the initiator ever writes (section 7.4)."""
        return len(self.messages) == 1

    def sends_static(self, initiator: bool) -> bool:
        """Does this side's static key travel in a message?"""
        return any("s" in tokens for tokens in self.messages[0 if initiator else 1 :: 2])


@functools.cache
def parse(protocol: str) -> Pattern:
    """`Noise_XXpsk0+psk3_25519_ChaChaPoly_BLAKE2b` as a Pattern.

    psk0 goes before the first message's tokens, pskN behind those of the Nth (section
    9). LocalProtocolError for another suite, an unknown pattern or fallback, or
    modifiers that repeat, descend or point past the last message.
    """
    match = _NAME.fullmatch(protocol)
    row = PATTERNS.get(match[1]) if match else None
    if match is None or row is None:
        raise LocalProtocolError(f"unknown noise protocol {protocol!r}")
    initiator_pre, responder_pre, texts = row
    messages = [text.split() for text in texts]
    places = [int(modifier[3:]) for modifier in match[2].split("+")] if match[2] else []
    if places != sorted(set(places)) or any(place > len(messages) for place in places):
        raise LocalProtocolError(f"impossible psk modifiers in {protocol!r}")
    for place in places:
        if place == 0:
            messages[0].insert(0, "psk")
        else:
            messages[place - 1].append("psk")
    return Pattern(
        protocol,
        (bool(initiator_pre), bool(responder_pre)),
        tuple(tuple(tokens) for tokens in messages),
        len(places),
    )


_FOUR_ZEROS: Final = bytes(4)
_EXHAUSTED: Final = "noise cipher exhausted: this direction may seal no more"


class CipherState:
    """A key and the counter of what it sealed (section 5.1).

    Without a key (before the first DH) text passes through unchanged.
    """

    __slots__ = ("_key", "_nonce")

    def __init__(self, key: bytes | None = None, nonce: int = 0) -> None:
        self._key = key
        self._nonce = nonce

    @property
    def has_key(self) -> bool:
        """False only inside a handshake, before its first shared secret."""
        return self._key is not None

    @property
    def nonce(self) -> int:
        """Number of the next message under this key; not reset by a rekey."""
        return self._nonce

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        """Seal the next message; LocalProtocolError if 2^64 - 1 were sealed."""
        if self._key is None:
            return plaintext
        if self._nonce >= MAX_NONCE:
            raise LocalProtocolError(_EXHAUSTED)
        sealed = seal_chacha(self._key, _nonce_bytes(self._nonce), ad, plaintext)
        self._nonce += 1
        return sealed

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        """Open the next message; RemoteProtocolError if it is not exactly that one.

        The counter moves only on success; callers end the link on failure all the same.
        """
        if self._key is None:
            return ciphertext
        if self._nonce >= MAX_NONCE:
            raise LocalProtocolError(_EXHAUSTED)
        plaintext = open_chacha(self._key, _nonce_bytes(self._nonce), ad, ciphertext)
        self._nonce += 1
        return plaintext

    def rekey(self) -> None:
        """REKEY (section 11.3): a new key from the old one, nonce not reset."""
        if self._key is None:
            raise LocalProtocolError("rekey before there is a key")
        self._key = seal_chacha(self._key, _nonce_bytes(MAX_NONCE), b"", bytes(KEY_BYTES))[:KEY_BYTES]


def _nonce_bytes(nonce: int) -> bytes:
    # Section 12.3: 32 bits of zeros, then the counter little-endian.
    return _FOUR_ZEROS + nonce.to_bytes(8, "little")


class _SymmetricState:
    """The running hash and keys of a handshake (section 5.2)."""

    __slots__ = ("chaining_key", "cipher", "hash")

    def __init__(self, protocol: str) -> None:
        # Every name the table can give is shorter than a hash, so none is hashed itself.
        self.hash = protocol.encode("ascii").ljust(LONG_HASH_BYTES, b"\0")
        self.chaining_key = self.hash
        self.cipher = CipherState()

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.blake2b(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = hkdf(self.chaining_key, material, 2)
        self.cipher = CipherState(key[:KEY_BYTES])

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining_key, extra, key = hkdf(self.chaining_key, material, 3)
        self.mix_hash(extra)
        self.cipher = CipherState(key[:KEY_BYTES])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = self.cipher.encrypt_with_ad(self.hash, plaintext)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        plaintext = self.cipher.decrypt_with_ad(self.hash, sealed)
        self.mix_hash(sealed)
        return plaintext


class HandshakeState:
    """One side of one handshake (section 5.3).

    Call `write_message` and `read_message` in turn, then `split` when `finished`. Any
    error ends it: later calls raise LocalProtocolError, and nothing of it may be used.

    `protocol`: full name, see `parse`. `prologue`: bytes both sides must hold equal.
    `s`: our static secret, 32 bytes, where the pattern has one. `rs`: the other's static
    public key, where the pattern knows it beforehand. `psks`: 32 bytes each, one per
    modifier, in order. LocalProtocolError if any is missing, superfluous or misshapen.
    """

    def __init__(
        self,
        protocol: str,
        *,
        initiator: bool,
        prologue: bytes = b"",
        s: bytes | None = None,
        rs: bytes | None = None,
        psks: Sequence[bytes] = (),
    ) -> None:
        pattern = parse(protocol)
        ours_known, theirs_known = pattern.pre if initiator else pattern.pre[::-1]
        if (s is not None) != (ours_known or pattern.sends_static(initiator)):
            raise LocalProtocolError(f"{protocol} needs our static key exactly where it names one")
        if (rs is not None) != theirs_known:
            raise LocalProtocolError(f"{protocol} needs the other's static key exactly where it is known")
        if rs is not None and len(rs) != KEY_BYTES:
            raise LocalProtocolError(f"a static public key has {KEY_BYTES} bytes")
        if len(psks) != pattern.psks or any(len(psk) != KEY_BYTES for psk in psks):
            raise LocalProtocolError(f"{protocol} needs {pattern.psks} psk of {KEY_BYTES} bytes")

        self._pattern = pattern
        self._initiator = initiator
        self._psks = list(psks)
        self._turn = 0
        self._broken = False
        self._split_done = False
        self._secret: dict[str, bytes] = {}
        self._public: dict[str, bytes] = {}
        self._remote: dict[str, bytes] = {}
        if s is not None:
            self._secret["s"] = s
            self._public["s"] = x25519_public(s)
        if rs is not None:
            self._remote["s"] = rs

        self._state = _SymmetricState(protocol)
        self._state.mix_hash(prologue)
        if pattern.pre[0]:
            self._state.mix_hash(self._public["s"] if initiator else self._remote["s"])
        if pattern.pre[1]:
            self._state.mix_hash(self._remote["s"] if initiator else self._public["s"])

    @property
    def finished(self) -> bool:
        """All messages are through and every tag held."""
        return not self._broken and self._turn == len(self._pattern.messages)

    @property
    def my_turn(self) -> bool:
        """The next call must be `write_message`."""
        return (
            not self._broken
            and self._turn < len(self._pattern.messages)
            and (self._turn % 2 == 0) == self._initiator
        )

    @property
    def needs_ephemeral(self) -> bool:
        """The next `write_message` needs 32 fresh random bytes."""
        return self.my_turn and "e" in self._pattern.messages[self._turn]

    @property
    def remote_static(self) -> bytes | None:
        """The other's static public key as soon as it is known; proven once finished."""
        return self._remote.get("s")

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes that both sides hold equal and no other session has (section 11.2)."""
        self._need_finished()
        return self._state.hash

    @property
    def chaining_key(self) -> bytes:
        """The final chaining key, 64 secret bytes, from which bulk keys are derived."""
        self._need_finished()
        return self._state.chaining_key

    def write_message(self, payload: bytes = b"", ephemeral_secret: bytes | None = None) -> bytes:
        """Our next message carrying `payload`.

        `ephemeral_secret`: 32 random bytes used nowhere else; needed where
        `needs_ephemeral`, ignored elsewhere. LocalProtocolError out of turn, without it,
        or if the message would pass 65,535 bytes; RemoteProtocolError if the other's key
        has small order.
        """
        if not self.my_turn:
            raise LocalProtocolError("noise write out of turn")
        if self.needs_ephemeral and ephemeral_secret is None:
            raise LocalProtocolError("this noise message needs an ephemeral secret")
        self._broken = True  # until the message stands, whatever may be raised below
        message = bytearray()
        for word in self._pattern.messages[self._turn]:
            if word == "e" and ephemeral_secret is not None:
                self._secret["e"] = ephemeral_secret
                self._public["e"] = x25519_public(ephemeral_secret)
                message += self._public["e"]
                self._mix_ephemeral(self._public["e"])
            elif word == "s":
                message += self._state.encrypt_and_hash(self._public["s"])
            else:
                self._mix(word)
        message += self._state.encrypt_and_hash(payload)
        if len(message) > MAX_MESSAGE:
            raise LocalProtocolError(f"noise message of {len(message)} bytes, at most {MAX_MESSAGE}")
        self._turn += 1
        self._broken = False
        return bytes(message)

    def read_message(self, message: bytes) -> bytes:
        """The payload of the other's next message.

        RemoteProtocolError if it is too short, too long, or any tag or key in it fails.
        A message without tags yet (XX's first) proves nothing about who wrote it.
        """
        if self._broken or self.finished or self.my_turn:
            raise LocalProtocolError("noise read out of turn")
        self._broken = True
        if len(message) > MAX_MESSAGE:
            raise RemoteProtocolError("handshake message too long")
        at = 0
        for word in self._pattern.messages[self._turn]:
            if word in ("e", "s"):
                sealed = word == "s" and self._state.cipher.has_key
                end = at + KEY_BYTES + (TAG_BYTES if sealed else 0)
                if end > len(message):
                    raise RemoteProtocolError("handshake message too short")
                piece, at = message[at:end], end
                if word == "e":
                    self._remote["e"] = piece
                    self._mix_ephemeral(piece)
                else:
                    self._remote["s"] = self._state.decrypt_and_hash(piece)
            else:
                self._mix(word)
        payload = self._state.decrypt_and_hash(message[at:])
        self._turn += 1
        self._broken = False
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """(sending, receiving) of this side. Once, and only when finished.

        After a one-way pattern the direction that must not be used comes exhausted.
        """
        self._need_finished()
        if self._split_done:
            # A second pair would start again at nonce 0 under the same keys.
            raise LocalProtocolError("a noise handshake splits once")
        self._split_done = True
        first, second = hkdf(self._state.chaining_key, b"", 2)
        forward = CipherState(first[:KEY_BYTES])
        backward = CipherState(second[:KEY_BYTES], MAX_NONCE if self._pattern.one_way else 0)
        return (forward, backward) if self._initiator else (backward, forward)

    def _mix_ephemeral(self, public: bytes) -> None:
        self._state.mix_hash(public)
        if self._pattern.psks:  # section 9.2: with a psk, e must enter the key as well
            self._state.mix_key(public)

    def _mix(self, word: str) -> None:
        if word == "psk":
            self._state.mix_key_and_hash(self._psks.pop(0))
            return
        initiators, responders = _MEETS[word]
        ours, theirs = (initiators, responders) if self._initiator else (responders, initiators)
        self._state.mix_key(x25519(self._secret[ours], self._remote[theirs]))

    def _need_finished(self) -> None:
        if not self.finished:
            raise LocalProtocolError("the noise handshake is not finished")
