"""One connection: frames, handshake and sealed records, without I/O.

Decides: what may come when on a link, who the peer is, when it is silent for too long
and when keys change (docs/protocol.md, "Links"). Does not know: sockets, or what the
records mean. Time and randomness are handed in.

    initiator   greeting ─ answer ─ open ─ ended
    responder   preface ─ first ─ third ─ open ─ ended
                     └ handed: a machine wants to be linked or recovered (pairing)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from p2pchat.crypto.noise import PROTOCOL, HandshakeState
from p2pchat.crypto.primitives import hash_tagged
from p2pchat.crypto.session import Session, pad, unpad
from p2pchat.engine.accounts import verify_hello
from p2pchat.engine.ports import Entropy
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.wire.codec import Record, decode, encode
from p2pchat.wire.framing import FrameReader, frame
from p2pchat.wire.limits import (
    DEAD_AFTER_S,
    HANDSHAKE_S,
    MAX_FRAME,
    MAX_HELLO,
    MAX_PREAUTH_FRAME,
    PING_AFTER_S,
)
from p2pchat.wire.messages.link import (
    Close,
    Hello,
    Ping,
    Pong,
    Preface,
    Rekey,
    decode_frame,
    encode_frame,
)

OPEN_OFFICE_KEY: Final = hash_tagged("p2pchat/open-office/1")
"""What everybody who has set up nothing shares. It hides nothing; it marks the protocol."""
CHAT: Final = "chat"
BULK: Final = "bulk"
RECOVER: Final = "recover"
PAKE: Final = "pake"
HANDED_OVER: Final = ((CHAT, PAKE), (RECOVER, "office"))
"""Purpose and kind of key of a preface by somebody who has no statements yet."""
PROBE: Final = "probe"
"""A look at the way between two machines; it changes no chat link."""
PURPOSES: Final = (CHAT, BULK, PROBE)
OWN_PINGS: Final = 1 << 32
"""Pongs below this number answer the link's own pings and are not handed on."""
ANSWERER_WAITS_S: Final = 2.0
PINGS_TOGETHER_S: Final = PING_AFTER_S / 2
MOVES: Final[dict[str, tuple[str, ...]]] = {
    "greeting": ("answer", "ended"),
    "answer": ("open", "ended"),
    "preface": ("first", "handed", "ended"),
    "handed": ("ended",),
    "first": ("third", "ended"),
    "third": ("open", "ended"),
    "open": ("ended",),
    "ended": (),
}
"""Which state may follow which."""


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete and `hello` proven by its statements."""

    hello: Hello
    account: AccountId
    device: DeviceId
    handshake_hash: bytes


@dataclass(frozen=True, slots=True)
class Got:
    """A record from the peer."""

    message: Record


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come. `clean`: the peer said CLOSE, so nothing was cut off."""

    reason: str
    clean: bool


@dataclass(frozen=True, slots=True)
class Handed:
    """The peer has no statements to prove yet: whoever links machines takes over after the preface."""

    preface: bytes


Event = Established | Got | Ended | Handed


