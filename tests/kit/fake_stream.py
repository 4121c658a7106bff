"""One fake TCP connection: two bounded pipes with latency that a hub can stall or reset.

Decides: what each end sees when the wire is cut, joined, half-open or reset. Does not
know: hosts and addresses (fake_lan).

As in TCP, a sender is held up by what the other side has not read, and by what it has
read but whose acknowledgement cannot come back; an end and a reset travel on the wire
and wait for it like data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from p2pchat.net.lan import Address

RECEIVE_BYTES: Final = 65536


class Pipe:
    """One direction. `up` and `ack_up` say whether the wire passes data, and acknowledgements."""

    def __init__(
        self,
        *,
        capacity: int,
        delay_s: Callable[[], float],
        up: Callable[[], bool],
        ack_up: Callable[[], bool],
    ) -> None:
        self._capacity = capacity
        self._delay_s = delay_s
        self._up = up
        self._ack_up = ack_up
        self._segments: deque[tuple[float, bytes]] = deque()
        self._last_due = 0.0
        self._held = 0  # bytes the sender still has to keep: not read, or not acknowledged
        self._unacked = 0  # of these, bytes the reader already has
        self._ended: float | None = None
        self._reader_gone = False
        self._writer_closed = False
        self._writer_dead = False
        self._stranded = False
        self._change = trio.Event()

    def changed(self) -> None:
        """Look again: a wire, or one of the ends, is not what it was."""
        if self._unacked and self._ack_up() and not self._stranded:
            self._held -= self._unacked
            self._unacked = 0
        self._change.set()
        self._change = trio.Event()

    @property
    def _flows(self) -> bool:
        return self._up() and not self._stranded

    async def send(self, data: bytes) -> None:
        """Queue all of `data`, waiting for room."""
        view = memoryview(data)
        while view:
            if self._writer_closed:
                raise trio.ClosedResourceError("this stream was closed meanwhile")
            if self._reader_gone and self._flows and self._ack_up():
                raise trio.BrokenResourceError("connection reset by peer")
            room = self._capacity - self._held
            if room <= 0:
                await self._change.wait()
                continue
            part = bytes(view[:room])
            view = view[len(part) :]
            self._put(part)

    def send_nowait(self, data: bytes) -> int:
        """Queue what there is room for at once; how much."""
        broken = self._reader_gone and self._flows and self._ack_up()
        part = b"" if self._writer_closed or broken else data[: max(0, self._capacity - self._held)]
        if part:
            self._put(part)
        return len(part)

    def _put(self, part: bytes) -> None:
        self._last_due = max(self._last_due, trio.current_time() + self._delay_s())
        self._segments.append((self._last_due, part))
        self._held += len(part)
        self.changed()

    async def receive(self, max_bytes: int) -> bytes:
        """The next bytes, b"" at the end; BrokenResourceError once a reset arrives."""
        while True:
            if self._reader_gone:
                raise trio.ClosedResourceError("this stream was closed meanwhile")
            if self._flows:
                if self._writer_dead:
                    raise trio.BrokenResourceError("connection reset by peer")
                due = self._segments[0][0] if self._segments else self._ended
                if due is not None:
                    wait_s = due - trio.current_time()
                    if wait_s <= 0:
                        return self._pop(max_bytes) if self._segments else b""
                    with trio.move_on_after(wait_s):
                        await self._change.wait()
                    continue
            await self._change.wait()

    def _pop(self, max_bytes: int) -> bytes:
        due, data = self._segments.popleft()
        if len(data) > max_bytes:
            self._segments.appendleft((due, data[max_bytes:]))
            data = data[:max_bytes]
        self._unacked += len(data)
        self.changed()
        return data

    def end(self, *, closed: bool = False) -> None:
        """The writer will send no more; with `closed` a send that still waits is given up."""
        self._writer_closed |= closed
        if self._ended is None:
            self._ended = self._last_due = max(self._last_due, trio.current_time() + self._delay_s())
        self.changed()

    def abandon(self) -> None:
        """The reader has closed: what is sent from now on is answered with a reset."""
        self._reader_gone = True
        self.changed()

    def kill(self) -> None:
        """The writer's program has died: a reset follows, overtaking what is on its way."""
        self._writer_closed = self._writer_dead = True
        self.changed()

    def strand(self) -> None:
        """The connection's address is gone: nothing passes any more, nor does a reset."""
        self._stranded = True
        self.changed()


class FakeStream:
    """One end of a connection: fits `p2pchat.net.lan.Stream`."""

    def __init__(self, owner: str, other: str, outgoing: Pipe, incoming: Pipe, remote: Address) -> None:
        self.owner = owner
        self.other = other
        self.outgoing = outgoing
        self.incoming = incoming
        self.closed = False
        self._remote = remote
        self._eof_sent = False
        self._sending = False

    @property
    def remote_address(self) -> Address:
        """See lan.Stream."""
        return self._remote

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See lan.Stream."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        if self._eof_sent:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await self.outgoing.send(bytes(data))
        finally:
            self._sending = False

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See lan.Stream."""
        if self.closed or self._eof_sent or self._sending:
            return 0
        return self.outgoing.send_nowait(bytes(data))

    async def send_eof(self) -> None:
        """See lan.Stream."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._eof_sent = True
        self.outgoing.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See lan.Stream."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        return await self.incoming.receive(max_bytes or RECEIVE_BYTES)

    async def receive_into(self, into: memoryview, least: int = 1) -> int:
        """See lan.Stream; this wire gives what there is."""
        data = await self.receive_some(len(into))
        into[: len(data)] = data
        return len(data)

    async def aclose(self) -> None:
        """See lan.Stream."""
        self.close_now()
        await trio.lowlevel.checkpoint()

    def close_now(self) -> None:
        """Close both halves; whoever waits in this end is woken with ClosedResourceError."""
        if not self.closed:
            self.closed = True
            self.outgoing.end(closed=True)
            self.incoming.abandon()

    def die(self) -> None:
        """The program at this end was killed: the other end is reset when the wire allows."""
        if not self.closed:
            self.closed = True
            self.outgoing.kill()
            self.incoming.abandon()

    def strand(self) -> None:
        """This end's address is gone."""
        self.outgoing.strand()
        self.incoming.strand()

    def _check_open(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("this stream was already closed")
