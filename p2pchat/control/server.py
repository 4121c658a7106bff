"""The daemon's side of the control connections.

Decides: how many clients and calls there may be, in which order answers leave, and
what happens to a client that is slow, wrong or gone. Does not know: any operation
(the handler has them), nor how a connection came to be trusted (endpoint).

    serve_control ─ accept loop
                  └ one task per client ─ reader (starts a task per request)
                                        ├ calls: run side by side, answered as they finish
                                        └ subscriptions: one item in flight each

What a client is not reading is held back by its own tasks, each waiting to send;
nobody else waits for it, and nothing is queued for it beyond what each holds.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol, runtime_checkable

import trio

from p2pchat.control import framing
from p2pchat.control.endpoint import ClientInfo, ControlListener, Refused
from p2pchat.control.framing import ControlProtocolError, Request, RequestId
from p2pchat.errors import ArchiveError, CommandError

log = logging.getLogger(__name__)

MAX_CLIENTS: Final = 64
"""Connections of admitted clients. A person has a few; a script in a loop must not take all our files."""

PATIENCE_S: Final = 2.0
"""How long a client waits for a place: a burst of short commands passes, a crowd of listeners is told."""

MAX_ARRIVALS: Final = 64
"""Connections that wait for a place or have yet to prove the token; more wait in the kernel."""

MAX_CALLS: Final = 64
"""Calls and subscriptions of one client at a time; more are refused, so that reading never stops."""

READ_BYTES: Final = 64 * 1024

ACCEPT_PAUSE_S: Final = 0.1
"""Wait after running out of descriptors: some connection must end before the next can come."""

_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class Handler(Protocol):
    """The operations, as the server sees them.

    Both may raise CommandError (told to the caller), ControlProtocolError (an unknown
    method, wrong params) or anything else (answered `internal` and logged).
    """

    async def call(self, method: str, params: dict[str, Any], client: ClientInfo) -> object:
        """Do `method`; the result is anything JSON can say. Cancelled when the client is gone."""

    def subscribe(self, params: dict[str, Any], client: ClientInfo) -> AsyncIterator[Mapping[str, Any]]:
        """Items for a client, asked for one at a time as it takes them; closed when it is gone."""


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


async def serve_control(
    listener: ControlListener,
    handler: Handler,
    *,
    version: str,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve clients until the listener is closed, then until their last answers are out.

    Closing the listener is how a daemon stops in good order: nobody new comes in,
    nothing more is read, calls and subscriptions run to their end. Whoever cannot
    wait for that cancels. `version` goes into every hello.
    """
    server = _Server(listener, handler, version)
    try:
        async with trio.open_nursery() as clients:
            task_status.started()
            await server.accept_all(clients)
            server.stopping.set()
    finally:
        with trio.CancelScope(shield=True):
            await listener.aclose()


