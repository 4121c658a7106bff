"""The control client of programs that run on trio: the full-screen client, the web page, tests.

Decides: how many calls and feeds share one connection without waiting for each
other. Does not know: any operation. Troubles and hints are those of `client`.

There is no reader task: whoever waits for something reads for all until it is there,
then the next waiter takes over. So an error is raised where it belongs, bare, and a
program that takes nothing reads nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import trio

from p2pchat import platform
from p2pchat.control import framing
from p2pchat.control.client import (
    HELLO_TIMEOUT_S,
    MAX_WAITING_EVENTS,
    READ_BYTES,
    DaemonGone,
    check_socket_folder,
    feed_overrun,
    feed_without_number,
    find_token,
    garbled,
    no_daemon,
    not_answering,
    read_hello,
    served_by_another,
    unusable,
)
from p2pchat.control.framing import ControlProtocolError, LineBuffer
from p2pchat.control.token import answer_challenge, is_proven
from p2pchat.errors import CommandError
from p2pchat.paths import Profile


async def connect(profile: Profile) -> TrioClient:
    """A client of the daemon of `profile`, hello exchanged; errors as `client.connect`."""
    stream, token = await _dial(profile)
    client = TrioClient(stream)
    try:
        with trio.fail_after(HELLO_TIMEOUT_S):
            if token is None:
                await client.greet()
            else:
                await client.greet_with_token(token, profile)
    except (trio.TooSlowError, DaemonGone):
        await trio.aclose_forcefully(stream)
        raise not_answering(profile) from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return client


async def over(stream: trio.abc.Stream) -> TrioClient:
    """A client over a stream that is open and trusted already, hello exchanged."""
    client = TrioClient(stream)
    await client.greet()
    return client


async def _dial(profile: Profile) -> tuple[trio.SocketStream, bytes | None]:
    """A stream to whoever listens, with the token to prove if it is loopback."""
    stream = await _dial_unix(profile)
    if stream is not None:
        return stream, None
    entry = find_token(profile)
    if entry is None:
        raise no_daemon(profile)
    try:
        return await trio.open_tcp_stream("127.0.0.1", entry.port), entry.token
    except OSError:
        raise no_daemon(profile) from None


async def _dial_unix(profile: Profile) -> trio.SocketStream | None:
    if not check_socket_folder(profile):
        return None
    try:
        stream = await trio.open_unix_socket(os.fspath(profile.socket))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except BlockingIOError:
        raise not_answering(
            profile
        ) from None  # its queue is full; a program, unlike a script, asks again itself
    except OSError as error:
        raise unusable(profile, error) from error
    if platform.peer_uid(stream.socket) != platform.user_id():
        await trio.aclose_forcefully(stream)
        raise served_by_another(profile)
    return stream


class TrioClient(trio.abc.AsyncResource):
    """One connection: any number of calls and feeds side by side. Made by `connect` or `over`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._lines = LineBuffer(framing.MAX_REPLY)
        self._sending = trio.StrictFIFOLock()
        self._reading = False
        self._waiters = trio.lowlevel.ParkingLot()
        self._last_id = 0
        self._pending: dict[int, _Pending] = {}
        self._feeds: dict[int, TrioFeed] = {}
        self._broken: CommandError | None = None
        self.daemon: dict[str, Any] = {}
        """The daemon's hello: `pid` and `version` among others."""

    async def aclose(self) -> None:
        """End the connection; calls and subscriptions still running end in the daemon too."""
        self._broken = self._broken or DaemonGone()
        await self._stream.aclose()

    async def greet(self) -> None:
        """Take the daemon's hello."""
        self.daemon = read_hello(await self._read_line())

    async def greet_with_token(self, token: bytes, profile: Profile) -> None:
        """The loopback exchange of control/token.py, then the hello."""
        try:
            challenge = framing.decode_object(await self._read_line())
        except ControlProtocolError:
            raise no_daemon(profile) from None  # another program took the port of a killed daemon
        answer = answer_challenge(token, challenge)
        if answer is None:
            raise no_daemon(profile)
        nonce, line = answer
        await self._write(framing.encode(line))
        hello = read_hello(await self._read_line())
        if not is_proven(token, "server", challenge["nonce"], nonce, hello.get("proof")):
            raise no_daemon(profile)
        self.daemon = hello

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Do `method` and return its result.

        Raises the daemon's CommandError, DaemonGone, or `too_long` for params above
        1 MiB. Cancelled: it may still be done; a late answer is dropped.
        """
        return await self._call(method, params, _Pending(opens_feed=False))

    async def subscribe(self, params: Mapping[str, Any] | None = None) -> TrioFeed:
        """Ask for events; returns once the daemon accepted. Errors as in `call`."""
        pending = _Pending(opens_feed=True)
        await self._call("subscribe", params, pending)
        if pending.feed is None:
            raise feed_without_number()
        return pending.feed

    async def _call(self, method: str, params: Mapping[str, Any] | None, pending: _Pending) -> Any:
        self._last_id += 1
        number = self._last_id
        line = framing.request(number, method, params or {})
        self._pending[number] = pending
        try:
            await self._write(line)
            await self._read_until(lambda: pending.message is not None)
        finally:
            del self._pending[number]
        assert pending.message is not None
        if "error" in pending.message:
            raise framing.read_error(pending.message["error"])
        return pending.message.get("result")

    async def _read_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`, reading for everybody whenever nobody else does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not ready():
            if self._broken is not None:
                raise self._broken
            if self._reading:
                await self._waiters.park()
                continue
            self._reading = True
            try:
                self._sort(framing.decode_object(await self._read_line()))
            except ControlProtocolError as error:
                self._broken = garbled(error)
            except CommandError as error:
                self._broken = error
            finally:
                self._reading = False
                self._waiters.unpark_all()

    def _sort(self, message: dict[str, Any]) -> None:
        """Put an answer or event where it belongs; late answers are dropped."""
        number = message.get("id")
        if "method" not in message:
            if number is None and "error" in message:
                raise framing.read_error(message["error"])  # said of the connection, not of a call
            pending = self._pending.get(number) if type(number) is int else None
            if pending is not None:
                pending.message = message
                # made here, not by the waiting task: another may read the first event before that one runs
                self._open_feed(pending, message.get("result"))
            return
        said = framing.subscription_of(message)
        feed = self._feeds.get(said[0]) if said is not None else None
        if said is None or feed is None:
            return
        params = said[1]
        if message["method"] == "end":
            feed.finish(framing.read_error(params["error"]) if "error" in params else None)
            del self._feeds[feed.number]
        elif isinstance(params.get("event"), dict):
            feed.take(params["event"])

    def _open_feed(self, pending: _Pending, result: object) -> None:
        number = result.get("subscription") if isinstance(result, dict) else None
        if pending.opens_feed and type(number) is int:
            pending.feed = self._feeds[number] = TrioFeed(self, number)

    async def _read_line(self) -> bytes:
        """The next line; cancelled, it leaves what was read for the next reader."""
        try:
            while (line := self._lines.next_line()) is None:
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    raise DaemonGone
                self._lines.receive_data(data)
        except ControlProtocolError as error:
            raise garbled(error) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise DaemonGone from None
        return line

    async def _write(self, line: bytes) -> None:
        async with self._sending:
            if self._broken is not None:
                raise self._broken
            try:
                await self._stream.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise DaemonGone from None
            except trio.Cancelled:
                self._broken = DaemonGone()  # an unknown part of the line is out: nothing can follow it
                raise


class _Pending:
    """A call on its way: where its answer is put."""

    def __init__(self, *, opens_feed: bool) -> None:
        self.opens_feed = opens_feed
        self.message: dict[str, Any] | None = None
        self.feed: TrioFeed | None = None


class TrioFeed:
    """Events of one subscription, in order: `async for event in feed`. One task at a time.

    Ends when the daemon ends it in good order; raises the daemon's CommandError, or
    DaemonGone. Waiting may be cancelled at any time without losing an event.
    """

    def __init__(self, client: TrioClient, number: int) -> None:
        self._client = client
        self.number = number
        self._waiting: deque[dict[str, Any]] = deque()
        self._ended = False
        self._error: CommandError | None = None

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        await self._client._read_until(lambda: bool(self._waiting) or self._ended)
        if self._waiting:
            return self._waiting.popleft()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Tell the daemon to stop; events not taken are dropped."""
        self._waiting.clear()
        self._ended = True
        if self._client._feeds.pop(self.number, None) is not None:
            try:
                await self._client.call("unsubscribe", {"subscription": self.number})
            except CommandError as error:
                if error.kind != "no_such_target":  # it had ended by itself just then
                    raise

    def take(self, event: dict[str, Any]) -> None:
        """An event arrived."""
        if len(self._waiting) >= MAX_WAITING_EVENTS:
            self.finish(feed_overrun())
        if not self._ended:
            self._waiting.append(event)

    def finish(self, error: CommandError | None) -> None:
        """No more will come; what is waiting can still be taken."""
        self._ended = True
        self._error = error
