"""The pump of one link: a stream on one side, the inbox on the other.

Decides: how bytes and records are passed on, how much may wait on either side, and how
many links may be half open. Does not know: what records mean, or which links should be
(the node says so). A peer's mistake ends its link and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeGuard

import trio

from p2pchat.crypto.checker import Signed
from p2pchat.daemon.checking import signatures
from p2pchat.engine.inputs import DialFailed, FromPeer, Input, LinkDown, LinkDrained, LinkUp
from p2pchat.engine.links import CHAT, Ended, Established, Got, Handed, LinkMachine
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import DeviceId
from p2pchat.net.lan import Address, Stream
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import MAX_FRAME, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_ADDRESS, MAX_PREAUTH_FRAME
from p2pchat.wire.messages.link import Events

log = logging.getLogger(__name__)

QUEUE_BYTES: Final = 1024 * 1024
"""Sealed bytes that may wait for a slow peer; what does not fit is dropped and repaired later."""
ROOM_BYTES: Final = 2 * MAX_FRAME
"""So much of it must be free for a record to be taken: the greatest, and the CLOSE after it."""
ANSWER_BYTES: Final = 256 * 1024
"""While more than this waits pings go unanswered: what waits will tell the peer that we live, and
one that asks without reading would make the answers pile up."""
WRITE_BYTES: Final = 64 * 1024
OUTSTANDING: Final = 64
"""Inputs of one link that may lie in the inbox: a flood waits in its own socket."""
READ_BYTES: Final = 64 * 1024
"""800 of the smallest records at most: some 10 ms of the loop. From 128 KiB on every buffer costs
the system a mapping of its own."""
FRAMES_PER_S: Final = 5000.0
FRAMES_AT_ONCE: Final = 20_000.0
"""What one peer may say: more than an honest one does, some tenth of a core. A flood waits in its socket."""
READ_STRANGER: Final = MAX_PREAUTH_FRAME
"""Read at once before the other side has proved who it is."""
CHECK_ELSEWHERE: Final = 8
"""More signatures than this in one frame are not left to the engine (checking)."""
AHEAD: Final = 6
"""Frames of one link that are read while one before them is still being checked."""
GOODBYE_S: Final = 1.0

Check = Callable[[Sequence[Signed]], Awaitable[tuple[bool, ...]]]
Taker = Callable[[LinkMachine, Stream, Established], Awaitable[None]]


class Bucket:
    """How much a peer may still say before it has to wait: FRAMES_AT_ONCE, refilled steadily."""

    def __init__(self, now: float) -> None:
        self._left = FRAMES_AT_ONCE
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Pay for `count` frames; seconds to wait before more are read, mostly 0."""
        self._left = min(FRAMES_AT_ONCE, self._left + (now - self._at) * FRAMES_PER_S) - count
        self._at = now
        return max(0.0, -self._left / FRAMES_PER_S)


class Inbox:
    """What a link needs of the runner."""

    def __init__(
        self,
        post: Callable[[Input], None],
        at_once: Callable[[Input], None],
        mono: Callable[[], float],
        signing_keys: Callable[[], Mapping[DeviceId, bytes]],
        check: Check | None,
        takers: Mapping[str, Taker] | None = None,
        pair: Callable[[bytes, bytes, Stream], Awaitable[None]] | None = None,
    ) -> None:
        """`takers` by purpose take over a link that somebody else opened, once its handshake is complete;
        `pair` one of who wants to be linked or recovered: his preface, and what came after it."""
        self.post = post
        self.at_once = at_once
        self.mono = mono
        self.signing_keys = signing_keys
        self.check = check
        self.takers = takers or {}
        self.pair = pair