class _Server:
    """What all connections of one endpoint share."""

    def __init__(self, listener: ControlListener, handler: Handler, version: str) -> None:
        self.listener = listener
        self.handler = handler
        self.version = version
        self.stopping = trio.Event()
        self.places = trio.Semaphore(MAX_CLIENTS)
        self.arrivals = trio.Semaphore(MAX_ARRIVALS)

    async def accept_all(self, clients: trio.Nursery) -> None:
        """Start a task per connection until the listener is closed."""
        while True:
            await self.arrivals.acquire()
            stream = await self._accept()
            if stream is None:
                return
            clients.start_soon(self._serve, stream)

    async def _accept(self) -> trio.abc.Stream | None:
        while True:
            try:
                return await self.listener.accept()
            except trio.ClosedResourceError:
                return None
            except OSError as error:
                if error.errno not in _OUT_OF_FILES:
                    raise
                log.warning("no room for another control client: %s", error)
                await trio.sleep(ACCEPT_PAUSE_S)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            async with stream:
                try:
                    client, hello_extra, early = await self.listener.admit(stream)
                    placed = await self._find_place()
                finally:
                    self.arrivals.release()
                if not placed:
                    await self._turn_away(stream)
                    return
                try:
                    connection = _Connection(self, stream, client)
                    await connection.run(framing.hello(os.getpid(), self.version) | hello_extra, early)
                finally:
                    self.places.release()
        except Refused as error:
            log.warning("control connection refused: %s", error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a control client went away")

    async def _find_place(self) -> bool:
        with trio.move_on_after(PATIENCE_S):
            await self.places.acquire()
            return True
        return False

    async def _turn_away(self, stream: trio.abc.Stream) -> None:
        """Say why instead of the hello; a client too slow for one line is not waited for."""
        why = CommandError(
            "failed", f"{MAX_CLIENTS} commands are already talking to the daemon", "end one and try again"
        )
        with trio.move_on_after(1):
            await stream.send_all(framing.encode(framing.failure(None, why)))


class _Connection:
    """One admitted client."""

    def __init__(self, server: _Server, stream: trio.abc.Stream, client: ClientInfo) -> None:
        self._server = server
        self._handler = server.handler
        self._stream = stream
        self._client = client
        self._sending = trio.StrictFIFOLock()
        self._calls: set[RequestId] = set()
        self._subscriptions: dict[int, _Subscription] = {}
        self._last_subscription = 0
        self._reading = trio.CancelScope()
        self._living = trio.CancelScope()

    async def run(self, hello: dict[str, Any], early: bytes) -> None:
        """Until the client goes or, the daemon stopping, its last answer is out."""
        with self._living:
            await self._send(hello)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._watch_for_stop)
                with self._reading:
                    await self._read(tasks, early)
                    # The client closed its side. It is taken as gone even if it only
                    # stopped sending: kernels do not tell these apart, and a command
                    # ended by Ctrl-C must not keep a waiting call alive.
                    self._living.cancel()

    async def _watch_for_stop(self) -> None:
        await self._server.stopping.wait()
        self._reading.cancel()

    async def _read(self, tasks: trio.Nursery, early: bytes) -> None:
        lines = framing.LineBuffer()
        lines.receive_data(early)
        while True:
            try:
                while (line := lines.next_line()) is not None:
                    await self._take(line, tasks)
            except ControlProtocolError as error:  # too long: where the next line starts is unknown
                await self._send(framing.refusal(error))
                return
            try:
                data = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            lines.receive_data(data)

    async def _take(self, line: bytes, tasks: trio.Nursery) -> None:
        """Start what one line asks for, or answer why not."""
        try:
            request = framing.decode_request(line)
            if request.id in self._calls:
                raise ControlProtocolError(
                    framing.INVALID_REQUEST, "'id' is that of a call still running", request.id
                )
        except ControlProtocolError as error:
            await self._send(framing.refusal(error))
            return
        if len(self._calls) >= MAX_CALLS:
            busy = CommandError(
                "failed", f"{MAX_CALLS} calls are already running here", "wait for one to end"
            )
            await self._send(framing.failure(request.id, busy))
            return
        self._calls.add(request.id)
        tasks.start_soon(self._subscribe if request.method == "subscribe" else self._call, request)

    async def _call(self, request: Request) -> None:
        try:
            answer = await self._answer(request)
        finally:
            self._calls.discard(request.id)
        await self._send(answer)

    async def _answer(self, request: Request) -> bytes:
        """The reply to a call, as a line; whatever happens there is one."""
        try:
            if request.method == "unsubscribe":
                return framing.encode(framing.result(request.id, self._unsubscribe(request)))
            value = await self._handler.call(request.method, request.params, self._client)
            return framing.encode(framing.result(request.id, value))
        except ControlProtocolError as error:
            return framing.encode(framing.refusal(error.answering(request.id)))
        except CommandError as error:
            return framing.encode(framing.failure(request.id, error))
        except Exception as error:
            # Not re-raised: it would end every client and the daemon for one bad call.
            # Damage to state is the runner's affair, which judges its own failures.
            return framing.encode(framing.failure(request.id, _internal(request.method, error)))

    def _unsubscribe(self, request: Request) -> dict[str, Any]:
        number = request.params.get("subscription")
        subscription = self._subscriptions.get(number) if type(number) is int else None
        if subscription is None:
            raise CommandError("no_such_target", f"no subscription {ascii(number)[:40]} here")
        subscription.stop()
        return {"subscription": number}

    async def _subscribe(self, request: Request) -> None:
        """Answer with a number, feed the client one item at a time, say that it ended."""
        self._last_subscription += 1
        number = self._last_subscription
        self._subscriptions[number] = subscription = _Subscription()
        try:
            last_word = await self._feed(request, number, subscription)
        finally:
            del self._subscriptions[number]
            self._calls.discard(request.id)
        await self._send(last_word)

    async def _feed(self, request: Request, number: int, subscription: _Subscription) -> dict[str, Any]:
        """Send the items; returns what is to be said last."""
        try:
            source = self._handler.subscribe(request.params, self._client)
        except ControlProtocolError as error:
            return framing.refusal(error.answering(request.id))
        except CommandError as error:
            return framing.failure(request.id, error)
        except Exception as error:  # as in _answer: one bad call must not end the daemon
            return framing.failure(request.id, _internal("subscribe", error))
        try:
            await self._pump(source, request, number, subscription)
        except ControlProtocolError as error:
            return framing.end(number, CommandError("usage", error.message))
        except CommandError as error:
            return framing.end(number, error)
        except Exception as error:  # as in _answer
            return framing.end(number, _internal("subscribe", error))
        return framing.end(number)

    async def _pump(
        self,
        source: AsyncIterator[Mapping[str, Any]],
        request: Request,
        number: int,
        subscription: _Subscription,
    ) -> None:
        try:
            await self._send(framing.result(request.id, {"subscription": number}))
            while (item := await subscription.next_item(source)) is not None:
                await self._send(framing.encode(framing.event(number, item)))
        finally:
            if isinstance(source, _Closable):
                await source.aclose()

    async def _send(self, message: bytes | dict[str, Any]) -> None:
        """Send one line whole. If the client is gone, everything of it is cancelled, us included.

        Cancelled only together with the whole connection: half a line would garble the next.
        """
        line = message if isinstance(message, bytes) else framing.encode(message)
        try:
            async with self._sending:
                await self._stream.send_all(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._living.cancel()
            await trio.lowlevel.checkpoint()


class _Subscription:
    """Lets `unsubscribe` end the wait for the next item, never the sending of one."""

    def __init__(self) -> None:
        self._stopped = False
        self._waiting: trio.CancelScope | None = None

    async def next_item(self, source: AsyncIterator[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The next item; None at the end or once stopped."""
        if self._stopped:
            return None
        with trio.CancelScope() as self._waiting:
            try:
                return await anext(source)
            except StopAsyncIteration:
                return None
        return None

    def stop(self) -> None:
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()


def _internal(method: str, error: Exception) -> CommandError:
    """An unexpected failure: all of it into the log, none of it to the client, but that it is the archive."""
    log.error("%s failed unexpectedly", ascii(method), exc_info=error)
    if isinstance(error, ArchiveError):
        return CommandError("archive", str(error), error.hint or "p2pchat doctor")
    return CommandError("internal", "the daemon met an error of its own; its log has it", "p2pchat logs")
