"""One bulk link: a stream that carries frames, and pieces beside them.

Decides: how frames and sealed pieces follow each other on the stream in both directions, which piece
may come when, and what ends the link. Does not know: disks, plans, rights: `Talk` is asked.

Pieces pass through buffers that are used again and again: sealing and opening happen in place, so
nothing is allocated or copied between disk and socket (docs/files.md, "Speed").
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import trio

from p2pchat.crypto.bulk import OVERHEAD, directions
from p2pchat.engine.links import Ended, Established, Got, LinkMachine
from p2pchat.errors import DialError, RemoteProtocolError
from p2pchat.ids import AccountId, DeviceId
from p2pchat.net.lan import Stream
from p2pchat.wire.codec import Record
from p2pchat.wire.limits import HANDSHAKE_S, MAX_PREAUTH_FRAME
from p2pchat.wire.messages import bulk as wire

log = logging.getLogger(__name__)

READ_BYTES: Final = 4096
"""Read at once where a frame is expected: what of a piece comes with it is copied, so not more."""
MAX_SAID: Final = 16 << 20
"""Bytes of frames that may wait to be sent: the longest list of hashes, twice. Who reads none is cut off."""
FRAME_BYTES: Final = 256
"""What a frame takes in memory beside what is in it."""
SAID_AHEAD: Final = 64
"""So many frames wait, and the peer's next question is answered when they have been sent."""
MAX_QUESTIONS: Final = 16
"""Of the peer, waiting for their answers; what he says then is read later."""
MAX_ASKED: Final = 64
"""Pieces one side may have asked for and not been given."""
SEND_BYTES: Final = 1 << 20
"""Of a large piece: what counts as movement."""
LUMP_BYTES: Final = 256 * 1024
"""Of a piece on a quick link: what is worth waking up for. Waking up for less took a sixth of
the processor time of a transfer at full speed."""
LUMP_S: Final = 0.05
"""A link that takes longer for a lump is not quick: there every byte counts as movement."""
STALLED_S: Final = 60.0
"""So long nothing moves, though something is due, until a link is given up."""
PROVE_S: Final = 5.0
"""The same for who is asked for something and may have gone to another address."""
BUFFERS: Final = 2
"""Pieces that are read or being checked at once, each way."""


class Asked(NamedTuple):
    """A piece that was asked for, and how long it is."""

    offer: bytes
    number: int
    size: int


class Talk(Protocol):
    """Who understands what is said on a link."""

    async def heard(self, link: BulkLink, message: Record) -> None:
        """What a source says of an offer we fetch, in its order with `came`."""

    async def came(self, link: BulkLink, asked: Asked, piece: memoryview) -> None:
        """A piece we asked for, opened; `piece` is only good until this returns."""

    async def asked(self, link: BulkLink, message: Record) -> None:
        """The peer opens an offer, asks for hashes, or needs no more: one after the other."""

    def rests(self, link: BulkLink) -> None:
        """The peer has been given all it asked for."""

    def piece_size(self, offer: bytes) -> int:
        """Of an offer given on a link; 0 if there is none such."""

    async def give(self, link: BulkLink, offer: bytes, number: int, into: memoryview) -> tuple[Record, ...]:
        """Piece `number` for the peer into the start of `into`: what is said before it, a Piece last;
        or a Cannot alone."""


Heard = Record | tuple[Asked, bytearray, int]
"""What the handling task gets: a frame, or a sealed piece, its buffer and its length."""


