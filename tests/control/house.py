"""A small daemon for these plays: a handler with a few operations, and ways to reach it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import trio
import trio.testing

from p2pchat.control import framing
from p2pchat.control.endpoint import Admission, ClientInfo, ControlListener
from p2pchat.control.server import serve_control
from p2pchat.errors import ArchiveError, CommandError

VERSION = "9.9"
HELLO = {"p2pchat": 1, "pid": os.getpid(), "version": VERSION}


class House:
    """Operations with which a test can hold a call, see it cancelled, and feed subscribers."""

    def __init__(self) -> None:
        self.doors: dict[str, trio.Event] = {}
        self.cancelled: list[str] = []
        self.pulled = 0
        self.closed_feeds = 0
        self.clients: list[ClientInfo] = []

    def door(self, name: str) -> trio.Event:
        return self.doors.setdefault(name, trio.Event())

    async def call(self, method: str, params: dict[str, Any], client: ClientInfo) -> object:
        self.clients.append(client)
        match method:
            case "echo":
                return params
            case "wait":
                try:
                    await self.door(params["door"]).wait()
                except trio.Cancelled:
                    self.cancelled.append(params["door"])
                    raise
                return params["door"]
            case "fail":
                raise CommandError("no_such_target", "nobody is called 'bob'", "p2pchat peers")
            case "crash":
                raise ZeroDivisionError("secret detail")
            case "torn":
                raise ArchiveError("the archive cannot be read: malformed")
            case "unsayable":
                return {1, 2}
            case "huge":
                return "x" * params["size"]
        raise framing.ControlProtocolError(framing.METHOD_NOT_FOUND, f"no method {method!r}")

    def subscribe(self, params: dict[str, Any], client: ClientInfo) -> AsyncIterator[Mapping[str, Any]]:
        if params.get("refuse"):
            raise CommandError("usage", "no such type 'x'", "p2pchat listen --help")
        if params.get("crash"):
            raise ZeroDivisionError
        if params.get("wrong"):
            raise framing.ControlProtocolError(framing.INVALID_PARAMS, "'wrong' is wrong")
        return self._count(params)

    async def _count(self, params: dict[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        try:
            for number in range(params.get("count", 1_000_000)):
                self.pulled = max(self.pulled, number + 1)
                yield {"n": number, "pad": "x" * params.get("pad", 0)}
            match params.get("then"):
                case "wait":
                    await trio.sleep_forever()
                case "fail":
                    raise CommandError("archive", "the archive is gone", "p2pchat doctor")
                case "crash":
                    raise ZeroDivisionError
                case "wrong":
                    raise framing.ControlProtocolError(framing.INVALID_PARAMS, "'wrong' is wrong")
        finally:
            self.closed_feeds += 1


class MemoryListener:
    """A ControlListener without an operating system; `lockstep` streams buffer nothing."""

    def __init__(self, *, lockstep: bool = False) -> None:
        self._arrivals, self._arriving = trio.open_memory_channel[trio.abc.Stream](1000)
        self._lockstep = lockstep
        self.closed = False

    def dial(self) -> trio.abc.Stream:
        """The client's end of a new connection."""
        pair = trio.testing.lockstep_stream_pair if self._lockstep else trio.testing.memory_stream_pair
        theirs, ours = pair()
        self.arrive(ours)
        return theirs

    def arrive(self, stream: trio.abc.Stream) -> None:
        """Accept `stream` next."""
        self._arrivals.send_nowait(stream)

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._arriving.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def admit(self, stream: trio.abc.Stream) -> Admission:
        await trio.lowlevel.checkpoint()
        return Admission(ClientInfo("memory", 0), {}, b"")

    async def aclose(self) -> None:
        self.closed = True
        self._arrivals.close()
        await trio.lowlevel.checkpoint()


class Line:
    """A client that speaks raw lines."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.lines = framing.LineBuffer(framing.MAX_REPLY)

    async def read(self) -> dict[str, Any] | None:
        """The next object; None at the end of the stream."""
        while (line := self.lines.next_line()) is None:
            data = await self.stream.receive_some()
            if not data:
                return None
            self.lines.receive_data(data)
        return framing.decode_object(line)

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(self, number: int | str, method: str, **params: object) -> None:
        await self.say(framing.request(number, method, params))


@contextlib.asynccontextmanager
async def serving(listener: ControlListener, house: House) -> AsyncIterator[trio.Nursery]:
    """`house` behind `listener` for the length of the block; errors inside come out bare."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await serve_control(listener, house, version=VERSION, task_status=task_status)

        await nursery.start(serve)
        try:
            yield nursery
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def greeted(listener: MemoryListener) -> Line:
    """A client that has heard the server's first line."""
    line = Line(listener.dial())
    assert await line.read() == HELLO
    return line
