"""Somebody who speaks on a bulk link himself: well sealed, and saying whatever a test wants.

Decides: how frames and sealed pieces are put on the stream and taken from it. Does not know: what may be
said when; that is what the tests that use it are about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from p2pchat.crypto.bulk import OVERHEAD, directions
from p2pchat.daemon.bulk_link import bound
from p2pchat.engine.links import Ended, Established, Got, LinkMachine
from p2pchat.errors import RemoteProtocolError
from p2pchat.net.lan import Stream
from p2pchat.wire.codec import Record
from p2pchat.wire.messages import bulk as wire
from tests.kit.bulks import Machine

HEARD_S = 30.0


class Over(Exception):
    """The other side has ended the link."""


class Speaker:
    """One end of a bulk link whose handshake is done."""

    def __init__(self, machine: LinkMachine, stream: Stream, established: Established) -> None:
        self._machine = machine
        self._stream = stream
        self._sealer, self._opener = directions(machine.chaining_key, initiator=machine.initiator)
        self._rest = machine.leftover()
        self.device = established.device

    async def say(self, *messages: Record) -> None:
        """Frames, at once. Over if the other side has closed."""
        for message in messages:
            self._machine.send(message, trio.current_time())
        await self._send(self._machine.data_to_send())

    async def raw(self, data: bytes) -> None:
        """Any bytes."""
        await self._send(data)

    async def piece(
        self, offer: bytes, number: int, data: bytes, *, as_number: int | None = None, size: int | None = None
    ) -> None:
        """A Piece frame and its record; the frame may say another number or size than is sealed."""
        said = wire.Piece(
            offer, number if as_number is None else as_number, len(data) if size is None else size
        )
        self._machine.send(said, trio.current_time())
        sealed = bytearray(len(data) + OVERHEAD)
        self._sealer.seal_into(data, sealed, bound(offer, number))
        await self._send(self._machine.data_to_send() + sealed)

    async def hear(self) -> Record:
        """The next frame that is no piece; pieces are opened and let go. Over at the end."""
        with trio.fail_after(HEARD_S):
            while True:
                message = await self.next_frame()
                if not isinstance(message, wire.Piece):
                    return message
                sealed = bytearray(await self._exactly(message.size + OVERHEAD))
                self._opener.open_into(sealed, sealed, bound(message.offer, message.number))
                self.got = message

    async def hear_until(self, kind: type[Record]) -> Record:
        """The next frame of that kind."""
        while True:
            message = await self.hear()
            if isinstance(message, kind):
                return message

    async def hear_piece(self) -> tuple[wire.Piece, bytes]:
        """The next piece; frames before it are let go."""
        with trio.fail_after(HEARD_S):
            while True:
                message = await self.next_frame()
                if isinstance(message, wire.Piece):
                    sealed = bytearray(await self._exactly(message.size + OVERHEAD))
                    self._opener.open_into(sealed, sealed, bound(message.offer, message.number))
                    return message, bytes(sealed[: message.size])

    async def next_frame(self) -> Record:
        """The next frame, whatever it is and however long it takes. Over at the end."""
        while True:
            while (event := self._machine.next_event()) is not None:
                match event:
                    case Got(message):
                        return message
                    case Ended(reason, _):
                        raise Over(reason)
            header = await self._exactly(2)
            body = await self._exactly(header[0] << 8 | header[1])
            self._machine.receive_data(header + body, trio.current_time())

    async def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            try:
                data = await self._stream.receive_some(max(4096, count - len(self._rest)))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise Over("closed")
            self._rest += data
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    async def _send(self, data: bytes | bytearray) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Over("closed") from None


@asynccontextmanager
async def speaking(one: Machine, other: Machine) -> AsyncIterator[Speaker]:
    """A bulk link from one machine to another, on which the test speaks for the first."""
    machine, stream, established = await one.dial(other.device)
    try:
        yield Speaker(machine, stream, established)
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()


async def ended(speaker: Speaker) -> None:
    """Wait until the other side has ended the link."""
    try:
        while True:
            await speaker.next_frame()
    except (Over, RemoteProtocolError):
        return