class BulkLink:
    """Runs one bulk link from its handshake's end to its own."""

    def __init__(self, machine: LinkMachine, stream: Stream, established: Established, talk: Talk) -> None:
        self.device: DeviceId = established.device
        self.account: AccountId = established.account
        self.reason = ""
        self.over = False
        self.moved = 0
        """Bytes of pieces that came or went."""
        self._machine = machine
        self._stream = stream
        self._talk = talk
        self._sealer, self._opener = directions(machine.chaining_key, initiator=machine.initiator)
        self._rest = machine.leftover()
        self._awaited: deque[Asked] = deque()  # what we asked for and has not come
        self._wanted: deque[tuple[bytes, int]] = deque()  # what the peer asked for and has not got
        self._said: deque[Record] = deque()
        self._said_bytes = 0
        self._prepared: tuple[tuple[Record, ...], memoryview] | None = None
        self._spare = [bytearray() for _ in range(BUFFERS)]
        self._to_send, self._to_prepare, self._freed = trio.Event(), trio.Event(), trio.Event()
        self._sent = trio.Event()
        self._quick = True
        self._scope = trio.CancelScope()

    # -- for others: nothing here waits --------------------------------------------------

    def say(self, message: Record) -> None:
        """Queue a frame."""
        if self.over:
            return
        self._said_bytes += _weight(message)
        if self._said_bytes > MAX_SAID:
            self.end("does not read")
            return
        self._said.append(message)
        self._to_send.set()

    def ask(self, offer: bytes, pieces: list[tuple[int, int]]) -> None:
        """Ask for pieces (number, size)."""
        self._awaited.extend(Asked(offer, number, size) for number, size in pieces)
        self.say(wire.Get(offer, tuple(number for number, _ in pieces)))

    @property
    def may_ask(self) -> int:
        """How many more pieces may be asked for now."""
        return MAX_ASKED - len(self._awaited)

    async def prove(self) -> None:
        """End it unless something of what we asked for comes soon."""
        before = self.moved
        await trio.sleep(PROVE_S)
        if self._awaited and self.moved == before:
            self.end("stalled")

    def end(self, reason: str) -> None:
        """End the link."""
        self.reason = self.reason or reason
        self.over = True
        self._scope.cancel()

    # -- the tasks -----------------------------------------------------------------------

    async def run(self) -> None:
        """Until the link ends, for whatever reason; the stream is closed by who made it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    into, out = trio.open_memory_channel[Heard](BUFFERS)
                    ask, asked = trio.open_memory_channel[Record](MAX_QUESTIONS)
                    nursery.start_soon(self._reading, into, ask)
                    nursery.start_soon(self._handling, out)
                    nursery.start_soon(self._answering, asked)
                    nursery.start_soon(self._preparing)
                    nursery.start_soon(self._sending)
                    nursery.start_soon(self._watching)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self.reason = self.reason or "broken"
        except* RemoteProtocolError as errors:
            self.reason = self.reason or _first(errors)
            log.info("a bulk link ended: %s", self.reason)
        except* Exception as errors:
            # A bug of ours that this link's bytes have met: the others did nothing to end with it.
            log.error("a bulk link ends: it met an error of our own", exc_info=errors)
            self.reason = self.reason or "internal"
        finally:
            self.over = True

    async def _reading(
        self, into: trio.MemorySendChannel[Heard], ask: trio.MemorySendChannel[Record]
    ) -> None:
        while True:
            for message in self._events():
                await self._take(message, into, ask)
            header = await self._exactly(2)
            body = await self._exactly(header[0] << 8 | header[1])
            # Nobody pings here (docs/files.md): answers would pile up until something else is sent.
            self._machine.receive_data(header + body, trio.current_time(), answering=False)

    def _events(self) -> Iterator[Record]:
        while (event := self._machine.next_event()) is not None:
            match event:
                case Got(message):
                    yield message
                case Ended(reason, _):
                    raise RemoteProtocolError(reason)

    async def _take(
        self, message: Record, into: trio.MemorySendChannel[Heard], ask: trio.MemorySendChannel[Record]
    ) -> None:
        match message:
            case wire.Piece():
                await self._take_piece(message, into)
            case wire.Get(offer, pieces):
                if len(self._wanted) + len(pieces) > MAX_ASKED:
                    raise RemoteProtocolError("asks for too many pieces at once")
                self._wanted.extend((offer, number) for number in pieces)
                self._to_prepare.set()
            case wire.Open() | wire.GetHashes() | wire.Done():
                await ask.send(message)
            case wire.Cannot() if message.number >= 0:
                if not self._awaited or self._awaited[0][:2] != (message.offer, message.number):
                    raise RemoteProtocolError("refusal out of place")
                self._awaited.popleft()
                await into.send(message)
            case wire.Map() | wire.More() | wire.Hashes() | wire.Cannot():
                await into.send(message)
            case _:
                raise RemoteProtocolError("frame out of place on a bulk link")

    async def _take_piece(self, message: wire.Piece, into: trio.MemorySendChannel[Heard]) -> None:
        if not self._awaited or self._awaited[0] != (message.offer, message.number, message.size):
            raise RemoteProtocolError("piece out of place")
        while not self._spare:
            self._freed = trio.Event()
            await self._freed.wait()
        asked = self._awaited[0]
        sealed = asked.size + OVERHEAD
        buffer = self._spare.pop()
        if len(buffer) < sealed:
            buffer = bytearray(sealed)
        await self._fill(memoryview(buffer)[:sealed])
        self._awaited.popleft()
        await into.send((asked, buffer, sealed))

    async def _handling(self, out: trio.MemoryReceiveChannel[Heard]) -> None:
        """Frames and pieces in the order in which they came."""
        async for item in out:
            if isinstance(item, Record):
                await self._talk.heard(self, item)
                continue
            asked, buffer, sealed = item
            view = memoryview(buffer)
            self._opener.open_into(view[:sealed], view, bound(asked.offer, asked.number))
            await self._talk.came(self, asked, view[: asked.size])
            self._spare.append(buffer)
            self._freed.set()

    async def _answering(self, asked: trio.MemoryReceiveChannel[Record]) -> None:
        """The peer's questions, in their order, as fast as he reads the answers."""
        async for message in asked:
            while len(self._said) >= SAID_AHEAD:
                self._sent = trio.Event()
                await self._sent.wait()
            await self._talk.asked(self, message)

    async def _preparing(self) -> None:
        """One piece ahead of what is being sent."""
        buffers = deque(bytearray() for _ in range(BUFFERS))
        while True:
            if not self._wanted:
                self._talk.rests(self)
                self._to_prepare = trio.Event()
                await self._to_prepare.wait()
                continue
            offer, number = self._wanted.popleft()
            size = self._talk.piece_size(offer) + OVERHEAD
            buffer = buffers.popleft()
            if len(buffer) < size:
                buffer = bytearray(size)
            buffers.append(buffer)
            view = memoryview(buffer)
            said = await self._talk.give(self, offer, number, view)
            last = said[-1]
            if isinstance(last, wire.Piece):
                view = view[: self._sealer.seal_into(view[: last.size], view, bound(offer, number))]
            else:
                view = view[:0]
            while self._prepared is not None:
                self._to_prepare = trio.Event()
                await self._to_prepare.wait()
            self._prepared = said, view
            self._to_send.set()

    async def _sending(self) -> None:
        while True:
            while self._said:
                self._machine.send(self._said.popleft(), trio.current_time())
            self._said_bytes = 0
            self._sent.set()
            frames, view = self._machine.data_to_send(), memoryview(b"")
            if self._prepared is not None:
                said, view = self._prepared
                for message in said:
                    self._machine.send(message, trio.current_time())
                frames += self._machine.data_to_send()
            if not frames:
                self._to_send = trio.Event()
                await self._to_send.wait()
                continue
            await self._stream.send_all(frames)
            for start in range(0, len(view), SEND_BYTES):
                await self._stream.send_all(view[start : start + SEND_BYTES])
                self.moved += len(view[start : start + SEND_BYTES])
            if self._prepared is not None and view is self._prepared[1]:
                self._prepared = None
                self._to_prepare.set()

    async def _watching(self) -> None:
        """Ends a link on which something is due and nothing moves."""
        before, since = -1, trio.current_time()
        while True:
            await trio.sleep(STALLED_S / 4)
            busy = bool(self._awaited or self._said or self._prepared)
            if not busy or self.moved != before:
                before, since = self.moved, trio.current_time()
            elif trio.current_time() - since >= STALLED_S:
                self.end("stalled")

    # -- bytes ---------------------------------------------------------------------------

    async def _exactly(self, count: int) -> bytes:
        """The next bytes of the stream, a few."""
        while len(self._rest) < count:
            view = memoryview(bytearray(max(READ_BYTES, count - len(self._rest))))
            self._rest += view[: await self._receive(view)]
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    async def _fill(self, view: memoryview) -> None:
        """The next bytes of the stream, all that fit into `view`."""
        at = min(len(self._rest), len(view))
        view[:at] = self._rest[:at]
        self._rest = self._rest[at:]
        while at < len(view):
            began = trio.current_time()
            got = await self._receive(view[at:], min(LUMP_BYTES, len(view) - at) if self._quick else 1)
            self._quick = trio.current_time() - began < LUMP_S
            at += got
            self.moved += got

    async def _receive(self, into: memoryview, least: int = 1) -> int:
        got = await self._stream.receive_into(into, least)
        if not got:
            raise RemoteProtocolError("truncated")
        return got