class Pump:
    """Runs one link from handshake to end."""

    def __init__(
        self, number: int, machine: LinkMachine, stream: Stream, inbox: Inbox, dial: int | None = None
    ) -> None:
        self.number = number
        self._machine = machine
        self._stream = stream
        self._inbox = inbox
        self._dial = dial
        self._out = bytearray()
        self._wake = trio.Event()
        self._behind = False
        self._up = False
        self._over = trio.Event()
        self._writing_bytes = 0  # of a piece handed to the stream and not yet taken by it
        self._outstanding = 0
        self._full: trio.Event | None = None  # somebody waits until an input has been handled
        self._checking: list[trio.Event] = []  # of frames being checked, in their order; set when handed over
        self._bucket = Bucket(inbox.mono())
        self._heard = 0
        self._reason = ""
        self._other: Established | None = None  # it is no chat link
        self._preface = b""  # of who wants to be linked
        self.device: DeviceId | None = None
        """Whose it is, once that is proven and it is a chat link."""
        self.established = trio.Event()

    # -- the runner's side: nothing here waits ---------------------------------------------------

    def send(self, message: Record) -> None:
        """Seal and queue a record; dropped, and the link behind, if too much waits already."""
        if not self._machine.is_open or self._behind:
            return
        if self.queued > QUEUE_BYTES - ROOM_BYTES:
            self._behind = True
            return
        try:
            self._machine.send(message, self._inbox.mono())
        except LocalProtocolError:  # ours, and yet no reason to end every other link with this one
            log.exception("link %d ends: a %s could not be sent", self.number, type(message).__name__)
            self.close("internal")
            return
        self._flush()

    def close(self, reason: str) -> None:
        """Say CLOSE and end."""
        if not self._over.is_set():
            self._reason = self._reason or reason
            self._machine.close(reason)
            self._flush()
            self._over.set()
            self._wake.set()

    def handled(self) -> None:
        """One input of this link has been taken out of the inbox."""
        self._outstanding -= 1
        if self._full is not None:
            self._full.set()
            self._full = None

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer, those being written included."""
        return len(self._out) + self._writing_bytes

    # -- the task -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pump until the link ends; tells the node of its beginning and its end."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reading, nursery)
                nursery.start_soon(self._writing, nursery.cancel_scope)
                nursery.start_soon(self._keeping, nursery.cancel_scope)
                if self._machine.initiator:
                    self._machine.start()
                    self._flush()
        except* Exception as errors:
            # A bug of ours that this link's bytes have met. The others did nothing to end with it;
            # damage to node or archive is not done here, and judged where it is (runner).
            log.error("link %d ends: it met an error of our own", self.number, exc_info=errors)
            self._reason = self._reason or "internal"
        else:
            taker = self._inbox.takers.get(self._machine.purpose)
            if self._other is not None and taker is not None:
                await taker(self._machine, self._stream, self._other)
            elif self._preface and self._inbox.pair is not None:
                await self._inbox.pair(self._preface, self._machine.leftover(), self._stream)
        finally:
            self._over.set()
            if self._up:
                self._inbox.post(LinkDown(self.number, self._reason or "closed"))
            elif self._dial is not None:
                self._inbox.post(DialFailed(self._dial, self._reason or "closed"))
            if self._other is None:
                with trio.CancelScope(shield=True), trio.move_on_after(GOODBYE_S):
                    await self._goodbye()
            with trio.CancelScope(shield=True):
                await self._stream.aclose()

    async def _goodbye(self) -> None:
        """The last words, if the peer still listens."""
        if self._out and not self._writing_bytes:
            rest, self._out = bytes(self._out), bytearray()
            try:
                await self._stream.send_all(rest)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError) as error:
                log.debug("link %d ended without goodbye: %r", self.number, error)

    async def _reading(self, nursery: trio.Nursery) -> None:
        try:
            while not self._over.is_set():
                data = await self._stream.receive_some(READ_BYTES if self._up else READ_STRANGER)
                now = self._inbox.mono()
                if not data:
                    self._machine.end_of_stream()
                else:
                    answering = self.queued <= ANSWER_BYTES
                    self._machine.receive_data(data, now, answering=answering)
                self._flush()
                if not self._handed_at_once():
                    await self._hand_over(nursery)
                heard, self._heard = self._machine.frames - self._heard, self._machine.frames
                pause = self._bucket.take(heard, now)
                if pause:
                    await trio.sleep(pause)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._reason = self._reason or "broken"
            nursery.cancel_scope.cancel()  # otherwise the writer ends us, once our last words are out

    def _handed_at_once(self) -> bool:
        """Whether one record had come and nothing is in its way: what almost every read is. It costs a
        message of a room 10 µs less than the way of all others."""
        if self._checking or self._outstanding >= OUTSTANDING:
            return False
        message = self._machine.only_message
        if message is None or self._is_long(message):
            return False
        self._machine.next_event()
        self._outstanding += 1
        self._inbox.at_once(FromPeer(self.number, message, None))
        return True

    async def _hand_over(self, nursery: trio.Nursery) -> None:
        """What has come, in its order: by the reader only, for a record may have to wait here."""
        while (event := self._machine.next_event()) is not None:
            if isinstance(event, Got) and self._is_long(event.message):
                while len(self._checking) >= AHEAD:
                    await self._checking[0].wait()
                before = self._checking[-1] if self._checking else None
                self._checking.append(trio.Event())
                nursery.start_soon(self._check, event.message, before, self._checking[-1])
                await trio.lowlevel.checkpoint()  # tasks begin in any order, and this should be the first
                continue
            if self._checking:
                await self._checking[-1].wait()
            match event:
                case Got(message):
                    await self._post(message, None, last=not self._machine.has_event)
                case Established():
                    self._established(event)
                    if self._other is not None:
                        return  # what follows is for who takes over
                case Handed(preface):
                    self._preface = preface
                    self._over.set()
                    self._wake.set()
                    return  # what follows is for who takes over
                case Ended():
                    self._ended(event)

    async def _post(self, message: Record, checked: tuple[int, ...] | None, *, last: bool = False) -> None:
        while self._outstanding >= OUTSTANDING:  # of one link only one at a time waits here
            self._full = trio.Event()
            await self._full.wait()
        self._outstanding += 1
        post = self._inbox.at_once if last else self._inbox.post
        post(FromPeer(self.number, message, checked))

    def _ended(self, end: Ended) -> None:
        if not self._over.is_set():
            if not end.clean:
                log.info("link %d ended: %s", self.number, end.reason)
            self._reason = self._reason or end.reason
            self._over.set()
            self._wake.set()

    def _established(self, event: Established) -> None:
        if self._machine.purpose != CHAT:
            self.established.set()
            self._other = event
            self._over.set()
            self._wake.set()
            return
        self._up = True
        self.device = event.device
        self.established.set()
        address = self._stream.remote_address
        self._inbox.post(
            LinkUp(
                link=self.number,
                device=event.device,
                account=event.account,
                statements=event.hello.statements,
                registers=event.hello.registers,
                initiator=self._machine.initiator,
                host=address.host,
                port=event.hello.port,
                handshake_hash=event.handshake_hash,
                peer_wall_ms=event.hello.wall_ms,
                dial=self._dial,
            )
        )

    def _is_long(self, message: Record) -> TypeGuard[Events]:
        """Whether its signatures are verified elsewhere, before it takes the runner's time."""
        if not isinstance(message, Events) or len(message.events) <= CHECK_ELSEWHERE:
            return False
        if self._inbox.check is None:
            return False
        return sum(bool(event.signature) for event in message.events) > CHECK_ELSEWHERE

    async def _check(self, message: Events, before: trio.Event | None, handed: trio.Event) -> None:
        """Hand over a long frame once it is checked, after the one `before` it."""
        assert self._inbox.check is not None
        indexes, signed = signatures(message, self._inbox.signing_keys())
        verdicts = await self._inbox.check(signed) if signed else ()
        if before is not None:
            await before.wait()
        checked = tuple(index for index, good in zip(indexes, verdicts, strict=True) if good)
        await self._post(message, checked)
        self._checking.remove(handed)
        handed.set()

    async def _writing(self, scope: trio.CancelScope) -> None:
        try:
            while True:
                while self._out:
                    piece = bytes(self._out[:WRITE_BYTES])
                    del self._out[:WRITE_BYTES]
                    self._writing_bytes = len(piece)
                    await self._stream.send_all(piece)
                    self._writing_bytes = 0
                if self._behind and not self._over.is_set():
                    self._behind = False
                    self._inbox.post(LinkDrained(self.number))
                if self._over.is_set():
                    break
                self._wake = trio.Event()
                if not self._out and not self._over.is_set():
                    await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._reason = self._reason or "broken"
        scope.cancel()

    async def _keeping(self, scope: trio.CancelScope) -> None:
        """Pings, the end of silence, and of handshakes that take too long."""
        while not self._over.is_set():
            wait = self._machine.deadline() - self._inbox.mono()
            if wait > 0:
                with trio.move_on_after(min(wait, 3600.0)):
                    await self._over.wait()
                continue
            self._machine.tick(self._inbox.mono())
            self._flush()
            if self._machine.end is not None:
                self._ended(self._machine.end)
        await trio.sleep(GOODBYE_S)  # the writer ends us sooner, once the last words are out
        scope.cancel()

    def _flush(self) -> None:
        if not self._machine.wants_to_send:
            return
        data = self._machine.data_to_send()
        if not self._out and not self._writing_bytes:
            # Nothing waits before it: mostly the system takes it at once, and nobody need be woken.
            taken = self._stream.send_nowait(data)
            if taken == len(data):
                return
            data = data[taken:]
        self._out += data
        self._wake.set()


class Gate:
    """How many strangers may be in the door at once (LM1)."""

    def __init__(self) -> None:
        self._by_host: dict[str, int] = {}
        self.half_open = 0

    def enter(self, address: Address) -> bool:
        """Whether one more handshake may begin from there; `leave` ends it."""
        standing = self._by_host.get(address.host, 0)
        if self.half_open >= MAX_HALF_OPEN or standing >= MAX_HALF_OPEN_PER_ADDRESS:
            return False
        self._by_host[address.host] = standing + 1
        self.half_open += 1
        return True

    def leave(self, address: Address) -> None:
        """A handshake from there is over, well or badly."""
        standing = self._by_host.get(address.host)
        if standing is None:
            raise LocalProtocolError(f"nobody from {address.host!r} was in the door")
        self.half_open -= 1
        if standing == 1:
            del self._by_host[address.host]
        else:
            self._by_host[address.host] = standing - 1
