"""One connection by which a machine becomes somebody's: frames and handshake, without I/O.

Decides: what may come when, what the handshake is bound to and under which key it runs, that a
code is tried once (docs/protocol.md, "A second machine"). Does not know: sockets, who asked for a
code, or what statements are made. The new machine dials; it has no statements yet, so its
side of the handshake proves its keys only.

    initiator   [second ─ shown] ─ answer ─ open ─ ended  [ ] with a code; without one the key of
    responder   [pake] ─ first ─ third ─ open ─ ended         the open office is the PSK (recover)

In `shown` the initiator waits for `try_code`: one machine is reached by many addresses, and the code
is tried on one connection.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from p2pchat.crypto.noise import PROTOCOL, HandshakeState
from p2pchat.crypto.pake import Code, Spake2
from p2pchat.crypto.session import Session, pad, unpad
from p2pchat.engine.links import OPEN_OFFICE_KEY, PAKE, RECOVER, Ended, Got
from p2pchat.engine.ports import Entropy
from p2pchat.errors import LocalProtocolError, RemoteProtocolError
from p2pchat.wire.codec import decode, encode
from p2pchat.wire.framing import FrameReader, frame
from p2pchat.wire.limits import MAX_FRAME, MAX_PREAUTH_FRAME
from p2pchat.wire.messages.devices import Admitted, Join, Joined, PakeFirst, PakeSecond, Recover
from p2pchat.wire.messages.link import Close, Preface, decode_frame, encode_frame

WRONG_CODE: Final = "another code"
NO_CODE: Final = "no such code here"
_SAID: Final = (Join, Recover, Admitted, Joined)
"""Records of such a link; any other ends it."""


@dataclass(slots=True)
class Shown:
    """A code that is being shown. `spent`: somebody has tried it, rightly or not."""

    code: Code
    until: float
    spent: bool = False

    def good(self, now: float) -> bool:
        """Whether it may still be tried."""
        return not self.spent and now < self.until


@dataclass(frozen=True, slots=True)
class Opened:
    """The handshake is complete. `hello`: what the responder says of itself, b"" from an initiator;
    `by_code`: the peer has proven that it knows the code, else it may only ask to recover."""

    hello: bytes
    static: bytes
    handshake_hash: bytes
    by_code: bool


Event = Opened | Got | Ended


class Pairing:
    """One side. Bytes to send collect in `data_to_send`."""

    def __init__(self, noise_secret: bytes, entropy: Entropy) -> None:
        self._secret = noise_secret
        self._entropy = entropy
        self._frames = FrameReader(MAX_PREAUTH_FRAME)
        self._events: deque[Event] = deque()
        self._out = bytearray()
        self._prologue = b""
        self._hello = b""
        self._key = b""
        self._pake: Spake2 | None = None
        self._shown: Shown | None = None
        self._noise: HandshakeState | None = None
        self._session: Session | None = None
        self._initiator = False
        self._by_code = False
        self.state = "new"
        self.reached = "new"
        """How far it had come when it ended."""
        self.tried = False
        """The one attempt of the code was made on this connection."""

    # -- how it begins ---------------------------------------------------------------------

    def dial(self, code: Code | None) -> None:
        """Begin as the new machine: with a code, or without one to recover."""
        self._begin(initiator=True)
        self._by_code = code is not None
        preface = encode(Preface(1, "chat", PAKE) if code else Preface(1, RECOVER, "office"))
        self._say_clear(preface)
        if code is None:
            self._first(OPEN_OFFICE_KEY)
            return
        self._pake = Spake2(code, initiator=True, chance=self._entropy.bytes(64))
        self._say_clear(encode(PakeFirst(code.slot, self._pake.message)))
        self.state = "second"

    def try_code(self) -> None:
        """As the new machine, where a code of this slot is shown: make the one attempt here."""
        if self.state != "shown":
            raise LocalProtocolError("a code is tried where it is shown")
        self.tried = True
        self._first(self._key)

    def answer(self, preface: bytes, hello: bytes, shown: Shown | None, rest: bytes, now: float) -> None:
        """Begin as the machine that is there already. `shown`: the code it shows, None for none;
        `rest`: what came after the preface."""
        self._begin(initiator=False)
        self._prologue, self._hello, self._shown = preface, hello, shown
        self._by_code = decode(Preface, preface).psk == PAKE
        if self._by_code:
            self.state = "pake"
        else:
            self._listen(OPEN_OFFICE_KEY)
        self.receive_data(rest, now)

    def _begin(self, *, initiator: bool) -> None:
        if self.state != "new":
            raise LocalProtocolError("a pairing begins once")
        self._initiator = initiator

    # -- the shell's side ------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the peer; what they amount to comes from `next_event`."""
        self._frames.receive_data(data)
        try:
            while self.state != "ended" and (body := self._frames.next_frame()) is not None:
                self._take(body, now)
        except RemoteProtocolError as error:
            self._end(error.reason, clean=False)

    def end_of_stream(self) -> None:
        """The peer's bytes are over."""
        if self.state != "ended":
            self._end("truncated", clean=False)

    def next_event(self) -> Event | None:
        """What happened next, or None until more bytes come."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Bytes to send now; each is returned once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def send(self, message: Join | Recover | Admitted | Joined) -> None:
        """Seal a record behind what is to be sent."""
        if self._session is None or self.state != "open":
            raise LocalProtocolError("a record before the handshake is complete")
        self._out += frame(self._session.seal(pad(encode_frame(message))))

    def close(self, reason: str) -> None:
        """Say CLOSE if there is a key to say it under, and end."""
        if self.state == "open" and self._session is not None:
            self._out += frame(self._session.seal(pad(encode_frame(Close(reason)))))
        self.state = "ended"

    # -- inside ----------------------------------------------------------------------------

    def _take(self, body: bytes, now: float) -> None:
        match self.state:
            case "pake":
                self._take_pake(body, now)
            case "second":
                self._take_second(body)
            case "first":
                self._take_first(body, now)
            case "shown":
                raise RemoteProtocolError("frame out of place")
            case "answer":
                noise = self._need_noise()
                hello = noise.read_message(body)
                self._out += frame(noise.write_message(b""))
                self._open(hello, noise, now)
            case "third":
                noise = self._need_noise()
                if noise.read_message(body):
                    raise RemoteProtocolError("payload in the last handshake message")
                self._open(b"", noise, now)
            case _:
                self._take_record(body)

    def _take_pake(self, body: bytes, now: float) -> None:
        first = decode(PakeFirst, body)
        shown = self._shown
        if shown is None or not shown.good(now) or first.slot != shown.code.slot:
            raise RemoteProtocolError(NO_CODE)
        side = Spake2(shown.code, initiator=False, chance=self._entropy.bytes(64))
        self._prologue += body
        key = side.finish(first.point)
        self._say_clear(encode(PakeSecond(side.message)))
        self._listen(key)

    def _take_second(self, body: bytes) -> None:
        if self._pake is None:
            raise LocalProtocolError("an answer to no question")
        self._key = self._pake.finish(decode(PakeSecond, body).point)
        self._prologue += body
        self.state = "shown"

    def _take_first(self, body: bytes, now: float) -> None:
        """Under a code this is the one attempt: it ends the code, whatever it shows."""
        shown, noise = self._shown, self._need_noise()
        if self._by_code and shown is not None:
            if not shown.good(now):  # two at once: the other has had it
                raise RemoteProtocolError(NO_CODE)
            shown.spent = self.tried = True
        try:
            payload = noise.read_message(body)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(WRONG_CODE) from error
        if payload:
            raise RemoteProtocolError("payload in the first handshake message")
        self._out += frame(noise.write_message(self._hello, self._entropy.bytes(32)))
        self.state = "third"

    def _first(self, psk: bytes) -> None:
        self._noise = self._handshake(psk)
        self._out += frame(self._noise.write_message(b"", self._entropy.bytes(32)))
        self.state = "answer"

    def _listen(self, psk: bytes) -> None:
        self._noise = self._handshake(psk)
        self.state = "first"

    def _handshake(self, psk: bytes) -> HandshakeState:
        return HandshakeState(
            PROTOCOL, initiator=self._initiator, prologue=self._prologue, s=self._secret, psks=(psk,)
        )

    def _open(self, hello: bytes, noise: HandshakeState, now: float) -> None:
        static = noise.remote_static
        if static is None:
            raise LocalProtocolError("a finished handshake without a key")
        self._session = Session(*noise.split(), now)
        self._frames.set_limit(MAX_FRAME)
        self.state = "open"
        self._events.append(Opened(hello, static, noise.handshake_hash, self._by_code))

    def _take_record(self, body: bytes) -> None:
        if self._session is None:
            raise LocalProtocolError("an open link without a session")
        message = decode_frame(unpad(self._session.open(body)))
        if isinstance(message, Close):
            self._end(message.reason[:64], clean=True)
        elif isinstance(message, _SAID):
            self._events.append(Got(message))
        else:
            raise RemoteProtocolError("frame out of place")

    def _say_clear(self, body: bytes) -> None:
        self._prologue += body
        self._out += frame(body)

    def _need_noise(self) -> HandshakeState:
        if self._noise is None:
            raise LocalProtocolError("a handshake message before the handshake")
        return self._noise

    def _end(self, reason: str, *, clean: bool) -> None:
        self.reached, self.state = self.state, "ended"
        self._events.append(Ended(reason, clean))