class LinkMachine:
    """One side of one link.

    `noise_secret`: 32 bytes, ours. `hello`: our encoded Hello. `psks`: by kind, newest
    first. `now`: monotonic seconds. `pairing`: who wants to be linked or recovered is handed
    over (`Handed`), else turned away. Bytes to send collect in `data_to_send`; `end` says how
    it ended, before `next_event` comes to it.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        noise_secret: bytes,
        hello: bytes,
        psks: Mapping[str, Sequence[bytes]],
        entropy: Entropy,
        now: float,
        purpose: str = "chat",
        pairing: bool = False,
    ) -> None:
        if len(hello) > MAX_HELLO:
            raise LocalProtocolError(f"a hello of {len(hello)} bytes, at most {MAX_HELLO}")
        self.initiator = initiator
        self.state = "greeting" if initiator else "preface"
        self.end: Ended | None = None
        self.purpose = purpose
        """chat, bulk or probe: what the initiator's preface says."""
        self.chaining_key = b""
        """Of a bulk link, once open: what its bulk keys are made of."""
        self._pairing = pairing
        self._secret = noise_secret
        self._hello = hello
        self._psks = psks
        self._entropy = entropy
        self._frames = FrameReader(MAX_PREAUTH_FRAME)
        self._events: deque[Event] = deque()
        self._out = bytearray()
        self._preface = b""
        self._noise: HandshakeState | None = None
        self._session: Session | None = None
        # Both sides hear the last frame at about the same time. The side that was dialled
        # waits a little longer, so that one ping and one pong do for the two of them.
        self._patience = PING_AFTER_S if initiator else PING_AFTER_S + ANSWERER_WAITS_S
        self._began = now
        self._heard = now
        self._pinged = now
        self._pings = 0
        self._answering = True
        self.frames = 0
        """How many whole frames have come: what the peer has made us do."""

    # -- the shell's side -----------------------------------------------------------------

    def start(self) -> None:
        """The initiator's first words: preface and first handshake message."""
        if self.state != "greeting":
            raise LocalProtocolError("only an initiator starts, and once")
        self._preface = encode(Preface(1, self.purpose, "office"))
        self._noise = self._handshake(self._psks["office"][0])
        first = self._noise.write_message(b"", self._entropy.bytes(32))
        self._out += frame(self._preface) + frame(first)
        self._move("answer")

    def receive_data(
        self, data: bytes | bytearray | memoryview, now: float, *, answering: bool = True
    ) -> None:
        """Take bytes from the peer; what they amount to comes from `next_event`.

        `answering` False leaves pings unanswered: for a peer that asks and does not read,
        whose answers would pile up here without end.
        """
        if self.state == "ended":
            return
        self._answering = answering
        self._frames.receive_data(data)
        try:
            while self.state not in ("ended", "handed") and (body := self._frames.next_frame()) is not None:
                self._heard = now
                self.frames += 1
                self._take(body, now)
        except RemoteProtocolError as error:
            self._end(error.reason, clean=False, say=error.reason)

    def end_of_stream(self) -> None:
        """The peer's bytes are over: truncation, unless it said CLOSE before."""
        if self.state != "ended":
            self._end("truncated", clean=False)

    def next_event(self) -> Event | None:
        """What happened next, or None until more bytes come."""
        return self._events.popleft() if self._events else None

    @property
    def has_event(self) -> bool:
        """Whether `next_event` has another one already."""
        return bool(self._events)

    @property
    def only_message(self) -> Record | None:
        """The record that `next_event` has, if it has nothing else."""
        if len(self._events) != 1:
            return None
        event = self._events[0]
        return event.message if isinstance(event, Got) else None

    @property
    def wants_to_send(self) -> bool:
        """Whether there are bytes to send."""
        return bool(self._out)

    def data_to_send(self) -> bytes:
        """Bytes to send now; each is returned once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def leftover(self) -> bytes:
        """What has come and is no whole frame yet: for who reads the stream himself from here on."""
        return self._frames.take_rest()

    @property
    def is_open(self) -> bool:
        """Whether records may be sent."""
        return self.state == "open"

    def send(self, message: Record, now: float) -> None:
        """Seal a record behind what is to be sent. Nothing happens after the end."""
        if self.state == "ended":
            return
        session = self._session
        if session is None or self.state != "open":
            raise LocalProtocolError("a record before the handshake is complete")
        if session.needs_rekey(now):
            self._seal(Rekey())
            session.rekey_sending(now)
        self._seal(message)

    def close(self, reason: str) -> None:
        """Say CLOSE if there is a key to say it under, and end."""
        if self.state != "ended":
            self._end(reason, clean=True, say=reason)

    def tick(self, now: float) -> None:
        """Ping a silent peer, give up a dead one or a handshake that takes too long."""
        if self.state in ("ended", "handed"):
            return
        if self.state != "open":
            if now >= self._began + HANDSHAKE_S:
                self._end("handshake too slow", clean=False)
        elif now >= self._heard + DEAD_AFTER_S:
            self._end("silent", clean=False)
        elif now >= self._ping_due():
            self._pinged = now
            self._pings = (self._pings + 1) % OWN_PINGS
            self.send(Ping(self._pings), now)

    def deadline(self) -> float:
        """When `tick` has something to do; infinity after the end.

        The sums are those of `tick`, digit for digit: a deadline that `tick` does not see
        as reached would be waited for without end.
        """
        if self.state in ("ended", "handed"):
            return float("inf")
        if self.state != "open":
            return self._began + HANDSHAKE_S
        return min(self._ping_due(), self._heard + DEAD_AFTER_S)

    def _ping_due(self) -> float:
        """Who dialled pings up to half the time sooner, at moments all his links have in common: a
        daemon with many of them wakes up for all at once."""
        due = max(self._heard, self._pinged) + self._patience
        return math.floor(due / PINGS_TOGETHER_S) * PINGS_TOGETHER_S if self.initiator else due

    # -- inside ------------------------------------------------------------------------------

    def _take(self, body: bytes, now: float) -> None:
        match self.state:
            case "open":
                self._take_record(body, now)
            case "preface":
                self._take_preface(body)
            case "first":
                self._take_first(body)
            case "answer":
                self._take_answer(body, now)
            case "third":
                self._take_third(body, now)
            case _:
                self._take_record(body, now)

    def _take_preface(self, body: bytes) -> None:
        preface = decode(Preface, body)
        if self._pairing and preface.v == 1 and (preface.purpose, preface.psk) in HANDED_OVER:
            self._move("handed")
            self._events.append(Handed(body))
            return
        if preface.v != 1 or preface.purpose not in PURPOSES or preface.psk not in self._psks:
            raise RemoteProtocolError("preface not understood")
        self.purpose = preface.purpose
        self._preface = body
        self._move("first")

    def _take_first(self, body: bytes) -> None:
        """Try the keys of the kind that was named; with none right not a byte is sent."""
        kind = decode(Preface, self._preface).psk
        for psk in self._psks[kind]:
            noise = self._handshake(psk)
            try:
                payload = noise.read_message(body)
            except RemoteProtocolError:
                continue
            if payload:
                raise RemoteProtocolError("payload in the first handshake message")
            self._out += frame(noise.write_message(self._hello, self._entropy.bytes(32)))
            self._noise = noise
            self._move("third")
            return
        self._end("another key", clean=False)

    def _take_answer(self, body: bytes, now: float) -> None:
        noise = self._need_noise()
        established = self._proven(noise.read_message(body), noise)
        self._out += frame(noise.write_message(self._hello))
        self._open(established, noise, now)

    def _take_third(self, body: bytes, now: float) -> None:
        noise = self._need_noise()
        self._open(self._proven(noise.read_message(body), noise), noise, now)

    def _proven(self, payload: bytes, noise: HandshakeState) -> tuple[Hello, AccountId]:
        hello = decode(Hello, payload)
        static = noise.remote_static
        if hello.v != 1 or static is None or len(hello.device) != 32:
            raise RemoteProtocolError("hello not understood")
        if not 0 <= hello.port < 65536 or not 0 <= hello.wall_ms < 2**48:
            raise RemoteProtocolError("hello out of range")
        return hello, verify_hello(hello, static).id

    def _open(self, proven: tuple[Hello, AccountId], noise: HandshakeState, now: float) -> None:
        hello, account = proven
        self._session = Session(*noise.split(), now)
        if self.purpose == BULK:
            self.chaining_key = noise.chaining_key
        self._frames.set_limit(MAX_FRAME)
        self._move("open")
        self._events.append(Established(hello, account, DeviceId(hello.device), noise.handshake_hash))

    def _take_record(self, body: bytes, now: float) -> None:
        session = self._session
        if session is None:
            raise LocalProtocolError("an open link without a session")
        message = decode_frame(unpad(session.open(body)))
        match message:
            case Ping(token):
                if self._answering:
                    self.send(Pong(token), now)
            case Pong(token) if token < OWN_PINGS:
                pass
            case Rekey():
                session.rekey_receiving()
            case Close(reason):
                self._end(reason[:64], clean=True)
            case _:
                self._events.append(Got(message))

    def _seal(self, message: Record) -> None:
        if self._session is None:
            raise LocalProtocolError("a record without a session")
        self._out += frame(self._session.seal(pad(encode_frame(message))))

    def _end(self, reason: str, *, clean: bool, say: str = "") -> None:
        if say and self.state == "open":
            try:
                self._seal(Close(say))
            except RemoteProtocolError:
                pass  # a record failed to open: this direction is poisoned as well, so end unsaid
        self._move("ended")
        self.end = Ended(reason, clean)
        self._events.append(self.end)

    def _handshake(self, psk: bytes) -> HandshakeState:
        return HandshakeState(
            PROTOCOL, initiator=self.initiator, prologue=self._preface, s=self._secret, psks=(psk,)
        )

    def _need_noise(self) -> HandshakeState:
        if self._noise is None:
            raise LocalProtocolError("a handshake message before the handshake")
        return self._noise

    def _move(self, state: str) -> None:
        if state not in MOVES[self.state]:
            raise LocalProtocolError(f"a link cannot go from {self.state} to {state}")
        self.state = state