async def shake_hands(machine: LinkMachine, stream: Stream) -> Established:
    """The initiator's handshake of a bulk link. DialError if it comes to nothing."""
    machine.start()
    with trio.move_on_after(HANDSHAKE_S):
        try:
            await stream.send_all(machine.data_to_send())
            while True:
                data = await stream.receive_some(MAX_PREAUTH_FRAME)
                if not data:
                    machine.end_of_stream()
                else:
                    machine.receive_data(data, trio.current_time())
                match machine.next_event():
                    case Established() as established:
                        await stream.send_all(machine.data_to_send())
                        return established
                    case Ended(reason, _):
                        raise DialError("timeout", f"the other side ended the handshake: {reason}")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DialError("port_closed", str(error)) from error
    raise DialError("timeout", "the handshake took too long")


def _weight(message: Record) -> int:
    """About what a frame that waits takes in memory."""
    match message:
        case wire.Map():
            return FRAME_BYTES + len(message.bits)
        case wire.Hashes():
            return FRAME_BYTES + len(message.hashes)
        case wire.Get() | wire.More():
            return FRAME_BYTES + 8 * len(message.pieces)
        case _:
            return FRAME_BYTES


def _first(group: BaseException) -> str:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return str(group)


def bound(offer: bytes, number: int) -> bytes:
    """What a piece record is authenticated with beside its bytes: which piece of which offer it is."""
    return offer + number.to_bytes(8, "big")
